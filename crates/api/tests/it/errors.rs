//! Every code that the reference prints in bold (flow-service.md 3.4, 3.5) is produced by its cause, with its status, its
//! title and the body of a problem.

mod filters;

use std::collections::BTreeSet;

use headwaters_control::{Settings, Strict};
use headwaters_model::account::Role;
use headwaters_model::connection::Connection;
use headwaters_model::flow::Flow;
use headwaters_model::resource::State;
use headwaters_model::source_connection::SourceConnection;
use headwaters_model::spec::{MARIADB, MYSQL};
use headwaters_store::Stored;
use http::Method;
use serde_json::{Value, json};

use crate::fakes::CURSED;
use crate::world::{
    Answer, CATALOG, Call, FLOW, OLD, Parts, START_MS, UNKNOWN, World, new_connection, new_flow, new_target,
};

/// The bold codes, each with what the reference says of it; lines that begin with `#` are about the list itself.
const BOLD: &str = include_str!("bold-codes.txt");

/// The documented title of a code: written from the reference (flow-service.md 3.4, 3.5) a second time and on purpose, so
/// that the table of the program is held against something other than itself.
fn title(code: &str) -> &'static str {
    match code {
        "FLOW-1403-400" | "FLOW-2105-400" => "Header is missing",
        "FLOW-1404-412" => "Version not matching",
        "FLOW-1439-404" => "Resource not found",
        "FLOW-1400-500" => "Internal Error",
        "FLOW-2100-404" | "FLOW-2103-404" => "Sandbox not found",
        "FLOW-2118-403" => "Missing permission",
        "FLOW-2120-403" | "FLOW-2121-403" => "Forbidden",
        _ if code.starts_with("CONNECTOR") => "Bad Request",
        _ => "Invalid request",
    }
}

/// What was produced: the code that a cause must have, in which words the cause, and the answer.
#[derive(Default)]
struct Produced(Vec<(&'static str, &'static str, Answer)>);

impl Produced {
    async fn ask(&mut self, code: &'static str, cause: &'static str, call: Call<'_>) {
        self.0.push((code, cause, call.send().await));
    }

    fn check(&self) {
        for (code, cause, answer) in &self.0 {
            let body = answer.json();
            assert_eq!(answer.code(), *code, "{cause}: {body}");
            assert_eq!(body["type"], format!("https://ns.adobe.com/aep/errors/{code}"), "{cause}");
            assert_eq!(body["title"], title(code), "{cause}");
            let status: u16 = code.rsplit('-').next().unwrap().parse().unwrap();
            assert_eq!((answer.status.as_u16(), &body["status"]), (status, &json!(status)), "{cause}");
            let sentence = body["report"]["detailed-message"].as_str().unwrap();
            assert!(
                !sentence.is_empty() && !sentence.ends_with('.') && !sentence.contains('\n'),
                "{cause}: {sentence}"
            );
            assert!(body["errorMessage"] == sentence && body["errorDetails"] == sentence, "{cause}: {body}");
            assert_eq!(body["report"]["request-id"], answer.header("x-request-id").unwrap(), "{cause}");
            let mut keys: Vec<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
            keys.sort_unstable();
            assert_eq!(keys, ["errorDetails", "errorMessage", "report", "status", "title", "type"], "{cause}");
        }
    }
}

#[tokio::test]
async fn every_bold_code_is_produced_by_its_cause() {
    let mut produced = Produced::default();
    lists(&mut produced).await;
    callers(&mut produced).await;
    connections(&mut produced).await;
    filters::filters(&mut produced).await;
    targets(&mut produced).await;
    new_flows(&mut produced).await;
    changed_flows(&mut produced).await;
    runs(&mut produced).await;
    produced.check();
    let bold: BTreeSet<_> = bold_codes().collect();
    let shown: BTreeSet<_> = produced.0.iter().map(|(code, ..)| *code).collect();
    assert_eq!(bold.difference(&shown).collect::<Vec<_>>(), Vec::<&&str>::new(), "never produced");
    assert_eq!(shown.difference(&bold).collect::<Vec<_>>(), Vec::<&&str>::new(), "not bold");
    println!("{} of {} bold codes are produced", shown.len(), bold.len());
}

fn bold_codes() -> impl Iterator<Item = &'static str> {
    BOLD.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split(' ').next())
}

fn post<'a>(world: &'a World, collection: &str, body: &Value) -> Call<'a> {
    world.call(Method::POST, &format!("{FLOW}/{collection}")).json(body)
}

fn act<'a>(world: &'a World, target: &str, query: &str) -> Call<'a> {
    world.call(Method::POST, &format!("{target}/action{query}"))
}

/// A patch of one instruction, under any version.
fn patch<'a>(world: &'a World, target: &str, op: &str, path: &str, value: &Value) -> Call<'a> {
    let instruction = json!([{ "op": op, "path": path, "value": value }]);
    world.call(Method::PATCH, target).header("if-match", "*").json(&instruction)
}

/// A body with the value at a pointer replaced, or taken out when it is null.
fn with(mut body: Value, pointer: &str, value: &Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = body.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    match value {
        Value::Null => parent.remove(key),
        value => parent.insert(key.to_owned(), value.clone()),
    };
    body
}

/// Writes what no call leads to, as a hosted service could have left it: the resource after a change.
async fn store<K: Stored>(world: &World, id: &str, change: impl FnOnce(&mut K, &mut State)) {
    let sandbox = world.store.sandbox(&world.credentials.org_id, "prod").await.unwrap().unwrap();
    let mut tx = world.store.write(&sandbox.scope()).await.unwrap();
    let id = id.parse().unwrap_or_else(|_| panic!("an id of ours"));
    let mut resource = tx.get::<K>(&id).await.unwrap().unwrap();
    change(&mut resource.body, &mut resource.state);
    let expected = resource.etag.clone();
    tx.replace(&resource, &expected).await.unwrap();
    tx.commit().await.unwrap();
}

async fn lists(produced: &mut Produced) {
    let world = World::start().await;
    for (code, cause, query) in [
        ("FLOW-1401-400", "count beside limit", "count=true&limit=5"),
        ("FLOW-1432-400", "orderby with a star", "orderby=*name"),
        ("FLOW-1433-400", "orderby an unknown field", "orderby=colour"),
        ("FLOW-1440-400", "the operator ~", "property=name~x"),
        ("FLOW-1443-400", "a range with two values", "property=name%3E=a,b"),
        ("FLOW-1448-400", "a range on an id", "property=id%3E=a"),
        ("FLOW-1449-400", "a filter on an unknown field", "property=colour==red"),
        ("FLOW-1450-400", "an unknown operator", "property=id!%3E5"),
        ("FLOW-1451-400", "an unknown parameter", "colour=red"),
        ("FLOW-1452-400", "a list for a time", "property=createdAt==1,2"),
        ("FLOW-1452-400", "a limit of none", "limit=0"),
        ("FLOW-1453-400", "a filter without a value", "property=createdAt=="),
    ] {
        produced.ask(code, cause, world.call(Method::GET, &format!("{FLOW}/flows?{query}"))).await;
    }
    let unknown = world.call(Method::GET, &format!("{FLOW}/flows/{UNKNOWN}"));
    produced.ask("FLOW-1439-404", "an unknown id", unknown).await;
}

fn list(world: &World) -> Call<'_> {
    world.call(Method::GET, &format!("{FLOW}/flows"))
}

async fn callers(produced: &mut Produced) {
    let strict = Strict { sandbox: true, ..Strict::default() };
    let world = World::start_with(Settings { strict, ..Settings::default() }).await;
    produced.ask("FLOW-2105-400", "no sandbox, strictly", list(&world).without("x-sandbox-name")).await;
    produced.ask("FLOW-2100-404", "an unknown sandbox", list(&world).header("x-sandbox-name", "nowhere")).await;
    let flow = format!("{FLOW}/flows/{}", world.make_flow().await.flow);
    let world = world.seen_by_role(Role::View).await;
    produced.ask("FLOW-2118-403", "a viewer who writes", post(&world, "connections", &new_connection())).await;
    produced.ask("FLOW-2118-403", "a viewer who deletes", world.call(Method::DELETE, &flow)).await;
    produced.ask("FLOW-2121-403", "a viewer who acts", act(&world, &flow, "?op=disable")).await;
    let world = world.seen_by_role(Role::Service).await;
    produced.ask("FLOW-2103-404", "an unknown sandbox id", list(&world).header("x-sandbox-id", UNKNOWN)).await;
    let built_in = world.call(Method::PUT, &format!("{FLOW}/connectionSpecs/{MYSQL}"));
    produced.ask("FLOW-2120-403", "a built-in spec is replaced", built_in.json(&json!({ "name": "x" }))).await;
}

async fn connections(produced: &mut Produced) {
    let world = World::start().await;
    for (code, cause, pointer, value) in [
        ("FLOW-1413-400", "an unknown connection spec", "/connectionSpec/id", json!(UNKNOWN)),
        ("FLOW-1415-400", "an unknown auth spec", "/auth/specName", json!("Magic")),
        ("FLOW-1456-400", "a state that there is not", "/state", json!("asleep")),
        ("CONNECTOR-1304-400", "no name", "/name", Value::Null),
        ("CONNECTOR-1305-400", "PostgreSQL", "/connectionSpec/id", json!("74a1c565-4e59-48d7-9d67-7c03b8a13137")),
        ("CONNECTOR-1308-400", "a wrong password", "/auth/params/password", json!("guess")),
        ("CONNECTOR-1312-400", "a name that is a number", "/name", json!(7)),
    ] {
        produced.ask(code, cause, post(&world, "connections", &with(new_connection(), pointer, &value))).await;
    }
    produced.ask("FLOW-1405-400", "an empty body", world.call(Method::POST, &format!("{FLOW}/connections"))).await;
    let parts = world.make_flow().await;
    let connection = format!("{FLOW}/connections/{}", parts.connection);
    for (code, cause, op, path, value) in [
        ("FLOW-1414-400", "another connection spec", "replace", "/connectionSpec/id", json!(MARIADB)),
        ("FLOW-1434-400", "a move", "move", "/name", json!("x")),
        ("FLOW-1455-400", "a key that is not there", "replace", "/auth/params/colour", json!("red")),
        ("FLOW-1456-400", "a state that there is not", "replace", "/state", json!("asleep")),
        ("CONNECTOR-1365-400", "the id", "replace", "/id", json!(UNKNOWN)),
    ] {
        produced.ask(code, cause, patch(&world, &connection, op, path, &value)).await;
    }
    let rename = patch(&world, &connection, "replace", "/name", &json!("x"));
    produced.ask("FLOW-1403-400", "a patch without If-Match", rename.without("if-match")).await;
    let rename = patch(&world, &connection, "replace", "/name", &json!("x"));
    produced.ask("FLOW-1404-412", "a patch of an old version", rename.header("if-match", OLD)).await;
    produced.ask("FLOW-1418-400", "a flow on it", world.call(Method::DELETE, &connection)).await;
    for (code, cause, query) in [
        ("CONNECTOR-1359-400", "no objectType", ""),
        ("CONNECTOR-1358-400", "a folder of a database", "?objectType=folder"),
        ("CONNECTOR-1337-400", "no object", "?objectType=table"),
        ("CONNECTOR-1330-400", "an unknown table", "?objectType=table&object=shop.none"),
    ] {
        produced.ask(code, cause, world.call(Method::GET, &format!("{connection}/explore{query}"))).await;
    }
    let cursed = world.call(Method::GET, &format!("{connection}/explore?objectType=table&object={CURSED}"));
    produced.ask("FLOW-1400-500", "a source that panics", cursed).await;
    store::<Connection>(&world, &parts.connection, |_, state| *state = State::Updating).await;
    let rename = patch(&world, &connection, "replace", "/name", &json!("x"));
    produced.ask("FLOW-1416-400", "a change of a connection that is being updated", rename).await;
    let delete = world.call(Method::DELETE, &connection);
    produced.ask("FLOW-1416-400", "the deletion of a connection that is being updated", delete).await;
}

async fn targets(produced: &mut Produced) {
    let world = World::start().await;
    let other = with(new_target("0123456789abcdef01234567"), "/connectionSpec/id", &json!(MYSQL));
    produced.ask("CONNECTOR-1307-400", "another kind of target", post(&world, "targetConnections", &other)).await;
    let nowhere = with(new_target(""), "/params", &json!({}));
    produced.ask("CONNECTOR-1325-400", "no data set", post(&world, "targetConnections", &nowhere)).await;
    let schema = |id: &str| json!({ "id": id, "contentType": "application/vnd.adobe.xed-full+json;version=1" });
    let data_set = json!({ "name": "Orders", "schemaRef": schema("https://ns.adobe.com/shop/schemas/orders") });
    let data_set = world.make(&format!("{CATALOG}/dataSets"), &data_set).await;
    let version = "application/vnd.adobe.xed-full+json;version=1";
    let other = json!({ "schema": { "id": "https://ns.adobe.com/shop/schemas/customers", "version": version } });
    let target = world.make(&format!("{FLOW}/targetConnections"), &with(new_target(&data_set), "/data", &other)).await;
    let source = world.make_source(&world.make_connection().await).await;
    produced.ask("FLOW-1425-400", "two schemas", post(&world, "flows", &new_flow(&source, &target))).await;
}

/// A flow that runs every hour by its column `created`, from this moment on.
async fn make_recurring(world: &World, parts: &Parts, start_s: i64) -> String {
    world.make(&format!("{FLOW}/flows"), &recurring(parts, start_s)).await
}

/// The body of such a flow.
fn recurring(parts: &Parts, start_s: i64) -> Value {
    let schedule = json!({ "startTime": start_s, "frequency": "hour", "interval": 1, "backfill": true });
    let flow = with(new_flow(&parts.source, &parts.target), "/scheduleParams", &schedule);
    let copy = json!([{ "name": "Copy", "params": { "deltaColumn": { "name": "created" } } }]);
    with(flow, "/transformations", &copy)
}

async fn new_flows(produced: &mut Produced) {
    let world = World::start().await;
    let parts = world.make_flow().await;
    let once = || new_flow(&parts.source, &parts.target);
    let hourly = || recurring(&parts, START_MS / 1000 + 3600);
    let mapping = |params: Value| json!([{ "name": "Mapping", "params": params }]);
    let two = json!([parts.source, parts.source]);
    for (code, cause, body, pointer, value) in [
        ("FLOW-1410-400", "a state", once(), "/state", json!("enabled")),
        (
            "FLOW-1412-400",
            "a mapping version in words",
            once(),
            "/transformations",
            mapping(json!({ "mappingId": "0123456789abcdef0123456789abcdef", "mappingVersion": "latest" })),
        ),
        ("FLOW-1413-400", "an unknown flow spec", once(), "/flowSpec/id", json!(UNKNOWN)),
        ("FLOW-1419-400", "a mapping of no set", once(), "/transformations", mapping(json!({ "mappingId": "" }))),
        ("CONNECTOR-1320-400", "no source connection", once(), "/sourceConnectionIds", json!([])),
        ("CONNECTOR-1321-400", "two source connections", once(), "/sourceConnectionIds", two),
        ("CONNECTOR-1360-400", "a start long ago", once(), "/scheduleParams/startTime", json!(1)),
        ("CONNECTOR-1361-400", "once, every hour", once(), "/scheduleParams/interval", json!(1)),
        (
            "CONNECTOR-1362-400",
            "every five minutes",
            hourly(),
            "/scheduleParams",
            json!({ "startTime": START_MS / 1000 + 3600, "frequency": "minute", "interval": 5 }),
        ),
        ("CONNECTOR-1363-400", "hours beyond all time", hourly(), "/scheduleParams/interval", json!(i64::MAX)),
        (
            "CONNECTOR-1363-400",
            "weeks whose second instant no number of seconds names",
            hourly(),
            "/scheduleParams",
            json!({ "startTime": START_MS / 1000 + 3600, "frequency": "week", "interval": i64::MAX / 604_800 }),
        ),
        ("CONNECTOR-1364-400", "once, with what was before", once(), "/scheduleParams/backfill", json!(true)),
        (
            "CONNECTOR-1312-400",
            "every hour by a column that there is not",
            hourly(),
            "/transformations/0/params/deltaColumn/name",
            json!("colour"),
        ),
        ("CONNECTOR-1312-400", "a promise that there is not", once(), "/options", json!({ "consistency": "row" })),
        ("CONNECTOR-1367-400", "every hour by no column", hourly(), "/transformations", json!([])),
        ("CONNECTOR-1369-400", "once, by a column", once(), "/transformations", hourly()["transformations"].clone()),
        ("CONNECTOR-1397-400", "a frequency that there is not", once(), "/scheduleParams/frequency", json!("rarely")),
    ] {
        produced.ask(code, cause, post(&world, "flows", &with(body, pointer, &value))).await;
    }
}

async fn changed_flows(produced: &mut Produced) {
    let world = World::start().await;
    let parts = world.make_flow().await;
    let started = make_recurring(&world, &parts, START_MS / 1000).await;
    let flow = format!("{FLOW}/flows/{started}");
    let later = json!(START_MS / 1000 + 7200);
    for (code, cause, path, value) in [
        ("CONNECTOR-1366-400", "another start after it has passed", "/scheduleParams/startTime", later),
        ("CONNECTOR-1404-400", "another backfill after the start", "/scheduleParams/backfill", json!(false)),
        ("CONNECTOR-1365-400", "the state", "/state", json!("disabled")),
    ] {
        produced.ask(code, cause, patch(&world, &flow, "replace", path, &value)).await;
    }
    let once = json!([
        { "op": "replace", "path": "/scheduleParams", "value": { "startTime": START_MS / 1000, "frequency": "once" } },
        { "op": "replace", "path": "/transformations", "value": [] },
    ]);
    let once = world.call(Method::PATCH, &flow).header("if-match", "*").json(&once);
    produced.ask("CONNECTOR-1403-400", "once after the start", once).await;
    produced.ask("FLOW-1422-400", "enabled once more", act(&world, &flow, "?op=enable")).await;
    let source = world.call(Method::DELETE, &format!("{FLOW}/sourceConnections/{}", parts.source));
    produced.ask("FLOW-1447-400", "a source connection in use", source).await;
    store::<Flow>(&world, &started, |_, state| *state = State::Disabling).await;
    let rename = patch(&world, &flow, "replace", "/name", &json!("x"));
    produced.ask("FLOW-1420-400", "a flow that is being disabled", rename).await;
}

async fn runs(produced: &mut Produced) {
    let world = World::start().await;
    let parts = world.make_flow().await;
    let (from, to) = (START_MS / 1000 - 3600, START_MS / 1000);
    let params = |from: i64, to: i64, column: Option<&str>| {
        let params = json!({ "startTime": to, "windowStartTime": from, "windowEndTime": to });
        column.map_or(params.clone(), |name| with(params, "/deltaColumn", &json!({ "name": name })))
    };
    let run = |flow: &str, params: Value| json!({ "flowId": flow, "params": params });
    let hourly = make_recurring(&world, &parts, to + 3600).await;
    for (code, cause, body) in [
        ("CONNECTOR-1384-400", "no params", json!({ "flowId": parts.flow })),
        ("CONNECTOR-1384-400", "params without a window", run(&parts.flow, json!({ "startTime": to }))),
        ("CONNECTOR-1381-400", "an end before its start", run(&parts.flow, params(to, from, Some("created")))),
        ("CONNECTOR-1383-400", "a first run by no column", run(&parts.flow, params(from, to, None))),
        ("CONNECTOR-1386-400", "a flow that runs by itself", run(&hourly, params(from, to, None))),
    ] {
        produced.ask(code, cause, post(&world, "runs", &body)).await;
    }
    let made = world.make(&format!("{FLOW}/runs"), &run(&parts.flow, params(from, to, Some("created")))).await;
    let other = run(&parts.flow, params(from, to, Some("id")));
    produced.ask("CONNECTOR-1382-400", "a second run by another column", post(&world, "runs", &other)).await;
    let made = format!("{FLOW}/runs/{made}");
    produced.ask("CONNECTOR-1387-400", "a run that waits", act(&world, &made, "?op=re-trigger")).await;
    world.act(&format!("{FLOW}/flows/{}", parts.flow), "disable").await;
    produced.ask("CONNECTOR-1388-400", "the flow is disabled", act(&world, &made, "?op=re-trigger")).await;
    world.act(&format!("{FLOW}/flows/{}", parts.flow), "enable").await;
    let again = || run(&parts.flow, params(from, to, Some("created")));
    store::<SourceConnection>(&world, &parts.source, |_, state| *state = State::Disabled).await;
    produced.ask("CONNECTOR-1380-400", "a source connection at rest", post(&world, "runs", &again())).await;
    let elsewhere = "74a1c565-4e59-48d7-9d67-7c03b8a13137".parse().unwrap_or_else(|_| panic!("a spec"));
    store::<Flow>(&world, &parts.flow, |flow, _| {
        flow.inherited_attributes.source_connections[0].connection_spec.id = elsewhere;
    })
    .await;
    produced.ask("CONNECTOR-1385-400", "a source that is not built", post(&world, "runs", &again())).await;
}
