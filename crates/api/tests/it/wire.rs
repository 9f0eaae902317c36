//! Over a real socket: what the HTTP library alone would refuse.

use std::net::SocketAddr;
use std::time::Duration;

use headwaters_api::TolerantListener;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::world::{FLOW, World};

/// How the headers of token, key and organisation are written.
type Names = [&'static str; 3];
const NAMES: Names = ["Authorization", "x-api-key", "x-gw-ims-org-id"];

/// Sends a request as bytes and reads the answer's status line and JSON body; the connection stays open.
async fn ask(stream: &mut TcpStream, world: &World, target: &str, names: Names) -> (String, Value) {
    let [authorization, key, org] = names;
    let request = format!(
        "GET {target} HTTP/1.1\r\nHost: localhost\r\n{authorization}: Bearer {}\r\n{key}: {}\r\n{org}: {}\r\n\r\n",
        world.token, world.credentials.client_id, world.credentials.org_id
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&answer).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            if body.len() >= length.parse::<usize>().unwrap() {
                return (head.lines().next().unwrap().to_owned(), serde_json::from_str(body).unwrap());
            }
        }
        let mut part = [0; 4096];
        let read = stream.read(&mut part).await.unwrap();
        assert!(read > 0, "the connection was closed: {text}");
        answer.extend_from_slice(&part[..read]);
    }
}

/// A server of this world on a port of its own.
struct Listening {
    address: SocketAddr,
    stop: CancellationToken,
    server: JoinHandle<std::io::Result<()>>,
}

impl Listening {
    async fn start(world: &World) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let server = axum::serve(TolerantListener::new(listener), world.router.clone())
            .with_graceful_shutdown(async move { stopped.cancelled().await });
        Self { address, stop, server: tokio::spawn(server.into_future()) }
    }

    async fn end(self) {
        self.stop.cancel();
        tokio::time::timeout(Duration::from_secs(10), self.server).await.unwrap().unwrap().unwrap();
    }
}

#[tokio::test]
async fn the_tutorial_s_raw_quotes_and_angles_are_taken_request_after_request() {
    let world = World::start().await;
    world.make_connection().await;
    let listening = Listening::start(&world).await;
    let mut stream = TcpStream::connect(listening.address).await.unwrap();
    for (target, items) in [
        ("connectionSpecs?property=name==\"mysql\"", 1),
        ("flowSpecs?property=name==\"CRMToAEP\"", 1),
        ("connections?property=createdAt>1600000000000&property=createdAt<1900000000000", 1),
        ("connections?property=createdAt>1900000000000", 0),
    ] {
        let (status, body) = ask(&mut stream, &world, &format!("{FLOW}/{target}"), NAMES).await;
        assert_eq!(status, "HTTP/1.1 200 OK", "{target}: {body}");
        assert_eq!(body["items"].as_array().unwrap().len(), items, "{target}");
    }
    drop(stream);
    listening.end().await;
}

#[tokio::test]
async fn header_names_are_taken_in_any_case() {
    let world = World::start().await;
    let listening = Listening::start(&world).await;
    let mut stream = TcpStream::connect(listening.address).await.unwrap();
    for names in [
        ["authorization", "x-api-key", "x-gw-ims-org-id"],
        ["AUTHORIZATION", "X-API-KEY", "X-GW-IMS-ORG-ID"],
        ["aUTHORIZATION", "X-Api-Key", "x-GW-iMs-oRg-iD"],
    ] {
        let (status, body) = ask(&mut stream, &world, &format!("{FLOW}/flows"), names).await;
        assert_eq!(status, "HTTP/1.1 200 OK", "{names:?}: {body}");
    }
    drop(stream);
    listening.end().await;
}
