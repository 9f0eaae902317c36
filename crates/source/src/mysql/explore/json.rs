//! Landed values as the JSON of a preview (flow-service.md 13.5).

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, Field};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Duration, NaiveDate};
use serde_json::{Number, Value};

use crate::mysql::types::FRACTION_DIGITS;

/// The integers that a JSON reader with doubles keeps exactly: −2^53 … 2^53−1 (mysql-sources.md 8).
const EXACT: std::ops::Range<i128> = -(1 << 53)..1 << 53;

/// The JSON form of one value: null, boolean, number, or text; numbers that a double does not hold are texts.
pub(super) fn value(field: &Field, column: &ArrayRef, row: usize) -> Value {
    if row >= column.len() || column.is_null(row) {
        return Value::Null;
    }
    match field.data_type() {
        DataType::Boolean => Value::from(column.as_boolean().value(row)),
        DataType::Int8 => Value::from(column.as_primitive::<Int8Type>().value(row)),
        DataType::Int16 => Value::from(column.as_primitive::<Int16Type>().value(row)),
        DataType::Int32 => Value::from(column.as_primitive::<Int32Type>().value(row)),
        DataType::Int64 => integer(column.as_primitive::<Int64Type>().value(row).into()),
        DataType::Decimal128(_, 0) => integer(column.as_primitive::<Decimal128Type>().value(row)),
        DataType::Decimal128(..) => decimal(&column.as_primitive::<Decimal128Type>().value_as_string(row)),
        DataType::Float32 => float(column.as_primitive::<Float32Type>().value(row)),
        DataType::Float64 => {
            Number::from_f64(column.as_primitive::<Float64Type>().value(row)).map_or(Value::Null, Value::Number)
        }
        DataType::Date32 => date(column.as_primitive::<Date32Type>().value(row)),
        DataType::Timestamp(..) => moment(column.as_primitive::<TimestampMicrosecondType>().value(row), field),
        DataType::Utf8 => Value::from(column.as_string::<i32>().value(row)),
        DataType::Binary => Value::from(STANDARD.encode(column.as_binary::<i32>().value(row))),
        DataType::List(_) => vector(&column.as_list::<i32>().value(row)),
        // The matrix lands nothing else (mysql-sources.md 8).
        _ => Value::Null,
    }
}

fn integer(value: i128) -> Value {
    match i64::try_from(value) {
        Ok(small) if EXACT.contains(&value) => Value::from(small),
        _ => Value::from(value.to_string()),
    }
}

/// A number if the double with these digits has no others.
fn decimal(text: &str) -> Value {
    let shortest = text.trim_end_matches('0').trim_end_matches('.');
    match text.parse::<f64>() {
        Ok(double) if double.to_string() == shortest || double == 0.0 => {
            Number::from_f64(double).map_or_else(|| Value::from(text), Value::Number)
        }
        _ => Value::from(text),
    }
}

/// The shortest digits that name the float, not those of the double next to it.
fn float(value: f32) -> Value {
    let double = value.to_string().parse::<f64>().ok().and_then(Number::from_f64);
    double.map_or(Value::Null, Value::Number)
}

fn date(days: i32) -> Value {
    let date =
        NaiveDate::from_ymd_opt(1970, 1, 1).and_then(|epoch| epoch.checked_add_signed(Duration::days(days.into())));
    date.map_or(Value::Null, |date| Value::from(date.format("%Y-%m-%dT00:00:00").to_string()))
}

/// UTC without a zone, with as many fraction digits as the source keeps.
fn moment(micros: i64, field: &Field) -> Value {
    let Some(moment) = DateTime::from_timestamp_micros(micros) else { return Value::Null };
    let digits = field.metadata().get(FRACTION_DIGITS).and_then(|digits| digits.parse().ok()).unwrap_or(6_usize).min(6);
    let mut text = moment.format("%Y-%m-%dT%H:%M:%S").to_string();
    if digits > 0 {
        let fraction = format!("{:06}", moment.timestamp_subsec_micros());
        text.push('.');
        text.push_str(fraction.get(..digits).unwrap_or(&fraction));
    }
    Value::from(text)
}

fn vector(elements: &ArrayRef) -> Value {
    let floats = elements.as_primitive::<Float32Type>();
    let elements: Vec<Value> = floats.iter().map(|element| element.map_or(Value::Null, float)).collect();
    Value::from(Value::Array(elements).to_string())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use arrow_array::{
        BinaryArray, Date32Array, Decimal128Array, Float32Array, Int64Array, ListArray, TimestampMicrosecondArray,
    };
    use arrow_schema::TimeUnit;
    use serde_json::json;

    use super::*;

    fn shown(column: impl Array + 'static) -> Vec<Value> {
        let field = Field::new("c", column.data_type().clone(), true);
        let column: ArrayRef = Arc::new(column);
        (0..column.len()).map(|row| value(&field, &column, row)).collect()
    }

    #[test]
    fn numbers_that_a_double_does_not_hold_are_texts() {
        let longs = Int64Array::from(vec![Some((1 << 53) - 1), Some(1 << 53), Some(-(1 << 53)), Some(i64::MIN), None]);
        assert_eq!(
            shown(longs),
            [
                json!(9_007_199_254_740_991_i64),
                json!("9007199254740992"),
                json!(-9_007_199_254_740_992_i64),
                json!("-9223372036854775808"),
                Value::Null
            ]
        );
        let decimals = Decimal128Array::from(vec![950, 0, -10, 123_456_789_012_345_678_901]);
        assert_eq!(
            shown(decimals.with_precision_and_scale(38, 2).unwrap()),
            [json!(9.5), json!(0.0), json!(-0.1), json!("1234567890123456789.01")]
        );
        assert_eq!(shown(Float32Array::from(vec![1.1, 16_777_216.0])), [json!(1.1), json!(16_777_216.0)]);
    }

    #[test]
    fn dates_and_moments_have_no_zone() {
        assert_eq!(shown(Date32Array::from(vec![0, -719_162])), ["1970-01-01T00:00:00", "0001-01-01T00:00:00"]);
        for (digits, expected) in [("0", "2022-06-22T17:19:33"), ("3", "2022-06-22T17:19:33.250")] {
            let moments: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![1_655_918_373_250_000]));
            let field = Field::new("c", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true)
                .with_metadata(HashMap::from([(FRACTION_DIGITS.to_owned(), digits.to_owned())]));
            assert_eq!(value(&field, &moments, 0), expected);
        }
    }

    #[test]
    fn bytes_are_base64_and_vectors_json_text() {
        assert_eq!(shown(BinaryArray::from(vec![&[0xC3, 0x28][..]])), ["wyg="]);
        let vectors = ListArray::from_iter_primitive::<Float32Type, _, _>([Some([Some(1.0), Some(2.5)])]);
        assert_eq!(shown(vectors), ["[1.0,2.5]"]);
    }
}
