//! What a column becomes: the matrix of mysql-sources.md 8.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, TimeUnit};
use chrono_tz::Tz;

use super::{
    DECIMAL_DIGITS_MAX, FRACTION_DIGITS, GuidLayout, RAW_SUFFIX, SOURCE_TYPE, ServerType, TypeRules, ZeroDates,
};
use crate::contract::SOURCE_NAME;

/// How the cells of a column become values; what they look like on the wire follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decode {
    /// One signed byte.
    Int8,
    /// One byte, unsigned, widened.
    Int16FromU8,
    /// Two bytes, signed; a YEAR too.
    Int16,
    /// Two bytes, unsigned, widened.
    Int32FromU16,
    /// Four bytes, signed; a MEDIUMINT of either sign.
    Int32,
    /// Four bytes, unsigned, widened.
    Int64FromU32,
    /// Eight bytes, signed.
    Int64,
    /// Eight bytes, unsigned, as a decimal.
    DecimalFromU64,
    /// Four bytes.
    Float32,
    /// Eight bytes.
    Float64,
    /// Digits, as a decimal of this precision and scale.
    Decimal {
        /// All digits, at most [`DECIMAL_DIGITS_MAX`].
        precision: u8,
        /// Digits after the point.
        scale: u8,
    },
    /// Digits, as text: more than a decimal holds.
    LongDecimal,
    /// One signed byte that should be 0 or 1.
    BooleanFromTiny,
    /// Big-endian bytes of one bit.
    BooleanFromBit,
    /// Big-endian bytes of 2 to 63 bits.
    Int64FromBits,
    /// Big-endian bytes of 64 bits.
    DecimalFromBits,
    /// A date.
    Date {
        /// What one that does not exist becomes.
        zero_dates: ZeroDates,
    },
    /// A date and a time of day.
    DateTime {
        /// Digits after the second.
        fraction_digits: u8,
        /// The zone of a wall clock; none is UTC.
        zone: Option<Tz>,
        /// What one that does not exist becomes.
        zero_dates: ZeroDates,
    },
    /// A duration, as text.
    Time {
        /// Digits after the second.
        fraction_digits: u8,
    },
    /// Text.
    Text,
    /// Text of an enum.
    Enum {
        /// Whether a flag cell tells the error value from the member `''`; else an empty text is the error value.
        empty_member: bool,
    },
    /// Bytes.
    Binary,
    /// A GUID's sixteen bytes, as text.
    Guid(GuidLayout),
    /// Four bytes of SRID and WKB, as EWKB.
    Geometry,
    /// Little-endian floats.
    Vector,
    /// Always null.
    Null,
}

/// What is landed for one column.
#[derive(Debug, Clone, PartialEq)]
pub struct Landing {
    /// The Arrow field under the source's name.
    pub field: Field,
    /// How its cells are read.
    pub decode: Decode,
    /// Whether its type is unknown, so that a diagnostic is due before any row is read.
    pub unknown: bool,
}

impl Landing {
    /// What a column of this name and type becomes (the matrix of mysql-sources.md 8).
    #[must_use]
    pub fn of(name: &str, server: &ServerType, nullable: bool, rules: &TypeRules) -> Self {
        let decode = decode_of(server, rules);
        let field = Field::new(name, data_type_of(decode), nullable || may_become_null(decode));
        let mut metadata = HashMap::from([(SOURCE_NAME.to_owned(), name.to_owned())]);
        if let Some(digits) = fraction_digits_of(server) {
            metadata.insert(FRACTION_DIGITS.to_owned(), digits.to_string());
        }
        if let Some(source_type) = told_apart_by(server) {
            metadata.insert(SOURCE_TYPE.to_owned(), source_type.to_owned());
        }
        Self { field: field.with_metadata(metadata), decode, unknown: matches!(server, ServerType::Unknown { .. }) }
    }

    /// The extra field for raw texts of dates that do not exist, if the rules ask for one, under a name that is free.
    #[must_use]
    pub fn raw_field(&self, is_taken: impl Fn(&str) -> bool) -> Option<Field> {
        let (Decode::Date { zero_dates } | Decode::DateTime { zero_dates, .. }) = self.decode else { return None };
        (zero_dates == ZeroDates::Raw).then(|| {
            let mut name = format!("{}{RAW_SUFFIX}", self.field.name());
            while is_taken(&name) {
                name.push('_');
            }
            let metadata = HashMap::from([(SOURCE_NAME.to_owned(), name.clone())]);
            Field::new(name, DataType::Utf8, true).with_metadata(metadata)
        })
    }
}

fn decode_of(server: &ServerType, rules: &TypeRules) -> Decode {
    let zero_dates = rules.zero_dates;
    match *server {
        ServerType::TinyInt { boolean: true, .. } if rules.tiny_as_boolean => Decode::BooleanFromTiny,
        ServerType::TinyInt { unsigned: false, .. } => Decode::Int8,
        ServerType::TinyInt { unsigned: true, .. } => Decode::Int16FromU8,
        ServerType::SmallInt { unsigned: false } | ServerType::Year => Decode::Int16,
        ServerType::SmallInt { unsigned: true } => Decode::Int32FromU16,
        ServerType::MediumInt { .. } | ServerType::Int { unsigned: false } => Decode::Int32,
        ServerType::Int { unsigned: true } => Decode::Int64FromU32,
        ServerType::BigInt { unsigned: false } => Decode::Int64,
        ServerType::BigInt { unsigned: true } => Decode::DecimalFromU64,
        ServerType::Decimal { precision, scale } if precision <= DECIMAL_DIGITS_MAX && scale <= precision => {
            Decode::Decimal { precision: precision.max(1), scale }
        }
        ServerType::Decimal { .. } => Decode::LongDecimal,
        ServerType::Float => Decode::Float32,
        ServerType::Double => Decode::Float64,
        ServerType::Bit { bits: 0 | 1 } => Decode::BooleanFromBit,
        ServerType::Bit { bits: 2..=63 } => Decode::Int64FromBits,
        ServerType::Bit { .. } => Decode::DecimalFromBits,
        ServerType::Date => Decode::Date { zero_dates },
        ServerType::DateTime { fraction_digits } => {
            Decode::DateTime { fraction_digits, zone: rules.source_time_zone, zero_dates }
        }
        ServerType::Timestamp { fraction_digits } => Decode::DateTime { fraction_digits, zone: None, zero_dates },
        ServerType::Time { fraction_digits } => Decode::Time { fraction_digits },
        ServerType::Enum { empty_member } => Decode::Enum { empty_member },
        ServerType::Binary { length: 16, fixed: true } => rules.guids.map_or(Decode::Binary, Decode::Guid),
        ServerType::Binary { .. } | ServerType::Unknown { binary: true } => Decode::Binary,
        ServerType::Geometry => Decode::Geometry,
        ServerType::Vector => Decode::Vector,
        ServerType::Null => Decode::Null,
        ServerType::Text
        | ServerType::Set
        | ServerType::Json
        | ServerType::Printed(_)
        | ServerType::Unknown { binary: false } => Decode::Text,
    }
}

fn data_type_of(decode: Decode) -> DataType {
    match decode {
        Decode::Int8 => DataType::Int8,
        Decode::Int16FromU8 | Decode::Int16 => DataType::Int16,
        Decode::Int32FromU16 | Decode::Int32 => DataType::Int32,
        Decode::Int64FromU32 | Decode::Int64 | Decode::Int64FromBits => DataType::Int64,
        Decode::DecimalFromU64 | Decode::DecimalFromBits => DataType::Decimal128(20, 0),
        // Both are at most 38 (`decode_of`), so the scale fits its type.
        Decode::Decimal { precision, scale } => DataType::Decimal128(precision, scale.cast_signed()),
        Decode::Float32 => DataType::Float32,
        Decode::Float64 => DataType::Float64,
        Decode::BooleanFromTiny | Decode::BooleanFromBit => DataType::Boolean,
        Decode::Date { .. } => DataType::Date32,
        Decode::DateTime { .. } => DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC"))),
        Decode::Time { .. }
        | Decode::LongDecimal
        | Decode::Text
        | Decode::Enum { .. }
        | Decode::Guid(_)
        | Decode::Null => DataType::Utf8,
        Decode::Binary | Decode::Geometry => DataType::Binary,
        Decode::Vector => DataType::List(vector_element()),
    }
}

/// The field of a vector's elements, named as Delta names it.
#[must_use]
pub fn vector_element() -> Arc<Field> {
    Arc::new(Field::new("element", DataType::Float32, true))
}

/// Whether a value of a NOT NULL column may land as null with a diagnostic (mysql-sources.md 9).
fn may_become_null(decode: Decode) -> bool {
    matches!(decode, Decode::Date { .. } | Decode::DateTime { .. } | Decode::Vector | Decode::Null)
}

fn fraction_digits_of(server: &ServerType) -> Option<u8> {
    match *server {
        ServerType::DateTime { fraction_digits }
        | ServerType::Timestamp { fraction_digits }
        | ServerType::Time { fraction_digits } => Some(fraction_digits),
        _ => None,
    }
}

/// The source's type where the landed one does not tell it.
fn told_apart_by(server: &ServerType) -> Option<&'static str> {
    match *server {
        ServerType::Bit { .. } => Some("bit"),
        ServerType::Decimal { precision, .. } if precision > DECIMAL_DIGITS_MAX => Some("decimal"),
        ServerType::DateTime { .. } => Some("datetime"),
        ServerType::Time { .. } => Some("time"),
        ServerType::Year => Some("year"),
        ServerType::Enum { .. } => Some("enum"),
        ServerType::Set => Some("set"),
        ServerType::Json => Some("json"),
        ServerType::Geometry => Some("geometry"),
        ServerType::Printed(name) => Some(name),
        _ => None,
    }
}
