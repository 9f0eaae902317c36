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
    common(from, to).as_ref() == Some(to)
}

/// The narrowest type that holds every value of both types exactly; none where there is none, or where the two mean
/// different things.
///
/// A date is not an instant: which one its midnight is depends on a zone that the table does not know. Neither is a
/// number a text, nor a truth value a number.
pub(super) fn common(one: &DeltaType, other: &DeltaType) -> Option<DeltaType> {
    if one == other {
        return Some(one.clone());
    }
    let (DeltaType::Primitive(one), DeltaType::Primitive(other)) = (one, other) else { return None };
    if let (Some(a), Some(b)) = (integer_digits(one), integer_digits(other)) {
        return Some(DeltaType::Primitive(if a >= b { one.clone() } else { other.clone() }));
    }
    if let (Some(a), Some(b)) = (Digits::of(one), Digits::of(other)) {
        return a.with(b);
    }
    let double = fits_double(one) && fits_double(other);
    double.then_some(DeltaType::DOUBLE)
}

/// How many decimal digits the values of a type that counts exactly have before and behind the point.
struct Digits {
    whole: u8,
    fraction: u8,
}

impl Digits {
    fn of(primitive: &PrimitiveType) -> Option<Self> {
        match primitive {
            PrimitiveType::Decimal(decimal) => {
                Some(Self { whole: decimal.precision().checked_sub(decimal.scale())?, fraction: decimal.scale() })
            }
            integer => Some(Self { whole: integer_digits(integer)?, fraction: 0 }),
        }
    }

    /// The decimal that holds both; none beyond 38 digits.
    fn with(self, other: Self) -> Option<DeltaType> {
        let (whole, fraction) = (self.whole.max(other.whole), self.fraction.max(other.fraction));
        Some(DeltaType::Primitive(PrimitiveType::decimal(whole.checked_add(fraction)?, fraction).ok()?))
    }
}

/// The digits of the largest value of an integer type.
fn integer_digits(primitive: &PrimitiveType) -> Option<u8> {
    match primitive {
        PrimitiveType::Byte => Some(3),
        PrimitiveType::Short => Some(5),
        PrimitiveType::Integer => Some(10),
        PrimitiveType::Long => Some(19),
        _ => None,
    }
}

/// Whether a double holds every value; its 53 bits are fewer than those of a long.
fn fits_double(primitive: &PrimitiveType) -> bool {
    use PrimitiveType::{Byte, Double, Float, Integer, Short};
    matches!(primitive, Byte | Short | Integer | Float | Double)
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

    fn decimal(precision: u8, scale: i8) -> DataType {
        DataType::Decimal128(precision, scale)
    }

    #[test]
    fn only_lossless_widening_is_compatible() {
        let widens = |from, to| widens(&delta_type(&from).unwrap(), &delta_type(&to).unwrap());
        assert!(widens(DataType::Int32, DataType::Int64));
        assert!(widens(DataType::Int32, DataType::Float64));
        assert!(widens(DataType::Float32, DataType::Float64));
        assert!(widens(decimal(10, 2), decimal(12, 2)));
        assert!(widens(decimal(10, 2), decimal(12, 4)));
        assert!(widens(DataType::Int64, decimal(20, 0)));
        assert!(!widens(DataType::Int64, DataType::Int32));
        assert!(!widens(DataType::Int64, DataType::Float64));
        assert!(!widens(decimal(10, 2), decimal(11, 4)));
        assert!(!widens(DataType::Int64, decimal(18, 0)));
        assert!(!widens(DataType::Int32, DataType::Utf8));
    }

    #[test]
    fn two_types_meet_in_the_narrowest_that_loses_nothing() {
        let common = |one, other| common(&delta_type(&one).unwrap(), &delta_type(&other).unwrap());
        for (one, other, met) in [
            (DataType::Int8, DataType::Int64, Some(DataType::Int64)),
            (DataType::Int16, DataType::Float32, Some(DataType::Float64)),
            (DataType::Float32, DataType::Float64, Some(DataType::Float64)),
            (DataType::Int64, DataType::Float64, None),
            (decimal(10, 4), decimal(12, 2), Some(decimal(14, 4))),
            (decimal(38, 0), decimal(38, 2), None),
            // What becomes of BIGINT when it is made UNSIGNED, and of INT when it gets cents.
            (DataType::Int64, decimal(20, 0), Some(decimal(20, 0))),
            (DataType::Int32, decimal(8, 2), Some(decimal(12, 2))),
            (decimal(10, 2), DataType::Float64, None),
            (DataType::Date32, utc(), None),
            (DataType::Boolean, DataType::Int8, None),
            (DataType::Utf8, DataType::Binary, None),
            (DataType::Int64, DataType::Utf8, None),
        ] {
            let met = met.map(|met| delta_type(&met).unwrap());
            assert_eq!(common(one.clone(), other.clone()), met, "{one} and {other}");
            assert_eq!(common(other.clone(), one.clone()), met, "{other} and {one}");
        }
    }
}
