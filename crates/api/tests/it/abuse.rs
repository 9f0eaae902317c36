//! Clients that are slow, greedy, broken or hostile on their connections, and how little others notice of them
//! (limits.rs of the crate).

use std::time::Duration;

use futures::future::join_all;
use headwaters_api::Limits;
use headwaters_control::Settings;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep, timeout};

use crate::socket::{Listening, PATIENCE, expect_end, read_answer, read_status, request, send};
use crate::world::{FLOW, World, new_connection};

/// Limits that a test need not wait for.
fn short() -> Limits {
    Limits {
        head: Duration::from_millis(500),
        body: Duration::from_millis(300),
        answer: Duration::from_millis(300),
        linger: Duration::from_millis(500),
        ..Limits::default()
    }
}

async fn world(limits: Limits) -> World {
    World::start_within(Settings::default(), limits).await
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
async fn whoever_keeps_asking_keeps_its_connection_until_there_is_a_crowd() {
    const CALL: &str = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    let limits = Limits { connections_max: 4, connections_per_address_max: 1, ..short() };
    let world = world(Limits { crowded_age: Duration::from_millis(300), ..limits }).await;
    let listening = Listening::start(&world).await;
    let mut alone = listening.connect_from("127.0.0.2").await;
    sleep(Duration::from_millis(400)).await;
    send(&mut alone, CALL).await;
    let (head, _) = read_answer(&mut alone).await.expect("an answer");
    assert!(!head.contains("connection: close"), "it is old, and there is room: {head}");

    let mut crowd = vec![alone];
    for address in ["127.0.0.3", "127.0.0.4", "127.0.0.5"] {
        crowd.push(listening.connect_from(address).await);
    }
    listening.expect_open(4).await;
    let mut refused = listening.connect().await;
    send(&mut refused, CALL).await;
    assert_eq!(read_status(&mut refused).await, Some(503));
    // All go on asking as long as they are answered, well within the time that a connection may be idle.
    let crowd = crowd.into_iter().map(async |mut stream| {
        while stream.write_all(CALL.as_bytes()).await.is_ok() && read_status(&mut stream).await.is_some() {
            sleep(Duration::from_millis(50)).await;
        }
    });
    let newcomer = async {
        loop {
            let mut stream = listening.connect().await;
            send(&mut stream, CALL).await;
            if read_status(&mut stream).await == Some(200) {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        () = newcomer => {}
        _ = join_all(crowd) => panic!("some keep their connections, now that there is room"),
        () = sleep(PATIENCE) => panic!("the crowd holds all connections"),
    }
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
