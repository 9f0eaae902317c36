//! Offsets: how far a flow has got in a data set, and what it is about to commit.
//!
//! **Invariant** (docs/architecture.md, section 4). Store offset and table agree on one ordinal, or exactly one pending
//! row explains the difference. Anything else is a [`StoreError::Disagreement`]: the flow stops, it never guesses.

use headwaters_model::id::{DataSetId, FlowId, RunId};
use headwaters_model::job::Landed;
use headwaters_model::offset::Ordinal;
use serde_json::Value;
use sqlx::sqlite::SqliteRow;

use crate::error::StoreError;
use crate::rows;
use crate::tx::Tx;

/// How far a flow has got.
#[derive(Debug, Clone, PartialEq)]
pub struct Offset {
    /// The ordinal of the commit that it came from: the base of the next attempt. None before the first commit.
    pub ordinal: Option<Ordinal>,
    /// The offset itself, opaque to everyone but the source.
    pub value: Value,
}

/// What an attempt has landed and is about to commit.
#[derive(Debug, Clone, PartialEq)]
pub struct PendingCommit {
    /// The flow.
    pub flow: FlowId,
    /// Where it lands.
    pub data_set: DataSetId,
    /// The run that the attempt belongs to.
    pub run: RunId,
    /// The attempt.
    pub ordinal: Ordinal,
    /// The ordinal that it builds on.
    pub base: Option<Ordinal>,
    /// How far the flow has got when the commit is made.
    pub next: Value,
    /// What was landed: with it a run whose commit was made, but not settled, can still tell its whole story.
    pub landed: Landed,
    /// When the last file was written, milliseconds since 1970.
    pub landed_at_ms: i64,
}

/// What becomes of the offset when an attempt is over.
#[derive(Debug, Clone, PartialEq)]
pub enum Promotion {
    /// Nothing moves: the table could not be asked, or the attempt never came so far. What is pending stays pending.
    Unchanged,
    /// The table knows this as the flow's last ordinal: the pending offset with exactly this ordinal is promoted, lower
    /// ones are deleted (their base is gone), higher ones stay (they still might be committed).
    Table(Option<Ordinal>),
    /// The attempt found no rows and committed nothing: the offset moves if its base still stands.
    Empty {
        /// The base of the attempt.
        base: Option<Ordinal>,
        /// How far the flow has got.
        next: Value,
    },
}

impl Tx {
    /// How far a flow has got in a data set.
    pub async fn offset(&mut self, flow: FlowId, data_set: &DataSetId) -> Result<Option<Offset>, StoreError> {
        let query = sqlx::query(
            "select ordinal, value from offset_reached
             where flow_id = $1 and data_set_id = $2 and org = $3 and sandbox = $4",
        );
        let query = query.bind(flow.to_string()).bind(data_set.as_str()).bind(self.org()).bind(self.sandbox());
        let row = query.fetch_optional(self.connection()).await?;
        let offset =
            |row: SqliteRow| Ok(Offset { ordinal: ordinal(&row, "ordinal")?, value: rows::json(&row, "value")? });
        row.map(offset).transpose()
    }

    /// Notes what an attempt is about to commit; must be committed before the lake is touched.
    pub async fn put_pending(&mut self, pending: &PendingCommit) -> Result<(), StoreError> {
        let query = sqlx::query(
            "insert into pending_offset
                 (flow_id, data_set_id, ordinal, org, sandbox, run_id, base, value, landed, landed_at_us)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        );
        let query = query
            .bind(pending.flow.to_string())
            .bind(pending.data_set.as_str())
            .bind(pending.ordinal.0)
            .bind(self.org())
            .bind(self.sandbox())
            .bind(pending.run.to_string())
            .bind(pending.base.map(|base| base.0))
            .bind(rows::to_json("an offset", &pending.next)?)
            .bind(rows::to_json("what was landed", &pending.landed)?)
            .bind(rows::us(pending.landed_at_ms));
        query.execute(self.connection()).await?;
        Ok(())
    }

    /// What the flow's attempts were about to commit, the oldest first.
    pub async fn pending(&mut self, flow: FlowId, data_set: &DataSetId) -> Result<Vec<PendingCommit>, StoreError> {
        let query = sqlx::query(
            "select ordinal, run_id, base, value, landed, landed_at_us from pending_offset
             where flow_id = $1 and data_set_id = $2 and org = $3 and sandbox = $4 order by ordinal",
        );
        let query = query.bind(flow.to_string()).bind(data_set.as_str()).bind(self.org()).bind(self.sandbox());
        let found = query.fetch_all(self.connection()).await?;
        let pending = |row| {
            Ok(PendingCommit {
                flow,
                data_set: data_set.clone(),
                run: rows::parsed(row, "run_id")?,
                ordinal: Ordinal(rows::value(row, "ordinal")?),
                base: ordinal(row, "base")?,
                next: rows::json(row, "value")?,
                landed: rows::json(row, "landed")?,
                landed_at_ms: rows::time_ms(row, "landed_at_us")?,
            })
        };
        found.iter().map(pending).collect()
    }

    /// Moves the offset as far as the outcome of an attempt allows.
    pub async fn promote(
        &mut self,
        flow: FlowId,
        data_set: &DataSetId,
        promotion: &Promotion,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let reached = self.offset(flow, data_set).await?;
        let base = reached.as_ref().and_then(|reached| reached.ordinal);
        match promotion {
            Promotion::Unchanged => Ok(()),
            Promotion::Empty { base: expected, next } if base == *expected => {
                self.put_offset(flow, data_set, base, next, now_ms).await
            }
            // Somebody else has moved on: what was found empty is theirs to read.
            Promotion::Empty { .. } => Ok(()),
            Promotion::Table(table) if *table == base => self.drop_pending_through(flow, data_set, base).await,
            Promotion::Table(table) => {
                let pending = self.pending(flow, data_set).await?;
                let explains = |pending: &&PendingCommit| Some(pending.ordinal) == *table && pending.base == base;
                let Some(committed) = pending.iter().find(explains) else {
                    return Err(StoreError::Disagreement { flow: flow.to_string(), table: *table, store: base });
                };
                self.put_offset(flow, data_set, *table, &committed.next, now_ms).await?;
                self.drop_pending_through(flow, data_set, *table).await
            }
        }
    }

    async fn put_offset(
        &mut self,
        flow: FlowId,
        data_set: &DataSetId,
        ordinal: Option<Ordinal>,
        value: &Value,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let query = sqlx::query(
            "insert into offset_reached (flow_id, data_set_id, org, sandbox, ordinal, value, updated_at_us)
             values ($1, $2, $3, $4, $5, $6, $7)
             on conflict (flow_id, data_set_id) do update
             set ordinal = excluded.ordinal, value = excluded.value, updated_at_us = excluded.updated_at_us",
        );
        let query = query
            .bind(flow.to_string())
            .bind(data_set.as_str())
            .bind(self.org())
            .bind(self.sandbox())
            .bind(ordinal.map(|ordinal| ordinal.0))
            .bind(rows::to_json("an offset", value)?)
            .bind(rows::us(now_ms));
        query.execute(self.connection()).await?;
        Ok(())
    }

    /// Deletes what can not be committed any more: everything up to the ordinal that the table has reached.
    async fn drop_pending_through(
        &mut self,
        flow: FlowId,
        data_set: &DataSetId,
        through: Option<Ordinal>,
    ) -> Result<(), StoreError> {
        let Some(through) = through else { return Ok(()) };
        let query = sqlx::query(
            "delete from pending_offset
             where flow_id = $1 and data_set_id = $2 and org = $3 and sandbox = $4 and ordinal <= $5",
        );
        let query =
            query.bind(flow.to_string()).bind(data_set.as_str()).bind(self.org()).bind(self.sandbox()).bind(through.0);
        query.execute(self.connection()).await?;
        Ok(())
    }
}

fn ordinal(row: &SqliteRow, column: &str) -> Result<Option<Ordinal>, StoreError> {
    Ok(rows::value::<Option<i64>>(row, column)?.map(Ordinal))
}
