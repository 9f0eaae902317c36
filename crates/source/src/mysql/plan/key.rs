//! Split keys: which index cuts a table, and how its bounds are written in SQL.
//!
//! Bounds are compared by the server only, under the columns' own collations (mysql-sources.md 12). What stands here are
//! texts of keys, and numbers for the kinds of keys that are numbers in disguise, so that a middle can be named.

use std::fmt::Write as _;

use crate::mysql::catalog::quoted as quoted_identifier;
use crate::mysql::columns::{date_ordinal, decimal_ordinal, print_date_ordinal, print_decimal_ordinal};
use crate::mysql::types::ServerType;

/// One value per key column, as text; bytes as hexadecimal digits. May be shorter than the key: then it stands for
/// everything that begins so.
pub(super) type Bound = Vec<String>;

/// How many leading bytes of a binary key are looked at when a middle is named; they fit a signed 128-bit number.
const BINARY_BYTES_MAX: usize = 15;

/// What kind of values a key column holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum KeyKind {
    /// Whole numbers, YEAR too.
    Integer,
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
            | ServerType::BigInt { .. }
            | ServerType::Year => Self::Integer,
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
            Self::Integer | Self::Decimal { .. } if is_number(value) => value.to_owned(),
            Self::Binary { .. } if value.bytes().all(|byte| byte.is_ascii_hexdigit()) => format!("X'{value}'"),
            Self::Text { charset, collation } if charset == "utf8mb4" => {
                format!("_utf8mb4{} COLLATE {collation}", quoted(value))
            }
            Self::Text { charset, collation } => {
                format!("CONVERT(_utf8mb4{} USING {charset}) COLLATE {collation}", quoted(value))
            }
            _ => quoted(value),
        }
    }

    /// The column as it is selected when its values become bounds.
    fn selected(&self, column: &str) -> String {
        match self {
            Self::Binary { .. } => format!("HEX({column})"),
            _ => column.to_owned(),
        }
    }
}

fn is_number(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'.'))
}

/// A string literal under our `sql_mode`, in which a backslash escapes.
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "''"))
}

/// A column of a split key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyColumn {
    pub(super) name: String,
    pub(super) kind: KeyKind,
}

/// An index that cuts a table.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    pub(super) fn estimate_sql(&self, is_mariadb: bool, lower: &[String], upper: &[String]) -> String {
        let condition = self.condition(Some(lower), Some(upper)).unwrap_or_default();
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
        let literals = literals.join(", ");
        Some(format!(
            "SELECT DISTINCT {name} FROM {} WHERE {name} IN ({literals}) ORDER BY {name}",
            self.forced_table()
        ))
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
            key.condition(Some(&bound(&["1", "it's", "2024-01-02"])), None).unwrap(),
            @"(`a` > 1 OR (`a` = 1 AND (`b` > _utf8mb4'it''s' COLLATE utf8mb4_unicode_ci OR (`b` = _utf8mb4'it''s' COLLATE utf8mb4_unicode_ci AND `c` >= '2024-01-02')))) AND `a` >= 1"
        );
        insta::assert_snapshot!(
            key.condition(None, Some(&bound(&["1", "x", "2024-01-02"]))).unwrap(),
            @"(`a` < 1 OR (`a` = 1 AND (`b` < _utf8mb4'x' COLLATE utf8mb4_unicode_ci OR (`b` = _utf8mb4'x' COLLATE utf8mb4_unicode_ci AND `c` < '2024-01-02')))) AND `a` <= 1"
        );
        insta::assert_snapshot!(key.condition(Some(&bound(&["7"])), None).unwrap(), @"`a` >= 7");
    }

    #[test]
    fn literals_cannot_leave_their_quotes_and_carry_the_columns_collation() {
        let latin = text("latin1", "latin1_swedish_ci");
        insta::assert_snapshot!(
            latin.literal(r"é\' OR 1=1 -- "),
            @r"CONVERT(_utf8mb4'é\\'' OR 1=1 -- ' USING latin1) COLLATE latin1_swedish_ci"
        );
        assert_eq!(KeyKind::Binary { length: None }.literal("00FF"), "X'00FF'");
        assert_eq!(KeyKind::Integer.literal("1 OR 1"), "'1 OR 1'");
    }

    #[test]
    fn the_statements_that_are_sent() {
        let key = key(&[("k", KeyKind::Binary { length: Some(16) }), ("n", KeyKind::Integer)]);
        insta::assert_snapshot!(key.range_sql().unwrap(), @"SELECT HEX(MIN(`k`)), HEX(MAX(`k`)) FROM `shop`.`orders`");
        insta::assert_snapshot!(
            key.estimate_sql(true, &bound(&["00"]), &bound(&["80"])),
            @"EXPLAIN SELECT 1 FROM `shop`.`orders` FORCE INDEX (`PRIMARY`) WHERE `k` >= X'00' AND `k` < X'80'"
        );
        insta::assert_snapshot!(
            key.estimate_sql(false, &bound(&["00"]), &bound(&["80"])),
            @"EXPLAIN FORMAT=TRADITIONAL SELECT 1 FROM `shop`.`orders` USE INDEX (`PRIMARY`) WHERE `k` >= X'00' AND `k` < X'80'"
        );
        insta::assert_snapshot!(
            key.step_sql(Some(&bound(&["80"])), 100),
            @"SELECT HEX(`k`), `n` FROM `shop`.`orders` FORCE INDEX (`PRIMARY`) WHERE `k` >= X'80' ORDER BY `k`, `n` LIMIT 1 OFFSET 100"
        );
        insta::assert_snapshot!(
            key.ordered_sql(&bound(&["00", "80"])).unwrap(),
            @"SELECT DISTINCT `k` FROM `shop`.`orders` FORCE INDEX (`PRIMARY`) WHERE `k` IN (X'00', X'80') ORDER BY `k`"
        );
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
            (KeyKind::Date, "2024-02-29"),
            (KeyKind::DateTime { fraction_digits: 6 }, "2024-12-31 23:59:59.999999"),
            (KeyKind::DateTime { fraction_digits: 0 }, "1969-12-31 23:59:59"),
            (KeyKind::Binary { length: Some(16) }, "0123456789ABCDEF0123456789ABCD00"),
            (KeyKind::Binary { length: None }, "0123456789ABCDEF0123456789ABCD"),
        ] {
            let ordinal = kind.ordinal(value).unwrap();
            assert_eq!(kind.value(ordinal).as_deref(), Some(value), "{kind:?}");
        }
        assert_eq!(KeyKind::Date.ordinal("0000-00-00"), None);
        assert_eq!(KeyKind::Binary { length: None }.ordinal(""), Some(0));
    }
}
