//! Split keys: which index cuts a table, and how its bounds are written in SQL.
//!
//! Bounds are compared by the server only, under the columns' own collations (mysql-sources.md 12). What stands here are
//! texts of keys, and numbers for the kinds of keys that are numbers in disguise, so that a middle can be named.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::mysql::catalog::quoted as quoted_identifier;
use crate::mysql::columns::{date_ordinal, decimal_ordinal, print_date_ordinal, print_decimal_ordinal};
use crate::mysql::types::ServerType;

/// One value per key column: numbers and dates as the server prints them, bytes and texts as hexadecimal digits. May be
/// shorter than the key: then it stands for everything that begins so.
///
/// Texts are digits because not every character of every character set has a place in Unicode: printed, such a character
/// is a question mark, and another key.
pub(super) type Bound = Vec<String>;

/// How many leading bytes of a binary key are looked at when a middle is named; they fit a signed 128-bit number.
const BINARY_BYTES_MAX: usize = 15;

/// What kind of values a key column holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum KeyKind {
    /// Whole numbers.
    Integer,
    /// Years: 0, then 1901 to 2155. The servers read a constant from 1 to 99 as a year from 1970 to 2069.
    Year,
    /// Decimals of this scale.
    Decimal { scale: u8 },
    /// Dates.
    Date,
    /// DATETIME and TIMESTAMP with so many fraction digits.
    DateTime { fraction_digits: u8 },
    /// Bytes; `length` where it is fixed.
    Binary { length: Option<usize> },
    /// Text under a collation.
    Text { charset: String, collation: String },
    /// Types that the server prints and orders in its own way: UUID, INET4, INET6.
    Printed,
}

impl KeyKind {
    /// The kind of a key column; none for types whose bounds the servers do not compare reliably with a literal.
    pub(super) fn of(server: &ServerType, charset: Option<&str>, collation: Option<&str>) -> Option<Self> {
        Some(match *server {
            ServerType::TinyInt { .. }
            | ServerType::SmallInt { .. }
            | ServerType::MediumInt { .. }
            | ServerType::Int { .. }
            | ServerType::BigInt { .. } => Self::Integer,
            ServerType::Year => Self::Year,
            ServerType::Decimal { scale, .. } => Self::Decimal { scale },
            ServerType::Date => Self::Date,
            ServerType::DateTime { fraction_digits } | ServerType::Timestamp { fraction_digits } => {
                Self::DateTime { fraction_digits }
            }
            ServerType::Binary { length, fixed } => {
                Self::Binary { length: fixed.then(|| usize::try_from(length).unwrap_or(usize::MAX)) }
            }
            ServerType::Text => Self::Text { charset: charset?.to_owned(), collation: collation?.to_owned() },
            ServerType::Printed(_) => Self::Printed,
            _ => return None,
        })
    }

    /// The value as a number whose order is the server's; none if it has none (text, zero dates).
    pub(super) fn ordinal(&self, value: &str) -> Option<i128> {
        match self {
            Self::Integer => value.parse().ok(),
            Self::Year => value.parse().ok().map(|year: i128| year.max(YEAR_ZERO)),
            Self::Decimal { scale } => decimal_ordinal(value, *scale),
            Self::Date => date_ordinal(value, None),
            Self::DateTime { fraction_digits } => date_ordinal(value, Some(*fraction_digits)),
            Self::Binary { .. } => {
                let digits = value.get(..value.len().min(2 * BINARY_BYTES_MAX))?;
                if digits.is_empty() {
                    return Some(0);
                }
                let missing = u32::try_from(BINARY_BYTES_MAX - digits.len() / 2).ok()?;
                i128::from_str_radix(digits, 16).ok()?.checked_shl(8 * missing)
            }
            Self::Text { .. } | Self::Printed => None,
        }
    }

    /// The inverse of [`Self::ordinal`].
    pub(super) fn value(&self, ordinal: i128) -> Option<String> {
        match self {
            Self::Integer => Some(ordinal.to_string()),
            Self::Year if ordinal == YEAR_ZERO => Some("0".to_owned()),
            Self::Year => (YEAR_ZERO..=YEAR_MAX).contains(&ordinal).then(|| ordinal.to_string()),
            Self::Decimal { scale } => Some(print_decimal_ordinal(ordinal, *scale)),
            Self::Date => print_date_ordinal(ordinal, None),
            Self::DateTime { fraction_digits } => print_date_ordinal(ordinal, Some(*fraction_digits)),
            Self::Binary { length } => {
                let mut digits = format!("{ordinal:0width$X}", width = 2 * BINARY_BYTES_MAX);
                if let Some(length) = length {
                    digits.truncate(length.saturating_mul(2));
                    digits.extend(std::iter::repeat_n('0', length.saturating_mul(2).saturating_sub(digits.len())));
                }
                Some(digits)
            }
            Self::Text { .. } | Self::Printed => None,
        }
    }

    /// The value as an SQL literal that the column can be compared with by its index.
    fn literal(&self, value: &str) -> String {
        match self {
            Self::Integer | Self::Year | Self::Decimal { .. } if is_number(value) => value.to_owned(),
            Self::Binary { .. } if is_hexadecimal(value) => format!("X'{value}'"),
            Self::Text { charset, collation } if is_hexadecimal(value) => {
                format!("_{charset} X'{value}' COLLATE {collation}")
            }
            _ => quoted(value),
        }
    }

    /// The column as it is selected when its values become bounds.
    fn selected(&self, column: &str) -> String {
        match self {
            Self::Binary { .. } | Self::Text { .. } => format!("HEX({column})"),
            _ => column.to_owned(),
        }
    }

    /// The digits of each character of a text; none where characters are not told apart without a table.
    pub(super) fn characters<'a>(&self, value: &'a str) -> Option<Vec<&'a str>> {
        let Self::Text { charset, .. } = self else { return None };
        let is_utf8 = UTF8.contains(&charset.as_str());
        if !is_utf8 && !SINGLE_BYTE.contains(&charset.as_str()) {
            return None;
        }
        let mut characters = Vec::with_capacity(value.len() / 2);
        let mut rest = value;
        while !rest.is_empty() {
            let first = u8::from_str_radix(rest.get(..2)?, 16).ok()?;
            let bytes = if is_utf8 { first.leading_ones().max(1) as usize } else { 1 };
            let (character, tail) = rest.split_at_checked(2 * bytes)?;
            characters.push(character);
            rest = tail;
        }
        Some(characters)
    }
}

/// The ordinal of the year 0, which comes right before 1901.
const YEAR_ZERO: i128 = 1900;
/// The last year of the type.
const YEAR_MAX: i128 = 2155;
/// UTF-8 under all its names.
const UTF8: [&str; 3] = ["utf8mb4", "utf8mb3", "utf8"];
/// Character sets in which every character is one byte, and ASCII what it is everywhere.
const SINGLE_BYTE: [&str; 24] = [
    "armscii8", "ascii", "cp1250", "cp1251", "cp1256", "cp1257", "cp850", "cp852", "cp866", "dec8", "geostd8", "greek",
    "hebrew", "hp8", "keybcs2", "koi8r", "koi8u", "latin1", "latin2", "latin5", "latin7", "macce", "macroman",
    "tis620",
];

fn is_hexadecimal(value: &str) -> bool {
    value.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_number(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'.'))
}

/// A string literal under our `sql_mode`, in which a backslash escapes.
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "''"))
}

/// A column of a split key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KeyColumn {
    pub(super) name: String,
    pub(super) kind: KeyKind,
}

/// An index that cuts a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SplitKey {
    /// The table, quoted with its schema.
    pub(super) table: String,
    /// The index's name.
    pub(super) index: String,
    /// Its columns in order; at least one.
    pub(super) columns: Vec<KeyColumn>,
}

impl SplitKey {
    /// The first column.
    pub(super) fn first(&self) -> Option<&KeyColumn> {
        self.columns.first()
    }

    /// `table FORCE INDEX (index)`: without it a range that holds much of the table would be read as the whole table.
    pub(super) fn forced_table(&self) -> String {
        format!("{} FORCE INDEX ({})", self.table, quoted_identifier(&self.index))
    }

    /// The condition that a row lies in `[lower, upper)`; none when both are open.
    pub(super) fn condition(&self, lower: Option<&[String]>, upper: Option<&[String]>) -> Option<String> {
        let lower = lower.map(|bound| self.compare(bound, Side::Lower));
        let upper = upper.map(|bound| self.compare(bound, Side::Upper));
        match (lower, upper) {
            (Some(lower), Some(upper)) => Some(format!("{lower} AND {upper}")),
            (one, other) => one.or(other),
        }
    }

    /// Written out, since a row constructor is not used as a range; the redundant first comparison is what the index
    /// is searched with (mysql-sources.md 12).
    fn compare(&self, bound: &[String], side: Side) -> String {
        let columns: Vec<(String, String)> = self
            .columns
            .iter()
            .zip(bound)
            .map(|(column, value)| (quoted_identifier(&column.name), column.kind.literal(value)))
            .collect();
        let (strict, last) = match side {
            Side::Lower => (">", ">="),
            Side::Upper => ("<", "<"),
        };
        let mut nested = String::new();
        for (place, (name, value)) in columns.iter().enumerate().rev() {
            nested = match nested.is_empty() {
                true => format!("{name} {last} {value}"),
                false => format!("({name} {strict} {value} OR ({name} = {value} AND {nested}))"),
            };
            if place == 0 && columns.len() > 1 {
                let _ = write!(nested, " AND {name} {strict}= {value}");
            }
        }
        nested
    }

    /// The smallest and the largest value of the first column.
    pub(super) fn range_sql(&self) -> Option<String> {
        let first = self.first()?;
        let name = quoted_identifier(&first.name);
        let (min, max) = (first.kind.selected(&format!("MIN({name})")), first.kind.selected(&format!("MAX({name})")));
        Some(format!("SELECT {min}, {max} FROM {}", self.table))
    }

    /// Asks the optimizer how many rows lie in a range: two dives into the index, no scan.
    ///
    /// MySQL 8 does not dive into an index that it is forced to use, and guesses one row; there the index is only named.
    /// It may also be set to explain as a tree, which has no rows to read.
    pub(super) fn estimate_sql(&self, is_mariadb: bool, lower: &[String], upper: Option<&[String]>) -> String {
        let condition = self.condition(Some(lower), upper).unwrap_or_default();
        let index = quoted_identifier(&self.index);
        let (explain, hint) = if is_mariadb { ("EXPLAIN", "FORCE") } else { ("EXPLAIN FORMAT=TRADITIONAL", "USE") };
        format!("{explain} SELECT 1 FROM {} {hint} INDEX ({index}) WHERE {condition}", self.table)
    }

    /// The key that stands so many rows behind a bound, or behind the first row.
    pub(super) fn step_sql(&self, from: Option<&[String]>, rows: u64) -> String {
        let names: Vec<String> = self.columns.iter().map(|column| quoted_identifier(&column.name)).collect();
        let selected: Vec<String> =
            self.columns.iter().zip(&names).map(|(column, name)| column.kind.selected(name)).collect();
        let condition = self.condition(from, None).map(|condition| format!(" WHERE {condition}")).unwrap_or_default();
        format!(
            "SELECT {} FROM {}{condition} ORDER BY {} LIMIT 1 OFFSET {rows}",
            selected.join(", "),
            self.forced_table(),
            names.join(", ")
        )
    }

    /// Lists those of the values that are there, in the server's order; what its collation takes for equal comes once.
    pub(super) fn ordered_sql(&self, values: &[String]) -> Option<String> {
        let first = self.first()?;
        let name = quoted_identifier(&first.name);
        let literals: Vec<String> = values.iter().map(|value| first.kind.literal(value)).collect();
        Some(format!(
            "SELECT {} FROM {} WHERE {name} IN ({}) GROUP BY {name} ORDER BY {name}",
            first.kind.selected(&format!("MIN({name})")),
            self.forced_table(),
            literals.join(", ")
        ))
    }

    /// Looks for a row that lies below one bound and not below the next one, which no row does if bounds ascend. Of
    /// ascending bounds the optimizer sees as much, and nothing is read; none if there are no two bounds.
    pub(super) fn crossing_sql(&self, bounds: &[Bound]) -> Option<String> {
        let between = |pair: &[Bound]| match pair {
            [bound, next] => self.condition(Some(next), Some(bound)).map(|condition| format!("({condition})")),
            _ => None,
        };
        let crossings: Vec<String> = bounds.windows(2).filter_map(between).collect();
        let crossings = (!crossings.is_empty()).then(|| crossings.join(" OR "))?;
        Some(format!("SELECT 1 FROM {} WHERE {crossings} LIMIT 1", self.forced_table()))
    }

    /// Counts the rows by the index, at most so many.
    pub(super) fn count_sql(&self, rows_max: u64) -> String {
        format!("SELECT COUNT(*) FROM (SELECT 1 FROM {} LIMIT {rows_max}) AS some_rows", self.forced_table())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Lower,
    Upper,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(columns: &[(&str, KeyKind)]) -> SplitKey {
        let columns = columns.iter().map(|(name, kind)| KeyColumn { name: (*name).to_owned(), kind: kind.clone() });
        SplitKey { table: "`shop`.`orders`".to_owned(), index: "PRIMARY".to_owned(), columns: columns.collect() }
    }

    fn text(charset: &str, collation: &str) -> KeyKind {
        KeyKind::Text { charset: charset.to_owned(), collation: collation.to_owned() }
    }

    fn bound(values: &[&str]) -> Bound {
        values.iter().map(|value| (*value).to_owned()).collect()
    }

    #[test]
    fn one_column_is_compared_half_open() {
        let key = key(&[("id", KeyKind::Integer)]);
        insta::assert_snapshot!(
            key.condition(Some(&bound(&["-5"])), Some(&bound(&["18446744073709551615"]))).unwrap(),
            @"`id` >= -5 AND `id` < 18446744073709551615"
        );
        assert_eq!(key.condition(None, None), None);
    }

    #[test]
    fn composite_keys_are_written_out() {
        let key = key(&[("a", KeyKind::Integer), ("b", text("utf8mb4", "utf8mb4_unicode_ci")), ("c", KeyKind::Date)]);
        insta::assert_snapshot!(
            key.condition(Some(&bound(&["1", "6974", "2024-01-02"])), None).unwrap(),
            @"(`a` > 1 OR (`a` = 1 AND (`b` > _utf8mb4 X'6974' COLLATE utf8mb4_unicode_ci OR (`b` = _utf8mb4 X'6974' COLLATE utf8mb4_unicode_ci AND `c` >= '2024-01-02')))) AND `a` >= 1"
        );
        insta::assert_snapshot!(
            key.condition(None, Some(&bound(&["1", "78", "2024-01-02"]))).unwrap(),
            @"(`a` < 1 OR (`a` = 1 AND (`b` < _utf8mb4 X'78' COLLATE utf8mb4_unicode_ci OR (`b` = _utf8mb4 X'78' COLLATE utf8mb4_unicode_ci AND `c` < '2024-01-02')))) AND `a` <= 1"
        );
        insta::assert_snapshot!(key.condition(Some(&bound(&["7"])), None).unwrap(), @"`a` >= 7");
    }

    #[test]
    fn literals_cannot_leave_their_quotes_and_carry_the_columns_collation() {
        let japanese = text("sjis", "sjis_japanese_ci");
        assert_eq!(japanese.literal("F040"), "_sjis X'F040' COLLATE sjis_japanese_ci");
        assert_eq!(japanese.literal(r"\' OR 1"), r"'\\'' OR 1'");
        assert_eq!(KeyKind::Binary { length: None }.literal("00FF"), "X'00FF'");
        assert_eq!(KeyKind::Integer.literal("1 OR 1"), "'1 OR 1'");
    }

    #[test]
    fn the_statements_that_are_sent() {
        let key = key(&[("k", KeyKind::Binary { length: Some(16) }), ("n", KeyKind::Integer)]);
        insta::assert_snapshot!(key.range_sql().unwrap(), @"SELECT HEX(MIN(`k`)), HEX(MAX(`k`)) FROM `shop`.`orders`");
        insta::assert_snapshot!(
            key.estimate_sql(true, &bound(&["00"]), Some(&bound(&["80"]))),
            @"EXPLAIN SELECT 1 FROM `shop`.`orders` FORCE INDEX (`PRIMARY`) WHERE `k` >= X'00' AND `k` < X'80'"
        );
        insta::assert_snapshot!(
            key.estimate_sql(false, &bound(&["00"]), None),
            @"EXPLAIN FORMAT=TRADITIONAL SELECT 1 FROM `shop`.`orders` USE INDEX (`PRIMARY`) WHERE `k` >= X'00'"
        );
        insta::assert_snapshot!(
            key.step_sql(Some(&bound(&["80"])), 100),
            @"SELECT HEX(`k`), `n` FROM `shop`.`orders` FORCE INDEX (`PRIMARY`) WHERE `k` >= X'80' ORDER BY `k`, `n` LIMIT 1 OFFSET 100"
        );
        insta::assert_snapshot!(
            key.ordered_sql(&bound(&["00", "80"])).unwrap(),
            @"SELECT HEX(MIN(`k`)) FROM `shop`.`orders` FORCE INDEX (`PRIMARY`) WHERE `k` IN (X'00', X'80') GROUP BY `k` ORDER BY `k`"
        );
        insta::assert_snapshot!(
            key.crossing_sql(&[bound(&["00"]), bound(&["80"]), bound(&["90"])]).unwrap(),
            @"SELECT 1 FROM `shop`.`orders` FORCE INDEX (`PRIMARY`) WHERE (`k` >= X'80' AND `k` < X'00') OR (`k` >= X'90' AND `k` < X'80') LIMIT 1"
        );
        assert_eq!(key.crossing_sql(&[bound(&["00"])]), None);
        insta::assert_snapshot!(
            key.count_sql(1000),
            @"SELECT COUNT(*) FROM (SELECT 1 FROM `shop`.`orders` FORCE INDEX (`PRIMARY`) LIMIT 1000) AS some_rows"
        );
    }

    #[test]
    fn numbers_in_disguise_find_their_way_back() {
        for (kind, value) in [
            (KeyKind::Integer, "-9223372036854775808"),
            (KeyKind::Integer, "18446744073709551615"),
            (KeyKind::Decimal { scale: 10 }, "-1.0000000001"),
            (KeyKind::Year, "1901"),
            (KeyKind::Year, "2155"),
            (KeyKind::Date, "2024-02-29"),
            (KeyKind::DateTime { fraction_digits: 6 }, "2024-12-31 23:59:59.999999"),
            (KeyKind::DateTime { fraction_digits: 0 }, "1969-12-31 23:59:59"),
            (KeyKind::Binary { length: Some(16) }, "0123456789ABCDEF0123456789ABCD00"),
            (KeyKind::Binary { length: None }, "0123456789ABCDEF0123456789ABCD"),
        ] {
            let ordinal = kind.ordinal(value).unwrap();
            assert_eq!(kind.value(ordinal).as_deref(), Some(value), "{kind:?}");
        }
        assert_eq!(KeyKind::Year.ordinal("0000"), Some(YEAR_ZERO));
        assert_eq!(KeyKind::Year.value(YEAR_ZERO).as_deref(), Some("0"));
        assert_eq!((KeyKind::Year.value(YEAR_ZERO - 1), KeyKind::Year.value(YEAR_MAX + 1)), (None, None));
        assert_eq!(KeyKind::Date.ordinal("0000-00-00"), None);
        assert_eq!(KeyKind::Binary { length: None }.ordinal(""), Some(0));
    }

    #[test]
    fn characters_are_told_apart_where_that_needs_no_table() {
        assert_eq!(text("utf8mb4", "c").characters("61C3A9F09F9880"), Some(vec!["61", "C3A9", "F09F9880"]));
        assert_eq!(text("koi8r", "c").characters("61C3"), Some(vec!["61", "C3"]));
        assert_eq!(text("sjis", "c").characters("F040"), None);
        assert_eq!(text("utf8mb4", "c").characters("C3"), None, "half a character");
    }
}
