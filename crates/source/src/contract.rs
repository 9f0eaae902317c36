//! What every source promises.
//!
//! A source shows what it holds (`probe`, `list`, `describe`) and reads one table as Arrow batches (`open`). Reading is
//! planned once: [`Source::open`] opens all connections in **one moment** of the database, cuts the table into
//! [`Split`]s and hands out one [`SplitReader`] per connection. Whoever drives the readers takes splits from one queue,
//! biggest first.
//!
//! **Invariant.** Every row that is visible in that moment belongs to exactly one split of the plan. A split counts as
//! read only when its reader returned `Ok`; rows sent before an error are a prefix and must be dropped by the receiver.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use futures::future::BoxFuture;
use headwaters_model::checksum::{CheckedColumn, Checksums, Cut, Part, RangeChecksums, ShownRow};
use headwaters_model::diagnostic::Diagnostics;
use headwaters_model::explore::{ExploredTable, ListedTable, ServerInfo};
use headwaters_model::id::SpecId;
use headwaters_model::job::{FrozenPlan, ReadRequest, Resume, SourceAccess};
use headwaters_model::metrics::Window;
use headwaters_model::source_error::SourceError;
use headwaters_model::watermark::Watermark;
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

    /// Opens a table in one moment to compare its rows with what was landed of them: all its columns, and those that the
    /// request names beside them.
    fn compare<'a>(
        &'a self,
        access: &'a SourceAccess,
        request: &'a ReadRequest,
        cancel: CancellationToken,
    ) -> BoxFuture<'a, Result<Box<dyn Comparison>, SourceError>>;
}

/// A table whose rows are compared.
#[derive(Debug, Clone, PartialEq)]
pub struct ComparedTable {
    /// Its resolved path.
    pub name: String,
    /// The columns that can be compared, among them those of the row key.
    pub columns: Vec<CheckedColumn>,
    /// The columns of the key that names each row; none if there is none, or it is not among the columns.
    pub key: Vec<String>,
    /// Whether the first of them is a whole number, so that the table can be cut into ranges of it.
    pub key_is_number: bool,
    /// What a person should know: the table is not transactional, …
    pub notes: Vec<String>,
}

/// What of a table is compared, and by what its rows are told apart.
#[derive(Debug, Clone, PartialEq)]
pub struct Compared {
    /// The columns whose values are compared; at least one.
    pub columns: Vec<CheckedColumn>,
    /// The columns that tell rows apart; without any, all that are compared.
    pub key: Vec<CheckedColumn>,
}

/// The pieces of a part by their numbers, those without rows left out.
pub type Pieces = BTreeMap<u64, Checksums>;

/// One connection that shows one moment of a table and computes checksums of it. After an error it is of no more use.
pub trait Comparison: Send {
    /// The table.
    fn table(&self) -> &ComparedTable;

    /// The smallest and the largest value of a key that is a whole number; none if there are no rows.
    fn key_ends(&mut self) -> BoxFuture<'_, Result<Option<(i128, i128)>, SourceError>>;

    /// The checksums of the pieces of a part.
    fn sums<'a>(
        &'a mut self,
        compared: &'a Compared,
        part: Part,
        cut: Cut,
    ) -> BoxFuture<'a, Result<Pieces, SourceError>>;

    /// The rows of a part, at most so many; no order is promised.
    fn rows<'a>(
        &'a mut self,
        compared: &'a Compared,
        part: Part,
        rows_max: usize,
    ) -> BoxFuture<'a, Result<Vec<ShownRow>, SourceError>>;

    /// Ends the moment and closes the connection.
    fn close(self: Box<Self>) -> BoxFuture<'static, ()>;
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
    /// Whether the plan is to be frozen, so that another attempt can go on with it (`options.consistency` split).
    pub freeze: bool,
    /// The plan of an earlier attempt to go on with: only its missing splits are handed out.
    pub resume: Option<Resume>,
    /// Whether each split comes with the server's checksums of its columns, taken in the same moment.
    pub checksums: bool,
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
    /// Who answered, as far as the source can tell servers apart.
    pub server: Option<String>,
    /// The schema of every batch: landed types under source names, [`SOURCE_NAME`] in each field's metadata.
    pub schema: SchemaRef,
    /// The key ranges; together they hold every row once.
    pub splits: Vec<Split>,
    /// The server's estimate of all rows.
    pub rows_estimate: Option<u64>,
    /// Diagnostics that are known before a row is read (unknown types).
    pub diagnostics: Diagnostics,
    /// How far the flow has got when all splits are in the table; none when nothing is chosen by a delta column, or by a
    /// window that somebody asked for.
    pub reached: Option<Watermark>,
    /// The moments that are read; none for a whole table or a counter.
    pub window: Option<Window>,
    /// What another attempt needs to go on with this plan, where that was asked for and the table has a key.
    pub frozen: Option<FrozenPlan>,
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
    /// The server's checksums of its rows, where they were asked for and the server shows the same moment twice.
    pub checksums: Option<RangeChecksums>,
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
