//! Flows: from which source into which target, when, and how (flow-service.md 16).
//!
//! A flow is checked in three steps: what needs no one (`check.rs`), what needs the store (its connections, its data
//! set), and last what needs the source (table, columns, row filter), outside any transaction. The source is asked when
//! the flow comes into use, and again when a patch makes it recur or names another delta column. All else that is read
//! stays: a flow in use keeps its connections, and a source connection its table once a recurring flow has read of it
//! (`life_cycle.rs`).

mod check;
mod commands;
mod transformations;

use std::time::Duration;

use headwaters_model::connection::Connection;
use headwaters_model::data_set::DataSet;
use headwaters_model::etag::Precondition;
use headwaters_model::flow::{Flow, FlowInheritance};
use headwaters_model::id::{SourceConnectionId, TargetConnectionId};
use headwaters_model::job::{ReadRequest, Splits};
use headwaters_model::resource::{LastOperation, Resource, State};
use headwaters_model::source_connection::SourceConnection;
use headwaters_model::source_error::SourceErrorKind;
use headwaters_model::target_connection::TargetConnection;
use headwaters_model::watermark::{Delta, Since, Span, Watermark};
use tokio::time::timeout;

use self::check::Named;
pub use self::commands::CreateFlow;
use crate::Control;
use crate::access::Caller;
use crate::assignment::first_read;
use crate::change::{Changeable, Composed, FLOW, Writable};
use crate::error::{Cause, CommandError};
use crate::life_cycle::{in_use, wrong_reference};
use crate::progress::StopReason;
use crate::scheduler::schedule;
use crate::worker::millis;

/// How long looking up table and columns may take when a flow is made.
const CHECK_PATIENCE: Duration = Duration::from_secs(30);

/// The connections of a flow, looked up.
struct Connections {
    source: Option<(Resource<SourceConnection>, Option<Resource<Connection>>)>,
    target: Option<(Resource<TargetConnection>, Option<Resource<DataSet>>)>,
}

impl Control {
    /// Makes a flow (flow-service.md 16.1 to 16.5), and its run when it is due at once.
    ///
    /// Causes: `StateInBody`, `MissingField`, `UnknownSpec`, `NoDraft`, `NoConnectionIds`, `ManyConnectionIds`,
    /// `InvalidValue`, `NotSupported`, `WrongTargetSpec`, `NoDataSet`, `NotApplicable`, `UnknownTransformation`,
    /// those of schedules, `SchemaConflict`, `Driver`, `NoColumns`, `FilterColumn`, `FilterType`.
    pub async fn create_flow(&self, caller: &Caller, command: CreateFlow) -> Result<Resource<Flow>, CommandError> {
        self.create(caller, command).await
    }

    /// Deletes a flow. Its runs stay readable; one in progress is cancelled and marked failed (flow-service.md 16.8).
    ///
    /// Causes: `Missing`, `Stale`.
    pub async fn delete_flow(&self, caller: &Caller, id: &str, expected: Precondition) -> Result<(), CommandError> {
        self.delete::<Flow>(caller, id, &expected).await?;
        if let Ok(id) = id.parse() {
            self.live.stop_flow(id, StopReason::Cancelled);
        }
        Ok(())
    }

    async fn connections_of(&self, caller: &Caller, named: &Named<'_>) -> Result<Connections, CommandError> {
        let mut connections = Connections { source: None, target: None };
        if let Some(id) = named.source {
            let pointer = "/sourceConnectionIds/0";
            let source = self.referenced::<SourceConnection>(caller, id, pointer).await?;
            named.check_source(&source)?;
            let base = match source.body.base_connection_id {
                Some(base) => Some(self.referenced::<Connection>(caller, &base.to_string(), pointer).await?),
                None => None,
            };
            if let Some(base) = base.as_ref().filter(|_| named.comes_into_use) {
                in_use(base, pointer)?;
            }
            connections.source = Some((source, base));
        }
        if let Some(id) = named.target {
            let pointer = "/targetConnectionIds/0";
            let target = self.referenced::<TargetConnection>(caller, id, pointer).await?;
            let data_set = match named.check_target(&target)? {
                Some(id) => Some(self.referenced::<DataSet>(caller, id, pointer).await?),
                None => None,
            };
            connections.target = Some((target, data_set));
        }
        Ok(connections)
    }

    /// Asks the source whether table, columns and row filter can be read (flow-service.md 14.1), and the rows of a flow that
    /// recurs be chosen by its delta column (16.2).
    async fn check_source(
        &self,
        caller: &Caller,
        flow: &Flow,
        watermark: Option<Watermark>,
        (source, base): (&Resource<SourceConnection>, &Resource<Connection>),
    ) -> Result<(), CommandError> {
        // It was there a moment ago, when the body's references were looked up.
        let access = self.access(base).await.map_err(|error| wrong_reference(error, "/sourceConnectionIds/0"))?;
        let mut request = read_request(&source.body)?;
        request.delta = self.next_delta(flow, watermark);
        let _turn = self.turn_at_sources(caller).await?;
        let check = self.ports.sources.check_read(&access, &request);
        let answer = timeout(CHECK_PATIENCE, check).await;
        let answer = answer.unwrap_or_else(|_| Err(crate::connections::slow(CHECK_PATIENCE)));
        answer.map_err(|error| match &error.fault().kind {
            SourceErrorKind::DeltaColumn => {
                let at = flow.transformations.iter().position(|entry| entry["name"] == "Copy").unwrap_or_default();
                let pointer = format!("/transformations/{at}/params/deltaColumn");
                CommandError::invalid(Cause::InvalidValue, pointer, error.to_string())
            }
            _ => CommandError::Source(error),
        })
    }

    /// What the next run of a flow that recurs would read by its delta column, if it were due now.
    fn next_delta(&self, flow: &Flow, watermark: Option<Watermark>) -> Option<Delta> {
        let column = flow.delta_column().filter(|_| recurs(flow))?;
        Some(Delta {
            column,
            span: Span::Since(Since {
                watermark,
                first: first_read(flow),
                instant_ms: self.clock.now_ms(),
                lag_ms: millis(self.settings.window_lag),
            }),
        })
    }

    /// How far a flow has got that is there already: it can not go on by any other column.
    async fn watermark(
        &self,
        before: Option<&Resource<Flow>>,
        connections: &Connections,
    ) -> Result<Option<Watermark>, CommandError> {
        let (Some(flow), Some((_, Some(data_set)))) = (before, &connections.target) else { return Ok(None) };
        let offset = self.store.read(&flow.scope).await?.offset(flow.id, &data_set.id).await?;
        Ok(offset.and_then(|offset| Watermark::of(&offset.value)))
    }
}

impl Connections {
    fn source_ids(&self) -> Vec<SourceConnectionId> {
        self.source.iter().map(|(source, _)| source.id).collect()
    }

    fn target_ids(&self) -> Vec<TargetConnectionId> {
        self.target.iter().map(|(target, _)| target.id).collect()
    }
}

impl Changeable for Flow {
    type Command = CreateFlow;
    const WRITABLE: &'static [Writable] = FLOW;

    async fn compose(
        control: &Control,
        caller: &Caller,
        command: CreateFlow,
        before: Option<&Resource<Self>>,
    ) -> Result<Composed<Self>, CommandError> {
        let now_ms = control.clock.now_ms();
        let specs = control.specs_of(caller).await?;
        let named = check::named(&specs, &command, before)?;
        let connections = control.connections_of(caller, &named).await?;
        named.check_rest(&command, &control.settings, now_ms)?;
        if let Some((target, Some(data_set))) = connections.target.as_ref().filter(|_| named.comes_into_use) {
            check::schemas_agree(target, data_set)?;
        }
        let Named { state, comes_into_use, spec: flow_spec, .. } = named;
        let body = Self {
            flow_spec,
            source_connection_ids: connections.source_ids(),
            target_connection_ids: connections.target_ids(),
            inherited_attributes: FlowInheritance::new(Vec::new(), Vec::new()),
            name: command.name,
            description: command.description,
            options: command.options,
            schedule_params: command.schedule_params,
            transformations: command.transformations.unwrap_or_default(),
            labels: command.labels,
            policy: command.policy,
            record_types: command.record_types,
            unified_metadata: command.unified_metadata,
            last_operation: LastOperation::create(state, now_ms),
            last_run_details: None,
        };
        let reads_otherwise = || before.is_some_and(|before| reads_otherwise(&before.body, &body));
        if let Some((source, Some(base))) = &connections.source
            && (comes_into_use || state != State::Draft && reads_otherwise())
        {
            let watermark = control.watermark(before, &connections).await?;
            control.check_source(caller, &body, watermark, (source, base)).await?;
        }
        Ok(Composed { state, body, secrets: None })
    }

    fn last_operation(&mut self) -> &mut LastOperation {
        &mut self.last_operation
    }

    fn keep_derived(&mut self, current: &Self) {
        self.last_run_details.clone_from(&current.last_run_details);
    }
}

/// Whether a flow has runs again and again, and not just one.
fn recurs(flow: &Flow) -> bool {
    schedule(flow).is_some_and(|schedule| !schedule.is_once())
}

/// Whether a flow in use is read by a delta column after a change that its source was not asked about yet.
fn reads_otherwise(before: &Flow, after: &Flow) -> bool {
    recurs(after) && !(recurs(before) && before.delta_column() == after.delta_column())
}

/// What a source connection asks a source to read.
pub(crate) fn read_request(source: &SourceConnection) -> Result<ReadRequest, CommandError> {
    let table = source.table_name().ok_or_else(|| CommandError::missing_field("/params/tableName"))?;
    Ok(ReadRequest {
        table: table.to_owned(),
        columns: source.column_names(),
        filter: source.filters().cloned(),
        delta: None,
        splits: Splits::Auto,
    })
}
