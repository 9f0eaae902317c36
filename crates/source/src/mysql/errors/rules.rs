//! The table of mysql-sources.md 16, as far as a server is the one that answers: keyed by flavour and number.
//!
//! Numbers are shared up to 1879; from there on the same number can mean different things.

use headwaters_model::source_error::Retry;

use crate::mysql::wire::Flavour;

/// Whose numbers a row of the table is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    Both,
    MariaDb,
    MySql,
}

/// Whose turn it is, and how the next attempt does better; [`Class::verdict`] makes a [`Retry`] of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// A person's.
    Person,
    /// A person's; a run asks for its secrets anew and tries once more, for they may just have been changed.
    PersonUnlessRotated,
    Again,
    Reconnect,
    Once,
    Later,
    FewerReaders,
    SmallerSplits,
    Lighter,
}

impl Class {
    /// Whether it is a person's turn, and how else it is tried again.
    pub(super) fn verdict(self, number: u16) -> (bool, Retry) {
        match self {
            Self::Person => (true, Retry::Again),
            Self::PersonUnlessRotated => (true, Retry::Once(number)),
            Self::Again => (false, Retry::Again),
            Self::Reconnect => (false, Retry::Reconnect),
            Self::Once => (false, Retry::Once(number)),
            Self::Later => (false, Retry::Later),
            Self::FewerReaders => (false, Retry::FewerReaders),
            Self::SmallerSplits => (false, Retry::SmallerSplits),
            Self::Lighter => (false, Retry::Lighter),
        }
    }
}

/// What was wrong; the number joins in when the error is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    Account,
    Privilege,
    Table,
    Column,
    Tls,
    Connection,
    Server,
}

/// One row of the table.
pub(super) struct Rule {
    pub(super) of: Of,
    pub(super) numbers: &'static [u16],
    pub(super) class: Class,
    pub(super) about: About,
    pub(super) hint: Option<&'static str>,
}

/// A row with a hint, which all have but two.
const fn rule(of: Of, numbers: &'static [u16], class: Class, about: About, hint: &'static str) -> Rule {
    Rule { of, numbers, class, about, hint: Some(hint) }
}

/// Denied, with a hint that depends on the channel (`denied_hint`).
pub(super) const DENIED: u16 = 1045;
/// The binary log can not be read; only the text tells why (`of_the_binary_log`).
pub(super) const BINARY_LOG: u16 = 1236;

const EXPIRED: &str = "the password expired: set a new one";
const LOCKED: &str = "the account is locked: unlock it";
const GONE: &str = "check whether it was renamed or dropped";
const CHARSET: &str = "a value does not fit its character set";
pub(super) const PURGED: &str = "the server's binary log does not reach back that far";
const KILLED: &str = "somebody killed it: if that happens twice in a run, an operator does not want it now; ask who, then \
    repeat the run";

/// The table of mysql-sources.md 16, as far as a server is the one that answers.
pub(super) const RULES: &[Rule] = &[
    Rule { of: Of::Both, numbers: &[DENIED], class: Class::PersonUnlessRotated, about: About::Account, hint: None },
    rule(
        Of::Both,
        &[1698],
        Class::Person,
        About::Account,
        "the account is for the server's own socket: give it a password, or connect through the socket",
    ),
    rule(
        Of::Both,
        &[1044],
        Class::Person,
        About::Privilege,
        "grant SELECT on the database to the account, or name another database",
    ),
    rule(Of::Both, &[1862, 1820], Class::Person, About::Account, EXPIRED),
    rule(Of::MySql, &[3118], Class::Person, About::Account, LOCKED),
    rule(Of::MariaDb, &[4151], Class::Person, About::Account, LOCKED),
    rule(
        Of::MySql,
        &[3159],
        Class::Person,
        About::Tls,
        "the server accepts protected connections only: set sslMode to required or above",
    ),
    rule(
        Of::Both,
        &[1251, 1524],
        Class::Person,
        About::Account,
        "the account's authentication plugin is not loaded on the server, or too old for this client",
    ),
    rule(
        Of::Both,
        &[1129],
        Class::Person,
        About::Account,
        "the server blocks this host after too many failed attempts: run FLUSH HOSTS there",
    ),
    rule(
        Of::Both,
        &[1130],
        Class::Person,
        About::Account,
        "the server lets no account in from this host: create one for it",
    ),
    rule(
        Of::Both,
        &[1142, 1143],
        Class::Person,
        About::Privilege,
        "grant SELECT on the table, or name only columns that may be read",
    ),
    rule(Of::Both, &[1227, 1370], Class::Person, About::Privilege, "grant the privilege that the server names"),
    rule(Of::Both, &[1049, 1146, 1051], Class::Person, About::Table, GONE),
    rule(Of::Both, &[1054], Class::Person, About::Column, GONE),
    rule(
        Of::Both,
        &[1356, 1449, 1365],
        Class::Person,
        About::Server,
        "the view is broken or its definer is gone: repair it on the server",
    ),
    rule(
        Of::Both,
        &[1040, 1203, 1226],
        Class::FewerReaders,
        About::Server,
        "the server has no room for more connections: raise its limit, or read with fewer readers",
    ),
    rule(Of::Both, &[1053, 1077, 1078, 1079], Class::Later, About::Connection, "the server is shutting down"),
    rule(Of::MySql, &[3032], Class::Later, About::Connection, "the server is in offline mode"),
    rule(
        Of::Both,
        &[1152, 1158, 1159, 1160, 1161, 1184],
        Class::Reconnect,
        About::Connection,
        "the network, or net_read_timeout and net_write_timeout of the server, cut the connection",
    ),
    rule(Of::Both, &[1153], Class::Person, About::Server, "raise max_allowed_packet on the server"),
    rule(Of::Both, &[1205], Class::Again, About::Server, "another session holds a lock on the table"),
    Rule { of: Of::Both, numbers: &[1213], class: Class::Again, about: About::Server, hint: None },
    rule(Of::Both, &[1317], Class::Once, About::Server, KILLED),
    rule(Of::MariaDb, &[1927], Class::Once, About::Connection, KILLED),
    rule(Of::MySql, &[3169], Class::Once, About::Connection, KILLED),
    rule(
        Of::MySql,
        &[3024],
        Class::SmallerSplits,
        About::Server,
        "max_execution_time of the server is too short: raise it for the account",
    ),
    rule(
        Of::MariaDb,
        &[1969],
        Class::SmallerSplits,
        About::Server,
        "max_statement_time of the server is too short: raise it for the account",
    ),
    rule(Of::MySql, &[4031], Class::Again, About::Connection, "wait_timeout of the server is too short"),
    rule(Of::Both, &[1412], Class::Again, About::Server, "the table was altered while it was read"),
    rule(
        Of::Both,
        &[1615],
        Class::Again,
        About::Server,
        "raise table_definition_cache on the server if it happens again",
    ),
    rule(
        Of::Both,
        &[1290, 1792, 1836],
        Class::Person,
        About::Server,
        "an option of the server, such as read_only, forbids it",
    ),
    rule(Of::Both, &[1366], Class::Person, About::Server, CHARSET),
    rule(Of::MySql, &[3854], Class::Person, About::Server, CHARSET),
    rule(Of::Both, &[BINARY_LOG, 1789], Class::Person, About::Server, PURGED),
    rule(Of::MariaDb, &[1955], Class::Person, About::Server, PURGED),
    rule(
        Of::Both,
        &[1835, 1156, 1157],
        Class::Once,
        About::Connection,
        "something between us and the server, perhaps a proxy, garbles the protocol",
    ),
    rule(
        Of::Both,
        &[3, 1021, 1037, 1038, 1041, 1114],
        Class::Lighter,
        About::Server,
        "the server ran out of memory or disk: make room there, or run the flow when the server has less to do",
    ),
    rule(
        Of::Both,
        &[1030, 1034, 1194, 1877],
        Class::Person,
        About::Server,
        "the table's storage is damaged: check and repair it on the server",
    ),
];

/// What the table says about a number of this flavour.
pub(super) fn find(flavour: Flavour, number: u16) -> Option<&'static Rule> {
    RULES.iter().find(|rule| applies(rule.of, flavour) && rule.numbers.contains(&number))
}

pub(super) fn applies(of: Of, flavour: Flavour) -> bool {
    match of {
        Of::Both => true,
        Of::MariaDb => flavour.is_mariadb(),
        Of::MySql => !flavour.is_mariadb(),
    }
}

/// 08 is the connection, 28 the account, 40 a transaction that was rolled back; anything else is for a person.
pub(super) fn by_sql_state(sql_state: &str) -> (Class, About) {
    match sql_state.get(..2) {
        Some("08") => (Class::Reconnect, About::Connection),
        Some("28") => (Class::Person, About::Account),
        Some("40") => (Class::Again, About::Server),
        _ => (Class::Person, About::Server),
    }
}
