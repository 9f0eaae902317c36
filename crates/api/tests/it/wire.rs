//! Over a real socket: what the HTTP library alone would refuse.

use serde_json::Value;
use tokio::net::TcpStream;

use crate::socket::{Listening, read_answer, send};
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
    send(stream, &request).await;
    let (head, body) = read_answer(stream).await.unwrap();
    (head.lines().next().unwrap().to_owned(), serde_json::from_str(&body).unwrap())
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
