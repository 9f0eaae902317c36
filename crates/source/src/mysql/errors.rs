//! What the errors of a server mean for us, and those that only a client can see (mysql-sources.md 16).
//!
//! A message names the account and the place, never a password.

mod rules;

use std::time::Duration;
use std::{fmt, io};

use headwaters_model::source_error::{Retry, SourceError, SourceErrorKind};
use mysql_common::constants::CapabilityFlags;
use mysql_common::io::ParseBuf;
use mysql_common::packets::ErrPacket;

use self::rules::{About, BINARY_LOG, Class, DENIED, PURGED};
use super::wire::{Endpoint, Flavour};

/// Whom we speak to and as whom, for messages.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Whose numbers they are.
    pub flavour: Flavour,
    /// Where the server listens.
    pub endpoint: Endpoint,
    /// The account's name.
    pub user: String,
    /// Whether the channel is under TLS.
    pub tls: bool,
}

/// Of other clients: the name of the host is not known.
const UNKNOWN_HOST: u16 = 2005;
/// Of other clients: what came is not the protocol.
const MALFORMED: u16 = 2027;

/// Reads an error packet; none if it is not one.
#[must_use]
pub fn from_packet(peer: &Peer, packet: &[u8]) -> Option<SourceError> {
    // Before the capabilities are exchanged an error comes without its SQL state: the marker tells.
    let capabilities = match packet.get(3) {
        Some(b'#') => CapabilityFlags::CLIENT_PROTOCOL_41,
        _ => CapabilityFlags::empty(),
    };
    match ParseBuf(packet).parse::<ErrPacket<'_>>(capabilities).ok()? {
        ErrPacket::Error(error) => {
            let state = error.sql_state_ref().map(|state| state.as_str().into_owned()).unwrap_or_default();
            Some(from_server(peer, error.error_code(), &state, &error.message_str()))
        }
        ErrPacket::Progress(_) => None,
    }
}

/// An error that the server answered with; numbers that the table lacks go by the class of their SQL state.
#[must_use]
pub fn from_server(peer: &Peer, number: u16, sql_state: &str, text: &str) -> SourceError {
    let rule = rules::find(peer.flavour, number);
    let (class, about) = rule.map_or_else(|| rules::by_sql_state(sql_state), |rule| (rule.class, rule.about));
    let Peer { endpoint, user, .. } = peer;
    let message = match about {
        About::Account | About::Tls => format!("{endpoint} refused the account '{user}': {text} (error {number})"),
        _ => format!("{endpoint} answered with error {number}: {text}"),
    };
    let hint = rule.and_then(|rule| rule.hint);
    let (class, hint) = match number {
        DENIED => (class, Some(denied_hint(peer))),
        BINARY_LOG => of_the_binary_log(text),
        _ => (class, hint),
    };
    let kind = kind(about, number);
    let error = match class.verdict(number) {
        (true, retry) => SourceError::definite(kind, message).with_retry(retry),
        (false, retry) => SourceError::transient(kind, message).with_retry(retry),
    };
    match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// 1236 says several things: another reader of the log has our number, and takes turns with us; the log was purged; it is
/// damaged, or an event in it is too large.
fn of_the_binary_log(text: &str) -> (Class, Option<&'static str>) {
    let says = |words: &[&str]| words.iter().all(|word| text.contains(word));
    if says(&["same", "server_"]) {
        return (
            Class::Again,
            Some("another reader of the binary log has the same server_id: give one of them another"),
        );
    }
    let purged = says(&["purged"]) || says(&["Could not find first log file"]);
    (Class::Person, Some(if purged { PURGED } else { "the server can not read its binary log" }))
}

fn kind(about: About, number: u16) -> SourceErrorKind {
    match about {
        About::Account => SourceErrorKind::Refused,
        About::Privilege => SourceErrorKind::Privilege,
        About::Table => SourceErrorKind::UnknownTable,
        About::Column => SourceErrorKind::UnknownColumn,
        About::Tls => SourceErrorKind::Tls,
        About::Connection => SourceErrorKind::Lost,
        About::Server => SourceErrorKind::Server { number },
    }
}

/// MariaDB says "access denied" too when an account needs TLS or a client certificate (mysql-sources.md 4).
fn denied_hint(peer: &Peer) -> &'static str {
    match (&peer.endpoint, peer.tls) {
        (Endpoint::Tcp { .. }, false) => {
            "check the account's name, password and allowed hosts; or the server requires TLS"
        }
        (Endpoint::Tcp { .. }, true) => {
            "check the account's name, password and allowed hosts; or the account requires a client certificate"
        }
        (Endpoint::Socket(_), _) => "check the account's name and password, and whether it may use the socket",
    }
}

/// Nobody let us in: 2002 and 2003 of other clients.
#[must_use]
pub fn unreachable(endpoint: &Endpoint, error: &io::Error) -> SourceError {
    let message = format!("could not connect to {endpoint}: {error}");
    // A server that restarts refuses at once: without long pauses all attempts of a run would be over before it is back.
    let refused = SourceError::transient(SourceErrorKind::Unreachable, message).with_retry(Retry::Later);
    refused.with_hint(match endpoint {
        Endpoint::Tcp { .. } => {
            "check that the server runs, that host and port are right, and that no firewall is in between"
        }
        Endpoint::Socket(_) => "check that the server runs on this machine, and where its socket is",
    })
}

/// The host let us wait: 2002 and 2003 of other clients too.
#[must_use]
pub fn connect_timed_out(endpoint: &Endpoint, limit: Duration) -> SourceError {
    let message = format!("could not connect to {endpoint} within {} s", limit.as_secs_f32());
    SourceError::transient(SourceErrorKind::Unreachable, message)
        .with_retry(Retry::Later)
        .with_hint("check that host and port are right, and that no firewall is in between")
}

/// Nobody knows the host: 2005 of other clients.
#[must_use]
pub fn unknown_host(host: &str, error: &io::Error) -> SourceError {
    let message = format!("could not find the host {host}: {error}");
    SourceError::transient(SourceErrorKind::Unreachable, message)
        .with_hint("check the host's name")
        .with_retry(Retry::Once(UNKNOWN_HOST))
}

/// The connection is gone: 2006, 2013 and 2055 of other clients.
#[must_use]
pub fn lost(peer: &Peer, why: impl fmt::Display) -> SourceError {
    let message = format!("the connection to {} was lost: {why}", peer.endpoint);
    SourceError::transient(SourceErrorKind::Lost, message).with_retry(Retry::Reconnect)
}

/// What came is not the protocol: a proxy, or a bug; another attempt may find a better one.
#[must_use]
pub fn protocol(peer: &Peer, what: &str) -> SourceError {
    let message = format!("{} does not keep to the protocol: {what}", peer.endpoint);
    SourceError::transient(SourceErrorKind::Protocol, message)
        .with_hint("check whether a proxy stands in between, and that the port is that of MySQL or MariaDB")
        .with_retry(Retry::Once(MALFORMED))
}

#[cfg(test)]
mod tests;
