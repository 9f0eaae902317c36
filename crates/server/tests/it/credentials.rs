//! Credentials that change under a connection and its flows (flow-service.md 9, 13.3).

use headwaters_testkit::world::{FLOW_SERVICE, World};
use headwaters_testkit::{DatabaseServer, Flavour, ServerOptions};
use serde_json::{Value, json};

use crate::scene::{FAR_S, MASK, RUN_SECONDS_MAX, assert_refused, assert_written, path, status, text};

/// The password after the rotation.
const NEW: &str = "Rotated;\"2\"";

/// A private database, whose accounts may change, a program, and a connection by Basic Authentication.
struct Rotation {
    database: DatabaseServer,
    world: World,
    connection: String,
}

impl Rotation {
    async fn set(flavour: Flavour) -> Self {
        let database = ServerOptions::new(flavour).start().await.expect("a database");
        database.load("shop.sql").await.expect("the shop");
        let options = World::options(env!("CARGO_BIN_EXE_headwaters"));
        let world = options.env("HEADWATERS_RUNS_ALLOW_WITHOUT_PARAMS", "true").start().await.expect("a server");
        let spec = if flavour.is_maria_db() { "maria-db" } else { "mysql" };
        let account = database.account("reader");
        let body = json!({
            "name": "rotated", "connectionSpec": world.spec("connectionSpecs", spec).await.expect("a spec"),
            "auth": {"specName": "Basic Authentication", "params": {
                "server": database.host(), "port": database.port(), "database": "shop",
                "username": account.name, "password": account.password, "sslMode": "required",
            }},
        });
        let connection = world.create(&format!("{FLOW_SERVICE}/connections"), &body).await.expect("a connection");
        Self { database, world, connection }
    }

    fn spec_name(&self) -> &'static str {
        if self.database.flavour().is_maria_db() { "maria-db" } else { "mysql" }
    }

    async fn shown(&self) -> Value {
        self.world.document("connections", &self.connection).await.expect("a document")
    }

    async fn patch(&self, patch: &Value) -> headwaters_testkit::world::Answer {
        let etag = text(&self.shown().await["etag"]);
        self.world.patch(&path("connections", &self.connection), &etag, patch).await.expect("an answer")
    }

    /// The status and the record of a new run of the flow.
    async fn run(&self, flow: &str) -> Value {
        let made = self.world.post(&format!("{FLOW_SERVICE}/runs"), &json!({"flowId": flow})).await.expect("an answer");
        assert_eq!(made.status, 201, "{}", made.body);
        self.world.ended_run(&text(&made.body["id"]), RUN_SECONDS_MAX).await.expect("a run")
    }
}

async fn a_rotation(flavour: Flavour) {
    let rotation = Rotation::set(flavour).await;
    let table = "shop.categories";
    let copy = rotation.world.copy_at(FAR_S, &rotation.connection, rotation.spec_name(), table).await.expect("a flow");
    let run = rotation.run(&copy.flow).await;
    assert_eq!(status(&run), "success", "{run:#}");

    let before = rotation.shown().await;
    let password = |value: &str| json!([{"op": "replace", "path": "/auth/params/password", "value": value}]);
    let refused = rotation.patch(&password("hunter2")).await;
    assert_refused(&refused, "CONNECTOR-1308-400");
    assert!(!refused.body.to_string().contains("hunter2"), "{}", refused.body);
    assert_eq!(rotation.shown().await, before, "what was refused has left no trace");
    let run = rotation.run(&copy.flow).await;
    assert_eq!(status(&run), "success", "the old password is still there: {run:#}");

    rotation.database.execute(&format!("alter user reader@'%' identified by '{NEW}'")).await.expect("a new password");
    let tested = rotation.world.get(&format!("{}/test", path("connections", &rotation.connection))).await;
    let tested = tested.expect("an answer");
    assert_eq!((tested.status, &tested.body["result"]), (200, &json!(false)), "{}", tested.body);
    let run = rotation.run(&copy.flow).await;
    assert_eq!(status(&run), "failed", "{run:#}");

    assert_written(&rotation.patch(&password(NEW)).await, 200, &rotation.connection);
    let shown = rotation.shown().await;
    assert_eq!(shown["auth"]["params"]["password"], MASK);
    assert_eq!(shown["lastOperation"]["ops"][0]["value"], MASK, "{shown:#}");
    let run = rotation.run(&copy.flow).await;
    assert_eq!(status(&run), "success", "{run:#}");
    assert!(!rotation.world.log().contains("Rotated") && !rotation.world.log().contains("hunter2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_run_logs_in_with_the_password_that_was_patched_in_last_on_maria_db() {
    a_rotation(Flavour::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_run_logs_in_with_the_password_that_was_patched_in_last_on_mysql() {
    a_rotation(Flavour::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replacing_the_parameters_replaces_all_of_them() {
    let rotation = Rotation::set(Flavour::MariaDb).await;
    let before = rotation.shown().await;
    let account = rotation.database.account("odd_password");
    let mut params = json!({
        "server": rotation.database.host(), "database": "shop", "username": account.name, "password": account.password,
    });
    let replace = |value: &Value| json!([{"op": "replace", "path": "/auth/params", "value": value}]);
    // Without a port it is 3306 again, where nobody listens for this test; without a password it is incomplete.
    let refused =
        rotation.patch(&replace(&json!({"server": "127.0.0.1", "database": "shop", "username": "reader"}))).await;
    assert_refused(&refused, "CONNECTOR-1304-400");
    assert_eq!(rotation.shown().await, before);

    params["port"] = json!(rotation.database.port().to_string());
    assert_written(&rotation.patch(&replace(&params)).await, 200, &rotation.connection);
    let shown = rotation.shown().await;
    params["password"] = json!(MASK);
    assert_eq!(shown["auth"]["params"], params, "keys that were not sent are gone");
    let tested = rotation.world.get(&format!("{}/test", path("connections", &rotation.connection))).await;
    assert_eq!(tested.expect("an answer").body["result"], true);

    // A change of the method needs its own parameters.
    let string = rotation.database.connection_string("reader");
    let name = json!({"op": "replace", "path": "/auth/specName", "value": "Connection String Based Authentication"});
    assert_refused(&rotation.patch(&json!([name])).await, "CONNECTOR-1304-400");
    let both = json!([name, {"op": "replace", "path": "/auth/params", "value": {"connectionString": string}}]);
    assert_written(&rotation.patch(&both).await, 200, &rotation.connection);
    let shown = rotation.shown().await;
    assert_eq!(shown["auth"]["specName"], "Connection String Based Authentication");
    assert_eq!(shown["auth"]["params"].as_object().map(|params| params.len()), Some(1), "{shown:#}");
    assert!(text(&shown["auth"]["params"]["connectionString"]).contains(MASK), "{shown:#}");
}
