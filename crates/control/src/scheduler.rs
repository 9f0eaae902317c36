//! Due flows become runs.
//!
//! **Invariant.** A run is made for an instant under the unique key (flow, instant), in the transaction that moves the
//! flow to its next instant: any number of schedulers agree on one run, and a crash between two instants loses none.
//!
//! **Invariant.** A flow has one run of its schedule at a time (flow-service.md 16.4): while one is not over the store
//! finds the flow not due. The next one is made for the latest instant that has come by then. It reads from the watermark
//! on, and so covers every instant that was missed, by a pause, a busy flow or a flow out of use.
//!
//! **Clocks.** A clock that was ahead has put the next instant of the flows that it met too far off. Once it is put back,
//! they go on with the instants of the right time. Instants that have a run get no second one. Runs that it has made, for an
//! instant or because somebody asked for them, do not wait for its time either.

use std::error::Error;

use headwaters_model::account::Actor;
use headwaters_model::flow::Flow;
use headwaters_model::resource::{Resource, State};
use headwaters_model::run::{Run, RunOrigin};
use headwaters_model::schedule::{Schedule, ScheduleRules};
use headwaters_store::{DAMAGED_PAUSE_MS, DueFlow, StoreError, Tx};
use tracing::{error, info, warn};

use crate::Control;

/// How many due flows are looked at in one go.
const DUE_FLOWS_MAX: u32 = 100;
/// How many runs are let begin in one go that a clock ahead has made.
const HASTENED_RUNS_MAX: u32 = 1_000;
/// By how much the clocks of schedulers on one store may differ, in milliseconds. A clock that is put back by more is
/// noticed; one that is put back by less delays a run by no more than that.
const SKEW_MS_MAX: i64 = 60_000;
/// Every stored schedule was checked when it was written; what settings say about new ones does not matter any more.
const STORED: ScheduleRules = ScheduleRules { start_grace_s: i64::MAX, interval_minutes_min: 1 };

impl Control {
    /// Makes the runs of flows whose instant has come, [`DUE_FLOWS_MAX`] at a time.
    pub(crate) async fn schedule_due(&self) -> Result<(), StoreError> {
        let now_ms = self.clock.now_ms();
        let skewed_ms = now_ms.saturating_add(SKEW_MS_MAX);
        let hastened = self.store.hasten_made_ahead(skewed_ms, now_ms, HASTENED_RUNS_MAX).await?;
        if hastened > 0 {
            warn!(runs = hastened, "the clock was put back; these runs do not wait for the time that it showed");
        }
        let ahead = self.store.flows_set_ahead(skewed_ms, DUE_FLOWS_MAX).await?;
        if !ahead.is_empty() {
            warn!(
                flows = ahead.len(),
                "the clock was put back; these flows go on at the next instants of their schedules"
            );
        }
        for ahead in ahead {
            if let Err(error) = self.set_back(&ahead).await {
                error!(flow = %ahead.flow, error = &error as &dyn Error, "could not set a flow back to the right time");
            }
        }
        for due in self.store.due_flows(now_ms, DUE_FLOWS_MAX).await? {
            if let Err(error) = self.schedule(&due).await {
                // One flow must not keep the others waiting; its turn comes again.
                error!(flow = %due.flow, error = &error as &dyn Error, "could not make the run of a due flow");
            }
        }
        Ok(())
    }

    async fn schedule(&self, due: &DueFlow) -> Result<(), StoreError> {
        let now_ms = self.clock.now_ms();
        let mut tx = self.store.write(&due.scope).await?;
        // Another scheduler may have been here meanwhile, or somebody may have changed the flow.
        if tx.next_due(due.flow).await? != Some(due.due_ms) || tx.scheduled_run(due.flow).await?.is_some() {
            return Ok(());
        }
        let Some(flow) = readable(&mut tx, due, now_ms).await? else { return tx.commit().await };
        let instant_ms = instant_ms(&flow, due.due_ms, now_ms);
        let body = Run::scheduled(flow.id, flow.body.flow_spec.clone(), None);
        let run = Resource::new(due.scope.clone(), State::Enabled, body, &Actor::scheduler(), now_ms);
        let origin = RunOrigin { instant_ms: (!is_once(&flow)).then_some(instant_ms), ..RunOrigin::default() };
        let made = tx.schedule_run(&run, &origin, instant_ms, Some(instant_ms)).await?;
        tx.set_next_due(flow.id, next_due_ms(&flow, instant_ms), now_ms).await?;
        tx.commit().await?;
        if made {
            info!(flow = %flow.id, run = %run.id, instant_ms, "the flow is due");
        }
        Ok(())
    }

    /// Lets a flow go on at the next instant of the clock as it is now.
    async fn set_back(&self, ahead: &DueFlow) -> Result<(), StoreError> {
        let now_ms = self.clock.now_ms();
        let mut tx = self.store.write(&ahead.scope).await?;
        if tx.next_due(ahead.flow).await? != Some(ahead.due_ms) {
            return Ok(());
        }
        let Some(flow) = readable(&mut tx, ahead, now_ms).await? else { return tx.commit().await };
        let next_ms = schedule(&flow.body).and_then(|schedule| schedule.resumes_s(now_ms.div_euclid(1000)));
        let next_ms = next_ms.map(|next_s| next_s.saturating_mul(1000).min(ahead.due_ms));
        tx.set_next_due(flow.id, next_ms, now_ms).await?;
        tx.commit().await
    }
}

/// The flow that is due; none when it is gone, or can not be read and was put aside.
async fn readable(tx: &mut Tx, due: &DueFlow, now_ms: i64) -> Result<Option<Resource<Flow>>, StoreError> {
    match tx.get::<Flow>(&due.flow).await {
        Err(damage @ StoreError::Damaged { .. }) => {
            // It must not be among the first for ever.
            error!(flow = %due.flow, error = &damage as &dyn Error, "a flow can not be read and is put aside");
            tx.set_next_due(due.flow, Some(now_ms.saturating_add(DAMAGED_PAUSE_MS)), now_ms).await?;
            Ok(None)
        }
        flow => flow,
    }
}

/// For which instant a flow that is due gets its run: the latest that has come, and so the only one after a pause. Not one
/// before that for which it is due, which a slower schedule than the one of then may name.
fn instant_ms(flow: &Resource<Flow>, due_ms: i64, now_ms: i64) -> i64 {
    let Some(schedule) = schedule(&flow.body) else { return due_ms };
    match schedule.due_s(now_ms.div_euclid(1000)).map(|latest_s| latest_s.saturating_mul(1000)) {
        Some(only_ms) if schedule.is_once() => only_ms,
        Some(latest_ms) => latest_ms.max(due_ms),
        None => due_ms,
    }
}

/// When a new flow is due first, milliseconds since 1970; none for a draft.
pub(crate) fn first_due_ms(flow: &Resource<Flow>) -> Option<i64> {
    let schedule = schedule(&flow.body)?;
    (flow.state == State::Enabled).then(|| schedule.start_s.saturating_mul(1000))
}

/// Whether a flow runs just once, and so reads the whole table.
pub(crate) fn is_once(flow: &Resource<Flow>) -> bool {
    schedule(&flow.body).is_none_or(|schedule| schedule.is_once())
}

/// The instant after this one, milliseconds since 1970; none when a flow runs just once.
fn next_due_ms(flow: &Resource<Flow>, due_ms: i64) -> Option<i64> {
    let next = schedule(&flow.body)?.next_after_s(due_ms.div_euclid(1000))?;
    Some(next.saturating_mul(1000))
}

/// The schedule of a flow.
pub(crate) fn schedule(flow: &Flow) -> Option<Schedule> {
    let parsed = Schedule::parse(flow.schedule_params.as_ref()?, &STORED);
    parsed.inspect_err(|error| warn!(%error, "a stored schedule can not be read")).ok()
}
