//! The end of a run: one transaction writes its record, its offset, its batch, and what flow and data set show of it.
//!
//! **Invariant** (docs/architecture.md, section 4, step 5). The table leads and the store follows: a run is a success
//! exactly if the table holds its commit (or it read no rows), whatever became of its worker, its lease or its flow
//! meanwhile.

use std::time::Duration;

use headwaters_model::account::Actor;
use headwaters_model::batch::{Batch, BatchError, BatchStatus};
use headwaters_model::flow::Flow;
use headwaters_model::id::{BatchId, DataSetId, PlanId};
use headwaters_model::job::{Committed, Failure, Landed, Stage, Totals};
use headwaters_model::metrics::{Ended, RunFacts, RunRecord, Window, failure_code, show_attempts};
use headwaters_model::resource::{Kind as _, Resource, ResourceRef, State};
use headwaters_model::run::Run;
use headwaters_model::sandbox::Scope;
use headwaters_model::window::Windowed;
use headwaters_store::{AttemptEnd, Outdated, PendingCommit, Promotion, Settlement, StoreError, Tx};
use metrics::{counter, histogram};
use tracing::info;

use crate::Control;
use crate::access::Caller;
use crate::attempt::Skip;
use crate::audit::{Deed, note};
use crate::error::CommandError;
use crate::notify::Fact;
use crate::progress::attempts_shown;
use crate::scheduler::is_once;

/// What a run says of itself whose window was skipped.
const SKIPPED: &str =
    "the next run of the schedule goes on behind the window of this one: repeat this run to read what lies in it";

/// What a successful attempt has to tell.
pub(crate) struct Success<'a> {
    pub(crate) landed: &'a Landed,
    pub(crate) landed_at_ms: i64,
    pub(crate) committed: Committed,
    pub(crate) promotion: Promotion,
    pub(crate) attempt: AttemptEnd,
}

/// What a run has to tell that broke for good.
pub(crate) struct Broke<'a> {
    pub(crate) failure: &'a Failure,
    /// The counters of its last attempt.
    pub(crate) so_far: Totals,
    /// What a person should know, one sentence each.
    pub(crate) notes: Vec<String>,
    pub(crate) attempt: Option<AttemptEnd>,
    /// What it was about to read that the next run of the schedule is not to read.
    pub(crate) skip: Option<Skip>,
}

impl<'a> Broke<'a> {
    /// A run that broke before it began to read.
    pub(crate) fn early(failure: &'a Failure) -> Self {
        Self { failure, so_far: Totals::default(), notes: Vec::new(), attempt: None, skip: None }
    }
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
            attempt: AttemptEnd { rows_in: pending.landed.totals.rows_in, ..AttemptEnd::of(pending.ordinal) },
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
        let mut landed = landed.clone();
        landed.add(self.visible(&on.run).await?.0);
        let record = RunRecord::success(&on.facts, &landed, ended);
        let body = Batch {
            status: BatchStatus::Success,
            table_version: success.committed.version,
            totals: landed.totals,
            files: landed.files.clone(),
            errors: Vec::new(),
            ..batch_of(on, now_ms)
        };
        let batch = (landed.totals.rows_in > 0).then(|| batch_resource(on, body, now_ms));
        let end = End {
            record,
            owner: None,
            promotion: success.promotion.clone(),
            windowed: None,
            finished: success.landed.part.as_ref().map(|part| part.plan.id),
            attempt: Some(success.attempt.clone()),
        };
        self.settle(on, end, batch.as_ref()).await?;
        // Here and nowhere else, so that rows count once, whoever finds their commit.
        if success.promotion != Promotion::Unchanged {
            count(&success.landed.totals);
        }
        if let (true, Some(window)) = (success.landed.reached.is_some(), on.facts.window) {
            count_lag(window, now_ms);
        }
        Ok(())
    }

    /// Closes a run that broke for good, while the lease is ours. Fails with [`StoreError::LeaseLost`] otherwise.
    pub(crate) async fn settle_failure(
        &self,
        on: &Closing,
        owner: &str,
        Broke { failure, so_far, mut notes, attempt, skip }: Broke<'_>,
    ) -> Result<(), StoreError> {
        let now_ms = self.clock.now_ms();
        let (visible, commits) = self.visible(&on.run).await?;
        notes.extend(visible_in(visible.totals.rows_out, commits));
        let skip = match skip {
            Some(skip) if commits == 0 && !self.part_may_come(on).await? => Some(skip),
            _ => None,
        };
        notes.extend(skip.as_ref().map(|_| SKIPPED.to_owned()));
        let so_far = if so_far.rows_in < visible.totals.rows_in { visible.totals } else { so_far };
        let read = (so_far.rows_in > 0).then_some(&so_far);
        let ended = Ended { landed_at_ms: now_ms, completed_at_ms: now_ms };
        let record = RunRecord::failed(&on.facts, failure, read, &visible, &notes, ended);
        let error = BatchError { code: failure_code(failure.stage).to_owned(), description: failure.message.clone() };
        let body = Batch { totals: so_far, files: visible.files, errors: vec![error], ..batch_of(on, now_ms) };
        let batch = read.map(|_| batch_resource(on, body, now_ms));
        // Whatever is pending stays pending: a commit that is still under way may yet be made.
        let promotion = skip.as_ref().map_or(Promotion::Unchanged, |skip| skip.promotion.clone());
        let windowed = skip.map(|skip| skip.windowed);
        let end = End { record, owner: Some(owner), promotion, windowed, finished: None, attempt };
        self.settle(on, end, batch.as_ref()).await
    }

    /// Settles a commit that holds some key ranges of a run that goes on. A run that was closed meanwhile says that rows of
    /// it are there; whoever reads the same next goes on with the rest.
    pub(crate) async fn settle_part(
        &self,
        scope: &Scope,
        pending: &PendingCommit,
        attempt: AttemptEnd,
    ) -> Result<(), StoreError> {
        let now_ms = self.clock.now_ms();
        let mut tx = self.store.write(scope).await?;
        let reached = tx.offset(pending.flow, &pending.data_set).await?.and_then(|offset| offset.ordinal);
        if reached >= Some(pending.ordinal) {
            info!(run = %pending.run, ordinal = %pending.ordinal, "the commit was settled by somebody else");
            return Ok(());
        }
        tx.promote(pending.flow, &pending.data_set, &Promotion::Table(Some(pending.ordinal)), now_ms).await?;
        tx.end_attempt(pending.flow, &attempt, now_ms).await?;
        if let Some(mut run) = tx.get::<Run>(&pending.run).await?.filter(|run| run.body.status().is_final()) {
            run.body.add_notes(visible_in(pending.landed.totals.rows_out, 1));
            let expected = run.touch(&Actor::scheduler(), now_ms);
            tx.replace_reported(&run, &expected).await?;
        }
        if tx.get::<Flow>(&pending.flow).await?.is_none() {
            tx.forget_flow(pending.flow).await?;
        }
        tx.commit().await?;
        count(&pending.landed.totals);
        Ok(())
    }

    /// Whether a commit of a part of what a run reads may still be made: its window is in the table in part then.
    async fn part_may_come(&self, on: &Closing) -> Result<bool, StoreError> {
        let pending = self.store.read(&on.run.scope).await?.pending(on.run.body.flow_id, &on.data_set).await?;
        Ok(pending.iter().any(|row| row.run == on.run.id && row.landed.splits_left > 0))
    }

    /// What a run has made visible before its end, and by how many commits.
    async fn visible(&self, run: &Resource<Run>) -> Result<(Landed, usize), StoreError> {
        let parts = self.store.read(&run.scope).await?.partial_commits(run.id).await?;
        let (mut visible, commits) = (Landed::default(), parts.len());
        parts.into_iter().for_each(|part| visible.add(part));
        Ok((visible, commits))
    }

    async fn settle(&self, on: &Closing, end: End<'_>, batch: Option<&Resource<Batch>>) -> Result<(), StoreError> {
        let now_ms = self.clock.now_ms();
        let by = Actor::scheduler();
        let mut run = on.run.clone();
        run.body.record(end.record);
        run.body.show_window(on.facts.window);
        let mut tx = self.store.write(&run.scope).await?;
        if let (Some(windowed), Promotion::Empty { base, .. }) = (&end.windowed, &end.promotion)
            && tx.offset(run.body.flow_id, &on.data_set).await?.is_some_and(|offset| offset.ordinal == *base)
        {
            tx.keep_window(run.id, windowed).await?;
        }
        let ending = end.attempt.as_ref().map(|end| (end, now_ms));
        show_attempts(&mut run.body.metrics, &attempts_shown(&mut tx, run.id, ending).await?);
        let expected = run.touch(&by, now_ms);
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
        if let Some(plan) = end.finished {
            tx.finish_plan(plan, run.id).await?;
        }
        self.tell(&mut tx, Fact::of_end(run.body.status()), &run).await?;
        tx.commit().await
    }
}

/// Counts how far behind the rows of a run that moved its flow on were when they became visible.
fn count_lag(window: Window, now_ms: i64) {
    let lag_ms = u64::try_from(now_ms.saturating_sub(window.end_ms)).unwrap_or_default();
    histogram!("headwaters_watermark_lag_seconds").record(Duration::from_millis(lag_ms));
}

/// Counts what became visible.
fn count(totals: &Totals) {
    counter!("headwaters_rows_in_total").increment(totals.rows_in);
    counter!("headwaters_rows_out_total").increment(totals.rows_out);
    counter!("headwaters_rows_rejected_total").increment(totals.rows_rejected);
    counter!("headwaters_bytes_in_total").increment(totals.bytes_in);
    counter!("headwaters_bytes_out_total").increment(totals.bytes_out);
}

/// How a run is closed.
struct End<'a> {
    record: RunRecord,
    /// The lease that a failure needs.
    owner: Option<&'a str>,
    promotion: Promotion,
    /// The window that is the run's own from now on, if the offset moves past it.
    windowed: Option<Windowed>,
    /// The plan that is in the table as a whole now.
    finished: Option<PlanId>,
    attempt: Option<AttemptEnd>,
}

/// What a person should know of a run that broke for good after some of its rows became visible.
fn visible_in(rows: u64, commits: usize) -> Option<String> {
    (commits > 0).then(|| {
        format!(
            "{rows} rows of this run are in the data set, by {commits} commits of key ranges: a run that repeats it, or the \
             next one of a flow that recurs, goes on with the rest"
        )
    })
}

fn batch_of(on: &Closing, now_ms: i64) -> Batch {
    Batch {
        data_set_id: on.data_set.clone(),
        flow_id: on.run.body.flow_id,
        run_id: on.run.id,
        status: BatchStatus::Failed,
        started_at_ms: on.facts.started_at_ms,
        // A clock may be set back.
        completed_at_ms: now_ms.max(on.facts.started_at_ms),
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
        let is_once = is_once(flow);
        let now_ms = self.clock.now_ms();
        for mut run in tx.unfinished_runs(flow.id).await? {
            let facts = RunFacts {
                run: run.id,
                source_label: spec.map_or_else(String::new, |spec| self.specs.label(spec).to_owned()),
                source: *source,
                target: *target,
                // A run that breaks while it reads shows no promotion, and so no batch.
                batch: BatchId::mint(),
                once: is_once,
                window: tx.run_origin(run.id).await?.windowed.map(|windowed| windowed.window),
                started_at_ms: run.body.started_at_ms().unwrap_or(now_ms),
            };
            let ended = Ended { landed_at_ms: now_ms, completed_at_ms: now_ms };
            let parts = tx.partial_commits(run.id).await?;
            let commits = parts.len();
            let mut visible = Landed::default();
            parts.into_iter().for_each(|part| visible.add(part));
            let notes: Vec<String> = visible_in(visible.totals.rows_out, commits).into_iter().collect();
            let record = RunRecord::failed(&facts, &failure, None, &visible, &notes, ended);
            run.body.record(record);
            show_attempts(&mut run.body.metrics, &attempts_shown(tx, run.id, None).await?);
            let expected = run.touch(&Actor::scheduler(), now_ms);
            tx.replace(&run, &expected).await?;
            self.tell(tx, Fact::Failed, &run).await?;
            note(tx, caller, Deed::Cancel, run.reference(), &run.etag, now_ms).await?;
        }
        Ok(())
    }
}
