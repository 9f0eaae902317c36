//! Runs (flow-service.md 17): the stored record, with the fresher counters of a run that this process works on; runs on
//! demand, repeated runs, and what services report of runs.

mod commands;
mod on_demand;
mod repeat;
mod report;
mod window;

use headwaters_model::page::{ListQuery, Page};
use headwaters_model::resource::Document;
use headwaters_model::run::Run;
use headwaters_store::StoreError;

pub use self::commands::{CreateRun, ReportRun};
pub use self::on_demand::RUNS_WAITING_MAX;
pub use self::repeat::REPEATS_MAX;
pub use self::report::{REPORT_BYTES_MAX, REPORT_ENTRIES_MAX};
pub(crate) use self::window::Covered;
use crate::Control;
use crate::access::Caller;
use crate::error::CommandError;

impl Control {
    /// One run as it is shown. Causes: `Missing`.
    pub async fn run(&self, caller: &Caller, id: &str) -> Result<Document<Run>, CommandError> {
        self.with_live_counters(self.document::<Run>(caller, id).await?)
    }

    /// A page of runs as they are shown.
    pub async fn runs(&self, caller: &Caller, query: &ListQuery) -> Result<Page<Document<Run>>, CommandError> {
        let page = self.documents::<Run>(caller, query).await?;
        let items = page.items.into_iter().map(|run| self.with_live_counters(run)).collect::<Result<_, _>>()?;
        Ok(Page { items, next: page.next })
    }

    fn with_live_counters(&self, mut document: Document<Run>) -> Result<Document<Run>, CommandError> {
        if self.live.totals(document.id).is_none() {
            return Ok(document);
        }
        let mut run: Run = document.read().map_err(|error| unreadable(&document, error))?;
        if self.show_live(document.id, &mut run) {
            let fresher = [("metrics".to_owned(), run.metrics)];
            document.set(fresher).map_err(|error| unreadable(&document, error))?;
        }
        Ok(document)
    }
}

fn unreadable(document: &Document<Run>, error: serde_json::Error) -> CommandError {
    StoreError::damaged(format!("run {}", document.id), error).into()
}
