//! Row keys out of finished arrays, for diagnostics that are found only when a batch ends.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;

use super::temporal::{print_days, print_micros};
use super::{bytes, numbers};
use crate::mysql::types::FRACTION_DIGITS_MAX;

/// One part of the key of a row as text; none is null, or a type that is never a key.
pub(super) fn print(array: &ArrayRef, row: usize) -> Option<String> {
    if row >= array.len() || array.is_null(row) {
        return None;
    }
    Some(match array.data_type() {
        DataType::Int8 => array.as_primitive::<Int8Type>().value(row).to_string(),
        DataType::Int16 => array.as_primitive::<Int16Type>().value(row).to_string(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).to_string(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Decimal128(_, scale) => {
            numbers::print_decimal(array.as_primitive::<Decimal128Type>().value(row), scale.cast_unsigned())
        }
        DataType::Date32 => print_days(array.as_primitive::<Date32Type>().value(row)),
        DataType::Timestamp(..) => {
            print_micros(array.as_primitive::<TimestampMicrosecondType>().value(row), FRACTION_DIGITS_MAX)
        }
        DataType::Utf8 => array.as_string::<i32>().value(row).to_owned(),
        DataType::Binary => bytes::hex(array.as_binary::<i32>().value(row)),
        _ => return None,
    })
}
