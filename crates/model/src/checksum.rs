//! Checksums that a source and a lake compute apart and that must be equal: the language that both sides speak.
//!
//! Each value has one **canonical form**, bytes that both sides can make of what they hold ([`Form`]). Of a column the
//! values that are not null are counted, and the CRC-32 of their forms summed up: the order of rows does not matter,
//! values that are there twice do not cancel each other out (as they would under XOR), and a value that changes by up to 32
//! neighbouring bits always changes the sum. Of each row the CRCs of its columns are written as a text, `0` to
//! `4294967295` or `~` for null with commas between, and the first eight bytes of that text's SHA-256 are summed up too
//! ([`Checksums::row_sum`]). That one finds values that were exchanged between rows: a CRC alone would not do, because it
//! is linear, and what is exchanged between texts of one length leaves the XOR of their CRCs as it was.

use serde::{Deserialize, Serialize};

/// What stands for null among the CRCs of a row.
pub const NULL_MARK: &str = "~";
/// What every text with a U+FFFD, or with bytes that are no text, counts as where a form is `lossy`.
pub const REPLACED_MARK: &str = "U+FFFD";
/// Below this magnitude a number is scaled up before it is printed ([`Form::Number`]).
pub const SMALL_NUMBER: f64 = 1e-3;
/// 2^540, by which it is scaled: exact, and printed as this by both servers and by Rust.
pub const SCALE: f64 = 3.599_131_035_634_557e162;

/// The canonical form of a column's values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Form {
    /// Digits, with a minus in front; a truth value is 0 or 1.
    Integer,
    /// Digits with so many behind the point.
    Decimal {
        /// How many.
        scale: u8,
    },
    /// The shortest digits that name the double, zero without a sign; what is smaller than [`SMALL_NUMBER`] is multiplied
    /// by [`SCALE`] once or twice and marked with an `s` for each. Without that MySQL prints some numbers short of their
    /// last digit, and the two servers part ways over when to write an exponent.
    Number,
    /// `YYYY-MM-DD`.
    Date,
    /// `YYYY-MM-DD HH:MM:SS[.f…]`, as the clock of a zone shows it.
    Moment {
        /// Digits after the second.
        fraction_digits: u8,
        /// The zone by its IANA name; none is UTC.
        zone: Option<String>,
    },
    /// UTF-8.
    Text {
        /// Whether the content of texts with a U+FFFD is left out of it ([`REPLACED_MARK`]): the bytes behind it are not
        /// known any more.
        lossy: bool,
    },
    /// The bytes.
    Bytes,
    /// The sixteen bytes of a GUID, in this order of those that its text shows.
    Guid {
        /// For each stored byte its place in the text.
        order: [u8; 16],
    },
    /// Four bytes of SRID, least first, and WKB; landed as EWKB.
    Geometry,
    /// Floats of four bytes, least first.
    Floats,
}

impl Form {
    /// Whether its bytes are best shown in hexadecimal digits.
    #[must_use]
    pub fn is_binary(&self) -> bool {
        matches!(self, Self::Bytes | Self::Guid { .. } | Self::Geometry | Self::Floats)
    }
}

/// A column that can be compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckedColumn {
    /// Its name in the source.
    pub name: String,
    /// How its values are compared.
    pub form: Form,
}

/// The checksum of one column's values in some rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnSum {
    /// How many are not null.
    pub values: u64,
    /// The sum of the CRC-32 of their canonical forms.
    pub sum: u128,
}

/// The checksums of some rows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Checksums {
    /// How many rows.
    pub rows: u64,
    /// The sum of the first eight bytes of each row's SHA-256.
    pub row_sum: u128,
    /// One for each column, in the order in which they were asked for.
    pub columns: Vec<ColumnSum>,
}

impl Checksums {
    /// Of no rows, for so many columns.
    #[must_use]
    pub fn none(columns: usize) -> Self {
        Self { columns: vec![ColumnSum::default(); columns], ..Self::default() }
    }

    /// Adds one row by the CRCs of its values and the first bytes of its hash.
    pub fn add_row(&mut self, crcs: impl IntoIterator<Item = Option<u32>>, row_hash: u64) {
        self.rows += 1;
        self.row_sum += u128::from(row_hash);
        for (column, crc) in self.columns.iter_mut().zip(crcs) {
            if let Some(crc) = crc {
                column.values += 1;
                column.sum += u128::from(crc);
            }
        }
    }

    /// Adds those of other rows.
    pub fn add(&mut self, other: &Self) {
        self.rows += other.rows;
        self.row_sum += other.row_sum;
        for (ours, theirs) in self.columns.iter_mut().zip(&other.columns) {
            ours.values += theirs.values;
            ours.sum += theirs.sum;
        }
    }

    /// The columns, by their places, that differ.
    #[must_use]
    pub fn columns_that_differ(&self, other: &Self) -> Vec<usize> {
        let pairs = self.columns.iter().zip(&other.columns).enumerate();
        pairs.filter(|(_, (ours, theirs))| ours != theirs).map(|(place, _)| place).collect()
    }
}

/// A column that is left out of a comparison, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotCompared {
    /// Its name in the source.
    pub column: String,
    /// One clause, lower case, no full stop.
    pub reason: String,
}

/// What a source says of the rows of one key range, in the moment in which they were read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeChecksums {
    /// The range, for a person: `` `id` >= 5 AND `id` < 9``; none is the whole table.
    pub range: Option<String>,
    /// What was compared.
    pub columns: Vec<CheckedColumn>,
    /// The checksums.
    pub sums: Checksums,
}

/// Some rows of a table, chosen by their key so that both sides choose the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Part {
    /// Those whose first key column, a whole number, lies in `[lower, upper)`.
    pub range: Option<(i128, i128)>,
    /// Those whose key's hash begins with these bits.
    pub hash: HashPrefix,
}

/// The first bits of a key's hash: the CRC-32 of the CRCs of its columns, with commas between.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HashPrefix {
    /// How many, at most 32.
    pub bits: u32,
    /// What they are.
    pub value: u32,
}

/// How a part is cut into numbered pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Not at all: everything is piece 0.
    Whole,
    /// Into ranges of so many keys, counted from the lower end of the part's range.
    Range {
        /// How many keys each holds.
        width: i128,
    },
    /// By the next bits of the key's hash.
    Hash {
        /// How many.
        bits: u32,
    },
}

impl Part {
    /// The piece of this number.
    #[must_use]
    pub fn piece(&self, cut: Cut, number: u64) -> Self {
        match (cut, self.range) {
            (Cut::Range { width }, Some((lower, upper))) => {
                let start = lower.saturating_add(width.saturating_mul(i128::from(number)));
                Self { range: Some((start, upper.min(start.saturating_add(width)))), ..*self }
            }
            (Cut::Hash { bits }, _) => {
                let value = self.hash.value << bits | u32::try_from(number).unwrap_or(u32::MAX);
                Self { hash: HashPrefix { bits: self.hash.bits + bits, value }, ..*self }
            }
            (Cut::Whole | Cut::Range { .. }, _) => *self,
        }
    }

    /// The number of the piece that a row belongs to; none if it is not of this part.
    #[must_use]
    pub fn piece_of(&self, cut: Cut, first_key: Option<i128>, hash: u32) -> Option<u64> {
        let HashPrefix { bits, value } = self.hash;
        if hash.checked_shr(32 - bits.min(32)).unwrap_or(0) != value {
            return None;
        }
        let place = match self.range {
            Some((lower, upper)) => {
                let key = first_key?;
                if key < lower || key >= upper {
                    return None;
                }
                key - lower
            }
            None => 0,
        };
        match cut {
            Cut::Whole => Some(0),
            Cut::Range { width } => u64::try_from(place / width.max(1)).ok(),
            Cut::Hash { bits: more } => {
                let rest = hash.checked_shl(bits).unwrap_or(0);
                Some(u64::from(rest.checked_shr(32 - more.min(32)).unwrap_or(0)))
            }
        }
    }
}

/// One row as both sides show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownRow {
    /// Its key, a text for each column; none is null.
    pub key: Vec<Option<String>>,
    /// For each compared column the CRC of its value; none is null.
    pub crcs: Vec<Option<u32>>,
    /// For each compared column the beginning of its value, of at most [`SHOWN_CHARS_MAX`] characters; none is null.
    pub shown: Vec<Option<String>>,
}

/// How much of a value is shown.
pub const SHOWN_CHARS_MAX: usize = 60;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_that_are_there_twice_do_not_cancel_each_other_out() {
        let mut twice = Checksums::none(1);
        twice.add_row([Some(7)], 70);
        twice.add_row([Some(7)], 70);
        let mut other = Checksums::none(1);
        other.add_row([Some(9)], 90);
        other.add_row([Some(9)], 90);
        assert_eq!(twice.columns_that_differ(&other), [0]);
    }

    #[test]
    fn a_null_is_a_row_without_a_value() {
        let mut sums = Checksums::none(2);
        sums.add_row([Some(0), None], 1);
        assert_eq!(sums.columns, [ColumnSum { values: 1, sum: 0 }, ColumnSum::default()]);
    }

    #[test]
    fn the_scale_is_a_power_of_two() {
        assert_eq!(SCALE.to_bits(), 2_f64.powi(540).to_bits());
        assert_eq!(f64::from_bits(1) * SCALE * SCALE / SCALE / SCALE, f64::from_bits(1));
    }

    proptest! {
        #[test]
        fn a_row_belongs_to_the_piece_that_it_is_counted_in(
            lower in -1000_i128..1000, length in 1_i128..5000, width in 1_i128..700, key in -2000_i128..7000, hash: u32,
        ) {
            let part = Part { range: Some((lower, lower + length)), hash: HashPrefix { bits: 3, value: hash >> 29 } };
            for cut in [Cut::Range { width }, Cut::Hash { bits: 8 }, Cut::Whole] {
                match part.piece_of(cut, Some(key), hash) {
                    Some(number) => {
                        prop_assert_eq!(part.piece(cut, number).piece_of(Cut::Whole, Some(key), hash), Some(0));
                    }
                    None => prop_assert!(key < lower || key >= lower + length),
                }
            }
        }
    }
}
