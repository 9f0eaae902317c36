//! What a comparison of a table has found.

use headwaters_model::checksum::{Checksums, ColumnSum, NotCompared};

/// What a table holds on the server and in the lake.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The table's path in the source.
    pub table: String,
    /// The absolute URI of the table in the lake.
    pub location: String,
    /// Its version that was compared.
    pub version: u64,
    /// How many files that version has.
    pub files: usize,
    /// The checksums of the whole table on the server.
    pub source: Checksums,
    /// The checksums of the whole table in the lake.
    pub lake: Checksums,
    /// The columns that were compared.
    pub columns: Vec<ColumnPair>,
    /// The columns that were not, and why.
    pub not_compared: Vec<NotCompared>,
    /// The columns of the key by which rows are told apart; none where the table has no key, and a row is what it holds.
    pub key: Vec<String>,
    /// Where they differ, as far as it was looked into.
    pub ranges: Vec<RangeDifference>,
    /// The first rows that differ, in the order of their keys.
    pub keys: Vec<KeyDifference>,
    /// How many rows differ in which way in the ranges that were read row by row.
    pub counts: [u64; 4],
    /// Whether every differing range was read row by row, so that the counts are those of the whole table.
    pub complete: bool,
    /// What a person should know, one sentence each.
    pub notes: Vec<String>,
}

impl Report {
    /// Whether all that was compared is equal.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.source == self.lake
    }
}

/// A column on both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnPair {
    /// Its name in the source.
    pub name: String,
    /// On the server.
    pub source: ColumnSum,
    /// In the lake.
    pub lake: ColumnSum,
}

/// Rows among which there are differences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeDifference {
    /// The values of the key's first column, `[from, to)`; none where rows are chosen by the hash of their key.
    pub range: Option<(i128, i128)>,
    /// How many rows the server has there.
    pub source_rows: u64,
    /// How many rows the lake has there.
    pub lake_rows: u64,
}

/// In which way a row differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    /// It is not in the lake.
    Missing,
    /// It is in the lake more often than on the server.
    Repeated,
    /// It is only in the lake.
    Extra,
    /// It is on both sides with other values.
    Different,
}

impl Difference {
    /// All of them, in the order of [`Report::counts`].
    pub const ALL: [Self; 4] = [Self::Missing, Self::Repeated, Self::Extra, Self::Different];

    /// What a person reads.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::Missing => "missing in the lake",
            Self::Repeated => "more than once in the lake",
            Self::Extra => "only in the lake",
            Self::Different => "different",
        }
    }
}

/// A row that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyDifference {
    /// Its key; without one, the values of the row.
    pub key: Vec<(String, String)>,
    /// In which way.
    pub difference: Difference,
    /// How often it is on the server.
    pub source_times: usize,
    /// How often it is in the lake.
    pub lake_times: usize,
    /// The columns that differ; of a row that is more than once in the lake, those in which these are not all equal to the
    /// server's.
    pub columns: Vec<ValuePair>,
}

/// A value on both sides, clipped; none is null.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValuePair {
    /// The column.
    pub column: String,
    /// On the server.
    pub source: Option<String>,
    /// In the lake.
    pub lake: Option<String>,
}
