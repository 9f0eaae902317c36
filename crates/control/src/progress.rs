//! What is known of the runs of this process while they go on: their counters, and the means to stop them.
//!
//! Counters are kept in memory and written to the store only every now and then; a reader of a run in progress sees
//! the fresher of the two. Nothing here decides anything: the record that counts is written by `settle`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use headwaters_model::id::{FlowId, RunId};
use headwaters_model::job::{RunEvent, Totals};
use metrics::gauge;
use tokio_util::sync::CancellationToken;
use tracing::debug;

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
    totals: Totals,
    stop: Option<StopReason>,
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

    /// Takes over what an event says.
    pub(crate) fn record(&self, event: &RunEvent) {
        match event {
            RunEvent::Planned { splits, readers, rows_estimate } => {
                debug!(splits, readers, rows_estimate, "the table is cut");
                // A plan begins an attempt, and an attempt begins at nothing.
                lock(&self.entry.now).totals = Totals::default();
            }
            RunEvent::Progress(totals) => lock(&self.entry.now).totals = *totals,
            RunEvent::SplitLanded { split, rows } => debug!(split, rows, "a key range is landed"),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_plan_starts_the_counters_again() {
        let runs = LiveRuns::default();
        let run = RunId::mint();
        let ours = runs.enter(FlowId::mint(), run);
        let totals = Totals { rows_in: 7, ..Totals::default() };
        ours.record(&RunEvent::Progress(totals));
        ours.record(&RunEvent::SplitLanded { split: 0, rows: 7 });
        assert_eq!(runs.totals(run), Some(totals));
        ours.record(&RunEvent::Planned { splits: 4, readers: 2, rows_estimate: Some(9) });
        assert_eq!(runs.totals(run), Some(Totals::default()));
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
