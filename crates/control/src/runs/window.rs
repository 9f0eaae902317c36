//! The window of a run on demand: whether its source can read it, and what of it was landed before.
//!
//! How a window is spelt depends on the type of its delta column, which only the source knows. It is asked when a run is
//! made, and again by every attempt: a column may be altered in between. Nothing here holds a transaction.

use std::error::Error;
use std::time::Duration;

use headwaters_model::job::SourceAccess;
use headwaters_model::metrics::Window;
use headwaters_model::resource::Resource;
use headwaters_model::run::Run;
use headwaters_model::source_connection::SourceConnection;
use headwaters_model::source_error::SourceErrorKind;
use headwaters_model::watermark::{Delta, Span};
use headwaters_model::window::Windowed;
use headwaters_store::{LandedRun, StoreError};
use tokio::time::timeout;
use tracing::warn;

use crate::Control;
use crate::connections::slow;
use crate::error::{Cause, CommandError};
use crate::flows::read_request;

/// How long looking up the delta column may take.
const LOOK_PATIENCE: Duration = Duration::from_secs(30);
/// How many earlier runs a note on overlaps names.
const OVERLAPS_NAMED_MAX: u32 = 3;
/// Where a run's parameters name the delta column.
const POINTER: &str = "/params/deltaColumn";

impl Control {
    /// Asks the source whether a window of its rows can be read. Causes: `InvalidValue` where the column does not exist or
    /// has no moments in it, `Driver`, `NoColumns`.
    pub(super) async fn check_window(
        &self,
        access: &SourceAccess,
        source: &SourceConnection,
        windowed: &Windowed,
    ) -> Result<(), CommandError> {
        let Windowed { window, delta } = windowed;
        let mut request = read_request(source)?;
        request.delta = Some(Delta { column: delta.clone(), span: Span::Asked(*window) });
        let check = timeout(LOOK_PATIENCE, self.ports.sources.check_read(access, &request)).await;
        check.unwrap_or_else(|_| Err(slow(LOOK_PATIENCE))).map_err(|error| match &error.fault().kind {
            SourceErrorKind::DeltaColumn => CommandError::invalid(Cause::InvalidValue, POINTER, error.to_string()),
            _ => CommandError::Source(error),
        })
    }

    /// What a person should know of a run that reads rows again that earlier runs of its flow have landed: they are in the
    /// data set once more then (flow-service.md 16.6). `covered` is what it was asked to read, or has read since the
    /// watermark. A note that can not be made holds no run up.
    pub(crate) async fn overlap(&self, run: &Resource<Run>, covered: Covered) -> Option<String> {
        note_on(self.landed_before(run, covered).await, covered != Covered::WholeTable)
    }

    async fn landed_before(&self, run: &Resource<Run>, covered: Covered) -> Result<Vec<LandedRun>, StoreError> {
        let mut tx = self.store.read(&run.scope).await?;
        match covered {
            Covered::WholeTable => tx.landed_before(run, None, OVERLAPS_NAMED_MAX + 1).await,
            Covered::Asked(window) => tx.landed_before(run, Some(window), OVERLAPS_NAMED_MAX + 1).await,
            Covered::Since(window) => tx.asked_before(run, window, OVERLAPS_NAMED_MAX + 1).await,
            Covered::Counted => Ok(Vec::new()),
        }
    }
}

/// Which rows of its table a run has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Covered {
    /// All of them.
    WholeTable,
    /// Those of these moments, which somebody asked for.
    Asked(Window),
    /// Those of these moments, which no other run of the schedule has read.
    Since(Window),
    /// Those behind the watermark of a column that counts: no other run of the schedule has read them, and no window can
    /// name them.
    Counted,
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
