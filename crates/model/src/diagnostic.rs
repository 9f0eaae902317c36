//! Values that could not be kept as they were (mysql-sources.md, section 9).
//!
//! A diagnostic keeps its row: the row is landed, the value is counted and sampled. The exception is
//! [`Reason::RowTooLarge`], which tells why rows were rejected; how many were is counted apart.

use serde::{Deserialize, Serialize};

/// How many samples are kept per column and reason.
pub const SAMPLES_MAX: usize = 10;
/// How many characters of a raw value a sample keeps.
pub const SAMPLE_CHARS_MAX: usize = 120;

/// Why a value could not be kept as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Reason {
    /// Year, month and day are all zero.
    ZeroDate,
    /// Any other date that does not exist.
    InvalidDate,
    /// A date that exists, but that not every Delta reader can read (year 0).
    DateOutOfRange,
    /// A boolean column holds something else than 0 or 1.
    #[serde(rename = "BOOL_NOT_0_1")]
    BoolNot01,
    /// The error value of an enum (index 0).
    EnumErrorValue,
    /// Bytes that are not text in the column's character set.
    CharsetConversion,
    /// A type this build does not know, landed as text or bytes.
    UnknownType,
    /// A vector whose bytes are not a whole number of floats.
    VectorLength,
    /// A wall clock that the declared zone skips; moved forward.
    TimeZoneGap,
    /// A wall clock that the declared zone shows twice; the first was taken.
    TimeZoneOverlap,
    /// A row over the row limit, which is left out; the one reason that loses a row.
    RowTooLarge,
}

/// One value that was not kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// The row's key as text, where the table has one.
    pub key: Option<String>,
    /// The value as the server prints it, clipped.
    pub raw: String,
}

/// All values of one column that were not kept for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Diagnostic {
    /// The column's name in the source.
    pub column: String,
    /// Why.
    pub reason: Reason,
    /// What was done instead, e.g. `null` or `true`.
    pub action: String,
    /// How many values.
    pub count: u64,
    /// The key of the first such row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_key: Option<String>,
    /// The first few values.
    pub samples: Vec<Sample>,
}

/// The diagnostics of a run, one entry per column and reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    /// Counts one value and keeps it as a sample while there is room.
    pub fn record(&mut self, column: &str, reason: Reason, action: &str, key: Option<String>, raw: &str) {
        let entry = self.entry(column, reason, action);
        entry.count += 1;
        if entry.count == 1 {
            entry.first_key.clone_from(&key);
        }
        if entry.samples.len() < SAMPLES_MAX {
            entry.samples.push(Sample { key, raw: raw.chars().take(SAMPLE_CHARS_MAX).collect() });
        }
    }

    /// Whether the next value of this column and reason would be kept as a sample, so that its key is worth printing.
    #[must_use]
    pub fn wants_sample(&self, column: &str, reason: Reason) -> bool {
        let entry = self.0.iter().find(|entry| entry.column == column && entry.reason == reason);
        entry.is_none_or(|entry| entry.samples.len() < SAMPLES_MAX)
    }

    /// Takes over what another part of the same run has counted.
    pub fn merge(&mut self, other: Self) {
        for theirs in other.0 {
            let ours = self.entry(&theirs.column, theirs.reason, &theirs.action);
            if ours.count == 0 {
                ours.first_key = theirs.first_key;
            }
            ours.count += theirs.count;
            let room = SAMPLES_MAX.saturating_sub(ours.samples.len());
            ours.samples.extend(theirs.samples.into_iter().take(room));
        }
    }

    /// The entries in the order in which they were first seen.
    #[must_use]
    pub fn entries(&self) -> &[Diagnostic] {
        &self.0
    }

    /// How many values of landed rows were not kept; each counts as one warning. Rejected rows are counted apart.
    #[must_use]
    pub fn count(&self) -> u64 {
        let landed = self.0.iter().filter(|entry| entry.reason != Reason::RowTooLarge);
        landed.map(|entry| entry.count).sum()
    }

    /// Whether every value was kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn entry(&mut self, column: &str, reason: Reason, action: &str) -> &mut Diagnostic {
        let found = self.0.iter().position(|entry| entry.column == column && entry.reason == reason);
        let index = found.unwrap_or_else(|| {
            self.0.push(Diagnostic {
                column: column.to_owned(),
                reason,
                action: action.to_owned(),
                count: 0,
                first_key: None,
                samples: Vec::new(),
            });
            self.0.len() - 1
        });
        &mut self.0[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_go_on_when_the_samples_are_full() {
        let mut all = Diagnostics::default();
        for key in 0..25 {
            all.record("d", Reason::ZeroDate, "null", Some(key.to_string()), "0000-00-00");
        }
        let mut sum = Diagnostics::default();
        sum.merge(all.clone());
        sum.merge(all);
        let [entry] = sum.entries() else { panic!("one column, one reason") };
        assert_eq!((entry.count, entry.samples.len(), entry.first_key.as_deref()), (50, SAMPLES_MAX, Some("0")));
    }

    #[test]
    fn reasons_are_spelt_as_documented() {
        let spelt = |reason| serde_json::to_value(reason).unwrap();
        assert_eq!(spelt(Reason::BoolNot01), "BOOL_NOT_0_1");
        assert_eq!(spelt(Reason::DateOutOfRange), "DATE_OUT_OF_RANGE");
    }
}
