//! Looks after a table and its log.
//!
//! **Invariant.** A checkpoint is made only after a commit is durable, and whatever fails there is a line in our log: a
//! table without a checkpoint is slower to open, not wrong.
//!
//! Now and then [`care`] puts small files together ([`compact`]), deletes what no version needs any more ([`vacuum`]), and
//! the entries of the log that have expired. Runs may land into the table and commit meanwhile, another process may care
//! for it as well, and this one may die at any point: each part holds its own argument why that is harmless.

mod compact;
mod vacuum;

use deltalake_core::DeltaTable;
use deltalake_core::checkpoints::{cleanup_expired_logs_for, create_checkpoint};
use deltalake_core::kernel::{EagerSnapshot, Version};
use deltalake_core::table::config::TablePropertiesExt;
use headwaters_model::care::{CareLimits, CareReport};

use super::errors;
use super::open::check_writable;
use super::storage::Place;
use crate::contract::{LakeError, WriteLimits};

/// A checkpoint is made every so many versions, so that opening a table reads few small files.
const CHECKPOINT_VERSIONS: Version = 20;

/// The feature of a table by which nobody deletes its checkpoints without more ado.
const CHECKPOINT_PROTECTION: &str = "checkpointProtection";

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

/// Looks after a table; where there is none, there is nothing to do. What breaks in one part does not keep the others from
/// being done; the first error is returned, and what was done beside it is told by our log.
pub(super) async fn care(place: &Place, limits: CareLimits, write: WriteLimits) -> Result<CareReport, LakeError> {
    let mut report = CareReport::default();
    let Some(state) = place.load().await? else { return Ok(report) };
    // A table of another engine may ask of its writers what we can't do; of those who only read, nothing.
    check_writable(place, &state)?;
    let compacted = compact::compact(place, state, limits.small_files_min, write, &mut report).await;
    let vacuumed = vacuum::vacuum(place, limits, &mut report).await;
    let expired = expire(place, limits.now_ms, &mut report).await;
    let done = compacted.and(vacuumed).and(expired);
    if done.is_err() && !report.is_idle() {
        tracing::info!(location = place.location(), ?report, "looked after a part of a table");
    }
    done.map(|()| report)
}

/// Deletes the entries of the log that are older than the table wants them (`delta.logRetentionDuration`, 30 days) and
/// that a checkpoint stands for. Marks are in checkpoints, so none is lost.
async fn expire(place: &Place, now_ms: i64, report: &mut CareReport) -> Result<(), LakeError> {
    let Some(state) = place.load().await? else { return Ok(()) };
    let properties = state.table_properties();
    if !properties.enable_expired_log_cleanup() || protects_checkpoints(&state) {
        return Ok(());
    }
    let retention_ms = i64::try_from(properties.log_retention_duration().as_millis()).unwrap_or(i64::MAX);
    let cutoff_ms = now_ms.saturating_sub(retention_ms).max(0);
    let deleted = cleanup_expired_logs_for(state.version(), place.log().as_ref(), cutoff_ms, None).await;
    let deleted = deleted.map_err(|error| errors::delta("clean up the log of", place.location(), &error))?;
    report.deleted_log_entries += deleted as u64;
    Ok(())
}

/// Whether checkpoints of the table may not be deleted by whoever does not know all of its history's features.
fn protects_checkpoints(state: &EagerSnapshot) -> bool {
    // The library shows a protocol's features to nobody but in its JSON form.
    let protocol = serde_json::to_value(state.protocol()).unwrap_or_default();
    let features = protocol["writerFeatures"].as_array();
    features.is_some_and(|features| features.iter().any(|feature| feature == CHECKPOINT_PROTECTION))
}
