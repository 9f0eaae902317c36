//! Whose table is looked after next.
//!
//! **Invariant.** A table is taken in one statement that also notes the moment, so that of several workers one takes it.
//! That saves work, not correctness: two that look after one table at once only waste some.

use headwaters_model::id::DataSetId;
use headwaters_model::sandbox::Scope;

use crate::db::Store;
use crate::error::StoreError;
use crate::rows;

/// A table that is ours to look after now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CareClaim {
    /// Where its data set is.
    pub scope: Scope,
    /// Its data set.
    pub data_set: DataSetId,
    /// The absolute URI of the table.
    pub location: String,
    /// When the oldest run was made that is at work in the scope, milliseconds since 1970; none if there is no such run.
    pub oldest_run_ms: Option<i64>,
}

impl Store {
    /// Takes a data set whose table nobody has looked after since `due_ms`, of any scope. A new one waits as long. A moment
    /// ahead of now, which tells of a clock that was put back, does not count.
    pub async fn claim_care(&self, due_ms: i64, now_ms: i64) -> Result<Option<CareClaim>, StoreError> {
        let query = sqlx::query(
            "update data_set set cared_at_us = $2 where rowid = (
                 select rowid from data_set
                 where coalesce(cared_at_us, created_at_us) <= $1 or coalesce(cared_at_us, created_at_us) > $2 limit 1)
             returning id, org, sandbox, json_extract(body, '$.location') as location,
                 (select name from sandbox s where s.id = data_set.sandbox) as sandbox_name",
        );
        let query = query.bind(rows::us(due_ms)).bind(rows::us(now_ms));
        let Some(row) = query.fetch_optional(self.writer()).await? else { return Ok(None) };
        let scope = rows::scope(&row)?;
        let oldest_run_ms = self.oldest_run(&scope).await?;
        let (data_set, location) = (rows::parsed(&row, "id")?, rows::value(&row, "location")?);
        Ok(Some(CareClaim { scope, data_set, location, oldest_run_ms }))
    }

    /// When the oldest run of a scope was made that is at work. What its attempts have kept for one another is younger, and
    /// is forgotten when the run is over (splits.rs).
    async fn oldest_run(&self, scope: &Scope) -> Result<Option<i64>, StoreError> {
        let query = sqlx::query(
            "select min(created_at_us) as made_us from run where status = 'inProgress' and org = $1 and sandbox = $2",
        );
        let query = query.bind(scope.org.to_string()).bind(scope.sandbox.to_string());
        rows::time_ms_opt(&query.fetch_one(self.readers()).await?, "made_us")
    }
}
