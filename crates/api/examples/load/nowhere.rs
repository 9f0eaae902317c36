//! Sources and a lake that nobody asks here, and a clock.

use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use headwaters_control::ports::{Clock, Executor, Lakes, Sources};
use headwaters_model::care::{CareLimits, CareReport};
use headwaters_model::explore::{ExploredTable, ListedTable, ServerInfo};
use headwaters_model::id::SpecId;
use headwaters_model::job::{Committed, JobError, Landed, ReadRequest, RunEvent, RunJob, SourceAccess};
use headwaters_model::offset::{CommitMark, Ordinal};
use headwaters_model::source_error::{SourceError, SourceErrorKind};
use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::fill::START_MS;

/// What there is not.
pub(crate) struct Nowhere;

fn unreachable() -> SourceError {
    SourceError::transient(SourceErrorKind::Unreachable, "there is no source here")
}

impl Sources for Nowhere {
    fn specs(&self) -> Vec<Value> {
        Vec::new()
    }

    fn serves(&self, _: SpecId) -> bool {
        false
    }

    fn check(&self, _: &SourceAccess) -> Result<(), SourceError> {
        Err(unreachable())
    }

    fn masked(&self, access: &SourceAccess) -> Map<String, Value> {
        access.params.clone()
    }

    fn restored(&self, sent: &Map<String, Value>, _: &SourceAccess) -> Map<String, Value> {
        sent.clone()
    }

    fn probe<'a>(&'a self, _: &'a SourceAccess, _: Duration) -> BoxFuture<'a, Result<ServerInfo, SourceError>> {
        ready(Err(unreachable())).boxed()
    }

    fn list<'a>(&'a self, _: &'a SourceAccess) -> BoxFuture<'a, Result<Vec<ListedTable>, SourceError>> {
        ready(Err(unreachable())).boxed()
    }

    fn describe<'a>(
        &'a self,
        _: &'a SourceAccess,
        _: &'a str,
        _: Option<u32>,
        _: Option<Value>,
    ) -> BoxFuture<'a, Result<ExploredTable, SourceError>> {
        ready(Err(unreachable())).boxed()
    }

    fn check_read<'a>(&'a self, _: &'a SourceAccess, _: &'a ReadRequest) -> BoxFuture<'a, Result<(), SourceError>> {
        ready(Err(unreachable())).boxed()
    }
}

impl Executor for Nowhere {
    fn applied<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<Option<Ordinal>, JobError>> {
        ready(Ok(None)).boxed()
    }

    fn land<'a>(
        &'a self,
        _: RunJob,
        _: mpsc::Sender<RunEvent>,
        _: CancellationToken,
    ) -> BoxFuture<'a, Result<Landed, JobError>> {
        ready(Err(JobError::Cancelled)).boxed()
    }

    fn commit<'a>(
        &'a self,
        _: &'a RunJob,
        _: &'a Landed,
        _: &'a CommitMark,
    ) -> BoxFuture<'a, Result<Committed, JobError>> {
        ready(Err(JobError::Cancelled)).boxed()
    }
}

impl Lakes for Nowhere {
    fn location(&self, _: &str, _: &str, _: &str) -> String {
        "file:///nowhere".to_owned()
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), JobError>> {
        ready(Ok(())).boxed()
    }

    fn care<'a>(&'a self, _: &'a str, _: CareLimits) -> BoxFuture<'a, Result<CareReport, JobError>> {
        ready(Ok(CareReport::default())).boxed()
    }
}

/// A clock that begins when everything was made.
pub(crate) struct Monotonic(Instant);

impl Default for Monotonic {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for Monotonic {
    fn now_ms(&self) -> i64 {
        START_MS.saturating_add(i64::try_from(self.0.elapsed().as_millis()).unwrap_or(i64::MAX))
    }
}
