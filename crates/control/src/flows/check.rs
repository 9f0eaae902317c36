//! The rules of a flow, in the documented order (flow-service.md 9, 16.1, 16.2, 16.4, 16.5). No IO.

use headwaters_model::data_set::DataSet;
use headwaters_model::flow::Flow;
use headwaters_model::resource::{Kind, Resource, State};
use headwaters_model::schedule::{Schedule, ScheduleError, ScheduleRules};
use headwaters_model::source_connection::SourceConnection;
use headwaters_model::spec::SpecRef;
use headwaters_model::target_connection::TargetConnection;
use headwaters_model::window::DeltaColumn;
use serde_json::{Map, Value};

use super::commands::CreateFlow;
use super::transformations::check_transformations;
use crate::connections::spec_ref;
use crate::error::{Cause, CommandError};
use crate::life_cycle::{comes_into_use, in_use, state_of_new};
use crate::scheduler::schedule;
use crate::settings::Settings;
use crate::specs::{KnownFlow, Specs};

/// What a body names: its spec and its connections, not yet looked up.
#[derive(Debug)]
pub(super) struct Named<'a> {
    pub(super) spec: SpecRef,
    pub(super) known: &'a KnownFlow,
    pub(super) state: State,
    /// Whether it is new or was a draft, and is none any more: then it is checked against all that it refers to.
    pub(super) comes_into_use: bool,
    /// The schedule of a flow that is in use already, and is changed.
    scheduled: Option<Schedule>,
    /// The delta column that a flow of the frequency once has from its first run on demand; it may stay
    /// (flow-service.md 17.5).
    on_demand: Option<DeltaColumn>,
    /// The source connection; none only in a draft.
    pub(super) source: Option<&'a str>,
    /// The target connection; none only in a draft.
    pub(super) target: Option<&'a str>,
}

/// The first rules: flow spec, draft, exactly one source and one target connection.
pub(super) fn named<'a>(
    specs: &'a Specs,
    command: &'a CreateFlow,
    before: Option<&Resource<Flow>>,
) -> Result<Named<'a>, CommandError> {
    let (id, version) = spec_ref(command.flow_spec.as_ref(), "/flowSpec")?;
    let known = specs.flow(id, "/flowSpec/id")?;
    let state = state_of_new(command.draft, known.spec.supports_drafts(), known.spec.name())?;
    let source = exactly_one(command.source_connection_ids.as_deref(), "/sourceConnectionIds", command.draft)?;
    let target = exactly_one(command.target_connection_ids.as_deref(), "/targetConnectionIds", command.draft)?;
    let comes_into_use = comes_into_use(before, command.draft);
    let changed = before.filter(|_| !comes_into_use && !command.draft);
    let scheduled = changed.and_then(|flow| schedule(&flow.body));
    let on_demand = changed.filter(|_| scheduled.is_some_and(|schedule| schedule.is_once()));
    let on_demand = on_demand.and_then(|flow| flow.body.delta_column());
    Ok(Named { spec: SpecRef { id, version }, known, state, comes_into_use, scheduled, on_demand, source, target })
}

fn exactly_one<'a>(ids: Option<&'a [String]>, pointer: &str, draft: bool) -> Result<Option<&'a str>, CommandError> {
    match ids.unwrap_or_default() {
        [id] => Ok(Some(id)),
        [] if draft => Ok(None),
        [] => Err(CommandError::invalid(Cause::NoConnectionIds, pointer, "is empty: name exactly one connection")),
        _ => Err(CommandError::invalid(Cause::ManyConnectionIds, pointer, "must hold exactly one id")),
    }
}

impl Named<'_> {
    /// The source connection must be of a kind that the flow spec takes, and be in use.
    pub(super) fn check_source(&self, source: &Resource<SourceConnection>) -> Result<(), CommandError> {
        let pointer = "/sourceConnectionIds/0";
        if !self.known.spec.takes_source(source.body.connection_spec.id) {
            let reason = format!("{} does not take sources of this connection spec", self.known.spec.name());
            return Err(CommandError::invalid(Cause::NotSupported, pointer, reason));
        }
        self.check_state(source, pointer)
    }

    /// The target connection must be the data lake, name a data set, and be in use. Returns the data set.
    pub(super) fn check_target<'t>(
        &self,
        target: &'t Resource<TargetConnection>,
    ) -> Result<Option<&'t str>, CommandError> {
        let pointer = "/targetConnectionIds/0";
        if !self.known.spec.takes_target(target.body.connection_spec.id) {
            let reason = format!("{} lands in the data lake only", self.known.spec.name());
            return Err(CommandError::invalid(Cause::WrongTargetSpec, pointer, reason));
        }
        self.check_state(target, pointer)?;
        match target.body.data_set_id() {
            None if self.state != State::Draft => {
                Err(CommandError::invalid(Cause::NoDataSet, pointer, "the target connection names no data set"))
            }
            id => Ok(id),
        }
    }

    fn check_state<K: Kind>(&self, needed: &Resource<K>, pointer: &str) -> Result<(), CommandError> {
        if self.comes_into_use { in_use(needed, pointer) } else { Ok(()) }
    }

    /// The other rules: transformations, schedule, options, and what must not be there.
    pub(super) fn check_rest(
        &self,
        command: &CreateFlow,
        settings: &Settings,
        now_ms: i64,
    ) -> Result<(), CommandError> {
        let transformations = command.transformations.as_deref().unwrap_or_default();
        check_transformations(self.known, transformations, settings.strict.transformations)?;
        match &command.schedule_params {
            // A draft is checked as a whole when it is published; until then what is there must be readable.
            Some(params) if self.state == State::Draft => {
                parse_schedule(params, settings)?;
            }
            None if self.state == State::Draft => {}
            _ => self.check_schedule(command, settings, now_ms.div_euclid(1000))?,
        }
        if let (Some(options), Some(schema)) = (&command.options, &self.known.options) {
            schema.check(options, "/options")?;
        }
        match &command.state {
            None | Some(Value::Null) => Ok(()),
            Some(_) => {
                let reason = "a new flow takes no state: it is enabled, or a draft with mode=draft";
                Err(CommandError::invalid(Cause::StateInBody, "/state", reason))
            }
        }
    }

    /// Whether this is the delta column that the flow's runs on demand have.
    fn keeps(&self, delta: Option<&Value>) -> bool {
        let delta = delta.and_then(|delta| DeltaColumn::read(delta).ok());
        self.on_demand.is_some() && self.on_demand == delta
    }

    /// The schedule against the one that it takes the place of, by its own rules, then together with the delta column.
    fn check_schedule(&self, command: &CreateFlow, settings: &Settings, now_s: i64) -> Result<(), CommandError> {
        let nothing = Map::new();
        let params = command.schedule_params.as_ref().unwrap_or(&nothing);
        if let Some(before) = &self.scheduled {
            before.check_change(params, now_s).map_err(schedule_error)?;
        }
        let schedule = parse_schedule(params, settings)?;
        // A start that lies in the past because time went on is as good as it was.
        if self.scheduled.is_none_or(|before| before.start_s != schedule.start_s) {
            schedule.check_start(now_s, &rules(settings)).map_err(schedule_error)?;
        }
        let copy = command.transformations.iter().flatten().position(|entry| entry["name"] == "Copy");
        let delta = copy.and_then(|at| command.transformations.as_ref()?.get(at)?.pointer("/params/deltaColumn"));
        match copy {
            Some(_) if schedule.is_once() && self.keeps(delta) => Ok(()),
            Some(at) if schedule.is_once() => {
                let reason = "frequency once reads the whole table, so it takes no delta column: leave Copy out";
                Err(CommandError::invalid(Cause::OnceWithDelta, format!("/transformations/{at}"), reason))
            }
            None if !schedule.is_once() => {
                let reason = "a recurring flow of a table needs the transformation Copy with a deltaColumn";
                Err(CommandError::invalid(Cause::NoDeltaColumn, "/transformations", reason))
            }
            Some(at) => check_delta_column(delta, at),
            None => Ok(()),
        }
    }
}

/// The delta column of the transformation at this place must have a name; whether there is such a column the source knows.
fn check_delta_column(delta: Option<&Value>, at: usize) -> Result<(), CommandError> {
    let pointer = format!("/transformations/{at}/params/deltaColumn");
    match delta.map(DeltaColumn::read) {
        None => Err(CommandError::missing_field(pointer)),
        Some(Ok(_)) => Ok(()),
        Some(Err(error)) => Err(CommandError::invalid(Cause::InvalidValue, pointer, error.reason)),
    }
}

fn rules(settings: &Settings) -> ScheduleRules {
    ScheduleRules {
        start_grace_s: i64::try_from(settings.start_grace.as_secs()).unwrap_or(i64::MAX),
        interval_minutes_min: settings.interval_minutes_min,
    }
}

fn parse_schedule(params: &Map<String, Value>, settings: &Settings) -> Result<Schedule, CommandError> {
    Schedule::parse(params, &rules(settings)).map_err(schedule_error)
}

fn schedule_error(error: ScheduleError) -> CommandError {
    let (cause, key) = match &error {
        ScheduleError::Empty => (Cause::EmptySchedule, None),
        ScheduleError::Missing { key } => (Cause::MissingField, Some(*key)),
        ScheduleError::UnreadableStart => (Cause::UnreadableTime, Some("startTime")),
        ScheduleError::StartInPast { .. } => (Cause::StartInPast, Some("startTime")),
        ScheduleError::UnknownFrequency => (Cause::Frequency, Some("frequency")),
        ScheduleError::OnceWithInterval => (Cause::OnceWithInterval, Some("interval")),
        ScheduleError::OnceWithBackfill => (Cause::OnceWithBackfill, Some("backfill")),
        ScheduleError::InvalidValue { key, .. } => (Cause::InvalidValue, Some(*key)),
        ScheduleError::IntervalNotPositive => (Cause::IntervalNotPositive, Some("interval")),
        ScheduleError::IntervalTooSmall { .. } => (Cause::IntervalTooShort, Some("interval")),
        ScheduleError::IntervalTooLarge => (Cause::IntervalNotAllowed, Some("interval")),
        ScheduleError::StartPassed { .. } => (Cause::StartPassed, Some("startTime")),
        ScheduleError::OnceTooLate => (Cause::OnceTooLate, Some("frequency")),
        ScheduleError::BackfillTooLate => (Cause::BackfillTooLate, Some("backfill")),
    };
    let pointer = key.map_or_else(|| "/scheduleParams".to_owned(), |key| format!("/scheduleParams/{key}"));
    CommandError::invalid(cause, pointer, error.to_string())
}

/// Ids and major versions of the schemas that data set and target connection name must agree (flow-service.md 15).
pub(super) fn schemas_agree(
    target: &Resource<TargetConnection>,
    data_set: &Resource<DataSet>,
) -> Result<(), CommandError> {
    let (Some((id, version)), Some(schema_ref)) = (target.body.schema(), &data_set.body.schema_ref) else {
        return Ok(());
    };
    let Some(known) = schema_ref["id"].as_str() else { return Ok(()) };
    let conflict = |reason: String| Err(CommandError::invalid(Cause::SchemaConflict, "/targetConnectionIds/0", reason));
    if id != known {
        return conflict(format!("the target connection names the schema {id}, its data set has {known}"));
    }
    let major = |media_type: Option<&str>| media_type.and_then(major_version).unwrap_or(1);
    let (ours, theirs) = (major(version), major(schema_ref["contentType"].as_str()));
    if ours != theirs {
        return conflict(format!(
            "the target connection names version {ours} of the schema, its data set has {theirs}"
        ));
    }
    Ok(())
}

/// The major version in a media type like `application/vnd.adobe.xed-full+json;version=1.2`, or in a bare version.
fn major_version(text: &str) -> Option<u32> {
    let version = text.rsplit_once("version=").map_or(text, |(_, version)| version);
    let digits = version.trim().split(['.', ';', ' ']).next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use headwaters_model::spec::CRM_TO_AEP;
    use serde_json::json;

    use super::*;
    use crate::connections::SpecInput;
    use crate::specs::fixture::specs;

    const NOW_S: i64 = 1_700_000_000;

    fn command() -> CreateFlow {
        CreateFlow {
            flow_spec: Some(SpecInput { id: Some(CRM_TO_AEP.to_string()), version: None }),
            source_connection_ids: Some(vec!["s".into()]),
            target_connection_ids: Some(vec!["t".into()]),
            schedule_params: json!({ "startTime": NOW_S.to_string(), "frequency": "once" }).as_object().cloned(),
            ..CreateFlow::default()
        }
    }

    fn check(change: impl FnOnce(&mut CreateFlow)) -> Result<(), CommandError> {
        let mut command = command();
        change(&mut command);
        let specs = specs();
        named(&specs, &command, None)?.check_rest(&command, &Settings::default(), NOW_S * 1000)
    }

    fn cause(change: impl FnOnce(&mut CreateFlow)) -> Cause {
        check(change).unwrap_err().cause()
    }

    fn recurring(command: &mut CreateFlow) {
        let schedule = json!({ "startTime": NOW_S, "frequency": "minute", "interval": "15" });
        command.schedule_params = schedule.as_object().cloned();
    }

    fn copy() -> Value {
        json!({ "name": "Copy", "params": { "deltaColumn": { "name": "updated_at" } } })
    }

    #[test]
    fn a_flow_that_runs_once_needs_little() {
        check(|_| {}).unwrap();
        let mapping = json!({ "name": "Mapping", "params": { "mappingId": "0a", "mappingVersion": 0 } });
        check(|c| c.transformations = Some(vec![mapping])).unwrap();
        let options =
            json!({ "errorDiagnosticsEnabled": true, "partialIngestionPercent": 5, "isSampleDataflow": false });
        check(|c| c.options = options.as_object().cloned()).unwrap();
    }

    #[test]
    fn a_flow_has_exactly_one_source_and_one_target() {
        assert_eq!(cause(|c| c.source_connection_ids = None), Cause::NoConnectionIds);
        assert_eq!(cause(|c| c.target_connection_ids = Some(vec![])), Cause::NoConnectionIds);
        assert_eq!(cause(|c| c.target_connection_ids = Some(vec!["a".into(), "b".into()])), Cause::ManyConnectionIds);
    }

    #[test]
    fn every_rule_has_its_cause() {
        assert_eq!(cause(|c| c.flow_spec = None), Cause::MissingField);
        assert_eq!(
            cause(|c| c.flow_spec = Some(SpecInput { id: Some("x".into()), version: None })),
            Cause::UnknownSpec
        );
        assert_eq!(cause(|c| c.state = Some(json!("enabled"))), Cause::StateInBody);
        assert_eq!(
            cause(|c| c.options = json!({ "partialIngestionPercent": 0 }).as_object().cloned()),
            Cause::InvalidValue
        );
    }

    #[test]
    fn a_flow_that_runs_once_takes_no_delta_column() {
        assert_eq!(cause(|c| c.transformations = Some(vec![copy()])), Cause::OnceWithDelta);
        assert_eq!(cause(|c| c.transformations = Some(vec![json!({ "name": "Mapping" })])), Cause::MissingField);
    }

    #[test]
    fn every_rule_of_schedules_has_its_cause() {
        let with = |params: Value| cause(|c| c.schedule_params = params.as_object().cloned());
        assert_eq!(cause(|c| c.schedule_params = None), Cause::EmptySchedule);
        assert_eq!(with(json!({})), Cause::EmptySchedule);
        assert_eq!(with(json!({ "frequency": "once" })), Cause::MissingField);
        assert_eq!(with(json!({ "startTime": "x", "frequency": "once" })), Cause::UnreadableTime);
        assert_eq!(with(json!({ "startTime": NOW_S - 301, "frequency": "once" })), Cause::StartInPast);
        assert_eq!(with(json!({ "startTime": NOW_S, "frequency": "month" })), Cause::Frequency);
        assert_eq!(with(json!({ "startTime": NOW_S, "frequency": "once", "interval": 1 })), Cause::OnceWithInterval);
        assert_eq!(with(json!({ "startTime": NOW_S, "frequency": "once", "backfill": true })), Cause::OnceWithBackfill);
        assert_eq!(with(json!({ "startTime": NOW_S, "frequency": "minute", "interval": 14 })), Cause::IntervalTooShort);
        assert_eq!(with(json!({ "startTime": NOW_S, "frequency": "day", "interval": 0 })), Cause::IntervalNotPositive);
        let beyond = json!({ "startTime": NOW_S, "frequency": "week", "interval": i64::MAX });
        assert_eq!(with(beyond), Cause::IntervalNotAllowed);
    }

    #[test]
    fn a_recurring_flow_needs_a_delta_column_with_a_name() {
        assert_eq!(cause(recurring), Cause::NoDeltaColumn);
        let with = |copies: Vec<Value>| {
            check(|c| {
                recurring(c);
                c.transformations = Some(copies);
            })
        };
        with(vec![copy()]).unwrap();
        with(vec![json!({ "name": "Mapping", "params": { "mappingId": "m" } }), copy()]).unwrap();
        let nameless = json!({ "name": "Copy", "params": { "deltaColumn": { "name": " " } } });
        assert_eq!(with(vec![nameless]).unwrap_err().cause(), Cause::InvalidValue);
    }

    #[test]
    fn options_that_decide_how_runs_read_and_land_are_checked_by_name() {
        let with = |options: Value| check(|c| c.options = options.as_object().cloned());
        with(json!({ "consistency": "split", "commitPerSplit": true, "schemaChange": "fail", "verify": true }))
            .unwrap();
        with(json!({ "consistency": "table", "commitPerSplit": false, "schemaChange": "evolve", "verify": false }))
            .unwrap();
        for (key, value) in [
            ("consistency", json!("row")),
            ("consistency", json!(true)),
            ("commitPerSplit", json!("yes")),
            ("schemaChange", json!("ignore")),
            ("verify", json!("true")),
        ] {
            let refused = with(json!({ (key): value })).unwrap_err();
            assert_eq!(refused.cause(), Cause::InvalidValue, "{key}");
            assert!(refused.to_string().contains(&format!("/options/{key}")), "{refused}");
        }
    }

    #[test]
    fn a_draft_may_lack_everything_but_its_spec() {
        let draft = CreateFlow { flow_spec: command().flow_spec, draft: true, ..CreateFlow::default() };
        let specs = specs();
        let named = named(&specs, &draft, None).unwrap();
        named.check_rest(&draft, &Settings::default(), 0).unwrap();
        assert_eq!((named.state, named.source), (State::Draft, None));

        let mut scheduled = draft.clone();
        recurring(&mut scheduled);
        named.check_rest(&scheduled, &Settings::default(), 0).unwrap();
        scheduled.schedule_params = json!({ "startTime": "soon", "frequency": "once" }).as_object().cloned();
        let unreadable = named.check_rest(&scheduled, &Settings::default(), 0).unwrap_err();
        assert_eq!(unreadable.cause(), Cause::UnreadableTime);
    }

    #[test]
    fn versions_are_read_from_media_types() {
        assert_eq!(major_version("application/vnd.adobe.xed-full+json;version=1"), Some(1));
        assert_eq!(major_version("application/vnd.adobe.xed+json; version=2.13"), Some(2));
        assert_eq!(major_version("1.0"), Some(1));
        assert_eq!(major_version("application/json"), None);
    }
}
