//! What every lake format promises.
//!
//! A table is opened for the rows that are to come ([`Lake::open`]), written by any number of [`SplitWriter`]s side by
//! side, and changed by one atomic [`Lake::commit`].
//!
//! **Invariant.** Nothing that a writer wrote is part of the table before the commit; files of a failed or killed
//! attempt are never in the log. A commit whose mark stands at [`Standing::AtBase`](headwaters_model::offset::Standing)
//! happens once, whatever becomes of its answer.

use arrow_array::RecordBatch;
use arrow_schema::{DataType, SchemaRef};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use headwaters_model::care::{CareLimits, CareReport};
use headwaters_model::flow::SchemaChange;
use headwaters_model::job::{Committed, Landed, LandedFile, WriteMode};
use headwaters_model::offset::{CommitMark, Ordinal};

/// A format that tables are kept in, at locations given as absolute URIs.
pub trait Lake: Send + Sync {
    /// Opens the table for rows of this schema, or prepares to make it: checks the schema against the existing one and
    /// finds every column its name in the lake.
    ///
    /// Where the two differ, `change` says whether the table follows: new columns are added, those that are not read any
    /// more stay empty, and types are widened by rewriting the files (not under an overwrite, which keeps the schema). What
    /// no table can follow is a definite error, and so is every difference under [`SchemaChange::Fail`]; the table is
    /// unchanged then.
    ///
    /// The fields carry source names and the metadata key `headwaters.sourceName`.
    fn open<'a>(
        &'a self,
        location: &'a str,
        schema: &'a SchemaRef,
        mode: WriteMode,
        change: SchemaChange,
    ) -> BoxFuture<'a, Result<Box<dyn Table>, LakeError>>;

    /// The last ordinal that the table knows of this application; none where there is no table or no mark.
    fn last_ordinal<'a>(
        &'a self,
        location: &'a str,
        app_id: &'a str,
    ) -> BoxFuture<'a, Result<Option<Ordinal>, LakeError>>;

    /// Makes the landed files part of the table, as the mark says, exactly once.
    ///
    /// A missing table is made by the commit of its first rows. Without rows an existing table is left alone by an
    /// append, and a missing one is made empty, without a mark. The labels (flow, run, batch) are kept beside the
    /// commit for whoever reads the table's history.
    fn commit<'a>(
        &'a self,
        location: &'a str,
        landed: &'a Landed,
        mark: &'a CommitMark,
        mode: WriteMode,
        labels: &'a [Label],
    ) -> BoxFuture<'a, Result<Committed, LakeError>>;

    /// Whether landed files that were kept for a later attempt are all there, each with its size, and of the types that the
    /// table has now.
    fn has<'a>(&'a self, location: &'a str, files: &'a [LandedFile]) -> BoxFuture<'a, Result<bool, LakeError>>;

    /// Deletes landed files that will not be committed after all, as far as that is possible.
    fn discard<'a>(&'a self, location: &'a str, files: &'a [LandedFile]) -> BoxFuture<'a, Result<(), LakeError>>;

    /// The newest version of a table, to be read; none where there is no table. What can't be read file by file (rows
    /// that are deleted beside their files, partitions) is a definite error.
    fn current<'a>(&'a self, location: &'a str) -> BoxFuture<'a, Result<Option<StoredTable>, LakeError>>;

    /// Reads the rows of files back, whether they are part of the table or only landed, in memory for a few batches.
    ///
    /// A batch has the columns of its file; what a file lacks is null in its rows.
    fn scan(&self, location: &str, files: Vec<WrittenFile>) -> Result<Batches, LakeError>;

    /// Writes, reads back and deletes a small object below the location, to prove that it can be used.
    fn probe<'a>(&'a self, location: &'a str) -> BoxFuture<'a, Result<(), LakeError>>;

    /// Looks after a table: puts small files together, deletes files that no version needs since
    /// [`CareLimits::vacuum_before_ms`] and what has expired of its log. Rows and marks stay as they are, whatever else is
    /// done to the table meanwhile; where there is no table, nothing is done. What breaks does not keep the rest from being
    /// done; the first error is returned then.
    fn care<'a>(&'a self, location: &'a str, limits: CareLimits) -> BoxFuture<'a, Result<CareReport, LakeError>>;
}

/// Rows that are read back.
pub type Batches = BoxStream<'static, Result<RecordBatch, LakeError>>;

/// A file below a table's location.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenFile {
    /// The path below the table's location.
    pub path: String,
    /// Its size in bytes.
    pub size_bytes: u64,
}

/// A version of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredTable {
    /// Which.
    pub version: u64,
    /// Its columns.
    pub columns: Vec<StoredColumn>,
    /// The files that hold its rows.
    pub files: Vec<WrittenFile>,
}

/// A column of a version of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredColumn {
    /// Its name in the files.
    pub name: String,
    /// Its name in the source; without one noted, the name in the files.
    pub source_name: String,
    /// The type of its values; none for one that is never landed.
    pub data_type: Option<DataType>,
}

/// A name and a value that a commit carries for people.
pub type Label = (&'static str, String);

/// What bounds the memory and the files of one [`SplitWriter`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteLimits {
    /// A row group is written out when it holds so many encoded bytes; a single batch may exceed it.
    pub row_group_bytes_max: usize,
    /// At most so many parts of a file are on their way to the store at a time.
    pub upload_parts_max: usize,
    /// A new file begins when one has so many bytes.
    pub file_bytes_target: usize,
}

impl Default for WriteLimits {
    fn default() -> Self {
        Self { row_group_bytes_max: 4 << 20, upload_parts_max: 2, file_bytes_target: 256 << 20 }
    }
}

/// A table that takes rows of one schema.
pub trait Table: Send + Sync {
    /// The schema as the format keeps it, to be handed to the commit in [`Landed::schema`].
    fn schema(&self) -> serde_json::Value;

    /// The Arrow schema that the files have: columns renamed and ordered as in the table.
    fn file_schema(&self) -> SchemaRef;

    /// What a person should know: how the table has followed the source, columns that have other names or stay empty.
    fn notes(&self) -> Vec<String>;

    /// A writer with files of its own, within the [`WriteLimits`] that the lake was made with.
    fn writer(&self) -> Result<Box<dyn SplitWriter>, LakeError>;

    /// Reads finished files back, as [`Lake::scan`] does.
    fn scan(&self, files: &[LandedFile]) -> Batches;

    /// Deletes finished files that will not be committed after all, as far as that is possible.
    fn discard(&self, files: Vec<LandedFile>) -> BoxFuture<'_, ()>;
}

/// Writes the rows of one split (or several, one after the other) into files of their own.
pub trait SplitWriter: Send {
    /// Adds rows of the schema that the table was opened with.
    fn write(&mut self, rows: RecordBatch) -> BoxFuture<'_, Result<(), LakeError>>;

    /// Ends the files. They are not part of the table before the commit.
    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<Vec<LandedFile>, LakeError>>;

    /// Drops what was written, as far as that is possible.
    fn abort(self: Box<Self>) -> BoxFuture<'static, ()>;
}

/// One failure of a lake, for a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct LakeFault {
    /// What was tried, on what; lower case, no full stop.
    pub message: String,
    /// What to do, if we know.
    pub hint: Option<String>,
}

impl LakeError {
    /// A failure that repeats until a person acts.
    #[must_use]
    pub fn definite(message: impl Into<String>) -> Self {
        Self::Definite(LakeFault { message: message.into(), hint: None })
    }

    /// A failure that may pass.
    #[must_use]
    pub fn transient(message: impl Into<String>) -> Self {
        Self::Transient(LakeFault { message: message.into(), hint: None })
    }

    /// Adds what to do.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        match &mut self {
            Self::Definite(fault) | Self::NoRoom(fault) | Self::Transient(fault) => fault.hint = Some(hint.into()),
            Self::Overtaken { .. } => {}
        }
        self
    }
}

/// A failure of a lake, told apart by whose turn it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LakeError {
    /// A person must act: a conflict of schemas, a location that can not be written.
    #[error("{0}")]
    Definite(LakeFault),
    /// The disk is full. What was written is given back; another attempt may succeed when somebody has made room, so it
    /// makes sense after a long pause only.
    #[error("{0}")]
    NoRoom(LakeFault),
    /// Another attempt may succeed: the object store was busy, another writer was in the way.
    #[error("{0}")]
    Transient(LakeFault),
    /// The table's last ordinal is neither the base nor ours; nothing was committed.
    #[error("another attempt of this flow has committed: {found:?}")]
    Overtaken {
        /// What the table knows.
        found: Option<Ordinal>,
    },
}
