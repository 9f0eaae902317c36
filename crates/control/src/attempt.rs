//! One attempt of a run: look, take an ordinal, land, note what is pending, commit, settle.
//!
//! **Invariant** (docs/architecture.md, section 4). In this order, and never otherwise:
//!
//! 1. the table's last ordinal of the flow is compared with the stored offset; a commit that was made and not settled
//!    is settled first (`recover.rs`);
//! 2. the attempt takes the flow's next ordinal, bound to the offset that stands: its base;
//! 3. the rows are landed; nothing of them is visible;
//! 4. the pending offset is stored under (flow, data set, ordinal) with all that the run's record needs;
//! 5. the lake commits under the mark, only while its last ordinal is still the base;
//! 6. the run is settled with exactly the table's ordinal.
//!
//! A crash between any two of them leaves either nothing in the table and a pending row that can never be promoted,
//! or a commit that step 1 of the next attempt explains. Steps 4 to 6 are passed only once per ordinal.

use std::time::Duration;

use headwaters_model::crash::CrashPoint;
use headwaters_model::job::{Committed, Failure, JobError, Landed, RunEvent, RunJob, Totals};
use headwaters_model::offset::{CommitMark, Ordinal};
use headwaters_model::run::RunStatus;
use headwaters_store::{Attempt, AttemptEnd, PendingCommit, Promotion, StoreError};
use metrics::counter;
use tokio::sync::mpsc;
use tracing::{info, warn};

use crate::assignment::Assignment;
use crate::crash;
use crate::error::CommandError;
use crate::progress::{LiveRun, StopReason};
use crate::recover::{Finding, disagreement};
use crate::retry::{self, ATTEMPTS_MAX, Next};
use crate::settle::Success;
use crate::worker::Shift;

/// How many events of an attempt may wait to be read.
const EVENTS_MAX: usize = 64;

/// What follows an attempt.
#[derive(Debug)]
pub(crate) enum Step {
    /// The run is over.
    Settled(RunStatus),
    /// Look at the table again at once.
    LookAgain,
    /// Another attempt, not before this time has passed.
    Later(Duration),
    /// Somebody else goes on, at once.
    Released,
    /// The run is not ours any more.
    Dropped,
}

impl Shift {
    /// Makes one attempt.
    pub(crate) async fn attempt(&self, on: &Assignment, live: &LiveRun) -> Result<Step, CommandError> {
        let executor = &self.control.ports.executor;
        let table = match executor.applied(on.location(), &on.app_id()).await {
            Ok(table) => table,
            Err(error) => {
                let Some(attempt) = self.begin(on).await? else { return Ok(Step::Dropped) };
                return self.broke(on, &attempt, error, live).await;
            }
        };
        match self.control.look(on, table).await? {
            Finding::Agree => {}
            Finding::Unsettled(pending) => return self.settle_left_behind(on, *pending).await,
            Finding::Disagree { store } => {
                let failure = disagreement(on.flow.id, &on.data_set.id, table, store);
                return self.stop(on, &failure, &Totals::default(), None).await;
            }
        }
        if self.attempts_used(on).await? >= ATTEMPTS_MAX {
            return self.stop(on, &retry::worn_out(), &Totals::default(), None).await;
        }
        let Some(attempt) = self.begin(on).await? else { return Ok(Step::Dropped) };
        if attempt.base != table {
            // The offset moved between our look and our ordinal.
            return self.broke(on, &attempt, JobError::Overtaken { found: table }, live).await;
        }
        crash::point(CrashPoint::AttemptBegun);
        match self.land_and_commit(on, &attempt, live).await {
            Ok(step) => Ok(step),
            Err(Broken::Job(error)) => self.broke(on, &attempt, error, live).await,
            Err(Broken::Store(StoreError::LeaseLost(_))) => Ok(Step::Dropped),
            Err(Broken::Store(error)) => {
                // The store that failed may fail again; then the attempt counts as one that died.
                self.end(on, attempt.ordinal, Some(error.to_string())).await.ok();
                Err(error.into())
            }
        }
    }

    /// Steps 3 to 6.
    async fn land_and_commit(&self, on: &Assignment, attempt: &Attempt, live: &LiveRun) -> Result<Step, Broken> {
        let control = &self.control;
        let mark = on.mark(attempt);
        if let Some(landed) = control.landed_by_kin(&on.run).await? {
            return self.leave_empty(on, attempt, &landed).await;
        }
        let job = self.job(on, mark.clone(), live).await?;
        let mut landed = self.land(job.clone(), live).await?;
        crash::point(CrashPoint::LandedReported);
        if landed.totals.rows_out > 0 {
            landed.notes.extend(control.overlap(&on.run, on.windowed()).await);
        }
        if attempt.number > 1 {
            landed
                .notes
                .push(format!("read at attempt {}: the ones before it broke or were cut short", attempt.number));
        }
        on.check_rejected(&landed.totals).map_err(JobError::Definite)?;
        let landed_at_ms = control.clock.now_ms();
        let empty = landed.files.is_empty();
        if !empty {
            self.put_pending(on, attempt, &landed, landed_at_ms).await?;
        }
        crash::point(CrashPoint::PendingWritten);
        let committed = control.ports.executor.commit(&job, &landed, &mark).await?;
        crash::point(CrashPoint::CommitReported);
        let promotion = if empty {
            Promotion::Empty { base: attempt.base, next: on.next_offset(attempt) }
        } else {
            Promotion::Table(Some(attempt.ordinal))
        };
        let attempt = AttemptEnd { ordinal: attempt.ordinal, error: None };
        let success = Success { landed: &landed, landed_at_ms, committed, promotion, attempt };
        control.settle_success(&on.closing(), &success).await?;
        crash::point(CrashPoint::Settled);
        count(&landed.totals);
        Ok(Step::Settled(RunStatus::Success))
    }

    /// Ends a run that repeats another whose rows have landed after all: it reads nothing and commits nothing.
    async fn leave_empty(&self, on: &Assignment, attempt: &Attempt, landed: &Landed) -> Result<Step, Broken> {
        let success = Success {
            landed,
            landed_at_ms: self.control.clock.now_ms(),
            committed: Committed { version: None, ordinal: None },
            promotion: Promotion::Unchanged,
            attempt: AttemptEnd { ordinal: attempt.ordinal, error: None },
        };
        self.control.settle_success(&on.closing(), &success).await?;
        Ok(Step::Settled(RunStatus::Success))
    }

    /// Takes the flow's next ordinal; none when the run is not ours any more.
    async fn begin(&self, on: &Assignment) -> Result<Option<Attempt>, CommandError> {
        let mut tx = self.control.store.write(&on.run.scope).await?;
        match tx.begin_attempt(&on.run, &self.owner, &on.data_set.id, self.control.clock.now_ms()).await {
            Ok(attempt) => {
                tx.commit().await?;
                counter!("headwaters_attempts_total").increment(1);
                info!(ordinal = %attempt.ordinal, number = attempt.number, "an attempt begins");
                Ok(Some(attempt))
            }
            Err(StoreError::LeaseLost(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Everything that the data plane needs; the secrets are opened here, last of all.
    async fn job(&self, on: &Assignment, mark: CommitMark, live: &LiveRun) -> Result<RunJob, JobError> {
        on.check_in_use().and_then(|()| on.check_mapping()).map_err(JobError::Definite)?;
        let prepared = async {
            let access = self.control.access_of(on).await?;
            let read = self.control.read_of(on, &access).await?;
            Ok(on.job(access, read, mark))
        };
        let stopped = live.cancel_token();
        tokio::select! {
            () = stopped.cancelled() => Err(JobError::Cancelled),
            prepared = prepared => prepared.map_err(|error: CommandError| retry::unprepared(&error)),
        }
    }

    /// Lands the rows while the events of the attempt are taken in.
    async fn land(&self, job: RunJob, live: &LiveRun) -> Result<Landed, JobError> {
        let (events, mut heard) = mpsc::channel::<RunEvent>(EVENTS_MAX);
        let mut landing = self.control.ports.executor.land(job, events, live.cancel_token());
        let landed = loop {
            tokio::select! {
                landed = &mut landing => break landed,
                Some(event) = heard.recv() => live.record(&event),
            }
        };
        // What was said before the end counts too.
        while let Ok(event) = heard.try_recv() {
            live.record(&event);
        }
        landed
    }

    /// Notes what is about to be committed, if the run is still ours.
    async fn put_pending(
        &self,
        on: &Assignment,
        attempt: &Attempt,
        landed: &Landed,
        landed_at_ms: i64,
    ) -> Result<(), Broken> {
        let until = self.control.clock.now_ms().saturating_add(crate::worker::millis(self.control.settings.lease));
        if !self.control.store.heartbeat(on.run.id, &self.owner, until).await? {
            return Err(StoreError::LeaseLost(on.run.reference()).into());
        }
        let pending = PendingCommit {
            flow: on.flow.id,
            data_set: on.data_set.id.clone(),
            run: on.run.id,
            ordinal: attempt.ordinal,
            base: attempt.base,
            next: on.next_offset(attempt),
            landed: landed.clone(),
            landed_at_ms,
            facts: on.facts(),
        };
        let mut tx = self.control.store.write(&on.run.scope).await?;
        // Nothing becomes pending of a run that was closed, with its flow perhaps, since the heartbeat.
        tx.expect_lease(&on.run, &self.owner).await?;
        tx.put_pending(&pending).await?;
        Ok(tx.commit().await?)
    }

    /// Settles a commit that another attempt has made and nobody has settled.
    async fn settle_left_behind(&self, on: &Assignment, pending: PendingCommit) -> Result<Step, CommandError> {
        let control = &self.control;
        let (ordinal, of_run) = (pending.ordinal, pending.run);
        warn!(%ordinal, %of_run, "an earlier attempt has committed; only its end is missing");
        let committed = control.committed_as(on.location(), &pending).await;
        let success = Success::left_behind(&pending, committed);
        if pending.run == on.run.id {
            control.settle_success(&on.closing(), &success).await?;
            count(&pending.landed.totals);
            return Ok(Step::Settled(RunStatus::Success));
        }
        // An earlier run of the flow: as only one is at work, that one was closed.
        control.settle_late(&on.run.scope, &pending, &success).await?;
        count(&pending.landed.totals);
        Ok(Step::LookAgain)
    }

    /// Decides what follows a broken attempt.
    async fn broke(
        &self,
        on: &Assignment,
        attempt: &Attempt,
        error: JobError,
        live: &LiveRun,
    ) -> Result<Step, CommandError> {
        let ordinal = attempt.ordinal;
        match live.stop_reason() {
            // Its flow is gone, and with it everybody who would look at the table again: the commit may have been made.
            Some(StopReason::Cancelled) => return self.cancelled(on, ordinal).await,
            // Whoever works on the run now looks at the table first.
            Some(StopReason::LeaseLost) => {
                self.end(on, ordinal, Some("cancelled".to_owned())).await?;
                return Ok(Step::Dropped);
            }
            Some(StopReason::Shutdown) => {
                self.end(on, ordinal, None).await?;
                return Ok(Step::Released);
            }
            None => {}
        }
        let used = self.attempts_used(on).await?;
        match self.commit_in_doubt(on, used).await? {
            Some(Step::LookAgain) => {
                self.end(on, ordinal, Some(format!("{error}; its commit is in the table"))).await?;
                return Ok(Step::LookAgain);
            }
            Some(later) => {
                self.end(on, ordinal, Some(error.to_string())).await?;
                return Ok(later);
            }
            None => {}
        }
        match retry::after(error, used, jitter()) {
            Next::Again { after, because } => {
                let pause_ms = after.as_millis();
                warn!(%ordinal, error = because.message, pause_ms, "the attempt broke, another follows");
                self.end(on, ordinal, Some(because.message)).await?;
                Ok(Step::Later(after))
            }
            Next::LookAgain { because } => {
                self.end(on, ordinal, Some(because.message)).await?;
                Ok(Step::LookAgain)
            }
            Next::Stop(failure) => {
                let end = AttemptEnd { ordinal, error: Some(failure.message.clone()) };
                self.stop(on, &failure, &live.totals(), Some(end)).await
            }
        }
    }

    /// Leaves a run that was closed because its flow was deleted, with its record corrected if the attempt has committed
    /// all the same. When the lake does not answer now, `reconcile.rs` asks again.
    async fn cancelled(&self, on: &Assignment, ordinal: Ordinal) -> Result<Step, CommandError> {
        let mut tx = self.control.store.read(&on.run.scope).await?;
        let pending = tx.pending(on.flow.id, &on.data_set.id).await?;
        drop(tx);
        if pending.iter().any(|row| row.ordinal == ordinal)
            && let Ok(table) = self.control.ports.executor.applied(on.location(), &on.app_id()).await
            && let Finding::Unsettled(pending) = self.control.look(on, table).await?
        {
            return self.settle_left_behind(on, *pending).await;
        }
        self.end(on, ordinal, Some("cancelled".to_owned())).await?;
        Ok(Step::Dropped)
    }

    /// What to do first when an attempt broke after its offset became pending: its commit may have been made, and a run
    /// is never closed as failed before the table was asked. None when there is no doubt.
    async fn commit_in_doubt(&self, on: &Assignment, used: u32) -> Result<Option<Step>, CommandError> {
        let mut tx = self.control.store.read(&on.run.scope).await?;
        let pending = tx.pending(on.flow.id, &on.data_set.id).await?;
        drop(tx);
        if pending.iter().all(|row| row.run != on.run.id) {
            return Ok(None);
        }
        let Ok(table) = self.control.ports.executor.applied(on.location(), &on.app_id()).await else {
            return Ok(Some(Step::Later(retry::pause(used, 1.0))));
        };
        let finding = self.control.look(on, table).await?;
        Ok(matches!(finding, Finding::Unsettled(_)).then_some(Step::LookAgain))
    }

    /// Closes the run as failed.
    async fn stop(
        &self,
        on: &Assignment,
        failure: &Failure,
        so_far: &Totals,
        attempt: Option<AttemptEnd>,
    ) -> Result<Step, CommandError> {
        warn!(error = failure.message, "the run can not be brought to its end");
        let ended = attempt.clone();
        match self.control.settle_failure(&on.closing(), &self.owner, failure, so_far, attempt).await {
            Ok(()) => Ok(Step::Settled(RunStatus::Failed)),
            // It was closed, or taken over, by somebody else meanwhile: only our attempt has failed.
            Err(StoreError::Outdated(_) | StoreError::LeaseLost(_)) => {
                if let Some(AttemptEnd { ordinal, error }) = ended {
                    self.end(on, ordinal, error).await?;
                }
                Ok(Step::Dropped)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn attempts_used(&self, on: &Assignment) -> Result<u32, StoreError> {
        Ok(retry::used(&self.control.store.read(&on.run.scope).await?.attempts(on.run.id).await?))
    }

    async fn end(&self, on: &Assignment, ordinal: Ordinal, error: Option<String>) -> Result<(), StoreError> {
        let mut tx = self.control.store.write(&on.run.scope).await?;
        tx.end_attempt(on.flow.id, &AttemptEnd { ordinal, error }, self.control.clock.now_ms()).await?;
        tx.commit().await
    }
}

/// What stops an attempt before its run is settled.
enum Broken {
    Job(JobError),
    Store(StoreError),
}

impl From<JobError> for Broken {
    fn from(error: JobError) -> Self {
        Self::Job(error)
    }
}

impl From<StoreError> for Broken {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

fn count(totals: &Totals) {
    counter!("headwaters_rows_in_total").increment(totals.rows_in);
    counter!("headwaters_rows_out_total").increment(totals.rows_out);
    counter!("headwaters_rows_rejected_total").increment(totals.rows_rejected);
    counter!("headwaters_bytes_in_total").increment(totals.bytes_in);
    counter!("headwaters_bytes_out_total").increment(totals.bytes_out);
}

/// A fraction between 0 and 1.
fn jitter() -> f64 {
    let mut bytes = [0; 4];
    // Without random bits the pause is the longest one, which does no harm.
    aws_lc_rs::rand::fill(&mut bytes).map_or(1.0, |()| f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX))
}
