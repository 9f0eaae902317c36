//! Runs that repeat others (flow-service.md 17.7).
//!
//! **Invariant.** Of a run and all that repeat it, by however many re-triggers, rows of one at most reach the data set.
//! Two things hold it:
//!
//! 1. A run is repeated only while none of its kin has landed rows and none is waiting or at work. Both are looked up in
//!    the transaction that makes the new run.
//! 2. That a run failed may turn out to be wrong: a commit of it may be found in the table later, or be made later still by
//!    a worker that stalled. So an attempt of a run that repeats another looks for such rows once more when it has its
//!    ordinal and its base (`attempt.rs`). A commit up to the base is settled by then, with its batch; one after the base
//!    overtakes the attempt, which then looks again. When there are such rows, nothing is read and the run ends as a
//!    success without records.
//!
//! What has landed is told by batches, not by the records of runs, which a report may replace (`report.rs`).

use headwaters_model::etag::Precondition;
use headwaters_model::flow::Flow;
use headwaters_model::job::Landed;
use headwaters_model::resource::{Resource, State};
use headwaters_model::run::{Run, RunStatus};
use headwaters_store::{Kin, StoreError, Tx};
use serde_json::Value;
use tracing::info;

use super::on_demand::room_for_another;
use crate::Control;
use crate::access::Caller;
use crate::audit::{Deed, note};
use crate::error::{Cause, CommandError};
use crate::life_cycle::{admit, find};

impl Control {
    /// Repeats a run as a new one, which is returned; the old one stays as it is (flow-service.md 17.7).
    ///
    /// Causes: `Missing`, `Stale`, `NotRepeatable`, `FlowNotEnabled`, `RunCreation`.
    pub async fn retrigger_run(
        &self,
        caller: &Caller,
        id: &str,
        expected: &Precondition,
    ) -> Result<Resource<Run>, CommandError> {
        let now_ms = self.clock.now_ms();
        let mut tx = self.store.write(&caller.scope).await?;
        let old = find::<Run>(&mut tx, id).await?;
        admit(&old, expected, self.settings.strict.matching())?;
        let flow = enabled_flow(&mut tx, &old).await?;
        repeatable(&old)?;
        for kin in tx.kin(&old).await? {
            unrepeated(&old, &kin)?;
        }
        room_for_another(&mut tx, &flow).await?;
        let mut body = Run::scheduled(flow.id, flow.body.flow_spec.clone(), old.body.params.clone());
        body.parent_flow_run_id = Some(old.id);
        let run = Resource::new(caller.scope.clone(), State::Enabled, body, &caller.actor, now_ms);
        tx.schedule_run(&run, now_ms, None).await?;
        note(&mut tx, caller, Deed::ReTrigger, run.reference(), &run.etag, now_ms).await?;
        tx.commit().await?;
        info!(flow = %flow.id, run = %run.id, repeats = %old.id, "a run is repeated");
        self.wake.notify_one();
        Ok(run)
    }

    /// What a run that repeats another ends with when rows of its kin have landed after all; none when it has to read.
    pub(crate) async fn landed_by_kin(&self, run: &Resource<Run>) -> Result<Option<Landed>, StoreError> {
        if run.body.parent_flow_run_id.is_none() {
            return Ok(None);
        }
        let kin = self.store.read(&run.scope).await?.kin(run).await?;
        let landed = kin.into_iter().find(|kin| kin.landed && kin.run.id != run.id);
        Ok(landed.map(|kin| {
            let note =
                format!("nothing was read: the rows of {}, which this run repeats, have landed", kin.run.reference());
            Landed { notes: vec![note], ..Landed::default() }
        }))
    }
}

async fn enabled_flow(tx: &mut Tx, run: &Resource<Run>) -> Result<Resource<Flow>, CommandError> {
    let refused = |reason| Err(CommandError::invalid(Cause::FlowNotEnabled, "", reason));
    match tx.get::<Flow>(&run.body.flow_id).await? {
        Some(flow) if flow.state == State::Enabled => Ok(flow),
        Some(flow) => {
            refused(format!("the flow {} of the run is in the state {}: enable it first", flow.id, flow.state.name()))
        }
        None => refused(format!("the flow {} of the run was deleted", run.body.flow_id)),
    }
}

/// Only a run that failed is repeated, or one that read nothing.
fn repeatable(run: &Resource<Run>) -> Result<(), CommandError> {
    let read = run.body.metrics.pointer("/recordSummary/inputRecordCount").and_then(Value::as_u64);
    let reason = match run.body.status() {
        RunStatus::Failed => None,
        RunStatus::Success if read == Some(0) => None,
        RunStatus::Success => {
            Some("has ended well: only runs that failed or read no records can be repeated".to_owned())
        }
        waiting => Some(format!("is {waiting}: only a run that is over can be repeated")),
    };
    let reason = reason.or_else(|| run.body.windowed().err().map(|error| format!("can not be read again: {error}")));
    match reason {
        Some(reason) => Err(CommandError::invalid(Cause::NotRepeatable, "", format!("{} {reason}", run.reference()))),
        None => Ok(()),
    }
}

/// Refuses to repeat a run whose rows have landed, or are on their way, by it or by a run of its kin.
fn unrepeated(run: &Resource<Run>, kin: &Kin) -> Result<(), CommandError> {
    let by = if kin.run.id == run.id { "it".to_owned() } else { format!("its repeat {}", kin.run.id) };
    let reason = if kin.landed {
        format!("the rows of {} are in the data set: {by} has landed them", run.reference())
    } else if !kin.run.body.status().is_final() {
        format!("{} is being repeated: {by} is {}", run.reference(), kin.run.body.status())
    } else {
        return Ok(());
    };
    Err(CommandError::invalid(Cause::NotRepeatable, "", reason))
}
