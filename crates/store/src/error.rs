//! What can go wrong in the store, and whose turn it is then.

use std::path::PathBuf;

use headwaters_model::etag::Etag;
use headwaters_model::limits::LimitError;
use headwaters_model::offset::Ordinal;
use headwaters_model::resource::ResourceRef;
use metrics::{counter, describe_counter};
use sqlx::migrate::MigrateError;

use crate::vault::VaultError;

/// When another try makes sense after the disk took no write, in seconds.
const ROOM_RETRY_AFTER_S: u64 = 10;

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Somebody else holds the database; another try may succeed.
    #[error("the metadata store is busy")]
    Busy(#[source] sqlx::Error),
    /// Lists that may read every row are at work, and enough of them wait; another try may succeed.
    #[error("too many lists that read every row are at work")]
    TooManyScans,
    /// A list that may read every row was at work for too long.
    #[error("a list that reads every row took too long")]
    ScanTooLong,
    /// No space is left, on the device or below the configured size. Nothing of the write is kept.
    #[error("the metadata store is full: free space on its disk")]
    Full(#[source] sqlx::Error),
    /// The disk does not take the write for another reason: a quota, a limit, a file system that went read-only.
    /// Nothing of the write is kept.
    #[error("the disk of the metadata store does not take what is written")]
    Disk(#[source] sqlx::Error),
    /// The file is damaged, or no database at all.
    #[error("the file of the metadata store is damaged or is no SQLite database")]
    DamagedFile(#[source] sqlx::Error),
    /// The database can not be opened or is not one of ours.
    #[error("could not open the metadata store {location}")]
    Open {
        /// Where it should be.
        location: String,
        /// What the database says.
        #[source]
        source: Box<StoreError>,
    },
    /// The location names a store that this build does not have.
    #[error("the metadata store {location} is of an unknown kind: use a path or sqlite://PATH")]
    UnknownKind {
        /// The location, as configured.
        location: String,
    },
    /// The schema could not be brought up to date.
    #[error("could not bring the metadata store up to date")]
    Migrate(#[source] MigrateError),
    /// The schema is an earlier one, and who asks only reads.
    #[error(
        "the metadata store has schema {found} and this version reads schema {needed}: start its server, which brings the store up to date"
    )]
    OldSchema {
        /// The version of the schema.
        found: i64,
        /// The version that this build works with.
        needed: i64,
    },
    /// The file of the database, or its directory, can not be made.
    #[error("could not make the metadata store {}", .path.display())]
    Place {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The resource changed since it was read, or is gone.
    #[error(transparent)]
    Outdated(#[from] Outdated),
    /// What was to be stored is too large or too deep.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// Something that must be unique is there already.
    #[error("{what} exists already")]
    Duplicate {
        /// The index that refused it.
        what: String,
    },
    /// The lease of the run is not ours any more; whoever has it goes on.
    #[error("the lease of {0} was lost")]
    LeaseLost(ResourceRef),
    /// The commit that a settlement is about was settled by somebody else; there is nothing left to do.
    #[error("the commit of {0} is settled already")]
    Settled(ResourceRef),
    /// Store and table do not agree on an ordinal and nothing explains why: a person must look (docs/architecture.md,
    /// section 4). The flow stops; it never guesses.
    #[error(
        "the table's last commit of flow {flow} is {table:?}, the store knows {store:?}: the table was replaced or its marks expired"
    )]
    Disagreement {
        /// The flow.
        flow: String,
        /// The ordinal that the table knows.
        table: Option<Ordinal>,
        /// The ordinal that the store knows.
        store: Option<Ordinal>,
    },
    /// A stored value can not be read back.
    #[error("{what} in the metadata store is damaged: {reason}")]
    Damaged {
        /// Which value.
        what: String,
        /// Why it can not be read.
        reason: String,
    },
    /// A secret could not be sealed or opened.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// Anything else that the database says.
    #[error("the metadata store failed")]
    Database(#[source] sqlx::Error),
}

/// A write that found another version than the one it was made for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Outdated {
    /// There is no such resource.
    #[error("{0} was not found")]
    Missing(ResourceRef),
    /// Somebody else wrote it meanwhile.
    #[error("{resource} changed since it was read")]
    Stale {
        /// The resource.
        resource: ResourceRef,
        /// Its version now.
        current: Etag,
    },
}

impl StoreError {
    /// Whether the store can not do it now and may do it later: somebody else held the database for too long, too many
    /// ask what costs much, or the disk has no room.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::TooManyScans | Self::ScanTooLong) || self.refused_write()
    }

    /// Whether a write was refused for the moment by what lies under the database, and nothing of it was kept: the same
    /// write may be tried again as it is.
    #[must_use]
    pub fn refused_write(&self) -> bool {
        matches!(self, Self::Busy(_) | Self::Full(_) | Self::Disk(_))
    }

    /// When another try makes sense, in seconds, where a moment is not enough: somebody has to make room first.
    #[must_use]
    pub fn retry_after_s(&self) -> Option<u64> {
        matches!(self, Self::Full(_) | Self::Disk(_)).then_some(ROOM_RETRY_AFTER_S)
    }

    /// Whether the same call may succeed later without anybody doing anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Busy(_) | Self::TooManyScans)
    }

    /// What to do about it, where that is known and not in the sentence.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Busy(_) => Some("it is busy: try again in a moment"),
            Self::TooManyScans => Some("filter and sort by fields that have an index, or try again in a moment"),
            Self::ScanTooLong => {
                Some("filter and sort by fields that have an index: the same list takes as long again")
            }
            Self::Full(_) => Some("it is full: free space on the disk of the data directory, no restart is needed"),
            Self::Disk(_) => Some(
                "check the disk of the data directory: its quota, and whether the file system is mounted read-only",
            ),
            Self::DamagedFile(_) => {
                Some("restore the file from a backup, or name another with --store; nothing was changed")
            }
            Self::Place { .. } => Some("let the account that runs headwaters write there, or name another place"),
            Self::Open { source, .. } => source.hint().or(Some(
                "check that it is a file and that the account that runs headwaters may read and write it and its directory",
            )),
            _ => None,
        }
    }

    /// The same while the store is opened: its place is told with what lies under the database.
    pub(crate) fn at_opening(self, location: &str) -> Self {
        match self {
            known @ (Self::Migrate(_) | Self::OldSchema { .. }) => known,
            source => Self::Open { location: location.to_owned(), source: Box::new(source) },
        }
    }

    /// A stored value that can not be read back.
    pub fn damaged(what: impl Into<String>, reason: impl ToString) -> Self {
        Self::Damaged { what: what.into(), reason: reason.to_string() }
    }
}

/// Result codes of SQLite: the lowest eight bits of what it reports, and whole ones where these tell more.
mod sqlite {
    pub(super) const BUSY: i32 = 5;
    pub(super) const LOCKED: i32 = 6;
    pub(super) const READONLY: i32 = 8;
    pub(super) const INTERRUPT: i32 = 9;
    pub(super) const CORRUPT: i32 = 11;
    pub(super) const FULL: i32 = 13;
    pub(super) const NOTADB: i32 = 26;
    pub(super) const IOERR_WRITE: i32 = 10 | (3 << 8);
    pub(super) const IOERR_FSYNC: i32 = 10 | (4 << 8);
    pub(super) const IOERR_TRUNCATE: i32 = 10 | (6 << 8);
    /// The index of the write-ahead log can not grow: that too is a full disk.
    pub(super) const IOERR_SHMSIZE: i32 = 10 | (19 << 8);
}

/// What the database says, as one of our kinds; each is counted.
impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let error = Self::of(error);
        if let Some(kind) = error.counted_as() {
            counter!("headwaters_store_errors_total", "kind" => kind).increment(1);
        }
        error
    }
}

/// Describes what is counted of the store.
pub(crate) fn describe_metrics() {
    describe_counter!(
        "headwaters_store_errors_total",
        "calls that the metadata store refused, by kind: busy, full, disk, damaged, other"
    );
}

impl StoreError {
    /// Under which kind it is counted; none for what is no trouble of the store.
    fn counted_as(&self) -> Option<&'static str> {
        match self {
            Self::Busy(_) => Some("busy"),
            Self::Full(_) => Some("full"),
            Self::Disk(_) => Some("disk"),
            Self::DamagedFile(_) => Some("damaged"),
            Self::Database(_) => Some("other"),
            _ => None,
        }
    }

    fn of(error: sqlx::Error) -> Self {
        if matches!(error, sqlx::Error::PoolTimedOut) {
            return Self::Busy(error);
        }
        let Some(database) = error.as_database_error() else { return Self::Database(error) };
        if database.is_unique_violation() {
            let message = database.message();
            return Self::Duplicate { what: message.rsplit(": ").next().unwrap_or(message).to_owned() };
        }
        let code = database.code().and_then(|code| code.parse::<i32>().ok()).unwrap_or_default();
        match (code & 0xff, code) {
            (sqlite::BUSY | sqlite::LOCKED, _) => Self::Busy(error),
            // Only lists are stopped (lister.rs), and those that nobody waits for tell nobody.
            (sqlite::INTERRUPT, _) => Self::ScanTooLong,
            (sqlite::FULL, _) | (_, sqlite::IOERR_SHMSIZE) => Self::Full(error),
            (sqlite::READONLY, _) | (_, sqlite::IOERR_WRITE | sqlite::IOERR_FSYNC | sqlite::IOERR_TRUNCATE) => {
                Self::Disk(error)
            }
            (sqlite::CORRUPT | sqlite::NOTADB, _) => Self::DamagedFile(error),
            _ => Self::Database(error),
        }
    }
}

impl From<MigrateError> for StoreError {
    /// What lies under the database is told as such, also when it stopped a step of the schema.
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => match error.into() {
                Self::Database(error) => Self::Migrate(MigrateError::Execute(error)),
                known => known,
            },
            other => Self::Migrate(other),
        }
    }
}
