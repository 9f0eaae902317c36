//! What the routes share.

use std::fmt;
use std::sync::Arc;

use headwaters_control::Control;

use crate::limits::Limits;
use crate::rate::RateLimit;

/// Renders all numbers in the Prometheus text format.
pub type RenderMetrics = Arc<dyn Fn() -> String + Send + Sync>;

/// What the routes work with: the control plane, how `/metrics` gets its text, and what callers may ask for at a time.
///
/// A clone is the same state. There is one for each layer that a request goes through.
#[derive(Clone)]
pub struct ApiState(Arc<Parts>);

struct Parts {
    control: Control,
    render_metrics: RenderMetrics,
    limits: Arc<Limits>,
    rate: RateLimit,
}

impl ApiState {
    /// Routes that carry out their commands with `control`, within the limits of a default installation.
    #[must_use]
    pub fn new(control: Control, render_metrics: RenderMetrics) -> Self {
        Self::limited(control, render_metrics, Limits::default())
    }

    /// Routes that carry out their commands with `control`, within these limits.
    #[must_use]
    pub fn limited(control: Control, render_metrics: RenderMetrics, limits: Limits) -> Self {
        Self(Arc::new(Parts {
            control,
            render_metrics,
            rate: RateLimit::new(limits.rate_per_second),
            limits: Arc::new(limits),
        }))
    }

    pub(crate) fn control(&self) -> &Control {
        &self.0.control
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.0.limits
    }

    pub(crate) fn shared_limits(&self) -> Arc<Limits> {
        Arc::clone(&self.0.limits)
    }

    pub(crate) fn rate(&self) -> &RateLimit {
        &self.0.rate
    }

    pub(crate) fn metrics_text(&self) -> String {
        (self.0.render_metrics)()
    }
}

impl fmt::Debug for ApiState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiState").finish_non_exhaustive()
    }
}
