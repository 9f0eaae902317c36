//! A server in this process: the real router over a real store in a temporary folder.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use headwaters_api::{ApiState, router};
use headwaters_control::ports::Clock;
use headwaters_control::{Control, Credentials, Ports, Settings};
use headwaters_model::account::{Account, Role};
use headwaters_model::sandbox::Sandbox;
use headwaters_model::secret::Secret;
use headwaters_model::spec::{CRM_TO_AEP, DATA_LAKE, MYSQL};
use headwaters_store::{KeyRing, NewAccount, Store};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;

use crate::fakes::{FakeExecutor, FakeLakes, FakeSources, PASSWORD};

/// The base path of the Flow Service.
pub(crate) const FLOW: &str = "/data/foundation/flowservice";
/// The base path of the Catalog.
pub(crate) const CATALOG: &str = "/data/foundation/catalog";
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
        let folder = tempfile::tempdir().unwrap();
        let location = format!("sqlite://{}", folder.path().join("headwaters.db").display());
        let store = Store::open(&location, KeyRing::generate().unwrap()).await.unwrap();
        let ports =
            Ports { sources: Arc::new(FakeSources), executor: Arc::new(FakeExecutor), lakes: Arc::new(FakeLakes) };
        let clock = Arc::new(StepClock(AtomicI64::new(START_MS)));
        let control = Control::new(store.clone(), ports, clock, &[7; 32], settings).unwrap();
        let credentials = control.prepare().await.unwrap().unwrap();
        assert!(control.adopt(&credentials).await.unwrap());
        let state = ApiState::new(control.clone(), Arc::new(|| "headwaters_up 1\n".to_owned()));
        let mut world =
            Self { router: router(state), control, credentials, token: String::new(), store, _folder: folder };
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
        let request = self.request.map(Body::from);
        let sent = self.world.router.clone().oneshot(request);
        let response = tokio::time::timeout(Duration::from_secs(30), sent).await.unwrap().unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status, headers: parts.headers, body }
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The documented code at the end of a problem's `type`.
    pub(crate) fn code(&self) -> String {
        let body = self.json();
        body["type"].as_str().unwrap_or_default().rsplit('/').next().unwrap_or_default().to_owned()
    }

    /// The items of a list, or the wrapped single document.
    pub(crate) fn items(&self) -> Vec<Value> {
        self.json()["items"].as_array().unwrap_or_else(|| panic!("{self:?}")).clone()
    }

    /// Status, telling headers and body, for a snapshot.
    pub(crate) fn shown(&self) -> Value {
        let telling = ["allow", "location", "etag", "cache-control", "content-type", "retry-after"];
        let headers = telling.iter().filter_map(|name| Some(((*name).to_owned(), json!(self.header(name)?))));
        let body = if self.body.is_empty() { Value::Null } else { self.json() };
        json!({ "status": self.status.as_u16(), "headers": Value::Object(headers.collect()), "body": body })
    }
}

/// Compares an answer with its snapshot, ids and times left out.
pub(crate) fn assert_answer(name: &str, answer: &Answer) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    for (pattern, label) in CHANGING {
        settings.add_filter(pattern, *label);
    }
    settings.bind(|| insta::assert_json_snapshot!(name, answer.shown()));
}

/// What differs from run to run, and what stands in its place.
pub(crate) const CHANGING: &[(&str, &str)] = &[
    (r#"\\?"[0-9a-f]{8}-0000-0200-0000-[0-9a-f]{12}\\?""#, "[etag]"),
    (r"M-[0-9a-f-]{36}-incremental-0:[0-9a-f-]{36}", "[provider ref]"),
    // Minted ids are of version 7; those of the catalogue are not, and stay.
    (r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", "[id]"),
    (r"[0-9A-F]{24}@AdobeOrg", "[org]"),
    (r"[0-9A-F]{24}@AdobeID", "[user]"),
    (r"lake/[0-9A-F]{24}/", "lake/[org]/"),
    (r"\b[0-9a-f]{32}\b", "[client]"),
    (r"\b[0-9a-f]{24}\b", "[data set]"),
    (r"\b[0-9A-HJKMNP-TV-Z]{26}\b", "[batch]"),
    (r"\b17000\d{8}\b", "[time]"),
];
