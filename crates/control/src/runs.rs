//! Runs (flow-service.md 17): the stored record, with the fresher counters of a run that this process works on; runs on
//! demand, repeated runs, and what services report of runs.

mod commands;
mod on_demand;
mod repeat;
mod report;
mod window;

use headwaters_model::job::Totals;
use headwaters_model::metrics::RunRecord;
use headwaters_model::page::{ListQuery, Page};
use headwaters_model::resource::Resource;
use headwaters_model::run::{Run, RunStatus};

pub use self::commands::{CreateRun, ReportRun};
pub use self::on_demand::RUNS_WAITING_MAX;
pub(crate) use self::on_demand::refused;
pub use self::report::{REPORT_BYTES_MAX, REPORT_ENTRIES_MAX};
use crate::Control;
use crate::access::Caller;
use crate::error::CommandError;

impl Control {
    /// One run. Causes: `Missing`.
    pub async fn run(&self, caller: &Caller, id: &str) -> Result<Resource<Run>, CommandError> {
        Ok(self.with_live_counters(self.get::<Run>(caller, id).await?))
    }

    /// A page of runs.
    pub async fn runs(&self, caller: &Caller, query: &ListQuery) -> Result<Page<Resource<Run>>, CommandError> {
        let page = self.list::<Run>(caller, query).await?;
        let items = page.items.into_iter().map(|run| self.with_live_counters(run)).collect();
        Ok(Page { items, next: page.next })
    }

    fn with_live_counters(&self, mut run: Resource<Run>) -> Resource<Run> {
        if let (RunStatus::InProgress, Some(started_at_ms), Some(totals)) =
            (run.body.status(), run.body.started_at_ms(), self.live.totals(run.id))
            && totals != Totals::default()
        {
            run.body.record(RunRecord::in_progress(started_at_ms, &totals));
        }
        run
    }
}
