//! Why a source could not be reached or read.
//!
//! Lives in the model because both planes speak of it: the source makes it, control maps it to a documented code.

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
        Self::Definite(SourceFault { kind, message: message.into(), hint: None })
    }

    /// A failure that may pass.
    #[must_use]
    pub fn transient(kind: SourceErrorKind, message: impl Into<String>) -> Self {
        Self::Transient(SourceFault { kind, message: message.into(), hint: None })
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
