//! Flows: from which source into which target, when, and how (flow-service.md 16).
//!
//! A new flow is checked in three steps: what needs no one (`check.rs`), what needs the store (its connections,
//! its data set), and last what needs the source (table, columns, row filter), outside any transaction.

mod check;
mod commands;

use std::time::Duration;

use headwaters_model::connection::Connection;
use headwaters_model::data_set::DataSet;
use headwaters_model::etag::Precondition;
use headwaters_model::flow::{Flow, FlowInheritance};
use headwaters_model::job::{ReadRequest, Splits};
use headwaters_model::resource::{LastOperation, Resource, State};
use headwaters_model::source_connection::{InheritedConnection, SourceConnection};
use headwaters_model::target_connection::TargetConnection;
use tokio::time::timeout;

pub use self::commands::CreateFlow;
use crate::Control;
use crate::access::Caller;
use crate::error::CommandError;
use crate::progress::StopReason;

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
        let now_ms = self.clock.now_ms();
        let named = check::named(&self.specs, &command)?;
        let (spec, state) = (named.spec.clone(), named.state);
        let connections = self.connections_of(caller, &named).await?;
        named.check_rest(&command, &self.settings, now_ms)?;
        if let Some((target, Some(data_set))) = &connections.target {
            check::schemas_agree(target, data_set)?;
        }
        if let (Some((source, Some(base))), State::Enabled) = (&connections.source, state) {
            self.check_source(source, base).await?;
        }
        let body = Flow {
            name: command.name,
            description: command.description,
            flow_spec: spec,
            source_connection_ids: connections.source.iter().map(|(source, _)| source.id).collect(),
            target_connection_ids: connections.target.iter().map(|(target, _)| target.id).collect(),
            inherited_attributes: connections.inheritance(),
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
        let flow = Resource::new(caller.scope.clone(), state, body, &caller.actor, now_ms);
        self.insert(caller, &flow, &[]).await?;
        self.wake.notify_one();
        Ok(flow)
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

    async fn connections_of(&self, caller: &Caller, named: &check::Named<'_>) -> Result<Connections, CommandError> {
        let mut connections = Connections { source: None, target: None };
        if let Some(id) = named.source {
            let pointer = "/sourceConnectionIds/0";
            let source = self.referenced::<SourceConnection>(caller, id, pointer).await?;
            named.check_source(&source)?;
            let base = match source.body.base_connection_id {
                Some(base) => Some(self.referenced::<Connection>(caller, &base.to_string(), pointer).await?),
                None => None,
            };
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

    /// Asks the source whether table, columns and row filter can be read (flow-service.md 14.1).
    async fn check_source(
        &self,
        source: &Resource<SourceConnection>,
        base: &Resource<Connection>,
    ) -> Result<(), CommandError> {
        let access = self.access(base).await?;
        let request = read_request(&source.body)?;
        let check = self.ports.sources.check_read(&access, &request);
        let answer = timeout(CHECK_PATIENCE, check).await;
        answer.unwrap_or_else(|_| Err(crate::connections::slow(CHECK_PATIENCE))).map_err(CommandError::Source)
    }
}

impl Connections {
    fn inheritance(&self) -> FlowInheritance {
        let inherited =
            |id: String, connection_spec, base_connection| InheritedConnection { id, connection_spec, base_connection };
        let source = self.source.iter().map(|(source, base)| {
            let base = base
                .as_ref()
                .map(|base| Box::new(inherited(base.id.to_string(), base.body.connection_spec.clone(), None)));
            inherited(source.id.to_string(), source.body.connection_spec.clone(), base)
        });
        let target = self.target.iter();
        let target =
            target.map(|(target, _)| inherited(target.id.to_string(), target.body.connection_spec.clone(), None));
        FlowInheritance::new(source.collect(), target.collect())
    }
}

/// What a source connection asks a source to read.
pub(crate) fn read_request(source: &SourceConnection) -> Result<ReadRequest, CommandError> {
    let table = source.table_name().ok_or_else(|| CommandError::missing_field("/params/tableName"))?;
    Ok(ReadRequest {
        table: table.to_owned(),
        columns: source.column_names(),
        filter: source.filters().cloned(),
        splits: Splits::Auto,
    })
}
