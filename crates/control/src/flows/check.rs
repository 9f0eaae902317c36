//! The rules of a new flow, in the documented order (flow-service.md 16.1, 16.2, 16.4, 16.5). No IO.

use headwaters_model::data_set::DataSet;
use headwaters_model::resource::{Resource, State};
use headwaters_model::schedule::{Schedule, ScheduleError, ScheduleRules};
use headwaters_model::source_connection::SourceConnection;
use headwaters_model::spec::SpecRef;
use headwaters_model::target_connection::TargetConnection;
use serde_json::{Map, Value};

use super::commands::CreateFlow;
use crate::connections::spec_ref;
use crate::error::{Cause, CommandError, clipped};
use crate::life_cycle::state_of_new;
use crate::settings::Settings;
use crate::specs::{KnownFlow, Specs};

/// What a body names: its spec and its connections, not yet looked up.
#[derive(Debug)]
pub(super) struct Named<'a> {
    pub(super) spec: SpecRef,
    pub(super) known: &'a KnownFlow,
    pub(super) state: State,
    /// The source connection; none only in a draft.
    pub(super) source: Option<&'a str>,
    /// The target connection; none only in a draft.
    pub(super) target: Option<&'a str>,
}

/// The first rules: flow spec, draft, exactly one source and one target connection.
pub(super) fn named<'a>(specs: &'a Specs, command: &'a CreateFlow) -> Result<Named<'a>, CommandError> {
    let (id, version) = spec_ref(command.flow_spec.as_ref(), "/flowSpec")?;
    let known = specs.flow(id, "/flowSpec/id")?;
    let state = state_of_new(command.draft, known.spec.supports_drafts(), known.spec.name())?;
    let source = exactly_one(command.source_connection_ids.as_deref(), "/sourceConnectionIds", command.draft)?;
    let target = exactly_one(command.target_connection_ids.as_deref(), "/targetConnectionIds", command.draft)?;
    Ok(Named { spec: SpecRef { id, version }, known, state, source, target })
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
        self.check_state(source.state, pointer)
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
        self.check_state(target.state, pointer)?;
        match target.body.data_set_id() {
            None if self.state != State::Draft => {
                Err(CommandError::invalid(Cause::NoDataSet, pointer, "the target connection names no data set"))
            }
            id => Ok(id),
        }
    }

    fn check_state(&self, state: State, pointer: &str) -> Result<(), CommandError> {
        if state == State::Enabled || self.state == State::Draft {
            return Ok(());
        }
        let reason = format!("the connection is in state {}, a flow needs it enabled", state.name());
        Err(CommandError::invalid(Cause::NotApplicable, pointer, reason))
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
            _ => check_schedule(command, settings, now_ms)?,
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
}

/// Every transformation has a name and parameters; those that the flow spec knows satisfy its schema.
fn check_transformations(known: &KnownFlow, entries: &[Value], strict: bool) -> Result<(), CommandError> {
    for (at, entry) in entries.iter().enumerate() {
        let pointer = format!("/transformations/{at}");
        let name = match entry.get("name") {
            Some(Value::String(name)) if !name.is_empty() => name,
            None | Some(Value::Null) => return Err(CommandError::missing_field(format!("{pointer}/name"))),
            Some(_) => {
                return Err(CommandError::invalid(Cause::InvalidValue, format!("{pointer}/name"), "must be a text"));
            }
        };
        let params = match entry.get("params") {
            Some(Value::Object(params)) => params,
            None | Some(Value::Null) => return Err(CommandError::missing_field(format!("{pointer}/params"))),
            Some(_) => {
                let place = format!("{pointer}/params");
                return Err(CommandError::invalid(Cause::InvalidValue, place, "must be an object"));
            }
        };
        match known.transformation(name) {
            Some(schema) => schema.check(params, &format!("{pointer}/params"))?,
            None if strict => {
                let reason = format!("there is no transformation of this name: {}", clipped(name));
                return Err(CommandError::invalid(Cause::UnknownTransformation, format!("{pointer}/name"), reason));
            }
            // Stored, echoed and without effect (flow-service.md 16.2).
            None => {}
        }
    }
    Ok(())
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

/// The schedule by its own rules, then together with the delta column.
fn check_schedule(command: &CreateFlow, settings: &Settings, now_ms: i64) -> Result<(), CommandError> {
    let nothing = Map::new();
    let schedule = parse_schedule(command.schedule_params.as_ref().unwrap_or(&nothing), settings)?;
    schedule.check_start(now_ms.div_euclid(1000), &rules(settings)).map_err(schedule_error)?;

    let copy = command.transformations.iter().flatten().position(|entry| entry["name"] == "Copy");
    match copy {
        Some(at) if schedule.is_once() => {
            let reason = "frequency once reads the whole table, so it takes no delta column: leave Copy out";
            Err(CommandError::invalid(Cause::OnceWithDelta, format!("/transformations/{at}"), reason))
        }
        None if !schedule.is_once() => {
            let reason = "a recurring flow of a table needs the transformation Copy with a deltaColumn";
            Err(CommandError::invalid(Cause::NoDeltaColumn, "/transformations", reason))
        }
        _ if !schedule.is_once() => {
            let reason = "this build runs flows of the frequency once only: recurring flows come with a later release";
            Err(CommandError::invalid(Cause::Frequency, "/scheduleParams/frequency", reason))
        }
        _ => Ok(()),
    }
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
        ScheduleError::IntervalTooLarge => (Cause::InvalidValue, Some("interval")),
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
        named(&specs, &command)?.check_rest(&command, &Settings::default(), NOW_S * 1000)
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
    fn every_rule_of_transformations_has_its_cause() {
        let with = |entry: Value| cause(|c| c.transformations = Some(vec![entry]));
        assert_eq!(with(json!({ "params": {} })), Cause::MissingField);
        assert_eq!(with(json!({ "name": "Copy" })), Cause::MissingField);
        assert_eq!(with(json!({ "name": "Copy", "params": {} })), Cause::MissingField);
        assert_eq!(with(json!({ "name": "Copy", "params": [] })), Cause::InvalidValue);
        assert_eq!(with(copy()), Cause::OnceWithDelta);
        check(|c| c.transformations = Some(vec![json!({ "name": "Wash", "params": {} })])).unwrap();
    }

    #[test]
    fn an_unknown_transformation_is_refused_only_under_the_strict_switch() {
        let specs = specs();
        let known = specs.flow(CRM_TO_AEP, "").unwrap();
        let refused = check_transformations(known, &[json!({ "name": "Wash", "params": {} })], true).unwrap_err();
        assert_eq!(refused.cause(), Cause::UnknownTransformation);
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
    }

    #[test]
    fn a_recurring_flow_is_checked_as_documented_and_then_refused_by_this_build() {
        assert_eq!(cause(recurring), Cause::NoDeltaColumn);
        let refused = check(|c| {
            recurring(c);
            c.transformations = Some(vec![copy()]);
        });
        let refused = refused.unwrap_err();
        assert_eq!(refused.cause(), Cause::Frequency);
        assert!(refused.to_string().contains("frequency once only"), "{refused}");
    }

    #[test]
    fn a_draft_may_lack_everything_but_its_spec() {
        let draft = CreateFlow { flow_spec: command().flow_spec, draft: true, ..CreateFlow::default() };
        let specs = specs();
        let named = named(&specs, &draft).unwrap();
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
