//! A file's statistics for the Delta log, from its Parquet footer.
//!
//! Readers skip files by these bounds, so a wrong one loses rows: bounds are always outside of the values. The library's
//! own statistics go through `f64` and can end inside of a large decimal's range; these are exact.

use std::fmt::Write;

use arrow_schema::{DataType, Field, Schema};
use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::statistics::Statistics;

/// Statistics are kept for so many columns, as readers expect by default (`delta.dataSkippingNumIndexedCols`).
const COLUMNS_MAX: usize = 32;
/// A text bound that could not be shortened to this is left out.
const TEXT_BYTES_MAX: usize = 256;
/// The day number of 1970-01-01 as chrono counts days.
const UNIX_EPOCH_DAYS: i32 = 719_163;

/// One end of a column's values.
#[derive(Debug, Clone, PartialEq, PartialOrd)]
enum Bound {
    Boolean(bool),
    /// Integers, and the unscaled digits of decimals, days and microseconds.
    Integer(i128),
    Float(f64),
    Text(String),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Side {
    Lower,
    Upper,
}

/// The statistics as the Delta log holds them: a JSON text.
pub(super) fn of_file(schema: &Schema, footer: &ParquetMetaData) -> String {
    let [mut lower, mut upper, mut nulls] = [String::new(), String::new(), String::new()];
    // One leaf per column: the only nested type that is landed is a list of a primitive.
    for (index, field) in schema.fields().iter().enumerate().take(COLUMNS_MAX) {
        if field.data_type().is_nested() {
            continue;
        }
        let chunks: Vec<_> = footer.row_groups().iter().map(|group| group.column(index)).collect();
        if let Some(count) = null_count(&chunks) {
            push(&mut nulls, field, &count.to_string());
        }
        if let Some((least, greatest)) = bounds(field.data_type(), &chunks) {
            if let Some(text) = json(&least, field.data_type(), Side::Lower) {
                push(&mut lower, field, &text);
            }
            if let Some(text) = json(&greatest, field.data_type(), Side::Upper) {
                push(&mut upper, field, &text);
            }
        }
    }
    let rows = footer.file_metadata().num_rows();
    format!(r#"{{"numRecords":{rows},"minValues":{{{lower}}},"maxValues":{{{upper}}},"nullCount":{{{nulls}}}}}"#)
}

fn push(object: &mut String, field: &Field, value: &str) {
    if !object.is_empty() {
        object.push(',');
    }
    // Writing into a String can not fail.
    let _ = write!(object, "{}:{value}", serde_json::Value::from(field.name().as_str()));
}

fn null_count(chunks: &[&ColumnChunkMetaData]) -> Option<u64> {
    chunks.iter().map(|chunk| chunk.statistics()?.null_count_opt()).sum()
}

/// The least and the greatest value over all row groups; none if a group that has values has no bounds.
fn bounds(data_type: &DataType, chunks: &[&ColumnChunkMetaData]) -> Option<(Bound, Bound)> {
    let mut all: Option<(Bound, Bound)> = None;
    for chunk in chunks {
        let statistics = chunk.statistics()?;
        if statistics.null_count_opt() == u64::try_from(chunk.num_values()).ok() {
            continue;
        }
        let (low, high) = of_chunk(data_type, statistics)?;
        all = Some(match all {
            None => (low, high),
            Some((least, greatest)) => {
                (if low < least { low } else { least }, if high > greatest { high } else { greatest })
            }
        });
    }
    all
}

fn of_chunk(data_type: &DataType, statistics: &Statistics) -> Option<(Bound, Bound)> {
    Some(match statistics {
        Statistics::Boolean(v) => (Bound::Boolean(*v.min_opt()?), Bound::Boolean(*v.max_opt()?)),
        Statistics::Int32(v) => (Bound::Integer((*v.min_opt()?).into()), Bound::Integer((*v.max_opt()?).into())),
        Statistics::Int64(v) => (Bound::Integer((*v.min_opt()?).into()), Bound::Integer((*v.max_opt()?).into())),
        Statistics::Float(v) => (Bound::Float((*v.min_opt()?).into()), Bound::Float((*v.max_opt()?).into())),
        Statistics::Double(v) => (Bound::Float(*v.min_opt()?), Bound::Float(*v.max_opt()?)),
        Statistics::ByteArray(v) if *data_type == DataType::Utf8 => {
            (text(v.min_opt()?.data())?, text(v.max_opt()?.data())?)
        }
        Statistics::FixedLenByteArray(v) if matches!(data_type, DataType::Decimal128(..)) => {
            (big_endian(v.min_opt()?.data())?, big_endian(v.max_opt()?.data())?)
        }
        _ => return None,
    })
}

fn text(bytes: &[u8]) -> Option<Bound> {
    let text = str::from_utf8(bytes).ok()?;
    (text.len() <= TEXT_BYTES_MAX).then(|| Bound::Text(text.to_owned()))
}

/// A two's complement number of up to 16 bytes.
fn big_endian(bytes: &[u8]) -> Option<Bound> {
    let sign = if bytes.first()? & 0x80 == 0 { 0 } else { 0xff };
    let mut wide = [sign; 16];
    let start = wide.len().checked_sub(bytes.len())?;
    wide[start..].copy_from_slice(bytes);
    Some(Bound::Integer(i128::from_be_bytes(wide)))
}

/// A bound as a JSON value; none for one that JSON or the log's format can't express.
fn json(bound: &Bound, data_type: &DataType, side: Side) -> Option<String> {
    Some(match (bound, data_type) {
        (Bound::Boolean(value), _) => value.to_string(),
        (Bound::Float(value), _) => serde_json::Number::from_f64(*value)?.to_string(),
        (Bound::Text(value), _) => serde_json::Value::from(value.as_str()).to_string(),
        (Bound::Integer(days), DataType::Date32) => {
            let days = i32::try_from(*days).ok()?.checked_add(UNIX_EPOCH_DAYS)?;
            format!("\"{}\"", NaiveDate::from_num_days_from_ce_opt(days)?.format("%Y-%m-%d"))
        }
        (Bound::Integer(micros), DataType::Timestamp(..)) => {
            format!("\"{}\"", instant(i64::try_from(*micros).ok()?, side)?)
        }
        (Bound::Integer(digits), DataType::Decimal128(_, scale)) => decimal(*digits, usize::try_from(*scale).ok()?),
        (Bound::Integer(value), _) => value.to_string(),
    })
}

/// The log keeps milliseconds, so a bound is moved outwards to the next one.
fn instant(micros: i64, side: Side) -> Option<String> {
    let lower = micros.div_euclid(1000);
    let exact = micros.rem_euclid(1000) == 0;
    let millis = if side == Side::Upper && !exact { lower + 1 } else { lower };
    Some(DateTime::<Utc>::from_timestamp_millis(millis)?.to_rfc3339_opts(SecondsFormat::Millis, true))
}

/// All digits of a decimal, as a JSON number.
fn decimal(unscaled: i128, scale: usize) -> String {
    if scale == 0 {
        return unscaled.to_string();
    }
    let sign = if unscaled < 0 { "-" } else { "" };
    let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    format!("{sign}{whole}.{fraction}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_keep_all_their_digits() {
        assert_eq!(decimal(18_446_744_073_709_551_615, 0), "18446744073709551615");
        assert_eq!(decimal(-5, 2), "-0.05");
        assert_eq!(decimal(123_456, 2), "1234.56");
        assert_eq!(decimal(0, 3), "0.000");
    }

    #[test]
    fn instants_are_rounded_outwards() {
        assert_eq!(instant(1_500, Side::Lower).unwrap(), "1970-01-01T00:00:00.001Z");
        assert_eq!(instant(1_500, Side::Upper).unwrap(), "1970-01-01T00:00:00.002Z");
        assert_eq!(instant(-1_500, Side::Lower).unwrap(), "1969-12-31T23:59:59.998Z");
        assert_eq!(instant(-1_500, Side::Upper).unwrap(), "1969-12-31T23:59:59.999Z");
        assert_eq!(instant(2_000, Side::Upper).unwrap(), "1970-01-01T00:00:00.002Z");
    }

    #[test]
    fn negative_numbers_of_few_bytes_stay_negative() {
        assert_eq!(big_endian(&[0xff, 0xfe]), Some(Bound::Integer(-2)));
        assert_eq!(big_endian(&[0x01, 0x00]), Some(Bound::Integer(256)));
        assert_eq!(big_endian(&[0; 17]), None);
    }
}
