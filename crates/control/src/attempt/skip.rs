//! What becomes of the window of a scheduled run that failed for good where the next one is not to read it, as on the hosted
//! platform (`flows.failed_window = "skip"`, flow-service.md 16.6).
//!
//! **Invariant.** The watermark moves past the window in the transaction that closes the run, and only while the offset is
//! still the one that the run's last attempt was bound to. In the same transaction the window becomes the run's own: from
//! then on whoever repeats the run reads exactly it, as one reads a window on demand, and moves nothing. So a row of it is
//! read by such a repeat only, and once.
//!
//! Nothing is skipped that nobody could name: a column that counts has no moments, the first window of a flow holds rows
//! without any, and of a run that broke before its source was asked no window is known. Nor is what is in the table in part, or may
//! still come into it in part.

use headwaters_model::metrics::Window;
use headwaters_model::window::Windowed;
use headwaters_store::{Attempt, Promotion};
use serde_json::json;

use crate::assignment::Assignment;
use crate::progress::Tracked;

/// A window that is skipped.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Skip {
    /// The window, for a run that repeats this one.
    pub(crate) windowed: Windowed,
    /// How the offset moves past it.
    pub(crate) promotion: Promotion,
}

impl Assignment {
    /// What is skipped when the run is closed as failed after this attempt, with what is known of that.
    pub(super) fn skip(&self, attempt: &Attempt, tracked: &Tracked) -> Option<Skip> {
        let Tracked { reached: Some(reached), window: Some(window), .. } = tracked else { return None };
        if !self.origin.reads_on() || self.watermark(attempt).is_none() || is_empty(*window) {
            return None;
        }
        Some(Skip {
            windowed: Windowed { window: *window, delta: self.flow.body.delta_column()? },
            promotion: Promotion::Empty { base: attempt.base, next: json!(reached) },
        })
    }
}

const fn is_empty(window: Window) -> bool {
    window.start_ms >= window.end_ms
}
