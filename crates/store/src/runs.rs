//! Runs: how they come to be, their attempts, and how they are settled.
//!
//! **Invariant.** Ordinals of a flow only grow: they come from a counter of the flow that no failure and no deletion of
//! an attempt sets back.
//!
//! **Invariant.** Settling is one transaction: the offset, the run, its batch, its flow and its data set change together
//! or not at all, and only if the run is still the version that the caller has worked on. A failure is written only by
//! the holder of the lease: a worker that was given up can not take the run away from its successor.

use headwaters_model::account::Actor;
use headwaters_model::batch::{Batch, BatchStatus};
use headwaters_model::data_set::{DataSet, LastBatch};
use headwaters_model::etag::Etag;
use headwaters_model::flow::Flow;
use headwaters_model::id::{DataSetId, FlowId, RunId};
use headwaters_model::offset::Ordinal;
use headwaters_model::resource::{Kind as _, Resource, ResourceRef};
use headwaters_model::run::{Run, RunOrigin, RunStatus};
use headwaters_model::source_error::Retry;
use headwaters_model::window::Windowed;
use serde_json::Value;
use sqlx::sqlite::SqliteRow;

use crate::audit::AuditEntry;
use crate::error::{Outdated, StoreError};
use crate::offsets::{Offset, Promotion};
use crate::resources::columns;
use crate::rows;
use crate::tx::Tx;

/// One try at a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// Its number in the flow.
    pub ordinal: Ordinal,
    /// The ordinal that its offset came from; its commit is tried only while this is the table's last.
    pub base: Option<Ordinal>,
    /// Where it begins to read; none from the start.
    pub offset: Option<Value>,
    /// Its number in the run, starting at 1.
    pub number: u32,
}

/// An attempt as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptRecord {
    /// Its number in the flow.
    pub ordinal: Ordinal,
    /// When it began, milliseconds since 1970.
    pub started_at_ms: i64,
    /// When it ended, milliseconds since 1970.
    pub ended_at_ms: Option<i64>,
    /// Why it broke.
    pub error: Option<String>,
    /// How what broke it is best tried again; none where that is pointless, or was not the source's to say.
    pub retry: Option<Retry>,
    /// Rows that it had read.
    pub rows_in: u64,
    /// Which server it had reached.
    pub server: Option<String>,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptEnd {
    /// Which attempt.
    pub ordinal: Ordinal,
    /// Why it broke; none when it did not.
    pub error: Option<String>,
    /// How what broke it is best tried again.
    pub retry: Option<Retry>,
    /// Rows that it has read.
    pub rows_in: u64,
    /// Which server it has reached.
    pub server: Option<String>,
}

impl AttemptEnd {
    /// The end of an attempt of which nothing more is known than that nothing broke it.
    #[must_use]
    pub fn of(ordinal: Ordinal) -> Self {
        Self { ordinal, error: None, retry: None, rows_in: 0, server: None }
    }
}

/// The end of a run.
#[derive(Debug)]
pub struct Settlement<'a> {
    /// The run with its final record, touched ([`Resource::touch`]).
    pub run: &'a Resource<Run>,
    /// The version that the store must still hold.
    pub expected: &'a Etag,
    /// The lease under which a failure is written. A success needs none: the table leads, and holds the rows already.
    pub owner: Option<&'a str>,
    /// Where the run lands.
    pub data_set: &'a DataSetId,
    /// What becomes of the offset.
    pub promotion: Promotion,
    /// The last attempt.
    pub attempt: Option<AttemptEnd>,
    /// The batch; none for a run that read no rows.
    pub batch: Option<&'a Resource<Batch>>,
    /// In whose name.
    pub by: &'a Actor,
    /// Now, milliseconds since 1970.
    pub now_ms: i64,
}

impl Tx {
    /// Makes a run for an instant of its flow's schedule, which waits until it is due; until it is over, the flow is due
    /// no more. False when the flow has a run for this instant already: any number of schedulers agree on one.
    pub async fn schedule_run(
        &mut self,
        run: &Resource<Run>,
        origin: &RunOrigin,
        due_ms: i64,
        scheduled_for_ms: Option<i64>,
    ) -> Result<bool, StoreError> {
        self.make_run(run, origin, due_ms, scheduled_for_ms).await
    }

    /// Makes a run that somebody has asked for, which waits until it is due and serves no instant of the schedule.
    pub async fn queue_run(&mut self, run: &Resource<Run>, origin: &RunOrigin, due_ms: i64) -> Result<(), StoreError> {
        self.make_run(run, origin, due_ms, None).await.map(drop)
    }

    async fn make_run(
        &mut self,
        run: &Resource<Run>,
        RunOrigin { windowed, instant_ms, root }: &RunOrigin,
        due_ms: i64,
        scheduled_for_ms: Option<i64>,
    ) -> Result<bool, StoreError> {
        let windowed = windowed.as_ref().map(|windowed| rows::to_json("a window", windowed)).transpose()?;
        let query = sqlx::query(concat!(
            "insert into run (",
            columns!(),
            ", due_at_us, scheduled_for_us, windowed, instant_us, repeats_root)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
             on conflict (flow_id, scheduled_for_us) do nothing",
        ));
        let query = self
            .bind_new(query, run)?
            .bind(rows::us(due_ms))
            .bind(scheduled_for_ms.map(rows::us))
            .bind(windowed)
            .bind(instant_ms.map(rows::us))
            .bind(root.map(|root| root.to_string()));
        let made = query.execute(self.connection()).await?.rows_affected() == 1;
        if made {
            self.show_last_run(run).await?;
            if scheduled_for_ms.is_some() {
                self.expect_scheduled(run.body.flow_id, run.id).await?;
            }
        }
        Ok(made)
    }

    /// What a run reads, and whether it repeats another.
    pub async fn run_origin(&mut self, run: RunId) -> Result<RunOrigin, StoreError> {
        let query = sqlx::query(
            "select windowed, instant_us, repeats_root from run where id = $1 and org = $2 and sandbox = $3",
        );
        let query = query.bind(run.to_string()).bind(self.org()).bind(self.sandbox());
        match query.fetch_optional(self.connection()).await? {
            Some(row) => origin_of(&row),
            None => Err(Outdated::Missing(ResourceRef::new(Run::COLLECTION, run)).into()),
        }
    }

    /// Makes a window the run's own, with which it begins once more when it is repeated: one that the offset moves past, in
    /// the same transaction.
    pub async fn keep_window(&mut self, run: RunId, windowed: &Windowed) -> Result<(), StoreError> {
        let query = sqlx::query("update run set windowed = $1 where id = $2 and org = $3 and sandbox = $4");
        let query = query.bind(rows::to_json("a window", windowed)?).bind(run.to_string());
        query.bind(self.org()).bind(self.sandbox()).execute(self.connection()).await?;
        Ok(())
    }

    /// The runs of a flow that are not over yet, the oldest first.
    pub async fn unfinished_runs(&mut self, flow: FlowId) -> Result<Vec<Resource<Run>>, StoreError> {
        let query = sqlx::query(concat!(
            "select ",
            columns!(),
            " from run where org = $1 and sandbox = $2 and flow_id = $3 and status in ('scheduled', 'inProgress') \
             order by created_at_us, id",
        ));
        let query = query.bind(self.org()).bind(self.sandbox()).bind(flow.to_string());
        let found = query.fetch_all(self.connection()).await?;
        found.iter().map(|row| rows::resource(row, self.scope())).collect()
    }

    /// Begins an attempt of a run that this worker has leased: takes the flow's next ordinal, and with it the offset
    /// and base that the attempt is bound to.
    pub async fn begin_attempt(
        &mut self,
        run: &Resource<Run>,
        owner: &str,
        data_set: &DataSetId,
        now_ms: i64,
    ) -> Result<Attempt, StoreError> {
        self.expect_lease(run, owner).await?;
        let ordinal = self.next_ordinal(run).await?;
        let query = sqlx::query(
            "insert into attempt (flow_id, ordinal, org, sandbox, run_id, started_at_us) values ($1, $2, $3, $4, $5, $6)",
        );
        let query = query
            .bind(run.body.flow_id.to_string())
            .bind(ordinal.0)
            .bind(self.org())
            .bind(self.sandbox())
            .bind(run.id.to_string())
            .bind(rows::us(now_ms));
        query.execute(self.connection()).await?;
        let number = u32::try_from(self.attempts(run.id).await?.len()).unwrap_or(u32::MAX);
        let (base, offset) = match self.offset(run.body.flow_id, data_set).await? {
            Some(Offset { ordinal, value }) => (ordinal, Some(value)),
            None => (None, None),
        };
        Ok(Attempt { ordinal, base, offset, number })
    }

    /// Fails with [`StoreError::LeaseLost`] unless the run is at work and leased to this owner.
    pub async fn expect_lease(&mut self, run: &Resource<Run>, owner: &str) -> Result<(), StoreError> {
        let query = sqlx::query(
            "select 1 from run where id = $1 and org = $2 and sandbox = $3 and lease_owner = $4 and status = 'inProgress'",
        );
        let query = query.bind(run.id.to_string()).bind(self.org()).bind(self.sandbox()).bind(owner);
        match query.fetch_optional(self.connection()).await? {
            Some(_) => Ok(()),
            None => Err(StoreError::LeaseLost(run.reference())),
        }
    }

    /// Notes how an attempt ended.
    pub async fn end_attempt(&mut self, flow: FlowId, end: &AttemptEnd, now_ms: i64) -> Result<(), StoreError> {
        let query = sqlx::query(
            "update attempt set ended_at_us = $1, error = $2, retry = $3, rows_in = $4, server = $5
             where flow_id = $6 and ordinal = $7 and org = $8 and sandbox = $9",
        );
        let retry = end.retry.map(|retry| rows::to_json("how an attempt is tried again", &retry)).transpose()?;
        let query = query
            .bind(rows::us(now_ms))
            .bind(end.error.as_deref())
            .bind(retry)
            .bind(i64::try_from(end.rows_in).unwrap_or(i64::MAX))
            .bind(end.server.as_deref())
            .bind(flow.to_string())
            .bind(end.ordinal.0)
            .bind(self.org())
            .bind(self.sandbox());
        query.execute(self.connection()).await?;
        Ok(())
    }

    /// The attempts of a run, the oldest first.
    pub async fn attempts(&mut self, run: RunId) -> Result<Vec<AttemptRecord>, StoreError> {
        let query = sqlx::query(
            "select ordinal, started_at_us, ended_at_us, error, retry, rows_in, server from attempt
             where run_id = $1 and org = $2 and sandbox = $3 order by ordinal",
        );
        let query = query.bind(run.to_string()).bind(self.org()).bind(self.sandbox());
        let found = query.fetch_all(self.connection()).await?;
        let record = |row| {
            Ok(AttemptRecord {
                ordinal: Ordinal(rows::value(row, "ordinal")?),
                started_at_ms: rows::time_ms(row, "started_at_us")?,
                ended_at_ms: rows::time_ms_opt(row, "ended_at_us")?,
                error: rows::value(row, "error")?,
                retry: rows::value::<Option<&str>>(row, "retry")?.map(|_| rows::json(row, "retry")).transpose()?,
                rows_in: rows::value::<i64>(row, "rows_in")?.try_into().unwrap_or_default(),
                server: rows::value(row, "server")?,
            })
        };
        found.iter().map(record).collect()
    }

    /// Closes a run with everything that depends on it. A failure is refused with [`StoreError::LeaseLost`] when
    /// somebody else works on the run by now: it may yet succeed. A commit is settled once, whoever finds it; the second
    /// to come gets [`StoreError::Settled`].
    pub async fn settle(&mut self, settlement: Settlement<'_>) -> Result<(), StoreError> {
        let Settlement { run, expected, owner, data_set, promotion, attempt, batch, by, now_ms } = settlement;
        let flow = run.body.flow_id;
        if run.body.status() == RunStatus::Failed {
            self.expect_lease(run, owner.unwrap_or_default()).await?;
        }
        if let Promotion::Table(Some(ordinal)) = promotion
            && self.offset(flow, data_set).await?.is_some_and(|reached| reached.ordinal >= Some(ordinal))
        {
            return Err(StoreError::Settled(run.reference()));
        }
        self.replace(run, expected).await?;
        self.clear_lease(run.id).await?;
        self.forget_scheduled(flow, run.id).await?;
        self.promote(flow, data_set, &promotion, now_ms).await?;
        self.drop_plans(run.id).await?;
        if let Some(end) = attempt {
            self.end_attempt(flow, &end, now_ms).await?;
        }
        if let Some(batch) = batch {
            self.insert(batch).await?;
            self.show_last_batch(data_set, batch).await?;
        }
        self.show_last_run(run).await?;
        if self.get::<Flow>(&flow).await?.is_none() {
            self.forget_flow(flow).await?;
        }
        let resource = run.reference();
        let etag = Some(&run.etag);
        self.audit(&AuditEntry { at_ms: now_ms, by, action: "settle", resource, etag, request_id: None, allowed: true })
            .await
    }

    /// Stores what was reported of a run that is over; its flow shows it, if it is the flow's latest.
    pub async fn replace_reported(&mut self, run: &Resource<Run>, expected: &Etag) -> Result<(), StoreError> {
        self.replace(run, expected).await?;
        self.show_last_run(run).await
    }

    async fn next_ordinal(&mut self, run: &Resource<Run>) -> Result<Ordinal, StoreError> {
        let query = sqlx::query(
            "update flow set last_ordinal = last_ordinal + 1 where id = $1 and org = $2 and sandbox = $3
             returning last_ordinal",
        );
        let query = query.bind(run.body.flow_id.to_string()).bind(self.org()).bind(self.sandbox());
        // The flow was deleted: nobody may work on its runs.
        let row =
            query.fetch_optional(self.connection()).await?.ok_or_else(|| StoreError::LeaseLost(run.reference()))?;
        Ok(Ordinal(rows::value(&row, "last_ordinal")?))
    }

    async fn clear_lease(&mut self, run: RunId) -> Result<(), StoreError> {
        let query = sqlx::query(
            "update run set lease_owner = null, lease_until_us = null where id = $1 and org = $2 and sandbox = $3",
        );
        let query = query.bind(run.to_string()).bind(self.org()).bind(self.sandbox());
        query.execute(self.connection()).await?;
        Ok(())
    }

    /// Shows a batch as the latest of its data set, without a new version of the data set.
    async fn show_last_batch(&mut self, data_set: &DataSetId, batch: &Resource<Batch>) -> Result<(), StoreError> {
        let Some(mut shown) = self.get::<DataSet>(data_set).await? else { return Ok(()) };
        shown.body.last_batch = Some(LastBatch { id: batch.id.clone(), status: batch.body.status });
        match batch.body.status {
            BatchStatus::Success => shown.body.last_successful_batch = Some(batch.id.clone()),
            BatchStatus::Failed => shown.body.last_failed_batch = Some(batch.id.clone()),
        }
        self.rewrite(&shown).await
    }
}

/// The columns that hold what a run reads and what it repeats; runs of before they were there read the whole table.
pub(crate) fn origin_of(row: &SqliteRow) -> Result<RunOrigin, StoreError> {
    let windowed: Option<&str> = rows::value(row, "windowed")?;
    let root: Option<&str> = rows::value(row, "repeats_root")?;
    Ok(RunOrigin {
        windowed: windowed.map(|_| rows::json(row, "windowed")).transpose()?,
        instant_ms: rows::time_ms_opt(row, "instant_us")?,
        root: root.map(|_| rows::parsed(row, "repeats_root")).transpose()?,
    })
}
