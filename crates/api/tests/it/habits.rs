//! What real clients do (flow-service.md 23), and lists that go on (7).

use http::{Method, StatusCode};
use serde_json::json;

use crate::world::{FLOW, World, new_connection};

async fn make_named(world: &World, names: &[&str]) {
    for name in names {
        let mut body = new_connection();
        body["name"] = json!(name);
        // The public client sends it; it is ignored.
        body["providerId"] = json!("0ed90a81-07f4-4586-8190-b40eccef1c5a");
        world.make(&format!("{FLOW}/connections"), &body).await;
    }
}

async fn names(world: &World, query: &str) -> Vec<String> {
    let answer = world.get(&format!("{FLOW}/connections?{query}")).await;
    answer.items().iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn every_single_get_is_unwrapped_with_items_0() {
    let world = World::start().await;
    let parts = world.make_flow().await;
    for (path, id) in [
        ("connections", parts.connection.as_str()),
        ("sourceConnections", &parts.source),
        ("targetConnections", &parts.target),
        ("flows", &parts.flow),
        ("connectionSpecs", "26d738e0-8963-47ea-aadf-c60de735468a"),
        ("flowSpecs", "14518937-270c-4525-bdec-c2ba7cce3860"),
    ] {
        let body = world.get(&format!("{FLOW}/{path}/{id}")).await.json();
        assert_eq!(body["items"][0]["id"], id, "{path}");
        assert_eq!(body.as_object().unwrap().len(), 1, "nothing beside items: {path}");
    }
}

#[tokio::test]
async fn every_list_takes_count_false_beside_a_limit_and_has_links() {
    let world = World::start().await;
    for path in
        ["connections", "sourceConnections", "targetConnections", "flows", "runs", "connectionSpecs", "flowSpecs"]
    {
        let body = world.get(&format!("{FLOW}/{path}?count=false&limit=20")).await.json();
        assert!(body["items"].is_array() && body["_links"] == json!({}), "{path}: {body}");
    }
}

#[tokio::test]
async fn pages_follow_each_other_both_ways_that_clients_follow_them() {
    let world = World::start().await;
    make_named(&world, &["a", "b", "c", "d", "e"]).await;
    let query = "orderby=name&limit=2&count=false";
    let mut seen = Vec::new();
    let mut target = format!("{FLOW}/connections?{query}");
    for page in 0..3 {
        let body = world.get(&target).await.json();
        seen.extend(body["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()));
        let Some(href) = body["_links"]["next"]["href"].as_str() else { break };
        let token = href.split_once('=').unwrap().1;
        assert!(!token.contains(['=', '&', '+', '/', '%', '#']), "{token}");
        target = match page % 2 {
            // The base and the link as it stands, with the parameters once more.
            0 => format!("{FLOW}{href}&{query}"),
            // The text behind the first `=` as a parameter of its own.
            _ => format!("{FLOW}/connections?{query}&continuationToken={token}"),
        };
    }
    assert_eq!(seen, ["a", "b", "c", "d", "e"]);
    assert_eq!(world.get(&target).await.json()["_links"], json!({}));
}

#[tokio::test]
async fn a_page_keeps_its_projection() {
    let world = World::start().await;
    make_named(&world, &["a", "b"]).await;
    let first = world.get(&format!("{FLOW}/connections?property=name,state&limit=1")).await.json();
    let second = world.get(&format!("{FLOW}{}", first["_links"]["next"]["href"].as_str().unwrap())).await.json();
    for page in [first, second] {
        let keys: Vec<_> = page["items"][0].as_object().unwrap().keys().cloned().collect();
        assert_eq!(keys, ["id", "state", "name"]);
    }
}

#[tokio::test]
async fn a_projection_knows_what_documents_are_shown_with() {
    let world = World::start().await;
    let flow = world.make_flow().await.flow;
    let shown = world.get(&format!("{FLOW}/flows?property=name,runs")).await.items();
    let runs = format!("/runs?property=flowId=={flow}");
    assert_eq!(shown, [json!({ "id": flow, "name": "orders to the lake", "runs": runs })]);
}

#[tokio::test]
async fn a_list_finds_a_document_by_its_etag_quotes_and_all() {
    let world = World::start().await;
    make_named(&world, &["a", "b"]).await;
    let connections = world.get(&format!("{FLOW}/connections?orderby=name")).await.items();
    let etag = connections[0]["etag"].as_str().unwrap().trim_matches('"').to_owned();
    assert_eq!(names(&world, &format!("property=etag==%22%5C%22{etag}%5C%22%22")).await, ["a"]);
}

#[tokio::test]
async fn lists_are_filtered_ordered_and_counted() {
    let world = World::start().await;
    make_named(&world, &["north sea", "south sea", "lake"]).await;
    assert_eq!(names(&world, "").await, ["lake", "south sea", "north sea"], "the most recent first");
    assert_eq!(names(&world, "orderby=name").await, ["lake", "north sea", "south sea"]);
    assert_eq!(names(&world, "orderby=+name").await, ["lake", "north sea", "south sea"]);
    assert_eq!(names(&world, "orderby=-name").await, ["south sea", "north sea", "lake"]);
    for filter in ["name==north%20sea", "name==%22north+sea%22", "name%3D%3Dnorth%20sea"] {
        assert_eq!(names(&world, &format!("property={filter}")).await, ["north sea"], "{filter}");
    }
    assert_eq!(names(&world, "property=name==lake,%22south%20sea%22&orderby=name").await, ["lake", "south sea"]);
    assert_eq!(names(&world, "property=name!=lake&property=name!=%22south+sea%22").await, ["north sea"]);
    assert_eq!(names(&world, "property=auth.params.username==reader&property=state==Enabled").await.len(), 3);
    let count = world.get(&format!("{FLOW}/connections?count=true&property=name!=lake&orderby=name")).await;
    assert_eq!(count.json(), json!({ "count": 2 }));
}

#[tokio::test]
async fn gets_may_carry_a_body_and_a_content_type() {
    let world = World::start().await;
    let call =
        world.call(Method::GET, &format!("{FLOW}/flows")).header("content-type", "application/json").body("{not json");
    assert_eq!(call.send().await.status, StatusCode::OK);
}

#[tokio::test]
async fn parameters_that_only_lists_refuse_are_ignored_elsewhere() {
    let world = World::start().await;
    let id = world.make(&format!("{FLOW}/connections?colour=red"), &new_connection()).await;
    assert_eq!(world.get(&format!("{FLOW}/connections/{id}?colour=red")).await.status, StatusCode::OK);
    let explore = format!("{FLOW}/connections/{id}/explore?objectType=root&fileType=delimited&colour=red");
    assert_eq!(world.get(&explore).await.status, StatusCode::OK);
}
