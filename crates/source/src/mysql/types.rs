//! The type matrix: what a column of MySQL or MariaDB becomes in Arrow (mysql-sources.md 8).
//!
//! A column is known from discovery (`COLUMN_TYPE`) or only from the wire (views, expressions). Both ways lead to one
//! [`ServerType`], and one function, [`Landing::of`], says what is landed for it. There is no other table of types.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, TimeUnit};
use chrono_tz::Tz;

use super::wire::{ColumnDef, ColumnFlags, ColumnType};
use crate::contract::SOURCE_NAME;

/// The key of a field's metadata that holds how many fraction digits the source column keeps.
pub const FRACTION_DIGITS: &str = "headwaters.fractionDigits";
/// The key of a field's metadata that holds the source's type, where the landed type does not tell it (`json`, `enum`).
pub const SOURCE_TYPE: &str = "headwaters.sourceType";
/// What is appended to a date column's name for the raw texts of [`ZeroDates::Raw`] (mysql-sources.md 9).
pub const RAW_SUFFIX: &str = "_raw";
/// The most digits that Arrow, Parquet and Delta decimals hold.
pub const DECIMAL_DIGITS_MAX: u8 = 38;
/// The most fraction digits of a second that either server keeps.
pub const FRACTION_DIGITS_MAX: u8 = 6;

/// How the connection wants values to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TypeRules {
    /// `TINYINT(1)` is a boolean.
    pub tiny_as_boolean: bool,
    /// What a date that does not exist becomes.
    pub zero_dates: ZeroDates,
    /// The zone of the wall clocks in `DATETIME` columns; none is UTC.
    pub source_time_zone: Option<Tz>,
    /// How `BINARY(16)` columns hold GUIDs, if they do.
    pub guids: Option<GuidLayout>,
}

impl Default for TypeRules {
    fn default() -> Self {
        Self { tiny_as_boolean: true, zero_dates: ZeroDates::Null, source_time_zone: None, guids: None }
    }
}

/// What a zero or invalid date becomes; each way it is counted as a diagnostic (mysql-sources.md 9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ZeroDates {
    /// Null.
    Null,
    /// Null, and the raw text in an extra column.
    Raw,
    /// 0001-01-01.
    FirstDay,
}

/// In which order `BINARY(16)` holds the bytes of a GUID (mysql-sources.md 1.2, GuidFormat).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuidLayout {
    /// As printed.
    Binary16,
    /// As `UUID_TO_BIN(x, 1)` stores it: the time's halves are swapped.
    TimeSwapBinary16,
    /// As .NET's `Guid.ToByteArray` writes it; `OldGuids` too.
    LittleEndianBinary16,
}

/// The type of a column as far as landing needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerType {
    /// TINYINT.
    TinyInt {
        /// Whether it has no sign.
        unsigned: bool,
        /// Whether it has a sign and the display width 1, which is how BOOL is stored.
        boolean: bool,
    },
    /// SMALLINT.
    SmallInt {
        /// Whether it has no sign.
        unsigned: bool,
    },
    /// MEDIUMINT; four bytes on the wire.
    MediumInt {
        /// Whether it has no sign.
        unsigned: bool,
    },
    /// INT.
    Int {
        /// Whether it has no sign.
        unsigned: bool,
    },
    /// BIGINT.
    BigInt {
        /// Whether it has no sign.
        unsigned: bool,
    },
    /// DECIMAL.
    Decimal {
        /// All digits.
        precision: u8,
        /// Digits after the point.
        scale: u8,
    },
    /// FLOAT.
    Float,
    /// DOUBLE.
    Double,
    /// BIT.
    Bit {
        /// Its width.
        bits: u8,
    },
    /// YEAR.
    Year,
    /// DATE.
    Date,
    /// DATETIME, a wall clock.
    DateTime {
        /// Digits after the second.
        fraction_digits: u8,
    },
    /// TIMESTAMP, a moment.
    Timestamp {
        /// Digits after the second.
        fraction_digits: u8,
    },
    /// TIME, a duration.
    Time {
        /// Digits after the second.
        fraction_digits: u8,
    },
    /// CHAR, VARCHAR and the TEXT family in any character set.
    Text,
    /// BINARY, VARBINARY and the BLOB family.
    Binary {
        /// The declared length in bytes.
        length: u32,
        /// Whether every value has that length.
        fixed: bool,
    },
    /// ENUM.
    Enum {
        /// Whether `''` is one of its members, so that the text alone does not tell the error value.
        empty_member: bool,
    },
    /// SET.
    Set,
    /// JSON, on MariaDB LONGTEXT with a check.
    Json,
    /// GEOMETRY and its subtypes.
    Geometry,
    /// VECTOR.
    Vector,
    /// What MariaDB sends as text, by its name: UUID, INET4, INET6.
    Printed(&'static str),
    /// An expression that is always NULL.
    Null,
    /// A type that this build does not know.
    Unknown {
        /// Whether its values are bytes without a character set.
        binary: bool,
    },
}

impl ServerType {
    /// Reads a column's type from discovery: `DATA_TYPE`, `COLUMN_TYPE`, and whether a check makes it JSON.
    #[must_use]
    pub fn declared(data_type: &str, column_type: &str, json_check: bool) -> Self {
        let data_type = data_type.to_ascii_lowercase();
        let declared = Declared::parse(column_type);
        let unsigned = declared.unsigned;
        match data_type.as_str() {
            "tinyint" => Self::TinyInt { unsigned, boolean: !unsigned && declared.first == Some(1) },
            "smallint" => Self::SmallInt { unsigned },
            "mediumint" => Self::MediumInt { unsigned },
            "int" | "integer" => Self::Int { unsigned },
            "bigint" => Self::BigInt { unsigned },
            "decimal" | "numeric" => Self::Decimal { precision: declared.first_u8(10), scale: declared.second_u8(0) },
            "float" => Self::Float,
            "double" | "real" => Self::Double,
            "bit" => Self::Bit { bits: declared.first_u8(1) },
            "year" => Self::Year,
            "date" => Self::Date,
            "datetime" => Self::DateTime { fraction_digits: declared.first_u8(0) },
            "timestamp" => Self::Timestamp { fraction_digits: declared.first_u8(0) },
            "time" => Self::Time { fraction_digits: declared.first_u8(0) },
            "longtext" if json_check => Self::Json,
            "char" | "varchar" | "nchar" | "nvarchar" | "tinytext" | "text" | "mediumtext" | "longtext" => Self::Text,
            "binary" => Self::Binary { length: declared.first.unwrap_or(1), fixed: true },
            "varbinary" => Self::Binary { length: declared.first.unwrap_or(0), fixed: false },
            "tinyblob" | "blob" | "mediumblob" | "longblob" => Self::Binary { length: u32::MAX, fixed: false },
            "enum" => Self::Enum { empty_member: has_empty_member(column_type) },
            "set" => Self::Set,
            "json" => Self::Json,
            "vector" => Self::Vector,
            "uuid" => Self::Printed("uuid"),
            "inet4" => Self::Printed("inet4"),
            "inet6" => Self::Printed("inet6"),
            name if is_geometry(name) => Self::Geometry,
            // What the wire says of an unknown type decides between text and bytes; discovery cannot tell.
            _ => Self::Unknown { binary: false },
        }
    }

    /// Reads a column's type from the definition of a result's column: for views and expressions, where discovery may
    /// be wrong or silent (mysql-sources.md 10.1).
    #[must_use]
    pub fn on_wire(column: &ColumnDef) -> Self {
        if column.extended_format.as_deref() == Some("json") {
            return Self::Json;
        }
        match column.extended_type.as_deref() {
            Some("uuid") => return Self::Printed("uuid"),
            Some("inet4") => return Self::Printed("inet4"),
            Some("inet6") => return Self::Printed("inet6"),
            Some("vector") => return Self::Vector,
            _ => {}
        }
        let unsigned = column.is_unsigned();
        let fraction_digits = if column.decimals > FRACTION_DIGITS_MAX { FRACTION_DIGITS_MAX } else { column.decimals };
        match column.column_type {
            ColumnType::MYSQL_TYPE_TINY => Self::TinyInt { unsigned, boolean: !unsigned && column.length == 1 },
            ColumnType::MYSQL_TYPE_SHORT => Self::SmallInt { unsigned },
            ColumnType::MYSQL_TYPE_INT24 => Self::MediumInt { unsigned },
            ColumnType::MYSQL_TYPE_LONG => Self::Int { unsigned },
            ColumnType::MYSQL_TYPE_LONGLONG => Self::BigInt { unsigned },
            ColumnType::MYSQL_TYPE_DECIMAL | ColumnType::MYSQL_TYPE_NEWDECIMAL => decimal_on_wire(column),
            ColumnType::MYSQL_TYPE_FLOAT => Self::Float,
            ColumnType::MYSQL_TYPE_DOUBLE => Self::Double,
            ColumnType::MYSQL_TYPE_BIT => Self::Bit { bits: u8::try_from(column.length).unwrap_or(64) },
            ColumnType::MYSQL_TYPE_YEAR => Self::Year,
            ColumnType::MYSQL_TYPE_DATE | ColumnType::MYSQL_TYPE_NEWDATE => Self::Date,
            ColumnType::MYSQL_TYPE_DATETIME | ColumnType::MYSQL_TYPE_DATETIME2 => Self::DateTime { fraction_digits },
            ColumnType::MYSQL_TYPE_TIMESTAMP | ColumnType::MYSQL_TYPE_TIMESTAMP2 => Self::Timestamp { fraction_digits },
            ColumnType::MYSQL_TYPE_TIME | ColumnType::MYSQL_TYPE_TIME2 => Self::Time { fraction_digits },
            ColumnType::MYSQL_TYPE_JSON => Self::Json,
            ColumnType::MYSQL_TYPE_GEOMETRY => Self::Geometry,
            ColumnType::MYSQL_TYPE_VECTOR => Self::Vector,
            ColumnType::MYSQL_TYPE_NULL => Self::Null,
            _ if column.flags.contains(ColumnFlags::SET_FLAG) => Self::Set,
            // Without its members the error value cannot be told from '': it is text like any other.
            _ if column.flags.contains(ColumnFlags::ENUM_FLAG) => Self::Text,
            ColumnType::MYSQL_TYPE_STRING if column.is_binary() => Self::Binary { length: column.length, fixed: true },
            ColumnType::MYSQL_TYPE_VARCHAR
            | ColumnType::MYSQL_TYPE_VAR_STRING
            | ColumnType::MYSQL_TYPE_STRING
            | ColumnType::MYSQL_TYPE_ENUM
            | ColumnType::MYSQL_TYPE_SET
            | ColumnType::MYSQL_TYPE_TINY_BLOB
            | ColumnType::MYSQL_TYPE_MEDIUM_BLOB
            | ColumnType::MYSQL_TYPE_LONG_BLOB
            | ColumnType::MYSQL_TYPE_BLOB => match column.is_binary() {
                true => Self::Binary { length: column.length, fixed: false },
                false => Self::Text,
            },
            _ => Self::Unknown { binary: column.is_binary() },
        }
    }

    /// Whether a build that knows this `DATA_TYPE` has a line of its own for it.
    #[must_use]
    pub fn is_known(data_type: &str) -> bool {
        !matches!(Self::declared(data_type, data_type, false), Self::Unknown { .. })
    }
}

/// The length on the wire counts the sign of a signed number and the point of a broken one.
fn decimal_on_wire(column: &ColumnDef) -> ServerType {
    let scale = column.decimals.min(DECIMAL_DIGITS_MAX);
    let signs = u32::from(!column.is_unsigned()) + u32::from(scale > 0);
    let precision = u8::try_from(column.length.saturating_sub(signs)).unwrap_or(u8::MAX);
    ServerType::Decimal { precision: precision.max(scale), scale }
}

fn is_geometry(name: &str) -> bool {
    const NAMES: [&str; 9] = [
        "geometry",
        "point",
        "linestring",
        "polygon",
        "multipoint",
        "multilinestring",
        "multipolygon",
        "geometrycollection",
        "geomcollection",
    ];
    NAMES.contains(&name)
}

/// What stands in a `COLUMN_TYPE`: `decimal(10,2) unsigned` and the like.
struct Declared {
    first: Option<u32>,
    second: Option<u32>,
    unsigned: bool,
}

impl Declared {
    fn parse(column_type: &str) -> Self {
        let (arguments, tail) = match column_type.split_once('(') {
            Some((_, rest)) => rest.rsplit_once(')').unwrap_or((rest, "")),
            None => ("", column_type),
        };
        let mut numbers = arguments.split(',').map(|number| number.trim().parse().ok());
        let tail = tail.to_ascii_lowercase();
        Self {
            first: numbers.next().flatten(),
            second: numbers.next().flatten(),
            unsigned: tail.contains("unsigned") || tail.contains("zerofill"),
        }
    }

    fn first_u8(&self, default: u8) -> u8 {
        self.first.map_or(default, |number| u8::try_from(number).unwrap_or(u8::MAX))
    }

    fn second_u8(&self, default: u8) -> u8 {
        self.second.map_or(default, |number| u8::try_from(number).unwrap_or(u8::MAX))
    }
}

/// Whether `''` is a member in `enum('a','','it''s, here')`.
fn has_empty_member(column_type: &str) -> bool {
    let Some((_, members)) = column_type.split_once('(') else { return false };
    let mut rest = members.bytes().peekable();
    while let Some(byte) = rest.next() {
        if byte != b'\'' {
            continue;
        }
        let mut length = 0_usize;
        while let Some(inner) = rest.next() {
            if inner == b'\'' && rest.next_if_eq(&b'\'').is_none() {
                break;
            }
            length += 1;
        }
        if length == 0 {
            return true;
        }
    }
    false
}

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

    /// The extra field for raw texts of dates that do not exist, if the rules ask for one.
    #[must_use]
    pub fn raw_field(&self) -> Option<Field> {
        let (Decode::Date { zero_dates } | Decode::DateTime { zero_dates, .. }) = self.decode else { return None };
        (zero_dates == ZeroDates::Raw).then(|| {
            let name = format!("{}{RAW_SUFFIX}", self.field.name());
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Every `DATA_TYPE` that MySQL 5.7 to 9.7 and MariaDB 10.5 to 12 report (mysql-sources.md 8).
    const DATA_TYPES: [&str; 43] = [
        "tinyint",
        "smallint",
        "mediumint",
        "int",
        "bigint",
        "decimal",
        "float",
        "double",
        "bit",
        "year",
        "date",
        "datetime",
        "timestamp",
        "time",
        "char",
        "varchar",
        "tinytext",
        "text",
        "mediumtext",
        "longtext",
        "binary",
        "varbinary",
        "tinyblob",
        "blob",
        "mediumblob",
        "longblob",
        "enum",
        "set",
        "json",
        "geometry",
        "point",
        "linestring",
        "polygon",
        "multipoint",
        "multilinestring",
        "multipolygon",
        "geometrycollection",
        "geomcollection",
        "vector",
        "uuid",
        "inet4",
        "inet6",
        "numeric",
    ];

    fn landed(data_type: &str, column_type: &str) -> DataType {
        let server = ServerType::declared(data_type, column_type, false);
        Landing::of("c", &server, true, &TypeRules::default()).field.data_type().clone()
    }

    #[test]
    fn every_data_type_has_a_line() {
        for data_type in DATA_TYPES {
            assert!(ServerType::is_known(data_type), "{data_type} has no line in the type matrix");
        }
        assert!(!ServerType::is_known("xmltype"));
    }

    #[test]
    fn numbers_land_in_the_type_that_holds_all_of_them() {
        assert_eq!(landed("tinyint", "tinyint(4)"), DataType::Int8);
        assert_eq!(landed("tinyint", "tinyint"), DataType::Int8);
        assert_eq!(landed("tinyint", "tinyint(1)"), DataType::Boolean);
        assert_eq!(landed("tinyint", "tinyint(1) unsigned"), DataType::Int16);
        assert_eq!(landed("smallint", "smallint(3) unsigned zerofill"), DataType::Int32);
        assert_eq!(landed("mediumint", "mediumint(8) unsigned"), DataType::Int32);
        assert_eq!(landed("int", "int(10) unsigned"), DataType::Int64);
        assert_eq!(landed("bigint", "bigint(20) unsigned"), DataType::Decimal128(20, 0));
        assert_eq!(landed("decimal", "decimal(38,30)"), DataType::Decimal128(38, 30));
        assert_eq!(landed("decimal", "decimal(39,0)"), DataType::Utf8);
        assert_eq!(landed("bit", "bit(1)"), DataType::Boolean);
        assert_eq!(landed("bit", "bit(63)"), DataType::Int64);
        assert_eq!(landed("bit", "bit(64)"), DataType::Decimal128(20, 0));
        assert_eq!(landed("year", "year(4)"), DataType::Int16);
    }

    #[test]
    fn a_date_is_nullable_even_where_the_source_is_not() {
        let date = Landing::of("d", &ServerType::Date, false, &TypeRules::default());
        assert!(date.field.is_nullable());
        assert!(
            !Landing::of("i", &ServerType::Int { unsigned: false }, false, &TypeRules::default()).field.is_nullable()
        );
    }

    #[test]
    fn the_rules_of_the_connection_change_what_is_landed() {
        let rules = TypeRules { tiny_as_boolean: false, guids: Some(GuidLayout::Binary16), ..TypeRules::default() };
        let tiny = ServerType::declared("tinyint", "tinyint(1)", false);
        assert_eq!(Landing::of("t", &tiny, true, &rules).field.data_type(), &DataType::Int8);
        let guid = ServerType::declared("binary", "binary(16)", false);
        assert_eq!(Landing::of("g", &guid, true, &rules).field.data_type(), &DataType::Utf8);
        let raw = TypeRules { zero_dates: ZeroDates::Raw, ..TypeRules::default() };
        let extra = Landing::of("d", &ServerType::Date, true, &raw).raw_field().unwrap();
        assert_eq!(extra.name(), "d_raw");
    }

    #[test]
    fn an_empty_member_of_an_enum_is_found_among_quotes_and_commas() {
        assert!(has_empty_member("enum('small','x,large','it''s','','Ünï')"));
        assert!(has_empty_member("enum('')"));
        assert!(!has_empty_member("enum('a','it''s','''','b,''c')"));
    }

    #[test]
    fn json_is_told_by_its_check() {
        assert_eq!(ServerType::declared("longtext", "longtext", true), ServerType::Json);
        assert_eq!(ServerType::declared("longtext", "longtext", false), ServerType::Text);
        let json = Landing::of("j", &ServerType::Json, true, &TypeRules::default());
        assert_eq!(json.field.metadata().get(SOURCE_TYPE).map(String::as_str), Some("json"));
    }
}
