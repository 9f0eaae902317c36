//! The type matrix: what a column of MySQL or MariaDB becomes in Arrow (mysql-sources.md 8).
//!
//! A column is known from discovery (`COLUMN_TYPE`) or only from the wire (views, expressions). Both ways lead to one
//! [`ServerType`], and one function, [`Landing::of`], says what is landed for it. There is no other table of types.

mod landing;
mod server;

use chrono_tz::Tz;

pub use self::landing::{Decode, Landing, vector_element};
pub use self::server::ServerType;

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

#[cfg(test)]
mod tests {
    use arrow_schema::DataType;

    use super::*;
    use crate::contract::SOURCE_NAME;

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
        let extra = Landing::of("d", &ServerType::Date, true, &raw).raw_field(|name| name == "d_raw").unwrap();
        assert_eq!(extra.name(), "d_raw_");
        assert_eq!(extra.metadata().get(SOURCE_NAME).map(String::as_str), Some("d_raw_"));
    }

    #[test]
    fn json_is_told_by_its_check() {
        assert_eq!(ServerType::declared("longtext", "longtext", true), ServerType::Json);
        assert_eq!(ServerType::declared("longtext", "longtext", false), ServerType::Text);
        let json = Landing::of("j", &ServerType::Json, true, &TypeRules::default());
        assert_eq!(json.field.metadata().get(SOURCE_TYPE).map(String::as_str), Some("json"));
    }
}
