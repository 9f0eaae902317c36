//! Bodies that try to be read as requests: nothing that a client sends as data may become a request of its own.
//!
//! The bodies begin as a request line with many raw quotes would. Were it rewritten (listener.rs of the crate), the body
//! would end before its length, and what it brings at its end would be the next request of the connection.

use std::time::Duration;

use headwaters_control::{Settings, TurnLimits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::socket::{Listening, PATIENCE, read_answer, read_status, request, send};
use crate::world::{FLOW, World};

/// What must never be answered.
const SMUGGLED: &str = "GET /healthz HTTP/1.1\r\nHost: x\r\nx-request-id: smuggled\r\n\r\n";
/// What is asked in the open afterwards.
const OPEN: &str = "GET /healthz?property=name==\"x\" HTTP/1.1\r\nHost: x\r\nx-request-id: open\r\n\r\n";

/// A body that ends in [`SMUGGLED`], by whose length it would grow if its quotes were rewritten.
fn body() -> String {
    assert_eq!(SMUGGLED.len() % 2, 0, "a quote would become two bytes longer");
    format!("A {} \r\n{SMUGGLED}", "\"".repeat(SMUGGLED.len() / 2))
}

fn head(target: &str, framing: &str) -> String {
    format!("POST {target} HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n")
}

fn with_length(body: &str) -> String {
    format!("Content-Length: {}", body.len())
}

/// Everything that is answered until the connection ends.
async fn rest(stream: &mut TcpStream) -> String {
    let mut rest = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut rest)).await.unwrap().ok();
    String::from_utf8(rest).unwrap()
}

#[tokio::test]
async fn a_body_that_was_asked_for_is_not_read_as_a_request() {
    let world = World::start().await;
    let listening = Listening::start(&world).await;
    let mut stream = listening.connect().await;
    let expecting = format!("Expect: 100-continue\r\n{}", with_length(&body()));
    send(&mut stream, &head("/ims/token/v3", &expecting)).await;
    assert_eq!(read_status(&mut stream).await, Some(100));
    send(&mut stream, &body()).await;
    assert_eq!(read_status(&mut stream).await, Some(400), "no form that asks for a token");
    send(&mut stream, OPEN).await;
    let (head, _) = read_answer(&mut stream).await.expect("the connection goes on");
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("x-request-id: open\r\n"), "{head}");
    drop(stream);
    listening.end().await;
}

#[tokio::test]
async fn a_body_that_nobody_reads_is_not_read_as_a_request() {
    // The answer comes while the body is there and not read: an operation that takes no body waits for its turn.
    let turns = TurnLimits { sources_max: 0, sources_wait: Duration::from_millis(500), ..TurnLimits::default() };
    let settings = Settings { turns, verify_on_create: false, ..Settings::default() };
    let world = World::start_with(settings).await;
    let connection = world.make_connection().await;
    let listening = Listening::start(&world).await;
    let mut stream = listening.connect().await;
    let call = request(&world, "GET", &format!("{FLOW}/connections/{connection}/test"), &body());
    let head = call.strip_suffix(&body()).unwrap();
    send(&mut stream, head).await;
    sleep(Duration::from_millis(100)).await;
    send(&mut stream, &body()).await;
    assert_eq!(read_status(&mut stream).await, Some(429));
    send(&mut stream, OPEN).await;
    stream.shutdown().await.unwrap();
    let rest = rest(&mut stream).await;
    assert!(!rest.contains("smuggled"), "{rest}");
    listening.end().await;
}

#[tokio::test]
async fn a_chunked_body_is_not_read_as_a_request_and_ends_its_connection() {
    let world = World::start().await;
    let listening = Listening::start(&world).await;
    let chunk = format!("{:x}\r\n{}\r\n0\r\n\r\n", body().len(), body());
    for (target, expecting) in [("/ims/token/v3", true), ("/data/foundation/flowservice/connections", false)] {
        let mut stream = listening.connect().await;
        let expect = if expecting { "Expect: 100-continue\r\n" } else { "" };
        send(&mut stream, &head(target, &format!("{expect}Transfer-Encoding: chunked"))).await;
        if expecting {
            assert_eq!(read_status(&mut stream).await, Some(100));
            send(&mut stream, &chunk).await;
        }
        let (head, _) = read_answer(&mut stream).await.expect("an answer");
        assert!(head.contains("connection: close\r\n"), "{head}");
        stream.write_all(format!("{chunk}{OPEN}").as_bytes()).await.ok();
        assert_eq!(rest(&mut stream).await, "", "{target}");
    }
    listening.end().await;
}

#[tokio::test]
async fn a_body_in_the_middle_of_requests_that_were_sent_in_one_go_is_not_read_as_a_request() {
    let world = World::start().await;
    let listening = Listening::start(&world).await;
    let mut stream = listening.connect().await;
    let post = head("/ims/token/v3", &with_length(&body()));
    let (first, second) = (format!("{OPEN}{post}{}", &body()[..1]), format!("{}{OPEN}", &body()[1..]));
    send(&mut stream, &first).await;
    assert_eq!(read_status(&mut stream).await, Some(200), "the answer arms nothing");
    send(&mut stream, &second).await;
    assert_eq!(read_status(&mut stream).await, Some(400));
    let (head, _) = read_answer(&mut stream).await.expect("an answer");
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("x-request-id: open\r\n"), "{head}");
    drop(stream);
    listening.end().await;
}
