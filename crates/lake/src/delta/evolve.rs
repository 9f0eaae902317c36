//! Which columns the files have, and what the table must get before it can take them.
//!
//! A column is found again by its source name in the field's metadata, else (a table that another engine made) by its
//! name. Types of columns are never changed: a table that has a wider type takes narrower values, anything else is a
//! conflict for a person. New columns and dropped NOT NULLs go into a commit of their own, before landing.

use std::collections::HashSet;

use arrow_schema::{Field, Schema};
use deltalake_core::kernel::{DataType as DeltaType, MetadataValue, StructField, StructType};

use super::names::{lake_names, plain};
use super::types::{arrow_type, delta_type, widens};
use crate::contract::LakeError;

/// The key of a field's metadata that holds the column's name in the source (mysql-sources.md 9).
pub(super) const SOURCE_NAME: &str = "headwaters.sourceName";

/// Metadata of columns whose values only an engine with an expression evaluator may write.
const COMPUTED: [&str; 4] =
    ["delta.invariants", "delta.generationExpression", "delta.identity.start", "delta.columnMapping.physicalName"];

/// How rows of a source fit into a table.
#[derive(Debug)]
pub(super) struct Fit {
    /// The table's schema as it must be when the files are committed.
    pub(super) schema: StructType,
    /// The columns of the files, in the table's order.
    pub(super) columns: Vec<FileColumn>,
    /// Columns that the table must get first.
    pub(super) added: Vec<StructField>,
    /// Whether the table's schema must change first.
    pub(super) changes: bool,
    /// What a person should know.
    pub(super) notes: Vec<String>,
}

/// A column of the files.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct FileColumn {
    /// Its place in the source's batches.
    pub(super) source: usize,
    /// The field of the files.
    pub(super) field: Field,
}

/// Fits a source's schema into a table's, or makes the schema of a new table.
pub(super) fn fit(location: &str, table: Option<&StructType>, incoming: &Schema) -> Result<Fit, LakeError> {
    let mut fields: Vec<StructField> = table.map(|table| table.fields().cloned().collect()).unwrap_or_default();
    check_writable(location, &fields)?;
    let places = places(&fields, incoming);

    let mut notes = Vec::new();
    let mut changes = false;
    for (source, place) in incoming.fields().iter().zip(&places) {
        let Some(place) = *place else { continue };
        let landed = landed_type(location, source)?;
        let field = &mut fields[place];
        if !widens(&landed, &field.data_type) {
            return Err(conflict(location, field, source, &landed));
        }
        if source.is_nullable() && !field.nullable {
            field.nullable = true;
            changes = true;
            notes.push(format!("column {} of the table may now be null, as in the source", field.name));
        }
    }
    let kept: HashSet<usize> = places.iter().flatten().copied().collect();
    for (_, field) in fields.iter_mut().enumerate().filter(|(place, _)| !kept.contains(place)) {
        changes |= !field.nullable;
        field.nullable = true;
        notes.push(format!("column {} of the table is not read from the source and stays empty", field.name));
    }

    let added = newcomers(location, &fields, incoming, &places, table.is_some())?;
    if table.is_some() {
        changes |= !added.is_empty();
        notes.extend(added.iter().map(|field| format!("column {} was added to the table", field.name)));
    }
    notes.extend(added.iter().filter_map(renamed));
    let columns = columns(&fields, &added, incoming, &places)?;
    let schema = StructType::try_new(fields.into_iter().chain(added.iter().cloned()))
        .map_err(|error| LakeError::definite(format!("the columns do not make a table at {location}: {error}")))?;
    Ok(Fit { schema, columns, added, changes, notes })
}

/// Whether files of one schema still fit into a table whose schema may have changed meanwhile.
pub(super) fn still_fits(location: &str, table: &StructType, landed: &StructType) -> Result<(), LakeError> {
    for field in landed.fields() {
        let same = table
            .field(&field.name)
            .is_some_and(|now| now.data_type == field.data_type && (now.nullable || !field.nullable));
        if !same {
            let message = format!("column {} of {location} was changed by somebody else while it was read", field.name);
            return Err(LakeError::transient(message).with_hint("it is read again under the new schema"));
        }
    }
    Ok(())
}

/// For each source column its place in the table, if it is there.
fn places(fields: &[StructField], incoming: &Schema) -> Vec<Option<usize>> {
    type Same = fn(&StructField, &str) -> bool;
    let ways: [Same; 4] = [
        |field, source| source_name(field) == Some(source),
        |field, source| source_name(field).is_some_and(|name| name.to_lowercase() == source.to_lowercase()),
        |field, source| source_name(field).is_none() && field.name == source,
        |field, source| source_name(field).is_none() && field.name.to_lowercase() == plain(source).to_lowercase(),
    ];
    let mut claimed = vec![false; fields.len()];
    let mut places = vec![None; incoming.fields().len()];
    for same in ways {
        for (source, place) in incoming.fields().iter().zip(&mut places) {
            if place.is_none() {
                *place = (0..fields.len()).find(|&at| !claimed[at] && same(&fields[at], source_of(source)));
                if let Some(at) = *place {
                    claimed[at] = true;
                }
            }
        }
    }
    places
}

/// The fields of the source columns that the table lacks; nullable where older files lack them.
fn newcomers(
    location: &str,
    fields: &[StructField],
    incoming: &Schema,
    places: &[Option<usize>],
    table_exists: bool,
) -> Result<Vec<StructField>, LakeError> {
    let new: Vec<&Field> = incoming
        .fields()
        .iter()
        .zip(places)
        .filter(|(_, place)| place.is_none())
        .map(|(field, _)| field.as_ref())
        .collect();
    let sources: Vec<&str> = new.iter().map(|field| source_of(field)).collect();
    let taken: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
    let names = lake_names(&sources, &taken);
    let made = new.iter().zip(names).map(|(field, name)| {
        let data_type = landed_type(location, field)?;
        let nullable = table_exists || field.is_nullable();
        Ok(StructField::new(name, data_type, nullable).with_metadata([(SOURCE_NAME, source_of(field))]))
    });
    made.collect()
}

/// The columns of the files: those of the table that are read, in its order, then the new ones.
fn columns(
    fields: &[StructField],
    added: &[StructField],
    incoming: &Schema,
    places: &[Option<usize>],
) -> Result<Vec<FileColumn>, LakeError> {
    let new = (0..incoming.fields().len()).filter(|&source| places[source].is_none()).zip(added);
    let kept = fields.iter().enumerate().filter_map(|(at, field)| {
        let source = places.iter().position(|place| *place == Some(at))?;
        Some((source, field))
    });
    let columns = kept.chain(new).map(|(source, field)| {
        let data_type = arrow_type(&field.data_type).ok_or_else(|| unwritable(&field.name, &field.data_type))?;
        let metadata = incoming.field(source).metadata().clone();
        let field = Field::new(&field.name, data_type, field.nullable).with_metadata(metadata);
        Ok(FileColumn { source, field })
    });
    columns.collect()
}

fn check_writable(location: &str, fields: &[StructField]) -> Result<(), LakeError> {
    for field in fields {
        if let Some(key) = COMPUTED.iter().find(|key| field.metadata.contains_key(**key)) {
            let message = format!("column {} of {location} has {key}, which this build can not honour", field.name);
            return Err(LakeError::definite(message).with_hint("choose another location"));
        }
    }
    Ok(())
}

/// The column's name in the source.
fn source_of(field: &Field) -> &str {
    field.metadata().get(SOURCE_NAME).map_or(field.name().as_str(), String::as_str)
}

fn source_name(field: &StructField) -> Option<&str> {
    match field.metadata.get(SOURCE_NAME)? {
        MetadataValue::String(name) => Some(name),
        _ => None,
    }
}

fn renamed(field: &StructField) -> Option<String> {
    let source = source_name(field).filter(|source| *source != field.name)?;
    Some(format!("column {source:?} is called {} in the lake", field.name))
}

fn landed_type(location: &str, field: &Field) -> Result<DeltaType, LakeError> {
    delta_type(field.data_type()).ok_or_else(|| {
        let column = source_of(field);
        LakeError::definite(format!("column {column} is read as {}, which {location} can not hold", field.data_type()))
    })
}

fn unwritable(column: &str, delta: &DeltaType) -> LakeError {
    LakeError::definite(format!("column {column} of the table is {}, which is never landed", spelt(delta)))
}

fn conflict(location: &str, field: &StructField, source: &Field, landed: &DeltaType) -> LakeError {
    let (column, ours, theirs) = (source_of(source), spelt(landed), spelt(&field.data_type));
    LakeError::definite(format!("column {column} is {ours} in the source but {theirs} in the table at {location}"))
        .with_hint(format!(
            "land into another location, leave column {column} out, or change its type in the table; \
             headwaters never changes the type of an existing column"
        ))
}

/// A type as the Delta log spells it.
fn spelt(delta: &DeltaType) -> String {
    match delta {
        DeltaType::Array(array) => format!("array<{}>", spelt(array.element_type())),
        other => serde_json::to_string(other).unwrap_or_default().trim_matches('"').to_owned(),
    }
}

/// The Arrow schema of the files.
pub(super) fn file_schema(columns: &[FileColumn]) -> Schema {
    Schema::new(columns.iter().map(|column| column.field.clone()).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use arrow_schema::DataType;

    use super::*;

    const HERE: &str = "file:///lake/t";

    fn source(columns: &[(&str, DataType, bool)]) -> Schema {
        let fields = columns.iter().map(|(name, data_type, nullable)| Field::new(*name, data_type.clone(), *nullable));
        Schema::new(fields.collect::<Vec<_>>())
    }

    fn made(columns: &[(&str, DataType, bool)]) -> StructType {
        fit(HERE, None, &source(columns)).unwrap().schema
    }

    #[test]
    fn a_new_table_has_the_columns_of_the_source() {
        let fit = fit(HERE, None, &source(&[("a b", DataType::Int32, false), ("c", DataType::Utf8, true)])).unwrap();
        let names: Vec<_> = fit.columns.iter().map(|column| column.field.name().as_str()).collect();
        assert_eq!(names, ["a_b", "c"]);
        assert_eq!(fit.notes, ["column \"a b\" is called a_b in the lake"]);
        assert!(!fit.changes);
    }

    #[test]
    fn a_column_is_found_again_by_its_source_name_and_keeps_its_lake_name() {
        let table = made(&[("a b", DataType::Int32, true)]);
        let fit = fit(HERE, Some(&table), &source(&[("a_b", DataType::Int32, true), ("a b", DataType::Int32, true)]));
        let fit = fit.unwrap();
        assert_eq!(fit.columns[0], FileColumn { source: 1, field: Field::new("a_b", DataType::Int32, true) });
        assert!(fit.columns[1].field.name().starts_with("a_b_"));
        assert!(fit.changes);
    }

    #[test]
    fn a_new_column_is_nullable_where_older_files_lack_it() {
        let table = made(&[("id", DataType::Int64, false)]);
        let fit = fit(HERE, Some(&table), &source(&[("id", DataType::Int64, false), ("n", DataType::Int8, false)]));
        let fit = fit.unwrap();
        assert!(fit.columns[1].field.is_nullable());
        assert_eq!(fit.notes, ["column n was added to the table"]);
    }

    #[test]
    fn a_column_that_the_source_lost_stays_empty_with_a_note() {
        let table = made(&[("id", DataType::Int64, false), ("gone", DataType::Utf8, false)]);
        let fit = fit(HERE, Some(&table), &source(&[("id", DataType::Int64, false)])).unwrap();
        assert_eq!(fit.columns.len(), 1);
        assert_eq!(fit.notes, ["column gone of the table is not read from the source and stays empty"]);
        assert!(fit.changes, "it must become nullable first");
    }

    #[test]
    fn a_narrower_source_fits_and_is_written_in_the_tables_type() {
        let table = made(&[("n", DataType::Int64, true)]);
        let fit = fit(HERE, Some(&table), &source(&[("n", DataType::Int16, true)])).unwrap();
        assert_eq!(fit.columns[0].field.data_type(), &DataType::Int64);
        assert!(!fit.changes);
    }

    #[test]
    fn a_type_conflict_names_the_column_both_types_and_a_way_out() {
        let table = made(&[("total", DataType::Decimal128(10, 2), true)]);
        let error = fit(HERE, Some(&table), &source(&[("total", DataType::Utf8, true)])).unwrap_err();
        let LakeError::Definite(fault) = error else { panic!("{error:?}") };
        assert_eq!(
            fault.message,
            "column total is string in the source but decimal(10,2) in the table at file:///lake/t"
        );
        assert!(fault.hint.unwrap().contains("leave column total out"));
    }

    #[test]
    fn a_table_that_another_engine_made_is_matched_by_name() {
        let table = StructType::try_new([StructField::nullable("Id", DeltaType::LONG)]).unwrap();
        let fit = fit(HERE, Some(&table), &source(&[("id", DataType::Int64, true)])).unwrap();
        assert_eq!(fit.columns[0].field.name(), "Id");
        assert!(!fit.changes);
    }
}
