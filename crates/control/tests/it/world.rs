//! A control plane with one organisation, one caller and the fakes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use headwaters_control::ports::Clock;
use headwaters_control::{
    AccessHeaders, AuthInput, Caller, Control, CreateConnection, CreateDataSet, CreateFlow, CreateSourceConnection,
    CreateTargetConnection, Credentials, Ports, Settings, SpecInput, TokenRequest, Worker, WorkerExit,
};
use headwaters_model::connection::Connection;
use headwaters_model::flow::Flow;
use headwaters_model::id::SpecId;
use headwaters_model::page::ListQuery;
use headwaters_model::resource::Resource;
use headwaters_model::run::{Run, RunStatus};
use headwaters_model::secret::Secret;
use headwaters_model::spec::{CRM_TO_AEP, DATA_LAKE, MYSQL};
use headwaters_store::{KeyRing, Store};
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::fakes::{FakeClock, FakeExecutor, FakeLakes, FakeSources, PASSWORD, TABLE, WatchedClock};

/// The moment at which every test begins.
pub(crate) const NOW_MS: i64 = 1_700_000_000_000;
/// No test waits longer.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct World {
    pub(crate) control: Control,
    pub(crate) store: Store,
    pub(crate) caller: Caller,
    pub(crate) credentials: Credentials,
    pub(crate) clock: Arc<FakeClock>,
    pub(crate) executor: Arc<FakeExecutor>,
    settings: Settings,
    token_key: Vec<u8>,
    _dir: TempDir,
}

/// A worker that runs beside the test.
pub(crate) struct RunningWorker {
    task: JoinHandle<WorkerExit>,
    shutdown: CancellationToken,
}

/// Settings under which nothing takes long.
pub(crate) fn quick() -> Settings {
    Settings {
        poll: Duration::from_millis(10),
        lease: Duration::from_secs(60),
        progress_write: Duration::from_millis(50),
        drain: Duration::from_millis(200),
        ..Settings::default()
    }
}

pub(crate) fn object(value: &Value) -> Option<Map<String, Value>> {
    value.as_object().cloned()
}

pub(crate) fn spec(id: SpecId) -> Option<SpecInput> {
    Some(SpecInput { id: Some(id.to_string()), version: None })
}

pub(crate) fn connection_command(password: &str) -> CreateConnection {
    let params = json!({
        "server": "db", "port": 3306, "database": "shop", "username": "reader", "password": password,
        "certificatePassword": "another-secret",
    });
    CreateConnection {
        name: Some("shop".into()),
        auth: Some(AuthInput { spec_name: Some("Basic Authentication".into()), params: object(&params) }),
        connection_spec: spec(MYSQL),
        ..CreateConnection::default()
    }
}

/// The same before its first start: without organisation and account.
pub(crate) struct Unpeopled {
    pub(crate) control: Control,
    pub(crate) store: Store,
    clock: Arc<FakeClock>,
    executor: Arc<FakeExecutor>,
    settings: Settings,
    token_key: Vec<u8>,
    _dir: TempDir,
}

impl Unpeopled {
    async fn with(settings: Settings) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let keys = KeyRing::generate().unwrap();
        let token_key = keys.signing_key().to_vec();
        let store = Store::open(dir.path().join("headwaters.db").to_str().unwrap(), keys).await.unwrap();
        let (clock, executor) = (Arc::new(FakeClock::at(NOW_MS)), Arc::new(FakeExecutor::default()));
        let control = assemble(&store, &executor, clock.clone(), &token_key, settings.clone());
        Self { control, store, clock, executor, settings, token_key, _dir: dir }
    }

    /// The next start.
    pub(crate) fn other_process(&self) -> Control {
        assemble(&self.store, &self.executor, self.clock.clone(), &self.token_key, self.settings.clone())
    }
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::with(quick()).await
    }

    pub(crate) async fn with(settings: Settings) -> Self {
        let Unpeopled { control, store, clock, executor, settings, token_key, _dir } = Unpeopled::with(settings).await;
        let credentials = control.prepare().await.unwrap().expect("the first start makes credentials");
        assert!(control.adopt(&credentials).await.unwrap());
        let token = token(&control, &credentials).await;
        let caller = authenticate(&control, &credentials, &token).await;
        Self { control, store, caller, credentials, clock, executor, settings, token_key, _dir }
    }

    /// A store that was opened for the first time.
    pub(crate) async fn unpeopled() -> Unpeopled {
        Unpeopled::with(quick()).await
    }

    /// Another process over the same store and lake: what the first one has in memory is not in it.
    pub(crate) fn other_process(&self) -> Control {
        self.process_with(self.settings.clone())
    }

    /// The same with other settings.
    pub(crate) fn process_with(&self, settings: Settings) -> Control {
        assemble(&self.store, &self.executor, self.clock.clone(), &self.token_key, settings)
    }

    pub(crate) async fn connection(&self) -> Resource<Connection> {
        self.control.create_connection(&self.caller, connection_command(PASSWORD)).await.unwrap()
    }

    pub(crate) async fn source(&self, base: &Resource<Connection>, params: Value) -> String {
        let command = CreateSourceConnection {
            name: Some("orders".into()),
            base_connection_id: Some(base.id.to_string()),
            data: Some(Map::new()),
            connection_spec: spec(MYSQL),
            params: object(&params),
            ..CreateSourceConnection::default()
        };
        self.control.create_source_connection(&self.caller, command).await.unwrap().id.to_string()
    }

    pub(crate) async fn target(&self) -> String {
        let data_set = CreateDataSet { name: Some("Orders".into()), ..CreateDataSet::default() };
        let data_set = self.control.create_data_set(&self.caller, data_set).await.unwrap();
        let command = CreateTargetConnection {
            data: Some(Map::new()),
            connection_spec: spec(DATA_LAKE),
            params: object(&json!({ "dataSetId": data_set.id })),
            ..CreateTargetConnection::default()
        };
        self.control.create_target_connection(&self.caller, command).await.unwrap().id.to_string()
    }

    /// What a flow over the whole chain is made with; it is due at once.
    pub(crate) async fn flow_command(&self) -> CreateFlow {
        let base = self.connection().await;
        CreateFlow {
            name: Some("orders to lake".into()),
            flow_spec: spec(CRM_TO_AEP),
            source_connection_ids: Some(vec![self.source(&base, json!({ "tableName": TABLE })).await]),
            target_connection_ids: Some(vec![self.target().await]),
            schedule_params: object(&json!({ "startTime": (NOW_MS / 1000).to_string(), "frequency": "once" })),
            ..CreateFlow::default()
        }
    }

    pub(crate) async fn flow(&self) -> Resource<Flow> {
        let command = self.flow_command().await;
        self.control.create_flow(&self.caller, command).await.unwrap()
    }

    pub(crate) fn worker(&self) -> RunningWorker {
        RunningWorker::start(self.control.clone())
    }

    /// The only run there is, once there is one.
    pub(crate) async fn run(&self) -> Resource<Run> {
        let found = async {
            loop {
                let page = self.control.list::<Run>(&self.caller, &ListQuery::all()).await.unwrap();
                assert!(page.items.len() <= 1, "one flow runs once");
                if let Some(stored) = page.items.into_iter().next() {
                    // As it is shown: with the counters that are not written down yet.
                    let shown = self.control.run(&self.caller, &stored.id.to_string()).await.unwrap();
                    if shown.etag == stored.etag {
                        return stored.with_body(shown.read().unwrap());
                    }
                }
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, found).await.expect("a run in time")
    }

    /// The only run there is, once it has come so far.
    pub(crate) async fn run_when(&self, reached: impl Fn(&Resource<Run>) -> bool) -> Resource<Run> {
        let waiting = async {
            loop {
                let run = self.run().await;
                if reached(&run) {
                    return run;
                }
                sleep(Duration::from_millis(5)).await;
            }
        };
        match timeout(PATIENCE, waiting).await {
            Ok(run) => run,
            Err(_) => panic!("the run did not get so far: {}", self.run().await.document()),
        }
    }

    /// The only run there is, once it is over.
    pub(crate) async fn finished(&self) -> Resource<Run> {
        self.run_when(|run| run.body.status().is_final()).await
    }

    /// Waits until attempts have begun to land so often.
    pub(crate) async fn landings(&self, count: usize) {
        reaches(&self.executor.landings, count).await;
    }

    /// Waits until attempts have begun to commit so often.
    pub(crate) async fn commits_begun(&self, count: usize) {
        reaches(&self.executor.commits_begun, count).await;
    }

    /// Time passes until every lease that is not prolonged has ended, and every pause too.
    pub(crate) fn let_leases_end(&self) {
        self.clock.advance(Duration::from_secs(120));
    }

    /// A scheduler of another process looks once at what is due, all the way through.
    pub(crate) async fn schedule_once(&self) {
        let clock = Arc::new(WatchedClock { clock: self.clock.clone(), read: Notify::new() });
        let settings = Settings { runs_at_once: 0, ..self.settings.clone() };
        let scheduler =
            RunningWorker::start(assemble(&self.store, &self.executor, clock.clone(), &self.token_key, settings));
        // Before all else a scheduler reads the clock; what it has begun it brings to an end.
        timeout(PATIENCE, clock.read.notified()).await.expect("a look in time");
        scheduler.stop().await;
    }

    /// The clock goes on while a worker waits for the end of pauses.
    pub(crate) async fn finished_after_pauses(&self) -> Resource<Run> {
        self.while_time_passes(self.finished()).await
    }

    /// The clock goes on meanwhile.
    pub(crate) async fn while_time_passes<T>(&self, awaited: impl Future<Output = T>) -> T {
        let ticking = async {
            loop {
                self.clock.advance(Duration::from_secs(1));
                sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            done = awaited => done,
            () = ticking => unreachable!("the clock ticks for ever"),
        }
    }

    /// Waits until the lake was asked so often for the last commit of a flow.
    pub(crate) async fn looks(&self, count: usize) {
        reaches(&self.executor.looks, count).await;
    }
}

impl RunningWorker {
    pub(crate) fn start(control: Control) -> Self {
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(Worker::new(control).run(shutdown.clone()));
        Self { task, shutdown }
    }

    /// Dies on the spot, as a killed process does: nothing is released, nothing is written.
    pub(crate) async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }

    /// Shuts down in order.
    pub(crate) async fn stop(self) -> WorkerExit {
        self.shutdown.cancel();
        timeout(PATIENCE, self.task).await.expect("a worker stops in time").unwrap()
    }
}

async fn reaches(counter: &AtomicUsize, count: usize) {
    let reached = async {
        while counter.load(Ordering::SeqCst) < count {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, reached).await.expect("an attempt in time");
}

pub(crate) fn status(run: &Resource<Run>) -> RunStatus {
    run.body.status()
}

pub(crate) async fn token(control: &Control, credentials: &Credentials) -> Secret {
    let request = TokenRequest {
        grant_type: Some("client_credentials".into()),
        client_id: Some(credentials.client_id.to_string()),
        client_secret: Some(credentials.client_secret.clone()),
        scope: None,
        request_id: None,
    };
    control.issue_token(request).await.unwrap().access_token
}

async fn authenticate(control: &Control, credentials: &Credentials, token: &Secret) -> Caller {
    let authorization = format!("Bearer {}", token.expose());
    let headers = AccessHeaders {
        authorization: Some(&authorization),
        api_key: Some(credentials.client_id.as_str()),
        org: Some(credentials.org_id.as_str()),
        sandbox_name: Some("prod"),
        sandbox_id: None,
    };
    control.authenticate(headers, "request-1".into()).await.unwrap()
}

fn assemble(
    store: &Store,
    executor: &Arc<FakeExecutor>,
    clock: Arc<dyn Clock>,
    token_key: &[u8],
    settings: Settings,
) -> Control {
    let ports = Ports { sources: Arc::new(FakeSources), executor: executor.clone(), lakes: Arc::new(FakeLakes) };
    Control::new(store.clone(), ports, clock, token_key, settings).unwrap()
}
