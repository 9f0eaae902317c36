//! Due flows become runs.
//!
//! **Invariant.** A run is made for an instant under the unique key (flow, instant), in the transaction that moves the
//! flow to its next instant: any number of schedulers agree on one run, and a crash between two instants loses none.

use std::error::Error;

use headwaters_model::account::Actor;
use headwaters_model::flow::Flow;
use headwaters_model::resource::{Resource, State};
use headwaters_model::run::Run;
use headwaters_model::schedule::{Schedule, ScheduleRules};
use headwaters_store::{DAMAGED_PAUSE_MS, DueFlow, StoreError};
use tracing::{error, info, warn};

use crate::Control;

/// How many due flows are looked at in one go.
const DUE_FLOWS_MAX: u32 = 100;
/// Every stored schedule was checked when it was written; what settings say about new ones does not matter any more.
const STORED: ScheduleRules = ScheduleRules { start_grace_s: i64::MAX, interval_minutes_min: 1 };

impl Control {
    /// Makes the runs of flows whose instant has come, [`DUE_FLOWS_MAX`] at a time.
    pub(crate) async fn schedule_due(&self) -> Result<(), StoreError> {
        for due in self.store.due_flows(self.clock.now_ms(), DUE_FLOWS_MAX).await? {
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
        if tx.next_due(due.flow).await? != Some(due.due_ms) {
            return Ok(());
        }
        let flow = match tx.get::<Flow>(&due.flow).await {
            Ok(Some(flow)) => flow,
            Ok(None) => return Ok(()),
            Err(damage @ StoreError::Damaged { .. }) => {
                // It must not be among the first for ever.
                error!(flow = %due.flow, error = &damage as &dyn Error, "a flow can not be read and is put aside");
                tx.set_next_due(due.flow, Some(now_ms.saturating_add(DAMAGED_PAUSE_MS))).await?;
                return tx.commit().await;
            }
            Err(error) => return Err(error),
        };
        let body = Run::scheduled(flow.id, flow.body.flow_spec.clone(), None);
        let run = Resource::new(due.scope.clone(), State::Enabled, body, &Actor::scheduler(), now_ms);
        let made = tx.schedule_run(&run, due.due_ms, Some(due.due_ms)).await?;
        tx.set_next_due(flow.id, next_due_ms(&flow, due.due_ms)).await?;
        tx.commit().await?;
        if made {
            info!(flow = %flow.id, run = %run.id, "the flow is due");
        }
        Ok(())
    }
}

/// When a new flow is due first, milliseconds since 1970; none for a draft.
pub(crate) fn first_due_ms(flow: &Resource<Flow>) -> Option<i64> {
    let schedule = schedule(&flow.body)?;
    (flow.state == State::Enabled).then(|| schedule.start_s.saturating_mul(1000))
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
