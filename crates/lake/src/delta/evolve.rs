//! Which columns the files have, and what the table must get before it can take them.
//!
//! A column is found again by its source name in the field's metadata, else (a table that another engine made) by its
//! name. A column of the table keeps its name and its place, and its type unless the source's needs a wider one: then the
//! files are rewritten ([`super::widen`]). Types that share no wider one are a conflict for a person. Whatever the table
//! must get goes into a commit of its own, before landing.

mod change;

use arrow_schema::{Field, Schema};
use deltalake_core::kernel::{DataType as DeltaType, MetadataValue, StructField, StructType};
use headwaters_model::flow::SchemaChange;
use headwaters_model::job::WriteMode;

pub(super) use self::change::Change;
use self::change::{conflict, refused, spelt};
use super::names::{lake_names, plain};
use super::types::{arrow_type, common, delta_type};
use crate::contract::LakeError;

/// The key of a field's metadata that holds the column's name in the source (mysql-sources.md 9).
pub(super) const SOURCE_NAME: &str = "headwaters.sourceName";

/// Metadata of columns whose values only an engine with an expression evaluator may write.
const COMPUTED: [&str; 4] =
    ["delta.invariants", "delta.generationExpression", "delta.identity.start", "delta.columnMapping.physicalName"];

/// What may become of a table whose columns are not those of the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rules {
    /// An overwrite replaces the rows and keeps the types.
    pub(super) mode: WriteMode,
    /// Whether the table follows the source at all.
    pub(super) change: SchemaChange,
}

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
    /// Types that are widened; the files must be rewritten with the schema.
    pub(super) widened: Vec<Change>,
    /// What a person should know.
    pub(super) notes: Vec<String>,
}

impl Fit {
    /// The changes of types among the notes.
    pub(super) fn widened(&self) -> Vec<String> {
        self.widened.iter().map(Change::note).collect()
    }

    /// Why types must be widened.
    pub(super) fn wanted(&self) -> Vec<String> {
        self.widened.iter().map(Change::difference).collect()
    }
}

/// A column of the files.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct FileColumn {
    /// Its place in the source's batches.
    pub(super) source: usize,
    /// The field of the files.
    pub(super) field: Field,
}

/// Fits a source's schema into a table's as the rules say, or makes the schema of a new table.
pub(super) fn fit(
    location: &str,
    table: Option<&StructType>,
    incoming: &Schema,
    rules: Rules,
) -> Result<Fit, LakeError> {
    let mut fields: Vec<StructField> = table.map(|table| table.fields().cloned().collect()).unwrap_or_default();
    check_writable(location, &fields)?;
    let places = places(&fields, incoming);
    let mut seen = matched(location, &mut fields, incoming, &places)?;
    let unread: Vec<usize> = (0..fields.len()).filter(|place| !places.contains(&Some(*place))).collect();
    let mut changes = !unread.iter().all(|&place| fields[place].nullable);
    for &place in &unread {
        fields[place].nullable = true;
        seen.push(Change::Unread { column: fields[place].name.clone() });
    }

    let added = newcomers(location, &fields, incoming, &places, table.is_some())?;
    if table.is_some() {
        seen.extend(added.iter().map(|field| Change::Added { column: field.name.clone() }));
        seen.extend(likely_renamed(&fields, &unread, &added, &places));
        if rules.change == SchemaChange::Fail
            && let Some(error) = refused(location, &seen)
        {
            return Err(error);
        }
    }
    if let Some(error) = conflict(location, &seen, rules.mode) {
        return Err(error);
    }

    let widened = seen.iter().filter(|change| matches!(change, Change::Widened { .. })).cloned().collect();
    changes |= seen.iter().any(Change::alters_table);
    let notes = seen.iter().map(Change::note).chain(added.iter().filter_map(renamed)).collect();
    let columns = columns(location, &fields, &added, incoming, &places)?;
    let schema = StructType::try_new(fields.into_iter().chain(added.iter().cloned()))
        .map_err(|error| LakeError::definite(format!("the columns do not make a table at {location}: {error}")))?;
    Ok(Fit { schema, columns, added, changes, widened, notes })
}

/// Gives the columns that are on both sides the type and the nulls that both need, and says what that changes.
fn matched(
    location: &str,
    fields: &mut [StructField],
    incoming: &Schema,
    places: &[Option<usize>],
) -> Result<Vec<Change>, LakeError> {
    let mut seen = Vec::new();
    for (source, place) in incoming.fields().iter().zip(places) {
        let Some(place) = *place else { continue };
        let landed = landed_type(location, source)?;
        let field = &mut fields[place];
        let column = field.name.clone();
        let (spelt_source, spelt_table) = (spelt(&landed), spelt(&field.data_type));
        match common(&landed, &field.data_type) {
            None => seen.push(Change::Retyped { column, source: spelt_source, table: spelt_table }),
            Some(both) if both != field.data_type => {
                let to = spelt(&both);
                seen.push(Change::Widened { column, source: spelt_source, table: spelt_table, to });
                field.data_type = both;
            }
            Some(both) if both != landed => {
                seen.push(Change::Narrower { column, source: spelt_source, table: spelt_table });
            }
            Some(_) => {}
        }
        if source.is_nullable() && !field.nullable {
            field.nullable = true;
            seen.push(Change::Nullable { column: field.name.clone() });
        }
    }
    Ok(seen)
}

/// A column that went and one that came, if there is one each, of one type at one place among the columns. More can't be
/// known: the table does not hold what the source calls its columns inside.
fn likely_renamed(
    fields: &[StructField],
    unread: &[usize],
    added: &[StructField],
    places: &[Option<usize>],
) -> Option<Change> {
    let ([gone], [came]) = (unread, added) else { return None };
    let gone_field = fields.get(*gone)?;
    let same_place = places.iter().position(Option::is_none) == Some(*gone);
    let renamed = Change::LikelyRenamed { from: gone_field.name.clone(), to: came.name.clone() };
    (same_place && gone_field.data_type == came.data_type).then_some(renamed)
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
    // Files that lack a column have nulls there.
    let unknown = |field: &&StructField| !field.nullable && landed.field(&field.name).is_none();
    if let Some(field) = table.fields().find(unknown) {
        let message = format!("column {} was added to {location} by somebody else while it was read", field.name);
        return Err(LakeError::transient(message).with_hint("it is read again under the new schema"));
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
    location: &str,
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
        let data_type = arrow_type(&field.data_type).ok_or_else(|| unwritable(location, field))?;
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

fn unwritable(location: &str, field: &StructField) -> LakeError {
    let (column, delta) = (&field.name, spelt(&field.data_type));
    LakeError::definite(format!("column {column} of {location} is {delta}, which this build can not write"))
        .with_hint("look after the table with the engine that made it, or choose another location")
}

/// The Arrow schema of files that hold every column of a table.
pub(super) fn whole_schema(location: &str, table: &StructType) -> Result<Schema, LakeError> {
    let fields = table.fields().map(|field| {
        let data_type = arrow_type(&field.data_type).ok_or_else(|| unwritable(location, field))?;
        Ok(Field::new(&field.name, data_type, field.nullable))
    });
    Ok(Schema::new(fields.collect::<Result<Vec<_>, LakeError>>()?))
}

/// The Arrow schema of the files.
pub(super) fn file_schema(columns: &[FileColumn]) -> Schema {
    Schema::new(columns.iter().map(|column| column.field.clone()).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests;
