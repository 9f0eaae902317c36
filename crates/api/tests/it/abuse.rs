//! Clients that are slow, greedy, broken or hostile, and how little others notice of them (limits.rs of the crate).

use std::num::NonZeroU32;
use std::time::Duration;

use futures::future::join_all;
use headwaters_api::Limits;
use headwaters_control::Settings;
use headwaters_model::account::Role;
use headwaters_store::{AuditQuery, AuditRecord};
use http::{Method, StatusCode};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep, timeout};

use crate::fakes::SLOW;
use crate::socket::{Listening, PATIENCE, expect_end, read_answer, read_status, request, send};
use crate::world::{Answer, CATALOG, FLOW, World, new_connection};

/// Limits that a test need not wait for.
fn short() -> Limits {
    Limits {
        head: Duration::from_millis(500),
        body: Duration::from_millis(300),
        answer: Duration::from_millis(300),
        linger: Duration::from_millis(500),
        source_call_wait: Duration::from_millis(50),
        ..Limits::default()
    }
}

async fn world(limits: Limits) -> World {
    World::start_within(Settings::default(), limits).await
}

/// Limits of a generous server with a rate.
fn rate(per_second: u32) -> Limits {
    Limits { rate_per_second: NonZeroU32::new(per_second), ..Limits::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_clients_are_answered_while_a_crowd_holds_connections_open() {
    let world = world(short()).await;
    let listening = Listening::start(&world).await;
    let mut crowd = Vec::new();
    for number in 0..300 {
        let mut stream = listening.connect_from(&format!("127.0.0.{}", 2 + number % 3)).await;
        send(&mut stream, "GET /data/foundation/flowservice/flows HTTP/1.1\r\nHost: loc").await;
        crowd.push(stream);
    }
    let call = request(&world, "GET", &format!("{FLOW}/flows"), "");
    let started = Instant::now();
    let clients = (0..64).map(|_| async {
        let mut stream = listening.connect().await;
        for _ in 0..5 {
            send(&mut stream, &call).await;
            let (head, body) = read_answer(&mut stream).await.expect("an answer");
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
            assert!(body.starts_with("{\"items\":"), "{body}");
        }
    });
    timeout(PATIENCE, join_all(clients)).await.expect("all are answered in time");
    assert!(started.elapsed() < PATIENCE);
    for mut stream in crowd {
        expect_end(&mut stream).await;
    }
    listening.expect_open(0).await;
    listening.end().await;
}

#[tokio::test]
async fn a_head_that_trickles_or_never_comes_ends_the_connection() {
    let world = world(short()).await;
    let listening = Listening::start(&world).await;
    let mut silent = listening.connect().await;
    let mut slow = listening.connect().await;
    for byte in "GET /healthz HTTP/1.1\r\nx: ".bytes().chain(std::iter::repeat(b'y')) {
        sleep(Duration::from_millis(20)).await;
        if slow.write_all(&[byte]).await.is_err() {
            break;
        }
    }
    expect_end(&mut silent).await;
    listening.expect_open(0).await;
    listening.end().await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_its_time_and_not_before() {
    let world = world(short()).await;
    let listening = Listening::start(&world).await;
    let mut stream = listening.connect().await;
    for _ in 0..3 {
        send(&mut stream, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert_eq!(read_status(&mut stream).await, Some(200));
        sleep(Duration::from_millis(250)).await;
    }
    assert_eq!(read_status(&mut stream).await, None);
    listening.end().await;
}

#[tokio::test]
async fn a_body_that_trickles_is_a_408() {
    let world = world(short()).await;
    let listening = Listening::start(&world).await;
    let (mut reader, mut writer) = listening.connect().await.into_split();
    let call = request(&world, "POST", &format!("{FLOW}/connections"), &" ".repeat(1000));
    writer.write_all(call.trim_end_matches(' ').as_bytes()).await.unwrap();
    let trickle = tokio::spawn(async move {
        while writer.write_all(b" ").await.is_ok() {
            sleep(Duration::from_millis(20)).await;
        }
    });
    let mut answer = Vec::new();
    timeout(PATIENCE, tokio::io::AsyncReadExt::read_to_end(&mut reader, &mut answer)).await.unwrap().ok();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("FLOW-1400-408"), "{answer}");
    drop(reader);
    timeout(PATIENCE, trickle).await.unwrap().unwrap();
    listening.expect_open(0).await;
    listening.end().await;
}

#[tokio::test]
async fn who_never_reads_an_answer_is_cut() {
    let world = world(short()).await;
    let listening = Listening::start(&world).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut deaf = socket.connect(listening.address).await.unwrap();
    listening.expect_open(1).await;
    let started = Instant::now();
    let calls = "GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n".repeat(400);
    // The server stops reading as well when nobody takes its answers.
    timeout(Duration::from_secs(5), deaf.write_all(calls.as_bytes())).await.ok();
    listening.expect_open(0).await;
    assert!(started.elapsed() >= short().answer, "it had its time");
    listening.end().await;
}

#[tokio::test]
async fn a_head_beyond_its_limits_is_a_431() {
    let world = world(Limits::default()).await;
    let listening = Listening::start(&world).await;
    let long = format!("GET /healthz HTTP/1.1\r\nx-long: {}\r\n\r\n", "y".repeat(100 << 10));
    let many = format!("GET /healthz HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(101));
    for head in [long, many] {
        let mut stream = listening.connect().await;
        send(&mut stream, &head).await;
        assert_eq!(read_status(&mut stream).await, Some(431));
        expect_end(&mut stream).await;
    }
    let mut stream = listening.connect().await;
    send(&mut stream, &format!("GET /healthz?{} HTTP/1.1\r\nHost: x\r\n\r\n", "y".repeat(32 << 10))).await;
    assert_eq!(read_status(&mut stream).await, Some(200), "a long filter passes");
    drop(stream);
    listening.end().await;
}

#[tokio::test]
async fn a_client_that_sends_too_long_a_body_to_its_end_still_reads_the_413() {
    let world = world(Limits::default()).await;
    let listening = Listening::start(&world).await;
    let mut stream = listening.connect().await;
    let call = request(&world, "POST", &format!("{FLOW}/connections"), &" ".repeat(6 << 20));
    send(&mut stream, &call).await;
    let (head, body) = read_answer(&mut stream).await.expect("the answer is not lost");
    assert!(head.starts_with("HTTP/1.1 413"), "{head}");
    assert!(body.contains("FLOW-1400-413"), "{body}");
    drop(stream);
    listening.expect_open(0).await;
    listening.end().await;
}

#[tokio::test]
async fn requests_sent_in_one_go_are_answered_one_after_the_other() {
    let world = world(Limits::default()).await;
    let listening = Listening::start(&world).await;
    let mut stream = listening.connect().await;
    let calls: String =
        (0..20).map(|n| format!("GET /healthz HTTP/1.1\r\nHost: x\r\nx-request-id: n{n}\r\n\r\n")).collect();
    send(&mut stream, &calls).await;
    for n in 0..20 {
        let (head, _) = read_answer(&mut stream).await.expect("an answer");
        assert!(head.contains(&format!("x-request-id: n{n}\r\n")), "{head}");
    }
    drop(stream);
    listening.end().await;
}

#[tokio::test]
async fn garbage_is_a_400_and_hurts_nobody() {
    let world = world(short()).await;
    let listening = Listening::start(&world).await;
    for garbage in [
        "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\r\n\r\n",
        "GET\r\n\r\n",
        "GET /healthz HTTP/9.9\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nno colon\r\n\r\n",
        "POST /ims/token/v3 HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        "POST /ims/token/v3 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
    ] {
        let mut stream = listening.connect().await;
        send(&mut stream, garbage).await;
        let status = read_status(&mut stream).await;
        assert!(matches!(status, None | Some(400)), "{garbage:?}: {status:?}");
    }
    let mut stream = listening.connect().await;
    send(&mut stream, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(read_status(&mut stream).await, Some(200));
    drop(stream);
    listening.expect_open(0).await;
    listening.end().await;
}

#[tokio::test]
async fn whoever_closes_in_the_middle_leaves_nothing_behind() {
    let world = world(Limits::default()).await;
    let listening = Listening::start(&world).await;
    let post = request(&world, "POST", &format!("{FLOW}/connections"), &new_connection().to_string());
    for part in ["", "GET /hea", "GET /healthz HTTP/1.1\r\nHost: x\r\n", &post[..post.len() - 10]] {
        let mut stream = listening.connect().await;
        send(&mut stream, part).await;
        stream.shutdown().await.unwrap();
        expect_end(&mut stream).await;
    }
    listening.expect_open(0).await;
    assert!(world.get(&format!("{FLOW}/connections")).await.items().is_empty(), "half a body makes nothing");
    listening.end().await;
}

#[tokio::test]
async fn an_address_that_has_its_part_of_the_connections_is_told_so_and_others_get_theirs() {
    let world = world(Limits { connections_max: 5, connections_per_address_max: 2, ..short() }).await;
    let listening = Listening::start(&world).await;
    let mut held: Vec<TcpStream> = Vec::new();
    for address in ["127.0.0.2", "127.0.0.2", "127.0.0.3"] {
        held.push(listening.connect_from(address).await);
    }
    listening.expect_open(3).await;
    let call = "GET /data/foundation/catalog/dataSets HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut refused = listening.connect_from("127.0.0.2").await;
    send(&mut refused, call).await;
    let (head, body) = read_answer(&mut refused).await.expect("an answer");
    assert!(head.starts_with("HTTP/1.1 503") && head.contains("retry-after: 1\r\n"), "{head}");
    assert!(body.contains("ServiceUnavailableError"), "in the shape of the service: {body}");
    expect_end(&mut refused).await;

    let mut other = listening.connect().await;
    send(&mut other, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(read_status(&mut other).await, Some(200));
    drop((held, other));
    listening.expect_open(0).await;
    listening.end().await;
}

#[tokio::test]
async fn a_stopping_server_answers_what_is_under_way_and_accepts_nothing_more() {
    let world = world(Limits::default()).await;
    let listening = Listening::start(&world).await;
    let call = request(&world, "POST", &format!("{FLOW}/connections"), &new_connection().to_string());
    let call = call.replace("Content-Length", "Expect: 100-continue\r\nContent-Length");
    let (head, body) = call.split_once("\r\n\r\n").unwrap();
    let mut stream = listening.connect().await;
    let mut idle = listening.connect().await;
    send(&mut stream, &format!("{head}\r\n\r\n")).await;
    assert_eq!(read_status(&mut stream).await, Some(100), "it is under way: the body is waited for");
    send(&mut idle, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(read_status(&mut idle).await, Some(200));
    listening.order_to_stop();
    assert_eq!(read_status(&mut idle).await, None, "an idle connection ends");
    send(&mut stream, body).await;
    assert_eq!(read_status(&mut stream).await, Some(201));
    expect_end(&mut stream).await;
    drop(idle);
    let address = listening.address;
    listening.end().await;
    assert!(TcpStream::connect(address).await.is_err());
}

fn slow_connection() -> String {
    let mut body = new_connection();
    body["auth"]["params"]["server"] = json!(SLOW);
    body.to_string()
}

#[tokio::test]
async fn operations_at_a_source_that_does_not_answer_hold_up_nothing_cheap_and_are_bounded() {
    let world = world(Limits { source_calls_per_client_max: 2, ..short() }).await;
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
    let world = world(rate(2)).await;
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
    let world = world(rate(1)).await;
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

/// What was recorded of a kind of act, the newest first.
async fn recorded(world: &World, action: &str) -> Vec<AuditRecord> {
    let lines = world.store.audit(&AuditQuery::default()).await.unwrap();
    lines.into_iter().filter(|line| line.action == action).collect()
}

#[tokio::test]
async fn attempts_that_a_role_does_not_allow_are_recorded_with_what_they_were_at() {
    let world = World::start().await;
    let connection = world.make_connection().await;
    let viewer = world.seen_by_role(Role::View).await;
    let target = format!("{FLOW}/connections/{connection}");
    let call = viewer.call(Method::DELETE, &target).header("x-request-id", "attempt-1");
    assert_eq!(call.send().await.status, StatusCode::FORBIDDEN);
    assert_eq!(viewer.post(&format!("{FLOW}/connections"), &new_connection()).await.status, StatusCode::FORBIDDEN);

    let deletes = recorded(&viewer, "delete").await;
    let [line] = deletes.as_slice() else { panic!("{deletes:?}") };
    assert_eq!((line.allowed, line.client.as_str()), (false, viewer.credentials.client_id.as_str()));
    assert_eq!((line.collection.as_str(), &line.resource_id), ("connections", &connection));
    assert_eq!((line.request_id.as_deref(), line.etag.as_deref()), (Some("attempt-1"), None));
    let creates = recorded(&viewer, "create").await;
    assert_eq!((creates[0].allowed, creates[0].resource_id.as_str()), (false, ""));
    assert!(viewer.get(&target).await.status.is_success(), "reading is allowed, and not recorded");
}

#[tokio::test]
async fn a_wrong_secret_is_recorded_for_an_account_that_exists_and_is_not_in_the_record() {
    let world = World::start().await;
    let login = async |client: &str| {
        let form = format!("grant_type=client_credentials&client_id={client}&client_secret=a-guess");
        let call = world.open(Method::POST, "/ims/token/v3").header("x-request-id", "login-1").body(form);
        assert_eq!(call.send().await.status, StatusCode::UNAUTHORIZED);
    };
    login("0123456789abcdef0123456789abcdef").await;
    login(world.credentials.client_id.as_str()).await;
    let started = Instant::now();
    let lines = loop {
        let lines = recorded(&world, "login").await;
        if !lines.is_empty() {
            break lines;
        }
        assert!(started.elapsed() < PATIENCE, "the login was not recorded");
        sleep(Duration::from_millis(5)).await;
    };
    let [line] = lines.as_slice() else { panic!("{lines:?}") };
    assert_eq!((line.allowed, line.client.as_str()), (false, world.credentials.client_id.as_str()));
    assert_eq!(line.request_id.as_deref(), Some("login-1"));
    assert!(!format!("{line:?}").contains("a-guess"));
}
