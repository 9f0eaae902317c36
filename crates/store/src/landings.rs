//! What runs of a flow have landed: so that a repeated run lands nothing twice, and one that reads rows again can say so.
//!
//! **Invariant.** Nothing here looks at what is shown of a run, which a report may replace (flow-service.md 17.6). Whether
//! a run has landed rows is told by its batches, which are written in the transaction that settles its commit; what it
//! covered and which runs repeat the same is told by its origin, which is written once ([`RunOrigin`]). Of a run that is
//! not over, on which nobody can report, its status is true.
//!
//! [`RunOrigin`]: headwaters_model::run::RunOrigin

use std::collections::HashSet;

use headwaters_model::id::{FlowId, RunId};
use headwaters_model::metrics::Window;
use headwaters_model::resource::Resource;
use headwaters_model::run::{Run, RunStatus};
use sqlx::sqlite::SqliteRow;

use crate::error::StoreError;
use crate::rows;
use crate::tx::Tx;

/// A run that repeats another one, is repeated by it, or repeats the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kin {
    /// The run.
    pub run: RunId,
    /// How far it is, as its record says.
    pub status: RunStatus,
    /// Whether rows of it are in the data set.
    pub landed: bool,
}

/// A run whose rows are in the data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LandedRun {
    /// The run.
    pub id: RunId,
    /// Whether it covered the whole table.
    pub is_whole_table: bool,
}

/// Whether a row of `run` has landed rows.
macro_rules! landed {
    () => {
        "exists (
             select 1 from batch b where b.run_id = run.id and b.org = run.org and b.sandbox = run.sandbox
             and json_extract(b.body, '$.status') = 'success' and json_extract(b.body, '$.totals.rows_out') > 0)"
    };
}

/// The family of the run `$1`. `cross join` keeps the order of the tables: the family first, by its index.
const KIN: &str = concat!(
    "with root (id) as (
         select coalesce(repeats_root, id) from run where id = $1 and org = $2 and sandbox = $3
     ), family (id) as (
         select id from root union all
         select repeat.id from root cross join run repeat on repeat.repeats_root = root.id
     )
     select run.id, run.status, ",
    landed!(),
    " as landed from family cross join run on run.id = family.id
     where run.org = $2 and run.sandbox = $3 order by run.created_at_us, run.id",
);

impl Tx {
    /// The runs that go back to the same run as this one by re-triggers, the oldest first; itself among them.
    pub async fn kin(&mut self, run: RunId) -> Result<Vec<Kin>, StoreError> {
        let query = sqlx::query(KIN);
        let query = query.bind(run.to_string()).bind(self.org()).bind(self.sandbox());
        let found = query.fetch_all(self.connection()).await?;
        let kin = |row| {
            let status: Option<&str> = rows::value(row, "status")?;
            // As `Run::status`: a record that names no known status is waited for by nobody.
            let status = status.and_then(|name| name.parse().ok()).unwrap_or(RunStatus::Failed);
            Ok(Kin { run: rows::parsed(row, "id")?, status, landed: rows::value(row, "landed")? })
        };
        found.iter().map(kin).collect()
    }

    /// Runs of the same flow, other than this one, that have landed rows of what it covers, where no window is the whole
    /// table; the newest first.
    pub async fn landed_before(
        &mut self,
        run: &Resource<Run>,
        window: Option<Window>,
        limit: u32,
    ) -> Result<Vec<LandedRun>, StoreError> {
        let covered = window.unwrap_or(Window { start_ms: i64::MIN, end_ms: i64::MAX });
        if covered.start_ms >= covered.end_ms {
            return Ok(Vec::new());
        }
        let query = sqlx::query(concat!(
            "select id, windowed is null as is_whole_table
             from run where org = $1 and sandbox = $2 and flow_id = $3 and id <> $4
             and (windowed is null or json_extract(windowed, '$.window.start_ms') < $5
                 and json_extract(windowed, '$.window.end_ms') > $6)
             and ",
            landed!(),
            " order by created_at_us desc, id desc limit $7",
        ));
        let query = query
            .bind(self.org())
            .bind(self.sandbox())
            .bind(run.body.flow_id.to_string())
            .bind(run.id.to_string())
            .bind(covered.end_ms)
            .bind(covered.start_ms)
            .bind(i64::from(limit));
        let found = query.fetch_all(self.connection()).await?;
        let landed =
            |row| Ok(LandedRun { id: rows::parsed(row, "id")?, is_whole_table: rows::value(row, "is_whole_table")? });
        found.iter().map(landed).collect()
    }

    /// How many runs of a flow wait for a worker or for their time.
    pub async fn waiting_runs(&mut self, flow: FlowId) -> Result<u64, StoreError> {
        let query = sqlx::query(
            "select count(*) as n from run where org = $1 and sandbox = $2 and flow_id = $3 and lower(status) = $4",
        );
        let query =
            query.bind(self.org()).bind(self.sandbox()).bind(flow.to_string()).bind(RunStatus::Scheduled.name());
        let row = query.fetch_one(self.connection()).await?;
        let count: i64 = rows::value(&row, "n")?;
        u64::try_from(count).map_err(|error| StoreError::damaged("a count", error))
    }

    /// Which of these runs there are.
    pub async fn runs_among(&mut self, ids: &HashSet<RunId>) -> Result<HashSet<RunId>, StoreError> {
        let found = self
            .rows_among(
                "select id from run where org = $1 and sandbox = $2 and id in (select value from json_each($3))",
                rows::to_json("ids of runs", ids)?,
            )
            .await?;
        found.iter().map(|row| rows::parsed(row, "id")).collect()
    }

    /// Which of these flows there are.
    pub async fn flows_among(&mut self, ids: &HashSet<FlowId>) -> Result<HashSet<FlowId>, StoreError> {
        let found = self
            .rows_among(
                "select id from flow where org = $1 and sandbox = $2 and id in (select value from json_each($3))",
                rows::to_json("ids of flows", ids)?,
            )
            .await?;
        found.iter().map(|row| rows::parsed(row, "id")).collect()
    }

    async fn rows_among(&mut self, sql: &'static str, ids: String) -> Result<Vec<SqliteRow>, StoreError> {
        let query = sqlx::query(sql).bind(self.org()).bind(self.sandbox()).bind(ids);
        Ok(query.fetch_all(self.connection()).await?)
    }
}

#[cfg(test)]
mod tests {
    use sqlx::{AssertSqlSafe, Connection as _, Row as _, SqliteConnection};

    use super::*;
    use crate::schema::MIGRATIONS;

    #[tokio::test]
    async fn the_family_of_a_run_is_found_without_looking_at_other_runs() {
        let mut database = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        for (_, _, sql) in MIGRATIONS {
            sqlx::raw_sql(sql).execute(&mut database).await.unwrap();
        }
        let explained = AssertSqlSafe(format!("explain query plan {KIN}"));
        let plan = sqlx::query(explained).fetch_all(&mut database).await.unwrap();
        let steps: Vec<String> = plan.iter().map(|step| step.get("detail")).collect();
        let scans: Vec<_> = steps.iter().filter(|step| step.starts_with("SCAN")).collect();
        assert!(scans.iter().all(|step| step.contains("root") || step.contains("family")), "{steps:#?}");
        for index in ["run_by_root", "batch_by_run"] {
            assert!(steps.iter().any(|step| step.contains(index)), "{index}: {steps:#?}");
        }
    }
}
