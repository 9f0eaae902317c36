//! Gives columns of a table wider types, by rewriting its files.
//!
//! Readers may take a file's own types or the table's, so they must not differ: all files are rewritten, and the commit
//! that changes the schema exchanges them in the same breath ([`super::rewrite`] holds the argument). Files of the old types
//! that somebody else has landed and not yet committed don't fit any more ([`super::evolve::still_fits`]) and are landed again.
//! Versions before keep their own schema and files.

use std::collections::HashMap;

use deltalake_core::kernel::{Action, EagerSnapshot, LogicalFileView, MetadataExt};
use deltalake_core::protocol::DeltaOperation;
use headwaters_model::job::LandedFile;
use serde_json::Value;

use super::commit::{Attempt, Entry};
use super::evolve::Fit;
use super::rewrite::{Rewriter, exchange, rewritable, size_bytes, swap};
use super::storage::Place;
use super::{COMMIT_TRIES_MAX, care, errors};
use crate::contract::{LakeError, WriteLimits};

/// A table is widened up to so many bytes; a run must not rewrite a lake while its source waits.
pub(super) const WIDEN_BYTES_MAX: u64 = 1 << 30;
/// Row groups up to so many bytes are read; ours are far smaller, those of other engines seldom larger.
const ROW_GROUP_BYTES_MAX: u64 = 256 << 20;

/// Widens the table as the fit says. Whoever finds another schema there than the fit was made for does nothing: the caller
/// looks again.
pub(super) async fn widen(
    place: &Place,
    mut state: EagerSnapshot,
    fit: &Fit,
    limits: WriteLimits,
    bytes_max: u64,
) -> Result<(), LakeError> {
    let seen = state.metadata().clone();
    let rewriter = Rewriter::new(place, &fit.schema, limits, ROW_GROUP_BYTES_MAX)?;
    let mut done = Rewritten::default();
    for _ in 0..COMMIT_TRIES_MAX {
        let files = files(place, &state, fit, bytes_max)?;
        let new = match done.all(place, &rewriter, &files).await {
            Ok(new) => new,
            Err(error) => {
                done.discard(place).await;
                return Err(error);
            }
        };
        let entry = entry(place, &state, fit, exchange(&files, &new))?;
        match swap(place, &state, entry, &new).await? {
            Attempt::Made(version) => {
                care::after_commit(place, version).await;
                return Ok(());
            }
            Attempt::Beaten => {}
        }
        match place.load().await? {
            Some(now) if *now.metadata() == seen => state = now,
            _ => {
                done.discard(place).await;
                return Ok(());
            }
        }
    }
    done.discard(place).await;
    Err(LakeError::transient(format!(
        "could not widen columns of {}: other writers were always faster",
        place.location()
    )))
}

/// All files of the table, if they can be rewritten.
fn files(place: &Place, state: &EagerSnapshot, fit: &Fit, bytes_max: u64) -> Result<Vec<LogicalFileView>, LakeError> {
    let files: Vec<LogicalFileView> = rewritable(state);
    let refused = |why: String| {
        let (location, wanted) = (place.location(), fit.wanted().join("; "));
        LakeError::definite(format!("could not widen columns of {location} ({wanted}): {why}")).with_hint(
            "convert the table once with another engine: read it, cast the columns, overwrite it together with its \
             schema; then run again. Or land into another data set or location",
        )
    };
    if files.len() != state.log_data().num_files() {
        return Err(refused(
            "another engine has deleted rows of it by deletion vectors, or keeps files elsewhere".to_owned(),
        ));
    }
    let bytes: u64 = files.iter().map(size_bytes).sum();
    if bytes > bytes_max {
        return Err(refused(format!("its files have {bytes} bytes, and a run rewrites at most {bytes_max}")));
    }
    Ok(files)
}

fn entry(place: &Place, state: &EagerSnapshot, fit: &Fit, files: Vec<Action>) -> Result<Entry, LakeError> {
    let metadata = state
        .metadata()
        .clone()
        .with_schema(&fit.schema)
        .map_err(|error| errors::delta("change the columns of", place.location(), &error.into()))?;
    Ok(Entry {
        operation: DeltaOperation::UpdateFieldMetadata { fields: fit.schema.fields().cloned().collect() },
        actions: std::iter::once(Action::Metadata(metadata)).chain(files).collect(),
        mark: None,
        info: vec![("widened".to_owned(), Value::from(fit.widened()))],
    })
}

/// What was rewritten so far, by the path of the old file: whoever is beaten does not begin again.
#[derive(Default)]
struct Rewritten(HashMap<String, Vec<LandedFile>>);

impl Rewritten {
    /// The new files for these old ones; rewrites what is new among them, and deletes what is not asked for any more.
    async fn all(
        &mut self,
        place: &Place,
        rewriter: &Rewriter,
        files: &[LogicalFileView],
    ) -> Result<Vec<LandedFile>, LakeError> {
        let mut known = std::mem::take(&mut self.0);
        for file in files {
            let path = file.path().into_owned();
            let new = match known.remove(&path) {
                Some(new) => new,
                None => match rewriter.rewrite(std::slice::from_ref(file)).await {
                    Ok(new) => new,
                    Err(unwritten) => {
                        self.0.extend(known);
                        return Err(unwritten.into());
                    }
                },
            };
            self.0.insert(path, new);
        }
        Self(known).discard(place).await;
        Ok(self.0.values().flatten().cloned().collect())
    }

    async fn discard(&self, place: &Place) {
        for files in self.0.values() {
            place.discard(files).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Int32Array, RecordBatch};
    use arrow_schema::{DataType, Field, Schema};
    use headwaters_model::flow::SchemaChange;
    use headwaters_model::job::{Landed, WriteMode};
    use headwaters_model::offset::{CommitMark, Ordinal};
    use object_store::ObjectStoreExt;
    use object_store::memory::InMemory;

    use super::super::evolve::{Rules, fit};
    use super::super::flaky::{Flaky, Mischief};
    use super::super::{commit, open};
    use super::*;
    use crate::contract::Table;

    const RULES: Rules = Rules { mode: WriteMode::Append, change: SchemaChange::Evolve };

    const LOCATION: &str = "memory:///lake/t";

    /// A table with one column of three small integers, and the file that holds them.
    async fn made(store: &Arc<InMemory>) -> LandedFile {
        let place = || Place::behind(LOCATION, store.clone());
        let column: ArrayRef = Arc::new(Int32Array::from(vec![1, 2, 3]));
        let rows = RecordBatch::try_from_iter([("n", column)]).unwrap();
        let table = open::open(place(), &rows.schema(), RULES, WriteLimits::default()).await.unwrap();
        let mut writer = table.writer().unwrap();
        writer.write(rows).await.unwrap();
        let landed = Landed { files: writer.finish().await.unwrap(), schema: table.schema(), ..Landed::default() };
        let mark = CommitMark { app_id: "flow".to_owned(), base: None, ordinal: Ordinal::FIRST };
        commit::commit(&place(), &landed, &mark, WriteMode::Append, &[]).await.unwrap();
        landed.files.into_iter().next().unwrap()
    }

    fn wider(state: &EagerSnapshot) -> Fit {
        let wider = Schema::new(vec![Field::new("n", DataType::Int64, true)]);
        fit(LOCATION, Some(&*state.schema()), &wider, RULES).unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_table_beyond_the_limit_is_a_definite_error_that_says_how_to_go_on_and_changes_nothing() {
        let store = Arc::new(InMemory::new());
        let bytes = made(&store).await.size_bytes;
        let place = || Place::behind(LOCATION, store.clone());
        let state = place().load().await.unwrap().unwrap();
        let fit = wider(&state);
        let error = widen(&place(), state.clone(), &fit, WriteLimits::default(), bytes - 1).await.unwrap_err();
        let LakeError::Definite(fault) = error else { panic!("{error:?}") };
        assert!(fault.message.contains("column n is long in the source but integer in the table"), "{fault}");
        assert!(fault.message.contains(&format!("have {bytes} bytes, and a run rewrites at most {}", bytes - 1)));
        assert!(fault.hint.unwrap().contains("convert the table once with another engine"));
        assert_eq!(place().load().await.unwrap().unwrap().version(), 0);

        widen(&place(), state, &fit, WriteLimits::default(), bytes).await.unwrap();
        assert_eq!(place().load().await.unwrap().unwrap().schema().as_ref(), &fit.schema);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_widening_that_the_store_denies_was_made_and_its_files_stay() {
        for mischief in Mischief::WRITING {
            let store = Arc::new(InMemory::new());
            let old = made(&store).await;
            let flaky = Place::behind(LOCATION, Arc::new(Flaky::new(store.clone(), mischief, 1)));
            let state = flaky.load().await.unwrap().unwrap();
            let fit = wider(&state);
            widen(&flaky, state, &fit, WriteLimits::default(), WIDEN_BYTES_MAX).await.unwrap();
            let now = flaky.load().await.unwrap().unwrap();
            assert_eq!((now.version(), now.schema().as_ref()), (1, &fit.schema), "{mischief:?}");
            let files: Vec<LogicalFileView> = now.log_data().iter().collect();
            let [file] = &files[..] else { panic!("one file, not {}", files.len()) };
            assert_ne!(file.path(), old.path);
            let found = flaky.store().head(&file.object_store_path()).await.unwrap();
            assert_eq!(found.size, size_bytes(file), "{mischief:?}");
        }
    }
}
