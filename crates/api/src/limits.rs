//! What the server puts up with: every limit of serving by its name, what lies beyond it, and why it is there.
//!
//! | Limit | Constant | Beyond it |
//! |---|---|---|
//! | connections in all, of one address | [`CONNECTIONS_MAX`], [`CONNECTIONS_PER_ADDRESS_MAX`] | 503 at once, and the connection ends |
//! | age of a connection while half of all are open | [`CROWDED_AGE_SECONDS_MAX`] | it is closed with its next answer |
//! | clients that are told so at a time | [`TURNED_AWAY_MAX`] | the connection is closed without a word |
//! | time for a head; also how long a connection may be idle | [`HEAD_SECONDS_MAX`] | the connection is closed |
//! | bytes and number of header lines | [`HEAD_BYTES_MAX`], [`HEADERS_MAX`] | 431, empty body |
//! | bytes of a body | `BODY_BYTES_MAX` (extract/body.rs) | 413 |
//! | time for a body | [`BODY_SECONDS_MAX`] | 408 |
//! | levels and bytes of a document that is stored | `DOCUMENT_DEPTH_MAX`, `DOCUMENT_BYTES_MAX` (model, limits.rs) | 400: FLOW-1455 for a patch, CONNECTOR-1312 else |
//! | bytes of a page of a list | `PAGE_BODIES_BYTES_MAX` (store, resources.rs) | the rest is on the next page |
//! | time for an answer to be found | `REQUEST_SECONDS_MAX` (frame.rs) | 504 |
//! | time for an answer to be taken | [`ANSWER_SECONDS_MAX`] | the connection is closed |
//! | time and bytes after the last word | [`LINGER_SECONDS_MAX`], [`LINGER_BYTES_MAX`] | the connection is closed |
//! | bytes of a form that asks for a token | `FORM_BYTES_MAX` (routes/ims/tokens.rs) | 413 |
//! | parameters of a query or a form | `PAIRS_MAX` (extract/query.rs) | 400, code 1452 |
//! | questions to sources, in all and of one client | `headwaters_control::TurnLimits` | waiting, then 429 |
//! | requests of one client in a second | setting `api.rate_limit_per_second`, off by default | 429 |
//! | clients and addresses whose rate is known | `KEYS_MAX` (rate.rs) | all others share one |
//!
//! **Connections beyond the limit are answered, not left in the backlog**: who waits there can't tell a busy server from
//! a dead one, and those who hold the connections may hold them for long. One address gets a quarter of all, so that
//! nobody alone can lock everybody out; behind a proxy its address is all there is, and the quarter is still twice what
//! 64 clients need.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::time::Duration;

use axum::extract::Request;

/// Connections that are open at a time. A process may have 1024 files open on most systems; the rest is for the store,
/// the lake and the sources.
pub(crate) const CONNECTIONS_MAX: usize = 512;
/// Connections that one address may have open: a quarter of all. Addresses of IPv6 count by their network of 64 bits,
/// which one host has for itself.
pub(crate) const CONNECTIONS_PER_ADDRESS_MAX: usize = CONNECTIONS_MAX / 4;
/// How old a connection may become while more than half of all are open.
pub(crate) const CROWDED_AGE_SECONDS_MAX: u64 = 60;
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

/// The limits that a server runs under; the default is the constants of this module.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections that are open at a time.
    pub connections_max: usize,
    /// Connections that one address may have open.
    pub connections_per_address_max: usize,
    /// How old a connection may become while more than half of all are open.
    pub crowded_age: Duration,
    /// Time for a head, and for a connection to be idle.
    pub head: Duration,
    /// Time for a body.
    pub body: Duration,
    /// Time for an answer to be taken.
    pub answer: Duration,
    /// Time that is listened after the last word.
    pub linger: Duration,
    /// Setting `api.rate_limit_per_second`: requests of one client in a second; none means as many as it likes.
    pub rate_per_second: Option<NonZeroU32>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: CONNECTIONS_MAX,
            connections_per_address_max: CONNECTIONS_PER_ADDRESS_MAX,
            crowded_age: Duration::from_secs(CROWDED_AGE_SECONDS_MAX),
            head: Duration::from_secs(HEAD_SECONDS_MAX),
            body: Duration::from_secs(BODY_SECONDS_MAX),
            answer: Duration::from_secs(ANSWER_SECONDS_MAX),
            linger: Duration::from_secs(LINGER_SECONDS_MAX),
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

#[cfg(test)]
mod tests {
    use headwaters_control::TurnLimits;
    use headwaters_model::page::{LIMIT_MAX, SEARCH_LIMIT_MAX};

    use super::*;
    use crate::extract::body::BODY_BYTES_MAX;
    use crate::extract::query::PAIRS_MAX;
    use crate::frame::REQUEST_SECONDS_MAX;
    use crate::routes::ims::FORM_BYTES_MAX;

    #[test]
    fn the_addresses_of_one_host_are_one_peer() {
        let peer = |text: &str| Peer::at(text.parse().unwrap());
        assert_eq!(peer("2001:db8:1:2:3::4"), peer("2001:db8:1:2:ffff::"));
        assert_ne!(peer("2001:db8:1:2::"), peer("2001:db8:1:3::"));
        assert_ne!(peer("192.0.2.1"), peer("192.0.2.2"));
        assert_eq!(peer("::ffff:192.0.2.1"), peer("192.0.2.1"));
    }

    /// What the row of a table says behind its first words.
    fn row<'a>(page: &'a str, begin: &str) -> &'a str {
        let begin = format!("| {begin}");
        page.lines().find_map(|line| line.strip_prefix(begin.as_str())).unwrap_or_else(|| panic!("no row {begin}"))
    }

    #[test]
    fn the_page_about_serving_says_the_numbers() {
        let page = include_str!("../../../docs/api.md");
        let (limits, turns) = (Limits::default(), TurnLimits::default());
        let seconds = |time: Duration| format!("| {} s |", time.as_secs());
        let rows = [
            (
                "connections that are open",
                format!("| {} in all, {} of one address |", limits.connections_max, limits.connections_per_address_max),
            ),
            ("connections that are open", format!("; {TURNED_AWAY_MAX} clients are told so")),
            ("age of a connection", seconds(limits.crowded_age)),
            ("request line and header lines", format!("| {} KiB, {HEADERS_MAX} lines |", HEAD_BYTES_MAX >> 10)),
            ("head of a request", seconds(limits.head)),
            (
                "body of a request",
                format!("| {} MiB; {} KiB where a token", BODY_BYTES_MAX >> 20, FORM_BYTES_MAX >> 10),
            ),
            ("parameters of a query or a form", format!("| {PAIRS_MAX} |")),
            ("finding the answer", seconds(Duration::from_secs(REQUEST_SECONDS_MAX))),
            ("receiving the answer", seconds(limits.answer)),
            (
                "operations while they ask a source",
                format!("| {} of one client, {} in all,", turns.sources_per_client_max, turns.sources_max),
            ),
            ("operations while they ask a source", format!("waiting {} s for a turn", turns.sources_wait.as_secs())),
            ("lists that may read every row", format!("| {} of one client", turns.scans_per_client_max)),
            ("lists that may read every row", format!("waiting {} s for a turn", turns.scans_wait.as_secs())),
            ("items of a page | 100 in lists", format!("a list gives {LIMIT_MAX} ")),
        ];
        assert!(page.contains(&format!("| body of a request | {} s | 408 |", limits.body.as_secs())));
        assert!(page.contains(&format!("| items of a page | {SEARCH_LIMIT_MAX} in searches | 400")));
        for (begin, said) in rows {
            let row = row(page, begin);
            assert!(row.contains(&said), "{begin}: {row} does not say {said}");
        }
    }
}
