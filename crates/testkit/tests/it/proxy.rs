//! The broken network breaks as it is told to.

use std::time::Duration;

use headwaters_testkit::proxy::Proxy;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Long enough to say that nothing comes.
const SILENCE: Duration = Duration::from_millis(200);
/// Long enough for anything that does come.
const SOON: Duration = Duration::from_secs(5);

/// A server that sends back what it gets; returns its port.
async fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = socket.split();
                drop(tokio::io::copy(&mut read, &mut write).await);
            });
        }
    });
    port
}

async fn connected() -> (Proxy, TcpStream) {
    let proxy = Proxy::to(echo().await).await.unwrap();
    let mut socket = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
    socket.write_all(b"a").await.unwrap();
    assert_eq!(timeout(SOON, socket.read_u8()).await.unwrap().unwrap(), b'a');
    (proxy, socket)
}

#[tokio::test]
async fn bytes_pass_and_are_counted() {
    let (proxy, _socket) = connected().await;
    assert_eq!(proxy.bytes_down(), 1);
}

#[tokio::test]
async fn a_cut_connection_ends_and_so_does_each_new_one_until_mended() {
    let (proxy, mut socket) = connected().await;
    proxy.cut();
    assert!(timeout(SOON, socket.read_u8()).await.unwrap().is_err());
    let mut next = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
    assert!(timeout(SOON, next.read_u8()).await.unwrap().is_err());

    proxy.mend();
    let mut mended = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
    mended.write_all(b"b").await.unwrap();
    assert_eq!(timeout(SOON, mended.read_u8()).await.unwrap().unwrap(), b'b');
}

#[tokio::test]
async fn a_connection_is_cut_after_so_many_bytes() {
    let (proxy, mut socket) = connected().await;
    proxy.cut_after_bytes(1000);
    socket.write_all(&[0; 5000]).await.unwrap();
    let mut received = Vec::new();
    drop(timeout(SOON, socket.read_to_end(&mut received)).await.unwrap());
    assert!(received.len() < 5000, "{} bytes", received.len());
}

#[tokio::test]
async fn a_stalled_connection_says_nothing_until_mended() {
    let (proxy, mut socket) = connected().await;
    proxy.stall();
    socket.write_all(b"c").await.unwrap();
    timeout(SILENCE, socket.read_u8()).await.unwrap_err();
    proxy.mend();
    assert_eq!(timeout(SOON, socket.read_u8()).await.unwrap().unwrap(), b'c');
}

#[tokio::test]
async fn a_throttled_connection_gets_so_many_bytes_in_a_second() {
    let (proxy, mut socket) = connected().await;
    proxy.throttle(2_000);
    let begun = tokio::time::Instant::now();
    socket.write_all(&[7; 1_000]).await.unwrap();
    let mut echoed = [0; 1_000];
    timeout(SOON, socket.read_exact(&mut echoed)).await.unwrap().unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(400), "{:?}", begun.elapsed());
    proxy.mend();
    let begun = tokio::time::Instant::now();
    socket.write_all(&[7; 1_000]).await.unwrap();
    timeout(SOON, socket.read_exact(&mut echoed)).await.unwrap().unwrap();
    assert!(begun.elapsed() < Duration::from_millis(400), "{:?}", begun.elapsed());
}
