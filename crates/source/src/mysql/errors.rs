//! What the errors of a server mean for us: one table, keyed by flavour and number (mysql-sources.md 16).
//!
//! Numbers are shared up to 1879; from there on the same number can mean different things. A message names the account
//! and the place, never a password.

use std::fmt;

use headwaters_model::source_error::{SourceError, SourceErrorKind};
use mysql_common::constants::CapabilityFlags;
use mysql_common::io::ParseBuf;
use mysql_common::packets::ErrPacket;

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

/// Whose numbers a row of the table is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Both,
    MariaDb,
    MySql,
}

/// Whose turn it is: another attempt's, or a person's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Retry,
    Person,
}

/// What was wrong; the number joins in [`kind`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum About {
    Account,
    Privilege,
    Table,
    Column,
    Tls,
    Connection,
    Server,
}

/// One row of the table.
struct Rule {
    of: Of,
    numbers: &'static [u16],
    turn: Turn,
    about: About,
    hint: Option<&'static str>,
}

const fn rule(of: Of, numbers: &'static [u16], turn: Turn, about: About, hint: Option<&'static str>) -> Rule {
    Rule { of, numbers, turn, about, hint }
}

/// Denied, with a hint that depends on the channel ([`denied_hint`]).
const DENIED: u16 = 1045;

const RULES: &[Rule] = &[
    rule(Of::Both, &[1045], Turn::Person, About::Account, None),
    rule(
        Of::Both,
        &[1698],
        Turn::Person,
        About::Account,
        Some("the account is for the server's own socket: give it a password, or connect through the socket"),
    ),
    rule(
        Of::Both,
        &[1044],
        Turn::Person,
        About::Privilege,
        Some("grant SELECT on the database to the account, or name another database"),
    ),
    rule(Of::Both, &[1862, 1820], Turn::Person, About::Account, Some("the password expired: set a new one")),
    rule(Of::MySql, &[3118], Turn::Person, About::Account, Some("the account is locked: unlock it")),
    rule(Of::MariaDb, &[4151], Turn::Person, About::Account, Some("the account is locked: unlock it")),
    rule(
        Of::MySql,
        &[3159],
        Turn::Person,
        About::Tls,
        Some("the server accepts protected connections only: set sslMode to required or above"),
    ),
    rule(
        Of::Both,
        &[1251, 1524],
        Turn::Person,
        About::Account,
        Some("the account's authentication plugin is not loaded on the server, or too old for this client"),
    ),
    rule(
        Of::Both,
        &[1129],
        Turn::Person,
        About::Account,
        Some("the server blocks this host after too many failed attempts: run FLUSH HOSTS there"),
    ),
    rule(
        Of::Both,
        &[1130],
        Turn::Person,
        About::Account,
        Some("the server lets no account in from this host: create one for it"),
    ),
    rule(
        Of::Both,
        &[1142, 1143],
        Turn::Person,
        About::Privilege,
        Some("grant SELECT on the table, or name only columns that may be read"),
    ),
    rule(Of::Both, &[1227, 1370], Turn::Person, About::Privilege, Some("grant the privilege that the server names")),
    rule(Of::Both, &[1049, 1146, 1051], Turn::Person, About::Table, Some("check whether it was renamed or dropped")),
    rule(Of::Both, &[1054], Turn::Person, About::Column, Some("check whether it was renamed or dropped")),
    rule(
        Of::Both,
        &[1356, 1449, 1365],
        Turn::Person,
        About::Server,
        Some("the view is broken or its definer is gone: repair it on the server"),
    ),
    rule(
        Of::Both,
        &[1040, 1203, 1226],
        Turn::Retry,
        About::Server,
        Some("the server has no room for more connections: raise its limit, or read with fewer readers"),
    ),
    rule(Of::Both, &[1053, 1077, 1078, 1079], Turn::Retry, About::Connection, Some("the server is shutting down")),
    rule(Of::MySql, &[3032], Turn::Retry, About::Connection, Some("the server is in offline mode")),
    rule(
        Of::Both,
        &[1152, 1158, 1159, 1160, 1161, 1184],
        Turn::Retry,
        About::Connection,
        Some("the network, or net_read_timeout and net_write_timeout of the server, cut the connection"),
    ),
    rule(Of::Both, &[1153], Turn::Person, About::Server, Some("raise max_allowed_packet on the server")),
    rule(Of::Both, &[1205], Turn::Retry, About::Server, Some("another session holds a lock on the table")),
    rule(Of::Both, &[1213], Turn::Retry, About::Server, None),
    rule(
        Of::Both,
        &[1317],
        Turn::Retry,
        About::Server,
        Some("somebody killed the query; if it happens again, an administrator does not want it"),
    ),
    rule(Of::MariaDb, &[1927], Turn::Retry, About::Connection, Some("somebody killed the connection")),
    rule(Of::MySql, &[3169], Turn::Retry, About::Connection, Some("somebody killed the session")),
    rule(
        Of::MySql,
        &[3024],
        Turn::Retry,
        About::Server,
        Some("max_execution_time of the server is too short: raise it for the account"),
    ),
    rule(
        Of::MariaDb,
        &[1969],
        Turn::Retry,
        About::Server,
        Some("max_statement_time of the server is too short: raise it for the account"),
    ),
    rule(Of::MySql, &[4031], Turn::Retry, About::Connection, Some("wait_timeout of the server is too short")),
    rule(Of::Both, &[1412], Turn::Retry, About::Server, Some("the table was altered while it was read")),
    rule(
        Of::Both,
        &[1615],
        Turn::Retry,
        About::Server,
        Some("raise table_definition_cache on the server if it happens again"),
    ),
    rule(
        Of::Both,
        &[1290, 1792, 1836],
        Turn::Person,
        About::Server,
        Some("an option of the server, such as read_only, forbids it"),
    ),
    rule(Of::Both, &[1366], Turn::Person, About::Server, Some("a value does not fit its character set")),
    rule(Of::MySql, &[3854], Turn::Person, About::Server, Some("a value does not fit its character set")),
    rule(
        Of::Both,
        &[1236, 1789],
        Turn::Person,
        About::Server,
        Some("the server's binary log does not reach back that far"),
    ),
    rule(
        Of::MariaDb,
        &[1955],
        Turn::Person,
        About::Server,
        Some("the server's binary log does not reach back that far"),
    ),
    rule(
        Of::Both,
        &[1835, 1156, 1157],
        Turn::Retry,
        About::Connection,
        Some("something between us and the server, perhaps a proxy, garbles the protocol"),
    ),
    rule(
        Of::Both,
        &[3, 1021, 1037, 1038, 1041, 1114],
        Turn::Retry,
        About::Server,
        Some("the server ran out of memory or disk: read with fewer readers, or later"),
    ),
    rule(
        Of::Both,
        &[1030, 1034, 1194, 1877],
        Turn::Person,
        About::Server,
        Some("the table's storage is damaged: check and repair it on the server"),
    ),
];

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
    let rule = RULES.iter().find(|rule| applies(rule.of, peer.flavour) && rule.numbers.contains(&number));
    let (turn, about) = rule.map_or_else(|| by_sql_state(sql_state), |rule| (rule.turn, rule.about));
    let Peer { endpoint, user, .. } = peer;
    let message = match about {
        About::Account | About::Tls => format!("{endpoint} refused the account '{user}': {text} (error {number})"),
        _ => format!("{endpoint} answered with error {number}: {text}"),
    };
    let error = match turn {
        Turn::Retry => SourceError::transient(kind(about, number), message),
        Turn::Person => SourceError::definite(kind(about, number), message),
    };
    let hint = if number == DENIED { Some(denied_hint(peer)) } else { rule.and_then(|rule| rule.hint) };
    match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

fn applies(of: Of, flavour: Flavour) -> bool {
    match of {
        Of::Both => true,
        Of::MariaDb => flavour.is_mariadb(),
        Of::MySql => !flavour.is_mariadb(),
    }
}

/// 08 is the connection, 28 the account, 40 a transaction that was rolled back; anything else is for a person.
fn by_sql_state(sql_state: &str) -> (Turn, About) {
    match sql_state.get(..2) {
        Some("08") => (Turn::Retry, About::Connection),
        Some("28") => (Turn::Person, About::Account),
        Some("40") => (Turn::Retry, About::Server),
        _ => (Turn::Person, About::Server),
    }
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

/// The connection is gone: 2006, 2013 and 2055 of other clients.
#[must_use]
pub fn lost(peer: &Peer, why: impl fmt::Display) -> SourceError {
    let message = format!("the connection to {} was lost: {why}", peer.endpoint);
    SourceError::transient(SourceErrorKind::Lost, message)
}

/// What came is not the protocol: a proxy, or a bug; another attempt may find a better one.
#[must_use]
pub fn protocol(peer: &Peer, what: &str) -> SourceError {
    let message = format!("{} does not keep to the protocol: {what}", peer.endpoint);
    SourceError::transient(SourceErrorKind::Protocol, message)
        .with_hint("check whether a proxy stands in between, and that the port is that of MySQL or MariaDB")
}

#[cfg(test)]
mod tests;
