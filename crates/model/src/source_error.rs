//! Why a source could not be reached or read.
//!
//! Lives in the model because both planes speak of it: the source makes it, control maps it to a documented code.

use serde::{Deserialize, Serialize};

/// What about the source was wrong; decides the documented code (flow-service.md 3.5) and the exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceErrorKind {
    /// A connection parameter is missing.
    MissingParameter {
        /// Its key.
        key: String,
    },
    /// A connection parameter is invalid; the value is never echoed.
    InvalidParameter {
        /// Its key.
        key: String,
    },
    /// Host unknown, port closed, connect timed out.
    Unreachable,
    /// The server refused the account, the plugin or the password.
    Refused,
    /// TLS was demanded and not offered, the reverse, or the certificate is not trusted.
    Tls,
    /// The database or the table does not exist or is not visible.
    UnknownTable,
    /// A named column does not exist.
    UnknownColumn,
    /// A column of the row filter does not exist.
    UnknownFilterColumn,
    /// The row filter compares a column with a literal of another type.
    FilterType,
    /// The delta column does not exist, or rows can not be chosen by it as asked.
    DeltaColumn,
    /// The account lacks a privilege.
    Privilege,
    /// The connection broke while reading.
    Lost,
    /// The server answered with an error of its own.
    Server {
        /// Its number.
        number: u16,
    },
    /// The server sent bytes that are not the protocol, or a type it did not announce.
    Protocol,
    /// We were told to stop.
    Cancelled,
}

/// How a failure that may pass is best tried again (mysql-sources.md 16). Kept with each attempt, so that a crash does
/// not make a run forget what it has learnt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Retry {
    /// After the usual pause.
    #[default]
    Again,
    /// After the usual pause, over a new connection: the old one was lost. Where that happens to every attempt in the
    /// middle of the rows, one of the rows may be why.
    Reconnect,
    /// Once only in a run, for each number of an error: when it happens a second time, somebody wants it so, or it will
    /// not pass. A definite failure may ask for it too, where an attempt that asks for everything anew (the password
    /// above all) may do better; whoever makes no such attempts takes it as definite.
    Once(u16),
    /// After a long pause: a server that restarts, a table that is being altered.
    Later,
    /// With fewer connections.
    FewerReaders,
    /// In smaller key ranges.
    SmallerSplits,
    /// With a plan of its own: the one that it was to go on with does not hold any more (mysql-sources.md 14).
    StartOver,
    /// After a long pause, with fewer connections and in smaller key ranges: a server without memory or disk.
    Lighter,
}

impl Retry {
    /// What it is called in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Again => "again",
            Self::Reconnect => "reconnect",
            Self::Once(_) => "once",
            Self::Later => "later",
            Self::FewerReaders => "fewer_readers",
            Self::SmallerSplits => "smaller_splits",
            Self::StartOver => "start_over",
            Self::Lighter => "lighter",
        }
    }
}

/// One failure of a source, for a person: what was tried, on what, what to do. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SourceFault {
    /// What kind.
    pub kind: SourceErrorKind,
    /// One sentence, lower case, no full stop.
    pub message: String,
    /// What to do, if we know.
    pub hint: Option<String>,
    /// How to try again, if it may pass.
    pub retry: Retry,
}

/// A failure of a source, told apart by whose turn it is (mysql-sources.md 16).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// A person must act: the same attempt would fail again.
    #[error("{0}")]
    Definite(SourceFault),
    /// Another attempt may succeed.
    #[error("{0}")]
    Transient(SourceFault),
}

impl SourceError {
    /// A failure that repeats until a person acts.
    #[must_use]
    pub fn definite(kind: SourceErrorKind, message: impl Into<String>) -> Self {
        Self::Definite(SourceFault { kind, message: message.into(), hint: None, retry: Retry::Again })
    }

    /// A failure that may pass.
    #[must_use]
    pub fn transient(kind: SourceErrorKind, message: impl Into<String>) -> Self {
        Self::Transient(SourceFault { kind, message: message.into(), hint: None, retry: Retry::Again })
    }

    /// Says how to try again.
    #[must_use]
    pub fn with_retry(mut self, retry: Retry) -> Self {
        match &mut self {
            Self::Definite(fault) | Self::Transient(fault) => fault.retry = retry,
        }
        self
    }

    /// Adds what to do.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        match &mut self {
            Self::Definite(fault) | Self::Transient(fault) => fault.hint = Some(hint.into()),
        }
        self
    }

    /// What went wrong, whoever's turn it is.
    #[must_use]
    pub fn fault(&self) -> &SourceFault {
        match self {
            Self::Definite(fault) | Self::Transient(fault) => fault,
        }
    }
}
