//! What a run reads: the source connection's table and filter, and within them the run's window.
//!
//! How a window is spelt depends on the type of its delta column, which only the source knows. It is asked each time, when
//! a run is made and again by every attempt: a column may be altered in between. Nothing here holds a transaction.

use std::time::Duration;

use headwaters_model::explore::ColumnType;
use headwaters_model::job::{ReadRequest, SourceAccess};
use headwaters_model::metrics::Window;
use headwaters_model::resource::Resource;
use headwaters_model::row_filter::RowFilter;
use headwaters_model::run::Run;
use headwaters_model::source_connection::SourceConnection;
use headwaters_model::source_error::{SourceError, SourceErrorKind};
use headwaters_model::window::{DeltaColumn, narrowed};
use headwaters_store::{LandedRun, StoreError};
use tokio::time::timeout;

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
        windowed: Option<&(Window, DeltaColumn)>,
    ) -> Result<ReadRequest, CommandError> {
        let mut request = read_request(source)?;
        if let Some((window, delta)) = windowed {
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
    /// data set once more then (flow-service.md 16.6).
    pub(crate) async fn overlap(&self, run: &Resource<Run>) -> Result<Option<String>, StoreError> {
        let landed = self.store.read(&run.scope).await?.landed_before(run, OVERLAPS_NAMED_MAX + 1).await?;
        let said = |landed: &LandedRun| match landed.window {
            Some(_) => landed.id.to_string(),
            None => format!("{} (the whole table)", landed.id),
        };
        let mut named: Vec<_> = landed.iter().map(said).collect();
        if named.len() > OVERLAPS_NAMED_MAX as usize {
            named.truncate(OVERLAPS_NAMED_MAX as usize);
            named.push("others".to_owned());
        }
        let covers = if run.body.window().is_some() { "the window overlaps" } else { "the whole table holds" };
        let note =
            format!("{covers} what was landed before, so rows may be in the data set twice: by {}", named.join(", "));
        Ok((!named.is_empty()).then_some(note))
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
