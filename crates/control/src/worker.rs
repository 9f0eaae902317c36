//! Claims due runs and carries them out, several at a time, until it is told to stop.
//!
//! **Invariant.** A lease saves work, not correctness: whoever works on a run, and however often, what reaches the
//! table is decided by ordinals (`attempt.rs`). So a worker may die at any point, and may wake up late.

use std::time::{Duration, Instant};

use futures::future::{Either, select};
use headwaters_model::crash::CrashPoint;
use headwaters_model::id::RunId;
use headwaters_model::job::Totals;
use headwaters_model::metrics::show_counters;
use headwaters_model::run::{Run, RunStatus};
use headwaters_store::{Claim, StoreError};
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, histogram};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, error, info, info_span, warn};

use crate::Control;
use crate::assignment::Assignment;
use crate::attempt::Step;
use crate::crash;
use crate::error::CommandError;
use crate::progress::{LiveRun, StopReason};
use crate::{notify, steps};

/// How long a run may take to stop once it was told to.
const CANCEL_PATIENCE: Duration = Duration::from_secs(10);
/// How long a worker leaves a run alone that it could not work on because of a fault of ours.
const FAULT_PAUSE_MS: i64 = 10_000;

/// Carries out runs.
pub struct Worker {
    control: Control,
    /// Ends the time that runs get after the order to stop.
    hurry: CancellationToken,
}

/// How a worker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerExit {
    /// How many runs were cut short; another worker, or the next start, goes on with them.
    pub cut_short: usize,
}

impl Worker {
    /// A worker for the runs of this control.
    #[must_use]
    pub fn new(control: Control) -> Self {
        describe_metrics();
        Self { control, hurry: CancellationToken::new() }
    }

    /// The same with a token that ends the drain time early: runs under way are then cut short at once and handed over.
    #[must_use]
    pub fn hurried_by(self, hurry: CancellationToken) -> Self {
        Self { hurry, ..self }
    }

    /// Works until the token is cancelled, then drains: no new claims, runs in progress get the drain time, then they
    /// are cancelled and their leases released (docs/architecture.md, section 8).
    pub async fn run(self, shutdown: CancellationToken) -> WorkerExit {
        let mut runs = JoinSet::new();
        // Dropped, and with it stopped, with the worker.
        let mut chores = JoinSet::new();
        chores.spawn(self.control.clone().keep_reconciled());
        chores.spawn(self.control.clone().keep_audit_short());
        chores.spawn(self.control.clone().keep_cared_for());
        chores.spawn(self.control.clone().keep_counted());
        // What ends while the worker drains is told too.
        let mut telling = JoinSet::new();
        telling.spawn(self.control.clone().keep_telling());
        while !shutdown.is_cancelled() {
            if let Err(error) = self.fill(&mut runs).await {
                error!(error = &error as &dyn std::error::Error, "could not look for due runs");
            }
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = self.control.wake.notified() => {}
                () = sleep(self.control.settings.poll) => {}
                Some(ended) = runs.join_next() => log_panic(ended),
            }
        }
        chores.shutdown().await;
        let exit = self.drain(runs).await;
        telling.shutdown().await;
        exit
    }

    /// Makes runs of what is due, and claims as many as there is room for.
    async fn fill(&self, runs: &mut JoinSet<()>) -> Result<(), StoreError> {
        let control = &self.control;
        control.schedule_due().await?;
        while runs.len() < control.settings.runs_at_once {
            let lease_ms = millis(control.settings.lease);
            // Every claim has a name of its own: whoever claims a run again, even we, is somebody else.
            let owner = RunId::mint().to_string();
            let in_hand = control.live.runs();
            let claimed = control.store.claim_run(&owner, &in_hand, control.clock.now_ms(), lease_ms).await?;
            let Some(claim) = claimed else { break };
            crash::point(CrashPoint::Claimed);
            let span = info_span!("run", flow = %claim.run.body.flow_id, run = %claim.run.id);
            let shift = Shift { control: control.clone(), owner };
            runs.spawn(async move { shift.work_on(claim).await }.instrument(span));
        }
        Ok(())
    }

    async fn drain(&self, mut runs: JoinSet<()>) -> WorkerExit {
        let finish = async |runs: &mut JoinSet<()>| {
            while let Some(ended) = runs.join_next().await {
                log_panic(ended);
            }
        };
        let in_time = tokio::select! {
            ended = timeout(self.control.settings.drain, finish(&mut runs)) => ended.is_ok(),
            () = self.hurry.cancelled() => false,
        };
        if in_time || runs.is_empty() {
            return WorkerExit { cut_short: 0 };
        }
        let cut_short = runs.len();
        warn!(cut_short, "runs did not end in time and are cut short; they go on after the next start");
        self.control.live.stop_all(StopReason::Shutdown);
        if timeout(CANCEL_PATIENCE, finish(&mut runs)).await.is_err() {
            warn!("runs did not stop when told to; their leases end by themselves");
            runs.shutdown().await;
        }
        WorkerExit { cut_short }
    }
}

/// The work on one run.
pub(crate) struct Shift {
    pub(crate) control: Control,
    /// Under which name it holds the lease.
    pub(crate) owner: String,
}

impl Shift {
    /// Works on a claimed run until it is settled, or until somebody else is to go on with it.
    async fn work_on(&self, claim: Claim) {
        let begun = Instant::now();
        let run = claim.run.id;
        note_claim(&claim, self.control.clock.now_ms());
        let live = self.control.live.enter(claim.run.body.flow_id, run);
        let worked = self.work_with_heartbeat(claim, &live).await;
        if let Err(CommandError::Missing(gone)) = &worked {
            info!(%gone, "the run is not worked on: what it needs was deleted");
        } else if let Err(error) = worked {
            counter!("headwaters_run_faults_total").increment(1);
            error!(error = &error as &dyn std::error::Error, "could not work on the run; it is tried again later");
            let until = self.control.clock.now_ms().saturating_add(FAULT_PAUSE_MS);
            self.control.store.heartbeat(run, &self.owner, until).await.ok();
        }
        histogram!("headwaters_run_seconds").record(begun.elapsed());
        // There is room for another one.
        self.control.wake.notify_one();
    }

    async fn work_with_heartbeat(&self, claim: Claim, live: &LiveRun) -> Result<(), CommandError> {
        let on = self.control.assignment(claim).await?;
        let work = std::pin::pin!(self.work(&on, live));
        let beats = std::pin::pin!(self.beat(&on, live));
        match select(work, beats).await {
            Either::Left((done, _)) => done,
            // The heart has stopped because the lease is lost, and has told the work to stop.
            Either::Right(((), work)) => work.await,
        }
    }

    async fn work(&self, on: &Assignment, live: &LiveRun) -> Result<(), CommandError> {
        loop {
            let step = self.attempt(on, live).await;
            counter!("headwaters_attempts_ended_total", "outcome" => outcome(&step)).increment(1);
            match step? {
                Step::LookAgain => {}
                Step::Settled(status) => {
                    counter!("headwaters_runs_total", "outcome" => status.name()).increment(1);
                    info!(%status, "the run is over");
                    return Ok(());
                }
                Step::Later(pause) => {
                    // The end of the lease is the earliest moment of the next attempt, by whomever.
                    let until = self.control.clock.now_ms().saturating_add(millis(pause));
                    self.control.store.heartbeat(on.run.id, &self.owner, until).await?;
                    return Ok(());
                }
                Step::Released => {
                    self.control.store.release(on.run.id, &self.owner).await?;
                    return Ok(());
                }
                Step::Dropped => return Ok(()),
            }
        }
    }

    /// Prolongs the lease every third of it and writes the counters down now and then; returns when the lease is lost.
    async fn beat(&self, on: &Assignment, live: &LiveRun) {
        let settings = &self.control.settings;
        let (mut last_beat, mut last_write) = (Instant::now(), Instant::now());
        let mut written = Totals::default();
        loop {
            sleep((settings.lease / 3).min(settings.progress_write)).await;
            if last_beat.elapsed() >= settings.lease / 3 {
                let until = self.control.clock.now_ms().saturating_add(millis(settings.lease));
                match self.control.store.heartbeat(on.run.id, &self.owner, until).await {
                    Ok(true) => last_beat = Instant::now(),
                    Ok(false) => {
                        warn!("the lease of the run is lost");
                        return live.stop(StopReason::LeaseLost);
                    }
                    // The store may answer again before the lease ends.
                    Err(error) => warn!(error = &error as &dyn std::error::Error, "could not prolong the lease"),
                }
            }
            let now = live.totals();
            // Between two attempts there is nothing to show.
            if last_write.elapsed() >= settings.progress_write && now != written && now != Totals::default() {
                if let Err(error) = self.write_progress(on, now).await {
                    warn!(error = &error as &dyn std::error::Error, "could not write the counters of the run");
                }
                (written, last_write) = (now, Instant::now());
            }
        }
    }

    /// Shows the counters to readers that ask another process.
    async fn write_progress(&self, on: &Assignment, totals: Totals) -> Result<(), StoreError> {
        let mut tx = self.control.store.write(&on.run.scope).await?;
        let Some(mut run) = tx.get::<Run>(&on.run.id).await? else { return Ok(()) };
        // Settled meanwhile: what it shows is final.
        if run.body.status() != RunStatus::InProgress || run.etag != on.run.etag {
            return Ok(());
        }
        show_counters(&mut run.body.metrics, &totals);
        tx.rewrite(&run).await?;
        tx.commit().await
    }
}

fn describe_metrics() {
    steps::describe_metrics();
    notify::describe_metrics();
    describe_counter!("headwaters_runs_total", "runs that are over, by outcome");
    describe_counter!(
        "headwaters_run_faults_total",
        "times that a run could not be worked on because of a fault of ours"
    );
    describe_gauge!("headwaters_runs_active", "runs in work in this process");
    describe_gauge!(
        "headwaters_runs_waiting",
        "runs whose time has come and that no worker has yet, counted now and then"
    );
    describe_histogram!("headwaters_run_seconds", Unit::Seconds, "how long a run was in work, one claim at a time");
    describe_histogram!(
        "headwaters_claim_seconds",
        Unit::Seconds,
        "how late a run of a schedule was: from its instant to its first claim"
    );
    describe_histogram!(
        "headwaters_watermark_lag_seconds",
        Unit::Seconds,
        "how old the newest rows could be that a run made visible which moved its flow on: from the end of its window to its own"
    );
    describe_counter!("headwaters_attempts_total", "attempts begun");
    describe_counter!(
        "headwaters_attempts_ended_total",
        "looks at a run that ended, by outcome: succeeded, failed, retried (after a pause), look_again (at once: a part was \
         committed, or somebody was faster), cut_short (by an orderly shutdown), dropped (the run is not ours any more), \
         fault (of ours)"
    );
    describe_counter!(
        "headwaters_retries_total",
        "attempts that broke and may be tried again, by how that is best done"
    );
    describe_counter!(
        "headwaters_audit_left_out_total",
        "refusals that were only counted, because too many of one client were recorded"
    );
    describe_counter!("headwaters_rows_in_total", "rows read from sources that were made visible, or left out");
    describe_counter!("headwaters_rows_out_total", "rows made visible");
    describe_counter!("headwaters_rows_rejected_total", "rows left out of what was made visible");
    describe_counter!(
        "headwaters_bytes_in_total",
        Unit::Bytes,
        "bytes read from sources for rows that were made visible"
    );
    describe_counter!("headwaters_bytes_out_total", Unit::Bytes, "bytes of the files that were made visible");
}

/// How a look at a run ended, as it is counted.
fn outcome(step: &Result<Step, CommandError>) -> &'static str {
    match step {
        Ok(Step::Settled(RunStatus::Failed)) => "failed",
        Ok(Step::Settled(_)) => "succeeded",
        Ok(Step::LookAgain) => "look_again",
        Ok(Step::Later(_)) => "retried",
        Ok(Step::Released) => "cut_short",
        Ok(Step::Dropped) => "dropped",
        Err(_) => "fault",
    }
}

fn note_claim(claim: &Claim, now_ms: i64) {
    if claim.taken_over {
        info!("the run goes on after another worker let go of it, or after a pause");
    } else if let Some(due_ms) = claim.scheduled_for_ms {
        let waited = Duration::from_millis(u64::try_from(now_ms.saturating_sub(due_ms)).unwrap_or_default());
        histogram!("headwaters_claim_seconds").record(waited);
    }
}

fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        error!(error = &error as &dyn std::error::Error, "the work on a run broke; its lease ends by itself");
    }
}

pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
