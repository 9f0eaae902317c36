//! What the routes share.

use std::fmt;
use std::sync::Arc;

use headwaters_control::Control;
use headwaters_model::id::ClientId;

use crate::limits::Limits;
use crate::rate::RateLimit;
use crate::shares::Shares;

/// Renders all numbers in the Prometheus text format.
pub type RenderMetrics = Arc<dyn Fn() -> String + Send + Sync>;

/// What the routes work with: the control plane, how `/metrics` gets its text, and what callers may ask for at a time.
#[derive(Clone)]
pub struct ApiState {
    control: Control,
    render_metrics: RenderMetrics,
    limits: Arc<Limits>,
    rate: Arc<RateLimit>,
    source_calls: Shares<ClientId>,
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
        Self {
            control,
            render_metrics,
            rate: Arc::new(RateLimit::new(limits.rate_per_second)),
            source_calls: Shares::new(limits.source_calls_max, limits.source_calls_per_client_max),
            limits: Arc::new(limits),
        }
    }

    pub(crate) fn control(&self) -> &Control {
        &self.control
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn shared_limits(&self) -> Arc<Limits> {
        Arc::clone(&self.limits)
    }

    pub(crate) fn rate(&self) -> &RateLimit {
        &self.rate
    }

    pub(crate) fn source_calls(&self) -> &Shares<ClientId> {
        &self.source_calls
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
