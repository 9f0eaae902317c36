//! Crash points: places where a test can make the process die, as `kill -9` would (docs/architecture.md, section 4).
//!
//! Without the feature `crash-points` a point is nothing at all. With it, the process aborts at the point that the
//! environment names; nothing is flushed, no destructor runs.

use headwaters_model::crash::CrashPoint;

/// Passes a crash point.
pub(crate) fn point(at: CrashPoint) {
    #[cfg(feature = "crash-points")]
    if armed().is_some_and(|armed| armed.is_due(at)) {
        std::process::abort();
    }
    #[cfg(not(feature = "crash-points"))]
    let _ = at;
}

#[cfg(feature = "crash-points")]
#[expect(
    clippy::disallowed_methods,
    reason = "a crash point is armed for one process by its parent, and is no setting"
)]
fn armed() -> Option<&'static headwaters_model::crash::Armed> {
    static ARMED: std::sync::OnceLock<Option<headwaters_model::crash::Armed>> = std::sync::OnceLock::new();
    let name = || std::env::var(headwaters_model::crash::ENVIRONMENT).ok();
    ARMED.get_or_init(|| name().and_then(|name| name.parse().ok())).as_ref()
}
