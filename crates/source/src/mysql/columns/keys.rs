//! Row keys out of finished arrays, for diagnostics.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, Field};

use super::temporal::{print_days, print_micros};
use super::{bytes, numbers};
use crate::mysql::types::{FRACTION_DIGITS, FRACTION_DIGITS_MAX};

/// One part of the key of a row as the server prints it; none is null, or a type that is never a key.
pub(super) fn print(field: &Field, array: &ArrayRef, row: usize) -> Option<String> {
    if row >= array.len() || array.is_null(row) {
        return None;
    }
    Some(match array.data_type() {
        DataType::Boolean => u8::from(array.as_boolean().value(row)).to_string(),
        DataType::Float32 => array.as_primitive::<Float32Type>().value(row).to_string(),
        DataType::Float64 => array.as_primitive::<Float64Type>().value(row).to_string(),
        DataType::Int8 => array.as_primitive::<Int8Type>().value(row).to_string(),
        DataType::Int16 => array.as_primitive::<Int16Type>().value(row).to_string(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).to_string(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Decimal128(_, scale) => {
            numbers::print_decimal(array.as_primitive::<Decimal128Type>().value(row), scale.cast_unsigned())
        }
        DataType::Date32 => print_days(array.as_primitive::<Date32Type>().value(row)),
        DataType::Timestamp(..) => {
            let digits = field.metadata().get(FRACTION_DIGITS).and_then(|digits| digits.parse().ok());
            let micros = array.as_primitive::<TimestampMicrosecondType>().value(row);
            print_micros(micros, digits.unwrap_or(FRACTION_DIGITS_MAX))
        }
        DataType::Utf8 => array.as_string::<i32>().value(row).to_owned(),
        DataType::Binary => bytes::hex(array.as_binary::<i32>().value(row)),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use arrow_array::{BooleanArray, Float64Array, TimestampMicrosecondArray};

    use super::*;

    #[test]
    fn keys_are_printed_as_the_server_prints_them() {
        let printed = |array: ArrayRef| {
            let field = Field::new("k", array.data_type().clone(), true);
            print(&field.with_metadata(HashMap::from([(FRACTION_DIGITS.to_owned(), "3".to_owned())])), &array, 0)
        };
        let moment = TimestampMicrosecondArray::from(vec![1_500_000]).with_timezone("UTC");
        assert_eq!(printed(Arc::new(moment)).as_deref(), Some("1970-01-01 00:00:01.500"));
        assert_eq!(printed(Arc::new(BooleanArray::from(vec![true]))).as_deref(), Some("1"));
        assert_eq!(printed(Arc::new(Float64Array::from(vec![-0.5]))).as_deref(), Some("-0.5"));
        assert_eq!(printed(Arc::new(Float64Array::from(vec![None]))), None);
    }
}
