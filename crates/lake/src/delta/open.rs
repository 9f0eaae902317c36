//! Opens a table for rows that are to come.

use std::sync::{Arc, OnceLock};

use arrow_schema::{Schema, SchemaRef};
use deltalake_core::kernel::transaction::PROTOCOL;
use deltalake_core::kernel::{Action, EagerSnapshot, MetadataExt, StructType};
use deltalake_core::protocol::DeltaOperation;
use futures::FutureExt;
use futures::future::BoxFuture;
use headwaters_model::job::LandedFile;
use serde_json::Value;

use super::commit::{Attempt, Entry, attempt};
use super::evolve::{self, Fit, Rules};
use super::land::{DeltaWriter, Landing};
use super::storage::Place;
use super::widen::{WIDEN_BYTES_MAX, widen};
use super::{COMMIT_TRIES_MAX, errors, scan};
use crate::contract::{Batches, LakeError, SplitWriter, Table, WriteLimits, WrittenFile};

/// A table (or the plan of one) that takes rows.
pub(super) struct DeltaTable {
    landing: Arc<Landing>,
    schema: StructType,
    notes: Vec<String>,
}

/// Opens the table; what it lacks for the rows it gets in a commit of its own, which may be repeated.
pub(super) async fn open(
    place: Place,
    incoming: &Schema,
    rules: Rules,
    limits: WriteLimits,
) -> Result<DeltaTable, LakeError> {
    let mut told: Vec<String> = Vec::new();
    for _ in 0..COMMIT_TRIES_MAX {
        let state = place.load().await?;
        if let Some(state) = &state {
            check_writable(&place, state)?;
        }
        let table = state.as_ref().map(EagerSnapshot::schema);
        let fit = evolve::fit(place.location(), table.as_deref(), incoming, rules)?;
        match state {
            Some(state) if fit.changes => {
                add_news(&mut told, &fit.notes);
                if fit.widened.is_empty() {
                    change(&place, &state, fit).await?;
                } else {
                    widen(&place, state, &fit, limits, WIDEN_BYTES_MAX).await?;
                }
            }
            _ => {
                let notes = if told.is_empty() { fit.notes.clone() } else { told };
                return Ok(table_of(place, fit, notes, limits));
            }
        }
    }
    Err(LakeError::transient(format!(
        "could not change the columns of {}: other writers were always faster",
        place.location()
    )))
}

/// What is told of one change after another, each thing once.
fn add_news(told: &mut Vec<String>, notes: &[String]) {
    for note in notes {
        if !told.contains(note) {
            told.push(note.clone());
        }
    }
}

/// Whether this build may write to the table at all.
pub(super) fn check_writable(place: &Place, state: &EagerSnapshot) -> Result<(), LakeError> {
    let location = place.location();
    PROTOCOL.can_write_to(state).map_err(|error| errors::delta("write to", location, &error.into()))?;
    let partitions = state.metadata().partition_columns();
    if partitions.is_empty() {
        return Ok(());
    }
    let columns = partitions.join(", ");
    Err(LakeError::definite(format!("the table at {location} is partitioned by {columns}, which is not supported"))
        .with_hint("choose another location"))
}

/// Adds columns and drops NOT NULLs; whoever loses against another writer looks again.
async fn change(place: &Place, state: &EagerSnapshot, fit: Fit) -> Result<(), LakeError> {
    let location = place.location();
    let failed = |error: deltalake_core::DeltaTableError| errors::delta("change the columns of", location, &error);
    let metadata = state.metadata().clone().with_schema(&fit.schema).map_err(|error| failed(error.into()))?;
    let entry = Entry {
        operation: DeltaOperation::AddColumn { fields: fit.added },
        actions: vec![Action::Metadata(metadata)],
        mark: None,
        info: Vec::new(),
    };
    match attempt(place, Some(state), entry).await {
        Ok(Attempt::Made(_) | Attempt::Beaten) => Ok(()),
        Err(error) => Err(error),
    }
}

fn table_of(place: Place, fit: Fit, notes: Vec<String>, limits: WriteLimits) -> DeltaTable {
    let landing = Landing {
        place,
        sources: fit.columns.iter().map(|column| column.source).collect(),
        file_schema: Arc::new(evolve::file_schema(&fit.columns)),
        limits,
        properties: OnceLock::new(),
    };
    DeltaTable { landing: Arc::new(landing), schema: fit.schema, notes }
}

impl Table for DeltaTable {
    fn schema(&self) -> Value {
        // A Delta schema is made of strings, booleans and maps with string keys: it always has a JSON form.
        serde_json::to_value(&self.schema).unwrap_or_default()
    }

    fn file_schema(&self) -> SchemaRef {
        self.landing.file_schema.clone()
    }

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }

    fn writer(&self) -> Result<Box<dyn SplitWriter>, LakeError> {
        Ok(Box::new(DeltaWriter::new(self.landing.clone())))
    }

    fn scan(&self, files: &[LandedFile]) -> Batches {
        let written = |file: &LandedFile| WrittenFile { path: file.path.clone(), size_bytes: file.size_bytes };
        scan::scan(&self.landing.place, files.iter().map(written).collect())
    }

    fn discard(&self, files: Vec<LandedFile>) -> BoxFuture<'_, ()> {
        async move { self.landing.discard(&files).await }.boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_first_change_told_is_told_after_a_second_one_too() {
        let notes = |notes: [&str; 2]| notes.map(str::to_owned);
        let mut told = Vec::new();
        add_news(&mut told, &notes(["a was added", "b stays empty"]));
        add_news(&mut told, &notes(["b stays empty", "c was widened"]));
        assert_eq!(told, ["a was added", "b stays empty", "c was widened"]);
    }
}
