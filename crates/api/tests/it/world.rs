//! A server in this process: the real router over a real store in a temporary folder.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use headwaters_api::{ApiState, Limits, router};
use headwaters_control::ports::Clock;
use headwaters_control::{Control, Credentials, Ports, Settings};
use headwaters_model::account::{Account, Role};
use headwaters_model::sandbox::Sandbox;
use headwaters_model::secret::Secret;
use headwaters_model::spec::{CRM_TO_AEP, DATA_LAKE, MYSQL};
use headwaters_store::{KeyRing, NewAccount, Store};
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;

use crate::answer::operation;
pub(crate) use crate::answer::{Answer, assert_answer, assert_refusals};
use crate::description;
use crate::fakes::{FakeExecutor, FakeLakes, FakeSources, PASSWORD};

/// The base path of the Flow Service.
pub(crate) const FLOW: &str = "/data/foundation/flowservice";
/// The base path of the Catalog.
pub(crate) const CATALOG: &str = "/data/foundation/catalog";
/// An id of the right form that nothing has.
pub(crate) const UNKNOWN: &str = "7d0a6a1e-3a3f-4b57-8a44-1d4c2c1f8a01";
/// A version of the right form that nothing has.
pub(crate) const OLD: &str = "\"00000000-0000-0200-0000-000000000000\"";
/// When the story of every test begins, milliseconds since 1970.
pub(crate) const START_MS: i64 = 1_700_000_000_000;

/// A clock that goes on by a second with every look, so that things made one after the other have an order.
struct StepClock(AtomicI64);

impl Clock for StepClock {
    fn now_ms(&self) -> i64 {
        self.0.fetch_add(1000, Ordering::Relaxed)
    }
}

/// A server with one organisation, and a caller that may do what the first account may.
pub(crate) struct World {
    pub(crate) router: Router,
    pub(crate) state: ApiState,
    pub(crate) control: Control,
    pub(crate) credentials: Credentials,
    pub(crate) token: String,
    pub(crate) store: Store,
    _folder: TempDir,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::start_with(Settings::default()).await
    }

    pub(crate) async fn start_with(settings: Settings) -> Self {
        Self::start_within(settings, Limits::default()).await
    }

    pub(crate) async fn start_within(settings: Settings, limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let location = format!("sqlite://{}", folder.path().join("headwaters.db").display());
        let store = Store::open(&location, KeyRing::generate().unwrap()).await.unwrap();
        let ports =
            Ports { sources: Arc::new(FakeSources), executor: Arc::new(FakeExecutor), lakes: Arc::new(FakeLakes) };
        let clock = Arc::new(StepClock(AtomicI64::new(START_MS)));
        let control = Control::new(store.clone(), ports, clock, &[7; 32], settings).unwrap();
        let credentials = control.prepare().await.unwrap().unwrap();
        assert!(control.adopt(&credentials).await.unwrap());
        let state = ApiState::limited(control.clone(), Arc::new(|| "headwaters_up 1\n".to_owned()), limits);
        let mut world = Self {
            router: router(state.clone()),
            state,
            control,
            credentials,
            token: String::new(),
            store,
            _folder: folder,
        };
        world.token = world.fetch_token().await;
        world
    }

    /// The same server as another account of the organisation sees it.
    pub(crate) async fn seen_by_role(self, role: Role) -> Self {
        let account = Account::mint(self.credentials.org_id.clone(), "other", role, START_MS);
        self.seen_by(account).await
    }

    /// The same server as another account sees it, of an organisation that is made when it is not there yet.
    pub(crate) async fn seen_by(self, account: Account) -> Self {
        let secret = Secret::new("secret-of-the-other-account");
        if !self.store.organisations().await.unwrap().contains(&account.org) {
            let sandbox = Sandbox::prod(account.org.clone(), account.user_id.clone(), START_MS);
            self.store.create_organisation(&sandbox).await.unwrap();
        }
        self.store.create_account(NewAccount { account: &account, secret: &secret }).await.unwrap();
        let credentials = Credentials {
            org_id: account.org,
            client_id: account.client_id,
            client_secret: secret,
            scopes: account.scopes,
            sandbox: "prod".into(),
        };
        let mut world = Self { credentials, ..self };
        world.token = world.fetch_token().await;
        world
    }

    async fn fetch_token(&self) -> String {
        let form = self.token_form();
        let answer = self.open(Method::POST, "/ims/token/v3").body(form).send().await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        answer.json()["access_token"].as_str().unwrap().to_owned()
    }

    /// The form that asks for a token.
    pub(crate) fn token_form(&self) -> String {
        format!(
            "grant_type=client_credentials&client_id={}&client_secret={}&scope=openid,AdobeID",
            self.credentials.client_id,
            self.credentials.client_secret.expose()
        )
    }

    /// A call without any header.
    pub(crate) fn open(&self, method: Method, target: &str) -> Call<'_> {
        Call { world: self, request: Request::builder().method(method).uri(target).body(Vec::new()).unwrap() }
    }

    /// A call of a well-behaved client.
    pub(crate) fn call(&self, method: Method, target: &str) -> Call<'_> {
        self.open(method, target)
            .header("authorization", &format!("Bearer {}", self.token))
            .header("x-api-key", self.credentials.client_id.as_str())
            .header("x-gw-ims-org-id", self.credentials.org_id.as_str())
            .header("x-sandbox-name", "prod")
    }

    pub(crate) async fn get(&self, target: &str) -> Answer {
        self.call(Method::GET, target).send().await
    }

    pub(crate) async fn delete(&self, target: &str) -> Answer {
        self.call(Method::DELETE, target).send().await
    }

    pub(crate) async fn post(&self, target: &str, body: &Value) -> Answer {
        self.call(Method::POST, target).json(body).send().await
    }

    /// Changes a resource under the version that it has now.
    pub(crate) async fn patch(&self, target: &str, body: &Value) -> Answer {
        let etag = self.etag(target).await;
        self.call(Method::PATCH, target).header("if-match", &etag).json(body).send().await
    }

    /// Does something to a resource, as the public client does: without a body and without a content type.
    pub(crate) async fn act(&self, target: &str, op: &str) -> Answer {
        self.call(Method::POST, &format!("{target}/action?op={op}")).send().await
    }

    /// The version that a resource has now.
    pub(crate) async fn etag(&self, target: &str) -> String {
        self.get(target).await.items()[0]["etag"].as_str().unwrap().to_owned()
    }

    /// Makes something and returns its id.
    pub(crate) async fn make(&self, target: &str, body: &Value) -> String {
        let answer = self.post(target, body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        match answer.json() {
            Value::Array(references) => references[0].as_str().unwrap().rsplit('/').next().unwrap().to_owned(),
            made => made["id"].as_str().unwrap().to_owned(),
        }
    }

    pub(crate) async fn make_connection(&self) -> String {
        self.make(&format!("{FLOW}/connections"), &new_connection()).await
    }

    pub(crate) async fn make_data_set(&self) -> String {
        self.make(&format!("{CATALOG}/dataSets"), &json!({ "name": "Orders" })).await
    }

    pub(crate) async fn make_source(&self, connection: &str) -> String {
        self.make(&format!("{FLOW}/sourceConnections"), &new_source(connection)).await
    }

    pub(crate) async fn make_target(&self, data_set: &str) -> String {
        self.make(&format!("{FLOW}/targetConnections"), &new_target(data_set)).await
    }

    /// Makes a flow with everything that it needs.
    pub(crate) async fn make_flow(&self) -> Parts {
        let connection = self.make_connection().await;
        let data_set = self.make_data_set().await;
        let source = self.make_source(&connection).await;
        let target = self.make_target(&data_set).await;
        let flow = self.make(&format!("{FLOW}/flows"), &new_flow(&source, &target)).await;
        Parts { connection, source, target, flow }
    }
}

/// A flow and what it is made of, by their ids.
pub(crate) struct Parts {
    pub(crate) connection: String,
    pub(crate) source: String,
    pub(crate) target: String,
    pub(crate) flow: String,
}

pub(crate) fn new_connection() -> Value {
    json!({
        "name": "shop",
        "description": "the shop's database",
        "auth": {
            "specName": "Basic Authentication",
            "params": { "server": "db.test", "port": 3306, "database": "shop", "username": "reader", "password": PASSWORD },
        },
        "connectionSpec": { "id": MYSQL, "version": "1.0" },
    })
}

pub(crate) fn new_source(connection: &str) -> Value {
    json!({
        "name": "shop orders",
        "baseConnectionId": connection,
        "description": "all orders",
        "data": { "format": "tabular" },
        "params": { "tableName": "shop.orders", "columns": [{ "name": "id", "type": "long" }, { "name": "total", "type": "double" }] },
        "connectionSpec": { "id": MYSQL, "version": "1.0" },
    })
}

pub(crate) fn new_target(data_set: &str) -> Value {
    json!({
        "name": "orders in the lake",
        "data": {},
        "params": { "dataSetId": data_set },
        "connectionSpec": { "id": DATA_LAKE, "version": "1.0" },
    })
}

pub(crate) fn new_flow(source: &str, target: &str) -> Value {
    json!({
        "name": "orders to the lake",
        "flowSpec": { "id": CRM_TO_AEP, "version": "1.0" },
        "sourceConnectionIds": [source],
        "targetConnectionIds": [target],
        "transformations": [],
        "scheduleParams": { "startTime": (START_MS / 1000 + 100).to_string(), "frequency": "once" },
    })
}

/// A request under construction.
pub(crate) struct Call<'a> {
    world: &'a World,
    request: Request<Vec<u8>>,
}

impl Call<'_> {
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.request.headers_mut().insert(name, value.parse().unwrap());
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.request.headers_mut().remove(name);
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        *self.request.body_mut() = body.into();
        self
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }

    pub(crate) async fn send(self) -> Answer {
        let asked = operation(&self.request);
        let (method, target) = (self.request.method().clone(), self.request.uri().to_string());
        let request = self.request.map(Body::from);
        let sent = self.world.router.clone().oneshot(request);
        let response = tokio::time::timeout(Duration::from_secs(30), sent).await.unwrap().unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let answer = Answer { request: asked, status: parts.status, headers: parts.headers, body };
        description::check(&method, &target, &answer);
        answer
    }
}
