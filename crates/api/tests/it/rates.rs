//! How often a client may ask, and how much of what takes long it may have under way (rate.rs of the crate, turns.rs of
//! control).

use std::num::NonZeroU32;
use std::time::Duration;

use headwaters_api::Limits;
use headwaters_control::{Settings, TurnLimits};
use headwaters_model::account::Role;
use http::{Method, StatusCode};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::fakes::SLOW;
use crate::socket::{Listening, PATIENCE, read_answer, request, send};
use crate::world::{Answer, CATALOG, FLOW, World, new_connection};

/// Limits of a generous server with a rate.
fn rate(per_second: u32) -> Limits {
    Limits { rate_per_second: NonZeroU32::new(per_second), ..Limits::default() }
}

/// Settings under which so many questions to sources may be under way, in all and of one client.
fn turns(sources_max: usize, sources_per_client_max: usize) -> Settings {
    let sources_wait = Duration::from_millis(50);
    let turns = TurnLimits { sources_max, sources_per_client_max, sources_wait, ..TurnLimits::default() };
    Settings { turns, ..Settings::default() }
}

async fn world(settings: Settings) -> World {
    World::start_with(settings).await
}

fn slow_connection() -> String {
    let mut body = new_connection();
    body["auth"]["params"]["server"] = json!(SLOW);
    body.to_string()
}

#[tokio::test]
async fn operations_at_a_source_that_does_not_answer_hold_up_nothing_cheap_and_are_bounded() {
    let world = world(turns(32, 2)).await;
    let listening = Listening::start(&world).await;
    let call = request(&world, "POST", &format!("{FLOW}/connections"), &slow_connection());
    let mut stuck = Vec::new();
    for _ in 0..2 {
        let mut stream = listening.connect().await;
        send(&mut stream, &call).await;
        stuck.push(stream);
    }
    let started = Instant::now();
    let refused = loop {
        let answer = world.post(&format!("{FLOW}/connections"), &new_connection()).await;
        if answer.status != StatusCode::CREATED {
            break answer;
        }
        assert!(started.elapsed() < PATIENCE, "the stuck ones never got under way");
    };
    assert_too_many(&refused, "1");
    assert!(refused.json()["report"].to_string().contains("this one has 2 under way"), "{refused:?}");
    assert_eq!(world.get(&format!("{FLOW}/flows")).await.status, StatusCode::OK);

    drop(stuck);
    listening.expect_open(0).await;
    let answer = world.post(&format!("{FLOW}/connections"), &new_connection()).await;
    assert_eq!(answer.status, StatusCode::CREATED, "who hangs up gives the turn back: {answer:?}");
    listening.end().await;
}

fn assert_too_many(answer: &Answer, retry_after: &str) {
    assert_eq!((answer.status, answer.code().as_str()), (StatusCode::TOO_MANY_REQUESTS, "FLOW-1400-429"), "{answer:?}");
    assert_eq!(answer.json()["title"], "Too many requests");
    assert_eq!(answer.header("retry-after"), Some(retry_after));
}

#[tokio::test]
async fn a_client_beyond_its_rate_is_told_when_to_come_back_and_is_answered_then() {
    let world = World::start_within(Settings::default(), rate(2)).await;
    let call = || world.get(FLOWS);
    let mut answered = 0;
    let refused = loop {
        let answer = call().await;
        if answer.status != StatusCode::OK {
            break answer;
        }
        answered += 1;
        assert!(answered < 100, "the rate is not limited");
    };
    assert!(answered >= 2, "a second's requests may come at once");
    assert_too_many(&refused, "1");
    let neighbour = world.get(&format!("{CATALOG}/dataSets")).await;
    assert_eq!(
        (neighbour.status.as_u16(), &neighbour.json()["title"]),
        (429, &json!("TooManyRequestsError")),
        "one client, one rate, whatever service"
    );
    sleep(Duration::from_secs(1)).await;
    assert_eq!(call().await.status, StatusCode::OK);
}

const FLOWS: &str = "/data/foundation/flowservice/flows";

#[tokio::test]
async fn tokens_and_failed_authentication_count_by_address_and_other_addresses_are_not_held_up() {
    let world = World::start_within(Settings::default(), rate(1)).await;
    let listening = Listening::start(&world).await;
    let login = "POST /ims/token/v3 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
    let wrong = format!("GET {FLOWS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x\r\n\r\n");
    let ask = async |from: &str, call: &str| {
        let mut stream = listening.connect_from(from).await;
        send(&mut stream, call).await;
        read_answer(&mut stream).await.expect("an answer")
    };
    assert!(ask("127.0.0.2", login).await.0.starts_with("HTTP/1.1 400"));
    let (head, body) = ask("127.0.0.2", login).await;
    assert!(head.starts_with("HTTP/1.1 429") && head.contains("retry-after: 1\r\n"), "{head}");
    assert!(body.contains("\"error\":\"temporarily_unavailable\""), "in the shape of the service: {body}");
    assert!(ask("127.0.0.2", &wrong).await.0.starts_with("HTTP/1.1 429"), "the same bucket");
    assert!(ask("127.0.0.3", &wrong).await.0.starts_with("HTTP/1.1 401"), "another address");
    let good = request(&world, "GET", FLOWS, "");
    assert!(ask("127.0.0.2", &good).await.0.starts_with("HTTP/1.1 200"), "a known client counts by itself");
    for _ in 0..10 {
        assert!(ask("127.0.0.2", "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.0.starts_with("HTTP/1.1 200"));
    }
    listening.end().await;
}

#[tokio::test]
async fn a_repeated_post_makes_another_one_even_under_the_same_request_id() {
    let world = World::start().await;
    let again = async || {
        let call = world.call(Method::POST, &format!("{FLOW}/connections")).header("x-request-id", "once");
        call.json(&new_connection()).send().await.json()["id"].clone()
    };
    assert_ne!(again().await, again().await);
    assert_eq!(world.get(&format!("{FLOW}/connections")).await.items().len(), 2);
}

/// Keeps one question to a source under way until it is dropped.
async fn stuck(world: &World, listening: &Listening) -> TcpStream {
    let mut stream = listening.connect().await;
    let call = request(world, "POST", &format!("{FLOW}/connections"), &slow_connection());
    send(&mut stream, &call).await;
    let started = Instant::now();
    while world.post(&format!("{FLOW}/connections"), &new_connection()).await.status == StatusCode::CREATED {
        assert!(started.elapsed() < PATIENCE, "it never got under way");
    }
    stream
}

#[tokio::test]
async fn what_asks_no_source_waits_for_none() {
    let world = world(turns(32, 1)).await;
    let listening = Listening::start(&world).await;
    let parts = world.make_flow().await;
    let stuck = stuck(&world, &listening).await;
    let (connection, flow) =
        (format!("{FLOW}/connections/{}", parts.connection), format!("{FLOW}/flows/{}", parts.flow));
    let rename = json!([{ "op": "replace", "path": "/name", "value": "renamed" }]);
    assert_eq!(world.patch(&connection, &rename).await.status, StatusCode::OK);
    assert_eq!(world.act(&flow, "disable").await.status, StatusCode::OK);
    let explored = world.get(&format!("{connection}/explore?objectType=root")).await;
    assert_too_many(&explored, "1");
    assert_too_many(&world.get(&format!("{connection}/test")).await, "1");
    drop(stuck);
    listening.expect_open(0).await;
    assert_eq!(world.get(&format!("{connection}/explore?objectType=root")).await.status, StatusCode::OK);
    listening.end().await;
}

#[tokio::test]
async fn who_sends_a_body_slowly_holds_no_turn_at_the_sources() {
    let world = world(turns(1, 1)).await;
    let listening = Listening::start(&world).await;
    let call = request(&world, "POST", &format!("{FLOW}/connections"), &new_connection().to_string());
    let call = call.replace("Content-Length", "Expect: 100-continue\r\nContent-Length");
    let (head, _) = call.split_once("\r\n\r\n").unwrap();
    let mut slow = listening.connect().await;
    send(&mut slow, &format!("{head}\r\n\r\n")).await;
    assert!(read_answer(&mut slow).await.unwrap().0.starts_with("HTTP/1.1 100"), "its body is waited for");
    world.make_connection().await;
    drop(slow);
    listening.end().await;
}

#[tokio::test]
async fn when_all_clients_together_have_every_turn_another_one_is_told_so() {
    let world = world(turns(1, 1)).await;
    let listening = Listening::start(&world).await;
    let stuck = stuck(&world, &listening).await;
    let other = world.seen_by_role(Role::Manage).await;
    let refused = other.post(&format!("{FLOW}/connections"), &new_connection()).await;
    assert_too_many(&refused, "1");
    assert!(refused.json()["report"].to_string().contains("all together have 1 under way"), "{refused:?}");
    drop(stuck);
    listening.end().await;
}

#[tokio::test]
async fn a_list_that_may_read_every_row_needs_a_turn_and_no_other_list_does() {
    let turns = TurnLimits { scans_per_client_max: 0, scans_wait: Duration::from_millis(10), ..TurnLimits::default() };
    let world = world(Settings { turns, ..Settings::default() }).await;
    world.make_connection().await;
    let refused = world.get(&format!("{FLOW}/connections?property=description==nothing")).await;
    assert_too_many(&refused, "1");
    assert!(refused.json()["report"].to_string().contains("too many lists that read every row"), "{refused:?}");
    assert_too_many(&world.get(&format!("{FLOW}/connections?property=description==nothing&count=true")).await, "1");
    for cheap in ["connections", "connections?limit=5", "connections?property=name==shop", "connections?count=true"] {
        assert_eq!(world.get(&format!("{FLOW}/{cheap}")).await.status, StatusCode::OK, "{cheap}");
    }
}
