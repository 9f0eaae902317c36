//! Files that one attempt has landed for a later one of the same run to commit.
//!
//! In between the table may have been given wider types by another flow. What was landed before is of the old types then,
//! and is landed again.

use headwaters_model::job::LandedFile;
use object_store::path::Path;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};

use super::errors;
use super::file::StoredFile;
use super::storage::Place;
use super::types::delta_type;
use crate::contract::LakeError;

/// Whether all the files are there, each with its size, and of the types that the table has now.
pub(super) async fn still_good(place: &Place, files: &[LandedFile]) -> Result<bool, LakeError> {
    if !place.has(files).await? {
        return Ok(false);
    }
    let Some(state) = place.load().await? else { return Ok(true) };
    let table = state.schema();
    for file in files {
        let path = Path::from(file.path.as_str());
        let mut reader = StoredFile::new(place.store().clone(), path, file.size_bytes);
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let about = ArrowReaderMetadata::load_async(&mut reader, options).await;
        let about = about.map_err(|error| errors::storage("read a file of", place.location(), &error))?;
        let fits = about.schema().fields().iter().all(|field| {
            table
                .field(field.name())
                .is_some_and(|column| delta_type(field.data_type()).as_ref() == Some(&column.data_type))
        });
        if !fits {
            return Ok(false);
        }
    }
    Ok(true)
}
