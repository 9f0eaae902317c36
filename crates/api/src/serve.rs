//! Accepts connections and answers what comes over them, within the limits of `limits.rs`.
//!
//! **Invariant.** A connection holds a share from the moment it is accepted until its task ends, and every wait of that
//! task has an end: a head, a body, an answer and the closing have their time, and a route has its own (`frame.rs`).
//! Nothing leaks, and nobody keeps a connection open by saying nothing.
//!
//! **Crowds.** Who asks something now and then may keep a connection as long as there is room. When half of all are
//! taken, one that is older than [`Limits::crowded_age`] is closed with its next answer, which it must ask for or be
//! idle for too long: none is held for longer than that age and the times of one more request together, shares come free
//! all the time, and who was turned away competes for them on equal terms with those who were closed.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::response::Response;
use headwaters_control::{Share, Shares};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::Service;

use crate::frame;
use crate::limits::{HEAD_BYTES_MAX, HEADERS_MAX, Limits, Peer, TURNED_AWAY_MAX};
use crate::listener::{Framing, Tolerant};
use crate::patience::Patient;
use crate::router::{router, turning_away};
use crate::state::ApiState;

/// How long nothing is accepted after accepting has failed, e.g. because the process may not open more files: trying
/// again at once would only keep a thread busy.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a client that is turned away may take to say what it wants.
const TURNED_AWAY_HEAD: Duration = Duration::from_secs(1);

/// The API on a socket.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    routes: Router,
    limits: Arc<Limits>,
    connections: Shares<Peer>,
    turned_away: Shares<()>,
}

/// How many connections a server has open.
#[derive(Debug, Clone)]
pub struct Connections(Shares<Peer>);

impl Connections {
    /// How many are open at this moment.
    #[must_use]
    pub fn open(&self) -> usize {
        self.0.taken()
    }
}

impl Server {
    /// Serves all routes on a bound listener, under the limits of the state.
    #[must_use]
    pub fn new(listener: TcpListener, state: ApiState) -> Self {
        let limits = state.shared_limits();
        let connections = Shares::new(limits.connections_max, limits.connections_per_address_max);
        let turned_away = Shares::new(TURNED_AWAY_MAX, TURNED_AWAY_MAX);
        metrics::describe_gauge!("headwaters_http_connections", "connections that are open");
        metrics::describe_counter!("headwaters_http_refused_total", "requests and connections refused, by reason");
        metrics::describe_counter!("headwaters_http_requests_total", "requests answered, by method, route and status");
        metrics::describe_histogram!(
            "headwaters_http_request_seconds",
            metrics::Unit::Seconds,
            "how long an answer took, by method and route"
        );
        Self { listener, routes: router(state), limits, connections, turned_away }
    }

    /// Counts the connections of this server.
    #[must_use]
    pub fn connections(&self) -> Connections {
        Connections(self.connections.clone())
    }

    /// Serves until it is told to stop; then accepts nothing more, answers what is under way and returns.
    ///
    /// Dropped before, it cuts all connections.
    pub async fn run(self, stop: CancellationToken) {
        let mut talks = JoinSet::new();
        while let Some((stream, address)) = self.accept(&mut talks, &stop).await {
            let peer = Peer::at(address.ip());
            if let Ok(share) = self.connections.take(&peer) {
                let age = Age { since: Instant::now(), of: self.connections.clone(), limits: Arc::clone(&self.limits) };
                let talk = talk(stream, peer, age, self.routes.clone(), stop.clone());
                talks.spawn(counted(share, talk));
            } else {
                metrics::counter!("headwaters_http_refused_total", "reason" => "connections").increment(1);
                self.turn_away(stream, peer, &mut talks, &stop);
            }
        }
        drop(self.listener);
        while talks.join_next().await.is_some() {}
    }

    /// The next connection; none when it is time to stop. Looks after those that have ended meanwhile.
    async fn accept(&self, talks: &mut JoinSet<()>, stop: &CancellationToken) -> Option<(TcpStream, SocketAddr)> {
        let mut failing = false;
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => return None,
                Some(_) = talks.join_next() => continue,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok(accepted) => return Some(accepted),
                Err(error) if is_of_one_client(&error) => {}
                Err(error) => {
                    if !failing {
                        tracing::warn!(%error, "could not accept a connection; clients wait until it works again");
                    }
                    failing = true;
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Tells a client that there is no room for it, if there is room for that.
    fn turn_away(&self, stream: TcpStream, peer: Peer, talks: &mut JoinSet<()>, stop: &CancellationToken) {
        let Ok(share) = self.turned_away.take(&()) else { return };
        let limits = Arc::new(Limits { head: TURNED_AWAY_HEAD, ..(*self.limits).clone() });
        let age = Age { since: Instant::now(), of: self.connections.clone(), limits };
        let talk = talk(stream, peer, age, turning_away(), stop.clone());
        talks.spawn(async move {
            talk.await;
            drop(share);
        });
    }
}

/// Whether accepting failed because of the one client that was to be accepted.
fn is_of_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Carries on a conversation, and holds its share until it is over.
async fn counted(share: Share<Peer>, talk: impl Future<Output = ()>) {
    metrics::gauge!("headwaters_http_connections").increment(1);
    talk.await;
    metrics::gauge!("headwaters_http_connections").decrement(1);
    drop(share);
}

/// How old a connection is, and how old it may become.
#[derive(Debug)]
struct Age {
    since: Instant,
    of: Shares<Peer>,
    limits: Arc<Limits>,
}

impl Age {
    /// Whether it must make room for others.
    fn is_too_high(&self) -> bool {
        2 * self.of.taken() > self.limits.connections_max && self.since.elapsed() >= self.limits.crowded_age
    }
}

/// Answers the requests of one connection, one after the other.
async fn talk(stream: TcpStream, peer: Peer, age: Age, routes: Router, stop: CancellationToken) {
    // Answers are small and written at once: waiting for more to send only delays them.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "could not switch off delayed sending");
    }
    let limits = Arc::clone(&age.limits);
    let framing = Framing::default();
    let stream = TokioIo::new(Tolerant::new(Patient::new(stream, &limits), framing.clone()));
    let age = Arc::new(age);
    let answer = service_fn(move |mut request: http::Request<Incoming>| {
        let body_bytes = request.body().size_hint().exact();
        framing.head_was_read(body_bytes);
        peer.mark(&mut request);
        let (answer, age) = (routes.clone().call(request), Arc::clone(&age));
        async move {
            let answer: Result<Response, Infallible> = answer.await;
            // Where a body of unknown length ends, and with it the next request begins, is not known to `listener.rs`.
            let last = body_bytes.is_none() || age.is_too_high();
            answer.map(|answer| if last { frame::last_word(answer) } else { answer })
        }
    });
    let mut protocol = http1::Builder::new();
    protocol.timer(TokioTimer::new()).header_read_timeout(limits.head);
    protocol.max_headers(HEADERS_MAX).max_header_size(HEAD_BYTES_MAX).max_buf_size(2 * HEAD_BYTES_MAX);
    let mut connection = std::pin::pin!(protocol.serve_connection(stream, answer));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error = &error as &dyn std::error::Error, "a connection broke");
    }
}
