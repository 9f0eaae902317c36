//! Flows: when they are due, and what may not be deleted because they use it.

use headwaters_model::etag::Etag;
use headwaters_model::id::{ConnectionId, FlowId, SourceConnectionId, TargetConnectionId};
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
    /// Notes when a flow is due next; none when nothing more is due.
    pub async fn set_next_due(&mut self, flow: FlowId, due_ms: Option<i64>) -> Result<(), StoreError> {
        let query = sqlx::query("update flow set next_due_at_us = $1 where id = $2 and org = $3 and sandbox = $4");
        let query = query.bind(due_ms.map(rows::us)).bind(flow.to_string()).bind(self.org()).bind(self.sandbox());
        query.execute(self.connection()).await?;
        Ok(())
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

impl Store {
    /// Flows in use whose instant has come, the longest due first.
    pub async fn due_flows(&self, now_ms: i64, limit: u32) -> Result<Vec<DueFlow>, StoreError> {
        let query = sqlx::query(
            "select f.id, f.org, f.sandbox, f.next_due_at_us, s.name as sandbox_name
             from flow f join sandbox s on s.id = f.sandbox
             where f.next_due_at_us <= $1 and f.state = 'enabled' order by f.next_due_at_us, f.id limit $2",
        );
        let found = query.bind(rows::us(now_ms)).bind(i64::from(limit)).fetch_all(self.readers()).await?;
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
