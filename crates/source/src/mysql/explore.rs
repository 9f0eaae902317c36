//! Shows what a server holds: its tables, a table's columns, a few of its rows (flow-service.md 13.5).
//!
//! Columns and values take the way of a real read, through the same discovery, types and decoders; so a preview can not
//! disagree with what is landed. Only long values are clipped, by the server.

mod json;

use std::ops::ControlFlow;
use std::time::Duration;

use arrow_array::RecordBatch;
use headwaters_model::explore::{ColumnType, ExploredColumn, ExploredTable, ListedTable, PREVIEW_ROWS_MAX};
use headwaters_model::job::{ReadRequest, Splits};
use headwaters_model::source_error::{SourceError, SourceErrorKind};
use serde_json::{Map, Value};

use super::catalog::{self, TableDescription, quoted};
use super::columns::{BatchLimits, Columns, RowLayout};
use super::dsn::Parameters;
use super::filter::Condition;
use super::increment;
use super::open::{self, Selection, Shape};
use super::read::{self, Query, TakeBatch, select_list_with};
use super::session::{self, Purpose};
use super::types::Decode;
use super::wire::{Connection, RowFormat};
use crate::contract::Preview;

/// How long the server may work for a preview (mysql-sources.md 10.2).
pub(super) const PREVIEW_DURATION_MAX: Duration = Duration::from_secs(5);
/// How many characters or bytes of a value a preview shows.
pub(super) const PREVIEW_VALUE_MAX: u32 = 1_024;
/// A preview ends early when its rows hold so many bytes: shapes and vectors can not be clipped.
const PREVIEW_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Lists tables and views, those of the connection's database if it names one.
pub(super) async fn list(parameters: &Parameters) -> Result<Vec<ListedTable>, SourceError> {
    let mut connection = session::open(&parameters.connect, Purpose::Metadata).await?;
    let tables = catalog::list(&mut connection, parameters.connect.database.as_deref()).await?;
    connection.close().await;
    Ok(tables)
}

/// Shows the columns of a table, and with `preview` a few rows.
pub(super) async fn describe(
    parameters: &Parameters,
    table: &str,
    preview: Option<&Preview>,
) -> Result<ExploredTable, SourceError> {
    let request = ReadRequest {
        table: table.to_owned(),
        columns: None,
        filter: preview.and_then(|preview| preview.filter.clone()),
        delta: None,
        splits: Splits::Exactly(1),
    };
    let mut connection = session::open(&parameters.connect, Purpose::Metadata).await?;
    let Selection { table, columns, filter, .. } = open::select(&mut connection, parameters, &request).await?;
    if columns.is_empty() {
        return Err(open::no_columns(&table));
    }
    let shape = open::shape(&mut connection, parameters, &table, &columns, RowFormat::Binary).await?;
    let preview = match preview {
        None => None,
        Some(preview) => {
            let rows_max = preview.rows.min(PREVIEW_ROWS_MAX);
            Some(rows(&mut connection, &table, &shape, filter.as_ref(), rows_max).await?)
        }
    };
    connection.close().await;
    let column = |landing: &super::types::Landing| ExploredColumn {
        name: landing.field.name().clone(),
        column_type: advertised(landing.decode),
    };
    let columns = shape.layout.landings().iter().map(column).collect();
    Ok(ExploredTable { path: table.name.to_string(), columns, preview })
}

/// Checks that table, columns and filter columns of a request exist, and that the account may read them.
pub(super) async fn check_read(parameters: &Parameters, request: &ReadRequest) -> Result<(), SourceError> {
    let mut connection = session::open(&parameters.connect, Purpose::Metadata).await?;
    let Selection { table, columns, filter, delta } = open::select(&mut connection, parameters, request).await?;
    if columns.is_empty() {
        return Err(open::no_columns(&table));
    }
    // Preparing resolves every name and checks every privilege, without reading a row.
    let names: Vec<String> = columns.iter().map(|column| quoted(&column.name)).collect();
    let condition = Condition::all([filter, delta.as_ref().map(increment::sample)]);
    let condition = condition.map_or_else(String::new, |condition| format!(" WHERE {}", condition.sql));
    let sql = format!("SELECT {} FROM {}{condition}", names.join(", "), table.name.quoted());
    match connection.prepare(&sql).await {
        Ok(statement) => connection.close_statement(statement).await?,
        Err(error) if open::not_prepared(&error) => {}
        Err(error) => return Err(error),
    }
    connection.close().await;
    Ok(())
}

async fn rows(
    connection: &mut Connection,
    table: &TableDescription,
    shape: &Shape,
    filter: Option<&Condition>,
    rows_max: u32,
) -> Result<Vec<Map<String, Value>>, SourceError> {
    session::limit_statements(connection, Some(PREVIEW_DURATION_MAX)).await?;
    let list = select_list_with(&shape.layout, shape.format, |landing, name| match landing.decode {
        Decode::Text | Decode::Binary => format!("LEFT({name}, {PREVIEW_VALUE_MAX}) AS {name}"),
        _ => name,
    });
    let condition = match (filter, shape.format) {
        (None, _) => String::new(),
        (Some(filter), RowFormat::Binary) => format!(" WHERE {}", filter.sql),
        (Some(filter), RowFormat::Text) => format!(" WHERE {}", filter.spelt_out()),
    };
    let sql = format!("SELECT {list} FROM {}{condition} LIMIT {rows_max}", table.name.quoted());
    let sql = session::tagged("headwaters preview", &sql);
    let limits = BatchLimits { rows_max: usize::MAX, bytes_max: PREVIEW_BYTES_MAX };
    let mut columns = Columns::new(shape.layout.clone(), shape.format, limits);
    let table_name = table.name.to_string();
    let params = filter.map_or(&[][..], |filter| filter.params.as_slice());
    let query = Query { table: &table_name, sql: &sql, params, format: shape.format, defs: None };
    let mut first = First(None);
    let read = read::run(connection, &query, &mut columns, &mut first);
    // The server ends the statement by itself; a proxy in between may not hand the limit on.
    let outcome = tokio::time::timeout(2 * PREVIEW_DURATION_MAX, read).await;
    outcome.unwrap_or_else(|_| Err(overdue(table))).map_err(|error| slow(error, table))?;
    let Some(batch) = first.0 else { return Ok(Vec::new()) };
    Ok((0..batch.num_rows()).map(|row| object(&shape.layout, &batch, row)).collect())
}

/// Takes one batch. The rest of the result is left where it is: closing the connection ends its statement.
struct First(Option<RecordBatch>);

impl TakeBatch for First {
    async fn take(&mut self, batch: RecordBatch, _: u64) -> Result<ControlFlow<()>, SourceError> {
        self.0 = Some(batch);
        Ok(ControlFlow::Break(()))
    }
}

fn object(layout: &RowLayout, batch: &RecordBatch, row: usize) -> Map<String, Value> {
    let names = layout.landings().iter().map(|landing| landing.field.name());
    let shown = names.filter_map(|name| {
        let (place, field) = batch.schema_ref().column_with_name(name)?;
        Some((name.clone(), json::value(field, batch.column(place), row)))
    });
    shown.collect()
}

/// What is advertised of a landed type (flow-service.md 13.5).
fn advertised(decode: Decode) -> ColumnType {
    match decode {
        Decode::BooleanFromTiny | Decode::BooleanFromBit => ColumnType::Boolean,
        Decode::Int8 | Decode::Int16FromU8 | Decode::Int16 | Decode::Int32FromU16 | Decode::Int32 => {
            ColumnType::Integer
        }
        Decode::Int64FromU32
        | Decode::Int64
        | Decode::Int64FromBits
        | Decode::DecimalFromU64
        | Decode::DecimalFromBits => ColumnType::Long,
        Decode::Float32 | Decode::Float64 | Decode::Decimal { .. } => ColumnType::Double,
        Decode::Date { .. } | Decode::DateTime { .. } => ColumnType::DateTime,
        Decode::LongDecimal
        | Decode::Time { .. }
        | Decode::Text
        | Decode::Enum { .. }
        | Decode::Binary
        | Decode::Guid(_)
        | Decode::Geometry
        | Decode::Vector
        | Decode::Null => ColumnType::String,
    }
}

/// The numbers with which the servers end a statement that took too long.
const TOO_SLOW: [u16; 2] = [3024, 1969];

fn slow(error: SourceError, table: &TableDescription) -> SourceError {
    match error.fault().kind {
        SourceErrorKind::Server { number } if TOO_SLOW.contains(&number) => overdue(table),
        _ => error,
    }
}

fn overdue(table: &TableDescription) -> SourceError {
    let seconds = PREVIEW_DURATION_MAX.as_secs();
    let message = format!("a preview of {} takes longer than {seconds} s", table.name);
    SourceError::definite(SourceErrorKind::Server { number: TOO_SLOW[0] }, message)
        .with_hint("filter by an indexed column, or look at the columns without a preview")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mysql::types::{ServerType, TypeRules};

    #[test]
    fn types_are_advertised_by_what_is_landed() {
        for (column_type, data_type, expected) in [
            ("tinyint(1)", "tinyint", ColumnType::Boolean),
            ("bit(1)", "bit", ColumnType::Boolean),
            ("year(4)", "year", ColumnType::Integer),
            ("mediumint(8) unsigned", "mediumint", ColumnType::Integer),
            ("int(10) unsigned", "int", ColumnType::Long),
            ("bigint(20) unsigned", "bigint", ColumnType::Long),
            ("bit(64)", "bit", ColumnType::Long),
            ("decimal(20,0)", "decimal", ColumnType::Double),
            ("decimal(65,2)", "decimal", ColumnType::String),
            ("date", "date", ColumnType::DateTime),
            ("time(6)", "time", ColumnType::String),
            ("longblob", "longblob", ColumnType::String),
        ] {
            let server = ServerType::declared(data_type, column_type, false);
            let landing = super::super::types::Landing::of("c", &server, true, &TypeRules::default());
            assert_eq!(advertised(landing.decode), expected, "{column_type}");
        }
        let plain = TypeRules { tiny_as_boolean: false, ..TypeRules::default() };
        let tiny = ServerType::declared("tinyint", "tinyint(1)", false);
        assert_eq!(advertised(super::super::types::Landing::of("c", &tiny, true, &plain).decode), ColumnType::Integer);
    }
}
