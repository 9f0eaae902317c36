//! Searches (flow-service.md 8): the question of a list in a body.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::world::{FLOW, World, new_connection};

async fn make_named(world: &World, names: &[&str]) {
    for name in names {
        let mut body = new_connection();
        body["name"] = json!(name);
        world.make(&format!("{FLOW}/connections"), &body).await;
    }
}

async fn search(world: &World, body: Value) -> Value {
    let answer = world.post(&format!("{FLOW}/connections/search"), &body).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    answer.json()
}

fn names(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_query_string_is_read_with_and_without_property_and_with_an_ampersand_in_quotes() {
    let world = World::start().await;
    make_named(&world, &["salt & pepper", "salt", "pepper"]).await;
    for (query, expected) in [
        ("name==salt", &["salt"][..]),
        ("property=name==salt", &["salt"]),
        ("name==\"salt & pepper\"", &["salt & pepper"]),
        ("property=name==%22salt%22", &["salt"]),
        ("property=name!=salt&property=name!=pepper&state==enabled", &["salt & pepper"]),
        ("name==salt,pepper", &["pepper", "salt"]),
    ] {
        assert_eq!(names(&search(&world, json!({ "queryString": query })).await), expected, "{query}");
    }
    let counted = search(&world, json!({ "queryString": "name!=salt", "count": true })).await;
    assert_eq!(counted, json!({ "count": 2 }));
}

#[tokio::test]
async fn pages_of_a_search_follow_each_other_whatever_is_sent_with_the_link() {
    let world = World::start().await;
    make_named(&world, &["a", "b", "c", "d", "e"]).await;
    let body = json!({ "queryString": "name!=c", "orderby": "name", "limit": 1, "projectionFields": "name" });
    let mut seen = Vec::new();
    let mut page = search(&world, body.clone()).await;
    loop {
        seen.extend(names(&page).into_iter().map(str::to_owned));
        assert_eq!(page["items"][0].as_object().unwrap().keys().collect::<Vec<_>>(), ["id", "name"]);
        let Some(href) = page["_links"]["next"]["href"].as_str() else { break };
        assert!(href.starts_with("/connections/search?continuationToken="), "{href}");
        let call = world.call(Method::POST, &format!("{FLOW}{href}"));
        // Once without a body, once with the old one.
        let call = if seen.len() % 2 == 0 { call } else { call.json(&body) };
        page = call.send().await.json();
    }
    assert_eq!(seen, ["a", "b", "d", "e"]);
    assert_eq!(page["_links"], json!({}));
}

#[tokio::test]
async fn a_page_of_a_search_may_be_larger_than_one_of_a_list() {
    let world = World::start().await;
    let many: Vec<_> = (0..105).map(|n| format!("n{n}")).collect();
    make_named(&world, &many.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert_eq!(names(&search(&world, json!({ "limit": 1000 })).await).len(), 105);
    let first = search(&world, json!({ "limit": 104 })).await;
    let token = first["_links"]["next"]["href"].as_str().unwrap().split_once('=').unwrap().1;
    let listed = world.get(&format!("{FLOW}/connections?continuationToken={token}")).await;
    assert_eq!(listed.items().len(), 1, "the token of a search is as good in a list");
}

#[tokio::test]
async fn an_empty_search_finds_all_and_headers_that_mean_nothing_here_are_ignored() {
    let world = World::start().await;
    world.make_flow().await;
    for path in ["connections", "flows", "flowSpecs"] {
        let call = || world.call(Method::POST, &format!("{FLOW}/{path}/search"));
        for call in [call(), call().body("null"), call().json(&json!({ "groupByProperty": "name", "colour": "red" }))] {
            let answer = call.header("x-active-sandbox-ids", "a,b").send().await;
            assert_eq!(answer.items().len(), 1, "{path}: {answer:?}");
        }
    }
}
