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
//!
//! Under `options.commitPerSplit` a run passes steps 2 to 6 several times, each time for some key ranges of one plan and
//! with an ordinal of its own; all but the last time the offset that becomes pending is the old one, step 6 notes which
//! key ranges are in the table (`kept.rs`), and the run goes on. What follows a break is in `broken.rs`.

mod broken;
mod kept;
mod skip;

use std::time::Duration;

use headwaters_model::crash::CrashPoint;
use headwaters_model::job::{Committed, JobError, Landed, RunEvent, RunJob};
use headwaters_model::offset::Ordinal;
use headwaters_model::run::RunStatus;
use headwaters_store::{AttemptEnd, AttemptRecord, PendingCommit, Promotion, StoreError};
use metrics::counter;
use tokio::sync::mpsc;
use tracing::{Instrument as _, info, info_span, warn};

pub(crate) use self::broken::jitter;
use self::kept::{Begun, Heard, Hearing};
pub(crate) use self::skip::Skip;
use crate::assignment::Assignment;
use crate::crash;
use crate::error::CommandError;
use crate::notify::Fact;
use crate::patience;
use crate::progress::{LiveRun, Tracked, show_another_attempt};
use crate::recover::{Finding, disagreement};
use crate::retry::{self, ATTEMPTS_MAX};
use crate::settle::{Broke, Success};
use crate::steps::RunStep;
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
        live.begin_attempt();
        let executor = &self.control.ports.executor;
        let table = match RunStep::Look.of(executor.applied(on.location(), &on.app_id())).await {
            Ok(table) => table,
            Err(error) => return self.unseen(on, error, live).await,
        };
        match self.control.look(on, table).await? {
            Finding::Agree => {}
            Finding::Unsettled(pending) => return self.settle_left_behind(on, *pending).await,
            Finding::Disagree { store } => {
                let failure = disagreement(on.flow.id, &on.data_set.id, table, store);
                return self.stop(on, on.facts(), Broke::early(&failure)).await;
            }
        }
        let attempts = self.control.store.read(&on.run.scope).await?.attempts(on.run.id).await?;
        if retry::used(&attempts) >= ATTEMPTS_MAX {
            return self.stop(on, on.facts(), Broke::early(&retry::worn_out(&attempts))).await;
        }
        let Some(begun) = self.begin(on).await? else { return Ok(Step::Dropped) };
        if begun.attempt.base != table {
            // The offset moved between our look and our ordinal.
            return self.broke(on, &begun, JobError::Overtaken { found: table }, live).await;
        }
        crash::point(CrashPoint::AttemptBegun);
        let span = info_span!("attempt", ordinal = %begun.attempt.ordinal);
        match self.land_and_commit(on, &begun, live).instrument(span).await {
            Ok(step) => Ok(step),
            Err(Broken::Job(error)) => self.broke(on, &begun, error, live).await,
            Err(Broken::Store(StoreError::LeaseLost(_))) => Ok(Step::Dropped),
            Err(Broken::Store(error)) => {
                // The store that failed may fail again; then the attempt counts as one that died.
                let end = AttemptEnd { error: Some(error.to_string()), ..ended(live, begun.attempt.ordinal) };
                self.end(on, end).await.ok();
                Err(error.into())
            }
        }
    }

    /// Steps 3 to 6.
    async fn land_and_commit(&self, on: &Assignment, begun: &Begun, live: &LiveRun) -> Result<Step, Broken> {
        let (control, attempt) = (&self.control, &begun.attempt);
        if let Some(landed) = control.landed_by_kin(&on.run, &on.origin).await? {
            return self.leave_empty(on, attempt.ordinal, &landed).await;
        }
        let job = self.job(on, begun, live).await?;
        let (mut landed, heard) = self.land(on, begun, job.clone(), live).await?;
        crash::point(CrashPoint::LandedReported);
        info!(rows = landed.totals.rows_out, files = landed.files.len(), "the rows are landed");
        let (more, empty) = (landed.splits_left > 0, landed.files.is_empty());
        if more && empty {
            // Nothing becomes visible: the next attempt goes on with what is kept.
            return self.go_on(on, heard, ended(live, attempt.ordinal)).await;
        }
        let mut so_far = landed.totals;
        so_far.add(begun.visible.totals);
        on.check_rejected(&so_far).map_err(JobError::Definite)?;
        landed.notes.extend(self.notes(on, begun, &landed, live).await?);
        let pending = self.pending(on, begun, landed);
        if !empty {
            let stopped = live.cancel_token();
            let noted = patience::until_taken(&stopped, || Box::pin(self.put_pending(on, &pending)));
            RunStep::Pending.of(noted).await?;
        }
        crash::point(CrashPoint::PendingWritten);
        let mark = on.mark(attempt);
        let commit = control.ports.executor.commit(&job, &pending.landed, &mark);
        let committed = RunStep::Commit.of(commit).await?;
        info!(version = committed.version, "the commit is made");
        crash::point(CrashPoint::CommitReported);
        if more {
            control.settle_part(&on.run.scope, &pending, ended(live, attempt.ordinal)).await?;
            crash::point(CrashPoint::PartSettled);
            return Ok(Step::LookAgain);
        }
        let promotion = match empty {
            true => Promotion::Empty { base: attempt.base, next: pending.next.clone() },
            false => Promotion::Table(Some(attempt.ordinal)),
        };
        let end = ended(live, attempt.ordinal);
        let (landed, landed_at_ms) = (&pending.landed, pending.landed_at_ms);
        let success = Success { landed, landed_at_ms, committed, promotion, attempt: end };
        let closing = on.closing(on.facts_of(landed));
        RunStep::Settle.of(control.settle_success(&closing, &success)).await?;
        crash::point(CrashPoint::Settled);
        Ok(Step::Settled(RunStatus::Success))
    }

    /// Ends an attempt whose key ranges hold no row, while others are still to be read.
    async fn go_on(&self, on: &Assignment, heard: Heard, end: AttemptEnd) -> Result<Step, Broken> {
        if let Some(unkept) = heard.unkept {
            return Err(unkept.into());
        }
        self.end(on, end).await?;
        Ok(Step::LookAgain)
    }

    /// Ends a run that repeats another whose rows have landed after all: it reads nothing and commits nothing.
    async fn leave_empty(&self, on: &Assignment, ordinal: Ordinal, landed: &Landed) -> Result<Step, Broken> {
        let success = Success {
            landed,
            landed_at_ms: self.control.clock.now_ms(),
            committed: Committed { version: None, ordinal: None },
            promotion: Promotion::Unchanged,
            attempt: AttemptEnd::of(ordinal),
        };
        self.control.settle_success(&on.closing(on.facts_of(landed)), &success).await?;
        Ok(Step::Settled(RunStatus::Success))
    }

    /// Takes the flow's next ordinal, and what there is to go on with; none when the run is not ours any more.
    async fn begin(&self, on: &Assignment) -> Result<Option<Begun>, CommandError> {
        let mut tx = self.control.store.write(&on.run.scope).await?;
        match tx.begin_attempt(&on.run, &self.owner, &on.data_set.id, self.control.clock.now_ms()).await {
            Ok(attempt) => {
                let begun = Begun::of(&mut tx, on, attempt).await?;
                match begun.attempt.number {
                    1 => self.control.tell(&mut tx, Fact::Begun, &on.run).await?,
                    _ => show_another_attempt(&mut tx, &on.run).await?,
                }
                tx.commit().await?;
                counter!("headwaters_attempts_total").increment(1);
                info!(ordinal = %begun.attempt.ordinal, number = begun.attempt.number, "an attempt begins");
                Ok(Some(begun))
            }
            Err(StoreError::LeaseLost(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Everything that the data plane needs; the secrets are opened here, last of all.
    async fn job(&self, on: &Assignment, begun: &Begun, live: &LiveRun) -> Result<RunJob, JobError> {
        on.check_in_use().and_then(|()| on.check_mapping()).map_err(JobError::Definite)?;
        let attempt = &begun.attempt;
        let prepared = async {
            let access = self.control.access_of(on).await?;
            let mut read = on.read(attempt, &self.control.settings)?;
            let earlier = self.earlier(on, attempt.ordinal).await?;
            read.splits = retry::splits(read.splits, &earlier);
            let resume = begun.kept.as_ref().map(|kept| kept.resume.clone());
            let job = on.job(access, read, on.mark(attempt));
            Ok(RunJob { readers_max: retry::readers_max(&earlier), resume, ..job })
        };
        let stopped = live.cancel_token();
        tokio::select! {
            () = stopped.cancelled() => Err(JobError::Cancelled),
            prepared = prepared => prepared.map_err(|error: CommandError| retry::unprepared(&error)),
        }
    }

    /// Lands the rows while the events of the attempt are taken in.
    async fn land(
        &self,
        on: &Assignment,
        begun: &Begun,
        job: RunJob,
        live: &LiveRun,
    ) -> Result<(Landed, Heard), Broken> {
        let mut hearing = Hearing::new(self, on, begun, live);
        let (events, mut heard) = mpsc::channel::<RunEvent>(EVENTS_MAX);
        let mut landing = self.control.ports.executor.land(job, events, live.cancel_token());
        let landed = loop {
            tokio::select! {
                landed = &mut landing => break landed,
                Some(event) = heard.recv() => hearing.hear(event).await,
            }
        };
        // What was said before the end counts too.
        while let Ok(event) = heard.try_recv() {
            hearing.hear(event).await;
        }
        live.landing_ended();
        let heard = hearing.end(landed.is_err()).await;
        Ok((landed?, heard?))
    }

    /// What a person should know about the rows of an attempt, beside what the data plane says.
    async fn notes(
        &self,
        on: &Assignment,
        begun: &Begun,
        landed: &Landed,
        live: &LiveRun,
    ) -> Result<Vec<String>, StoreError> {
        let mut notes = Vec::new();
        if landed.totals.rows_out > 0 {
            notes.extend(self.control.overlap(&on.run, on.covered(landed)).await);
        }
        let earlier = self.earlier(on, begun.attempt.ordinal).await?;
        notes.extend(begun.notes(landed, &earlier));
        notes.extend(retry::moved(&earlier, live.attempt().server.as_deref()));
        Ok(notes)
    }

    /// What is about to be committed.
    fn pending(&self, on: &Assignment, begun: &Begun, landed: Landed) -> PendingCommit {
        PendingCommit {
            flow: on.flow.id,
            data_set: on.data_set.id.clone(),
            run: on.run.id,
            ordinal: begun.attempt.ordinal,
            base: begun.attempt.base,
            next: on.next_offset(&begun.attempt, &landed),
            landed_at_ms: self.control.clock.now_ms(),
            facts: on.facts_of(&landed),
            landed,
        }
    }

    /// Notes what is about to be committed, if the run is still ours.
    async fn put_pending(&self, on: &Assignment, pending: &PendingCommit) -> Result<(), StoreError> {
        let until = self.control.clock.now_ms().saturating_add(crate::worker::millis(self.control.settings.lease));
        if !self.control.store.heartbeat(on.run.id, &self.owner, until).await? {
            return Err(StoreError::LeaseLost(on.run.reference()));
        }
        let mut tx = self.control.store.write(&on.run.scope).await?;
        // Nothing becomes pending of a run that was closed, with its flow perhaps, since the heartbeat.
        tx.expect_lease(&on.run, &self.owner).await?;
        tx.put_pending(pending).await?;
        tx.commit().await
    }

    /// Settles a commit that another attempt has made and nobody has settled.
    async fn settle_left_behind(&self, on: &Assignment, pending: PendingCommit) -> Result<Step, CommandError> {
        let control = &self.control;
        let (ordinal, of_run) = (pending.ordinal, pending.run);
        warn!(%ordinal, %of_run, "an earlier attempt has committed; only its end is missing");
        if pending.landed.splits_left > 0 {
            let end = AttemptEnd { rows_in: pending.landed.totals.rows_in, ..AttemptEnd::of(ordinal) };
            control.settle_part(&on.run.scope, &pending, end).await?;
            return Ok(Step::LookAgain);
        }
        let committed = control.committed_as(on.location(), &pending).await;
        let success = Success::left_behind(&pending, committed);
        if pending.run == on.run.id {
            control.settle_success(&on.closing(on.facts_of(&pending.landed)), &success).await?;
            return Ok(Step::Settled(RunStatus::Success));
        }
        // An earlier run of the flow: as only one is at work, that one was closed.
        control.settle_late(&on.run.scope, &pending, &success).await?;
        Ok(Step::LookAgain)
    }

    /// The attempts of the run before this one.
    async fn earlier(&self, on: &Assignment, ordinal: Ordinal) -> Result<Vec<AttemptRecord>, StoreError> {
        let mut attempts = self.control.store.read(&on.run.scope).await?.attempts(on.run.id).await?;
        attempts.retain(|attempt| attempt.ordinal < ordinal);
        Ok(attempts)
    }

    async fn end(&self, on: &Assignment, end: AttemptEnd) -> Result<(), StoreError> {
        if let Some(retry) = end.retry {
            counter!("headwaters_retries_total", "retry" => retry.name()).increment(1);
        }
        let mut tx = self.control.store.write(&on.run.scope).await?;
        tx.end_attempt(on.flow.id, &end, self.control.clock.now_ms()).await?;
        show_another_attempt(&mut tx, &on.run).await?;
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

/// The end of the attempt that is under way, as nothing had broken it.
fn ended(live: &LiveRun, ordinal: Ordinal) -> AttemptEnd {
    let Tracked { rows_in, server, .. } = live.attempt();
    AttemptEnd { rows_in, server, ..AttemptEnd::of(ordinal) }
}
