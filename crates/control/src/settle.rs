//! The end of a run: one transaction writes its record, its offset, its batch, and what flow and data set show of it.
//!
//! **Invariant** (docs/architecture.md, section 4, step 5). The table leads and the store follows: a run is a success
//! exactly if the table holds its commit (or it read no rows), whatever became of its worker, its lease or its flow
//! meanwhile.

use headwaters_model::account::Actor;
use headwaters_model::batch::{Batch, BatchError, BatchStatus};
use headwaters_model::flow::Flow;
use headwaters_model::id::BatchId;
use headwaters_model::job::{Committed, Failure, Landed, Stage, Totals};
use headwaters_model::metrics::{Ended, RunFacts, RunRecord, failure_code};
use headwaters_model::resource::{Resource, State};
use headwaters_model::run::{Run, RunStatus};
use headwaters_store::{AttemptEnd, Promotion, Settlement, StoreError, Tx};
use tracing::info;

use crate::Control;
use crate::assignment::Assignment;
use crate::error::CommandError;

/// What a successful attempt has to tell.
pub(crate) struct Success<'a> {
    pub(crate) landed: &'a Landed,
    pub(crate) landed_at_ms: i64,
    pub(crate) committed: Committed,
    pub(crate) promotion: Promotion,
    pub(crate) attempt: AttemptEnd,
}

impl Control {
    /// Closes a run whose rows are in the table, or that found none.
    ///
    /// When the run was closed as failed meanwhile (its flow was deleted, another worker gave up on it), its record is
    /// corrected: the rows are there.
    pub(crate) async fn settle_success(&self, on: &Assignment, success: &Success<'_>) -> Result<(), StoreError> {
        let outdated = match self.settle_success_of(on, success, success.landed).await {
            Err(StoreError::Outdated(outdated)) => outdated,
            settled => return settled,
        };
        let current = self.store.read(&on.run.scope).await?.get::<Run>(&on.run.id).await?;
        match current {
            Some(run) if run.body.status() == RunStatus::Failed && !success.landed.files.is_empty() => {
                self.settle_late(&on.reopened(run), success).await
            }
            _ => {
                info!(run = %on.run.id, %outdated, "the run was settled by somebody else");
                Ok(())
            }
        }
    }

    /// Corrects the record of a run that was closed as failed although its rows are in the table.
    pub(crate) async fn settle_late(&self, reopened: &Assignment, success: &Success<'_>) -> Result<(), StoreError> {
        let mut landed = success.landed.clone();
        landed.notes.push("the run was closed before its commit was known; its rows are in the data set".to_owned());
        self.settle_success_of(reopened, success, &landed).await
    }

    async fn settle_success_of(
        &self,
        on: &Assignment,
        success: &Success<'_>,
        landed: &Landed,
    ) -> Result<(), StoreError> {
        let now_ms = self.clock.now_ms();
        let ended = Ended { landed_at_ms: success.landed_at_ms, completed_at_ms: now_ms };
        let record = RunRecord::success(&on.facts(), landed, ended);
        let body = Batch {
            status: BatchStatus::Success,
            table_version: success.committed.version,
            totals: landed.totals,
            files: landed.files.clone(),
            errors: Vec::new(),
            ..batch_of(on, now_ms)
        };
        let batch = (landed.totals.rows_in > 0).then(|| batch_resource(on, body, now_ms));
        let (promotion, attempt) = (success.promotion.clone(), Some(success.attempt.clone()));
        self.settle(on, record, promotion, attempt, batch.as_ref()).await
    }

    /// Closes a run that broke for good.
    pub(crate) async fn settle_failure(
        &self,
        on: &Assignment,
        failure: &Failure,
        so_far: &Totals,
        notes: &[String],
        attempt: Option<AttemptEnd>,
    ) -> Result<(), StoreError> {
        let now_ms = self.clock.now_ms();
        let read = (so_far.rows_in > 0).then_some(so_far);
        let ended = Ended { landed_at_ms: now_ms, completed_at_ms: now_ms };
        let record = RunRecord::failed(&on.facts(), failure, read, notes, ended);
        let error = BatchError { code: failure_code(failure.stage).to_owned(), description: failure.message.clone() };
        let body = Batch { totals: *so_far, errors: vec![error], ..batch_of(on, now_ms) };
        let batch = read.map(|_| batch_resource(on, body, now_ms));
        // Whatever is pending stays pending: a commit that is still under way may yet be made.
        self.settle(on, record, Promotion::Unchanged, attempt, batch.as_ref()).await
    }

    async fn settle(
        &self,
        on: &Assignment,
        record: RunRecord,
        promotion: Promotion,
        attempt: Option<AttemptEnd>,
        batch: Option<&Resource<Batch>>,
    ) -> Result<(), StoreError> {
        let now_ms = self.clock.now_ms();
        let by = Actor::scheduler();
        let mut run = on.run.clone();
        run.body.record(record);
        let expected = run.touch(&by, now_ms);
        let mut tx = self.store.write(&run.scope).await?;
        let settlement = Settlement {
            run: &run,
            expected: &expected,
            data_set: &on.data_set.id,
            promotion,
            attempt,
            batch,
            by: &by,
            now_ms,
        };
        tx.settle(settlement).await?;
        tx.commit().await
    }
}

fn batch_of(on: &Assignment, now_ms: i64) -> Batch {
    Batch {
        data_set_id: on.data_set.id.clone(),
        flow_id: on.flow.id,
        run_id: on.run.id,
        status: BatchStatus::Failed,
        started_at_ms: on.facts().started_at_ms,
        completed_at_ms: now_ms,
        table_version: None,
        totals: Totals::default(),
        files: Vec::new(),
        errors: Vec::new(),
    }
}

fn batch_resource(on: &Assignment, body: Batch, now_ms: i64) -> Resource<Batch> {
    let batch = Resource::new(on.run.scope.clone(), State::Enabled, body, &Actor::scheduler(), now_ms);
    Resource { id: on.batch.clone(), ..batch }
}

impl Control {
    /// Closes the runs of a flow that is being deleted: those that wait never begin, one in progress is cancelled
    /// (flow-service.md 16.8). If that one has just committed, [`Self::settle_success`] corrects its record.
    pub(crate) async fn close_runs(&self, tx: &mut Tx, flow: &Resource<Flow>) -> Result<(), CommandError> {
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
                source_label: spec.map_or("", |spec| self.specs.label(spec)),
                source: *source,
                target: *target,
                // A run that breaks while it reads shows no promotion, and so no batch.
                batch: &BatchId::mint(),
                once: true,
                window: None,
                started_at_ms: run.body.started_at_ms().unwrap_or(now_ms),
            };
            let ended = Ended { landed_at_ms: now_ms, completed_at_ms: now_ms };
            let record = RunRecord::failed(&facts, &failure, None, &[], ended);
            run.body.record(record);
            let expected = run.touch(&Actor::scheduler(), now_ms);
            tx.replace(&run, &expected).await?;
        }
        Ok(())
    }
}
