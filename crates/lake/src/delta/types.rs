//! Landed Arrow types and the types of the Delta log (mysql-sources.md, section 8).

use arrow_schema::{DataType, Field, TimeUnit};
use deltalake_core::kernel::{ArrayType, DataType as DeltaType, PrimitiveType};

/// The Delta type that an Arrow type is landed as; none for a type that no source lands.
///
/// Unsigned integers are left out on purpose: Delta has none, and the library's own conversion gives them the signed
/// type of the same width, in which values of the upper half wrap.
pub(super) fn delta_type(arrow: &DataType) -> Option<DeltaType> {
    let primitive = match arrow {
        DataType::Int8 => PrimitiveType::Byte,
        DataType::Int16 => PrimitiveType::Short,
        DataType::Int32 => PrimitiveType::Integer,
        DataType::Int64 => PrimitiveType::Long,
        DataType::Float32 => PrimitiveType::Float,
        DataType::Float64 => PrimitiveType::Double,
        DataType::Boolean => PrimitiveType::Boolean,
        DataType::Decimal128(precision, scale) => {
            PrimitiveType::decimal(*precision, u8::try_from(*scale).ok()?).ok()?
        }
        DataType::Date32 => PrimitiveType::Date,
        DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) if zone.as_ref() == "UTC" => PrimitiveType::Timestamp,
        DataType::Utf8 => PrimitiveType::String,
        DataType::Binary => PrimitiveType::Binary,
        DataType::List(element) => {
            let element_type = delta_type(element.data_type())?;
            return Some(DeltaType::Array(Box::new(ArrayType::new(element_type, element.is_nullable()))));
        }
        _ => return None,
    };
    Some(DeltaType::Primitive(primitive))
}

/// The Arrow type that files hold a Delta type in; none for a type that we never write.
pub(super) fn arrow_type(delta: &DeltaType) -> Option<DataType> {
    Some(match delta {
        DeltaType::Primitive(primitive) => match primitive {
            PrimitiveType::Byte => DataType::Int8,
            PrimitiveType::Short => DataType::Int16,
            PrimitiveType::Integer => DataType::Int32,
            PrimitiveType::Long => DataType::Int64,
            PrimitiveType::Float => DataType::Float32,
            PrimitiveType::Double => DataType::Float64,
            PrimitiveType::Boolean => DataType::Boolean,
            PrimitiveType::Decimal(decimal) => {
                DataType::Decimal128(decimal.precision(), i8::try_from(decimal.scale()).ok()?)
            }
            PrimitiveType::Date => DataType::Date32,
            PrimitiveType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            PrimitiveType::String => DataType::Utf8,
            PrimitiveType::Binary => DataType::Binary,
            _ => return None,
        },
        DeltaType::Array(array) => {
            let element = Field::new("element", arrow_type(array.element_type())?, array.contains_null());
            DataType::List(element.into())
        }
        _ => return None,
    })
}

/// Whether every value of one Delta type is a value of another, so that a table that has the wider one takes it.
pub(super) fn widens(from: &DeltaType, to: &DeltaType) -> bool {
    let (DeltaType::Primitive(from), DeltaType::Primitive(to)) = (from, to) else { return from == to };
    match (integer_bytes(from), integer_bytes(to)) {
        (Some(from), Some(to)) => return from <= to,
        (Some(bytes), None) => return bytes <= 4 && *to == PrimitiveType::Double,
        _ => {}
    }
    match (from, to) {
        (PrimitiveType::Float, PrimitiveType::Double) => true,
        (PrimitiveType::Decimal(from), PrimitiveType::Decimal(to)) => {
            from.scale() == to.scale() && from.precision() <= to.precision()
        }
        (from, to) => from == to,
    }
}

fn integer_bytes(primitive: &PrimitiveType) -> Option<u8> {
    match primitive {
        PrimitiveType::Byte => Some(1),
        PrimitiveType::Short => Some(2),
        PrimitiveType::Integer => Some(4),
        PrimitiveType::Long => Some(8),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc() -> DataType {
        DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
    }

    #[test]
    fn every_landed_type_has_its_delta_type_and_comes_back() {
        let landed = [
            (DataType::Int8, "\"byte\""),
            (DataType::Int16, "\"short\""),
            (DataType::Int32, "\"integer\""),
            (DataType::Int64, "\"long\""),
            (DataType::Float32, "\"float\""),
            (DataType::Float64, "\"double\""),
            (DataType::Boolean, "\"boolean\""),
            (DataType::Decimal128(20, 0), "\"decimal(20,0)\""),
            (DataType::Decimal128(38, 30), "\"decimal(38,30)\""),
            (DataType::Date32, "\"date\""),
            (utc(), "\"timestamp\""),
            (DataType::Utf8, "\"string\""),
            (DataType::Binary, "\"binary\""),
            (
                DataType::List(Field::new("element", DataType::Float32, true).into()),
                r#"{"type":"array","elementType":"float","containsNull":true}"#,
            ),
        ];
        for (arrow, spelt) in landed {
            let delta = delta_type(&arrow).unwrap_or_else(|| panic!("{arrow} has no Delta type"));
            assert_eq!(serde_json::to_string(&delta).unwrap(), spelt);
            assert_eq!(arrow_type(&delta), Some(arrow));
        }
    }

    #[test]
    fn types_that_would_change_values_are_refused() {
        let nanoseconds = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
        let wall_clock = DataType::Timestamp(TimeUnit::Microsecond, None);
        for arrow in [DataType::UInt8, DataType::UInt32, DataType::UInt64, nanoseconds, wall_clock] {
            assert_eq!(delta_type(&arrow), None, "{arrow}");
        }
    }

    #[test]
    fn only_lossless_widening_is_compatible() {
        let widens = |from, to| widens(&delta_type(&from).unwrap(), &delta_type(&to).unwrap());
        assert!(widens(DataType::Int32, DataType::Int64));
        assert!(widens(DataType::Int32, DataType::Float64));
        assert!(widens(DataType::Float32, DataType::Float64));
        assert!(widens(DataType::Decimal128(10, 2), DataType::Decimal128(12, 2)));
        assert!(!widens(DataType::Int64, DataType::Int32));
        assert!(!widens(DataType::Int64, DataType::Float64));
        assert!(!widens(DataType::Decimal128(10, 2), DataType::Decimal128(12, 4)));
        assert!(!widens(DataType::Int32, DataType::Utf8));
    }
}
