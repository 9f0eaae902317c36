//! Patches and actions: what they may change, what they may not, and that a refusal changes nothing (flow-service.md 9, 10).

use headwaters_testkit::Flavour;
use headwaters_testkit::world::now_s;
use serde_json::{Value, json};

use crate::scene::{FAR_S, ROWS, Scene, assert_refused, assert_written, path, status, text};

const COLLECTIONS: [&str; 4] = ["connections", "sourceConnections", "targetConnections", "flows"];

/// A flow that never runs by itself, with all that it needs.
struct Set {
    scene: Scene,
    connection: String,
    source: String,
    target: String,
    flow: String,
}

impl Set {
    async fn made() -> Self {
        let scene = Scene::set(Flavour::MariaDb).await;
        let connection = scene.connection().await;
        let copy = scene.world.copy_at(FAR_S, &connection, scene.spec_name(), &scene.table()).await.expect("a flow");
        Self { scene, connection, source: copy.source, target: copy.target, flow: copy.flow }
    }

    fn id(&self, collection: &str) -> &str {
        match collection {
            "connections" => &self.connection,
            "sourceConnections" => &self.source,
            "targetConnections" => &self.target,
            _ => &self.flow,
        }
    }

    /// Each instruction is done; afterwards its place looks like that (null: there is nothing).
    async fn assert_taken(&self, collection: &str, cases: &[(Value, Value)]) {
        for (at, (instruction, expected)) in cases.iter().enumerate() {
            let id = self.id(collection);
            let before = self.scene.document(collection, id).await;
            // The published description has one object where the tutorials have a list: both are taken.
            let patch = if at % 2 == 0 { json!([instruction]) } else { instruction.clone() };
            let answer = self.scene.patch(collection, id, &patch).await;
            assert_eq!(answer.status, 200, "{patch}: {}", answer.body);
            let etag = assert_written(&answer, 200, id);
            let shown = self.scene.document(collection, id).await;
            assert_eq!((&shown["etag"], &shown["version"]), (&json!(etag), &json!(etag)), "{patch}");
            assert_ne!(shown["etag"], before["etag"], "{patch}");
            assert!(shown["updatedAt"].as_i64() >= before["updatedAt"].as_i64(), "{patch}");
            let place = text(&instruction["path"]);
            let there = shown.pointer(place.trim_end_matches("/-")).cloned().unwrap_or_default();
            assert_eq!(there, *expected, "{patch}");
        }
    }

    /// Each instruction is refused with that code and changes nothing, alone and behind one that would do.
    async fn assert_not_taken(&self, collection: &str, cases: &[(Value, &str)]) {
        let id = self.id(collection);
        let before = self.scene.document(collection, id).await;
        for (instruction, code) in cases {
            let good = json!({"op": "replace", "path": "/name", "value": "half a patch"});
            for patch in [json!([instruction]), json!([good, instruction])] {
                let answer = self.scene.patch(collection, id, &patch).await;
                assert_eq!(answer.status, 400, "{patch}: {}", answer.body);
                assert_refused(&answer, code);
                assert_eq!(self.scene.document(collection, id).await, before, "{patch}");
            }
        }
    }
}

fn add(path: &str, value: Value) -> Value {
    json!({"op": "add", "path": path, "value": value})
}

fn replace(path: &str, value: Value) -> Value {
    json!({"op": "replace", "path": path, "value": value})
}

fn remove(path: &str) -> Value {
    json!({"op": "remove", "path": path})
}

fn filter(name: &str, value: Value) -> Value {
    json!({"type": "PQL", "format": "pql/json", "value": {
        "nodeType": "fnApply", "fnName": name, "params": [
            {"nodeType": "fieldLookup", "fieldName": "id"}, {"nodeType": "literal", "value": value},
        ],
    }})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_takes_the_patches_of_the_tutorials() {
    let set = Set::made().await;
    let sooner = json!((now_s() + 3600).to_string());
    let schedule = json!({"startTime": FAR_S, "frequency": "once"});
    let unknown = json!({"name": "Unknown", "params": {"a": 1}});
    let cases = [
        (replace("/name", json!("new")), json!("new")),
        (replace("/description", json!("was absent")), json!("was absent")),
        (json!({"op": "REMOVE", "path": "/description", "value": "ignored"}), Value::Null),
        (json!({"op": "ADD", "path": "/description", "value": "loud"}), json!("loud")),
        (add("/labels", json!(["core/C12"])), json!(["core/C12"])),
        (add("/labels/-", json!("core/C2")), json!(["core/C12", "core/C2"])),
        (add("/labels/0", json!("core/C1")), json!("core/C1")),
        (replace("/options", json!({"partialIngestionPercent": 5})), json!({"partialIngestionPercent": 5})),
        (add("/options/errorDiagnosticsEnabled", json!(true)), json!(true)),
        (replace("/options/partialIngestionPercent", json!(12.5)), json!(12.5)),
        (add("/transformations/-", unknown.clone()), json!([unknown])),
        (replace("/transformations/0/params/a", json!({"b~c/d": 2})), json!({"b~c/d": 2})),
        (replace("/transformations/0/params/a/b~0c~1d", json!(3)), json!(3)),
        (remove("/transformations/0"), Value::Null),
        (replace("/scheduleParams/startTime", sooner.clone()), sooner),
        (replace("/scheduleParams", schedule.clone()), schedule),
    ];
    set.assert_taken("flows", &cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_take_the_patches_of_the_tutorials() {
    let set = Set::made().await;
    let columns = json!([{"name": "title", "type": "string"}, {"name": "id", "type": "integer"}]);
    let bare = json!({"tableName": set.scene.table()});
    let cases = [
        (replace("/name", json!("new")), json!("new")),
        (add("/params/columns", columns.clone()), columns),
        (add("/params/filters", filter("=", json!(1))), filter("=", json!(1))),
        (replace("/params/filters", filter("in", json!([1, 2]))), filter("in", json!([1, 2]))),
        (remove("/params/filters"), Value::Null),
        (replace("/params", bare.clone()), bare),
    ];
    set.assert_taken("sourceConnections", &cases).await;

    let data_set = set.scene.world.data_set("another").await.expect("a data set");
    let cases = [
        (add("/description", json!("new")), json!("new")),
        (replace("/params/dataSetId", json!(data_set)), json!(data_set)),
    ];
    set.assert_taken("targetConnections", &cases).await;

    let cases = [
        (replace("/description", json!("new")), json!("new")),
        (replace("/auth/params/sslMode", json!("REQUIRED")), json!("REQUIRED")),
        (remove("/auth/params/sslMode"), Value::Null),
        (replace("/state", json!("disabled")), json!("disabled")),
        (replace("/state", json!("enabled")), json!("enabled")),
    ];
    set.assert_taken("connections", &cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_patch_may_change_is_refused_in_every_collection() {
    const SERVER_OWNED: [&str; 7] =
        ["/id", "/createdAt", "/version", "/etag", "/sandboxName", "/inheritedAttributes", "/lastOperation"];
    let set = Set::made().await;
    let owned = SERVER_OWNED.map(|path| (replace(path, json!("mine")), "CONNECTOR-1365-400"));
    let unsupported = ["move", "copy", "test", "no-such-op"]
        .map(|op| (json!({"op": op, "path": "/name", "from": "/id", "value": "a"}), "FLOW-1434-400"));
    let torn = [
        (json!({"op": "replace", "value": "a"}), "FLOW-1455-400"),
        (json!({"path": "/name", "value": "a"}), "FLOW-1455-400"),
        (json!({"op": "add", "path": "/name"}), "FLOW-1455-400"),
        (json!({"op": "replace", "path": "/name", "value": 7}), "CONNECTOR-1312-400"),
    ];
    for collection in COLLECTIONS {
        for cases in [&owned[..], &unsupported, &torn] {
            set.assert_not_taken(collection, cases).await;
        }
        for body in [json!([]), Value::Null] {
            assert_refused(&set.scene.patch(collection, set.id(collection), &body).await, "FLOW-1405-400");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_that_breaks_a_rule_of_flows_is_refused_as_a_whole_with_the_code_of_the_rule() {
    let set = Set::made().await;
    let copy = json!({"name": "Copy", "params": {"deltaColumn": {"name": "changed"}}});
    let cases = [
        (replace("/state", json!("disabled")), "CONNECTOR-1365-400"),
        (replace("/sourceConnectionIds", json!([set.source])), "CONNECTOR-1365-400"),
        (replace("/runs", json!("/runs")), "CONNECTOR-1365-400"),
        (replace("/options/no", json!(1)), "FLOW-1455-400"),
        (remove("/options/no"), "FLOW-1455-400"),
        (replace("/transformations/0", json!({"name": "a", "params": {}})), "FLOW-1455-400"),
        (add("/options", json!({"partialIngestionPercent": 0})), "CONNECTOR-1312-400"),
        (add("/transformations", json!([copy])), "CONNECTOR-1369-400"),
        (replace("/scheduleParams/frequency", json!("yearly")), "CONNECTOR-1397-400"),
        (add("/scheduleParams/interval", json!(15)), "CONNECTOR-1361-400"),
        (add("/scheduleParams/backfill", json!(true)), "CONNECTOR-1364-400"),
        (replace("/scheduleParams/startTime", json!(now_s() - 3600)), "CONNECTOR-1360-400"),
        (replace("/scheduleParams/startTime", json!("tomorrow")), "CONNECTOR-1340-400"),
    ];
    set.assert_not_taken("flows", &cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_that_breaks_a_rule_of_connections_is_refused_as_a_whole_with_the_code_of_the_rule() {
    let set = Set::made().await;
    let cases = [
        (replace("/connectionSpec/id", json!("3000eb99-cd47-43f3-827c-43caf170f015")), "FLOW-1414-400"),
        (replace("/state", json!("draft")), "FLOW-1456-400"),
        (replace("/auth/specName", json!("No Such Authentication")), "FLOW-1415-400"),
        (remove("/auth/params/password"), "CONNECTOR-1304-400"),
        (remove("/auth/params/no"), "FLOW-1455-400"),
        (replace("/auth/params/password", json!("wrong")), "CONNECTOR-1308-400"),
        (replace("/auth/params/sslMode", json!("perhaps")), "CONNECTOR-1312-400"),
    ];
    set.assert_not_taken("connections", &cases).await;

    let mut untyped = filter("=", json!(1));
    untyped["type"] = json!("pql");
    let mut unformatted = filter("=", json!(1));
    unformatted["format"] = json!("pql/text");
    let cases = [
        (replace("/baseConnectionId", json!(set.connection)), "CONNECTOR-1365-400"),
        (replace("/data/format", json!("tabular")), "CONNECTOR-1365-400"),
        (add("/params/cdcEnabled", json!(true)), "CONNECTOR-1312-400"),
        (remove("/params/tableName"), "CONNECTOR-1304-400"),
        (remove("/params/filters"), "FLOW-1455-400"),
        (add("/params/filters", untyped), "CONNECTOR-1355-400"),
        (add("/params/filters", unformatted), "CONNECTOR-1356-400"),
        (add("/params/filters", json!({"type": "PQL", "format": "pql/json"})), "CONNECTOR-1357-400"),
        (add("/params/filters", filter("between", json!(1))), "CONNECTOR-1351-400"),
    ];
    set.assert_not_taken("sourceConnections", &cases).await;

    let cases = [
        (replace("/params/dataSetId", json!("000000000000000000000000")), "CONNECTOR-1312-400"),
        (remove("/params/dataSetId"), "CONNECTOR-1325-400"),
    ];
    set.assert_not_taken("targetConnections", &cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_its_start_a_flow_keeps_its_start_and_a_patch_prepared_before_its_run_is_still_good() {
    let scene = Scene::set(Flavour::MariaDb).await;
    let connection = scene.connection().await;
    let copy = scene.world.copy_at(now_s() + 2, &connection, scene.spec_name(), &scene.table()).await.expect("a flow");
    let etag = text(&scene.document("flows", &copy.flow).await["etag"]);
    assert_eq!(status(&scene.finished_run(&copy.flow).await), "success");
    let shown = scene.document("flows", &copy.flow).await;
    assert_eq!(
        (&shown["etag"], &shown["lastRunDetails"]["state"]),
        (&json!(etag), &json!("success")),
        "runs are no edits"
    );
    let patch = json!([replace("/name", json!("new"))]);
    let answer = scene.world.patch(&path("flows", &copy.flow), &etag, &patch).await.expect("an answer");
    assert_written(&answer, 200, &copy.flow);

    let later = json!([replace("/scheduleParams/startTime", json!(FAR_S))]);
    assert_refused(&scene.patch("flows", &copy.flow, &later).await, "CONNECTOR-1366-400");
    scene.act(&format!("flows/{}/action?op=disable", copy.flow)).await;
    assert_refused(&scene.patch("flows", &copy.flow, &later).await, "CONNECTOR-1366-400");
    assert_eq!(scene.landed(&copy.data_set).await, ROWS);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_is_refused_with_its_code_unless_the_resource_has_it_and_the_state_allows_it() {
    let set = Set::made().await;
    let scene = &set.scene;
    for collection in COLLECTIONS {
        let action = format!("{collection}/{}/action", set.id(collection));
        let before = scene.document(collection, set.id(collection)).await;
        assert_refused(&scene.act(&action).await, "CONNECTOR-1359-400");
        assert_refused(&scene.act(&format!("{action}?op=explode")).await, "CONNECTOR-1398-400");
        for op in ["publish", "PUBLISH"] {
            assert_refused(&scene.act(&format!("{action}?op={op}")).await, "FLOW-1422-400");
        }
        let nobody = format!("{collection}/00000000-0000-0000-0000-000000000000/action?op=publish");
        assert_refused(&scene.act(&nobody).await, "FLOW-1439-404");
        assert_eq!(scene.document(collection, set.id(collection)).await, before);
    }
    let state_action = json!({"percentCompleted": 100, "status": {"value": "COMPLETED"}});
    for op in ["finalize", "FINALIZE", "FINALIZE_UPDATE&subOp=APPLY", "finalize-update"] {
        for collection in ["connections", "flows"] {
            let action = format!("{collection}/{}/action?op={op}", set.id(collection));
            assert_refused(&scene.act(&action).await, "FLOW-1402-400");
            assert_refused(&scene.post(&action, &state_action).await, "FLOW-1402-400");
        }
    }

    let action = format!("{}/action?op=disable", path("flows", &set.flow));
    let etag = text(&scene.document("flows", &set.flow).await["etag"]);
    let stale = [("If-Match", "\"00000000-0000-0200-0000-638e84f40000\"")];
    assert_refused(&scene.world.spell("POST", &action, &stale, None).await.expect("an answer"), "FLOW-1404-412");
    let current = [("If-Match", etag.as_str())];
    assert_written(&scene.world.spell("POST", &action, &current, None).await.expect("an answer"), 200, &set.flow);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_that_is_off_at_its_start_does_not_run_until_it_is_on_again() {
    let scene = Scene::set(Flavour::MariaDb).await;
    let connection = scene.connection().await;
    let start_s = now_s() + 2;
    let off = scene.world.copy_at(start_s, &connection, scene.spec_name(), &scene.table()).await.expect("a flow");
    assert_written(&scene.act(&format!("flows/{}/action?op=disable", off.flow)).await, 200, &off.flow);
    // When a flow that begins later has run, the first one would have run as well.
    let on = scene.world.copy_at(start_s + 1, &connection, scene.spec_name(), &scene.table()).await.expect("a flow");
    assert_eq!(status(&scene.finished_run(&on.flow).await), "success");
    assert_eq!(scene.count("runs", &format!("flowId=={}", off.flow)).await, 0);
    assert_written(&scene.act(&format!("flows/{}/action?op=enable", off.flow)).await, 200, &off.flow);
    assert_eq!(status(&scene.finished_run(&off.flow).await), "success", "what it missed is made up for");
    assert_eq!(scene.landed(&off.data_set).await, ROWS);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_is_still_there_after_a_power_cut() {
    let mut set = Set::made().await;
    let auth = json!({"specName": "Basic Authentication", "params": set.scene.basic_params()});
    let draft =
        set.scene.post("connections?mode=draft", &json!({"name": "a", "connectionSpec": set.scene.spec().await})).await;
    let draft = text(&draft.body["id"]);
    assert_written(&set.scene.patch("connections", &draft, &json!([add("/auth", auth)])).await, 200, &draft);
    assert_written(&set.scene.act(&format!("connections/{draft}/action?op=publish")).await, 200, &draft);
    set.scene.patch("flows", &set.flow, &json!([add("/labels", json!(["core/C12"]))])).await;
    let last = set.scene.act(&format!("flows/{}/action?op=disable", set.flow)).await;
    set.scene.world.kill().await.expect("an end");
    set.scene.world.restart().await.expect("a second start");

    let flow = set.scene.document("flows", &set.flow).await;
    assert_eq!((&flow["state"], &flow["labels"]), (&json!("disabled"), &json!(["core/C12"])));
    assert_eq!(assert_written(&last, 200, &set.flow), flow["etag"]);
    assert_eq!(set.scene.document("connections", &draft).await["state"], "enabled");
    let tested = set.scene.get(&format!("connections/{draft}/test")).await;
    assert_eq!(tested.body["result"], true, "{}", tested.body);
}
