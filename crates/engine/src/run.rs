//! One job from its plan to its commit: the only place where all steps meet.

use std::sync::Arc;

use headwaters_lake::contract::{Label, Lake, Table};
use headwaters_lake::crash::{CrashPoint, point as crash};
use headwaters_lake::registry;
use headwaters_model::id::SpecId;
use headwaters_model::job::{Committed, Failure, JobError, Landed, RunEvent, RunJob, Stage};
use headwaters_model::offset::{CommitMark, Ordinal};
use headwaters_source::contract::{OpenTable, ReadLimits, Source, Sources, SplitReader};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use crate::budget::Budget;
use crate::errors::{of_lake, of_source};
use crate::events::Progress;
use crate::pipe;
use crate::transform::Transform;

/// Carries out jobs: reads from one of the sources, lands in the lake.
#[derive(Clone)]
pub struct Engine {
    sources: Arc<Sources>,
    lake: Arc<dyn Lake>,
    budget: Budget,
}

impl Engine {
    /// An engine that keeps the budget in every job.
    #[must_use]
    pub fn new(sources: Sources, budget: Budget) -> Self {
        Self { sources: Arc::new(sources), lake: registry::delta(budget.write), budget }
    }

    /// The last ordinal that the table knows of this application; none where there is no table or no mark.
    ///
    /// # Errors
    /// The log of the table can not be read.
    pub async fn applied(&self, location: &str, app_id: &str) -> Result<Option<Ordinal>, JobError> {
        self.lake.last_ordinal(location, app_id).await.map_err(of_lake)
    }

    /// Proves that a location can be written and read.
    ///
    /// # Errors
    /// What about it can not be used.
    pub async fn probe(&self, location: &str) -> Result<(), JobError> {
        self.lake.probe(location).await.map_err(of_lake)
    }

    /// Reads, transforms and lands; nothing is visible in the table before [`Engine::commit`].
    ///
    /// `events` must be received while this runs. After an error, and after a cancellation, the files are deleted as
    /// far as that is possible.
    ///
    /// # Errors
    /// The first thing that broke; everything else is stopped then.
    pub async fn land(
        &self,
        job: RunJob,
        events: mpsc::Sender<RunEvent>,
        cancel: CancellationToken,
    ) -> Result<Landed, JobError> {
        let progress = Arc::new(Progress::new(events));
        // What breaks in one pipeline stops the others through this token; the caller's stops them all.
        let stop = cancel.child_token();

        let OpenTable { plan, readers } = self.plan(&job, stop.clone()).await?;
        let table = match self.lake.open(&job.location, &plan.schema, job.mode).await {
            Ok(table) => Arc::<dyn Table>::from(table),
            Err(error) => {
                close(readers).await;
                return Err(of_lake(error));
            }
        };
        let planned = RunEvent::Planned {
            splits: u32::try_from(plan.splits.len()).unwrap_or(u32::MAX),
            readers: u32::try_from(readers.len()).unwrap_or(u32::MAX),
            rows_estimate: plan.rows_estimate,
        };
        progress.tell(planned).await;
        crash(CrashPoint::Planned);

        let line = pipe::Line {
            table: table.clone(),
            transform: Transform::Identity,
            progress: progress.clone(),
            stop,
            wide: Arc::new(Semaphore::new(1)),
            wide_bytes: self.budget.batch_bytes_max * 2,
        };
        let read = match pipe::run(line, plan.splits, readers).await {
            Ok(read) => read,
            // Whatever a pipeline says when it is stopped, the reason is that we were told to.
            Err(_) if cancel.is_cancelled() => return Err(JobError::Cancelled),
            Err(error) => return Err(error),
        };

        let mut diagnostics = plan.diagnostics;
        diagnostics.merge(read.diagnostics);
        let totals = progress.totals();
        progress.tell(RunEvent::Progress(totals)).await;
        crash(CrashPoint::Landed);
        let notes = plan.notes.into_iter().chain(table.notes()).collect();
        Ok(Landed { files: read.files, totals, diagnostics, notes, schema: table.schema() })
    }

    /// Commits what was landed, exactly once; safe to call again.
    ///
    /// # Errors
    /// The commit was not made, or (transient) it is not known whether it was: [`Engine::applied`] tells.
    pub async fn commit(&self, job: &RunJob, landed: &Landed, mark: &CommitMark) -> Result<Committed, JobError> {
        let mut labels: Vec<Label> = Vec::new();
        if let Some((flow, run)) = &job.flow {
            labels.push(("flow", flow.to_string()));
            labels.push(("run", run.to_string()));
        }
        labels.extend(job.batch.iter().map(|batch| ("batch", batch.to_string())));
        self.lake.commit(&job.location, landed, mark, job.mode, &labels).await.map_err(of_lake)
    }

    /// Deletes what was landed and will not be committed. What can't be deleted is left for vacuum.
    pub async fn discard(&self, job: &RunJob, landed: &Landed) {
        if let Err(error) = self.lake.discard(&job.location, &landed.files).await {
            tracing::warn!(%error, "could not delete files that are not wanted any more");
        }
    }

    async fn plan(&self, job: &RunJob, stop: CancellationToken) -> Result<OpenTable, JobError> {
        let comment = match &job.flow {
            Some((flow, run)) => format!("headwaters flow {flow} run {run}"),
            None => "headwaters copy".to_owned(),
        };
        let limits = ReadLimits {
            readers_max: u32::try_from(self.budget.readers_max).unwrap_or(u32::MAX),
            batch_rows_max: self.budget.batch_rows_max,
            batch_bytes_max: self.budget.batch_bytes_max,
            comment,
        };
        let source = self.source(job.source.spec)?;
        source.open(&job.source, &job.read, limits, stop).await.map_err(of_source)
    }

    fn source(&self, spec: SpecId) -> Result<&dyn Source, JobError> {
        let found = self.sources.iter().find(|source| source.serves(spec));
        found.map(AsRef::as_ref).ok_or_else(|| {
            JobError::Definite(Failure {
                stage: Stage::Source,
                message: format!("no source of this build serves the connection spec {spec}"),
                hint: Some("use a build with that source, or a connection of another spec".to_owned()),
            })
        })
    }
}

async fn close(readers: Vec<Box<dyn SplitReader>>) {
    for reader in readers {
        reader.close().await;
    }
}
