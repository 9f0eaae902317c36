//! The tutorial's calls in their order (flow-service.md 22), each answer as a snapshot.

use http::{Method, StatusCode};
use serde_json::json;

use crate::fakes::{PASSWORD, UNREACHABLE};
use crate::world::{FLOW, World, assert_answer, new_connection, new_source, new_target};

#[tokio::test]
async fn specs_are_found_by_name_with_quotes_raw_encoded_or_none() {
    let world = World::start().await;
    for name in ["%22mysql%22", "mysql", "%22mysql%22&limit=20&count=false"] {
        let answer = world.get(&format!("{FLOW}/connectionSpecs?property=name=={name}")).await;
        assert_eq!(answer.items().len(), 1, "{name}");
        assert_eq!(answer.items()[0]["id"], "26d738e0-8963-47ea-aadf-c60de735468a");
    }
    let spec = world.get(&format!("{FLOW}/connectionSpecs/26d738e0-8963-47ea-aadf-c60de735468a")).await;
    assert_answer("connection_spec", &spec);
    let flow_specs = world.get(&format!("{FLOW}/flowSpecs?property=name==%22CRMToAEP%22&property=id,name")).await;
    assert_answer("flow_specs_projected", &flow_specs);
    let flow_spec = world.get(&format!("{FLOW}/flowSpecs/14518937-270c-4525-bdec-c2ba7cce3860")).await;
    assert_eq!(flow_spec.items()[0]["name"], "CRMToAEP");
    assert!(
        flow_spec.items()[0]["transformationSpecs"].is_array() && flow_spec.items()[0]["transformationSpec"].is_array()
    );
    let unknown =
        world.call(Method::GET, &format!("{FLOW}/connectionSpecs/nope")).header("x-request-id", "r").send().await;
    assert_answer("connection_spec_not_found", &unknown);
}

#[tokio::test]
async fn a_base_connection_is_made_shown_masked_listed_and_deleted() {
    let world = World::start().await;
    let made = world.post(&format!("{FLOW}/connections"), &new_connection()).await;
    assert_answer("connection_created", &made);
    let id = made.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(made.header("location"), Some(format!("{FLOW}/connections/{id}").as_str()));
    let shown = world.get(&format!("{FLOW}/connections/{id}")).await;
    assert_eq!(shown.header("etag"), made.json()["etag"].as_str());
    assert_answer("connection", &shown);
    assert_answer("connections", &world.get(&format!("{FLOW}/connections")).await);
    assert_answer("connection_deleted", &world.delete(&format!("{FLOW}/connections/{id}")).await);
    let gone = world.call(Method::GET, &format!("{FLOW}/connections/{id}")).header("x-request-id", "r").send().await;
    assert_answer("connection_not_found", &gone);
    assert_answer("connections_empty", &world.get(&format!("{FLOW}/connections")).await);
}

#[tokio::test]
async fn a_connection_is_tested_and_explored() {
    let world = World::start().await;
    let id = world.make_connection().await;
    assert_answer("connection_test_passed", &world.get(&format!("{FLOW}/connections/{id}/test")).await);
    let explore = |query: &str| format!("{FLOW}/connections/{id}/explore?{query}");
    assert_answer("explore_root", &world.get(&explore("objectType=root")).await);
    assert_answer("explore_table", &world.get(&explore("objectType=table&object=shop.orders")).await);
    assert_answer("explore_preview", &world.get(&explore("objectType=TABLE&object=shop.orders&preview=true")).await);
    let unknown = world.call(Method::GET, &explore("objectType=table&object=shop.none")).header("x-request-id", "r");
    assert_answer("explore_unknown_table", &unknown.send().await);
    for (query, code) in [
        ("", "CONNECTOR-1359-400"),
        ("objectType=folder", "CONNECTOR-1358-400"),
        ("objectType=table", "CONNECTOR-1337-400"),
        ("objectType=table&object=shop.orders&preview=true&filters=%21%21", "CONNECTOR-1389-400"),
    ] {
        assert_eq!(world.get(&explore(query)).await.code(), code, "{query}");
    }
}

#[tokio::test]
async fn a_draft_may_be_incomplete_and_its_test_tells_what_lacks_in_the_source() {
    let world = World::start().await;
    let mut body = new_connection();
    body["auth"]["params"]["server"] = json!(UNREACHABLE);
    let id = world.make(&format!("{FLOW}/connections?mode=draft"), &body).await;
    let shown = world.get(&format!("{FLOW}/connections/{id}")).await.items().remove(0);
    assert_eq!((&shown["state"], &shown["lastOperation"]["operation"]), (&json!("draft"), &json!("draft_create")));
    assert_answer("connection_test_failed", &world.get(&format!("{FLOW}/connections/{id}/test")).await);
    let mode = world.post(&format!("{FLOW}/connections?mode=sketch"), &body).await;
    assert_eq!(mode.code(), "CONNECTOR-1312-400");
}

#[tokio::test]
async fn source_and_target_connections_are_made_shown_and_deleted() {
    let world = World::start().await;
    let connection = world.make_connection().await;
    let data_set = world.make_data_set().await;
    let source = world.post(&format!("{FLOW}/sourceConnections"), &new_source(&connection)).await;
    assert_answer("source_connection_created", &source);
    let source = source.json()["id"].as_str().unwrap().to_owned();
    assert_answer("source_connection", &world.get(&format!("{FLOW}/sourceConnections/{source}")).await);
    assert_answer("source_connections", &world.get(&format!("{FLOW}/sourceConnections?limit=100&count=false")).await);
    let target = world.make(&format!("{FLOW}/targetConnections"), &new_target(&data_set)).await;
    assert_answer("target_connection", &world.get(&format!("{FLOW}/targetConnections/{target}")).await);
    assert_answer("target_connections", &world.get(&format!("{FLOW}/targetConnections")).await);
    for path in [format!("sourceConnections/{source}"), format!("targetConnections/{target}")] {
        assert_eq!(world.delete(&format!("{FLOW}/{path}")).await.status, StatusCode::NO_CONTENT);
        assert_eq!(world.get(&format!("{FLOW}/{path}")).await.code(), "FLOW-1439-404");
        assert_eq!(world.delete(&format!("{FLOW}/{path}")).await.code(), "FLOW-1439-404");
    }
}

#[tokio::test]
async fn a_flow_is_made_shown_listed_and_taken_down_in_the_order_that_is_allowed() {
    let world = World::start().await;
    let parts = world.make_flow().await;
    assert_answer("flow", &world.get(&format!("{FLOW}/flows/{}", parts.flow)).await);
    assert_answer("flows", &world.get(&format!("{FLOW}/flows?property=name==%22orders+to+the+lake%22")).await);
    let runs = world.get(&format!("{FLOW}/runs?property=flowId=={}", parts.flow)).await;
    assert_eq!(runs.status, StatusCode::OK);

    let in_use = world.call(Method::DELETE, &format!("{FLOW}/connections/{}", parts.connection));
    assert_answer("connection_in_use", &in_use.header("x-request-id", "r").send().await);
    for path in [format!("sourceConnections/{}", parts.source), format!("targetConnections/{}", parts.target)] {
        assert_eq!(world.delete(&format!("{FLOW}/{path}")).await.code(), "FLOW-1447-400");
    }
    for path in [
        format!("flows/{}", parts.flow),
        format!("sourceConnections/{}", parts.source),
        format!("targetConnections/{}", parts.target),
        format!("connections/{}", parts.connection),
    ] {
        let answer = world.delete(&format!("{FLOW}/{path}")).await;
        assert_eq!((answer.status, answer.body.len()), (StatusCode::NO_CONTENT, 0), "{path}");
        assert_eq!(world.get(&format!("{FLOW}/{path}")).await.status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn a_delete_under_an_old_version_is_refused_and_under_the_current_one_carried_out() {
    let world = World::start().await;
    let made = world.post(&format!("{FLOW}/connections"), &new_connection()).await.json();
    let target = format!("{FLOW}/connections/{}", made["id"].as_str().unwrap());
    let stale = "\"00000000-0000-0200-0000-000000000000\"";
    let answer = world.call(Method::DELETE, &target).header("if-match", stale).header("x-request-id", "r").send().await;
    assert_answer("stale", &answer);
    let etag = made["etag"].as_str().unwrap();
    let answer = world.call(Method::DELETE, &target).header("if-match", etag).send().await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn no_answer_holds_the_password() {
    let world = World::start().await;
    let parts = world.make_flow().await;
    let mut answers = Vec::new();
    for path in ["connections", "sourceConnections", "targetConnections", "flows", "runs", "connectionSpecs"] {
        answers.push(world.get(&format!("{FLOW}/{path}")).await);
    }
    for path in [String::new(), "/test".into(), "/explore?objectType=root".into()] {
        answers.push(world.get(&format!("{FLOW}/connections/{}{path}", parts.connection)).await);
    }
    let mut wrong = new_connection();
    wrong["auth"]["params"]["sslMode"] = json!(PASSWORD);
    answers.push(world.post(&format!("{FLOW}/connections"), &wrong).await);
    wrong = new_connection();
    wrong["auth"] = json!(PASSWORD);
    answers.push(world.post(&format!("{FLOW}/connections"), &wrong).await);
    let malformed = format!("{{\"password\": {PASSWORD}}}");
    answers.push(world.call(Method::POST, &format!("{FLOW}/connections")).body(malformed).send().await);
    for answer in answers {
        assert!(!String::from_utf8_lossy(&answer.body).contains(PASSWORD), "{answer:?}");
    }
}
