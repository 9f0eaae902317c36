//! The socket: TCP or Unix, in clear or under TLS.
//!
//! An enum, not a boxed trait: every read of a table goes through here.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use headwaters_model::source_error::SourceError;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

use super::options::Endpoint;
use crate::mysql::errors::{unknown_host, unreachable};

/// How often, and how many times, a silent peer is asked again before it counts as gone.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_PROBES: u32 = 5;

/// A channel without protection of its own.
#[derive(Debug)]
pub(super) enum PlainStream {
    Tcp(TcpStream),
    Unix(UnixStream),
    /// The peer is a test.
    #[cfg(test)]
    Memory(tokio::io::DuplexStream),
}

/// The channel of a connection.
#[derive(Debug)]
pub(super) enum Stream {
    Plain(PlainStream),
    Tls(Box<TlsStream<PlainStream>>),
}

impl PlainStream {
    /// Opens a channel. All addresses of a name are tried.
    pub(super) async fn connect(endpoint: &Endpoint, keepalive_seconds: Option<u32>) -> Result<Self, SourceError> {
        match endpoint {
            Endpoint::Socket(path) => {
                let stream = UnixStream::connect(path).await.map_err(|error| unreachable(endpoint, &error))?;
                Ok(Self::Unix(stream))
            }
            Endpoint::Tcp { host, port } => {
                let addresses: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), *port))
                    .await
                    .map_err(|error| unknown_host(host, &error))?
                    .collect();
                let stream = TcpStream::connect(addresses.as_slice()).await.map_err(|e| unreachable(endpoint, &e))?;
                prepare(&stream, keepalive_seconds).map_err(|error| unreachable(endpoint, &error))?;
                Ok(Self::Tcp(stream))
            }
        }
    }

    /// Whether the bytes never leave this machine.
    pub(super) fn is_local(&self) -> bool {
        matches!(self, Self::Unix(_))
    }
}

/// Requests and their answers are single packets: nothing may wait for more, and a peer that vanished must be noticed.
fn prepare(stream: &TcpStream, keepalive_seconds: Option<u32>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    if let Some(seconds) = keepalive_seconds.filter(|seconds| *seconds > 0) {
        let keepalive = TcpKeepalive::new()
            .with_time(Duration::from_secs(u64::from(seconds)))
            .with_interval(KEEPALIVE_INTERVAL)
            .with_retries(KEEPALIVE_PROBES);
        SockRef::from(stream).set_tcp_keepalive(&keepalive)?;
    }
    Ok(())
}

macro_rules! each_plain {
    ($stream:expr, $bound:ident => $call:expr) => {
        match $stream {
            PlainStream::Tcp($bound) => $call,
            PlainStream::Unix($bound) => $call,
            #[cfg(test)]
            PlainStream::Memory($bound) => $call,
        }
    };
}

impl AsyncRead for PlainStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each_plain!(self.get_mut(), stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for PlainStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        each_plain!(self.get_mut(), stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each_plain!(self.get_mut(), stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each_plain!(self.get_mut(), stream => Pin::new(stream).poll_shutdown(cx))
    }
}

macro_rules! each {
    ($stream:expr, $bound:ident => $call:expr) => {
        match $stream {
            Stream::Plain($bound) => $call,
            Stream::Tls($bound) => $call,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_shutdown(cx))
    }
}
