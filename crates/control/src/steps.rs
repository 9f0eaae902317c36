//! The steps of a run as they show in logs and metrics: a span for each, and how long it took.
//!
//! Ids belong into spans and logs, never into the labels of metrics: there they would grow without bound.

use std::time::Instant;

use metrics::{Unit, describe_histogram, histogram};
use tracing::{Instrument as _, info_span};

/// How long each step took.
const SECONDS: &str = "headwaters_run_step_seconds";

/// A step of an attempt (docs/architecture.md, section 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunStep {
    /// The table is asked for its last ordinal.
    Look,
    /// The source is reached, the snapshot opened and the table cut.
    Plan,
    /// Rows are read, transformed and landed.
    Land,
    /// What was landed is noted.
    Pending,
    /// The commit is made.
    Commit,
    /// The run is closed.
    Settle,
}

impl RunStep {
    const fn name(self) -> &'static str {
        match self {
            Self::Look => "look",
            Self::Plan => "plan",
            Self::Land => "land",
            Self::Pending => "pending",
            Self::Commit => "commit",
            Self::Settle => "settle",
        }
    }

    /// Carries it out under a span of its own, and counts how long it took.
    pub(crate) async fn of<T>(self, work: impl Future<Output = T>) -> T {
        let begun = Instant::now();
        let done = work.instrument(info_span!("step", name = self.name())).await;
        self.took(begun);
        done
    }

    /// Counts how long it took.
    pub(crate) fn took(self, begun: Instant) {
        histogram!(SECONDS, "step" => self.name()).record(begun.elapsed());
    }
}

/// Describes what is counted of steps.
pub(crate) fn describe_metrics() {
    describe_histogram!(
        "headwaters_run_step_seconds",
        Unit::Seconds,
        "how long each step of an attempt took: look, plan, land, pending, commit, settle"
    );
}
