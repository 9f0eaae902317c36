//! Base connections (flow-service.md 13): every operation once as it succeeds, and what each refuses.

use headwaters_control::{Settings, Strict};
use http::{Method, StatusCode};
use serde_json::json;

use crate::fakes::{PASSWORD, UNREACHABLE};
use crate::world::{
    Answer, FLOW, OLD, UNKNOWN, World, assert_answer, assert_refusals, new_connection, new_flow, new_source,
};

fn at(id: &str) -> String {
    format!("{FLOW}/connections/{id}")
}

#[tokio::test]
async fn a_base_connection_goes_its_way_from_draft_to_deletion() {
    let world = World::start().await;
    let collection = format!("{FLOW}/connections");
    let draft = json!({ "name": "shop", "connectionSpec": new_connection()["connectionSpec"] });
    let made = world.post(&format!("{collection}?mode=draft"), &draft).await;
    assert_answer("create_connection", &made);
    let connection = at(made.json()["id"].as_str().unwrap());
    let patch = json!([
        { "op": "add", "path": "/auth", "value": new_connection()["auth"] },
        { "op": "REPLACE", "path": "/description", "value": "the shop's database" },
    ]);
    assert_answer("patch_connection", &world.patch(&connection, &patch).await);
    assert_answer("publish_connection", &world.act(&connection, "PUBLISH").await);
    assert_answer("get_connection", &world.get(&connection).await);
    assert_answer("list_connections", &world.get(&format!("{collection}?property=state==enabled&limit=1")).await);
    let search =
        json!({ "queryString": "state==enabled&name==\"shop\"", "limit": 1000, "projectionFields": "name,state" });
    assert_answer("search_connections", &world.post(&format!("{collection}/search"), &search).await);
    assert_answer("test_connection", &world.get(&format!("{connection}/test")).await);
    assert_answer("explore_connection", &world.get(&format!("{connection}/explore?objectType=ROOT")).await);
    assert_answer("configs_of_connection", &world.get(&format!("{connection}/configs")).await);
    assert_answer("delete_connection", &world.delete(&connection).await);
    assert_eq!(world.get(&connection).await.code(), "FLOW-1439-404");
}

#[tokio::test]
async fn what_is_asked_wrongly_of_a_base_connection_is_refused() {
    let world = World::start().await;
    let collection = format!("{FLOW}/connections");
    let post = async |body| world.post(&collection, &body).await;
    let mut wrong_password = new_connection();
    wrong_password["auth"]["params"]["password"] = json!("guess");
    let mut unbuilt = new_connection();
    unbuilt["connectionSpec"]["id"] = json!("d6b52d86-f0f8-475f-89d4-ce54c8527328");
    assert_refusals(
        "create_connection_refused",
        &[
            ("an empty body", world.call(Method::POST, &collection).send().await),
            ("no name", post(json!({})).await),
            ("a wrong password", post(wrong_password).await),
            ("a source that is only listed", post(unbuilt).await),
        ],
    );
    assert_refusals(
        "list_connections_refused",
        &[
            ("an unknown parameter", world.get(&format!("{collection}?colour=red")).await),
            ("an unknown field", world.get(&format!("{collection}?property=colour==red")).await),
            ("count beside limit", world.get(&format!("{collection}?count=true&limit=5")).await),
        ],
    );
    assert_refusals(
        "search_connections_refused",
        &[
            ("a limit over 1000", world.post(&format!("{collection}/search"), &json!({ "limit": 1001 })).await),
            ("a foreign token", world.post(&format!("{collection}/search?continuationToken=abc"), &json!({})).await),
            ("a limit in words", world.post(&format!("{collection}/search"), &json!({ "limit": "many" })).await),
        ],
    );
    assert_refusals("get_connection_refused", &[("an unknown id", world.get(&at(UNKNOWN)).await)]);
}

#[tokio::test]
async fn what_can_not_be_done_to_a_base_connection_is_refused() {
    let world = World::start().await;
    let id = world.make_connection().await;
    let (connection, unknown) = (at(&id), at(UNKNOWN));
    let patch = json!([{ "op": "replace", "path": "/name", "value": "shop 2" }]);
    let patch_as = async |target: &str, etag: &str, body| {
        world.call(Method::PATCH, target).header("if-match", etag).json(&body).send().await
    };
    assert_refusals(
        "patch_connection_refused",
        &[
            ("no If-Match", world.call(Method::PATCH, &connection).json(&patch).send().await),
            ("no If-Match and no body", world.call(Method::PATCH, &connection).send().await),
            ("an old If-Match", patch_as(&connection, OLD, patch.clone()).await),
            ("an unknown id", patch_as(&unknown, OLD, patch).await),
            ("no instructions", world.patch(&connection, &json!([])).await),
            (
                "another operation",
                world.patch(&connection, &json!({ "op": "move", "path": "/name", "from": "/x" })).await,
            ),
            (
                "the connection spec",
                world.patch(&connection, &json!([{ "op": "remove", "path": "/connectionSpec" }])).await,
            ),
        ],
    );
    let act =
        async |target: &str, query: &str| world.call(Method::POST, &format!("{target}/action{query}")).send().await;
    assert_refusals(
        "act_on_connection_refused",
        &[
            ("no op", act(&connection, "").await),
            ("an unknown op", act(&connection, "?op=enable").await),
            ("finalizing", act(&connection, "?op=FINALIZE_UPDATE&subOp=APPLY").await),
            ("a state that does not allow it", act(&connection, "?op=publish").await),
            ("an unknown id", act(&unknown, "?op=publish").await),
        ],
    );
    let old = world.call(Method::DELETE, &connection).header("if-match", OLD).send().await;
    let target = world.make_target(&world.make_data_set().await).await;
    let source = world.make(&format!("{FLOW}/sourceConnections"), &new_source(&id)).await;
    world.make(&format!("{FLOW}/flows"), &new_flow(&source, &target)).await;
    assert_refusals(
        "delete_connection_refused",
        &[
            ("an unknown id", world.delete(&unknown).await),
            ("an old If-Match", old),
            ("a flow on it", world.delete(&connection).await),
        ],
    );
}

#[tokio::test]
async fn what_is_asked_wrongly_of_the_source_behind_a_base_connection_is_refused() {
    let world = World::start().await;
    let (connection, unknown) = (at(&world.make_connection().await), at(UNKNOWN));
    assert_refusals("test_connection_refused", &[("an unknown id", world.get(&format!("{unknown}/test")).await)]);
    let explore = async |query: &str| world.get(&format!("{connection}/explore{query}")).await;
    assert_refusals(
        "explore_connection_refused",
        &[
            ("no object type", explore("").await),
            ("another object type", explore("?objectType=folder").await),
            ("no object", explore("?objectType=table").await),
            ("an unknown table", explore("?objectType=table&object=shop.none").await),
            ("an unknown id", world.get(&format!("{unknown}/explore?objectType=root")).await),
        ],
    );
    assert_refusals(
        "configs_of_connection_refused",
        &[("an unknown id", world.get(&format!("{unknown}/configs")).await)],
    );
}

#[tokio::test]
async fn a_patch_may_be_one_instruction_and_carry_its_version_in_the_query_or_without_quotes() {
    let world = World::start().await;
    let connection = at(&world.make_connection().await);
    let patch = json!({ "op": "Replace", "path": "/name", "value": "renamed" });
    let sent = async |target: String, etag: Option<&str>| -> Answer {
        let call = world.call(Method::PATCH, &target).header("content-type", "application/json-patch+json");
        let call = call.body(patch.to_string());
        match etag {
            Some(etag) => call.header("If-Match", etag).send().await,
            None => call.send().await,
        }
    };
    let etag = world.etag(&connection).await;
    let in_query = format!("{connection}?if-match={}", etag.replace('"', "%22"));
    assert_eq!(sent(in_query, None).await.status, StatusCode::OK);
    let unquoted = world.etag(&connection).await.trim_matches('"').to_owned();
    assert_eq!(sent(connection.clone(), Some(&unquoted)).await.status, StatusCode::OK);
    assert_eq!(
        sent(connection.clone(), Some(&format!("W/{}", world.etag(&connection).await))).await.status,
        StatusCode::OK
    );
    assert_eq!(sent(connection.clone(), Some("*")).await.status, StatusCode::OK);
    assert_eq!(sent(connection.clone(), Some(&etag)).await.code(), "FLOW-1404-412");
    assert_eq!(world.get(&connection).await.items()[0]["name"], "renamed");
}

#[tokio::test]
async fn the_strict_switches_take_nothing_but_the_whole_etag_and_an_announced_body() {
    let strict = Strict { if_match: true, content_type: true, ..Strict::default() };
    let world = World::start_with(Settings { strict, ..Settings::default() }).await;
    let connection = at(&world.make_connection().await);
    let etag = world.etag(&connection).await;
    let patch = json!([{ "op": "replace", "path": "/name", "value": "renamed" }]).to_string();
    let call = |etag: &str, content_type: &str| {
        let call = world.call(Method::PATCH, &connection).header("if-match", etag).body(patch.clone());
        call.header("content-type", content_type)
    };
    for other in ["*", etag.trim_matches('"')] {
        assert_eq!(call(other, "application/json").send().await.code(), "FLOW-1404-412", "{other}");
    }
    assert_eq!(call(&etag, "text/plain").send().await.status, StatusCode::BAD_REQUEST);
    assert_eq!(call(&etag, "application/json-patch+json").send().await.status, StatusCode::OK);
    let etag = world.etag(&connection).await;
    assert_eq!(call(&etag, "application/json; charset=utf-8").send().await.status, StatusCode::OK);
}

#[tokio::test]
async fn of_two_patches_of_one_version_exactly_one_wins() {
    let world = World::start().await;
    let connection = at(&world.make_connection().await);
    let etag = world.etag(&connection).await;
    let rename = async |name: &str| {
        let patch = json!([{ "op": "replace", "path": "/name", "value": name }]);
        world.call(Method::PATCH, &connection).header("if-match", &etag).json(&patch).send().await
    };
    let (left, right) = futures::join!(rename("left"), rename("right"));
    let mut statuses = [left.status.as_u16(), right.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412]);
    let winner = if left.status == StatusCode::OK { ("left", left) } else { ("right", right) };
    let shown = world.get(&connection).await.items().remove(0);
    assert_eq!((shown["name"].as_str(), &shown["etag"]), (Some(winner.0), &winner.1.json()["etag"]));
}

#[tokio::test]
async fn a_mask_that_comes_back_keeps_the_secret_and_no_answer_shows_it() {
    let world = World::start().await;
    let connection = at(&world.make_connection().await);
    let mut auth = world.get(&connection).await.items()[0]["auth"].clone();
    assert_eq!(auth["params"]["password"], "*****");
    auth["params"]["username"] = json!("other");
    let patch = json!([{ "op": "replace", "path": "/auth", "value": auth }]);
    assert_eq!(world.patch(&connection, &patch).await.status, StatusCode::OK);
    assert_eq!(
        world.get(&format!("{connection}/test")).await.json()["result"],
        true,
        "the stored password still works"
    );
    let secret = json!([{ "op": "replace", "path": "/auth/params/password", "value": PASSWORD }]);
    assert_eq!(world.patch(&connection, &secret).await.status, StatusCode::OK);
    let shown = world.get(&connection).await;
    assert_eq!(shown.items()[0]["lastOperation"]["ops"][0]["value"], "*****");
    assert!(!String::from_utf8_lossy(&shown.body).contains(PASSWORD), "{shown:?}");
    let elsewhere = json!([{ "op": "replace", "path": "/auth/params/server", "value": UNREACHABLE }]);
    assert_eq!(world.patch(&connection, &elsewhere).await.code(), "CONNECTOR-1308-400", "checked like a new one");
}
