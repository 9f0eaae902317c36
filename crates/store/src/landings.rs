//! What runs of a flow have landed: so that a repeated run lands nothing twice, and one that reads rows again can say so.
//!
//! Whether a run has landed rows is told by its batches, which are written in the transaction that settles its commit;
//! the record of a run may be replaced by a report (flow-service.md 17.6).

use headwaters_model::id::{FlowId, RunId};
use headwaters_model::metrics::Window;
use headwaters_model::resource::Resource;
use headwaters_model::run::{Run, RunStatus};

use crate::error::StoreError;
use crate::resources::columns;
use crate::rows;
use crate::tx::Tx;

/// A run that repeats another one, is repeated by it, or repeats the same.
#[derive(Debug, Clone, PartialEq)]
pub struct Kin {
    /// The run.
    pub run: Resource<Run>,
    /// Whether rows of it are in the data set.
    pub landed: bool,
}

/// A run whose rows are in the data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LandedRun {
    /// The run.
    pub id: RunId,
    /// What it covered; none is the whole table.
    pub window: Option<Window>,
}

impl Tx {
    /// The runs that go back to the same run as this one by re-triggers, the oldest first; itself among them.
    pub async fn kin(&mut self, run: &Resource<Run>) -> Result<Vec<Kin>, StoreError> {
        let query = sqlx::query(concat!(
            "with recursive pair (child, parent) as (
                 select id, json_extract(body, '$.parentFlowRunId') from run
                 where org = $1 and sandbox = $2 and flow_id = $3 and json_extract(body, '$.parentFlowRunId') is not null
             ), kin (id) as (
                 select $4 union
                 select case when pair.child = kin.id then pair.parent else pair.child end
                 from kin join pair on kin.id in (pair.child, pair.parent)
             )
             select ",
            columns!(),
            ", exists (
                 select 1 from batch b where b.run_id = run.id and b.org = $1 and b.sandbox = $2
                 and json_extract(b.body, '$.status') = 'success' and json_extract(b.body, '$.totals.rows_out') > 0) as landed
             from run where org = $1 and sandbox = $2 and flow_id = $3 and id in (select id from kin)
             order by created_at_us, id",
        ));
        let query =
            query.bind(self.org()).bind(self.sandbox()).bind(run.body.flow_id.to_string()).bind(run.id.to_string());
        let found = query.fetch_all(self.connection()).await?;
        let kin = |row| Ok(Kin { run: rows::resource(row, self.scope())?, landed: rows::value(row, "landed")? });
        found.iter().map(kin).collect()
    }

    /// Runs of the same flow, other than this one, that have landed rows of what it covers; the newest first.
    pub async fn landed_before(&mut self, run: &Resource<Run>, limit: u32) -> Result<Vec<LandedRun>, StoreError> {
        let covered = run.body.window().unwrap_or(Window { start_ms: i64::MIN, end_ms: i64::MAX });
        if covered.start_ms >= covered.end_ms {
            return Ok(Vec::new());
        }
        let query = sqlx::query(
            "select id, starts, ends from (
                 select id, created_at_us, json_extract(body, '$.metrics.recordSummary.outputRecordCount') as landed,
                     json_extract(body, '$.activities[0].durationSummary.extensions.windowStart') as starts,
                     json_extract(body, '$.activities[0].durationSummary.extensions.windowEnd') as ends
                 from run where org = $1 and sandbox = $2 and flow_id = $3 and id <> $4 and lower(status) = $5)
             where landed > 0 and coalesce(starts < $6, true) and coalesce(ends > $7, true)
             order by created_at_us desc, id desc limit $8",
        );
        let query = query
            .bind(self.org())
            .bind(self.sandbox())
            .bind(run.body.flow_id.to_string())
            .bind(run.id.to_string())
            .bind(RunStatus::Success.name())
            .bind(covered.end_ms)
            .bind(covered.start_ms)
            .bind(i64::from(limit));
        let found = query.fetch_all(self.connection()).await?;
        let landed = |row| {
            let (starts, ends): (Option<i64>, Option<i64>) = (rows::value(row, "starts")?, rows::value(row, "ends")?);
            let window = starts.zip(ends).map(|(start_ms, end_ms)| Window { start_ms, end_ms });
            Ok(LandedRun { id: rows::parsed(row, "id")?, window })
        };
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
}
