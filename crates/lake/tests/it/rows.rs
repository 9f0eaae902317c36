//! Rows of every type that is landed (mysql-sources.md, section 8).

use std::sync::Arc;

use arrow_array::builder::{Float32Builder, ListBuilder};
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int8Array,
    Int16Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow_schema::{Field, Schema, SchemaRef};
use proptest::collection::vec;
use proptest::prelude::*;

/// The days and microseconds of 0001-01-01 and 9999-12-31.
const DAYS: std::ops::RangeInclusive<i32> = -719_162..=2_932_896;
const MICROS: std::ops::RangeInclusive<i64> = -62_135_596_800_000_000..=253_402_300_799_999_999;

/// One row of every type.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    byte: Option<i8>,
    short: Option<i16>,
    integer: Option<i32>,
    long: Option<i64>,
    float: Option<f32>,
    double: Option<f64>,
    boolean: Option<bool>,
    money: Option<i128>,
    huge: Option<i128>,
    date: Option<i32>,
    instant: Option<i64>,
    text: Option<String>,
    bytes: Option<Vec<u8>>,
    vector: Option<Vec<Option<f32>>>,
}

/// Any rows, nulls and extremes included.
pub(crate) fn any_rows() -> impl Strategy<Value = Vec<Row>> {
    vec(any_row(), 1..200)
}

fn any_row() -> impl Strategy<Value = Row> {
    use proptest::num::{f32, f64};
    let finite_f32 = f32::NORMAL | f32::ZERO | f32::SUBNORMAL;
    let finite_f64 = f64::NORMAL | f64::ZERO | f64::SUBNORMAL;
    let numbers = (
        any::<Option<i8>>(),
        any::<Option<i16>>(),
        any::<Option<i32>>(),
        any::<Option<i64>>(),
        prop::option::of(finite_f32),
        prop::option::of(finite_f64),
        any::<Option<bool>>(),
    );
    let decimals = (
        prop::option::of(-999_999_999_i128..=999_999_999),
        prop::option::of(-(10_i128.pow(38) - 1)..=10_i128.pow(38) - 1),
    );
    let rest = (
        prop::option::of(DAYS),
        prop::option::of(MICROS),
        prop::option::of(".{0,90}"),
        prop::option::of(vec(any::<u8>(), 0..60)),
        prop::option::of(vec(prop::option::of(finite_f32), 0..5)),
    );
    (numbers, decimals, rest).prop_map(|(numbers, decimals, rest)| {
        let (byte, short, integer, long, float, double, boolean) = numbers;
        let (money, huge) = decimals;
        let (date, instant, text, bytes, vector) = rest;
        Row { byte, short, integer, long, float, double, boolean, money, huge, date, instant, text, bytes, vector }
    })
}

/// The rows as the batch that a source would send.
pub(crate) fn batch(rows: &[Row]) -> RecordBatch {
    let decimal = |precision, scale, value: fn(&Row) -> Option<i128>| {
        let values: Decimal128Array = rows.iter().map(value).collect();
        Arc::new(values.with_precision_and_scale(precision, scale).unwrap()) as ArrayRef
    };
    let mut vectors = ListBuilder::new(Float32Builder::new()).with_field(Field::new(
        "element",
        arrow_schema::DataType::Float32,
        true,
    ));
    rows.iter().for_each(|row| vectors.append_option(row.vector.clone()));
    let instants: TimestampMicrosecondArray = rows.iter().map(|row| row.instant).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("byte", Arc::new(rows.iter().map(|row| row.byte).collect::<Int8Array>())),
        ("short", Arc::new(rows.iter().map(|row| row.short).collect::<Int16Array>())),
        ("integer", Arc::new(rows.iter().map(|row| row.integer).collect::<Int32Array>())),
        ("long", Arc::new(rows.iter().map(|row| row.long).collect::<Int64Array>())),
        ("float", Arc::new(rows.iter().map(|row| row.float).collect::<Float32Array>())),
        ("double", Arc::new(rows.iter().map(|row| row.double).collect::<Float64Array>())),
        ("boolean", Arc::new(rows.iter().map(|row| row.boolean).collect::<BooleanArray>())),
        ("money", decimal(9, 2, |row| row.money)),
        ("huge", decimal(38, 0, |row| row.huge)),
        ("date", Arc::new(rows.iter().map(|row| row.date).collect::<Date32Array>())),
        ("instant", Arc::new(instants.with_timezone("UTC"))),
        ("text", Arc::new(rows.iter().map(|row| row.text.as_deref()).collect::<StringArray>())),
        ("bytes", Arc::new(rows.iter().map(|row| row.bytes.as_deref()).collect::<BinaryArray>())),
        ("vector", Arc::new(vectors.finish())),
    ];
    of_columns(columns)
}

/// A batch of nullable columns with their source names.
pub(crate) fn of_columns(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let fields = columns.iter().map(|(name, column)| {
        let metadata = [("headwaters.sourceName".to_owned(), (*name).to_owned())];
        Field::new(*name, column.data_type().clone(), true).with_metadata(metadata.into())
    });
    let schema: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    RecordBatch::try_new(schema, columns.into_iter().map(|(_, column)| column).collect()).unwrap()
}

/// A batch with one column of numbers.
pub(crate) fn ids(ids: impl IntoIterator<Item = i64>) -> RecordBatch {
    of_columns(vec![("id", Arc::new(Int64Array::from_iter_values(ids)))])
}
