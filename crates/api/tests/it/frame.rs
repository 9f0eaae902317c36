//! What surrounds every request: ids, unknown routes, wrong methods, sizes, panics, health.

use std::sync::Mutex;

use headwaters_model::id::FlowId;
use http::{Method, StatusCode};
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use proptest::prelude::*;
use serde_json::json;

use crate::fakes::CURSED;
use crate::world::{CATALOG, FLOW, World, assert_answer};

#[tokio::test]
async fn a_request_id_is_echoed_or_made_and_stands_in_the_error() {
    let world = World::start().await;
    let target = format!("{FLOW}/flows/7d0a6a1e-3a3f-4b57-8a44-1d4c2c1f8a01");
    let sent = world.call(Method::GET, &target).header("x-request-id", "abc-123").send().await;
    assert_eq!(sent.header("x-request-id"), Some("abc-123"));
    assert_eq!(sent.json()["report"]["request-id"], "abc-123");
    let made = world.get(&target).await;
    assert_eq!(made.json()["report"]["request-id"], made.header("x-request-id").unwrap());
    let long = "x".repeat(500);
    let replaced = world.call(Method::GET, &target).header("x-request-id", &long).send().await;
    assert_eq!(replaced.header("x-request-id").unwrap().len(), 36);
    assert!(world.open(Method::GET, "/healthz").send().await.header("x-request-id").is_some());
}

#[tokio::test]
async fn an_unknown_route_is_a_problem_of_its_service() {
    let world = World::start().await;
    let call = |target: &str| world.open(Method::GET, target).header("x-request-id", "r");
    assert_answer("unknown_route", &call(&format!("{FLOW}/rivers")).send().await);
    assert_answer("unknown_route_of_a_neighbour", &call("/data/foundation/import/batches").send().await);
    for reserved in ["/data/foundation/access-control/acl", "/data/infrastructure/observability/insights/metrics", "/"]
    {
        assert_eq!(call(reserved).send().await.status, StatusCode::NOT_FOUND, "{reserved}");
    }
}

#[tokio::test]
async fn a_wrong_method_names_those_that_are_right() {
    let world = World::start().await;
    let answer = world.call(Method::PUT, &format!("{FLOW}/connections")).header("x-request-id", "r").send().await;
    assert_answer("wrong_method", &answer);
    let neighbour = world.call(Method::PATCH, &format!("{CATALOG}/dataSets")).send().await;
    assert_eq!((neighbour.status.as_u16(), &neighbour.json()["title"]), (405, &json!("MethodNotAllowedError")));
    assert_eq!(neighbour.header("allow"), Some("GET,HEAD,POST"));
}

#[tokio::test]
async fn one_trailing_slash_is_as_good_as_none() {
    let world = World::start().await;
    let id = world.make(&format!("{FLOW}/connections/"), &crate::world::new_connection()).await;
    assert_eq!(world.get(&format!("{FLOW}/connections/?limit=5")).await.items().len(), 1);
    assert_eq!(world.get(&format!("{FLOW}/connections/{id}/")).await.items()[0]["id"], id);
    assert_eq!(world.get(&format!("{FLOW}/connections//")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(world.delete(&format!("{FLOW}/connections/{id}/")).await.status, StatusCode::NO_CONTENT);
    assert_eq!(world.open(Method::GET, "/ui/").send().await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_body_that_is_too_long_is_refused_with_the_limit() {
    let world = World::start().await;
    let body = format!("{{\"name\": \"{}\"}}", "x".repeat(4 << 20));
    let answer = world.call(Method::POST, &format!("{FLOW}/connections")).body(body).send().await;
    assert_eq!((answer.status.as_u16(), answer.code()), (413, "FLOW-1400-413".to_owned()));
    assert_eq!(answer.json()["title"], "Payload too large");
    let token = world.open(Method::POST, "/ims/token/v3").body("x".repeat(5 << 20)).send().await;
    assert_eq!((token.status.as_u16(), &token.json()["error"]), (413, &json!("invalid_request")));
}

#[tokio::test]
async fn a_route_that_panics_answers_500_and_says_nothing_of_the_inside() {
    let world = World::start().await;
    let id = world.make_connection().await;
    let target = format!("{FLOW}/connections/{id}/explore?objectType=table&object={CURSED}");
    let answer = world.call(Method::GET, &target).header("x-request-id", "r").send().await;
    assert_answer("panic", &answer);
    assert_eq!(world.get(&format!("{FLOW}/connections")).await.status, StatusCode::OK, "the server lives on");
}

#[tokio::test]
async fn health_readiness_numbers_page_and_description_are_open_to_everybody() {
    let world = World::start().await;
    assert_eq!(world.open(Method::GET, "/healthz").send().await.json(), json!({ "status": "ok" }));
    assert_eq!(world.open(Method::GET, "/readyz").send().await.json(), json!({ "status": "ok" }));
    let numbers = world.open(Method::GET, "/metrics").send().await;
    assert!(numbers.header("content-type").unwrap().starts_with("text/plain"));
    assert!(numbers.body.starts_with(b"headwaters_up 1"));
    let page = world.open(Method::GET, "/ui").send().await;
    assert!(page.header("content-type").unwrap().starts_with("text/html"));
    assert_eq!(world.open(Method::GET, "/openapi.json").send().await.json()["info"]["title"], "Headwaters");
    assert_eq!(world.open(Method::HEAD, "/healthz").send().await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_server_whose_store_is_gone_is_not_ready_but_alive() {
    let world = World::start().await;
    world.store.close().await;
    let ready = world.open(Method::GET, "/readyz").header("x-request-id", "r").send().await;
    assert_answer("not_ready", &ready);
    assert_eq!(world.open(Method::GET, "/healthz").send().await.status, StatusCode::OK);
    let list = world.get(&format!("{FLOW}/flows")).await;
    assert!(list.status.is_server_error(), "{list:?}");
    assert!(!String::from_utf8_lossy(&list.body).to_lowercase().contains("sql"), "{list:?}");
}

/// Notes under which labels something was counted or measured.
#[derive(Default)]
struct Labels(Mutex<Vec<String>>);

impl Labels {
    fn note(&self, key: &Key) {
        let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        self.0.lock().unwrap().push(format!("{} {}", key.name(), labels.join(" ")));
    }
}

impl Recorder for Labels {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        self.note(key);
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        self.note(key);
        Histogram::noop()
    }
}

#[tokio::test]
async fn requests_are_counted_by_route_whatever_ids_and_methods_clients_make_up() {
    let world = World::start().await;
    let labels = Labels::default();
    let counting = metrics::set_default_local_recorder(&labels);
    for _ in 0..3 {
        world.get(&format!("{FLOW}/flows/{}", FlowId::mint())).await;
        world.open(Method::GET, &format!("/{}", FlowId::mint())).send().await;
    }
    world.open(Method::from_bytes(b"BREW").unwrap(), "/healthz").send().await;
    drop(counting);
    let mut seen = labels.0.into_inner().unwrap();
    seen.retain(|line| line.starts_with("headwaters_http_requests_total"));
    seen.sort();
    seen.dedup();
    assert_eq!(
        seen,
        [
            "headwaters_http_requests_total method=GET route=/data/foundation/flowservice/flows/{flow_id} status=404",
            "headwaters_http_requests_total method=GET route=none status=404",
            "headwaters_http_requests_total method=other route=/healthz status=405",
        ]
    );
}

#[test]
fn no_target_makes_the_server_fail() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let world = runtime.block_on(World::start());
    let methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"];
    let targets = (
        prop::sample::select(methods.to_vec()),
        prop::sample::select(vec!["", FLOW, CATALOG, "/ims/token/v3"]),
        "(/(connections|flows|runs|dataSets|connectionSpecs|[!-~&&[^?#]]{0,8})){0,4}",
        "[!-~&&[^#]]{0,40}",
    );
    let mut runner = proptest::test_runner::TestRunner::default();
    let outcome = runner.run(&targets, |(method, base, path, query)| {
        let Ok(target) = format!("{base}{path}?{query}").parse::<http::Uri>() else { return Ok(()) };
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let answer = runtime.block_on(world.call(method, &target.to_string()).body("{}").send());
        prop_assert!(!answer.status.is_server_error(), "{answer:?}");
        prop_assert!(answer.header("x-request-id").is_some());
        Ok(())
    });
    outcome.unwrap();
}
