//! A world on a socket, and a client that speaks to it byte by byte.

use std::net::SocketAddr;
use std::time::Duration;

use headwaters_api::{Connections, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::world::World;

/// No test waits longer for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A server of a world on a port of its own.
pub(crate) struct Listening {
    pub(crate) address: SocketAddr,
    pub(crate) connections: Connections,
    stop: CancellationToken,
    server: JoinHandle<()>,
}

impl Listening {
    pub(crate) async fn start(world: &World) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Server::new(listener, world.state.clone());
        let (connections, stop) = (server.connections(), CancellationToken::new());
        let server = tokio::spawn(server.run(stop.clone()));
        Self { address, connections, stop, server }
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// A client of another address of this machine.
    pub(crate) async fn connect_from(&self, address: &str) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(format!("{address}:0").parse().unwrap()).unwrap();
        socket.connect(self.address).await.unwrap()
    }

    /// Waits until so many connections are open.
    pub(crate) async fn expect_open(&self, expected: usize) {
        let started = Instant::now();
        while self.connections.open() != expected {
            assert!(started.elapsed() < PATIENCE, "{} are open, not {expected}", self.connections.open());
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Orders the server to stop, without waiting for it.
    pub(crate) fn order_to_stop(&self) {
        self.stop.cancel();
    }

    /// Stops the server, and proves that it ends.
    pub(crate) async fn end(self) {
        self.stop.cancel();
        timeout(PATIENCE, self.server).await.unwrap().unwrap();
    }
}

/// Sends all of a text.
pub(crate) async fn send(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
}

/// A request with the headers of a well-behaved client, body included.
pub(crate) fn request(world: &World, method: &str, target: &str, body: &str) -> String {
    format!(
        "{method} {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nx-api-key: {}\r\n\
         x-gw-ims-org-id: {}\r\nContent-Length: {}\r\n\r\n{body}",
        world.token,
        world.credentials.client_id,
        world.credentials.org_id,
        body.len()
    )
}

/// Reads one answer: head and body. None when the connection ends before there is one.
pub(crate) async fn read_answer(stream: &mut TcpStream) -> Option<(String, String)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        head.push(char::from(timeout(PATIENCE, stream.read_u8()).await.unwrap().ok()?));
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    timeout(PATIENCE, stream.read_exact(&mut body)).await.unwrap().ok()?;
    Some((head, String::from_utf8(body).unwrap()))
}

/// The status of the next answer; none when the connection ends before there is one.
pub(crate) async fn read_status(stream: &mut TcpStream) -> Option<u16> {
    let (head, _) = read_answer(stream).await?;
    Some(head.split(' ').nth(1).unwrap().parse().unwrap())
}

/// Waits until the server has ended the connection.
pub(crate) async fn expect_end(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    // A connection that is cut while bytes are under way ends with an error; that is an end too.
    timeout(PATIENCE, stream.read_to_end(&mut rest)).await.unwrap().ok();
}
