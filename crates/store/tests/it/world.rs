//! What the tests stand on: an opened store with two sandboxes, and resources to put into it.

use headwaters_model::account::{Account, Actor, Role};
use headwaters_model::batch::{Batch, BatchStatus};
use headwaters_model::connection::{Auth, Connection};
use headwaters_model::data_set::{DataSet, TAG_TABLE};
use headwaters_model::flow::{Flow, FlowInheritance};
use headwaters_model::id::{ConnectionId, DataSetId, OrgId, RunId, SourceConnectionId, TargetConnectionId};
use headwaters_model::job::{Landed, LandedFile, Totals};
use headwaters_model::metrics::RunFacts;
use headwaters_model::offset::Ordinal;
use headwaters_model::resource::{LastOperation, Resource, State};
use headwaters_model::run::{Run, RunOrigin};
use headwaters_model::sandbox::{Sandbox, Scope};
use headwaters_model::secret::Secret;
use headwaters_model::source_connection::{SourceConnection, SourceData};
use headwaters_model::spec::{self, SpecRef};
use headwaters_model::target_connection::TargetConnection;
use headwaters_store::{Attempt, Claim, NewAccount, PendingCommit, Store, Stored};
use serde_json::{Map, Value, json};

/// When everything happens, milliseconds since 1970.
pub(crate) const NOW: i64 = 1_700_000_000_000;
/// How long a lease lasts, in milliseconds.
pub(crate) const LEASE: i64 = 30_000;

/// An opened store with an account and two sandboxes of different organisations.
pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) scope: Scope,
    pub(crate) elsewhere: Scope,
    pub(crate) account: Account,
    pub(crate) actor: Actor,
    /// Deleted with the world.
    pub(crate) dir: tempfile::TempDir,
}

impl World {
    pub(crate) async fn new(store: Store, dir: tempfile::TempDir) -> Self {
        let account = Account::mint(OrgId::mint(), "tests", Role::Manage, NOW);
        let [here, there] =
            [account.org.clone(), OrgId::mint()].map(|org| Sandbox::prod(org, account.user_id.clone(), NOW));
        for sandbox in [&here, &there] {
            store.create_organisation(sandbox).await.unwrap();
        }
        let secret = Secret::new("the secret of the account");
        store.create_account(NewAccount { account: &account, secret: &secret }).await.unwrap();
        Self { store, scope: here.scope(), elsewhere: there.scope(), actor: account.actor(), account, dir }
    }

    /// Stores a new resource of the first sandbox.
    pub(crate) async fn add<K: Stored>(&self, body: K) -> Resource<K> {
        let resource = Resource::new(self.scope.clone(), State::Enabled, body, &self.actor, NOW);
        let mut tx = self.store.write(&self.scope).await.unwrap();
        tx.insert(&resource).await.unwrap();
        tx.commit().await.unwrap();
        resource
    }

    /// Reads a resource of the first sandbox.
    pub(crate) async fn find<K: Stored>(&self, id: &K::Id) -> Option<Resource<K>> {
        self.store.read(&self.scope).await.unwrap().get(id).await.unwrap()
    }

    /// A flow with all that it needs.
    pub(crate) async fn add_pipeline(&self) -> Pipeline {
        let connection = self.add(connection("shop")).await;
        let source = self.add(source(connection.id)).await;
        let data_set = self.add(data_set("orders")).await;
        let target = self.add(target(&data_set.id)).await;
        let flow = self.add(flow("orders", Some(source.id), Some(target.id))).await;
        Pipeline { connection, source, data_set, target, flow }
    }

    /// A run of a flow, due now.
    pub(crate) async fn add_run(&self, flow: &Resource<Flow>, scheduled_for_ms: Option<i64>) -> Resource<Run> {
        let body = Run::scheduled(flow.id, flow.body.flow_spec.clone(), None);
        let run = Resource::new(self.scope.clone(), State::Enabled, body, &Actor::scheduler(), NOW);
        let mut tx = self.store.write(&self.scope).await.unwrap();
        assert!(tx.schedule_run(&run, &RunOrigin::default(), NOW, scheduled_for_ms).await.unwrap());
        tx.commit().await.unwrap();
        run
    }

    /// A run that repeats another, due now.
    pub(crate) async fn add_repeat(&self, of: &Resource<Run>) -> Resource<Run> {
        let body = Run::scheduled(of.body.flow_id, of.body.flow_spec.clone(), None);
        let run = Resource::new(self.scope.clone(), State::Enabled, body, &self.actor, NOW);
        let mut tx = self.store.write(&self.scope).await.unwrap();
        let origin = tx.run_origin(of.id).await.unwrap().repeated(of.id);
        tx.queue_run(&run, &origin, NOW).await.unwrap();
        tx.commit().await.unwrap();
        run
    }

    /// Claims the next run for a worker.
    pub(crate) async fn claim(&self, owner: &str, now_ms: i64) -> Option<Claim> {
        self.claim_beside(owner, &[], now_ms).await
    }

    /// The same for a worker that has runs in hand.
    pub(crate) async fn claim_beside(&self, owner: &str, in_hand: &[RunId], now_ms: i64) -> Option<Claim> {
        self.store.claim_run(owner, in_hand, now_ms, LEASE).await.unwrap()
    }

    /// Begins an attempt of a claimed run.
    pub(crate) async fn attempt(&self, claim: &Claim, owner: &str, data_set: &DataSetId) -> Attempt {
        let mut tx = self.store.write(&self.scope).await.unwrap();
        let attempt = tx.begin_attempt(&claim.run, owner, data_set, NOW).await.unwrap();
        tx.commit().await.unwrap();
        attempt
    }

    /// Notes that an attempt is about to commit.
    pub(crate) async fn put_pending(&self, claim: &Claim, attempt: &Attempt, data_set: &DataSetId, next: Value) {
        self.put_landed(claim, attempt, data_set, next, landed()).await;
    }

    /// The same with what it has landed.
    pub(crate) async fn put_landed(
        &self,
        claim: &Claim,
        attempt: &Attempt,
        data_set: &DataSetId,
        next: Value,
        landed: Landed,
    ) {
        let pending = PendingCommit {
            flow: claim.run.body.flow_id,
            data_set: data_set.clone(),
            run: claim.run.id,
            ordinal: attempt.ordinal,
            base: attempt.base,
            next,
            landed,
            landed_at_ms: NOW,
            facts: facts(claim),
        };
        let mut tx = self.store.write(&self.scope).await.unwrap();
        tx.put_pending(&pending).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// The ordinals of what is pending for a flow, and how far it has got.
    pub(crate) async fn standing(&self, flow: &Resource<Flow>, data_set: &DataSetId) -> (Vec<Ordinal>, Option<Value>) {
        let mut tx = self.store.read(&self.scope).await.unwrap();
        let pending = tx.pending(flow.id, data_set).await.unwrap();
        let offset = tx.offset(flow.id, data_set).await.unwrap();
        (pending.iter().map(|pending| pending.ordinal).collect(), offset.map(|offset| offset.value))
    }
}

/// A flow with all that it needs.
pub(crate) struct Pipeline {
    pub(crate) connection: Resource<Connection>,
    pub(crate) source: Resource<SourceConnection>,
    pub(crate) data_set: Resource<DataSet>,
    pub(crate) target: Resource<TargetConnection>,
    pub(crate) flow: Resource<Flow>,
}

pub(crate) fn connection(name: &str) -> Connection {
    let params = object(json!({ "server": "localhost", "database": "shop", "username": "reader" }));
    Connection {
        name: name.to_owned(),
        description: None,
        connection_spec: SpecRef::new(spec::MARIADB),
        auth: Some(Auth { spec_name: "Basic Authentication".to_owned(), params }),
        last_operation: LastOperation::create(State::Enabled, NOW),
    }
}

pub(crate) fn source(base: ConnectionId) -> SourceConnection {
    SourceConnection {
        name: "orders".to_owned(),
        description: None,
        base_connection_id: Some(base),
        data: SourceData::default(),
        connection_spec: SpecRef::new(spec::MARIADB),
        params: object(json!({ "tableName": "shop.orders" })),
        inherited_attributes: None,
        last_operation: LastOperation::create(State::Enabled, NOW),
    }
}

pub(crate) fn target(data_set: &DataSetId) -> TargetConnection {
    TargetConnection {
        name: Some("orders".to_owned()),
        description: None,
        data: Map::new(),
        connection_spec: SpecRef::new(spec::DATA_LAKE),
        params: object(json!({ "dataSetId": data_set })),
        inherited_attributes: Map::new(),
        last_operation: LastOperation::create(State::Enabled, NOW),
    }
}

pub(crate) fn flow(name: &str, source: Option<SourceConnectionId>, target: Option<TargetConnectionId>) -> Flow {
    Flow {
        name: Some(name.to_owned()),
        description: None,
        flow_spec: SpecRef::new(spec::CRM_TO_AEP),
        source_connection_ids: source.into_iter().collect(),
        target_connection_ids: target.into_iter().collect(),
        inherited_attributes: FlowInheritance::new(Vec::new(), Vec::new()),
        options: None,
        schedule_params: Some(object(json!({ "startTime": "1700000000", "frequency": "once" }))),
        transformations: Vec::new(),
        labels: None,
        policy: None,
        record_types: None,
        unified_metadata: None,
        last_operation: LastOperation::create(State::Enabled, NOW),
        last_run_details: None,
    }
}

pub(crate) fn data_set(name: &str) -> DataSet {
    DataSet {
        name: name.to_owned(),
        description: None,
        location: "file:///lake/orders".to_owned(),
        schema_ref: None,
        tags: object(json!({ TAG_TABLE: [name] })),
        enable_error_diagnostics: None,
        as_sent: object(json!({ "unifiedTags": ["a"] })),
        changes: 0,
        last_batch: None,
        last_successful_batch: None,
        last_failed_batch: None,
    }
}

/// The batch of a claimed run.
pub(crate) fn batch(world: &World, claim: &Claim, data_set: &DataSetId, status: BatchStatus) -> Resource<Batch> {
    let body = Batch {
        data_set_id: data_set.clone(),
        flow_id: claim.run.body.flow_id,
        run_id: claim.run.id,
        status,
        started_at_ms: NOW,
        completed_at_ms: NOW,
        table_version: Some(0),
        totals: landed().totals,
        files: landed().files,
        errors: Vec::new(),
    };
    let mut batch = Resource::new(world.scope.clone(), State::Enabled, body, &Actor::scheduler(), NOW);
    batch.id = claim.batch.clone();
    batch
}

fn facts(claim: &Claim) -> RunFacts {
    RunFacts {
        run: claim.run.id,
        source_label: "MariaDB".to_owned(),
        source: SourceConnectionId::mint(),
        target: TargetConnectionId::mint(),
        batch: claim.batch.clone(),
        once: true,
        window: None,
        started_at_ms: NOW,
    }
}

pub(crate) fn landed() -> Landed {
    let file = LandedFile { path: "part-0.parquet".into(), size_bytes: 300, rows: 3, modified_at_ms: NOW, stats: None };
    let totals = Totals { rows_in: 3, rows_out: 3, rows_rejected: 0, bytes_in: 500, bytes_out: 300 };
    Landed { files: vec![file], totals, ..Landed::default() }
}

pub(crate) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        other => panic!("not an object: {other}"),
    }
}
