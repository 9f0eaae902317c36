//! What runs of a flow have landed: so that a repeated run lands nothing twice, and one that reads rows again can say so.
//!
//! **Invariant.** Nothing here looks at what is shown of a run, which a report may replace (flow-service.md 17.6). Whether
//! a run has landed rows is told by its batches, which are written in the transaction that settles its commit; what it
//! covered and which runs repeat the same is told by its origin, which is written once ([`RunOrigin`]). What a run covered
//! that moved its flow's watermark is known when its commit is settled, and written then. Of a run that is not over, on
//! which nobody can report, its status is true.
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
    /// Whether it reads just what the run reads whose kin it is: the same window, or likewise the whole table. What reads on
    /// from a watermark reads nothing twice, and so never the same.
    pub reads_same: bool,
    /// Whether the schedule of its flow has made it.
    pub is_scheduled: bool,
}

/// A run whose rows are in the data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LandedRun {
    /// The run.
    pub id: RunId,
    /// Whether it covered the whole table.
    pub is_whole_table: bool,
}

/// Whether a row of `run` has landed rows, or the rest of a plan of which others had landed rows.
macro_rules! landed {
    () => {
        "(run.finished_plan is not null or exists (
             select 1 from batch b where b.run_id = run.id and b.org = run.org and b.sandbox = run.sandbox
             and json_extract(b.body, '$.status') = 'success' and json_extract(b.body, '$.totals.rows_out') > 0))"
    };
}

/// The family of the run `$1`. `cross join` keeps the order of the tables: the family first, by its index.
const KIN: &str = concat!(
    "with root (id, windowed, instant_us) as (
         select coalesce(repeats_root, id), windowed, instant_us from run where id = $1 and org = $2 and sandbox = $3
     ), family (id) as (
         select id from root union all
         select repeat.id from root cross join run repeat on repeat.repeats_root = root.id
     )
     select run.id, run.status, run.scheduled_for_us is not null as is_scheduled, run.windowed is root.windowed
         and (run.windowed is not null or coalesce(run.instant_us, root.instant_us) is null) as reads_same, ",
    landed!(),
    " as landed from root cross join family cross join run on run.id = family.id
     where run.org = $2 and run.sandbox = $3 order by run.created_at_us, run.id",
);

/// A run of the flow `$3` over its whole table that is not over, or of which rows are in the data set, or may come into it yet.
const WHOLE_TABLE: &str = concat!(
    "select id from run where org = $1 and sandbox = $2 and flow_id = $3 and windowed is null and instant_us is null
     and (status in ('scheduled', 'inProgress') or ",
    landed!(),
    " or exists (select 1 from pending_offset p where p.flow_id = run.flow_id and p.run_id = run.id)
         or exists (select 1 from partial_commit part where part.run_id = run.id))
     order by created_at_us, id limit 1",
);

/// The runs of the flow `$3` other than `$4`, where `$among` holds, that have landed rows between the moments `$6` and `$5`,
/// or any rows where these are null.
macro_rules! landed_before {
    ($among:literal) => {
        concat!(
            "with landed (id, created_at_us, is_whole_table, window) as (
                 select id, created_at_us, windowed is null and instant_us is null,
                     coalesce(covered, json_extract(windowed, '$.window'))
                 from run where org = $1 and sandbox = $2 and flow_id = $3 and id <> $4 and ",
            $among,
            " and ",
            landed!(),
            ")
             select id, is_whole_table from landed
             where $5 is null or is_whole_table
                 or json_extract(window, '$.start_ms') < $5 and json_extract(window, '$.end_ms') > $6
             order by created_at_us desc, id desc limit $7"
        )
    };
}

/// Among all runs.
const LANDED_BEFORE: &str = landed_before!("true");
/// Among those that somebody asked for, and those of the whole table.
const ASKED_BEFORE: &str = landed_before!("(windowed is not null or instant_us is null)");

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
            Ok(Kin {
                run: rows::parsed(row, "id")?,
                status,
                landed: rows::value(row, "landed")?,
                reads_same: rows::value(row, "reads_same")?,
                is_scheduled: rows::value(row, "is_scheduled")?,
            })
        };
        found.iter().map(kin).collect()
    }

    /// A run of the flow that has landed the whole table, part of it even, or that may do so yet.
    pub async fn whole_table_run(&mut self, flow: FlowId) -> Result<Option<RunId>, StoreError> {
        let query = sqlx::query(WHOLE_TABLE).bind(self.org()).bind(self.sandbox()).bind(flow.to_string());
        let row = query.fetch_optional(self.connection()).await?;
        row.map(|row| rows::parsed(&row, "id")).transpose()
    }

    /// Runs of the same flow, other than this one, that have landed rows of these moments, where no window is the whole
    /// table; the newest first. Runs by a column that counts cover no moments, but part of the table.
    pub async fn landed_before(
        &mut self,
        run: &Resource<Run>,
        window: Option<Window>,
        limit: u32,
    ) -> Result<Vec<LandedRun>, StoreError> {
        self.before(LANDED_BEFORE, run, window, limit).await
    }

    /// The same among the runs that moved no watermark: only these can have landed what a run reads that moves it.
    pub async fn asked_before(
        &mut self,
        run: &Resource<Run>,
        window: Window,
        limit: u32,
    ) -> Result<Vec<LandedRun>, StoreError> {
        self.before(ASKED_BEFORE, run, Some(window), limit).await
    }

    async fn before(
        &mut self,
        sql: &'static str,
        run: &Resource<Run>,
        window: Option<Window>,
        limit: u32,
    ) -> Result<Vec<LandedRun>, StoreError> {
        if window.is_some_and(|window| window.start_ms >= window.end_ms) {
            return Ok(Vec::new());
        }
        let query = sqlx::query(sql);
        let query = query
            .bind(self.org())
            .bind(self.sandbox())
            .bind(run.body.flow_id.to_string())
            .bind(run.id.to_string())
            .bind(window.map(|window| window.end_ms))
            .bind(window.map(|window| window.start_ms))
            .bind(i64::from(limit));
        let found = query.fetch_all(self.connection()).await?;
        let landed =
            |row| Ok(LandedRun { id: rows::parsed(row, "id")?, is_whole_table: rows::value(row, "is_whole_table")? });
        found.iter().map(landed).collect()
    }

    /// Notes which moments a run has covered that moved its flow's watermark; what it was asked to read stands in its
    /// origin.
    pub(crate) async fn note_covered(&mut self, run: RunId, window: Option<Window>) -> Result<(), StoreError> {
        let Some(window) = window else { return Ok(()) };
        let query =
            sqlx::query("update run set covered = $1 where id = $2 and org = $3 and sandbox = $4 and windowed is null");
        let query =
            query.bind(rows::to_json("a window", &window)?).bind(run.to_string()).bind(self.org()).bind(self.sandbox());
        query.execute(self.connection()).await?;
        Ok(())
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

    async fn plan(sql: &str) -> Vec<String> {
        let mut database = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        for (_, _, sql) in MIGRATIONS {
            sqlx::raw_sql(sql).execute(&mut database).await.unwrap();
        }
        let explained = AssertSqlSafe(format!("explain query plan {sql}"));
        let plan = sqlx::query(explained).fetch_all(&mut database).await.unwrap();
        plan.iter().map(|step| step.get("detail")).collect()
    }

    #[tokio::test]
    async fn the_family_of_a_run_is_found_without_looking_at_other_runs() {
        let steps = plan(KIN).await;
        let scans: Vec<_> = steps.iter().filter(|step| step.starts_with("SCAN")).collect();
        assert!(scans.iter().all(|step| step.contains("root") || step.contains("family")), "{steps:#?}");
        for index in ["run_by_root", "batch_by_run"] {
            assert!(steps.iter().any(|step| step.contains(index)), "{index}: {steps:#?}");
        }
    }

    const BY_ASKING: &str = "run_by_asking (org=? AND sandbox=? AND flow_id=?)";

    #[tokio::test]
    async fn what_runs_have_landed_before_is_found_without_looking_at_those_of_the_schedule() {
        for (sql, index) in [(ASKED_BEFORE, BY_ASKING), (WHOLE_TABLE, BY_ASKING), (LANDED_BEFORE, "run_by_flow (")] {
            let steps = plan(sql).await;
            assert!(steps.iter().any(|step| step.contains(index)), "{index}: {steps:#?}");
            assert!(!steps.iter().any(|step| step.starts_with("SCAN run")), "{steps:#?}");
        }
    }
}
