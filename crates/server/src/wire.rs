//! Which adapters plug into which ports.
//!
//! `control` owns the ports; the planes never import each other (docs/architecture.md, section 2). Everything here only
//! hands on.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use headwaters_control::ports;
use headwaters_engine::{Budget, Engine};
use headwaters_model::care::{CareLimits, CareReport};
use headwaters_model::explore::{ExploredTable, ListedTable, ServerInfo};
use headwaters_model::id::SpecId;
use headwaters_model::job::{Committed, Failure, JobError, Landed, ReadRequest, RunEvent, RunJob, SourceAccess, Stage};
use headwaters_model::offset::{CommitMark, Ordinal};
use headwaters_model::source_error::{Retry, SourceError, SourceErrorKind};
use headwaters_source::contract::{Preview, Source};
use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span};

use crate::config::Config;
use crate::exit::{CliError, Kind};

/// The engine as the configuration wants it, over the sources of this build.
///
/// `engine.memory_bytes` is for the whole process: each of the jobs that may run at a time gets its part.
pub(crate) fn engine(config: &Config, jobs_at_once: usize) -> Result<Engine, CliError> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let readers: usize = config.setting("engine.readers_max")?;
    let memory_bytes: usize = config.setting("engine.memory_bytes")?;
    let budget = Budget::divide(memory_bytes / jobs_at_once.max(1), readers.min(cores));
    Ok(Engine::new(headwaters_source::registry::sources(), budget))
}

/// The absolute URI of a table that is named by a path or a URL.
pub(crate) fn table_location(text: &str) -> Result<String, CliError> {
    if text.contains("://") {
        return Ok(text.trim_end_matches('/').to_owned());
    }
    let path = std::path::absolute(text)
        .map_err(|error| CliError::new(Kind::Usage, format!("could not make {text} absolute: {error}")))?;
    url::Url::from_file_path(&path)
        .map(|url| url.to_string().trim_end_matches('/').to_owned())
        .map_err(|()| CliError::new(Kind::Usage, format!("{} can not be written as a URL", path.display())))
}

/// The sources of this build, by their specs.
pub(crate) struct SourcesPort(pub(crate) Vec<Arc<dyn Source>>);

impl SourcesPort {
    fn of(&self, access: &SourceAccess) -> Result<&dyn Source, SourceError> {
        let found = self.0.iter().find(|source| source.serves(access.spec));
        found.map(AsRef::as_ref).ok_or_else(|| {
            let kind = SourceErrorKind::InvalidParameter { key: "connectionSpec".to_owned() };
            SourceError::definite(kind, format!("no source of this build serves the connection spec {}", access.spec))
        })
    }
}

impl ports::Sources for SourcesPort {
    fn specs(&self) -> Vec<Value> {
        self.0.iter().flat_map(|source| source.specs()).collect()
    }

    fn serves(&self, spec: SpecId) -> bool {
        self.0.iter().any(|source| source.serves(spec))
    }

    fn check(&self, access: &SourceAccess) -> Result<(), SourceError> {
        self.of(access)?.check(access)
    }

    fn masked(&self, access: &SourceAccess) -> Map<String, Value> {
        match self.of(access) {
            Ok(source) => source.masked(access),
            // Without its source nobody knows which parts are secret, so no text is shown.
            Err(_) => access.params.keys().map(|key| (key.clone(), Value::from("*****"))).collect(),
        }
    }

    fn restored(&self, sent: &Map<String, Value>, stored: &SourceAccess) -> Map<String, Value> {
        self.of(stored).map_or_else(|_| sent.clone(), |source| source.restored(sent, stored))
    }

    fn probe<'a>(
        &'a self,
        access: &'a SourceAccess,
        patience: Duration,
    ) -> BoxFuture<'a, Result<ServerInfo, SourceError>> {
        Box::pin(async move { self.of(access)?.probe(access, patience).await })
    }

    fn list<'a>(&'a self, access: &'a SourceAccess) -> BoxFuture<'a, Result<Vec<ListedTable>, SourceError>> {
        Box::pin(async move { self.of(access)?.list(access).await })
    }

    fn describe<'a>(
        &'a self,
        access: &'a SourceAccess,
        table: &'a str,
        preview_rows: Option<u32>,
        filter: Option<Value>,
    ) -> BoxFuture<'a, Result<ExploredTable, SourceError>> {
        let preview = preview_rows.map(|rows| Preview { rows, filter });
        Box::pin(async move { self.of(access)?.describe(access, table, preview).await })
    }

    fn check_read<'a>(
        &'a self,
        access: &'a SourceAccess,
        request: &'a ReadRequest,
    ) -> BoxFuture<'a, Result<(), SourceError>> {
        Box::pin(async move { self.of(access)?.check_read(access, request).await })
    }
}

/// The engine behind the port, its work on the runtime for data.
pub(crate) struct ExecutorPort {
    pub(crate) engine: Arc<Engine>,
    pub(crate) work: tokio::runtime::Handle,
}

/// Carries work over to the runtime for data, so that it can't delay a health check (docs/architecture.md, section 8).
fn on_work<'a, T: Send + 'static>(
    runtime: &tokio::runtime::Handle,
    work: impl Future<Output = Result<T, JobError>> + Send + 'static,
) -> BoxFuture<'a, Result<T, JobError>> {
    let task = runtime.spawn(work.instrument(Span::current()));
    Box::pin(async move {
        task.await.unwrap_or_else(|broken| {
            let message = format!("the task of the work broke: {broken}");
            Err(JobError::Transient(Failure { stage: Stage::Data, message, hint: None }, Retry::Again))
        })
    })
}

impl ports::Executor for ExecutorPort {
    fn applied<'a>(&'a self, location: &'a str, app_id: &'a str) -> BoxFuture<'a, Result<Option<Ordinal>, JobError>> {
        let (engine, location, app_id) = (Arc::clone(&self.engine), location.to_owned(), app_id.to_owned());
        on_work(&self.work, async move { engine.applied(&location, &app_id).await })
    }

    fn land<'a>(
        &'a self,
        job: RunJob,
        events: mpsc::Sender<RunEvent>,
        cancel: CancellationToken,
    ) -> BoxFuture<'a, Result<Landed, JobError>> {
        let engine = Arc::clone(&self.engine);
        on_work(&self.work, async move { engine.land(job, events, cancel).await })
    }

    fn commit<'a>(
        &'a self,
        job: &'a RunJob,
        landed: &'a Landed,
        mark: &'a CommitMark,
    ) -> BoxFuture<'a, Result<Committed, JobError>> {
        let engine = Arc::clone(&self.engine);
        let (job, landed, mark) = (job.clone(), landed.clone(), mark.clone());
        on_work(&self.work, async move { engine.commit(&job, &landed, &mark).await })
    }
}

/// The folder of all tables.
pub(crate) struct LakesPort {
    pub(crate) engine: Arc<Engine>,
    /// An absolute URI without a slash at its end.
    pub(crate) root: String,
    pub(crate) work: tokio::runtime::Handle,
}

impl ports::Lakes for LakesPort {
    fn location(&self, org_folder: &str, sandbox: &str, data_set: &str) -> String {
        format!("{}/{org_folder}/{sandbox}/{data_set}", self.root)
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), JobError>> {
        Box::pin(self.engine.probe(&self.root))
    }

    fn care<'a>(&'a self, location: &'a str, limits: CareLimits) -> BoxFuture<'a, Result<CareReport, JobError>> {
        let (engine, location) = (Arc::clone(&self.engine), location.to_owned());
        on_work(&self.work, async move { engine.care(&location, limits).await })
    }
}

/// The machine's clock.
pub(crate) struct SystemClock;

impl ports::Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the wall clock")]
    fn now_ms(&self) -> i64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}
