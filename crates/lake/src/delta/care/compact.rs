//! Puts small files together, so that reading a table that is appended to often doesn't open thousands of them.
//!
//! [`super::super::rewrite`] holds the argument why no row is lost or doubled. What is beaten by another writer looks again:
//! while all of its files are still in the table and the schema still takes the new ones, it is tried once more; else what
//! was written is deleted, and the next visit begins anew. A process that dies in between leaves orphans for
//! [`super::vacuum`]. Two that compact the same table at once write the same rows twice, and one of them throws its files
//! away.

use deltalake_core::kernel::{EagerSnapshot, LogicalFileView};
use deltalake_core::protocol::DeltaOperation;
use headwaters_model::care::CareReport;
use headwaters_model::job::LandedFile;
use serde_json::{Value, json};

use super::after_commit;
use crate::contract::{LakeError, WriteLimits};
use crate::delta::commit::{Attempt, Entry};
use crate::delta::rewrite::{Rewriter, Unwritten, exchange, rewritable, size_bytes, swap};
use crate::delta::storage::Place;
use crate::delta::{COMMIT_TRIES_MAX, evolve};

/// A file below this size is small: the part of the target that [`WriteLimits`] names.
const SMALL_PART: u64 = 8;
/// So many bytes are rewritten in one visit at most; the next one goes on.
const COMPACT_BYTES_MAX: u64 = 1 << 30;
/// So many files are put together in one commit at most, so that its entry stays small.
const COMPACT_FILES_MAX: usize = 1000;
/// A file is left alone if one of its row groups, which are read as a whole, is so many times as large as those that
/// [`WriteLimits`] allow.
const ROW_GROUP_TIMES_MAX: u64 = 4;
/// So many files of a bin are left out before it is given up.
const LEFT_OUT_MAX: usize = 16;

/// Puts small files together if there are `files_min` of them, and adds what was done to the report. Files that can't be
/// read are left out, and told by the error when all others are done.
pub(super) async fn compact(
    place: &Place,
    mut state: EagerSnapshot,
    files_min: usize,
    limits: WriteLimits,
    report: &mut CareReport,
) -> Result<(), LakeError> {
    let row_group_bytes_max = (limits.row_group_bytes_max as u64).saturating_mul(ROW_GROUP_TIMES_MAX);
    let mut first_error = None;
    for mut bin in bins(&state, files_min, limits.file_bytes_target as u64) {
        let schema = state.schema();
        let rewriter = Rewriter::new(place, &schema, limits, row_group_bytes_max)?;
        let Some(new) = rewritten(&rewriter, &mut bin, &mut first_error).await? else { continue };
        let Some(now) = exchanged(place, state.clone(), &bin, &new, limits).await? else {
            tracing::debug!(
                location = place.location(),
                "small files were changed by others while they were put together"
            );
            place.discard(&new).await;
            break;
        };
        report.compacted_files += bin.len() as u64;
        report.compacted_into += new.len() as u64;
        report.compacted_bytes += bin.iter().map(size_bytes).sum::<u64>();
        state = now;
    }
    first_error.map_or(Ok(()), Err)
}

/// Writes the rows of a bin into new files; the files that can't be rewritten are taken out of the bin. None if too few are
/// left, or too many are not as they should be.
async fn rewritten(
    rewriter: &Rewriter,
    bin: &mut Vec<LogicalFileView>,
    first_error: &mut Option<LakeError>,
) -> Result<Option<Vec<LandedFile>>, LakeError> {
    for _ in 0..=LEFT_OUT_MAX {
        if bin.len() < 2 {
            return Ok(None);
        }
        match rewriter.rewrite(bin).await {
            Ok(new) => return Ok(Some(new)),
            Err(Unwritten::New(error)) => return Err(error),
            Err(Unwritten::Large(at, reason)) => {
                tracing::debug!(%reason, "a file is not put together with others");
                bin.remove(at);
            }
            Err(Unwritten::File(at, error)) => {
                bin.remove(at);
                first_error.get_or_insert(error);
            }
        }
    }
    Ok(None)
}

/// Commits the exchange; none when others have taken one of the files out of the table, or changed its columns. The state
/// that is returned is one that holds the new files.
async fn exchanged(
    place: &Place,
    state: EagerSnapshot,
    old: &[LogicalFileView],
    new: &[LandedFile],
    limits: WriteLimits,
) -> Result<Option<EagerSnapshot>, LakeError> {
    let written = state.schema();
    let mut now = state;
    for _ in 0..COMMIT_TRIES_MAX {
        if !all_active(&now, old) || evolve::still_fits(place.location(), &now.schema(), &written).is_err() {
            return Ok(None);
        }
        match swap(place, &now, entry(old, new, limits), new).await? {
            Attempt::Made(version) => {
                after_commit(place, version).await;
                return place.load().await;
            }
            Attempt::Beaten => match place.load().await? {
                Some(next) => now = next,
                None => return Ok(None),
            },
        }
    }
    Ok(None)
}

fn entry(old: &[LogicalFileView], new: &[LandedFile], limits: WriteLimits) -> Entry {
    let target_size = i64::try_from(limits.file_bytes_target).unwrap_or(i64::MAX);
    let metrics = json!({
        "numRemovedFiles": old.len().to_string(),
        "numRemovedBytes": old.iter().map(size_bytes).sum::<u64>().to_string(),
        "numAddedFiles": new.len().to_string(),
        "numAddedBytes": new.iter().map(|file| file.size_bytes).sum::<u64>().to_string(),
    });
    Entry {
        operation: DeltaOperation::Optimize { predicate: None, target_size },
        actions: exchange(old, new),
        mark: None,
        info: vec![("operationMetrics".to_owned(), metrics), ("isBlindAppend".to_owned(), Value::Bool(false))],
    }
}

/// Whether all the files are in the table, with all their rows.
fn all_active(state: &EagerSnapshot, files: &[LogicalFileView]) -> bool {
    let active: std::collections::HashSet<String> =
        rewritable(state).iter().map(|file| file.path().into_owned()).collect();
    files.iter().all(|file| active.contains(file.path().as_ref()))
}

/// The small files in groups that become files near the target; none while they are fewer than `files_min`.
///
/// The smallest come first, so that a bin does not rewrite one large file for the sake of a few small ones as long as there
/// are others.
fn bins(state: &EagerSnapshot, files_min: usize, target_bytes: u64) -> Vec<Vec<LogicalFileView>> {
    let mut small: Vec<LogicalFileView> =
        rewritable(state).into_iter().filter(|file| size_bytes(file) < target_bytes / SMALL_PART).collect();
    if small.len() < files_min.max(2) {
        return Vec::new();
    }
    small.sort_by_key(size_bytes);
    packed(small.into_iter().map(|file| (size_bytes(&file), file)), target_bytes)
}

/// Packs what comes in order of size, within the limits; what would be alone is left alone.
fn packed<T>(sized: impl Iterator<Item = (u64, T)>, target_bytes: u64) -> Vec<Vec<T>> {
    let (mut bins, mut bin, mut bin_bytes, mut all_bytes) = (Vec::new(), Vec::new(), 0, 0);
    for (bytes, item) in sized {
        all_bytes += bytes;
        if all_bytes > COMPACT_BYTES_MAX {
            break;
        }
        if bin_bytes + bytes > target_bytes || bin.len() == COMPACT_FILES_MAX {
            bins.push(std::mem::take(&mut bin));
            bin_bytes = 0;
        }
        bin_bytes += bytes;
        bin.push(item);
    }
    bins.push(bin);
    bins.retain(|bin| bin.len() > 1);
    bins
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Int32Array, RecordBatch};
    use headwaters_model::flow::SchemaChange;
    use headwaters_model::job::{Landed, WriteMode};
    use headwaters_model::offset::{CommitMark, Ordinal};
    use object_store::ObjectStoreExt;
    use object_store::memory::InMemory;

    use super::*;
    use crate::contract::Table;
    use crate::delta::evolve::Rules;
    use crate::delta::flaky::{Flaky, Mischief};
    use crate::delta::{commit, open};

    fn packed_sizes(sizes: &[u64], target_bytes: u64) -> Vec<Vec<u64>> {
        packed(sizes.iter().map(|size| (*size, *size)), target_bytes)
    }

    #[test]
    fn bins_stay_below_the_target_and_hold_two_files_at_least() {
        assert_eq!(packed_sizes(&[1, 2, 3, 4], 6), [vec![1, 2, 3]]);
        assert_eq!(packed_sizes(&[1, 1, 2, 2], 3), [vec![1, 1]]);
        assert_eq!(packed_sizes(&[], 3), Vec::<Vec<u64>>::new());
    }

    #[test]
    fn one_visit_rewrites_no_more_than_its_limit() {
        let files = vec![COMPACT_BYTES_MAX / 4; 10];
        assert_eq!(packed_sizes(&files, u64::MAX / 2).concat().len(), 4);
        assert!(packed_sizes(&vec![1; 2500], u64::MAX / 2).iter().all(|bin| bin.len() <= COMPACT_FILES_MAX));
    }
    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_put_together_stays_though_the_store_denies_that_it_was() {
        for mischief in Mischief::WRITING {
            let store = Arc::new(InMemory::new());
            let place = || Place::behind("memory:///lake/t", store.clone());
            for ordinal in 1..=2 {
                let column: ArrayRef = Arc::new(Int32Array::from(vec![1, 2, 3]));
                let rows = RecordBatch::try_from_iter([("n", column)]).unwrap();
                let rules = Rules { mode: WriteMode::Append, change: SchemaChange::Evolve };
                let table = open::open(place(), &rows.schema(), rules, WriteLimits::default()).await.unwrap();
                let mut writer = table.writer().unwrap();
                writer.write(rows).await.unwrap();
                let files = writer.finish().await.unwrap();
                let landed = Landed { files, schema: table.schema(), ..Landed::default() };
                let base = (ordinal > 1).then_some(Ordinal(ordinal - 1));
                let mark = CommitMark { app_id: "flow".to_owned(), base, ordinal: Ordinal(ordinal) };
                commit::commit(&place(), &landed, &mark, WriteMode::Append, &[]).await.unwrap();
            }
            let flaky = Place::behind("memory:///lake/t", Arc::new(Flaky::new(store.clone(), mischief, 1)));
            let state = flaky.load().await.unwrap().unwrap();
            let mut report = CareReport::default();
            compact(&flaky, state, 2, WriteLimits::default(), &mut report).await.unwrap();
            assert_eq!((report.compacted_files, report.compacted_into), (2, 1), "{mischief:?}");
            let now = flaky.load().await.unwrap().unwrap();
            let files: Vec<LogicalFileView> = now.log_data().iter().collect();
            let [file] = &files[..] else { panic!("one file, not {}", files.len()) };
            let found = flaky.store().head(&file.object_store_path()).await.unwrap();
            assert_eq!((found.size, now.version()), (size_bytes(file), 2), "{mischief:?}");
        }
    }
}
