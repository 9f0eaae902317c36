//! What control asks of the data plane and of the machine; `server/src/wire.rs` plugs in the real ones, tests plug in
//! fakes.

use std::time::Duration;

use futures::future::BoxFuture;
use headwaters_model::care::{CareLimits, CareReport};
use headwaters_model::explore::{ExploredTable, ListedTable, ServerInfo};
use headwaters_model::id::SpecId;
use headwaters_model::job::{Committed, JobError, Landed, ReadRequest, RunEvent, RunJob, SourceAccess};
use headwaters_model::offset::{CommitMark, Ordinal};
use headwaters_model::source_error::SourceError;
use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// The sources that this build can read.
pub trait Sources: Send + Sync {
    /// The connection specs of all sources, as the API advertises them.
    fn specs(&self) -> Vec<Value>;
    /// Whether a source for this spec is built in.
    fn serves(&self, spec: SpecId) -> bool;
    /// Checks connection parameters without connecting.
    fn check(&self, access: &SourceAccess) -> Result<(), SourceError>;
    /// The parameters as they may be shown.
    fn masked(&self, access: &SourceAccess) -> Map<String, Value>;
    /// Parameters as a client sent them, with the stored secrets wherever it echoed what [`Self::masked`] shows in their
    /// place, also inside a connection string of which it changed other parts (flow-service.md 9).
    fn restored(&self, sent: &Map<String, Value>, stored: &SourceAccess) -> Map<String, Value>;
    /// Connects and looks around.
    fn probe<'a>(
        &'a self,
        access: &'a SourceAccess,
        patience: Duration,
    ) -> BoxFuture<'a, Result<ServerInfo, SourceError>>;
    /// Lists tables and views.
    fn list<'a>(&'a self, access: &'a SourceAccess) -> BoxFuture<'a, Result<Vec<ListedTable>, SourceError>>;
    /// Shows a table; with `preview_rows` also rows, those that pass the filter (a PQL document).
    fn describe<'a>(
        &'a self,
        access: &'a SourceAccess,
        table: &'a str,
        preview_rows: Option<u32>,
        filter: Option<Value>,
    ) -> BoxFuture<'a, Result<ExploredTable, SourceError>>;
    /// Checks that a request can be read.
    fn check_read<'a>(
        &'a self,
        access: &'a SourceAccess,
        request: &'a ReadRequest,
    ) -> BoxFuture<'a, Result<(), SourceError>>;
}

/// Carries out the jobs of runs (docs/architecture.md, section 4).
///
/// Any call may be repeated, and calls for two attempts of one flow may overlap: what reaches the table is decided by
/// the ordinals in [`CommitMark`], never by who calls or when. A call that is dropped before it answers may still
/// have its effect.
pub trait Executor: Send + Sync {
    /// The last ordinal that the table knows of the flow; none where there is no table or no mark. Must not answer from
    /// memory: it is how a commit is found whose answer was lost.
    fn applied<'a>(&'a self, location: &'a str, app_id: &'a str) -> BoxFuture<'a, Result<Option<Ordinal>, JobError>>;
    /// Reads, transforms and lands; nothing is visible yet, whatever the outcome. Ends soon after the token is
    /// cancelled, with [`JobError::Cancelled`]. What it says through `events` is for people; an outcome must not wait
    /// for a reader.
    fn land<'a>(
        &'a self,
        job: RunJob,
        events: mpsc::Sender<RunEvent>,
        cancel: CancellationToken,
    ) -> BoxFuture<'a, Result<Landed, JobError>>;
    /// Commits what was landed, exactly once: only while the table's last ordinal is the mark's base. When it is the
    /// mark's own, the commit was made before, and the answer is that of the first time.
    fn commit<'a>(
        &'a self,
        job: &'a RunJob,
        landed: &'a Landed,
        mark: &'a CommitMark,
    ) -> BoxFuture<'a, Result<Committed, JobError>>;
}

/// The lake's places.
pub trait Lakes: Send + Sync {
    /// The absolute URI of a data set's table.
    fn location(&self, org_folder: &str, sandbox: &str, data_set: &str) -> String;
    /// Proves that the lake can be written.
    fn probe(&self) -> BoxFuture<'_, Result<(), JobError>>;
    /// Looks after a table, if there is one: rows and marks stay as they are. May be called for one table several times at
    /// once, and beside runs that land into it.
    fn care<'a>(&'a self, location: &'a str, limits: CareLimits) -> BoxFuture<'a, Result<CareReport, JobError>>;
}

/// What is posted to a webhook.
#[derive(Debug, Clone, Copy)]
pub struct Delivery<'a> {
    /// Its id, the same in every try.
    pub id: &'a str,
    /// The published code of the event.
    pub event_code: &'a str,
    /// Base64 of HMAC-SHA-256 over the body, under the webhook's secret.
    pub signature: &'a str,
    /// The body, a JSON text.
    pub body: &'a str,
}

/// Why a webhook has not taken a delivery: a sentence for the log, without the URL and without secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct NotTaken {
    /// What it answered, or why it could not be asked.
    pub reason: String,
}

/// The way to webhooks.
pub trait Webhooks: Send + Sync {
    /// Posts once, and follows no redirect. Only an answer that says success (200 to 299) means that it was taken. The
    /// call may be dropped before it answers.
    fn post<'a>(&'a self, url: &'a str, delivery: &'a Delivery<'a>) -> BoxFuture<'a, Result<(), NotTaken>>;
}

/// The time, so that tests can set it.
pub trait Clock: Send + Sync {
    /// Milliseconds since 1970, UTC.
    fn now_ms(&self) -> i64;
}
