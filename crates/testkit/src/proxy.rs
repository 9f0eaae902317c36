//! A TCP proxy that loses connections, or holds them up, when told to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What the proxy does with bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Pass,
    Stall,
    Cut,
}

/// Listens on a port of its own and passes every connection on to one target. Dropping it cuts them all.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    control: Arc<Control>,
    listening: JoinHandle<()>,
}

#[derive(Debug)]
struct Control {
    mode: watch::Sender<Mode>,
    /// Bytes from the target to the client so far.
    bytes_down: AtomicU64,
    /// At how many such bytes connections are cut; `u64::MAX` is never.
    cut_at_bytes: AtomicU64,
    /// How many such bytes each connection gets in a second; 0 is as many as there are.
    bytes_per_second: AtomicU64,
}

impl Proxy {
    /// Starts a proxy to a port of this machine.
    ///
    /// # Errors
    /// No port can be had.
    pub async fn to(port: u16) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("starting a proxy")?;
        let address = listener.local_addr()?;
        let control = Arc::new(Control {
            mode: watch::Sender::new(Mode::Pass),
            bytes_down: AtomicU64::new(0),
            cut_at_bytes: AtomicU64::new(u64::MAX),
            bytes_per_second: AtomicU64::new(0),
        });
        let shared = Arc::clone(&control);
        let listening = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *shared.mode.borrow() == Mode::Cut {
                    continue;
                }
                tokio::spawn(connection(client, port, Arc::clone(&shared)));
            }
        });
        Ok(Self { address, control, listening })
    }

    /// The port to connect to.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Bytes that went from the target to clients so far.
    pub fn bytes_down(&self) -> u64 {
        self.control.bytes_down.load(Ordering::Relaxed)
    }

    /// Cuts all connections, and each new one, until [`Self::mend`].
    pub fn cut(&self) {
        self.control.mode.send_replace(Mode::Cut);
    }

    /// Cuts all connections once this many bytes have gone from the target to clients.
    pub fn cut_after_bytes(&self, bytes: u64) {
        self.control.cut_at_bytes.store(self.bytes_down().saturating_add(bytes), Ordering::Relaxed);
    }

    /// Lets each connection have so many bytes in a second from the target, until [`Self::mend`].
    pub fn throttle(&self, bytes_per_second: u64) {
        self.control.bytes_per_second.store(bytes_per_second, Ordering::Relaxed);
    }

    /// Holds everything up: connections stay open, no byte passes, until [`Self::mend`].
    pub fn stall(&self) {
        self.control.mode.send_replace(Mode::Stall);
    }

    /// Passes bytes again.
    pub fn mend(&self) {
        self.control.cut_at_bytes.store(u64::MAX, Ordering::Relaxed);
        self.control.bytes_per_second.store(0, Ordering::Relaxed);
        self.control.mode.send_replace(Mode::Pass);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
        self.listening.abort();
    }
}

async fn connection(client: TcpStream, port: u16, control: Arc<Control>) {
    let Ok(target) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    drop(client.set_nodelay(true));
    drop(target.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_target, to_target) = target.into_split();
    let mut mode = control.mode.subscribe();
    tokio::select! {
        _ = mode.wait_for(|mode| *mode == Mode::Cut) => {}
        () = pump(from_client, to_target, &control, None) => {}
        () = pump(from_target, to_client, &control, Some(&control.bytes_down)) => {}
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, control: &Control, count: Option<&AtomicU64>) {
    let mut buffer = vec![0; 64 * 1024];
    let mut mode = control.mode.subscribe();
    loop {
        let Ok(read @ 1..) = from.read(&mut buffer).await else { return };
        if mode.wait_for(|mode| *mode != Mode::Stall).await.is_err() {
            return;
        }
        if let Some(count) = count {
            let total = count.fetch_add(read as u64, Ordering::Relaxed) + read as u64;
            // A short answer is hardly held up, a table is.
            if let Some(nanos) =
                (read as u64 * 1_000_000_000).checked_div(control.bytes_per_second.load(Ordering::Relaxed))
            {
                tokio::time::sleep(Duration::from_nanos(nanos)).await;
            }
            if total >= control.cut_at_bytes.load(Ordering::Relaxed) {
                control.mode.send_replace(Mode::Cut);
                return;
            }
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
