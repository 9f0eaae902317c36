//! Leases: which worker has which run.
//!
//! **Invariant.** At most one run of a flow is at work: the partial unique index `run_at_work` holds it, and a claim
//! takes the write lock before it looks. A lease saves work, not correctness: what two attempts of one flow may commit
//! is decided by their ordinals (docs/architecture.md, section 4).
//!
//! **Invariant.** Nothing keeps a run from its next worker for longer than a lease and the largest pause
//! ([`PAUSE_MS_MAX`]). The end of a lease is a moment of the wall clock, and a clock may be set back by hours: what then
//! seems to be leased for longer than anybody ever leases has ended. A worker that still has such a run in hand prolongs
//! it with its next heartbeat, which counts time by another clock; it does not take the run from itself meanwhile.

use std::sync::Arc;

use headwaters_model::account::Actor;
use headwaters_model::flow::Flow;
use headwaters_model::id::{BatchId, RunId};
use headwaters_model::metrics::RunRecord;
use headwaters_model::resource::Resource;
use headwaters_model::run::{Run, RunOrigin, RunStatus};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;
use tracing::error;

use crate::db::Store;
use crate::error::StoreError;
use crate::rows;
use crate::runs::origin_of;
use crate::tx::Tx;

/// How many runs that can not be read one call looks past.
const CLAIM_TRIES_MAX: usize = 8;
/// How long a run or a flow that can not be read is left alone, in milliseconds.
pub const DAMAGED_PAUSE_MS: i64 = 3_600_000;
/// The largest pause before a next attempt, in milliseconds: the longest time for which the end of a lease is set.
pub const PAUSE_MS_MAX: i64 = 120_000;

/// A run that is ours until the lease ends.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    /// The run, in progress; its scope is where to work.
    pub run: Resource<Run>,
    /// What it reads, and whether it repeats another.
    pub origin: RunOrigin,
    /// The batch that its rows belong to, minted when it was first claimed.
    pub batch: BatchId,
    /// The instant of the schedule that it serves, milliseconds since 1970.
    pub scheduled_for_ms: Option<i64>,
    /// Whether another worker had it before and let the lease end: look for what it left behind first.
    pub taken_over: bool,
}

impl Store {
    /// Claims the run that has waited longest: one whose worker let its lease end, else one that is due and whose flow
    /// is in use and has no run at work. One that can not be read is logged and put aside.
    ///
    /// What the caller has `in_hand` is not claimed, whatever its lease says: after a time without the store, or with
    /// another clock, the lease is prolonged and the work goes on, where a claim would throw it away.
    pub async fn claim_run(
        &self,
        owner: &str,
        in_hand: &[RunId],
        now_ms: i64,
        lease_ms: i64,
    ) -> Result<Option<Claim>, StoreError> {
        for _ in 0..CLAIM_TRIES_MAX {
            let mut found = self.writer().begin_with("begin immediate").await?;
            let row = match let_go(&mut found, in_hand, now_ms, lease_ms).await? {
                Some(row) => row,
                None => match waiting(&mut found, now_ms).await? {
                    Some(row) => row,
                    None => return Ok(None),
                },
            };
            let scope = rows::scope(&row)?;
            let mut tx = Tx::new(found, scope, Arc::clone(self.vault()));
            let claim = match tx.take(&row, owner, now_ms, lease_ms).await {
                Err(damage @ StoreError::Damaged { .. }) => {
                    drop(tx);
                    self.put_aside(&row, &damage, now_ms).await?;
                    continue;
                }
                taken => taken?,
            };
            tx.commit().await?;
            return Ok(Some(claim));
        }
        Ok(None)
    }

    /// Moves a run that can not be read behind the others, so that it is not claimed first for ever.
    async fn put_aside(&self, row: &SqliteRow, damage: &StoreError, now_ms: i64) -> Result<(), StoreError> {
        let id: &str = rows::value(row, "id")?;
        error!(run = id, error = damage as &dyn std::error::Error, "a run can not be read and is put aside");
        let query = sqlx::query("update run set due_at_us = $1, lease_owner = null, lease_until_us = $1 where id = $2");
        let until_ms = now_ms.saturating_add(DAMAGED_PAUSE_MS);
        query.bind(rows::us(until_ms)).bind(id).execute(self.writer()).await?;
        Ok(())
    }

    /// Prolongs a lease. False means that it is not ours any more: stop working.
    pub async fn heartbeat(&self, run: RunId, owner: &str, until_ms: i64) -> Result<bool, StoreError> {
        let query = sqlx::query(
            "update run set lease_until_us = $1 where id = $2 and lease_owner = $3 and status = 'inProgress'",
        );
        let query = query.bind(rows::us(until_ms)).bind(run.to_string()).bind(owner);
        Ok(query.execute(self.writer()).await?.rows_affected() == 1)
    }

    /// Gives a lease back, so that another worker may take the run at once.
    pub async fn release(&self, run: RunId, owner: &str) -> Result<(), StoreError> {
        let query = sqlx::query(
            "update run set lease_until_us = 0 where id = $1 and lease_owner = $2 and status = 'inProgress'",
        );
        query.bind(run.to_string()).bind(owner).execute(self.writer()).await?;
        Ok(())
    }
}

/// The run at work whose lease ended first and that the caller has not in hand itself; the write lock is held. Only what
/// was put aside has an end without an owner, and may be put aside for longer than any lease.
async fn let_go(
    connection: &mut SqliteConnection,
    in_hand: &[RunId],
    now_ms: i64,
    lease_ms: i64,
) -> Result<Option<SqliteRow>, StoreError> {
    let query = sqlx::query(
        "select r.*, s.name as sandbox_name from run r join sandbox s on s.id = r.sandbox
         where r.status = 'inProgress' and (r.lease_until_us is null or r.lease_until_us <= $1
           or (r.lease_until_us > $2 and r.lease_owner is not null) or r.lease_until_us > $3)
         order by r.lease_until_us, r.id limit $4",
    );
    let from_now = |ms: i64| rows::us(now_ms.saturating_add(ms));
    let query = query
        .bind(rows::us(now_ms))
        .bind(from_now(lease_ms.saturating_add(PAUSE_MS_MAX)))
        .bind(from_now(DAMAGED_PAUSE_MS))
        .bind(i64::try_from(in_hand.len()).unwrap_or(i64::MAX).saturating_add(1));
    for row in query.fetch_all(connection).await? {
        let id: &str = rows::value(&row, "id")?;
        if !in_hand.iter().any(|run| run.to_string() == id) {
            return Ok(Some(row));
        }
    }
    Ok(None)
}

/// The run that is due and has waited longest; the write lock is held.
async fn waiting(connection: &mut SqliteConnection, now_ms: i64) -> Result<Option<SqliteRow>, StoreError> {
    let query = sqlx::query(
        "select r.*, s.name as sandbox_name from run r join sandbox s on s.id = r.sandbox
         where r.status = 'scheduled' and r.due_at_us <= $1
         and exists (select 1 from flow f where f.id = r.flow_id and f.state = 'enabled')
         and not exists (select 1 from run o where o.flow_id = r.flow_id and o.status = 'inProgress')
         order by r.due_at_us, r.id limit 1",
    );
    Ok(query.bind(rows::us(now_ms)).fetch_optional(connection).await?)
}

impl Tx {
    async fn take(&mut self, row: &SqliteRow, owner: &str, now_ms: i64, lease_ms: i64) -> Result<Claim, StoreError> {
        let mut run: Resource<Run> = rows::resource(row, self.scope())?;
        let origin = origin_of(row)?;
        let stored: Option<String> = rows::value(row, "batch_id")?;
        let batch = match stored {
            Some(text) => text.parse().map_err(|error| StoreError::damaged("a batch id", error))?,
            None => BatchId::mint(),
        };
        let taken_over = run.body.status() == RunStatus::InProgress;
        if !taken_over {
            run.body.record(RunRecord::begun(now_ms));
            let expected = run.touch(&Actor::scheduler(), now_ms);
            self.replace(&run, &expected).await?;
            self.show_last_run(&run).await?;
        }
        let query = sqlx::query(
            "update run set lease_owner = $1, lease_until_us = $2, batch_id = $3 where id = $4 and org = $5 and sandbox = $6",
        );
        let query = query
            .bind(owner)
            .bind(rows::us(now_ms.saturating_add(lease_ms)))
            .bind(batch.as_str())
            .bind(run.id.to_string())
            .bind(self.org())
            .bind(self.sandbox());
        query.execute(self.connection()).await?;
        Ok(Claim { run, origin, batch, scheduled_for_ms: rows::time_ms_opt(row, "scheduled_for_us")?, taken_over })
    }

    /// Shows a run as the latest of its flow, without a new version of the flow (flow-service.md 4). An older run does
    /// not hide a newer one, and a flow that was deleted meanwhile shows nothing.
    pub(crate) async fn show_last_run(&mut self, run: &Resource<Run>) -> Result<(), StoreError> {
        let Some(mut flow) = self.get::<Flow>(&run.body.flow_id).await? else { return Ok(()) };
        if flow.body.last_run_details.as_ref().is_some_and(|shown| shown.id > run.id) {
            return Ok(());
        }
        flow.body.last_run_details = Some(run.last_run_details());
        self.rewrite(&flow).await
    }
}
