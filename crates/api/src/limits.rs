//! What the server puts up with: every limit of serving by its name, what lies beyond it, and why it is there.
//!
//! | Limit | Constant | Beyond it |
//! |---|---|---|
//! | connections in all, of one address | [`CONNECTIONS_MAX`], [`CONNECTIONS_PER_ADDRESS_MAX`] | 503 at once, and the connection ends |
//! | clients that are told so at a time | [`TURNED_AWAY_MAX`] | the connection is closed without a word |
//! | time for a head; also how long a connection may be idle | [`HEAD_SECONDS_MAX`] | the connection is closed |
//! | bytes and number of header lines | [`HEAD_BYTES_MAX`], [`HEADERS_MAX`] | 431, empty body |
//! | bytes of a body | `BODY_BYTES_MAX` (extract/body.rs) | 413 |
//! | time for a body | [`BODY_SECONDS_MAX`] | 408 |
//! | time for an answer to be found | `REQUEST_SECONDS_MAX` (frame.rs) | 504 |
//! | time for an answer to be taken | [`ANSWER_SECONDS_MAX`] | the connection is closed |
//! | time and bytes after the last word | [`LINGER_SECONDS_MAX`], [`LINGER_BYTES_MAX`] | the connection is closed |
//! | operations at sources, in all and of one client | [`SOURCE_CALLS_MAX`], [`SOURCE_CALLS_PER_CLIENT_MAX`] | waiting, then 429 |
//! | wait for such an operation's turn | [`SOURCE_CALL_WAIT_SECONDS_MAX`] | 429 |
//! | requests of one client in a second | setting `api.rate_limit_per_second`, off by default | 429 |
//! | clients and addresses whose rate is known | `KEYS_MAX` (rate.rs) | all others share one |
//!
//! **Connections beyond the limit are answered, not left in the backlog**: who waits there can't tell a busy server from
//! a dead one, and those who hold the connections may hold them for long. One address gets a quarter of all, so that
//! nobody alone can lock everybody out; behind a proxy its address is all there is, and the quarter is still twice what
//! 64 clients need.
//!
//! **Operations at sources** (trying out a connection, looking into it, making a flow or a windowed run) may take as long as a source that
//! does not answer: up to a minute each, holding memory and a connection to somebody's database. They have slots of
//! their own, by client, so that neither cheap requests nor another client's operations stand behind them. A burst
//! waits a moment for its turn, because a script that makes thirty connections at once is no abuse; after that moment
//! the slots are held by something slow, and the caller is told (429) instead of being kept.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::time::Duration;

use axum::extract::Request;
use http::Method;

/// Connections that are open at a time. A process may have 1024 files open on most systems; the rest is for the store,
/// the lake and the sources.
pub(crate) const CONNECTIONS_MAX: usize = 512;
/// Connections that one address may have open: a quarter of all. Addresses of IPv6 count by their network of 64 bits,
/// which one host has for itself.
pub(crate) const CONNECTIONS_PER_ADDRESS_MAX: usize = CONNECTIONS_MAX / 4;
/// Clients beyond the limits that are being told so, at a time.
pub(crate) const TURNED_AWAY_MAX: usize = 64;
/// How long a client may take from the moment at which the connection is free for a request to the end of that
/// request's head. A connection that waits for its next request is held to it as well.
pub(crate) const HEAD_SECONDS_MAX: u64 = 30;
/// Bytes of a request line and its header lines. A filter may be long, a token has about a thousand bytes.
pub(crate) const HEAD_BYTES_MAX: usize = 64 << 10;
/// Header lines of a request.
pub(crate) const HEADERS_MAX: usize = 100;
/// How long the body of a request may take: the largest passes at 140 kB a second.
pub(crate) const BODY_SECONDS_MAX: u64 = 30;
/// How long a client may take to receive what is written to it, from the moment at which the system's buffers are full.
pub(crate) const ANSWER_SECONDS_MAX: u64 = 30;
/// How long the server goes on listening to a client after its last word. Closing while the client still sends would
/// take the answer from it (a 413, for one) before it is read.
pub(crate) const LINGER_SECONDS_MAX: u64 = 2;
/// How much of that is listened to.
pub(crate) const LINGER_BYTES_MAX: usize = 16 << 20;
/// Operations that go on at sources at a time.
pub(crate) const SOURCE_CALLS_MAX: usize = 32;
/// Operations of one client that go on at sources at a time.
pub(crate) const SOURCE_CALLS_PER_CLIENT_MAX: usize = 8;
/// How long such an operation waits for its turn.
pub(crate) const SOURCE_CALL_WAIT_SECONDS_MAX: u64 = 5;

/// The limits that a server runs under; the default is the constants of this module.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections that are open at a time.
    pub connections_max: usize,
    /// Connections that one address may have open.
    pub connections_per_address_max: usize,
    /// Time for a head, and for a connection to be idle.
    pub head: Duration,
    /// Time for a body.
    pub body: Duration,
    /// Time for an answer to be taken.
    pub answer: Duration,
    /// Time that is listened after the last word.
    pub linger: Duration,
    /// Operations that go on at sources at a time.
    pub source_calls_max: usize,
    /// Operations of one client that go on at sources at a time.
    pub source_calls_per_client_max: usize,
    /// How long such an operation waits for its turn.
    pub source_call_wait: Duration,
    /// Setting `api.rate_limit_per_second`: requests of one client in a second; none means as many as it likes.
    pub rate_per_second: Option<NonZeroU32>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: CONNECTIONS_MAX,
            connections_per_address_max: CONNECTIONS_PER_ADDRESS_MAX,
            head: Duration::from_secs(HEAD_SECONDS_MAX),
            body: Duration::from_secs(BODY_SECONDS_MAX),
            answer: Duration::from_secs(ANSWER_SECONDS_MAX),
            linger: Duration::from_secs(LINGER_SECONDS_MAX),
            source_calls_max: SOURCE_CALLS_MAX,
            source_calls_per_client_max: SOURCE_CALLS_PER_CLIENT_MAX,
            source_call_wait: Duration::from_secs(SOURCE_CALL_WAIT_SECONDS_MAX),
            rate_per_second: None,
        }
    }
}

/// Whose connection a request came over: an address, or for IPv6 the network of one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Peer(IpAddr);

impl Peer {
    /// The peer at an address.
    pub(crate) fn at(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) => Self(Ipv6Addr::from_bits(address.to_bits() & (!0 << 64)).into()),
            address => Self(address),
        }
    }

    /// Whose request this is. One that came over no socket of ours counts as sent from nowhere.
    pub(crate) fn of(extensions: &http::Extensions) -> Self {
        extensions.get().copied().unwrap_or(Self(IpAddr::V6(Ipv6Addr::UNSPECIFIED)))
    }

    /// Notes whose request this is.
    pub(crate) fn mark<B>(self, request: &mut Request<B>) {
        request.extensions_mut().insert(self);
    }
}

/// The operations that talk to a source.
const SOURCE_OPERATIONS: &[(Method, &str)] = &[
    (Method::POST, "/data/foundation/flowservice/connections"),
    (Method::PATCH, "/data/foundation/flowservice/connections/{connection_id}"),
    (Method::POST, "/data/foundation/flowservice/connections/{connection_id}/action"),
    (Method::GET, "/data/foundation/flowservice/connections/{connection_id}/test"),
    (Method::GET, "/data/foundation/flowservice/connections/{connection_id}/explore"),
    (Method::POST, "/data/foundation/flowservice/flows"),
    (Method::PATCH, "/data/foundation/flowservice/flows/{flow_id}"),
    (Method::POST, "/data/foundation/flowservice/flows/{flow_id}/action"),
    (Method::POST, "/data/foundation/flowservice/runs"),
];

/// Whether the operation talks to a source.
pub(crate) fn asks_source(method: &Method, route: &str) -> bool {
    let method = if method == Method::HEAD { &Method::GET } else { method };
    SOURCE_OPERATIONS.iter().any(|(known, path)| known == method && *path == route)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_addresses_of_one_host_are_one_peer() {
        let peer = |text: &str| Peer::at(text.parse().unwrap());
        assert_eq!(peer("2001:db8:1:2:3::4"), peer("2001:db8:1:2:ffff::"));
        assert_ne!(peer("2001:db8:1:2::"), peer("2001:db8:1:3::"));
        assert_ne!(peer("192.0.2.1"), peer("192.0.2.2"));
        assert_eq!(peer("::ffff:192.0.2.1"), peer("192.0.2.1"));
    }

    #[test]
    fn every_operation_at_a_source_is_one_that_exists_or_is_reserved() {
        for (method, route) in SOURCE_OPERATIONS {
            assert!(crate::permissions::needed(method, route).is_some(), "{method} {route}");
        }
    }

    #[test]
    fn looking_and_cheap_operations_wait_for_nobody() {
        for route in ["/healthz", "/data/foundation/flowservice/flows", "/data/foundation/flowservice/connections"] {
            assert!(!asks_source(&Method::GET, route), "{route}");
        }
        assert!(asks_source(&Method::HEAD, "/data/foundation/flowservice/connections/{connection_id}/test"));
    }
}
