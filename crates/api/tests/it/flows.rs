//! Flows (flow-service.md 16): every operation once as it succeeds, and what each refuses.

use http::{Method, StatusCode};
use serde_json::json;

use crate::world::{FLOW, OLD, START_MS, UNKNOWN, World, assert_answer, assert_refusals, new_flow};

fn at(id: &str) -> String {
    format!("{FLOW}/flows/{id}")
}

#[tokio::test]
async fn a_flow_goes_its_way_from_draft_to_deletion() {
    let world = World::start().await;
    let collection = format!("{FLOW}/flows");
    let source = world.make_source(&world.make_connection().await).await;
    let target = world.make_target(&world.make_data_set().await).await;
    let mut draft = new_flow(&source, &target);
    for late in ["transformations", "scheduleParams"] {
        draft.as_object_mut().unwrap().remove(late);
    }
    let made = world.post(&format!("{collection}?mode=draft"), &draft).await;
    assert_answer("create_flow", &made);
    let flow = at(made.json()["id"].as_str().unwrap());
    let schedule = json!({ "startTime": (START_MS / 1000 + 100).to_string(), "frequency": "once" });
    let mapping = json!({ "name": "Mapping", "params": { "mappingId": "0123456789abcdef0123456789abcdef", "mappingVersion": "0" } });
    let patch = json!([
        { "op": "add", "path": "/scheduleParams", "value": schedule },
        { "op": "add", "path": "/transformations", "value": [] },
        { "op": "Add", "path": "/transformations/-", "value": mapping },
        { "op": "add", "path": "/labels", "value": ["core/C12"] },
    ]);
    assert_answer("patch_flow", &world.patch(&flow, &patch).await);
    assert_answer("publish_flow", &world.act(&flow, "publish").await);
    assert_answer("disable_flow", &world.act(&flow, "DISABLE").await);
    assert_answer("get_flow", &world.get(&flow).await);
    let with_sub_op = world.call(Method::POST, &format!("{flow}/action?op=ENABLE&subOp=APPLY"));
    assert_answer("enable_flow", &with_sub_op.header("if-match", &world.etag(&flow).await).send().await);
    let filter =
        format!("property=sourceConnectionIds[]=={source}&property=inheritedAttributes.properties.isSourceFlow==true");
    assert_answer("list_flows", &world.get(&format!("{collection}?{filter}")).await);
    let search =
        json!({ "queryString": "property=state==enabled&property=name==\"orders to the lake\"", "count": true });
    assert_answer("search_flows", &world.post(&format!("{collection}/search"), &search).await);
    assert_answer("delete_flow", &world.delete(&flow).await);
    assert_eq!(world.get(&flow).await.code(), "FLOW-1439-404");
}

#[tokio::test]
async fn what_is_asked_wrongly_of_a_flow_is_refused() {
    let world = World::start().await;
    let parts = world.make_flow().await;
    let collection = format!("{FLOW}/flows");
    let post = async |change: fn(&mut serde_json::Value)| {
        let mut body = new_flow(&parts.source, &parts.target);
        change(&mut body);
        world.post(&collection, &body).await
    };
    assert_refusals(
        "create_flow_refused",
        &[
            ("a state", post(|body| body["state"] = json!("enabled")).await),
            ("no source connection", post(|body| body["sourceConnectionIds"] = json!([])).await),
            ("an unknown flow spec", post(|body| body["flowSpec"]["id"] = json!(UNKNOWN)).await),
            ("a start in the past", post(|body| body["scheduleParams"]["startTime"] = json!(1)).await),
        ],
    );
    assert_refusals(
        "list_flows_refused",
        &[
            ("an unknown parameter", world.get(&format!("{collection}?colour=red")).await),
            ("an operator that there is not", world.get(&format!("{collection}?property=name~x")).await),
            ("a limit of none", world.get(&format!("{collection}?limit=0")).await),
            ("a foreign token", world.get(&format!("{collection}?continuationToken=abc")).await),
        ],
    );
    let search = async |body| world.post(&format!("{collection}/search"), &body).await;
    assert_refusals(
        "search_flows_refused",
        &[
            ("a limit over 1000", search(json!({ "limit": 1001 })).await),
            ("an unknown field", search(json!({ "queryString": "name==x&colour==red" })).await),
            ("an unknown order", search(json!({ "orderby": "*name" })).await),
            ("count beside limit", search(json!({ "count": true, "limit": 5 })).await),
            ("a filter among the fields", search(json!({ "projectionFields": "name==x" })).await),
        ],
    );
    assert_refusals("get_flow_refused", &[("an unknown id", world.get(&at(UNKNOWN)).await)]);
}

#[tokio::test]
async fn what_can_not_be_done_to_a_flow_is_refused() {
    let world = World::start().await;
    let (flow, unknown) = (at(&world.make_flow().await.flow), at(UNKNOWN));
    let rename = json!([{ "op": "replace", "path": "/name", "value": "renamed" }]);
    let under_old =
        async |target: &str| world.call(Method::PATCH, target).header("if-match", OLD).json(&rename).send().await;
    let patch =
        async |path: &str, value| world.patch(&flow, &json!([{ "op": "replace", "path": path, "value": value }])).await;
    assert_refusals(
        "patch_flow_refused",
        &[
            ("no If-Match", world.call(Method::PATCH, &flow).json(&rename).send().await),
            ("an old If-Match", under_old(&flow).await),
            ("an unknown id", under_old(&unknown).await),
            (
                "a body that is not JSON",
                world.call(Method::PATCH, &flow).header("if-match", OLD).body("{").send().await,
            ),
            ("the state", patch("/state", json!("disabled")).await),
            ("the connections of a flow in use", patch("/sourceConnectionIds", json!([])).await),
            ("a frequency that there is not", patch("/scheduleParams/frequency", json!("sometimes")).await),
        ],
    );
    let act =
        async |target: &str, query: &str| world.call(Method::POST, &format!("{target}/action{query}")).send().await;
    let old = world.call(Method::POST, &format!("{flow}/action?op=disable")).header("if-match", OLD);
    assert_refusals(
        "act_on_flow_refused",
        &[
            ("no op", act(&flow, "").await),
            ("an unknown op", act(&flow, "?op=explode").await),
            ("an unknown sub-op", act(&flow, "?op=disable&subOp=sideways").await),
            ("finalizing", act(&flow, "?op=finalize").await),
            ("a state that does not allow it", act(&flow, "?op=enable").await),
            ("an old If-Match", old.send().await),
            ("an unknown id", act(&unknown, "?op=enable").await),
        ],
    );
    let old = world.call(Method::DELETE, &flow).header("if-match", OLD).send().await;
    assert_refusals(
        "delete_flow_refused",
        &[("an unknown id", world.delete(&unknown).await), ("an old If-Match", old)],
    );
}

#[tokio::test]
async fn an_action_is_understood_in_every_spelling() {
    let world = World::start().await;
    let flow = at(&world.make_flow().await.flow);
    for (op, state) in [("disable", "disabled"), ("ENABLE", "enabled"), ("Disable", "disabled"), ("enable", "enabled")]
    {
        let before = world.etag(&flow).await;
        let answer = world.act(&flow, op).await;
        assert_eq!(answer.status, StatusCode::OK, "{op}: {answer:?}");
        let shown = world.get(&flow).await.items().remove(0);
        assert_eq!((&shown["state"], &shown["etag"]), (&json!(state), &answer.json()["etag"]), "{op}");
        assert_ne!(shown["etag"], before, "{op}");
    }
    let with_body =
        world.call(Method::POST, &format!("{flow}/action/?op=disable")).json(&json!({ "percentCompleted": 7 }));
    assert_eq!(with_body.send().await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_patch_of_a_flow_is_carried_out_as_a_whole_or_not_at_all() {
    let world = World::start().await;
    let flow = at(&world.make_flow().await.flow);
    let before = world.get(&flow).await.json();
    let patch = json!([
        { "op": "replace", "path": "/name", "value": "renamed" },
        { "op": "remove", "path": "/options/nothing" },
    ]);
    assert_eq!(world.patch(&flow, &patch).await.code(), "FLOW-1455-400");
    assert_eq!(world.get(&flow).await.json(), before);
}
