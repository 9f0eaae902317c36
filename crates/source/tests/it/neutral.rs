//! Arrow batches in the neutral form of the expected files.

use anyhow::{Context, Result, bail};
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use chrono::DateTime;
use headwaters_source::contract::SOURCE_NAME;
use headwaters_testkit::expected::Read;
use serde_json::{Map, Value, json};

use crate::reading::{Landed, samples};

/// What was read, for comparison with the expected files.
pub(crate) fn neutral(landed: &Landed) -> Result<Read> {
    let mut read = Read {
        types: types(&landed.plan.schema)?,
        rows: Vec::new(),
        diagnostics: Some(samples(&landed.totals.diagnostics)),
    };
    for batch in &landed.batches {
        read.rows.extend(rows(batch)?);
    }
    Ok(read)
}

fn types(schema: &Schema) -> Result<Vec<(String, String)>> {
    schema.fields().iter().map(|field| Ok((source_name(field)?, delta_type(field.data_type())?))).collect()
}

fn source_name(field: &Field) -> Result<String> {
    field.metadata().get(SOURCE_NAME).cloned().with_context(|| format!("{field:?} lacks its source name"))
}

fn delta_type(data_type: &DataType) -> Result<String> {
    Ok(match data_type {
        DataType::Int8 => "byte".to_owned(),
        DataType::Int16 => "short".to_owned(),
        DataType::Int32 => "integer".to_owned(),
        DataType::Int64 => "long".to_owned(),
        DataType::Float32 => "float".to_owned(),
        DataType::Float64 => "double".to_owned(),
        DataType::Boolean => "boolean".to_owned(),
        DataType::Decimal128(precision, scale) => format!("decimal({precision},{scale})"),
        DataType::Date32 => "date".to_owned(),
        DataType::Timestamp(..) => "timestamp".to_owned(),
        DataType::Utf8 => "string".to_owned(),
        DataType::Binary => "binary".to_owned(),
        DataType::List(element) => format!("array<{}>", delta_type(element.data_type())?),
        other => bail!("{other} is no landed type"),
    })
}

/// The rows of a batch, keyed by source names.
pub(crate) fn rows(batch: &RecordBatch) -> Result<Vec<Map<String, Value>>> {
    let schema = batch.schema();
    (0..batch.num_rows())
        .map(|row| {
            let cells = schema.fields().iter().zip(batch.columns());
            cells.map(|(field, array)| Ok((source_name(field)?, value(array, row)?))).collect()
        })
        .collect()
}

pub(crate) fn value(array: &ArrayRef, row: usize) -> Result<Value> {
    if array.is_null(row) {
        return Ok(Value::Null);
    }
    Ok(match array.data_type() {
        DataType::Int8 => json!(array.as_primitive::<Int8Type>().value(row)),
        DataType::Int16 => json!(array.as_primitive::<Int16Type>().value(row)),
        DataType::Int32 => json!(array.as_primitive::<Int32Type>().value(row)),
        DataType::Int64 => json!(array.as_primitive::<Int64Type>().value(row)),
        DataType::Float32 => json!(array.as_primitive::<Float32Type>().value(row)),
        DataType::Float64 => json!(array.as_primitive::<Float64Type>().value(row)),
        DataType::Boolean => json!(array.as_boolean().value(row)),
        DataType::Decimal128(..) => json!(array.as_primitive::<Decimal128Type>().value_as_string(row)),
        DataType::Date32 => {
            json!(
                array.as_primitive::<Date32Type>().value_as_date(row).context("a date")?.format("%Y-%m-%d").to_string()
            )
        }
        DataType::Timestamp(..) => {
            let micros = array.as_primitive::<TimestampMicrosecondType>().value(row);
            let moment = DateTime::from_timestamp_micros(micros).context("a moment")?;
            json!(moment.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string())
        }
        DataType::Utf8 => json!(array.as_string::<i32>().value(row)),
        DataType::Binary => {
            json!(array.as_binary::<i32>().value(row).iter().map(|byte| format!("{byte:02x}")).collect::<String>())
        }
        DataType::List(_) => {
            let list = array.as_list::<i32>().value(row);
            let elements = (0..list.len()).map(|element| value(&list, element)).collect::<Result<Vec<_>>>()?;
            Value::Array(elements)
        }
        other => bail!("{other} is no landed type"),
    })
}
