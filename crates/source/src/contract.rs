//! What every source promises.
//!
//! A source shows what it holds (`probe`, `list`, `describe`) and reads one table as Arrow batches (`open`). Reading is
//! planned once: [`Source::open`] opens all connections in **one moment** of the database, cuts the table into
//! [`Split`]s and hands out one [`SplitReader`] per connection. Whoever drives the readers takes splits from one queue,
//! biggest first.
//!
//! **Invariant.** Every row that is visible in that moment belongs to exactly one split of the plan. A split counts as
//! read only when its reader returned `Ok`; rows sent before an error are a prefix and must be dropped by the receiver.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use futures::future::BoxFuture;
use headwaters_model::diagnostic::Diagnostics;
use headwaters_model::explore::{ExploredTable, ListedTable, ServerInfo};
use headwaters_model::id::SpecId;
use headwaters_model::job::{ReadRequest, SourceAccess};
use headwaters_model::source_error::SourceError;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// The key of a field's metadata that holds the column's name in the source (mysql-sources.md 9).
pub const SOURCE_NAME: &str = "headwaters.sourceName";

/// A kind of database that tables are read from.
pub trait Source: Send + Sync {
    /// The connection specs that this source serves, as the API advertises them.
    fn specs(&self) -> Vec<Value>;

    /// Whether a spec is ours.
    fn serves(&self, spec: SpecId) -> bool;

    /// Checks the connection parameters without connecting.
    fn check(&self, access: &SourceAccess) -> Result<(), SourceError>;

    /// The parameters as they may be shown: secrets masked as `*****`, in a connection string only the secret parts.
    fn masked(&self, access: &SourceAccess) -> serde_json::Map<String, Value>;

    /// Parameters as a client sent them, with the stored secrets wherever it echoed what [`Self::masked`] shows in their
    /// place: as a whole, or inside a connection string of which it changed other parts.
    fn restored(&self, sent: &serde_json::Map<String, Value>, stored: &SourceAccess) -> serde_json::Map<String, Value>;

    /// Connects, looks around and disconnects; at most `patience` in all.
    fn probe<'a>(
        &'a self,
        access: &'a SourceAccess,
        patience: Duration,
    ) -> BoxFuture<'a, Result<ServerInfo, SourceError>>;

    /// Lists tables and views, ordered by path.
    fn list<'a>(&'a self, access: &'a SourceAccess) -> BoxFuture<'a, Result<Vec<ListedTable>, SourceError>>;

    /// Shows the columns of a table, and with `preview` a few rows under the row filter (a PQL document).
    fn describe<'a>(
        &'a self,
        access: &'a SourceAccess,
        table: &'a str,
        preview: Option<Preview>,
    ) -> BoxFuture<'a, Result<ExploredTable, SourceError>>;

    /// Checks that table, columns and filter columns of a request exist and can be read.
    fn check_read<'a>(
        &'a self,
        access: &'a SourceAccess,
        request: &'a ReadRequest,
    ) -> BoxFuture<'a, Result<(), SourceError>>;

    /// Opens a table for reading in one moment and cuts it into splits.
    ///
    /// Cancelling the token makes every reader stop within a batch and kills its query on the server.
    fn open<'a>(
        &'a self,
        access: &'a SourceAccess,
        request: &'a ReadRequest,
        limits: ReadLimits,
        cancel: CancellationToken,
    ) -> BoxFuture<'a, Result<OpenTable, SourceError>>;
}

/// A few rows of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Preview {
    /// At most so many.
    pub rows: u32,
    /// Only those that pass.
    pub filter: Option<Value>,
}

/// What bounds a read.
#[derive(Debug, Clone)]
pub struct ReadLimits {
    /// At most so many connections.
    pub readers_max: u32,
    /// A batch ends at so many rows.
    pub batch_rows_max: usize,
    /// A batch ends when its columns hold so many bytes; one row may exceed it.
    pub batch_bytes_max: usize,
    /// What the server's administrators see before each statement, e.g. `flow … run …`.
    pub comment: String,
}

/// A table that is open for reading.
pub struct OpenTable {
    /// How it is cut.
    pub plan: ReadPlan,
    /// One per connection, at least one.
    pub readers: Vec<Box<dyn SplitReader>>,
}

/// How a table is read.
#[derive(Debug, Clone)]
pub struct ReadPlan {
    /// The table's resolved path.
    pub table: String,
    /// The schema of every batch: landed types under source names, [`SOURCE_NAME`] in each field's metadata.
    pub schema: SchemaRef,
    /// The key ranges; together they hold every row once.
    pub splits: Vec<Split>,
    /// The server's estimate of all rows.
    pub rows_estimate: Option<u64>,
    /// Diagnostics that are known before a row is read (unknown types).
    pub diagnostics: Diagnostics,
    /// How it is read, where a person should know: one reader because a privilege lacks, not transactional, …
    pub notes: Vec<String>,
}

/// One key range of a table: half-open, compared by the server under the columns' own collations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Split {
    /// Its place in the plan.
    pub index: u32,
    /// Rows at or above these key values belong to it; none is open. One text per key column.
    pub lower: Option<Vec<String>>,
    /// Rows below these key values belong to it; none is open.
    pub upper: Option<Vec<String>>,
    /// The server's estimate of its rows.
    pub rows_estimate: u64,
}

/// Some rows of a split.
#[derive(Debug)]
pub struct Batch {
    /// The rows.
    pub rows: RecordBatch,
    /// How many bytes of the wire they took.
    pub bytes_in: u64,
}

/// Where a reader puts its batches; a closed one means that nobody wants them any more.
pub type BatchSender = mpsc::Sender<Batch>;

/// What a split held.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SplitTotals {
    /// Rows sent.
    pub rows: u64,
    /// Rows over the row limit that were left out.
    pub rows_rejected: u64,
    /// Bytes of the wire.
    pub bytes_in: u64,
    /// Values that could not be kept.
    pub diagnostics: Diagnostics,
}

/// One connection of an open table.
pub trait SplitReader: Send {
    /// Reads one split to its end, handing on each batch as soon as it is full.
    ///
    /// After an error the reader must not be used again.
    fn read<'a>(
        &'a mut self,
        split: &'a Split,
        out: &'a BatchSender,
    ) -> BoxFuture<'a, Result<SplitTotals, SourceError>>;

    /// Ends the connection's part of the moment and closes it.
    fn close(self: Box<Self>) -> BoxFuture<'static, ()>;
}

/// The sources of this build.
pub type Sources = Vec<Arc<dyn Source>>;
