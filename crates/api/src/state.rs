//! What the routes share.

use std::fmt;
use std::sync::Arc;

use headwaters_control::Control;

/// Renders all numbers in the Prometheus text format.
pub type RenderMetrics = Arc<dyn Fn() -> String + Send + Sync>;

/// What the routes work with: the control plane, and how `/metrics` gets its text.
#[derive(Clone)]
pub struct ApiState {
    control: Control,
    render_metrics: RenderMetrics,
}

impl ApiState {
    /// Routes that carry out their commands with `control`.
    #[must_use]
    pub fn new(control: Control, render_metrics: RenderMetrics) -> Self {
        Self { control, render_metrics }
    }

    pub(crate) fn control(&self) -> &Control {
        &self.control
    }

    pub(crate) fn metrics_text(&self) -> String {
        (self.render_metrics)()
    }
}

impl fmt::Debug for ApiState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiState").finish_non_exhaustive()
    }
}
