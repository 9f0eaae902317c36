//! Deletes files that no version of the table holds since some moment: what attempts left behind that broke or were
//! overtaken, and what was taken out of the table before that moment.
//!
//! **Invariant.** Nothing is deleted that is in the table, was in it since the moment, or may still come into it:
//!
//! - What is in the newest version is not deleted, and a file that is not in it comes into it only by a commit that holds
//!   files of its own attempt. Whoever names the moment warrants that no attempt whose commit may still come has landed a
//!   file before it; files carry fresh names, so that an old one is never landed again.
//! - What was taken out since the moment is named by the log for as long as the table wants that
//!   (`delta.deletedFileRetentionDuration`, a week). Where the table sets it, what is younger is not deleted either.
//! - Where the table names files by whole URIs, which may be those of its own folder, nothing is deleted.
//! - Only Parquet files are deleted, and nothing in folders that begin with `_` or `.`: the log is there, and what other
//!   engines keep beside the rows.
//!
//! Files are told from others by their names and ages, so a second process that does the same finds them gone.

use std::collections::HashSet;

use deltalake_core::DeltaTable;
use futures::{StreamExt, TryStreamExt};
use headwaters_model::care::{CareLimits, CareReport};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt};

use crate::contract::LakeError;
use crate::delta::errors;
use crate::delta::storage::Place;

/// Deletes what is not needed since the moment, or for as long as the table wants, and adds it to the report.
pub(super) async fn vacuum(place: &Place, limits: CareLimits, report: &mut CareReport) -> Result<(), LakeError> {
    let failed = |error: object_store::Error| errors::storage("clean up", place.location(), &error);
    let Needed { files: needed, before_ms } = needed(place, limits).await?;
    let mut files = place.store().list(None);
    while let Some(file) = files.next().await.transpose().map_err(failed)? {
        let old = file.last_modified.timestamp_millis() < before_ms;
        if !old || !is_of_table(&file.location) || needed.contains(&file.location) {
            continue;
        }
        if delete(place, &file).await.map_err(failed)? {
            report.deleted_files += 1;
            report.deleted_bytes += file.size;
        }
    }
    let (unfinished, bytes) = place.delete_unfinished(before_ms).await?;
    report.deleted_files += unfinished;
    report.deleted_bytes += bytes;
    Ok(())
}

/// Whether it was there.
async fn delete(place: &Place, file: &ObjectMeta) -> Result<bool, object_store::Error> {
    match place.store().delete(&file.location).await {
        Ok(()) => {
            tracing::debug!(location = place.location(), path = %file.location, "deleted a file that no version needs");
            Ok(true)
        }
        Err(object_store::Error::NotFound { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// What may not be deleted.
struct Needed {
    /// The files of the newest version, and those that were taken out of the table since the moment.
    files: HashSet<Path>,
    /// The moment, milliseconds since 1970.
    before_ms: i64,
}

async fn needed(place: &Place, limits: CareLimits) -> Result<Needed, LakeError> {
    let failed = |error| errors::delta("read the log of", place.location(), &error);
    let mut table = DeltaTable::new(place.log().clone());
    table.load().await.map_err(failed)?;
    let state = table.snapshot().map_err(failed)?;
    if let Some(elsewhere) = state.log_data().iter().find(|file| file.path().contains("://")) {
        let (location, path) = (place.location(), elsewhere.path().into_owned());
        let message =
            format!("could not clean up {location}: the table names files by their whole URIs, such as {path}");
        let hint = "which of its own files it needs can't be told; clean up the table with the engine that made it";
        return Err(LakeError::definite(message).with_hint(hint));
    }
    let wanted = state.table_config().deleted_file_retention_duration;
    let wanted_ms = wanted.map_or(0, |wanted| i64::try_from(wanted.as_millis()).unwrap_or(i64::MAX));
    let before_ms = limits.vacuum_before_ms.min(limits.now_ms.saturating_sub(wanted_ms));
    let mut needed: HashSet<Path> = state.log_data().iter().map(|file| file.object_store_path()).collect();
    let mut removed = state.all_tombstones(place.log().as_ref());
    while let Some(file) = removed.try_next().await.map_err(failed)? {
        if file.deletion_timestamp().is_none_or(|at_ms| at_ms >= before_ms) {
            let path = file.path();
            needed.insert(Path::parse(path.as_ref()).unwrap_or_else(|_| Path::from(path.as_ref())));
        }
    }
    Ok(Needed { files: needed, before_ms })
}

/// Whether it may be a file of rows.
fn is_of_table(path: &Path) -> bool {
    let hidden = path.parts().any(|part| part.as_ref().starts_with(['_', '.']));
    !hidden && path.extension() == Some("parquet")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_parquet_files_outside_of_hidden_folders_are_of_the_table() {
        for (path, of_table) in [
            ("part-1.zstd.parquet", true),
            ("day=2024-01-01/part-1.parquet", true),
            ("_delta_log/00000000000000000020.checkpoint.parquet", false),
            ("_change_data/part-1.parquet", false),
            (".hidden/part-1.parquet", false),
            ("notes.txt", false),
            ("parquet", false),
        ] {
            assert_eq!(is_of_table(&Path::from(path)), of_table, "{path}");
        }
    }
}
