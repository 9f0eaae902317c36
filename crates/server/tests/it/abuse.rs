//! The program itself under crowds and limits; the API's own tests go through the kinds of abuse one by one.

use std::time::Duration;

use futures::future::join_all;
use headwaters_testkit::world::{FLOW_SERVICE, World};
use reqwest::Method;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::land::{complaint, headwaters, output};

/// No test waits longer.
const PATIENCE: Duration = Duration::from_secs(30);

fn options() -> headwaters_testkit::world::WorldOptions {
    World::options(env!("CARGO_BIN_EXE_headwaters"))
}

async fn metrics(world: &World) -> String {
    let answer = world.bare_request(Method::GET, "/metrics").send().await.expect("an answer");
    answer.text().await.expect("a text")
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_clients_are_answered_while_others_only_hold_connections_and_a_stop_waits_for_none_of_those() {
    let mut world = options().start().await.expect("a server");
    let mut crowd = Vec::new();
    for _ in 0..40 {
        let mut stream = TcpStream::connect(("127.0.0.1", world.port())).await.expect("a connection");
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: ").await.expect("sent");
        crowd.push(stream);
    }
    let flows = format!("{FLOW_SERVICE}/flows");
    let clients = (0..64).map(|_| async {
        for _ in 0..10 {
            assert_eq!(world.get(&flows).await.expect("an answer").status, 200);
        }
    });
    timeout(PATIENCE, join_all(clients)).await.expect("all are answered in time");
    let shown = metrics(&world).await;
    let open = shown.lines().find_map(|line| line.strip_prefix("headwaters_http_connections "));
    assert!(open.expect("the number of connections").parse::<f64>().expect("a number") >= 40.0, "{shown}");

    let started = Instant::now();
    assert!(world.terminate().await.expect("an end").success());
    assert!(started.elapsed() < PATIENCE, "whoever holds a connection does not hold the process");
    drop(crowd);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_beyond_the_configured_rate_is_refused_counted_and_answered_later() {
    let world = options().configuration("[api]\nrate_limit_per_second = 3\n").start().await.expect("a server");
    let flows = format!("{FLOW_SERVICE}/flows");
    let started = Instant::now();
    let refused = loop {
        let answer = world.request(Method::GET, &flows).send().await.expect("an answer");
        if answer.status() != 200 {
            break answer;
        }
        assert!(started.elapsed() < PATIENCE, "the rate is not limited");
    };
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.headers()["retry-after"], "1");
    assert!(refused.text().await.expect("a body").contains("FLOW-1400-429"));
    let shown = metrics(&world).await;
    assert!(shown.contains("headwaters_http_refused_total{reason=\"rate\"} 1"), "{shown}");
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.get(&flows).await.expect("an answer").status, 200);
}

#[test]
fn a_rate_that_is_none_is_wrong_usage_and_names_the_setting() {
    let folder = tempfile::tempdir().expect("a folder");
    for wrong in ["0", "fast"] {
        let mut command = headwaters();
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(folder.path());
        let output = output(command.env("HEADWATERS_API_RATE_LIMIT_PER_SECOND", wrong));
        assert_eq!(output.status.code(), Some(2), "{}", complaint(&output));
        assert!(complaint(&output).contains("HEADWATERS_API_RATE_LIMIT_PER_SECOND"), "{}", complaint(&output));
    }
}
