//! What a column is on the server: from discovery, or from the wire.

use super::{DECIMAL_DIGITS_MAX, FRACTION_DIGITS_MAX};
use crate::mysql::wire::{ColumnDef, ColumnFlags, ColumnType};

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_member_of_an_enum_is_found_among_quotes_and_commas() {
        assert!(has_empty_member("enum('small','x,large','it''s','','Ünï')"));
        assert!(has_empty_member("enum('')"));
        assert!(!has_empty_member("enum('a','it''s','''','b,''c')"));
    }
}
