//! The examples of the description are what a server at work takes and answers: this test tells a whole story, from the
//! first token to the last delete, and compares what it saw with the file that is compiled into the program.
//!
//! `INSTA_UPDATE=always` writes the file anew, as it does for snapshots.

use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use headwaters_api::{Limits, operations};
use headwaters_control::{Settings, Worker};
use headwaters_model::account::Role;
use headwaters_model::spec::{CRM_TO_AEP, MYSQL};
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use crate::description::{operation, resolved};
use crate::fakes::{CURSED, FAILING, PASSWORD};
use crate::steady::Steady;
use crate::world::{
    Answer, CATALOG, FLOW, OLD, START_MS, UNKNOWN, World, new_connection, new_flow, new_source, new_target,
};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/openapi/examples.json");

/// What was seen, in the form of the file.
#[derive(Default)]
struct Record {
    operations: Map<String, Value>,
    failures: Map<String, Value>,
    steady: Steady,
}

impl Record {
    /// Asks as a well-behaved client does, and notes what was sent and what came back under a name.
    async fn ask(&mut self, world: &World, name: &str, method: Method, target: &str, body: Option<Value>) -> Answer {
        let mut call = world.call(method.clone(), target).header("x-request-id", "orders-1");
        if method == Method::PATCH || method == Method::PUT && target.contains("/runs/") {
            call = call.header("if-match", &world.etag(target).await);
        }
        if let Some(body) = &body {
            call = call.json(body);
        }
        let answer = call.send().await;
        assert!(answer.status.is_success(), "{name}: {answer:?}");
        self.note(name, &method, target, body, &answer);
        answer
    }

    async fn get(&mut self, world: &World, name: &str, target: &str) -> Answer {
        self.ask(world, name, Method::GET, target, None).await
    }

    async fn make(&mut self, world: &World, name: &str, target: &str, body: Value) -> String {
        let answer = self.ask(world, name, Method::POST, target, Some(body)).await.json();
        let text = answer["id"].as_str().or(answer[0].as_str()).unwrap();
        text.rsplit('/').next().unwrap().to_owned()
    }

    fn note(&mut self, name: &str, method: &Method, target: &str, sent: Option<Value>, answer: &Answer) {
        let (path, _) = operation(method, target).unwrap();
        let at = self.steady.text(target.split('?').next().unwrap());
        let noted = self.operations.entry(format!("{method} {path}")).or_insert_with(|| json!({ "at": at }));
        if let Some(sent) = sent {
            noted["takes"][name] = self.steady.of(&sent);
        }
        if !answer.body.is_empty() {
            noted["answers"][answer.status.as_str()][name] = self.steady.of(&answer.json());
        }
    }

    /// Notes how a request failed, by its code.
    fn note_failure(&mut self, method: &Method, target: &str, answer: &Answer) {
        assert!(!answer.status.is_success(), "{answer:?}");
        let body = answer.json();
        let code = [&body["error_code"], &body["error"], &body["type"]].into_iter().find_map(Value::as_str).unwrap();
        let code = code.rsplit('/').next().unwrap();
        let code = if code == "uri" { body["title"].as_str().unwrap() } else { code };
        let response = match operation(method, target) {
            Some((_, operation)) => operation["responses"][answer.status.as_str()]["$ref"].as_str().unwrap().to_owned(),
            None => format!("/Problem{}", answer.status.as_u16()),
        };
        let response = response.rsplit('/').next().unwrap();
        self.failures.entry(response).or_insert_with(|| json!({}))[code] = self.steady.of(&body);
    }

    fn into_text(mut self) -> String {
        self.operations.sort_keys();
        self.failures.sort_keys();
        format!("{:#}\n", json!({ "operations": self.operations, "failures": self.failures }))
    }
}

/// A patch of one field.
fn replace(path: &str, value: Value) -> Option<Value> {
    Some(json!([{ "op": "replace", "path": path, "value": value }]))
}

async fn connections(record: &mut Record, world: &World) -> String {
    let all = format!("{FLOW}/connections");
    let id = record.make(world, "with a password", &all, new_connection()).await;
    let one = format!("{all}/{id}");
    record.get(world, "a page", &all).await;
    record.get(world, "the next page", &format!("{all}?limit=1")).await;
    record.get(world, "a number", &format!("{all}?count=true")).await;
    record.get(world, "a connection", &one).await;
    record
        .ask(world, "another description", Method::PATCH, &one, replace("/description", json!("all of the shop")))
        .await;
    record.get(world, "reached", &format!("{one}/test")).await;
    record.get(world, "the tables", &format!("{one}/explore?objectType=root")).await;
    let table = format!("{one}/explore?objectType=table&object=shop.orders");
    record.get(world, "a table", &table).await;
    record.get(world, "a table with rows", &format!("{table}&preview=true")).await;
    record.get(world, "none", &format!("{one}/configs")).await;
    let search = json!({ "queryString": "state==enabled&name==\"shop\"", "limit": 20, "orderby": "-createdAt" });
    record.ask(world, "by state and name", Method::POST, &format!("{all}/search"), Some(search)).await;
    let draft = record.make(world, "a draft", &format!("{all}?mode=draft"), new_connection()).await;
    let draft = format!("{all}/{draft}");
    record.ask(world, "published", Method::POST, &format!("{draft}/action?op=publish"), None).await;
    record.ask(world, "gone", Method::DELETE, &draft, None).await;
    id
}

async fn ends(record: &mut Record, world: &World, connection: &str, data_set: &str) -> [String; 2] {
    let ends = [
        ("sourceConnections", new_source(connection), "/params/tableName", json!("shop.orders")),
        ("targetConnections", new_target(data_set), "/name", json!("orders of the shop")),
    ];
    let mut ids = Vec::new();
    for (collection, body, path, value) in ends {
        let all = format!("{FLOW}/{collection}");
        let id = record.make(world, "the orders", &all, body.clone()).await;
        let one = format!("{all}/{id}");
        record.get(world, "a page", &all).await;
        record.get(world, "a number", &format!("{all}?count=true")).await;
        record.get(world, "one", &one).await;
        record.ask(world, "changed", Method::PATCH, &one, replace(path, value)).await;
        let draft = record.make(world, "a draft", &format!("{all}?mode=draft"), body).await;
        record.ask(world, "published", Method::POST, &format!("{all}/{draft}/action?op=publish"), None).await;
        ids.push(id);
    }
    ids.try_into().unwrap()
}

async fn flows(record: &mut Record, world: &World, source: &str, target: &str) {
    let all = format!("{FLOW}/flows");
    let mut flow = new_flow(source, target);
    flow["scheduleParams"]["startTime"] = json!((START_MS / 1000 + 86_400).to_string());
    flow["options"] = json!({ "errorDiagnosticsEnabled": true, "partialIngestionPercent": 5 });
    let mut recurring = flow.clone();
    recurring["scheduleParams"]["frequency"] = json!("minute");
    recurring["scheduleParams"]["interval"] = json!("15");
    recurring["scheduleParams"]["backfill"] = json!("true");
    recurring["transformations"] = json!([{ "name": "Copy", "params": { "deltaColumn": { "name": "created" } } }]);
    recurring["options"] = json!({ "schemaChange": "fail", "verify": true });
    let id = record.make(world, "once, tomorrow", &all, flow).await;
    record.make(world, "every 15 minutes from tomorrow on, what has come since", &all, recurring).await;
    let one = format!("{all}/{id}");
    let change = replace("/options/partialIngestionPercent", json!(10));
    record.ask(world, "more rejected rows are tolerated", Method::PATCH, &one, change).await;
    record.ask(world, "disabled", Method::POST, &format!("{one}/action?op=disable"), None).await;
    record.get(world, "a flow at rest", &one).await;
    record.get(world, "a page", &format!("{all}?property=state==disabled")).await;
    record.get(world, "a number", &format!("{all}?count=true")).await;
    let search = json!({ "queryString": "state==disabled", "projectionFields": "name,state" });
    record.ask(world, "names and states", Method::POST, &format!("{all}/search"), Some(search)).await;
}

async fn runs(record: &mut Record, world: &World, connection: &str, target: &str) -> String {
    let all = format!("{FLOW}/runs");
    let mut source = new_source(connection);
    source["params"]["tableName"] = json!(FAILING);
    let failing = world.make(&format!("{FLOW}/sourceConnections"), &source).await;
    let sources = [world.make_source(connection).await, failing];
    let stop = CancellationToken::new();
    let worker = tokio::spawn(Worker::new(world.control.clone()).run(stop.clone()));
    let mut failed = String::new();
    for (name, source) in ["a success", "a failure"].into_iter().zip(sources) {
        let mut flow = new_flow(&source, target);
        flow["scheduleParams"]["startTime"] = json!(START_MS / 1000);
        let flow = record.make(world, "once, now", &format!("{FLOW}/flows"), flow).await;
        let target = finished_run(world, &flow).await;
        record.get(world, name, &target).await;
        if name == "a success" {
            record.get(world, "the runs of a flow", &format!("{all}?property=flowId=={flow}")).await;
            let seconds = START_MS / 1000;
            let window = json!({ "startTime": seconds + 86_400, "windowStartTime": seconds - 3600,
                "windowEndTime": seconds, "deltaColumn": { "name": "created" } });
            let body = json!({ "flowId": flow, "params": window });
            record.ask(world, "an hour's orders", Method::POST, &all, Some(body)).await;
        } else {
            record.ask(world, "once more", Method::POST, &format!("{target}/action?op=re-trigger"), None).await;
        }
        failed = target;
    }
    stop.cancel();
    worker.await.unwrap();
    failed
}

/// Waits for the first run of a flow to be over, and says where it is.
async fn finished_run(world: &World, flow: &str) -> String {
    for _ in 0..1000 {
        let runs = world.get(&format!("{FLOW}/runs?property=flowId=={flow}")).await.items();
        if let Some(run) = runs.last()
            && matches!(run["metrics"]["statusSummary"]["status"].as_str(), Some("success" | "failed"))
        {
            return format!("{FLOW}/runs/{}", run["id"].as_str().unwrap());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the flow has no finished run");
}

async fn catalog(record: &mut Record, world: &World) -> String {
    let all = format!("{CATALOG}/dataSets");
    let body = json!({ "name": "Orders", "description": "all orders", "tags": { "unifiedProfile": ["enabled:true"] } });
    let id = record.make(world, "orders", &all, body).await;
    record.get(world, "all", &all).await;
    record.get(world, "one", &format!("{all}/{id}")).await;
    id
}

async fn batches(record: &mut Record, world: &World) {
    let all = format!("{CATALOG}/batches");
    let found = record.get(world, "those that landed", &format!("{all}?status=success")).await.json();
    let id = found.as_object().unwrap().keys().next().unwrap().clone();
    record.get(world, "one", &format!("{all}/{id}")).await;
}

async fn specs(record: &mut Record, world: &World) {
    for (collection, id, name) in [("connectionSpecs", MYSQL, "mysql"), ("flowSpecs", CRM_TO_AEP, "CRMToAEP")] {
        let all = format!("{FLOW}/{collection}");
        record.get(world, "found by name", &format!("{all}?property=name==%22{name}%22&property=name,version")).await;
        record.get(world, name, &format!("{all}/{id}")).await;
    }
    let search = json!({ "queryString": "name==CRMToAEP", "projectionFields": "name,version" });
    record.ask(world, "by name", Method::POST, &format!("{FLOW}/flowSpecs/search"), Some(search)).await;
    let target = format!("{FLOW}/connectionSpecs/{MYSQL}/configs");
    record.get(world, "none", &target).await;
}

/// What only an account with the role `service` may do.
async fn services(record: &mut Record, world: &World, run: &str) {
    let connection = json!({
        "name": "erp", "providerId": "5d0f6b6e-0d7a-4a52-9a34-0f4b7f3b1c22", "version": "1.0",
        "authSpec": [{ "name": "Key", "type": "key", "spec": { "type": "object", "properties": { "key": { "type": "string" } } } }],
        "attributes": { "category": "Databases", "connectorName": "ERP", "isSource": true },
    });
    let flow = json!({
        "name": "ERPToLake", "providerId": "5d0f6b6e-0d7a-4a52-9a34-0f4b7f3b1c22", "version": "1.0",
        "transformationSpecDTOS": [{ "name": "Copy", "spec": { "type": "object" } }],
    });
    for (collection, body) in [("connectionSpecs", connection), ("flowSpecs", flow)] {
        let all = format!("{FLOW}/{collection}");
        let id = record.make(world, "of a company's own system", &all, body.clone()).await;
        let mut body = body;
        body["version"] = json!("1.1");
        record.ask(world, "another version", Method::PUT, &format!("{all}/{id}"), Some(body)).await;
    }
    let shown = world.get(run).await.items().remove(0);
    let report = json!({ "flowId": shown["flowId"], "metrics": shown["metrics"], "activities": shown["activities"],
        "recordTypes": ["profile"] });
    record.ask(world, "as it is, with its record types", Method::PUT, run, Some(report)).await;
}

/// One failure of each kind that a client can bring about.
async fn failures(record: &mut Record, world: &World, connection: &str) {
    let [get, post, delete] = [Method::GET, Method::POST, Method::DELETE];
    let flows = format!("{FLOW}/flows");
    let one = format!("{FLOW}/connections/{connection}");
    let cursed = format!("{one}/explore?objectType=table&object={CURSED}");
    let calls = [
        (&get, format!("{flows}?colour=red"), None),
        (&get, format!("{flows}/{UNKNOWN}"), None),
        (&post, format!("{FLOW}/connections"), Some("{}".to_owned())),
        (&post, format!("{FLOW}/connections"), Some(" ".repeat(5 << 20))),
        (&get, format!("{one}/explore?objectType=table&object=shop.none"), None),
        (&get, cursed, None),
        (&delete, flows.clone(), None),
        (&get, format!("{CATALOG}/dataSets?limit=0"), None),
        (&get, format!("{CATALOG}/dataSets/{}", "0".repeat(24)), None),
        (&post, format!("{CATALOG}/dataSets"), Some(" ".repeat(5 << 20))),
        (&post, "/ims/token/v3".to_owned(), Some("grant_type=password".to_owned())),
        (
            &post,
            "/ims/token/v3".to_owned(),
            Some("grant_type=client_credentials&client_id=x&client_secret=y".to_owned()),
        ),
        (&post, "/ims/token/v3".to_owned(), Some(" ".repeat(5 << 20))),
    ];
    for (method, target, body) in calls {
        let call = world.call(method.clone(), &target).header("x-request-id", "orders-1");
        let answer = call.body(body.unwrap_or_default()).send().await;
        record.note_failure(method, &target, &answer);
    }
    let stale = world.call(delete.clone(), &one).header("x-request-id", "orders-1").header("if-match", OLD);
    record.note_failure(&delete, &one, &stale.send().await);
    for target in [flows, format!("{CATALOG}/batches")] {
        for header in ["authorization", "x-api-key", "x-gw-ims-org-id"] {
            record.note_failure(&get, &target, &world.call(get.clone(), &target).without(header).send().await);
        }
        let answer = world.call(get.clone(), &target).header("authorization", "Bearer x").send().await;
        record.note_failure(&get, &target, &answer);
    }
}

/// How a caller fails whose role is too small, and one that asks too often.
async fn refused_callers(record: &mut Record) {
    let viewer = World::start().await.seen_by_role(Role::View).await;
    for target in [format!("{FLOW}/flows"), format!("{CATALOG}/dataSets")] {
        let call = viewer.call(Method::POST, &target).header("x-request-id", "orders-1");
        record.note_failure(&Method::POST, &target, &call.json(&json!({})).send().await);
    }
    let limits = Limits { rate_per_second: NonZeroU32::new(1), ..Limits::default() };
    let world = World::start_within(Settings::default(), limits).await;
    for target in [format!("{FLOW}/flows"), format!("{CATALOG}/batches")] {
        for _ in 0..3 {
            let answer = world.call(Method::GET, &target).header("x-request-id", "orders-1").send().await;
            if answer.status == StatusCode::TOO_MANY_REQUESTS {
                record.note_failure(&Method::GET, &target, &answer);
            }
        }
    }
}

#[tokio::test]
async fn the_examples_of_the_description_are_what_is_taken_and_answered() {
    let settings = Settings { poll: Duration::from_millis(20), ..Settings::default() };
    let world = World::start_with(settings).await;
    let record = &mut Record::default();
    let form = world.open(Method::POST, "/ims/token/v3").body(world.token_form());
    let token = form.send().await;
    let fields = json!({ "grant_type": "client_credentials", "client_id": world.credentials.client_id.as_str(),
        "client_secret": "<client secret>", "scope": "openid,AdobeID" });
    for version in ["v1", "v2", "v3"] {
        record.note(
            "client credentials",
            &Method::POST,
            &format!("/ims/token/{version}"),
            Some(fields.clone()),
            &token,
        );
    }
    specs(record, &world).await;
    let data_set = catalog(record, &world).await;
    let connection = connections(record, &world).await;
    let [source, target] = ends(record, &world, &connection, &data_set).await;
    flows(record, &world, &source, &target).await;
    let run = runs(record, &world, &connection, &target).await;
    batches(record, &world).await;
    failures(record, &world, &connection).await;
    refused_callers(record).await;
    services(record, &world.seen_by_role(Role::Service).await, &run).await;
    for path in ["/healthz", "/readyz"] {
        let world = World::start().await;
        record.get(&world, "in order", path).await;
    }

    let text = std::mem::take(record).into_text();
    if updates() {
        std::fs::write(FILE, &text).unwrap();
    }
    let written = std::fs::read_to_string(Path::new(FILE)).unwrap();
    assert_eq!(written, text, "INSTA_UPDATE=always writes the file anew");
}

#[expect(clippy::disallowed_methods, reason = "the switch of insta, for a file that is a snapshot and more")]
fn updates() -> bool {
    std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always")
}

#[test]
fn every_operation_has_an_example_of_what_it_takes_and_answers() {
    /// The answer of one is the description itself, and a database's spec refuses to be explored.
    const WITHOUT: [&str; 2] =
        ["GET /openapi.json", "GET /data/foundation/flowservice/connectionSpecs/{spec_id}/explore"];
    for method_and_path in operations().iter().map(|operation| format!("{} {}", operation.method, operation.path)) {
        let (method, path) = method_and_path.split_once(' ').unwrap();
        let (_, operation) = operation(&method.parse().unwrap(), path).unwrap();
        let mut bodies = vec![&operation["requestBody"]];
        let answers = operation["responses"].as_object().unwrap().iter();
        bodies.extend(answers.filter(|(status, _)| status.starts_with('2')).map(|(_, answer)| resolved(answer)));
        for body in bodies {
            let contents = body["content"].as_object().into_iter().flatten();
            for (media_type, content) in contents.filter(|(media_type, _)| *media_type == "application/json") {
                let there = content["examples"].is_object() || WITHOUT.contains(&method_and_path.as_str());
                // What only providers send is refused from everybody else (flow-service.md 10.2).
                assert!(there || path.ends_with("/action"), "{method_and_path} {media_type}");
            }
        }
    }
}

#[test]
fn no_example_holds_a_secret() {
    let examples = std::fs::read_to_string(FILE).unwrap();
    for secret in [PASSWORD, "eyJ0", "client-secret"] {
        assert!(!examples.contains(secret), "{secret}");
    }
}
