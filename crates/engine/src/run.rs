//! One job from its plan to its commit: the only place where all steps meet.

use std::sync::Arc;

use headwaters_lake::contract::{Label, Lake, Table};
use headwaters_lake::crash::{CrashPoint, point as crash};
use headwaters_lake::registry;
use headwaters_model::care::{CareLimits, CareReport};
use headwaters_model::flow::Consistency;
use headwaters_model::id::SpecId;
use headwaters_model::job::{Committed, Failure, JobError, Landed, LandedFile, Resume, RunEvent, RunJob, Stage};
use headwaters_model::offset::{CommitMark, Ordinal};
use headwaters_model::source_error::Retry;
use headwaters_source::contract::{OpenTable, ReadLimits, Source, Sources, SplitReader};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use crate::budget::Budget;
use crate::errors::{of_lake, of_source};
use crate::events::Progress;
use crate::parts::Share;
use crate::pipe;
use crate::transform::Transform;
use crate::watched;

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
        watched::describe_metrics();
        Self { sources: Arc::new(sources), lake: registry::delta(budget.write), budget }
    }

    /// Where tables are.
    pub(crate) fn lake(&self) -> &Arc<dyn Lake> {
        &self.lake
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

    /// Looks after a table, if there is one; rows and marks stay as they are.
    ///
    /// # Errors
    /// What could not be done; what was done before it stays.
    pub async fn care(&self, location: &str, limits: CareLimits) -> Result<CareReport, JobError> {
        self.lake.care(location, limits).await.map_err(of_lake)
    }

    /// Reads, transforms and lands; nothing is visible in the table before [`Engine::commit`].
    ///
    /// `events` must be received while this runs. After an error, and after a cancellation, the files are deleted as
    /// far as that is possible; under a plan that another attempt can go on with, those of finished key ranges stay.
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

        let (resume, gone) = self.still_there(&job).await?;
        let OpenTable { mut plan, readers } = self.plan(&job, resume.clone(), stop.clone()).await?;
        if let Some(server) = plan.server.clone() {
            progress.tell(RunEvent::Reached { server }).await;
        }
        if let Some(reached) = plan.reached.clone() {
            progress.tell(RunEvent::Bounded { reached, window: plan.window }).await;
        }
        let opening = self.lake.open(&job.location, &plan.schema, job.mode, job.options.schema_change);
        let opened = tokio::select! {
            opened = opening => opened.map_err(of_lake),
            // It may be rewriting a table; what it leaves then is for vacuum.
            () = cancel.cancelled() => Err(JobError::Cancelled),
        };
        let table = match opened {
            Ok(table) => Arc::<dyn Table>::from(table),
            Err(error) => {
                close(readers).await;
                return Err(error);
            }
        };
        if let Err(error) = self.still_fit(&job, resume.as_ref()).await {
            close(readers).await;
            return Err(error);
        }
        let share = Share::of(&job, &mut plan, resume, readers.len());
        let planned = RunEvent::Planned {
            splits: u32::try_from(plan.splits.len()).unwrap_or(u32::MAX),
            readers: u32::try_from(readers.len()).unwrap_or(u32::MAX),
            rows_estimate: plan.rows_estimate,
            frozen: plan.frozen.clone(),
        };
        progress.tell(planned).await;
        crash(CrashPoint::Planned);

        let line = pipe::Line {
            table: table.clone(),
            transform: Transform::Identity,
            progress: progress.clone(),
            keep: plan.frozen.is_some(),
            verify: job.options.verify,
            stop,
            wide: Arc::new(Semaphore::new(1)),
            wide_bytes: self.budget.batch_bytes_max * 2,
        };
        let read = match pipe::run(line, plan.splits, readers).await {
            Ok(read) => read,
            // Whatever a pipeline says when it is stopped, the reason is that we were told to.
            Err(_) if cancel.is_cancelled() => return Err(JobError::Cancelled),
            Err(error) => {
                // How far it had got is part of what broke.
                progress.tell(RunEvent::Progress(progress.totals())).await;
                return Err(error);
            }
        };

        let mut diagnostics = plan.diagnostics;
        diagnostics.merge(read.diagnostics);
        let totals = progress.totals();
        progress.tell(RunEvent::Progress(totals)).await;
        crash(CrashPoint::Landed);
        let notes = plan.notes.into_iter().chain(gone).chain(table.notes()).collect();
        let (reached, window) = (plan.reached, plan.window);
        let schema = table.schema();
        let mut landed =
            Landed { files: read.files, totals, diagnostics, notes, schema, reached, window, ..Landed::default() };
        if let Some(verified) = read.verified {
            landed.compared(verified);
        }
        Ok(share.completed(landed))
    }

    /// What earlier attempts have left, without what is not there any more (somebody cleared up): that is read again.
    async fn still_there(&self, job: &RunJob) -> Result<(Option<Resume>, Option<String>), JobError> {
        let Some(mut resume) = job.resume.clone() else { return Ok((None, None)) };
        if self.has(job, &resume).await? {
            return Ok((Some(resume), None));
        }
        let kept = std::mem::take(&mut resume.kept);
        let before = kept.len();
        for split in kept {
            if self.lake.has(&job.location, &split.files).await.map_err(of_lake)? {
                resume.kept.push(split);
            }
        }
        let gone = before - resume.kept.len();
        let note = format!("{gone} key ranges were read again: their files were not in the lake any more");
        Ok((Some(resume), (gone > 0).then_some(note)))
    }

    /// Makes sure that what was kept is of the types that the table had when it was opened: another flow may have widened
    /// them since [`Engine::still_there`]. The plan has counted on what was kept, so that only another attempt can read it
    /// again.
    async fn still_fit(&self, job: &RunJob, resume: Option<&Resume>) -> Result<(), JobError> {
        match resume {
            Some(resume) if !self.has(job, resume).await? => Err(JobError::Transient(
                Failure {
                    stage: Stage::Lake,
                    message: format!(
                        "{} was changed by another flow while an attempt went on with what is landed for it",
                        job.location
                    ),
                    hint: None,
                },
                Retry::Again,
            )),
            _ => Ok(()),
        }
    }

    /// Whether everything that was kept can be committed.
    async fn has(&self, job: &RunJob, resume: &Resume) -> Result<bool, JobError> {
        let files: Vec<LandedFile> = resume.kept.iter().flat_map(|split| split.files.iter().cloned()).collect();
        if files.is_empty() { Ok(true) } else { self.lake.has(&job.location, &files).await.map_err(of_lake) }
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

    async fn plan(&self, job: &RunJob, resume: Option<Resume>, stop: CancellationToken) -> Result<OpenTable, JobError> {
        let comment = match &job.flow {
            Some((flow, run)) => format!("headwaters flow {flow} run {run}"),
            None => "headwaters copy".to_owned(),
        };
        let limits = ReadLimits {
            readers_max: u32::try_from(self.budget.readers_max)
                .unwrap_or(u32::MAX)
                .min(job.readers_max.unwrap_or(u32::MAX)),
            batch_rows_max: self.budget.batch_rows_max,
            batch_bytes_max: self.budget.batch_bytes_max,
            comment,
            freeze: job.options.consistency == Consistency::Split || resume.is_some(),
            resume,
            checksums: job.options.verify,
        };
        let source = self.source(job.source.spec)?;
        source.open(&job.source, &job.read, limits, stop).await.map_err(of_source)
    }

    pub(crate) fn source(&self, spec: SpecId) -> Result<&dyn Source, JobError> {
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
