//! Where a table differs from its source.
//!
//! The table is cut into [`PIECES`] by ranges of its key, where that begins with a whole number, or by the hash of the key;
//! the pieces that differ are cut again, until they are small enough to be read row by row on both sides. The number of
//! questions and of passes over the files is bounded, and so is what is held in memory.

use std::collections::{BTreeMap, BTreeSet};

use headwaters_model::checksum::{Checksums, Cut, Form, Part, ShownRow};
use headwaters_model::job::JobError;
use headwaters_source::contract::{Compared, Comparison};

use super::canonical::shown_number;
use super::lake_side::LakeSide;
use super::report::{Difference, KeyDifference, RangeDifference, Report, ValuePair};
use crate::errors::{of_lake, of_source};

/// Into how many pieces a part is cut; a power of two.
const PIECES: i128 = 1 << PIECES_BITS;
const PIECES_BITS: u32 = 8;
/// How many rows of a part are read one by one at most, on each side.
const PART_ROWS_MAX: usize = 1000;
/// How many values they have at most: of a wide table fewer rows are held.
const PART_CELLS_MAX: usize = 20_000;
/// How many parts are cut, or read row by row, at a time: each is a question to the server.
const PARTS_MAX: usize = 16;
/// How often parts are cut; 256 to this power is more than any table has rows.
const ROUNDS_MAX: usize = 8;
/// How many ranges a report names.
const RANGES_MAX: usize = 100;

/// Looks for the rows of a part that differ, and reports the first `keys_max` of them.
pub(super) async fn search(
    side: &LakeSide,
    source: &mut dyn Comparison,
    compared: &Compared,
    report: &mut Report,
    part: Part,
    keys_max: usize,
) -> Result<(), JobError> {
    let part_rows_max = (PART_CELLS_MAX / compared.columns.len().max(1)).clamp(1, PART_ROWS_MAX);
    Search { side, source, compared, report, keys_max, part_rows_max }.run(part).await
}

struct Search<'a> {
    side: &'a LakeSide,
    source: &'a mut dyn Comparison,
    compared: &'a Compared,
    report: &'a mut Report,
    keys_max: usize,
    /// How many rows of a part are read one by one, on each side.
    part_rows_max: usize,
}

/// A part with differences, and how many rows each side has there.
type Suspect = (Part, u64, u64);

impl Search<'_> {
    async fn run(&mut self, root: Part) -> Result<(), JobError> {
        let mut leaves: Vec<Suspect> = Vec::new();
        let mut large = vec![(root, self.report.source.rows, self.report.lake.rows)];
        for round in 0..ROUNDS_MAX {
            let (small, rest): (Vec<_>, Vec<_>) = large.into_iter().partition(|suspect| self.is_leaf(suspect));
            leaves.extend(small);
            large = rest;
            // Each leaf shows a row at least: more are not looked for than are shown.
            if large.is_empty() || (round > 0 && leaves.len() >= self.keys_max.min(PARTS_MAX)) {
                break;
            }
            let later = large.split_off(large.len().min(PARTS_MAX));
            large = self.cut(&large).await?;
            large.extend(later);
        }
        let (read, mut unread) = (leaves.len().min(PARTS_MAX), large);
        unread.extend(leaves.split_off(read));
        self.report.complete = unread.is_empty();
        self.read(&leaves).await?;
        self.report.ranges = leaves.iter().chain(&unread).map(range).take(RANGES_MAX).collect();
        self.report.ranges.sort_by_key(|range| range.range);
        Ok(())
    }

    /// The differing pieces of the parts; a part that can't be cut stays.
    async fn cut(&mut self, parts: &[Suspect]) -> Result<Vec<Suspect>, JobError> {
        let asked: Vec<(Part, Cut)> = parts.iter().map(|(part, ..)| (*part, cut_of(part))).collect();
        let lake = self.side.pieces(&asked).await.map_err(of_lake)?;
        let mut out = Vec::new();
        for ((part, cut), mut lake) in asked.into_iter().zip(lake) {
            let mut source = self.source.sums(self.compared, part, cut).await.map_err(of_source)?;
            let none = Checksums::none(self.compared.columns.len());
            let numbers: BTreeSet<u64> = source.keys().chain(lake.keys()).copied().collect();
            for number in numbers {
                let (ours, theirs) = (
                    source.remove(&number).unwrap_or_else(|| none.clone()),
                    lake.remove(&number).unwrap_or_else(|| none.clone()),
                );
                if ours != theirs {
                    out.push((part.piece(cut, number), ours.rows, theirs.rows));
                }
            }
        }
        Ok(out)
    }

    /// Reads parts row by row and compares them.
    async fn read(&mut self, leaves: &[Suspect]) -> Result<(), JobError> {
        let parts: Vec<Part> = leaves.iter().map(|(part, ..)| *part).collect();
        let rows_max = self.part_rows_max;
        let lake = self.side.rows(&parts, rows_max).await.map_err(of_lake)?;
        for ((part, source_rows, lake_rows), lake) in leaves.iter().zip(lake) {
            let source = self.source.rows(self.compared, *part, rows_max).await.map_err(of_source)?;
            // Rows that can't be told apart by any cut may be more than are read.
            self.report.complete &= (*source_rows).max(*lake_rows) <= rows_max as u64;
            self.compare(source, lake);
        }
        Ok(())
    }

    /// Reports the first rows that differ.
    fn compare(&mut self, source: Vec<ShownRow>, lake: Vec<ShownRow>) {
        let mut rows: BTreeMap<Vec<String>, (Vec<ShownRow>, Vec<ShownRow>)> = BTreeMap::new();
        for row in source {
            rows.entry(self.identity(&row)).or_default().0.push(row);
        }
        for row in lake {
            rows.entry(self.identity(&row)).or_default().1.push(row);
        }
        for (source, lake) in rows.into_values() {
            if let Some(found) = self.difference(&source, &lake) {
                if let Some(place) = Difference::ALL.iter().position(|kind| *kind == found.difference)
                    && let Some(count) = self.report.counts.get_mut(place)
                {
                    *count += 1;
                }
                self.report.keys.push(found);
            }
        }
        let ordinal = |key: &KeyDifference| key.key.first().and_then(|(_, text)| text.parse::<i128>().ok());
        self.report.keys.sort_by(|a, b| ordinal(a).cmp(&ordinal(b)).then_with(|| a.key.cmp(&b.key)));
        self.report.keys.truncate(self.keys_max);
    }

    /// What tells a row from others.
    fn identity(&self, row: &ShownRow) -> Vec<String> {
        match self.compared.key.is_empty() {
            true => row.crcs.iter().map(|crc| format!("{crc:?}")).collect(),
            false => row.key.iter().map(|part| format!("{part:?}")).collect(),
        }
    }

    fn difference(&self, source: &[ShownRow], lake: &[ShownRow]) -> Option<KeyDifference> {
        let crcs = |rows: &[ShownRow]| {
            let mut crcs: Vec<_> = rows.iter().map(|row| row.crcs.clone()).collect();
            crcs.sort_unstable();
            crcs
        };
        if crcs(source) == crcs(lake) {
            return None;
        }
        let difference = match (source.len(), lake.len()) {
            (_, 0) => Difference::Missing,
            (0, _) => Difference::Extra,
            (ours, theirs) if theirs > ours => Difference::Repeated,
            (ours, theirs) if theirs < ours => Difference::Missing,
            _ => Difference::Different,
        };
        let first = source.first().or(lake.first())?;
        let key = match self.compared.key.is_empty() {
            false => {
                let values = first.key.iter().map(|part| or_null(part.clone()));
                self.compared.key.iter().map(|column| column.name.clone()).zip(values).collect()
            }
            true => self.pretty(first).map(|(name, shown)| (name, or_null(shown))).collect(),
        };
        Some(KeyDifference {
            key,
            difference,
            source_times: source.len(),
            lake_times: lake.len(),
            columns: source.first().map_or_else(Vec::new, |ours| self.values(ours, lake)),
        })
    }

    /// The columns in which some row of the lake is not like the source's.
    fn values(&self, ours: &ShownRow, lake: &[ShownRow]) -> Vec<ValuePair> {
        let mut pairs = Vec::new();
        let shown: Vec<(String, Option<String>)> = self.pretty(ours).collect();
        for (place, (column, source)) in shown.into_iter().enumerate() {
            let other = lake.iter().find(|theirs| theirs.crcs.get(place) != ours.crcs.get(place));
            let Some(other) = other else { continue };
            let lake = self.pretty(other).nth(place).and_then(|(_, shown)| shown);
            pairs.push(ValuePair { column, source, lake });
        }
        pairs
    }

    /// The values of a row as a person reads them.
    fn pretty<'b>(&'b self, row: &'b ShownRow) -> impl Iterator<Item = (String, Option<String>)> + 'b {
        self.compared.columns.iter().zip(&row.shown).map(|(column, shown)| {
            let shown = match (&column.form, shown) {
                (Form::Number, Some(text)) => Some(shown_number(text)),
                _ => shown.clone(),
            };
            (column.name.clone(), shown)
        })
    }

    /// Whether a part is read row by row: it is small, or can't be cut any further.
    fn is_leaf(&self, (part, source_rows, lake_rows): &Suspect) -> bool {
        (*source_rows).max(*lake_rows) <= self.part_rows_max as u64 || matches!(cut_of(part), Cut::Whole)
    }
}

fn or_null(value: Option<String>) -> String {
    value.unwrap_or_else(|| "NULL".to_owned())
}

/// Ranges as long as there is more than one key in them, then the hash of the whole key.
fn cut_of(part: &Part) -> Cut {
    match part.range {
        Some((lower, upper)) if upper - lower > 1 => {
            Cut::Range { width: ((upper - lower + PIECES - 1) / PIECES).max(1) }
        }
        _ if part.hash.bits + PIECES_BITS <= 32 => Cut::Hash { bits: PIECES_BITS },
        _ => Cut::Whole,
    }
}

fn range((part, source_rows, lake_rows): &Suspect) -> RangeDifference {
    RangeDifference { range: part.range, source_rows: *source_rows, lake_rows: *lake_rows }
}
