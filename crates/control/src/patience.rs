//! Waiting for a store that takes no writes at the moment: somebody else holds it, or its disk has no room.
//!
//! Where much work stands behind a write, an attempt that has landed a table for an hour, it waits until the store takes
//! it again. All else just fails, and is tried again by whoever asked for it.
//!
//! **Invariant.** Only a write that was refused whole is repeated ([`StoreError::refused_write`]), so it is made at most
//! once.

use std::error::Error;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use headwaters_store::StoreError;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// How long a write waits for the store to take it.
const PATIENCE: Duration = Duration::from_secs(600);
/// How long it waits between two tries.
const PAUSE: Duration = Duration::from_secs(1);

/// Makes a write, again and again while the store refuses it for the moment: until it is told to stop, and for
/// [`PATIENCE`] at most. The last answer is what counts.
pub(crate) async fn until_taken<'a, T>(
    stopped: &CancellationToken,
    write: impl Fn() -> BoxFuture<'a, Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let begun = Instant::now();
    loop {
        let refused = match write().await {
            Err(error) if error.refused_write() && begun.elapsed() < PATIENCE => error,
            answered => return answered,
        };
        warn!(error = &refused as &dyn Error, "the metadata store takes no writes now; what was landed waits for it");
        tokio::select! {
            () = stopped.cancelled() => return Err(refused),
            () = sleep(PAUSE) => {}
        }
    }
}
