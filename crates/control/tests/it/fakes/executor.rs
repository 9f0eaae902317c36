//! An engine over a lake in memory that does, step by step, what a test tells it.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering as Atomic};
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use headwaters_control::ports::Executor;
use headwaters_model::job::{
    Committed, Failure, JobError, Landed, LandedFile, ReadRequest, RunEvent, RunJob, Stage, Totals,
};
use headwaters_model::metrics::Window;
use headwaters_model::offset::{CommitMark, Ordinal, Standing};
use headwaters_model::source_error::Retry;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::{Cut, PASSWORD};

/// What happens when an attempt lands; the default lands three rows.
#[derive(Debug, Clone)]
pub(crate) enum Land {
    /// So many rows, of which so many are rejected.
    Rows(u64, u64),
    /// The key ranges that are missing of a plan, one row each.
    Cut(Cut),
    /// The attempt breaks.
    Breaks(JobError),
    /// It breaks after so many rows.
    BreaksAfter(u64, JobError),
    /// It goes on until it is cancelled.
    UntilCancelled,
    /// It stands still until it is told to go on, then lands three rows.
    Stalled(Arc<Notify>),
}

/// What happens when an attempt commits; the default commits.
#[derive(Debug, Clone)]
pub(crate) enum Commit {
    /// It commits, and the answer arrives.
    Answered,
    /// It commits, but the answer is lost.
    AnswerLost,
    /// It breaks before anything is in the log.
    Breaks(JobError),
    /// It stands still until it is told to go on, then commits.
    Stalled(Arc<Notify>),
    /// It commits, and stands still until it is told to go on.
    MadeThenStalled(Arc<Notify>),
    /// It stands still until it is told to go on, then breaks before anything is in the log.
    StalledThenBreaks(Arc<Notify>, JobError),
    /// It stands still until it is told to go on, then commits, but never answers.
    StalledThenNeverAnswers(Arc<Notify>),
    /// It stands still until it is told to go on, then commits, but the answer is lost.
    StalledThenAnswerLost(Arc<Notify>),
}

/// One table of the fake lake.
#[derive(Debug, Clone, Default)]
pub(crate) struct LakeTable {
    pub(crate) version: Option<u64>,
    pub(crate) rows: u64,
    pub(crate) marks: HashMap<String, Ordinal>,
    /// How many commits carried rows.
    pub(crate) commits: u64,
    /// Which moments they carried, where they were chosen by a delta column.
    pub(crate) windows: Vec<Window>,
    /// The files of all commits.
    pub(crate) files: Vec<String>,
}

/// An engine over a lake in memory, told what to do step by step.
#[derive(Default)]
pub(crate) struct FakeExecutor {
    tables: Mutex<HashMap<String, LakeTable>>,
    pub(crate) lands: Mutex<VecDeque<Land>>,
    pub(crate) commits: Mutex<VecDeque<Commit>>,
    foreign_marks: Mutex<HashMap<String, Ordinal>>,
    /// What attempts were told to read.
    pub(crate) reads: Mutex<Vec<ReadRequest>>,
    /// How many connections they were allowed.
    pub(crate) readers: Mutex<Vec<Option<u32>>>,
    /// Which key ranges each attempt has read, of those that read any.
    pub(crate) splits: Mutex<Vec<Vec<u32>>>,
    /// Whether the lake does not answer who asks for the last commit of a flow.
    pub(crate) away: AtomicBool,
    /// How often somebody asked.
    pub(crate) looks: AtomicUsize,
    /// How often an attempt began to land.
    pub(crate) landings: AtomicUsize,
    /// How often an attempt began to commit.
    pub(crate) commits_begun: AtomicUsize,
}

pub(crate) fn failure(stage: Stage, message: &str) -> Failure {
    Failure { stage, message: message.into(), hint: Some("look at the server's log".into()) }
}

pub(crate) fn lost() -> JobError {
    JobError::Transient(failure(Stage::Source, "the connection to db:3306 was lost"), Retry::Again)
}

impl FakeExecutor {
    pub(crate) fn on_land(&self, steps: impl IntoIterator<Item = Land>) {
        self.lands.lock().unwrap().extend(steps);
    }

    pub(crate) fn on_commit(&self, steps: impl IntoIterator<Item = Commit>) {
        self.commits.lock().unwrap().extend(steps);
    }

    /// The tables of the lake, as they stand.
    pub(crate) fn tables(&self) -> Vec<LakeTable> {
        self.tables.lock().unwrap().values().cloned().collect()
    }

    /// The only table of the lake, as it stands.
    pub(crate) fn table(&self) -> LakeTable {
        let mut tables = self.tables();
        assert!(tables.len() <= 1, "this test lands in one table");
        tables.pop().unwrap_or_default()
    }

    /// The lake answers that every table has this mark of the flow, whoever set it.
    pub(crate) fn mark_by_somebody_else(&self, app_id: &str, ordinal: i64) {
        self.foreign_marks.lock().unwrap().insert(app_id.to_owned(), Ordinal(ordinal));
    }

    fn try_commit(&self, job: &RunJob, landed: &Landed, mark: &CommitMark) -> Result<Committed, JobError> {
        let mut tables = self.tables.lock().unwrap();
        let table = tables.entry(job.location.clone()).or_default();
        match mark.standing(table.marks.get(&mark.app_id).copied()) {
            Standing::Overtaken { found } => return Err(JobError::Overtaken { found }),
            Standing::Applied => {}
            Standing::AtBase if landed.totals.rows_out == 0 => {
                table.version.get_or_insert(0);
                return Ok(Committed { version: None, ordinal: None });
            }
            Standing::AtBase => {
                table.version = Some(table.version.map_or(0, |version| version + 1));
                table.rows += landed.totals.rows_out;
                table.commits += 1;
                table.windows.extend(landed.window);
                table.files.extend(landed.files.iter().map(|file| file.path.clone()));
                table.marks.insert(mark.app_id.clone(), mark.ordinal);
            }
        }
        Ok(Committed { version: table.version, ordinal: Some(mark.ordinal) })
    }
}

impl Executor for FakeExecutor {
    fn applied<'a>(&'a self, location: &'a str, app_id: &'a str) -> BoxFuture<'a, Result<Option<Ordinal>, JobError>> {
        self.looks.fetch_add(1, Atomic::SeqCst);
        if self.away.load(Atomic::SeqCst) {
            let away = JobError::Transient(failure(Stage::Lake, "the lake does not answer"), Retry::Again);
            return Box::pin(async move { Err(away) });
        }
        let known = self.tables.lock().unwrap().get(location).and_then(|table| table.marks.get(app_id).copied());
        let last = known.or_else(|| self.foreign_marks.lock().unwrap().get(app_id).copied());
        Box::pin(async move { Ok(last) })
    }

    fn land<'a>(
        &'a self,
        job: RunJob,
        events: mpsc::Sender<RunEvent>,
        cancel: CancellationToken,
    ) -> BoxFuture<'a, Result<Landed, JobError>> {
        Box::pin(async move {
            let password = job.source.secrets.iter().find(|(key, _)| key == "password").map(|(_, s)| s.expose());
            assert_eq!(password, Some(PASSWORD), "the job brings the secret in clear");
            self.reads.lock().unwrap().push(job.read.clone());
            self.readers.lock().unwrap().push(job.readers_max);
            self.landings.fetch_add(1, Atomic::SeqCst);
            let step = self.lands.lock().unwrap().pop_front().unwrap_or(Land::Rows(3, 0));
            if let Some(Err(refused)) = job.read.delta.as_ref().map(super::increment::check) {
                return Err(JobError::Definite(failure(Stage::Source, &refused.to_string())));
            }
            if let Some((reached, window)) = super::increment::planned(job.read.delta.as_ref()) {
                events.send(RunEvent::Bounded { reached, window }).await.ok();
            }
            if let Land::Cut(cut) = step {
                let mut read = Vec::new();
                let landed = super::plan::land(cut, &job, &events, &mut read).await;
                self.splits.lock().unwrap().push(read);
                return landed;
            }
            let landed = land(step, events, cancel).await?;
            Ok(super::increment::within(job.read.delta.as_ref(), landed))
        })
    }

    fn commit<'a>(
        &'a self,
        job: &'a RunJob,
        landed: &'a Landed,
        mark: &'a CommitMark,
    ) -> BoxFuture<'a, Result<Committed, JobError>> {
        Box::pin(async move {
            let step = self.commits.lock().unwrap().pop_front().unwrap_or(Commit::Answered);
            self.commits_begun.fetch_add(1, Atomic::SeqCst);
            match step {
                Commit::Answered => self.try_commit(job, landed, mark),
                Commit::AnswerLost => {
                    self.try_commit(job, landed, mark)?;
                    Err(JobError::Transient(failure(Stage::Lake, "the answer of the commit was lost"), Retry::Again))
                }
                Commit::Breaks(error) => Err(error),
                Commit::MadeThenStalled(go_on) => {
                    let committed = self.try_commit(job, landed, mark);
                    go_on.notified().await;
                    committed
                }
                Commit::StalledThenBreaks(go_on, error) => {
                    go_on.notified().await;
                    Err(error)
                }
                Commit::StalledThenNeverAnswers(go_on) => {
                    go_on.notified().await;
                    self.try_commit(job, landed, mark)?;
                    std::future::pending().await
                }
                Commit::StalledThenAnswerLost(go_on) => {
                    go_on.notified().await;
                    self.try_commit(job, landed, mark)?;
                    Err(JobError::Transient(failure(Stage::Lake, "the answer of the commit was lost"), Retry::Again))
                }
                Commit::Stalled(go_on) => {
                    go_on.notified().await;
                    self.try_commit(job, landed, mark)
                }
            }
        })
    }
}

async fn land(step: Land, events: mpsc::Sender<RunEvent>, cancel: CancellationToken) -> Result<Landed, JobError> {
    let planned = RunEvent::Planned { splits: 1, readers: 1, rows_estimate: None, frozen: None };
    events.send(planned).await.ok();
    match step {
        Land::Rows(rows, rejected) => {
            let totals = Totals {
                rows_in: rows,
                rows_out: rows - rejected,
                rows_rejected: rejected,
                bytes_in: rows * 10,
                bytes_out: rows * 5,
            };
            events.send(RunEvent::Progress(totals)).await.ok();
            let file = LandedFile {
                path: "part-0.parquet".into(),
                size_bytes: totals.bytes_out,
                rows: totals.rows_out,
                modified_at_ms: 1,
                stats: None,
            };
            let files = if totals.rows_out > 0 { vec![file] } else { Vec::new() };
            Ok(Landed { files, totals, ..Landed::default() })
        }
        Land::Cut(_) => unreachable!("lands by its plan"),
        Land::Breaks(error) => Err(error),
        Land::BreaksAfter(rows, error) => {
            let totals = Totals { rows_in: rows, rows_out: rows, bytes_in: rows * 10, ..Totals::default() };
            events.send(RunEvent::Progress(totals)).await.ok();
            Err(error)
        }
        Land::Stalled(go_on) => {
            go_on.notified().await;
            Box::pin(land(Land::Rows(3, 0), events, cancel)).await
        }
        Land::UntilCancelled => {
            let totals = Totals { rows_in: 2, rows_out: 2, bytes_in: 20, ..Totals::default() };
            events.send(RunEvent::Progress(totals)).await.ok();
            cancel.cancelled().await;
            Err(JobError::Cancelled)
        }
    }
}
