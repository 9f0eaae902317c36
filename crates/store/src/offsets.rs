//! Offsets: how far a flow has got in a data set, and what it is about to commit.
//!
//! **Invariant** (docs/architecture.md, section 4). Store offset and table agree on one ordinal, or exactly one pending
//! row explains the difference. Anything else is a [`StoreError::Disagreement`]: the flow stops, it never guesses.

use headwaters_model::id::{DataSetId, FlowId, RunId};
use headwaters_model::job::Landed;
use headwaters_model::metrics::RunFacts;
use headwaters_model::offset::Ordinal;
use headwaters_model::sandbox::Scope;
use serde_json::Value;
use sqlx::sqlite::SqliteRow;

use crate::db::Store;
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
    /// What else the run's record tells; the flow may be gone when the run is settled.
    pub facts: RunFacts,
}

/// What is pending of a run that is over.
#[derive(Debug, Clone, PartialEq)]
pub struct LeftBehind {
    /// Where it stands in the table.
    place: i64,
    /// Where it lives.
    pub scope: Scope,
    /// What was about to be committed.
    pub pending: PendingCommit,
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
                 (flow_id, data_set_id, ordinal, org, sandbox, run_id, base, value, landed, landed_at_us, facts)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
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
            .bind(rows::us(pending.landed_at_ms))
            .bind(rows::to_json("the facts of a run", &pending.facts)?);
        query.execute(self.connection()).await?;
        Ok(())
    }

    /// What the flow's attempts were about to commit, the oldest first.
    pub async fn pending(&mut self, flow: FlowId, data_set: &DataSetId) -> Result<Vec<PendingCommit>, StoreError> {
        let query = sqlx::query(
            "select * from pending_offset
             where flow_id = $1 and data_set_id = $2 and org = $3 and sandbox = $4 order by ordinal",
        );
        let query = query.bind(flow.to_string()).bind(data_set.as_str()).bind(self.org()).bind(self.sandbox());
        let found = query.fetch_all(self.connection()).await?;
        found.iter().map(pending_commit).collect()
    }

    /// Forgets the attempts and offsets of a flow that is gone, unless something of it is pending: a commit that may
    /// still be made, or be found. Nobody goes on with its plans.
    pub async fn forget_flow(&mut self, flow: FlowId) -> Result<(), StoreError> {
        for text in [
            "delete from attempt where flow_id = $1 and org = $2 and sandbox = $3
             and not exists (select 1 from pending_offset p where p.flow_id = $1)",
            "delete from offset_reached where flow_id = $1 and org = $2 and sandbox = $3
             and not exists (select 1 from pending_offset p where p.flow_id = $1)",
            "delete from read_plan where flow_id = $1 and org = $2 and sandbox = $3",
        ] {
            let query = sqlx::query(text).bind(flow.to_string()).bind(self.org()).bind(self.sandbox());
            query.execute(self.connection()).await?;
        }
        Ok(())
    }

    /// Forgets what an attempt was about to commit: it can not be committed any more.
    pub async fn drop_pending(&mut self, pending: &PendingCommit) -> Result<(), StoreError> {
        let query = sqlx::query(
            "delete from pending_offset
             where flow_id = $1 and data_set_id = $2 and org = $3 and sandbox = $4 and ordinal = $5",
        );
        let query = query
            .bind(pending.flow.to_string())
            .bind(pending.data_set.as_str())
            .bind(self.org())
            .bind(self.sandbox())
            .bind(pending.ordinal.0);
        query.execute(self.connection()).await?;
        Ok(())
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
                self.note_covered(committed.run, committed.landed.window).await?;
                self.put_part(committed).await?;
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

impl Store {
    /// What is pending of runs that are over, in all scopes, the oldest first; `after` is the last one of the page
    /// before. A row that can not be read is logged and left out.
    pub async fn left_behind(&self, after: Option<&LeftBehind>, limit: u32) -> Result<Vec<LeftBehind>, StoreError> {
        let query = sqlx::query(
            "select p.rowid as place, p.*, s.name as sandbox_name from pending_offset p
             join sandbox s on s.id = p.sandbox join run r on r.id = p.run_id
             where r.status not in ('scheduled', 'inProgress') and p.rowid > $1 order by p.rowid limit $2",
        );
        let query = query.bind(after.map_or(0, |last| last.place)).bind(i64::from(limit));
        let found = query.fetch_all(self.readers()).await?;
        let left = |row| {
            let place = rows::value(row, "place")?;
            Ok(LeftBehind { place, scope: rows::scope(row)?, pending: pending_commit(row)? })
        };
        Ok(found.iter().map(left).filter_map(rows::readable).collect())
    }
}

fn pending_commit(row: &SqliteRow) -> Result<PendingCommit, StoreError> {
    Ok(PendingCommit {
        flow: rows::parsed(row, "flow_id")?,
        data_set: rows::parsed(row, "data_set_id")?,
        run: rows::parsed(row, "run_id")?,
        ordinal: Ordinal(rows::value(row, "ordinal")?),
        base: ordinal(row, "base")?,
        next: rows::json(row, "value")?,
        landed: rows::json(row, "landed")?,
        landed_at_ms: rows::time_ms(row, "landed_at_us")?,
        facts: rows::json(row, "facts")?,
    })
}

fn ordinal(row: &SqliteRow, column: &str) -> Result<Option<Ordinal>, StoreError> {
    Ok(rows::value::<Option<i64>>(row, column)?.map(Ordinal))
}
