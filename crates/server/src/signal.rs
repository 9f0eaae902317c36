//! The signals that ask the process to stop.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The orders to stop, one after the other: SIGINT and SIGTERM.
pub(crate) struct Orders(Option<[Signal; 2]>);

impl Orders {
    /// Takes the signals from now on. Where the handlers can't be set they keep their default effect, and no order ever
    /// comes.
    pub(crate) fn taken() -> Self {
        let signals = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
        Self(match signals {
            [Ok(interrupt), Ok(terminate)] => Some([interrupt, terminate]),
            _ => None,
        })
    }

    /// Returns when the next order has come.
    pub(crate) async fn next(&mut self) {
        match &mut self.0 {
            Some([interrupt, terminate]) => {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
            }
            None => std::future::pending().await,
        }
    }
}

/// Returns when SIGINT or SIGTERM has arrived.
pub(crate) async fn stop() {
    Orders::taken().next().await;
}
