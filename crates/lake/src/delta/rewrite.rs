//! Puts the rows of some files of a table into new files: with wider types ([`super::widen`]), or fewer and larger
//! ([`super::care`]).
//!
//! **Invariant.** The rows stay what they are: a value is copied, or cast to a type that holds it exactly, and the new
//! files have as many rows as the old ones. The old ones leave the table in the commit that brings the new ones, which is
//! tried only as the version that directly follows a state in which all of them were in it: a row is in the table once,
//! whatever others commit meanwhile. Neither brings new rows, so both say `dataChange` false, and no mark is touched.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use arrow_array::{RecordBatch, new_null_array};
use deltalake_core::DeltaTable;
use deltalake_core::kernel::{Action, EagerSnapshot, LogicalFileView, StructType, Version};
use futures::TryStreamExt;
use headwaters_model::job::LandedFile;
use parquet::arrow::ParquetRecordBatchStreamBuilder;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};

use super::commit::{Attempt, Entry, adds, attempt};
use super::errors;
use super::evolve;
use super::file::StoredFile;
use super::land::{DeltaWriter, Landing, cast};
use super::storage::Place;
use super::types::{delta_type, widens};
use crate::contract::{LakeError, WriteLimits};

/// A batch that is read has about so many bytes.
const BATCH_BYTES: usize = 4 << 20;
/// A batch that is read has at most so many rows.
const BATCH_ROWS_MAX: usize = 8192;
/// Writes rows of files into files of one schema.
pub(super) struct Rewriter {
    landing: Arc<Landing>,
    /// A row group is read as a whole, so that larger ones are refused.
    row_group_bytes_max: u64,
}

/// Why files were not rewritten.
#[derive(Debug)]
pub(super) enum Unwritten {
    /// This one of them, by its place, can't be read, or does not hold what the table says.
    File(usize, LakeError),
    /// A row group of this one of them is larger than what is read at a time.
    Large(usize, LakeError),
    /// The new files can't be written.
    New(LakeError),
}

impl From<Unwritten> for LakeError {
    fn from(unwritten: Unwritten) -> Self {
        let (Unwritten::File(_, error) | Unwritten::Large(_, error) | Unwritten::New(error)) = unwritten;
        error
    }
}

/// The files of a state that can be rewritten: with all their rows (no engine has marked some of them as deleted beside
/// the file), and in the folder of the table.
pub(super) fn rewritable(state: &EagerSnapshot) -> Vec<LogicalFileView> {
    let whole = |file: &LogicalFileView| file.deletion_vector_descriptor().is_none() && !file.path().contains("://");
    state.log_data().iter().filter(whole).collect()
}

/// The size of a file as the log says.
pub(super) fn size_bytes(file: &LogicalFileView) -> u64 {
    u64::try_from(file.size()).unwrap_or_default()
}

impl Rewriter {
    /// A writer of files with all the columns of this schema, that reads row groups up to so many bytes.
    pub(super) fn new(
        place: &Place,
        schema: &StructType,
        limits: WriteLimits,
        row_group_bytes_max: u64,
    ) -> Result<Self, LakeError> {
        let file_schema = evolve::whole_schema(place.location(), schema)?;
        let landing = Landing {
            place: place.clone(),
            sources: (0..file_schema.fields().len()).collect(),
            file_schema: Arc::new(file_schema),
            limits,
            properties: OnceLock::new(),
        };
        Ok(Self { landing: Arc::new(landing), row_group_bytes_max })
    }

    /// Writes the rows of these files, in their order, into new ones. After an error nothing of them is left, as far as
    /// that is possible.
    pub(super) async fn rewrite(&self, files: &[LogicalFileView]) -> Result<Vec<LandedFile>, Unwritten> {
        let mut writer = DeltaWriter::new(self.landing.clone());
        let mut rows = 0;
        for (at, file) in files.iter().enumerate() {
            match self.pour(at, file, &mut writer).await {
                Ok(more) => rows += more,
                Err(error) => {
                    writer.clear().await;
                    return Err(error);
                }
            }
        }
        let written = writer.end().await.map_err(Unwritten::New)?;
        let landed: u64 = written.iter().map(|file| file.rows).sum();
        if landed == rows {
            return Ok(written);
        }
        self.landing.discard(&written).await;
        let location = self.place().location();
        let changed = format!("{rows} rows of files of {location} became {landed} when they were rewritten");
        Err(Unwritten::New(LakeError::definite(changed)))
    }

    /// Writes the rows of one file, which has this place among others; says how many there are.
    async fn pour(&self, at: usize, file: &LogicalFileView, writer: &mut DeltaWriter) -> Result<u64, Unwritten> {
        let reader = StoredFile::new(self.place().store().clone(), file.object_store_path(), size_bytes(file));
        // Types are those of the file's own columns, not those that some engine noted beside them.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let failed = |error| Unwritten::File(at, self.failed(file, &error));
        let builder = ParquetRecordBatchStreamBuilder::new_with_options(reader, options).await.map_err(failed)?;
        let footer = builder.metadata().clone();
        self.check_size(file, &footer).map_err(|error| Unwritten::Large(at, error))?;
        let mut batches = builder.with_batch_size(batch_rows(&footer)).build().map_err(failed)?;
        while let Some(rows) = batches.try_next().await.map_err(failed)? {
            let rows = self.conform(file, &rows).map_err(|error| Unwritten::File(at, error))?;
            writer.write(&rows).await.map_err(Unwritten::New)?;
        }
        Ok(u64::try_from(footer.file_metadata().num_rows()).unwrap_or_default())
    }

    /// The rows under the schema of the new files: in its order and types, with nulls for columns that the file lacks.
    fn conform(&self, file: &LogicalFileView, rows: &RecordBatch) -> Result<RecordBatch, LakeError> {
        let schema = &self.landing.file_schema;
        let columns = schema.fields().iter().map(|field| {
            let Some(column) = rows.column_by_name(field.name()) else {
                return Ok(new_null_array(field.data_type(), rows.num_rows()));
            };
            let lossless = delta_type(column.data_type())
                .zip(delta_type(field.data_type()))
                .is_some_and(|(from, to)| widens(&from, &to));
            if !lossless {
                return Err(self.foreign(file, field.name(), &column.data_type().to_string()));
            }
            cast(column, field.data_type()).map_err(|error| self.foreign(file, field.name(), &error.to_string()))
        });
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        RecordBatch::try_new(schema.clone(), columns)
            .map_err(|error| self.foreign(file, "of all columns", &error.to_string()))
    }

    fn check_size(&self, file: &LogicalFileView, footer: &ParquetMetaData) -> Result<(), LakeError> {
        let largest = footer.row_groups().iter().map(compressed_bytes).max().unwrap_or_default();
        if largest <= self.row_group_bytes_max {
            return Ok(());
        }
        let (path, location) = (file.path(), self.place().location());
        Err(LakeError::definite(format!(
            "could not rewrite {path} of {location}: a row group of it has {largest} bytes, more than \
             {}",
            self.row_group_bytes_max
        ))
        .with_hint("rewrite the table with the engine that made it, or choose another location"))
    }

    fn place(&self) -> &Place {
        &self.landing.place
    }

    fn failed(&self, file: &LogicalFileView, error: &parquet::errors::ParquetError) -> LakeError {
        errors::storage(&format!("read {} of", file.path()), self.place().location(), error)
    }

    fn foreign(&self, file: &LogicalFileView, column: &str, what: &str) -> LakeError {
        let (path, location) = (file.path(), self.place().location());
        LakeError::definite(format!(
            "could not rewrite {path} of {location}: its column {column} is not what the table says: {what}"
        ))
        .with_hint("rewrite the table with the engine that made it, or choose another location")
    }
}

fn compressed_bytes(group: &RowGroupMetaData) -> u64 {
    u64::try_from(group.compressed_size()).unwrap_or(u64::MAX)
}

/// How many rows make a batch of about [`BATCH_BYTES`], by the widest row group.
pub(super) fn batch_rows(footer: &ParquetMetaData) -> usize {
    let row_bytes = footer.row_groups().iter().map(|group| {
        let bytes: i64 = group
            .columns()
            .iter()
            // Texts that repeat are short in the file and long in memory.
            .map(|column| column.unencoded_byte_array_data_bytes().unwrap_or(0).max(column.uncompressed_size()))
            .sum();
        usize::try_from(bytes / group.num_rows().max(1)).unwrap_or(usize::MAX)
    });
    (BATCH_BYTES / row_bytes.max().unwrap_or_default().max(1)).clamp(1, BATCH_ROWS_MAX)
}

/// What takes files out of the table and puts others that hold their rows into it.
pub(super) fn exchange(old: &[LogicalFileView], new: &[LandedFile]) -> Vec<Action> {
    let removes = old.iter().map(|file| Action::Remove(file.remove_action(false)));
    removes.chain(adds(new, false)).collect()
}

/// Tries an entry that brings `new` files as the version after `state`, once.
///
/// Unless it was made for certain, the log decides, whatever the store has said: what brings any of the new files is this
/// entry, which brings them all. Files of which it is known that they are not in the log and never will be are deleted after
/// an error that ends the attempts; else they are left for vacuum, or for the caller's next try.
pub(super) async fn swap(
    place: &Place,
    state: &EagerSnapshot,
    entry: Entry,
    new: &[LandedFile],
) -> Result<Attempt, LakeError> {
    let ready = async {
        place.check_there(new).await?;
        place.persist(new.iter().map(|file| file.path.clone()).collect()).await
    };
    if let Err(error) = ready.await {
        place.discard(new).await;
        return Err(error);
    }
    let outcome = attempt(place, Some(state), entry).await;
    if let Ok(Attempt::Made(version)) = outcome {
        return Ok(Attempt::Made(version));
    }
    match brought(place, new).await {
        Ok(Some(version)) => return Ok(Attempt::Made(version)),
        Ok(None) => {}
        // It is not known: the files may be in the table.
        Err(unknown) => return Err(outcome.err().unwrap_or(unknown)),
    }
    if let Err(LakeError::Definite(_) | LakeError::NoRoom(_)) = outcome {
        place.discard(new).await;
    }
    outcome
}

/// A version by which some of the files were brought into the table, even if they have left it since; none if they were not.
async fn brought(place: &Place, files: &[LandedFile]) -> Result<Option<Version>, LakeError> {
    let failed = |error| errors::delta("read the log of", place.location(), &error);
    let paths: HashSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
    let mut table = DeltaTable::new(place.log().clone());
    table.load().await.map_err(failed)?;
    let state = table.snapshot().map_err(failed)?;
    if state.log_data().iter().any(|file| paths.contains(file.path().as_ref())) {
        return Ok(Some(state.version()));
    }
    let mut removed = state.all_tombstones(place.log().as_ref());
    while let Some(file) = removed.try_next().await.map_err(failed)? {
        if paths.contains(file.path().as_ref()) {
            return Ok(Some(state.version()));
        }
    }
    Ok(None)
}
