//! What clients get wrong: each with the documented status and code, and one sentence that says what to do.

use headwaters_control::{Settings, Strict};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::fakes::UNREACHABLE;
use crate::world::{Answer, CATALOG, FLOW, World, assert_answer, new_connection, new_flow, new_source, new_target};

/// A body with one value replaced, or taken out when it is null.
fn changed(mut body: Value, pointer: &str, value: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = body.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    if value.is_null() {
        parent.remove(key);
    } else {
        parent.insert(key.to_owned(), value);
    }
    body
}

fn assert_code(answer: &Answer, code: &str, what: &str) {
    let body = answer.json();
    assert_eq!(answer.code(), code, "{what}: {body}");
    assert!(code.ends_with(answer.status.as_str()), "{what}");
    assert_eq!(body["status"], answer.status.as_u16());
    let sentence = body["errorMessage"].as_str().unwrap();
    assert!(!sentence.is_empty() && !sentence.ends_with('.') && !sentence.contains('\n'), "{what}: {sentence}");
}

#[tokio::test]
async fn bodies_that_are_not_json_objects_are_refused() {
    let world = World::start().await;
    for collection in ["connections", "sourceConnections", "targetConnections", "flows"] {
        let post = |body: &'static str| world.call(Method::POST, &format!("{FLOW}/{collection}")).body(body).send();
        for body in ["", " ", "null", "{", "{\"name\": }", "name=x", "\u{feff}{}"] {
            assert_code(&post(body).await, "FLOW-1405-400", body);
        }
        for body in ["[]", "7", "\"text\""] {
            assert_code(&post(body).await, "CONNECTOR-1312-400", body);
        }
    }
    let malformed = world.call(Method::POST, &format!("{FLOW}/flows")).header("x-request-id", "r").body("{\"name\": }");
    assert_answer("malformed", &malformed.send().await);
}

#[tokio::test]
async fn any_content_type_will_do_unless_the_switch_is_on() {
    async fn post_as(world: &World, content_type: Option<&str>) -> Answer {
        let call = world.call(Method::POST, &format!("{FLOW}/connections")).header("x-request-id", "r");
        let call = call.body(new_connection().to_string());
        match content_type {
            Some(content_type) => call.header("content-type", content_type).send().await,
            None => call.send().await,
        }
    }
    let lenient = World::start().await;
    for content_type in [None, Some("application/x-www-form-urlencoded"), Some("text/plain")] {
        assert_eq!(post_as(&lenient, content_type).await.status, StatusCode::CREATED, "{content_type:?}");
    }
    let strict = Strict { content_type: true, ..Strict::default() };
    let strict = World::start_with(Settings { strict, ..Settings::default() }).await;
    for content_type in ["application/json", "application/json; charset=utf-8"] {
        assert_eq!(post_as(&strict, Some(content_type)).await.status, StatusCode::CREATED, "{content_type}");
    }
    assert_answer("content_type_strict", &post_as(&strict, Some("text/plain")).await);
    assert_eq!(post_as(&strict, None).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_base_connection_that_can_not_be_made_says_why() {
    let world = World::start().await;
    let unknown = "11111111-2222-4333-8444-555555555555";
    let rows = [
        ("/name", Value::Null, "CONNECTOR-1304-400"),
        ("/name", json!(""), "CONNECTOR-1304-400"),
        ("/name", json!(7), "CONNECTOR-1312-400"),
        ("/auth", Value::Null, "CONNECTOR-1304-400"),
        ("/auth", json!("x"), "CONNECTOR-1312-400"),
        ("/auth/specName", json!("Magic"), "FLOW-1415-400"),
        ("/auth/params", Value::Null, "CONNECTOR-1304-400"),
        ("/auth/params/password", Value::Null, "CONNECTOR-1304-400"),
        ("/auth/params/password", json!("wrong"), "CONNECTOR-1308-400"),
        ("/auth/params/server", json!(UNREACHABLE), "CONNECTOR-1308-400"),
        ("/auth/params/sslMode", json!("sometimes"), "CONNECTOR-1312-400"),
        ("/connectionSpec", Value::Null, "CONNECTOR-1304-400"),
        ("/connectionSpec/id", json!(unknown), "FLOW-1413-400"),
        ("/connectionSpec/id", json!("mysql"), "FLOW-1413-400"),
        ("/state", json!("asleep"), "FLOW-1456-400"),
    ];
    for (pointer, value, code) in rows {
        let body = changed(new_connection(), pointer, value.clone());
        let answer = world.post(&format!("{FLOW}/connections"), &body).await;
        assert_code(&answer, code, &format!("{pointer} = {value}"));
    }
    assert!(world.get(&format!("{FLOW}/connections")).await.items().is_empty(), "nothing was half-written");
    let wrong = changed(new_connection(), "/auth/params/server", json!(UNREACHABLE)).to_string();
    let wrong = world.call(Method::POST, &format!("{FLOW}/connections")).body(wrong).header("x-request-id", "r");
    assert_answer("connection_unreachable", &wrong.send().await);
}

#[tokio::test]
async fn a_source_connection_that_can_not_be_made_says_why() {
    let world = World::start().await;
    let connection = world.make_connection().await;
    let filter = |value: Value| json!({ "type": "PQL", "format": "pql/json", "value": value });
    let rows = [
        ("/name", Value::Null, "CONNECTOR-1304-400"),
        ("/baseConnectionId", Value::Null, "CONNECTOR-1304-400"),
        ("/baseConnectionId", json!("7d0a6a1e-3a3f-4b57-8a44-1d4c2c1f8a01"), "CONNECTOR-1312-400"),
        ("/data/format", json!("xml"), "CONNECTOR-1327-400"),
        ("/connectionSpec", Value::Null, "CONNECTOR-1304-400"),
        ("/params/tableName", Value::Null, "CONNECTOR-1304-400"),
        ("/params", json!([]), "CONNECTOR-1312-400"),
        ("/params/filters", json!({ "type": "SQL" }), "CONNECTOR-1354-400"),
        ("/params/filters", json!({ "type": "rain" }), "CONNECTOR-1355-400"),
        ("/params/filters", json!({ "type": "PQL", "format": "text" }), "CONNECTOR-1356-400"),
        ("/params/filters", json!({ "type": "PQL", "format": "pql/json" }), "CONNECTOR-1357-400"),
        ("/params/filters", filter(json!({ "nodeType": "fnApply", "params": [] })), "CONNECTOR-1350-400"),
        ("/params/cdcEnabled", json!(true), "CONNECTOR-1312-400"),
    ];
    for (pointer, value, code) in rows {
        let body = changed(new_source(&connection), pointer, value.clone());
        let answer = world.post(&format!("{FLOW}/sourceConnections"), &body).await;
        assert_code(&answer, code, &format!("{pointer} = {value}"));
    }
}

#[tokio::test]
async fn a_target_connection_that_can_not_be_made_says_why() {
    let world = World::start().await;
    let data_set = world.make_data_set().await;
    let rows = [
        ("/data", Value::Null, "CONNECTOR-1304-400"),
        ("/connectionSpec", Value::Null, "CONNECTOR-1304-400"),
        ("/params", Value::Null, "CONNECTOR-1325-400"),
        ("/params/dataSetId", Value::Null, "CONNECTOR-1325-400"),
        ("/params/dataSetId", json!("0123456789abcdef01234567"), "CONNECTOR-1312-400"),
        ("/params/dataSetId", json!("orders"), "CONNECTOR-1312-400"),
    ];
    for (pointer, value, code) in rows {
        let body = changed(new_target(&data_set), pointer, value.clone());
        let answer = world.post(&format!("{FLOW}/targetConnections"), &body).await;
        assert_code(&answer, code, &format!("{pointer} = {value}"));
    }
}

#[tokio::test]
async fn a_flow_that_can_not_be_made_says_why() {
    let world = World::start().await;
    let connection = world.make_connection().await;
    let data_set = world.make_data_set().await;
    let (source, target) = (world.make_source(&connection).await, world.make_target(&data_set).await);
    let copy = json!([{ "name": "Copy", "params": { "deltaColumn": { "name": "created" } } }]);
    let rows = [
        ("/state", json!("enabled"), "FLOW-1410-400"),
        ("/flowSpec", Value::Null, "CONNECTOR-1304-400"),
        ("/flowSpec/id", json!("11111111-2222-4333-8444-555555555555"), "FLOW-1413-400"),
        ("/sourceConnectionIds", Value::Null, "CONNECTOR-1320-400"),
        ("/sourceConnectionIds", json!([]), "CONNECTOR-1320-400"),
        ("/sourceConnectionIds", json!([source, source]), "CONNECTOR-1321-400"),
        ("/sourceConnectionIds", json!([target]), "CONNECTOR-1312-400"),
        ("/sourceConnectionIds", json!([7]), "CONNECTOR-1312-400"),
        ("/targetConnectionIds", json!([]), "CONNECTOR-1320-400"),
        ("/scheduleParams", json!({}), "CONNECTOR-1317-400"),
        ("/scheduleParams/startTime", json!("soon"), "CONNECTOR-1340-400"),
        ("/scheduleParams/startTime", json!(1), "CONNECTOR-1360-400"),
        ("/scheduleParams/frequency", json!("sometimes"), "CONNECTOR-1397-400"),
        ("/scheduleParams/interval", json!(15), "CONNECTOR-1361-400"),
        ("/scheduleParams/backfill", json!(true), "CONNECTOR-1364-400"),
        ("/transformations", copy, "CONNECTOR-1369-400"),
    ];
    for (pointer, value, code) in rows {
        let body = changed(new_flow(&source, &target), pointer, value.clone());
        let answer = world.post(&format!("{FLOW}/flows"), &body).await;
        assert_code(&answer, code, &format!("{pointer} = {value}"));
    }
    assert!(world.get(&format!("{FLOW}/flows")).await.items().is_empty(), "nothing was half-written");
}

#[tokio::test]
async fn table_and_columns_are_looked_up_when_a_flow_is_made() {
    let world = World::start().await;
    let connection = world.make_connection().await;
    let target = world.make_target(&world.make_data_set().await).await;
    let column = json!([{ "name": "colour", "type": "string" }]);
    for (pointer, value, code) in [
        ("/params/tableName", json!("shop.none"), "CONNECTOR-1330-400"),
        ("/params/columns", column, "CONNECTOR-1312-400"),
    ] {
        let source = changed(new_source(&connection), pointer, value);
        let source = world.make(&format!("{FLOW}/sourceConnections"), &source).await;
        let answer = world.post(&format!("{FLOW}/flows"), &new_flow(&source, &target)).await;
        assert_code(&answer, code, pointer);
    }
}

#[tokio::test]
async fn lists_refuse_what_they_do_not_know() {
    let world = World::start().await;
    for collection in
        ["connections", "sourceConnections", "targetConnections", "flows", "runs", "connectionSpecs", "flowSpecs"]
    {
        for (query, code) in [
            ("colour=red", "FLOW-1451-400"),
            ("property=colour==red", "FLOW-1449-400"),
            ("property=id==", "FLOW-1453-400"),
            ("property=id!>5", "FLOW-1450-400"),
            ("property=id~5", "FLOW-1440-400"),
        ] {
            let answer = world.get(&format!("{FLOW}/{collection}?{}", query.replace('>', "%3E"))).await;
            assert_code(&answer, code, &format!("{collection}?{query}"));
        }
    }
    let unknown = world.call(Method::GET, &format!("{FLOW}/flows?colour=red")).header("x-request-id", "r").send().await;
    assert_answer("unknown_parameter", &unknown);
    assert_code(&world.get(&format!("{FLOW}/flows?count=true&limit=5")).await, "FLOW-1401-400", "count with limit");
}

#[tokio::test]
async fn an_id_of_any_other_form_is_not_found() {
    let world = World::start().await;
    for id in ["x", "%22", "..%2f..%2fetc", "7D0A6A1E", "%00", "%ff"] {
        for collection in ["connections", "sourceConnections", "targetConnections", "flows", "runs", "flowSpecs"] {
            let answer = world.get(&format!("{FLOW}/{collection}/{id}")).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{collection}/{id}: {answer:?}");
        }
        let answer = world.get(&format!("{CATALOG}/dataSets/{id}")).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{id}: {answer:?}");
    }
}

#[tokio::test]
async fn a_data_set_that_can_not_be_made_says_why_in_the_neighbours_shape() {
    let world = World::start().await;
    let post = |body: Value| {
        let call = world.call(Method::POST, &format!("{CATALOG}/dataSets")).header("x-request-id", "r");
        async move { call.json(&body).send().await }
    };
    assert_answer("data_set_without_name", &post(json!({})).await);
    assert_eq!(post(json!({ "name": 7 })).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(post(json!({ "name": "x", "tags": { "a": "b" } })).await.status, StatusCode::BAD_REQUEST);
    let malformed = world.call(Method::POST, &format!("{CATALOG}/dataSets")).body("{").send().await;
    assert_eq!((malformed.status.as_u16(), &malformed.json()["title"]), (400, &json!("BadRequestError")));
}
