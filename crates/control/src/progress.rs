//! What is known of the runs of this process while they go on: their counters, and the means to stop them.
//!
//! Counters are kept in memory and written to the store only every now and then; a reader of a run in progress sees
//! the fresher of the two. Nothing here decides anything: the record that counts is written by `settle`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use headwaters_model::id::{FlowId, RunId};
use headwaters_model::job::{RunEvent, Totals};
use headwaters_model::metrics::Window;
use headwaters_model::metrics::{RunRecord, ShownAttempt, show_attempts, show_counters};
use headwaters_model::resource::Resource;
use headwaters_model::run::{Run, RunStatus};
use headwaters_model::watermark::Watermark;
use headwaters_store::{AttemptEnd, AttemptRecord, StoreError, Tx};
use metrics::gauge;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::Control;
use crate::steps::RunStep;

/// How often the runs are counted that wait.
const COUNT_EVERY: Duration = Duration::from_secs(15);

/// Why a run of this process is told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StopReason {
    /// Its flow was deleted, or a person asked.
    Cancelled,
    /// This process is going down; another one may go on with the run.
    Shutdown,
    /// The lease was lost: somebody else works on the run.
    LeaseLost,
}

/// One run that this process works on. A run whose lease was lost may for a while be in work twice; each has its own.
struct Entry {
    flow: FlowId,
    cancel: CancellationToken,
    now: Mutex<Now>,
}

#[derive(Default)]
struct Now {
    /// What earlier attempts have left to go on with.
    before: Totals,
    totals: Totals,
    attempt: Tracked,
    /// Since when the attempt is at its present step of reading: planning, then landing.
    step: Option<(RunStep, Instant)>,
    stop: Option<StopReason>,
}

/// What is known of the attempt that is under way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tracked {
    /// Rows read so far.
    pub(crate) rows_in: u64,
    /// Which server it has reached.
    pub(crate) server: Option<String>,
    /// How far its flow gets with it, where that is told by a delta column.
    pub(crate) reached: Option<Watermark>,
    /// Which moments of that column it reads.
    pub(crate) window: Option<Window>,
}

impl Now {
    /// Counts how long the step took that ends, and begins another one.
    fn next_step(&mut self, next: Option<RunStep>) {
        if let Some((step, begun)) = self.step.take() {
            step.took(begun);
        }
        self.step = next.map(|step| (step, Instant::now()));
    }
}

impl Entry {
    fn stop(&self, reason: StopReason) {
        lock(&self.now).stop.get_or_insert(reason);
        self.cancel.cancel();
    }
}

/// The runs that this process works on.
#[derive(Clone, Default)]
pub(crate) struct LiveRuns(Arc<Mutex<HashMap<RunId, Arc<Entry>>>>);

impl LiveRuns {
    /// Enters a run; it leaves when the guard is dropped.
    pub(crate) fn enter(&self, flow: FlowId, run: RunId) -> LiveRun {
        let entry = Arc::new(Entry { flow, cancel: CancellationToken::new(), now: Mutex::default() });
        let mut runs = lock(&self.0);
        runs.insert(run, Arc::clone(&entry));
        show(runs.len());
        drop(runs);
        LiveRun { runs: self.clone(), run, entry }
    }

    /// The counters of a run so far, if it is one of ours.
    pub(crate) fn totals(&self, run: RunId) -> Option<Totals> {
        lock(&self.0).get(&run).map(|entry| lock(&entry.now).totals)
    }

    /// Which runs this process works on.
    pub(crate) fn runs(&self) -> Vec<RunId> {
        lock(&self.0).keys().copied().collect()
    }

    /// Tells the runs of a flow to stop, those that are ours; the first reason stays.
    pub(crate) fn stop_flow(&self, flow: FlowId, reason: StopReason) {
        lock(&self.0).values().filter(|entry| entry.flow == flow).for_each(|entry| entry.stop(reason));
    }

    /// Tells all runs to stop.
    pub(crate) fn stop_all(&self, reason: StopReason) {
        lock(&self.0).values().for_each(|entry| entry.stop(reason));
    }
}

fn show(active: usize) {
    gauge!("headwaters_runs_active").set(u32::try_from(active).unwrap_or(u32::MAX));
}

/// The mutexes here hold plain values, which a panic elsewhere can not leave half-changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One run that this process works on.
pub(crate) struct LiveRun {
    runs: LiveRuns,
    run: RunId,
    entry: Arc<Entry>,
}

impl LiveRun {
    /// The token that stops it.
    pub(crate) fn cancel_token(&self) -> CancellationToken {
        self.entry.cancel.clone()
    }

    /// Tells it to stop.
    pub(crate) fn stop(&self, reason: StopReason) {
        self.entry.stop(reason);
    }

    /// Why it was told to stop, if it was.
    pub(crate) fn stop_reason(&self) -> Option<StopReason> {
        lock(&self.entry.now).stop
    }

    /// Begins an attempt: what it reads is counted for itself.
    pub(crate) fn begin_attempt(&self) {
        let mut now = lock(&self.entry.now);
        now.attempt = Tracked::default();
        (now.before, now.totals) = (Totals::default(), Totals::default());
        now.step = None;
    }

    /// Says what earlier attempts have left that it goes on with.
    pub(crate) fn go_on_from(&self, before: Totals) {
        let mut now = lock(&self.entry.now);
        now.before = before;
        now.totals = before;
        now.step = Some((RunStep::Plan, Instant::now()));
    }

    /// What is known of the attempt that is under way.
    pub(crate) fn attempt(&self) -> Tracked {
        lock(&self.entry.now).attempt.clone()
    }

    /// Takes over what an event says.
    pub(crate) fn record(&self, event: &RunEvent) {
        match event {
            RunEvent::Reached { server } => lock(&self.entry.now).attempt.server = Some(server.clone()),
            RunEvent::Bounded { reached, window } => {
                let mut now = lock(&self.entry.now);
                now.attempt.reached = Some(reached.clone());
                now.attempt.window = *window;
            }
            RunEvent::Planned { splits, readers, rows_estimate, .. } => {
                info!(splits, readers, rows_estimate, "the table is cut");
                // A plan begins an attempt, and an attempt begins at what the ones before it have left, if anything.
                let mut now = lock(&self.entry.now);
                now.totals = now.before;
                now.next_step(Some(RunStep::Land));
            }
            RunEvent::Progress(totals) => {
                let mut now = lock(&self.entry.now);
                now.attempt.rows_in = totals.rows_in;
                now.totals = now.before;
                now.totals.add(*totals);
            }
            RunEvent::SplitLanded(landed) => {
                debug!(split = landed.split, rows = landed.totals.rows_out, "a key range is landed");
            }
        }
    }

    /// Says that nothing more is landed by its attempt.
    pub(crate) fn landing_ended(&self) {
        lock(&self.entry.now).next_step(None);
    }

    /// Its counters so far.
    pub(crate) fn totals(&self) -> Totals {
        lock(&self.entry.now).totals
    }
}

impl Drop for LiveRun {
    fn drop(&mut self) {
        let mut runs = lock(&self.runs.0);
        if runs.get(&self.run).is_some_and(|entry| Arc::ptr_eq(entry, &self.entry)) {
            runs.remove(&self.run);
        }
        show(runs.len());
    }
}

impl Control {
    /// Shows the counters of a run at work that this process works on, which are fresher than the stored ones; false when
    /// there are none.
    pub(crate) fn show_live(&self, run: RunId, body: &mut Run) -> bool {
        let totals = self.live.totals(run).filter(|totals| *totals != Totals::default());
        let Some(totals) = totals.filter(|_| body.status() == RunStatus::InProgress) else { return false };
        show_counters(&mut body.metrics, &totals);
        true
    }

    /// Counts the runs that wait, until it is dropped.
    pub(crate) async fn keep_counted(self) {
        loop {
            match self.store.runs_waiting(self.clock.now_ms()).await {
                #[expect(clippy::cast_precision_loss, reason = "it is never near 2^53")]
                Ok(waiting) => gauge!("headwaters_runs_waiting").set(waiting as f64),
                Err(error) => warn!(error = &error as &dyn std::error::Error, "could not count the runs that wait"),
            }
            sleep(COUNT_EVERY).await;
        }
    }
}

/// The attempts of a run as its record shows them; `ending` is the one that ends with the run.
pub(crate) async fn attempts_shown(
    tx: &mut Tx,
    run: RunId,
    ending: Option<(&AttemptEnd, i64)>,
) -> Result<Vec<ShownAttempt>, StoreError> {
    let shown = |AttemptRecord { ordinal, started_at_ms, ended_at_ms, error, .. }| match ending {
        Some((end, now_ms)) if end.ordinal == ordinal => {
            ShownAttempt { ordinal, started_at_ms, ended_at_ms: Some(now_ms), error: end.error.clone() }
        }
        _ => ShownAttempt { ordinal, started_at_ms, ended_at_ms, error },
    };
    Ok(tx.attempts(run).await?.into_iter().map(shown).collect())
}

/// Shows the attempts of a run that goes on. Its counters are gone: another attempt counts for itself.
pub(crate) async fn show_another_attempt(tx: &mut Tx, worked_on: &Resource<Run>) -> Result<(), StoreError> {
    let Some(mut run) = tx.get::<Run>(&worked_on.id).await? else { return Ok(()) };
    let Some(started_at_ms) = run.body.started_at_ms() else { return Ok(()) };
    // Closed meanwhile: what it shows is final.
    if run.body.status() != RunStatus::InProgress || run.etag != worked_on.etag {
        return Ok(());
    }
    let mut record = RunRecord::begun(started_at_ms);
    show_attempts(&mut record.metrics, &attempts_shown(tx, run.id, None).await?);
    run.body.record(record);
    tx.rewrite(&run).await
}

#[cfg(test)]
mod tests {
    use headwaters_model::diagnostic::Diagnostics;
    use headwaters_model::job::LandedSplit;

    use super::*;

    #[test]
    fn a_new_plan_starts_the_counters_again() {
        let runs = LiveRuns::default();
        let run = RunId::mint();
        let ours = runs.enter(FlowId::mint(), run);
        let totals = Totals { rows_in: 7, ..Totals::default() };
        ours.record(&RunEvent::Progress(totals));
        ours.record(&RunEvent::SplitLanded(LandedSplit {
            split: 0,
            files: Vec::new(),
            totals: Totals::default(),
            diagnostics: Diagnostics::default(),
            verified: None,
        }));
        assert_eq!(runs.totals(run), Some(totals));
        ours.record(&RunEvent::Planned { splits: 4, readers: 2, rows_estimate: Some(9), frozen: None });
        assert_eq!(runs.totals(run), Some(Totals::default()));
    }

    #[test]
    fn an_attempt_that_breaks_early_has_none_of_the_counters_of_the_one_before() {
        let runs = LiveRuns::default();
        let ours = runs.enter(FlowId::mint(), RunId::mint());
        let totals = Totals { rows_in: 7, ..Totals::default() };
        ours.begin_attempt();
        ours.record(&RunEvent::Progress(totals));
        ours.begin_attempt();
        assert_eq!(ours.totals(), Totals::default());
        ours.go_on_from(totals);
        assert_eq!(ours.totals(), totals, "what earlier attempts have left is not read again");
    }

    #[test]
    fn a_run_in_work_twice_is_told_apart() {
        let runs = LiveRuns::default();
        let (flow, run) = (FlowId::mint(), RunId::mint());
        let (old, new) = (runs.enter(flow, run), runs.enter(flow, run));
        old.stop(StopReason::LeaseLost);
        drop(old);
        assert_eq!(new.stop_reason(), None);
        assert!(runs.totals(run).is_some());
    }

    #[test]
    fn the_first_reason_to_stop_stays() {
        let runs = LiveRuns::default();
        let flow = FlowId::mint();
        let run = RunId::mint();
        let ours = runs.enter(flow, run);
        runs.stop_flow(FlowId::mint(), StopReason::LeaseLost);
        runs.stop_flow(flow, StopReason::Cancelled);
        runs.stop_all(StopReason::Shutdown);
        assert_eq!(ours.stop_reason(), Some(StopReason::Cancelled));
        assert!(ours.cancel_token().is_cancelled());
        drop(ours);
        assert_eq!(runs.totals(run), None);
    }
}
