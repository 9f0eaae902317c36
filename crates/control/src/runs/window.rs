//! What a run reads: the source connection's table and filter, and within them the run's window.
//!
//! How a window is spelt depends on the type of its delta column, which only the source knows. It is asked each time, when
//! a run is made and again by every attempt: a column may be altered in between. Nothing here holds a transaction.

use std::error::Error;
use std::time::Duration;

use headwaters_model::explore::ColumnType;
use headwaters_model::job::{ReadRequest, SourceAccess};
use headwaters_model::resource::Resource;
use headwaters_model::row_filter::RowFilter;
use headwaters_model::run::Run;
use headwaters_model::source_connection::SourceConnection;
use headwaters_model::source_error::{SourceError, SourceErrorKind};
use headwaters_model::window::{DeltaColumn, Windowed, narrowed};
use headwaters_store::{LandedRun, StoreError};
use tokio::time::timeout;
use tracing::warn;

use crate::Control;
use crate::connections::slow;
use crate::error::{Cause, CommandError, clipped};
use crate::flows::read_request;

/// How long looking up the delta column may take.
const LOOK_PATIENCE: Duration = Duration::from_secs(30);
/// How many earlier runs a note on overlaps names.
const OVERLAPS_NAMED_MAX: u32 = 3;
/// Where a run's parameters name the delta column.
const POINTER: &str = "/params/deltaColumn";

impl Control {
    /// What is read of a source, within a window if there is one. Causes: `InvalidValue` where the column does not exist
    /// or has no moments in it, `Filter`, `Driver`, `NoColumns`.
    pub(crate) async fn read_within(
        &self,
        access: &SourceAccess,
        source: &SourceConnection,
        windowed: Option<&Windowed>,
    ) -> Result<ReadRequest, CommandError> {
        let mut request = read_request(source)?;
        if let Some(Windowed { window, delta }) = windowed {
            let column = self.type_of(access, &request.table, delta).await?;
            let refused = |reason| CommandError::invalid(Cause::InvalidValue, POINTER, reason);
            let filter = narrowed(request.filter.as_ref(), window.conditions(delta, column).map_err(refused)?);
            // The limits of a filter hold for both together.
            RowFilter::parse(&filter).map_err(|error| CommandError::invalid(Cause::Filter, "", error.to_string()))?;
            request.filter = Some(filter);
        }
        Ok(request)
    }

    /// Asks the source whether a request can be read that holds the window of a delta column.
    pub(super) async fn check_window(&self, access: &SourceAccess, request: &ReadRequest) -> Result<(), CommandError> {
        let check = timeout(LOOK_PATIENCE, self.ports.sources.check_read(access, request)).await;
        check.unwrap_or_else(|_| Err(slow(LOOK_PATIENCE))).map_err(|error| match &error.fault().kind {
            // The filter of the source connection was checked when it was written: it is the window that does not fit.
            SourceErrorKind::FilterType => {
                let reason = format!("the column has no moments in it: {error}");
                CommandError::invalid(Cause::InvalidValue, POINTER, reason)
            }
            _ => CommandError::Source(error),
        })
    }

    /// What a person should know of a run that reads rows again that earlier runs of its flow have landed: they are in the
    /// data set once more then (flow-service.md 16.6). A note that can not be made holds no run up.
    pub(crate) async fn overlap(&self, run: &Resource<Run>, windowed: Option<&Windowed>) -> Option<String> {
        note_on(self.landed_before(run, windowed).await, windowed.is_some())
    }

    async fn landed_before(
        &self,
        run: &Resource<Run>,
        windowed: Option<&Windowed>,
    ) -> Result<Vec<LandedRun>, StoreError> {
        let window = windowed.map(|windowed| windowed.window);
        self.store.read(&run.scope).await?.landed_before(run, window, OVERLAPS_NAMED_MAX + 1).await
    }

    /// What the source advertises of the delta column.
    async fn type_of(
        &self,
        access: &SourceAccess,
        table: &str,
        delta: &DeltaColumn,
    ) -> Result<ColumnType, CommandError> {
        let described = timeout(LOOK_PATIENCE, self.ports.sources.describe(access, table, None, None)).await;
        let described: Result<_, SourceError> = described.unwrap_or_else(|_| Err(slow(LOOK_PATIENCE)));
        let columns = described.map_err(CommandError::Source)?.columns;
        // As the source itself finds a column: exactly so spelt, else without regard to case.
        let folded = delta.name.to_lowercase();
        let exact = columns.iter().find(|column| column.name == delta.name);
        let found = exact.or_else(|| columns.iter().find(|column| column.name.to_lowercase() == folded));
        found.map(|column| column.column_type).ok_or_else(|| {
            let reason = format!("{} has no column {} that can be read", clipped(table), clipped(&delta.name));
            CommandError::invalid(Cause::InvalidValue, format!("{POINTER}/name"), reason)
        })
    }
}

/// The note on overlaps of a run that reads a window or the whole table, with what was landed before of that.
fn note_on(landed: Result<Vec<LandedRun>, StoreError>, is_windowed: bool) -> Option<String> {
    let landed = landed.inspect_err(|error| {
        warn!(error = error as &dyn Error, "could not look up what earlier runs have landed of the same");
    });
    let landed = landed.ok().filter(|landed| !landed.is_empty())?;
    let said = |landed: &LandedRun| {
        let part = if landed.is_whole_table { " (the whole table)" } else { "" };
        format!("{}{part}", landed.id)
    };
    let mut named: Vec<_> = landed.iter().map(said).collect();
    if named.len() > OVERLAPS_NAMED_MAX as usize {
        named.truncate(OVERLAPS_NAMED_MAX as usize);
        named.push("others".to_owned());
    }
    let covers = if is_windowed { "the window overlaps" } else { "the whole table holds" };
    Some(format!("{covers} what was landed before, so rows may be in the data set twice: by {}", named.join(", ")))
}

#[cfg(test)]
mod tests {
    use headwaters_model::id::RunId;

    use super::*;

    #[test]
    fn a_note_names_some_of_the_runs_and_whether_they_read_the_whole_table() {
        let landed: Vec<_> = (0..4).map(|at| LandedRun { id: RunId::mint(), is_whole_table: at == 0 }).collect();
        let [a, b, c, d] = [0, 1, 2, 3].map(|at: usize| landed[at].id.to_string());
        let note = note_on(Ok(landed), true).unwrap();
        assert!(note.starts_with("the window overlaps what was landed before"), "{note}");
        assert!(note.ends_with(&format!("by {a} (the whole table), {b}, {c}, others")) && !note.contains(&d), "{note}");
    }

    #[test]
    fn a_note_that_can_not_be_made_is_left_out() {
        assert_eq!(note_on(Ok(Vec::new()), true), None);
        assert_eq!(note_on(Err(StoreError::damaged("run", "not JSON")), false), None);
    }
}
