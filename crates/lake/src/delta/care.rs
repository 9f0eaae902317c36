//! Looks after a table's log.
//!
//! **Invariant.** Runs only after a commit is durable, and whatever fails here is a line in our log: a table without a
//! checkpoint is slower to open, not wrong.

use deltalake_core::DeltaTable;
use deltalake_core::checkpoints::create_checkpoint;
use deltalake_core::kernel::Version;

use super::storage::Place;

/// A checkpoint is made every so many versions, so that opening a table reads few small files.
const CHECKPOINT_VERSIONS: Version = 20;

/// What is due after this version was committed.
pub(super) async fn after_commit(place: &Place, version: Version) {
    if version == 0 || !version.is_multiple_of(CHECKPOINT_VERSIONS) {
        return;
    }
    let mut table = DeltaTable::new(place.log().clone());
    let made = async {
        table.load_version(version).await?;
        create_checkpoint(&table, None).await
    };
    if let Err(error) = made.await {
        tracing::warn!(location = place.location(), version, %error, "could not make a checkpoint of a table's log");
    }
}
