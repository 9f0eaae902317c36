//! Flows: when they are due, and what may not be deleted because they use it.
//!
//! **Invariant.** A flow with a run of its schedule that is not over is not due: `scheduled_run` names that run from the
//! transaction that makes it to the one that settles it. So a poll finds only flows that get a run, and one that finds
//! none reads one entry of an index, however many flows there are and however many of them are busy.

use headwaters_model::etag::Etag;
use headwaters_model::id::{ConnectionId, FlowId, RunId, SourceConnectionId, TargetConnectionId};
use headwaters_model::sandbox::Scope;
use sqlx::sqlite::SqliteRow;

use crate::db::Store;
use crate::error::StoreError;
use crate::rows;
use crate::tx::Tx;

/// A flow whose instant has come. What it is like is read when its run is made.
#[derive(Debug, Clone, PartialEq)]
pub struct DueFlow {
    /// Where it lives.
    pub scope: Scope,
    /// The flow.
    pub flow: FlowId,
    /// The instant, milliseconds since 1970.
    pub due_ms: i64,
}

impl Tx {
    /// Notes when a flow is due next, and when that was decided; none when nothing more is due.
    pub async fn set_next_due(&mut self, flow: FlowId, due_ms: Option<i64>, now_ms: i64) -> Result<(), StoreError> {
        let query = sqlx::query(
            "update flow set next_due_at_us = $1, due_set_at_us = $2 where id = $3 and org = $4 and sandbox = $5",
        );
        let query = query
            .bind(due_ms.map(rows::us))
            .bind(due_ms.map(|_| rows::us(now_ms)))
            .bind(flow.to_string())
            .bind(self.org())
            .bind(self.sandbox());
        query.execute(self.connection()).await?;
        Ok(())
    }

    /// Notes that this run of the flow's schedule is not over.
    pub(crate) async fn expect_scheduled(&mut self, flow: FlowId, run: RunId) -> Result<(), StoreError> {
        let query = sqlx::query("update flow set scheduled_run = $1 where id = $2 and org = $3 and sandbox = $4");
        let query = query.bind(run.to_string()).bind(flow.to_string()).bind(self.org()).bind(self.sandbox());
        query.execute(self.connection()).await?;
        Ok(())
    }

    /// Notes that this run is over, if it was the one of the flow's schedule: the next may be made.
    pub(crate) async fn forget_scheduled(&mut self, flow: FlowId, run: RunId) -> Result<(), StoreError> {
        let query = sqlx::query(
            "update flow set scheduled_run = null where id = $1 and org = $2 and sandbox = $3 and scheduled_run = $4",
        );
        let query = query.bind(flow.to_string()).bind(self.org()).bind(self.sandbox()).bind(run.to_string());
        query.execute(self.connection()).await?;
        Ok(())
    }

    /// The run of the flow's schedule that is not over.
    pub async fn scheduled_run(&mut self, flow: FlowId) -> Result<Option<RunId>, StoreError> {
        let query = sqlx::query("select scheduled_run from flow where id = $1 and org = $2 and sandbox = $3");
        let query = query.bind(flow.to_string()).bind(self.org()).bind(self.sandbox());
        let Some(row) = query.fetch_optional(self.connection()).await? else { return Ok(None) };
        let run: Option<&str> = rows::value(&row, "scheduled_run")?;
        run.map(|_| rows::parsed(&row, "scheduled_run")).transpose()
    }

    /// When a flow is due next, milliseconds since 1970.
    pub async fn next_due(&mut self, flow: FlowId) -> Result<Option<i64>, StoreError> {
        let query = sqlx::query("select next_due_at_us from flow where id = $1 and org = $2 and sandbox = $3");
        let query = query.bind(flow.to_string()).bind(self.org()).bind(self.sandbox());
        let row = query.fetch_optional(self.connection()).await?;
        row.map_or(Ok(None), |row| rows::time_ms_opt(&row, "next_due_at_us"))
    }

    /// A flow that reads through this base connection, drafts too; it blocks the deletion (error 1418).
    pub async fn flow_on_connection(&mut self, connection: ConnectionId) -> Result<Option<FlowId>, StoreError> {
        let query = sqlx::query(
            "select f.id from source_connection s
             join flow f on f.source_connection_id = s.id and f.org = s.org and f.sandbox = s.sandbox
             where s.org = $1 and s.sandbox = $2 and s.base_connection_id = $3 limit 1",
        );
        let query = query.bind(self.org()).bind(self.sandbox()).bind(connection.to_string());
        first_id(query.fetch_optional(self.connection()).await?)
    }

    /// A flow that uses this source connection; it blocks the deletion (error 1447).
    pub async fn flow_on_source(&mut self, source: SourceConnectionId) -> Result<Option<FlowId>, StoreError> {
        let query =
            sqlx::query("select id from flow where org = $1 and sandbox = $2 and source_connection_id = $3 limit 1");
        let query = query.bind(self.org()).bind(self.sandbox()).bind(source.to_string());
        first_id(query.fetch_optional(self.connection()).await?)
    }

    /// A recurring flow that has begun to read through this source connection, and so has got somewhere in its table.
    pub async fn begun_flow_on_source(&mut self, source: SourceConnectionId) -> Result<Option<FlowId>, StoreError> {
        let query = sqlx::query(
            "select f.id from flow f where f.org = $1 and f.sandbox = $2 and f.source_connection_id = $3
             and json_extract(f.body, '$.scheduleParams.frequency') <> 'once' and exists (
                 select 1 from offset_reached o where o.flow_id = f.id and o.org = f.org and o.sandbox = f.sandbox)
             limit 1",
        );
        let query = query.bind(self.org()).bind(self.sandbox()).bind(source.to_string());
        first_id(query.fetch_optional(self.connection()).await?)
    }

    /// The flows that use this source connection, drafts too: at most `limit` of them.
    pub async fn flows_on_source(&mut self, source: SourceConnectionId, limit: u32) -> Result<Vec<FlowId>, StoreError> {
        let query = sqlx::query(
            "select id from flow where org = $1 and sandbox = $2 and source_connection_id = $3
             order by created_at_us, id limit $4",
        );
        let query = query.bind(self.org()).bind(self.sandbox()).bind(source.to_string()).bind(i64::from(limit));
        let found = query.fetch_all(self.connection()).await?;
        found.iter().map(|row| rows::parsed(row, "id")).collect()
    }

    /// A flow that uses this target connection; it blocks the deletion (error 1447).
    pub async fn flow_on_target(&mut self, target: TargetConnectionId) -> Result<Option<FlowId>, StoreError> {
        let query =
            sqlx::query("select id from flow where org = $1 and sandbox = $2 and target_connection_id = $3 limit 1");
        let query = query.bind(self.org()).bind(self.sandbox()).bind(target.to_string());
        first_id(query.fetch_optional(self.connection()).await?)
    }

    /// Deletes source connections of a base connection that no flow uses (flow-service.md 13.3), at most `limit` of them,
    /// and names them with their versions.
    pub async fn delete_unused_sources(
        &mut self,
        connection: ConnectionId,
        limit: u32,
    ) -> Result<Vec<(SourceConnectionId, Etag)>, StoreError> {
        let query = sqlx::query(
            "delete from source_connection where id in (
                 select s.id from source_connection s
                 where s.org = $1 and s.sandbox = $2 and s.base_connection_id = $3 and not exists (
                     select 1 from flow f where f.source_connection_id = s.id and f.org = s.org and f.sandbox = s.sandbox)
                 limit $4)
             returning id, etag",
        );
        let query = query.bind(self.org()).bind(self.sandbox()).bind(connection.to_string()).bind(i64::from(limit));
        let deleted = query.fetch_all(self.connection()).await?;
        deleted.iter().map(|row| Ok((rows::parsed(row, "id")?, rows::parsed(row, "etag")?))).collect()
    }
}

/// Flows in use whose instant has come and that wait for no run, the longest due first.
const DUE: &str = "select f.id, f.org, f.sandbox, f.next_due_at_us, s.name as sandbox_name
     from flow f join sandbox s on s.id = f.sandbox
     where f.next_due_at_us <= $1 and f.scheduled_run is null and f.state = 'enabled'
     order by f.next_due_at_us limit $2";

/// Flows whose next instant was set by a clock that was ahead of this moment.
const SET_AHEAD: &str = "select f.id, f.org, f.sandbox, f.next_due_at_us, s.name as sandbox_name
     from flow f join sandbox s on s.id = f.sandbox
     where f.due_set_at_us > $1 and f.next_due_at_us is not null order by f.due_set_at_us limit $2";

/// Runs that wait for a moment after `$2` although nobody has asked for a later one than that at which they were made, by a
/// clock that was ahead of `$1`.
macro_rules! made_ahead {
    () => {
        " run where status = 'scheduled' and created_at_us > $1 and due_at_us > $2 and due_at_us <= created_at_us"
    };
}

/// Whether there are any.
const MADE_AHEAD: &str = concat!("select 1 from", made_ahead!(), " limit 1");
/// Lets them begin at the moment `$2`.
const HASTEN: &str = concat!("update run set due_at_us = $2 where id in (select id from", made_ahead!(), " limit $3)");

impl Store {
    /// Lets runs begin now that wait only because the clock that made them, as due at once, showed a later moment than this
    /// one: it was put back since. At most `limit` of them; returns how many. One that waits for the start that somebody has
    /// asked for goes on waiting.
    pub async fn hasten_made_ahead(&self, moment_ms: i64, now_ms: i64, limit: u32) -> Result<u64, StoreError> {
        let found = sqlx::query(MADE_AHEAD).bind(rows::us(moment_ms)).bind(rows::us(now_ms));
        if found.fetch_optional(self.readers()).await?.is_none() {
            return Ok(0);
        }
        let query = sqlx::query(HASTEN).bind(rows::us(moment_ms)).bind(rows::us(now_ms)).bind(i64::from(limit));
        Ok(query.execute(self.writer()).await?.rows_affected())
    }

    /// Flows in use whose instant has come and that wait for no run of their schedule, the longest due first.
    pub async fn due_flows(&self, now_ms: i64, limit: u32) -> Result<Vec<DueFlow>, StoreError> {
        self.due(DUE, now_ms, limit).await
    }

    /// Flows whose next instant was decided by a clock that showed a later moment than this one: it was put back since, and
    /// the instant may be far off.
    pub async fn flows_set_ahead(&self, moment_ms: i64, limit: u32) -> Result<Vec<DueFlow>, StoreError> {
        self.due(SET_AHEAD, moment_ms, limit).await
    }

    async fn due(&self, sql: &'static str, moment_ms: i64, limit: u32) -> Result<Vec<DueFlow>, StoreError> {
        let query = sqlx::query(sql).bind(rows::us(moment_ms)).bind(i64::from(limit));
        let found = query.fetch_all(self.readers()).await?;
        let due = |row| {
            let (scope, due_ms) = (rows::scope(row)?, rows::time_ms(row, "next_due_at_us")?);
            Ok(DueFlow { scope, flow: rows::parsed(row, "id")?, due_ms })
        };
        Ok(found.iter().map(due).filter_map(rows::readable).collect())
    }
}

fn first_id(row: Option<SqliteRow>) -> Result<Option<FlowId>, StoreError> {
    row.map(|row| rows::parsed(&row, "id")).transpose()
}

#[cfg(test)]
mod tests {
    use sqlx::{AssertSqlSafe, Connection as _, Row as _, SqliteConnection};

    use super::*;
    use crate::schema::MIGRATIONS;

    #[tokio::test]
    async fn a_poll_looks_up_one_entry_of_an_index_and_sorts_nothing() {
        let mut database = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        for (_, _, sql) in MIGRATIONS {
            sqlx::raw_sql(sql).execute(&mut database).await.unwrap();
        }
        for (sql, index) in [
            (DUE, "flow_by_due (next_due_at_us<"),
            (SET_AHEAD, "flow_by_due_set (due_set_at_us>"),
            (MADE_AHEAD, "run_made_ahead (created_at_us>"),
        ] {
            let plan = sqlx::query(AssertSqlSafe(format!("explain query plan {sql}"))).fetch_all(&mut database).await;
            let steps: Vec<String> = plan.unwrap().iter().map(|step| step.get("detail")).collect();
            assert!(steps.iter().all(|step| step.starts_with("SEARCH")), "{steps:#?}");
            assert!(steps.first().is_some_and(|first| first.contains(index)), "{steps:#?}");
        }
    }
}
