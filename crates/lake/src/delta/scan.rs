//! Reads rows back, of files that are landed or of a version of the table.
//!
//! One row group is in memory at a time, and of that only the batch that is handed on is decoded.

use deltalake_core::kernel::MetadataValue;
use deltalake_core::kernel::transaction::PROTOCOL;
use futures::stream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use parquet::arrow::ParquetRecordBatchStreamBuilder;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::errors::ParquetError;

use super::errors;
use super::evolve::SOURCE_NAME;
use super::file::StoredFile;
use super::rewrite::{batch_rows, rewritable, size_bytes};
use super::storage::Place;
use super::types::arrow_type;
use crate::contract::{Batches, LakeError, StoredColumn, StoredTable, WrittenFile};

/// The newest version of a table; none where there is no table.
pub(super) async fn current(place: &Place) -> Result<Option<StoredTable>, LakeError> {
    let location = place.location();
    let Some(state) = place.load().await? else { return Ok(None) };
    PROTOCOL.can_read_from(&state).map_err(|error| errors::delta("read", location, &error.into()))?;
    let log = state.log_data();
    let files = rewritable(&state);
    if files.len() < log.num_files() {
        let message = format!("{location} holds rows that are deleted beside their files, or files in other folders");
        return Err(LakeError::definite(message)
            .with_hint("let the engine that did so rewrite them (e.g. REORG TABLE … APPLY (PURGE)), then try again"));
    }
    if let Some(column) = state.metadata().partition_columns().first() {
        let message = format!("{location} is partitioned by {column}: the files lack that column");
        return Err(LakeError::definite(message).with_hint("compare an unpartitioned copy of it"));
    }
    let schema = state.schema();
    let columns = schema.fields().map(|field| StoredColumn {
        name: field.name.clone(),
        source_name: match field.metadata.get(SOURCE_NAME) {
            Some(MetadataValue::String(name)) => name.clone(),
            _ => field.name.clone(),
        },
        data_type: arrow_type(&field.data_type),
    });
    let written = |path: Path, size_bytes| WrittenFile { path: path.to_string(), size_bytes };
    Ok(Some(StoredTable {
        version: state.version(),
        columns: columns.collect(),
        files: files.iter().map(|file| written(file.object_store_path(), size_bytes(file))).collect(),
    }))
}

/// The rows of the files, one file after the other.
pub(super) fn scan(place: &Place, files: Vec<WrittenFile>) -> Batches {
    let place = place.clone();
    stream::iter(files).then(move |file| open(place.clone(), file)).try_flatten().boxed()
}

/// The rows of one file.
async fn open(place: Place, file: WrittenFile) -> Result<Batches, LakeError> {
    let (doing, location) = (format!("read {} of", file.path), place.location().to_owned());
    let failed = move |error: &ParquetError| errors::storage(&doing, &location, error);
    // Paths are kept as the store spells them; what it does not take for one is not there.
    let path = Path::parse(&file.path).unwrap_or_else(|_| Path::from(file.path.as_str()));
    let reader = StoredFile::new(place.store().clone(), path, file.size_bytes);
    // Types are those of the file's own columns, not those that some engine noted beside them.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let builder =
        ParquetRecordBatchStreamBuilder::new_with_options(reader, options).await.map_err(|error| failed(&error))?;
    let rows = batch_rows(builder.metadata());
    let batches = builder.with_batch_size(rows).build().map_err(|error| failed(&error))?;
    Ok(batches.map_err(move |error| failed(&error)).boxed())
}
