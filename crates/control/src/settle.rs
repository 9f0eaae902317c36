//! The end of a run: one transaction writes its record, its offset, its batch, and what flow and data set show of it.
//!
//! **Invariant** (docs/architecture.md, section 4, step 5). The table leads and the store follows: a run is a success
//! exactly if the table holds its commit (or it read no rows), whatever became of its worker, its lease or its flow
//! meanwhile.

use headwaters_model::account::Actor;
use headwaters_model::batch::{Batch, BatchError, BatchStatus};
use headwaters_model::flow::Flow;
use headwaters_model::id::{BatchId, DataSetId};
use headwaters_model::job::{Committed, Failure, Landed, Stage, Totals};
use headwaters_model::metrics::{Ended, RunFacts, RunRecord, failure_code};
use headwaters_model::resource::{Kind as _, Resource, ResourceRef, State};
use headwaters_model::run::Run;
use headwaters_model::sandbox::Scope;
use headwaters_store::{AttemptEnd, Outdated, PendingCommit, Promotion, Settlement, StoreError, Tx};
use tracing::info;

use crate::Control;
use crate::access::Caller;
use crate::audit::{Deed, note};
use crate::error::CommandError;

/// What a successful attempt has to tell.
pub(crate) struct Success<'a> {
    pub(crate) landed: &'a Landed,
    pub(crate) landed_at_ms: i64,
    pub(crate) committed: Committed,
    pub(crate) promotion: Promotion,
    pub(crate) attempt: AttemptEnd,
}

/// A run that is being closed, with all that its record tells; its flow may be gone.
pub(crate) struct Closing {
    /// The version that was worked on.
    pub(crate) run: Resource<Run>,
    pub(crate) data_set: DataSetId,
    pub(crate) facts: RunFacts,
}

impl<'a> Success<'a> {
    /// Of a commit that was made and not settled: what was noted before it.
    pub(crate) fn left_behind(pending: &'a PendingCommit, committed: Committed) -> Self {
        Self {
            landed: &pending.landed,
            landed_at_ms: pending.landed_at_ms,
            committed,
            promotion: Promotion::Table(Some(pending.ordinal)),
            attempt: AttemptEnd { ordinal: pending.ordinal, error: None },
        }
    }
}

impl Control {
    /// Closes a run whose rows are in the table, or that found none.
    ///
    /// When the run was closed meanwhile and nobody knew of these rows (its flow was deleted, another worker gave up on
    /// it or found nothing to read), its record is corrected: the rows are there.
    pub(crate) async fn settle_success(&self, on: &Closing, success: &Success<'_>) -> Result<(), StoreError> {
        let outdated = match self.write_success(on, success, success.landed).await {
            Err(StoreError::Outdated(outdated)) => outdated,
            Err(StoreError::Settled(_)) => return Ok(()),
            settled => return settled,
        };
        let mut tx = self.store.read(&on.run.scope).await?;
        let pending = tx.pending(on.run.body.flow_id, &on.data_set).await?;
        drop(tx);
        // Whoever settles a commit takes its pending row away.
        match pending.into_iter().find(|row| row.ordinal == success.attempt.ordinal) {
            Some(unsettled) => self.settle_late(&on.run.scope, &unsettled, success).await,
            None => {
                info!(run = %on.run.id, %outdated, "the run was settled by somebody else");
                Ok(())
            }
        }
    }

    /// Corrects the record of a run that was closed although these rows of it are in the table. The batch that it was
    /// closed with, if any, stays: the rows get one of their own. Several may find the commit at once; one corrects.
    pub(crate) async fn settle_late(
        &self,
        scope: &Scope,
        pending: &PendingCommit,
        success: &Success<'_>,
    ) -> Result<(), StoreError> {
        let run = self.store.read(scope).await?.get::<Run>(&pending.run).await?;
        let gone = || StoreError::from(Outdated::Missing(ResourceRef::new(Run::COLLECTION, pending.run)));
        let facts = RunFacts { batch: BatchId::mint(), ..pending.facts.clone() };
        let on = Closing { run: run.ok_or_else(gone)?, data_set: pending.data_set.clone(), facts };
        let mut landed = success.landed.clone();
        landed.notes.push("the run was closed before its commit was known; its rows are in the data set".to_owned());
        match self.write_success(&on, success, &landed).await {
            Err(StoreError::Settled(_) | StoreError::Outdated(Outdated::Stale { .. })) => Ok(()),
            settled => settled,
        }
    }

    async fn write_success(&self, on: &Closing, success: &Success<'_>, landed: &Landed) -> Result<(), StoreError> {
        let now_ms = self.clock.now_ms();
        let ended = Ended { landed_at_ms: success.landed_at_ms, completed_at_ms: now_ms };
        let record = RunRecord::success(&on.facts, landed, ended);
        let body = Batch {
            status: BatchStatus::Success,
            table_version: success.committed.version,
            totals: landed.totals,
            files: landed.files.clone(),
            errors: Vec::new(),
            ..batch_of(on, now_ms)
        };
        let batch = (landed.totals.rows_in > 0).then(|| batch_resource(on, body, now_ms));
        let end =
            End { record, owner: None, promotion: success.promotion.clone(), attempt: Some(success.attempt.clone()) };
        self.settle(on, end, batch.as_ref()).await
    }

    /// Closes a run that broke for good, while the lease is ours. Fails with [`StoreError::LeaseLost`] otherwise.
    pub(crate) async fn settle_failure(
        &self,
        on: &Closing,
        owner: &str,
        failure: &Failure,
        so_far: &Totals,
        attempt: Option<AttemptEnd>,
    ) -> Result<(), StoreError> {
        let now_ms = self.clock.now_ms();
        let read = (so_far.rows_in > 0).then_some(so_far);
        let ended = Ended { landed_at_ms: now_ms, completed_at_ms: now_ms };
        let record = RunRecord::failed(&on.facts, failure, read, &[], ended);
        let error = BatchError { code: failure_code(failure.stage).to_owned(), description: failure.message.clone() };
        let body = Batch { totals: *so_far, errors: vec![error], ..batch_of(on, now_ms) };
        let batch = read.map(|_| batch_resource(on, body, now_ms));
        // Whatever is pending stays pending: a commit that is still under way may yet be made.
        let end = End { record, owner: Some(owner), promotion: Promotion::Unchanged, attempt };
        self.settle(on, end, batch.as_ref()).await
    }

    async fn settle(&self, on: &Closing, end: End<'_>, batch: Option<&Resource<Batch>>) -> Result<(), StoreError> {
        let now_ms = self.clock.now_ms();
        let by = Actor::scheduler();
        let mut run = on.run.clone();
        run.body.record(end.record);
        let expected = run.touch(&by, now_ms);
        let mut tx = self.store.write(&run.scope).await?;
        let settlement = Settlement {
            run: &run,
            expected: &expected,
            owner: end.owner,
            data_set: &on.data_set,
            promotion: end.promotion,
            attempt: end.attempt,
            batch,
            by: &by,
            now_ms,
        };
        tx.settle(settlement).await?;
        tx.commit().await
    }
}

/// How a run is closed.
struct End<'a> {
    record: RunRecord,
    /// The lease that a failure needs.
    owner: Option<&'a str>,
    promotion: Promotion,
    attempt: Option<AttemptEnd>,
}

fn batch_of(on: &Closing, now_ms: i64) -> Batch {
    Batch {
        data_set_id: on.data_set.clone(),
        flow_id: on.run.body.flow_id,
        run_id: on.run.id,
        status: BatchStatus::Failed,
        started_at_ms: on.facts.started_at_ms,
        completed_at_ms: now_ms,
        table_version: None,
        totals: Totals::default(),
        files: Vec::new(),
        errors: Vec::new(),
    }
}

fn batch_resource(on: &Closing, body: Batch, now_ms: i64) -> Resource<Batch> {
    let batch = Resource::new(on.run.scope.clone(), State::Enabled, body, &Actor::scheduler(), now_ms);
    Resource { id: on.facts.batch.clone(), ..batch }
}

impl Control {
    /// Closes the runs of a flow that is being deleted: those that wait never begin, one in progress is cancelled
    /// (flow-service.md 16.8). If that one has committed, or commits yet, its record is corrected: by the worker that
    /// still has it in hand, or by `reconcile.rs`.
    pub(crate) async fn close_runs(
        &self,
        tx: &mut Tx,
        caller: &Caller,
        flow: &Resource<Flow>,
    ) -> Result<(), CommandError> {
        let (Some(source), Some(target)) =
            (flow.body.source_connection_ids.first(), flow.body.target_connection_ids.first())
        else {
            // A draft without connections has never run.
            return Ok(());
        };
        let spec = flow.body.inherited_attributes.source_connections.first().map(|source| source.connection_spec.id);
        let failure = Failure {
            stage: Stage::Source,
            message: format!("the run was cancelled: its flow {} was deleted", flow.id),
            hint: None,
        };
        let now_ms = self.clock.now_ms();
        for mut run in tx.unfinished_runs(flow.id).await? {
            let facts = RunFacts {
                run: run.id,
                source_label: spec.map_or_else(String::new, |spec| self.specs.label(spec).to_owned()),
                source: *source,
                target: *target,
                // A run that breaks while it reads shows no promotion, and so no batch.
                batch: BatchId::mint(),
                once: true,
                window: tx.run_origin(run.id).await?.windowed.map(|windowed| windowed.window),
                started_at_ms: run.body.started_at_ms().unwrap_or(now_ms),
            };
            let ended = Ended { landed_at_ms: now_ms, completed_at_ms: now_ms };
            let record = RunRecord::failed(&facts, &failure, None, &[], ended);
            run.body.record(record);
            let expected = run.touch(&Actor::scheduler(), now_ms);
            tx.replace(&run, &expected).await?;
            note(tx, caller, Deed::Cancel, run.reference(), &run.etag, now_ms).await?;
        }
        Ok(())
    }
}
