//! Runs that repeat others (flow-service.md 17.7).
//!
//! **Invariant.** Of a run and all that repeat it, by however many re-triggers, rows of one at most reach the data set.
//! Two things hold it:
//!
//! 1. A run is repeated only while none of its kin has landed rows and none is waiting or at work. Both are looked up in
//!    the transaction that makes the new run.
//! 2. That a run failed, or found nothing, may turn out to be wrong: a commit of it may be found in the table later, or be
//!    made later still by a worker that stalled. So every attempt looks for landed rows of kin once more when it has its
//!    ordinal and its base (`attempt.rs`). A commit up to the base is settled by then, with its batch; one after the base
//!    overtakes the attempt, which then looks again. When there are such rows, nothing is read and the run ends as a
//!    success without records.
//!
//! Only kin that reads the same counts: in a family whose window was skipped (`failed_window`) some runs read exactly that
//! window, and others on from the watermark.
//!
//! A run that reads on from its flow's watermark is held by the watermark instead: it moves in the commit that lands the
//! rows below it, and whoever repeats such a run begins where it stands then, so that nothing is read twice, by whomever it
//! was read meanwhile. Such a run may be repeated as long as it has landed nothing itself.
//!
//! What has landed is told by batches; what a run reads, and which runs are its kin, by its origin (`RunOrigin`). What is
//! shown of a run decides nothing of that, because a report may replace it (`report.rs`): it only says whether a run is
//! over. A repeat takes the origin of the run that it repeats, and shows the window of that.

use headwaters_model::etag::Precondition;
use headwaters_model::flow::Flow;
use headwaters_model::job::Landed;
use headwaters_model::resource::{Resource, State};
use headwaters_model::run::{Run, RunOrigin};
use headwaters_model::window::Windowed;
use headwaters_store::{Kin, StoreError, Tx};
use tracing::info;

use super::on_demand::{Parts, room_for_another};
use crate::Control;
use crate::access::Caller;
use crate::audit::{Deed, note};
use crate::error::{Cause, CommandError};
use crate::life_cycle::{admit, find};
use crate::scheduler::is_once;

/// How many repeats the family of a run may have.
pub const REPEATS_MAX: usize = 100;

impl Control {
    /// Repeats a run as a new one, which is returned; the old one stays as it is (flow-service.md 17.7).
    ///
    /// Causes: `Missing`, `Stale`, `NotRepeatable`, `FlowNotEnabled`, `RunCreation` (too many runs wait, or what the flow
    /// connects is not in use).
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
        let kin = tx.kin(old.id).await?;
        let origin = tx.run_origin(old.id).await?;
        repeatable(&old, &kin)?;
        still_wanted(&flow, &origin, &kin)?;
        Parts::of(&mut tx, &flow, "").await?;
        room_for_another(&mut tx, &flow).await?;
        let origin = origin.repeated(old.id);
        let params = origin.windowed.as_ref().map(Windowed::params);
        let mut body = Run::scheduled(flow.id, flow.body.flow_spec.clone(), params);
        body.parent_flow_run_id = Some(old.id);
        let run = Resource::new(caller.scope.clone(), State::Enabled, body, &caller.actor, now_ms);
        tx.queue_run(&run, &origin, now_ms).await?;
        note(&mut tx, caller, Deed::ReTrigger, run.reference(), &run.etag, now_ms).await?;
        tx.commit().await?;
        info!(flow = %flow.id, run = %run.id, repeats = %old.id, "a run is repeated");
        self.wake.notify_one();
        Ok(run)
    }

    /// What a run that repeats another ends with when rows of its kin have landed after all; none when it has to read, and
    /// for a run that the watermark keeps from reading them.
    pub(crate) async fn landed_by_kin(
        &self,
        run: &Resource<Run>,
        origin: &RunOrigin,
    ) -> Result<Option<Landed>, StoreError> {
        if origin.reads_on() {
            return Ok(None);
        }
        let kin = self.store.read(&run.scope).await?.kin(run.id).await?;
        let landed = kin.into_iter().find(|kin| kin.landed && kin.reads_same && kin.run != run.id);
        Ok(landed.map(|kin| {
            let note = format!("nothing was read: the rows of run {}, which this run repeats, have landed", kin.run);
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

/// Refuses to repeat a run that is not over, whose rows have landed or are on their way, by it or by one of its kin, or
/// that was repeated often enough. What is left has failed or has ingested nothing (flow-service.md 17.7).
fn repeatable(run: &Resource<Run>, kin: &[Kin]) -> Result<(), CommandError> {
    let refused = |reason| Err(CommandError::invalid(Cause::NotRepeatable, "", reason));
    let status = run.body.status();
    if !status.is_final() {
        return refused(format!("{} is {status}: only a run that is over can be repeated", run.reference()));
    }
    for one in kin {
        let by = if one.run == run.id { "it".to_owned() } else { format!("its repeat {}", one.run) };
        if one.landed && (one.run == run.id || one.reads_same) {
            return refused(format!(
                "the rows of {} are in the data set: {by} has landed them, and only runs that failed or ingested no \
                 records can be repeated",
                run.reference()
            ));
        }
        if !one.status.is_final() {
            return refused(format!("{} is being repeated: {by} is {}", run.reference(), one.status));
        }
    }
    if kin.len() > REPEATS_MAX {
        return refused(format!(
            "{} was repeated {REPEATS_MAX} times: see why it fails, then make a run on demand or a new flow",
            run.reference()
        ));
    }
    Ok(())
}

/// Refuses to repeat the only run of a flow that ran once, when it recurs by now: its own runs read all of the table.
fn still_wanted(flow: &Resource<Flow>, origin: &RunOrigin, kin: &[Kin]) -> Result<(), CommandError> {
    let is_whole_table = origin.windowed.is_none() && origin.instant_ms.is_none();
    if is_whole_table && !is_once(flow) && kin.iter().any(|one| one.is_scheduled) {
        let reason = format!("{} recurs by now, and its next run reads what this one should have", flow.reference());
        return Err(CommandError::invalid(Cause::NotRepeatable, "", reason));
    }
    Ok(())
}
