//! The signals that ask the process to stop.

use tokio::signal::unix::{SignalKind, signal};

/// Returns when SIGINT or SIGTERM has arrived. Where the handlers can't be set it never returns, and the signals keep
/// their default effect.
pub(crate) async fn stop() {
    let (interrupt, terminate) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    match (interrupt, terminate) {
        (Ok(mut interrupt), Ok(mut terminate)) => {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        }
        _ => std::future::pending().await,
    }
}
