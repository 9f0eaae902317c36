//! The tutorials' calls in their order and spelling, on both servers (flow-service.md 22).

use headwaters_testkit::Flavour;
use headwaters_testkit::world::{CATALOG, FLOW_SERVICE, now_s};
use serde_json::{Value, json};

use crate::scene::{ROWS, RUN_SECONDS_MAX, Scene, assert_refused, assert_written, path, status, text};

/// A schema that the data set, the target connection and nobody else name.
const SCHEMA: &str = "https://ns.adobe.com/acme/schemas/52b59140414aa6a370ef5e21155fd7a686744b8739ecc168";
const SCHEMA_VERSION: &str = "application/vnd.adobe.xed-full+json;version=1";
/// How far ahead a flow begins that is to find its table gone.
const AHEAD_S: u64 = 2;

#[tokio::test(flavor = "multi_thread")]
async fn the_call_sequence_of_the_tutorials_works_unchanged_on_maria_db() {
    walk(Flavour::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_call_sequence_of_the_tutorials_works_unchanged_on_mysql() {
    walk(Flavour::MySql).await;
}

/// What the first eight steps have made.
struct Made {
    connection: String,
    source: String,
    target: String,
    data_set: String,
    flow_spec: String,
}

async fn walk(flavour: Flavour) {
    let scene = Scene::set(flavour).await;
    let spec = looked_up(&scene, "connectionSpecs", scene.spec_name()).await;
    let connection = connected(&scene, &spec).await;
    let columns = explored(&scene, &connection).await;
    let source = source(&scene, &spec, &connection, &columns).await;
    let (data_set, target) = target(&scene).await;
    let flow_spec = looked_up(&scene, "flowSpecs", "CRMToAEP").await;
    let made = Made { connection, source, target, data_set, flow_spec };

    let flow = flow(&scene, &made, now_s()).await;
    let run = succeeded(&scene, &made, &flow).await;
    changed(&scene, &flow).await;
    switched(&scene, &flow).await;
    let failing = retried(&scene, &made, &run).await;
    torn_down(&scene, &made, &[flow, failing]).await;
}

/// Steps 1 and 7: a spec by its name, in every spelling of the quotes.
async fn looked_up(scene: &Scene, collection: &str, name: &str) -> String {
    let mut ids = Vec::new();
    for property in [
        format!("name==\"{name}\""),
        format!("name==%22{name}%22"),
        format!("name%3D%3D%22{name}%22"),
        format!("name=={name}"),
    ] {
        for slash in ["", "/"] {
            let target = format!("{FLOW_SERVICE}/{collection}{slash}?property={property}");
            let headers = [("Content-Type", "application/json")];
            let answer = scene.world.spell("GET", &target, &headers, None).await.expect("an answer");
            assert_eq!(answer.status, 200, "{target}: {}", answer.body);
            assert_eq!(answer.body["items"].as_array().map(Vec::len), Some(1), "{target}: {}", answer.body);
            assert_eq!(answer.body["items"][0]["name"], name);
            ids.push(text(&answer.body["items"][0]["id"]));
        }
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
    ids.remove(0)
}

/// Steps 2 and 3: a base connection whose `POST` says nothing of its content type; its test.
async fn connected(scene: &Scene, spec: &str) -> String {
    let body = json!({
        "name": "Base connection", "description": "of the tutorial",
        "auth": {"specName": "Basic Authentication", "params": scene.basic_params()},
        "connectionSpec": {"id": spec},
    });
    let target = format!("{FLOW_SERVICE}/connections");
    let answer = scene.world.spell("POST", &target, &[], Some(&body.to_string())).await.expect("an answer");
    let id = text(&answer.body["id"]);
    let etag = assert_written(&answer, 201, &id);
    assert_eq!(answer.location, Some(path("connections", &id)));
    let shown = scene.document("connections", &id).await;
    assert_eq!((&shown["etag"], &shown["version"]), (&json!(etag), &json!(etag)));
    assert_eq!((&shown["state"], &shown["connectionSpec"]["version"]), (&json!("enabled"), &json!("1.0")));
    assert_eq!(shown["lastOperation"]["operation"], "create");
    assert_eq!(
        shown["auth"]["params"]["port"],
        scene.database.port().to_string(),
        "the port comes back as it was sent"
    );

    let tested = scene.get(&format!("connections/{id}/test")).await;
    assert_eq!((tested.status, &tested.body["result"]), (200, &json!(true)), "{}", tested.body);
    id
}

/// Step 4: the tables, then one of them; its columns.
async fn explored(scene: &Scene, connection: &str) -> Value {
    let root = scene.get(&format!("connections/{connection}/explore?objectType=root")).await;
    let table = scene.table();
    let expected = json!([
        {"type": "table", "name": table, "path": table, "canPreview": true, "canFetchSchema": true},
    ]);
    assert_eq!((root.status, &root.body), (200, &expected));
    let upper = scene.get(&format!("connections/{connection}/explore/?objectType=ROOT")).await;
    assert_eq!(upper.body, expected);

    let one = format!("connections/{connection}/explore?objectType=table&object={table}");
    let shown = scene.get(&one).await;
    assert_eq!((shown.status, &shown.body["format"]), (200, &json!("flat")), "{}", shown.body);
    assert_eq!(shown.body.get("data"), None, "rows come only when asked for");
    let preview = scene.get(&format!("{one}&preview=true")).await;
    let rows = preview.body["data"].as_array().expect("rows");
    assert_eq!(rows.len() as u64, ROWS);
    assert_eq!(rows[0], json!({"id": 1, "title": "a lamp", "changed": rows[0]["changed"]}));
    shown.body["schema"]["columns"].clone()
}

/// Step 5: a source connection with the columns as explore showed them.
async fn source(scene: &Scene, spec: &str, connection: &str, columns: &Value) -> String {
    let body = json!({
        "name": "Source connection", "baseConnectionId": connection, "description": "of the tutorial",
        "data": {"format": "tabular"},
        "params": {"tableName": scene.table(), "columns": columns},
        "connectionSpec": {"id": spec, "version": "1.0"},
    });
    let id = scene.create("sourceConnections", &body).await;
    let shown = scene.document("sourceConnections", &id).await;
    assert_eq!(shown["params"], body["params"], "what was sent comes back");
    assert_eq!(shown["data"], json!({"format": "tabular", "schema": null, "properties": null}));
    assert_eq!(shown["inheritedAttributes"]["baseConnection"]["id"], connection);
    id
}

/// Step 6: a data set, as Catalog's tutorial makes it, and a target connection into it.
async fn target(scene: &Scene) -> (String, String) {
    let body = json!({"name": "Target data set", "schemaRef": {"id": SCHEMA, "contentType": SCHEMA_VERSION}});
    let made = scene.world.post(&format!("{CATALOG}/dataSets?requestDataSource=true"), &body).await.expect("an answer");
    assert_eq!(made.status, 201, "{}", made.body);
    let data_set = text(&made.body[0]).replace("@/dataSets/", "");
    let body = json!({
        "name": "Target connection", "description": "of the tutorial",
        "data": {"schema": {"id": SCHEMA, "version": SCHEMA_VERSION}},
        "params": {"dataSetId": data_set},
        "connectionSpec": {"id": "c604ff05-7f1a-43c0-8e18-33bf874cb11c", "version": "1.0"},
    });
    let target = scene.create("targetConnections", &body).await;
    (data_set, target)
}

/// Step 8: a flow whose `scheduleParams` are texts, sent as curl does without `-H`.
async fn flow(scene: &Scene, made: &Made, start_s: u64) -> String {
    let body = json!({
        "name": "Flow", "description": "of the tutorial",
        "flowSpec": {"id": made.flow_spec, "version": "1.0"},
        "sourceConnectionIds": [made.source], "targetConnectionIds": [made.target],
        "transformations": [],
        "scheduleParams": {"startTime": start_s.to_string(), "frequency": "once"},
    });
    let curl = [("Content-Type", "application/x-www-form-urlencoded"), ("Accept", "*/*")];
    let target = format!("{FLOW_SERVICE}/flows");
    let answer = scene.world.spell("POST", &target, &curl, Some(&body.to_string())).await.expect("an answer");
    let id = text(&answer.body["id"]);
    assert_written(&answer, 201, &id);
    assert_eq!(answer.location, Some(path("flows", &id)));
    let shown = scene.document("flows", &id).await;
    assert_eq!(shown["scheduleParams"], body["scheduleParams"], "texts stay texts");
    assert_eq!((&shown["state"], &shown["lastOperation"]["operation"]), (&json!("enabled"), &json!("create")));
    assert_eq!(shown["runs"], format!("/runs?property=flowId=={id}"));
    let inherited = &shown["inheritedAttributes"];
    assert_eq!(inherited["properties"]["isSourceFlow"], true);
    assert_eq!(inherited["sourceConnections"][0]["baseConnection"]["id"], made.connection);
    id
}

/// Step 9: the run, until it is a success; then the rows are there.
async fn succeeded(scene: &Scene, made: &Made, flow: &str) -> String {
    let run = scene.finished_run(flow).await;
    assert_eq!(status(&run), "success", "{run:#}");
    assert_eq!(run["metrics"]["recordSummary"]["outputRecordCount"], ROWS);
    assert_eq!(scene.landed(&made.data_set).await, ROWS);
    let link = text(&scene.document("flows", flow).await["runs"]);
    let linked = scene.get(link.trim_start_matches('/')).await;
    assert_eq!(linked.body["items"][0]["id"], run["id"], "the flow's own link leads to its runs");
    text(&run["id"])
}

/// Step 10: a change under the etag, and a second one under the same etag, which has passed.
async fn changed(scene: &Scene, flow: &str) {
    let old = text(&scene.document("flows", flow).await["etag"]);
    let patch = json!([{"op": "replace", "path": "/description", "value": "changed"}]);
    let target = path("flows", flow);
    let body = patch.to_string();
    let answer = scene.world.spell("PATCH", &target, &[("If-Match", &old)], Some(&body)).await.expect("an answer");
    let new = assert_written(&answer, 200, flow);
    assert_ne!(new, old);
    let shown = scene.document("flows", flow).await;
    assert_eq!((&shown["description"], &shown["etag"]), (&json!("changed"), &json!(new)));
    let operation = &shown["lastOperation"];
    assert_eq!((&operation["operation"], &operation["ops"]), (&json!("update"), &patch));
    assert_eq!((&operation["percentCompleted"], &operation["status"]["value"]), (&json!(100.0), &json!("completed")));

    let stale = scene.world.patch(&target, &old, &patch).await.expect("an answer");
    assert_refused(&stale, "FLOW-1404-412");
    assert_eq!(stale.body["title"], "Version not matching");
    let missing = scene.world.spell("PATCH", &target, &[], Some(&body)).await.expect("an answer");
    assert_refused(&missing, "FLOW-1403-400");
    assert_eq!(missing.body["title"], "Header is missing");
    assert_eq!(scene.document("flows", flow).await["etag"], new, "what was refused has left no trace");
}

/// Step 11: off and on, in the spelling of the tutorials and in that of the published description.
async fn switched(scene: &Scene, flow: &str) {
    let mut etags = vec![text(&scene.document("flows", flow).await["etag"])];
    for (op, state) in [("disable", "disabled"), ("enable", "enabled"), ("DISABLE", "disabled"), ("ENABLE", "enabled")]
    {
        let answer = scene.act(&format!("flows/{flow}/action?op={op}")).await;
        let etag = assert_written(&answer, 200, flow);
        assert!(!etags.contains(&etag), "{op}");
        assert_eq!(scene.document("flows", flow).await["state"], state, "{op}");
        etags.push(etag);
        let again = scene.act(&format!("flows/{flow}/action?op={op}")).await;
        assert_refused(&again, "FLOW-1422-400");
    }
}

/// Step 12: a flow whose table goes before its run; after the table is back, the run's second try lands it.
async fn retried(scene: &Scene, made: &Made, succeeded: &str) -> String {
    let before = scene.landed(&made.data_set).await;
    let flow = flow(scene, made, now_s() + AHEAD_S).await;
    scene.database.execute(&format!("drop table {}", scene.table())).await.expect("a table less");
    let failed = scene.finished_run(&flow).await;
    assert_eq!(status(&failed), "failed", "{failed:#}");
    let errors = &failed["metrics"]["statusSummary"]["errors"];
    assert_eq!(errors[0]["code"], "CONNECTOR-1001-500", "{failed:#}");
    assert!(text(&errors[0]["message"]).contains("orders"), "{errors}");
    scene.make_table().await;

    let again = |run: &str, op: &str| format!("runs/{run}/action?op={op}");
    assert_refused(&scene.act(&again(succeeded, "re-trigger")).await, "CONNECTOR-1387-400");
    scene.act(&format!("flows/{flow}/action?op=disable")).await;
    let id = text(&failed["id"]);
    assert_refused(&scene.act(&again(&id, "re-trigger")).await, "CONNECTOR-1388-400");
    scene.act(&format!("flows/{flow}/action?op=enable")).await;

    // The tutorials' spelling on the one server, that of the published description on the other.
    let op = if scene.database.flavour().is_maria_db() { "re-trigger" } else { "RE_TRIGGER" };
    let answer = scene.act(&again(&id, op)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let new = text(&answer.body["id"]);
    assert_ne!(new, id, "a new run");
    assert!(!text(&answer.body["etag"]).is_empty(), "{}", answer.body);
    let shown = (&answer.body["flowId"], &answer.body["metrics"]["statusSummary"]["status"]);
    assert_eq!(shown, (&json!(flow), &json!("scheduled")));
    let run = scene.world.ended_run(&new, RUN_SECONDS_MAX).await.expect("a run");
    assert_eq!(status(&run), "success", "{run:#}");
    assert_eq!(run["parentFlowRunId"], failed["id"]);
    assert_eq!(scene.landed(&made.data_set).await, before + ROWS);
    assert_eq!(status(&scene.document("runs", &id).await), "failed", "the old record stays as it is");
    listed(scene, &flow, &[new, id], &failed).await;
    flow
}

/// The tutorials' ways to look at runs: the newest, those of a time, those that failed.
async fn listed(scene: &Scene, flow: &str, newest_first: &[String], failed: &Value) {
    let ids = async |query: &str| {
        let target = format!("{FLOW_SERVICE}/runs?property=flowId=={flow}&{query}");
        let answer = scene.world.spell("GET", &target, &[], None).await.expect("an answer");
        assert_eq!(answer.status, 200, "{query}: {}", answer.body);
        answer.body["items"].as_array().expect("items").iter().map(|run| text(&run["id"])).collect::<Vec<_>>()
    };
    let started = failed["metrics"]["durationSummary"]["startedAtUTC"].as_u64().expect("a time");
    assert_eq!(ids("orderby=-createdAt&limit=1").await, newest_first[..1]);
    assert_eq!(ids("").await, newest_first);
    assert_eq!(ids("property=metrics.statusSummary.status==failed").await, newest_first[1..]);
    assert_eq!(ids("property=metrics.statusSummary.status==\"Failed\"").await, newest_first[1..]);
    assert_eq!(ids("property=state==success").await, newest_first[..1]);
    assert_eq!(ids("property=state==inProgress").await, [] as [&str; 0]);
    let at = "property=metrics.durationSummary.startedAtUTC";
    assert_eq!(ids(&format!("{at}>{started}")).await, newest_first[..1]);
    assert_eq!(ids(&format!("{at}>={started}&{at}<{}", started + 1)).await, newest_first[1..]);
}

/// Step 13: what is used stays until what uses it is gone.
async fn torn_down(scene: &Scene, made: &Made, flows: &[String]) {
    assert_eq!(scene.count("runs", &format!("flowId=={}", flows[0])).await, 1, "enabling starts no flow anew");
    for (flow, others) in flows.iter().zip([1, 0]) {
        assert_refused(&scene.delete("connections", &made.connection).await, "FLOW-1418-400");
        assert_refused(&scene.delete("sourceConnections", &made.source).await, "FLOW-1447-400");
        assert_refused(&scene.delete("targetConnections", &made.target).await, "FLOW-1447-400");
        let deleted = scene.delete("flows", flow).await;
        assert_eq!((deleted.status, deleted.body), (204, Value::Null));
        let gone = scene.get(&format!("flows/{flow}")).await;
        assert_refused(&gone, "FLOW-1439-404");
        assert_eq!(gone.body["title"], "Resource not found");
        assert_eq!((&gone.body["report"]["id"], &gone.body["report"]["type"]), (&json!(flow), &json!("flows")));
        assert_refused(&scene.delete("flows", flow).await, "FLOW-1439-404");
        assert_eq!(scene.count("flows", "state==enabled").await, others);
        assert_ne!(scene.count("runs", &format!("flowId=={flow}")).await, 0, "runs stay readable");
    }
    for (collection, id) in
        [("sourceConnections", &made.source), ("targetConnections", &made.target), ("connections", &made.connection)]
    {
        // The published description writes the last of the three with a slash at its end.
        let deleted = scene.world.delete(&format!("{}/", path(collection, id))).await.expect("an answer");
        assert_eq!((deleted.status, deleted.body), (204, Value::Null), "{collection}");
        assert_refused(&scene.get(&format!("{collection}/{id}")).await, "FLOW-1439-404");
    }
}
