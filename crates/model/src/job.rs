//! What crosses the bridge between the planes: a job by value one way, events and an outcome the other way.
//!
//! **Invariant.** All of it is plain data. The data plane never asks the store, the control plane never touches a batch
//! (docs/architecture.md, section 1).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::diagnostic::Diagnostics;
use crate::flow::RunOptions;
use crate::id::{BatchId, FlowId, PlanId, RunId, SpecId};
use crate::metrics::Window;
use crate::offset::{CommitMark, Ordinal};
use crate::secret::Secret;
use crate::source_error::Retry;
use crate::verified::Verified;
use crate::watermark::{Delta, Watermark};

/// How a source is reached: which kind of source, which of its auth specs, and the parameters for it.
///
/// `params` are the published keys in clear; every secret stands apart in `secrets` under its key, so that the clear
/// part may be logged and compared.
#[derive(Debug, Clone)]
pub struct SourceAccess {
    /// The connection spec.
    pub spec: SpecId,
    /// The name of the auth spec, e.g. `Basic Authentication`.
    pub auth_spec: String,
    /// The parameters that are no secrets.
    pub params: Map<String, Value>,
    /// The parameters that are (properties with `format: "password"` in the auth spec).
    pub secrets: Vec<(String, Secret)>,
}

/// What is read of a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReadRequest {
    /// The table as the client named it: `database.table` or `table`; resolved by mysql-sources.md 10.4.
    pub table: String,
    /// The columns by their source names, in this order; none means all that are visible.
    pub columns: Option<Vec<String>>,
    /// The row filter: the PQL document of flow-service.md 14.3.
    pub filter: Option<Value>,
    /// Which rows by the delta column; none means all.
    pub delta: Option<Delta>,
    /// Into how many key ranges the table is cut.
    pub splits: Splits,
}

/// Into how many key ranges a table is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Splits {
    /// As many as size and key suggest.
    Auto,
    /// This many, if the key allows; 1 means one connection and one stream.
    Exactly(u32),
    /// This many times as many as size and key suggest, and as much smaller: larger ones took the server too long.
    Finer(u32),
}

/// What a commit does to the rows that are in the table already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum WriteMode {
    /// They stay.
    Append,
    /// They are replaced, not the schema; older versions keep them.
    Overwrite,
}

/// Everything one attempt of a run needs, by value.
#[derive(Debug, Clone)]
pub struct RunJob {
    /// The run and its flow, for logs and query comments; none for a copy without a server.
    pub flow: Option<(FlowId, RunId)>,
    /// Who reads where.
    pub source: SourceAccess,
    /// What is read.
    pub read: ReadRequest,
    /// The absolute URI of the table.
    pub location: String,
    /// What happens to rows already there.
    pub mode: WriteMode,
    /// Under which mark it is committed.
    pub mark: CommitMark,
    /// The batch that the rows belong to, minted when the run was first claimed.
    pub batch: Option<BatchId>,
    /// How it is read and landed.
    pub options: RunOptions,
    /// The plan of an earlier attempt to go on with, and what it has landed of it.
    pub resume: Option<Resume>,
    /// At most so many connections, where an earlier attempt found that there is room for no more.
    pub readers_max: Option<u32>,
}

/// A plan that another attempt can go on with (mysql-sources.md 14). Only plans of [`Consistency::Split`] are frozen.
///
/// [`Consistency::Split`]: crate::flow::Consistency::Split
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FrozenPlan {
    /// Which plan it is; what is landed of it is kept under this id.
    pub id: PlanId,
    /// Key ranges, bounds of the delta column, columns and server, as the source needs them to read the same again.
    /// Opaque to everyone else.
    pub source: Value,
    /// How many key ranges there are.
    pub splits: u32,
    /// How far the flow has got when all of them are in the table.
    pub reached: Option<Watermark>,
    /// The window of them all.
    pub window: Option<Window>,
    /// What a person should know about how it was made, one sentence each.
    pub notes: Vec<String>,
}

/// What earlier attempts have left to go on with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Resume {
    /// The plan.
    pub plan: FrozenPlan,
    /// The key ranges that are in the table already, by their places in the plan. If there are any, nothing may start over.
    pub committed: Vec<u32>,
    /// The key ranges that are landed, but not in the table.
    pub kept: Vec<LandedSplit>,
}

impl Resume {
    /// Whether a key range is not to be read again.
    #[must_use]
    pub fn has(&self, split: u32) -> bool {
        self.committed.contains(&split) || self.kept.iter().any(|kept| kept.split == split)
    }
}

/// What a commit holds of a frozen plan, where it holds a part of it ([`RunOptions::commit_per_split`]). The plan stands
/// with it, so that a commit that nobody was told of is explained whatever became of the plan meanwhile.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// The plan.
    pub plan: FrozenPlan,
    /// The key ranges, by their places in it.
    pub splits: Vec<u32>,
}

/// One key range of a frozen plan that is landed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LandedSplit {
    /// Its place in the plan.
    pub split: u32,
    /// Its files.
    pub files: Vec<LandedFile>,
    /// Its counters.
    pub totals: Totals,
    /// Its values that could not be kept as they were.
    pub diagnostics: Diagnostics,
    /// What of it was compared with the server; none where nobody asked for that.
    #[serde(default)]
    pub verified: Option<Verified>,
}

/// One Parquet file that is written but not yet part of the table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LandedFile {
    /// The path below the table's location.
    pub path: String,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Its rows.
    pub rows: u64,
    /// When it was written, milliseconds since 1970.
    pub modified_at_ms: i64,
    /// The statistics of its columns, in the form of the Delta log (a JSON text).
    pub stats: Option<String>,
}

/// What an attempt has landed and could commit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Landed {
    /// The files, in no order.
    pub files: Vec<LandedFile>,
    /// Counters of the whole attempt.
    pub totals: Totals,
    /// Values that could not be kept as they were.
    pub diagnostics: Diagnostics,
    /// What a person should know about how it was read, one sentence each.
    pub notes: Vec<String>,
    /// The schema of the rows as the format needs it to make the table (opaque to everyone but the lake).
    pub schema: Value,
    /// How far the flow has got when these rows are in the table; none when nothing was chosen by a delta column, or by a
    /// window that somebody asked for.
    #[serde(default)]
    pub reached: Option<Watermark>,
    /// The moments that were read; none for a whole table or a counter.
    #[serde(default)]
    pub window: Option<Window>,
    /// How many key ranges of the plan are not landed yet: with [`RunOptions::commit_per_split`] an attempt lands some of
    /// them.
    #[serde(default)]
    pub splits_left: u32,
    /// What they are of a plan of which parts are committed, the last part too; none where one commit holds everything.
    #[serde(default)]
    pub part: Option<Part>,
    /// What of it was compared with the server, as the notes tell; none where nobody asked for that.
    #[serde(default)]
    pub verified: Option<Verified>,
}

impl Landed {
    /// Adds what was compared with the server; the notes then tell of all that was.
    pub fn compared(&mut self, verified: Verified) {
        let mut all = self.verified.take().unwrap_or_default();
        let told = all.notes();
        self.notes.retain(|note| !told.contains(note));
        all.add(verified);
        self.notes.extend(all.notes());
        self.verified = Some(all);
    }

    /// Adds what was landed before under the same plan.
    pub fn add(&mut self, mut before: Self) {
        if let Some(verified) = before.verified.take() {
            let told = verified.notes();
            before.notes.retain(|note| !told.contains(note));
            self.compared(verified);
        }
        self.files.extend(before.files);
        self.totals.add(before.totals);
        self.diagnostics.merge(before.diagnostics);
        let news = before.notes.into_iter().filter(|note| !self.notes.contains(note)).collect::<Vec<_>>();
        self.notes.extend(news);
    }
}

/// Counters of an attempt; they only grow while it runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Rows read from the source.
    pub rows_in: u64,
    /// Rows landed.
    pub rows_out: u64,
    /// Rows that were not landed.
    pub rows_rejected: u64,
    /// Bytes read from the source, as they crossed the wire.
    pub bytes_in: u64,
    /// Bytes written into the lake.
    pub bytes_out: u64,
}

impl Totals {
    /// Adds another part of the same attempt.
    pub fn add(&mut self, other: Self) {
        self.rows_in += other.rows_in;
        self.rows_out += other.rows_out;
        self.rows_rejected += other.rows_rejected;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
    }
}

/// What a commit made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Committed {
    /// The table's version that holds the rows; none when there were no rows and the table existed.
    pub version: Option<u64>,
    /// The ordinal that the table now knows of this application.
    pub ordinal: Option<Ordinal>,
}

/// What happens while an attempt runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum RunEvent {
    /// The source answered.
    Reached {
        /// Who, as far as the source can tell servers apart.
        server: String,
    },
    /// What is read of a delta column was decided, before anything else can break.
    Bounded {
        /// How far the flow has got when all of it is in the table.
        reached: Watermark,
        /// The moments that are read; none of a column that counts.
        window: Option<Window>,
    },
    /// The table was cut.
    Planned {
        /// The key ranges.
        splits: u32,
        /// The connections that read them.
        readers: u32,
        /// The server's estimate of the rows, where it has one.
        rows_estimate: Option<u64>,
        /// The plan, where another attempt can go on with it.
        frozen: Option<FrozenPlan>,
    },
    /// Counters so far.
    Progress(Totals),
    /// One key range is landed.
    SplitLanded(LandedSplit),
}

/// In which part of the way an attempt broke; decides the code of the run's error (flow-service.md 17.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stage {
    /// Reading: whatever the source does.
    Source,
    /// Transforming, or too many rejected rows.
    Data,
    /// Writing, committing, a conflict of schemas.
    Lake,
}

/// What went wrong, for a person: what was tried, on what, and what to do. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// Where.
    pub stage: Stage,
    /// One sentence, lower case, no full stop.
    pub message: String,
    /// What to do, if we know.
    pub hint: Option<String>,
}

/// Why an attempt ended without its commit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    /// The same job would fail again: stop, show, wait for a person.
    #[error("{0}")]
    Definite(Failure),
    /// Another attempt may succeed.
    #[error("{0}")]
    Transient(Failure, Retry),
    /// It was told to stop.
    #[error("the run was cancelled")]
    Cancelled,
    /// Another attempt of the same flow was faster; what this one landed is left for vacuum.
    #[error("overtaken by attempt {found:?}")]
    Overtaken {
        /// The table's last ordinal of the flow.
        found: Option<Ordinal>,
    },
}
