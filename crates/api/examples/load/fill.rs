//! What the store is filled with: flows as a busy organisation has them, each with the run that it made last.

use headwaters_control::Credentials;
use headwaters_model::account::Actor;
use headwaters_model::connection::{Auth, Connection};
use headwaters_model::flow::{Flow, FlowInheritance};
use headwaters_model::id::{ConnectionId, FlowId, SourceConnectionId, TargetConnectionId};
use headwaters_model::metrics::RunRecord;
use headwaters_model::resource::{LastOperation, Resource, State};
use headwaters_model::run::Run;
use headwaters_model::sandbox::Scope;
use headwaters_model::source_connection::InheritedConnection;
use headwaters_model::spec::{CRM_TO_AEP, DATA_LAKE, MYSQL, SpecRef};
use headwaters_store::Store;
use serde_json::{Map, Value, json};

use crate::Error;

/// When the first flow was made, milliseconds since 1970; each of the others a second later.
pub(crate) const START_MS: i64 = 1_700_000_000_000;
/// How many connections there are.
const CONNECTIONS: usize = 200;
/// How many flows read the same table.
const FLOWS_PER_SOURCE: usize = 20;
/// How much is stored at once.
const FLOWS_PER_TRANSACTION: usize = 5_000;

/// A store full of flows, and the names of some things in it.
pub(crate) struct Filled {
    store: Store,
    scope: Scope,
    actor: Actor,
    pub(crate) connections: Vec<ConnectionId>,
    pub(crate) sources: Vec<SourceConnectionId>,
    pub(crate) flows: Vec<FlowId>,
}

impl Filled {
    /// Stores connections, flows and runs.
    pub(crate) async fn fill(store: &Store, credentials: &Credentials, flows: usize) -> Result<Self, Error> {
        let sandbox = store.sandbox(&credentials.org_id, &credentials.sandbox).await?.ok_or("no sandbox")?;
        let account = store.account(&credentials.client_id).await?.ok_or("no account")?;
        let mut filled = Self {
            store: store.clone(),
            scope: sandbox.scope(),
            actor: account.actor(),
            connections: Vec::new(),
            sources: (0..flows.div_ceil(FLOWS_PER_SOURCE)).map(|_| SourceConnectionId::mint()).collect(),
            flows: Vec::new(),
        };
        filled.add_connections().await?;
        for first in (0..flows).step_by(FLOWS_PER_TRANSACTION) {
            filled.add_flows(first..flows.min(first + FLOWS_PER_TRANSACTION)).await?;
        }
        Ok(filled)
    }

    async fn add_connections(&mut self) -> Result<(), Error> {
        let mut tx = self.store.write(&self.scope).await?;
        for number in 0..CONNECTIONS {
            let params = object(json!({
                "server": "db.example", "port": 3306, "database": "shop", "username": "reader", "password": "*****" }));
            let body = Connection {
                name: format!("shop {number:03}"),
                description: Some("the database of a shop".to_owned()),
                connection_spec: SpecRef::new(MYSQL),
                auth: Some(Auth { spec_name: "Basic Authentication".to_owned(), params }),
                last_operation: LastOperation::create(State::Enabled, START_MS),
            };
            let connection = Resource::new(self.scope.clone(), State::Enabled, body, &self.actor, START_MS);
            tx.insert(&connection).await?;
            self.connections.push(connection.id);
        }
        Ok(tx.commit().await?)
    }

    async fn add_flows(&mut self, numbers: std::ops::Range<usize>) -> Result<(), Error> {
        let mut tx = self.store.write(&self.scope).await?;
        for number in numbers {
            let mut flow = self.flow(number);
            let at_ms = flow.created.at_ms;
            let mut body = Run::scheduled(flow.id, SpecRef::new(CRM_TO_AEP), None);
            body.record(RunRecord::begun(at_ms));
            let status = if number.is_multiple_of(50) { "failed" } else { "success" };
            body.metrics["statusSummary"]["status"] = status.into();
            let run = Resource::new(self.scope.clone(), State::Enabled, body, &self.actor, at_ms);
            flow.body.last_run_details = Some(run.last_run_details());
            tx.insert(&flow).await?;
            tx.insert(&run).await?;
            self.flows.push(flow.id);
        }
        Ok(tx.commit().await?)
    }

    /// Makes one flow more, as somebody who writes while others read.
    pub(crate) async fn write_one(&self, number: usize) -> Result<(), Error> {
        let mut tx = self.store.write(&self.scope).await?;
        tx.insert(&self.flow(number)).await?;
        Ok(tx.commit().await?)
    }

    fn flow(&self, number: usize) -> Resource<Flow> {
        let source = pick(&self.sources, number);
        let base = pick(&self.connections, number / FLOWS_PER_SOURCE);
        let target = TargetConnectionId::mint();
        let connection = |id: String, spec, base_connection| InheritedConnection {
            id,
            connection_spec: SpecRef::new(spec),
            base_connection,
        };
        let base = connection(base.to_string(), MYSQL, None);
        let body = Flow {
            name: Some(format!("orders {number:06}")),
            description: Some("orders of one shop, every quarter of an hour".to_owned()),
            flow_spec: SpecRef::new(CRM_TO_AEP),
            source_connection_ids: vec![source],
            target_connection_ids: vec![target],
            inherited_attributes: FlowInheritance::new(
                vec![connection(source.to_string(), MYSQL, Some(Box::new(base)))],
                vec![connection(target.to_string(), DATA_LAKE, None)],
            ),
            options: Some(object(json!({ "errorDiagnosticsEnabled": true, "partialIngestionPercent": 5 }))),
            schedule_params: Some(object(
                json!({ "startTime": "1700000000", "frequency": "minute", "interval": "15" }),
            )),
            transformations: vec![
                json!({ "name": "Copy", "params": { "deltaColumn": { "name": "updated_at", "dateFormat": "", "timezone": "UTC" } } }),
            ],
            labels: None,
            policy: None,
            record_types: None,
            unified_metadata: None,
            last_operation: LastOperation::create(State::Enabled, START_MS),
            last_run_details: None,
        };
        let state = match number % 100 {
            0 => State::Draft,
            1..10 => State::Disabled,
            _ => State::Enabled,
        };
        let at_ms = START_MS.saturating_add(i64::try_from(number).unwrap_or(i64::MAX).saturating_mul(1000));
        Resource::new(self.scope.clone(), state, body, &self.actor, at_ms)
    }
}

/// One of some things, in turn.
pub(crate) fn pick<T: Copy>(things: &[T], number: usize) -> T {
    things[number % things.len()]
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        other => unreachable!("written as an object, not as {other}"),
    }
}
