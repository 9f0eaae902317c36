//! The lake's half of a comparison: checksums and rows out of the files of one version.
//!
//! Each question reads all files once, whatever number of parts it is about; in memory are a few batches, the checksums
//! of the pieces and the rows that are shown.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{Array, RecordBatch};
use futures::TryStreamExt;
use headwaters_lake::contract::{Lake, LakeError, StoredTable};
use headwaters_model::checksum::{Checksums, Cut, Form, Part, SHOWN_CHARS_MAX, ShownRow};

use super::canonical::{units, writer};
use super::sums::{Crcs, Stored, crcs, row_hash, row_text};

/// A version of a table and what of it is compared.
pub(super) struct LakeSide {
    pub(super) lake: Arc<dyn Lake>,
    pub(super) location: String,
    pub(super) table: StoredTable,
    pub(super) columns: Vec<Stored>,
    pub(super) key: Vec<Stored>,
}

/// What the whole table holds.
pub(super) struct Whole {
    pub(super) sums: Checksums,
    /// The smallest and the largest whole number in the first key column.
    pub(super) ends: Option<(i128, i128)>,
    /// Whether each row has a whole number there.
    pub(super) has_numbers: bool,
    /// The places of columns with a text in which U+FFFD stands.
    pub(super) replaced: Vec<usize>,
}

/// The CRCs of a batch.
struct Hashed {
    columns: Vec<Crcs>,
    key: Vec<Crcs>,
    first_key: Vec<Option<i128>>,
}

impl LakeSide {
    /// One pass over all rows.
    pub(super) async fn whole(&self) -> Result<Whole, LakeError> {
        let mut whole =
            Whole { sums: Checksums::none(self.columns.len()), ends: None, has_numbers: true, replaced: Vec::new() };
        let mut text = String::new();
        let mut batches = self.lake.scan(&self.location, self.table.files.clone())?;
        while let Some(batch) = batches.try_next().await? {
            let hashed = self.hashed(&batch)?;
            for row in 0..batch.num_rows() {
                row_text(hashed.columns.iter(), row, &mut text);
                whole.sums.add_row(hashed.columns.iter().map(|column| at(column, row)), row_hash(&text));
                match hashed.first_key.get(row).copied().flatten() {
                    Some(key) => {
                        let (lower, upper) = whole.ends.unwrap_or((key, key));
                        whole.ends = Some((lower.min(key), upper.max(key)));
                    }
                    None => whole.has_numbers = false,
                }
            }
            for (place, stored) in self.columns.iter().enumerate() {
                if !whole.replaced.contains(&place) && has_replaced(&batch, stored) {
                    whole.replaced.push(place);
                }
            }
        }
        Ok(whole)
    }

    /// The checksums of the pieces of each part, in one pass.
    pub(super) async fn pieces(&self, asked: &[(Part, Cut)]) -> Result<Vec<BTreeMap<u64, Checksums>>, LakeError> {
        let mut pieces = vec![BTreeMap::new(); asked.len()];
        let mut text = String::new();
        let mut batches = self.lake.scan(&self.location, self.table.files.clone())?;
        while let Some(batch) = batches.try_next().await? {
            let hashed = self.hashed(&batch)?;
            for row in 0..batch.num_rows() {
                let hash = hashed.key_hash(row, &mut text);
                let first = hashed.first_key.get(row).copied().flatten();
                for ((part, cut), pieces) in asked.iter().zip(&mut pieces) {
                    let Some(number) = part.piece_of(*cut, first, hash) else { continue };
                    let sums: &mut Checksums =
                        pieces.entry(number).or_insert_with(|| Checksums::none(self.columns.len()));
                    row_text(hashed.columns.iter(), row, &mut text);
                    sums.add_row(hashed.columns.iter().map(|column| at(column, row)), row_hash(&text));
                }
            }
        }
        Ok(pieces)
    }

    /// The rows of each part, at most so many of each, in one pass.
    pub(super) async fn rows(&self, parts: &[Part], rows_max: usize) -> Result<Vec<Vec<ShownRow>>, LakeError> {
        let mut rows: Vec<Vec<ShownRow>> = vec![Vec::new(); parts.len()];
        let mut text = String::new();
        let mut batches = self.lake.scan(&self.location, self.table.files.clone())?;
        while let Some(batch) = batches.try_next().await? {
            let hashed = self.hashed(&batch)?;
            for row in 0..batch.num_rows() {
                let hash = hashed.key_hash(row, &mut text);
                let first = hashed.first_key.get(row).copied().flatten();
                for (part, rows) in parts.iter().zip(&mut rows) {
                    if rows.len() < rows_max && part.piece_of(Cut::Whole, first, hash).is_some() {
                        rows.push(self.shown(&batch, &hashed, row));
                    }
                }
            }
        }
        Ok(rows)
    }

    fn hashed(&self, batch: &RecordBatch) -> Result<Hashed, LakeError> {
        let hash = |stored: &Stored| {
            crcs(batch, stored)
                .map_err(|what| LakeError::definite(format!("could not compare {}: {what}", self.location)))
        };
        let first = self.key.first().and_then(|stored| batch.column_by_name(&stored.name));
        let first_key = match first.and_then(|array| Some((array, units(array)?))) {
            Some((array, (number, 0))) => {
                (0..batch.num_rows()).map(|row| (!array.is_null(row)).then(|| number(row))).collect()
            }
            _ => Vec::new(),
        };
        Ok(Hashed {
            columns: self.columns.iter().map(hash).collect::<Result<_, _>>()?,
            key: self.key.iter().map(hash).collect::<Result<_, _>>()?,
            first_key,
        })
    }

    fn shown(&self, batch: &RecordBatch, hashed: &Hashed, row: usize) -> ShownRow {
        let clip = |text: String| text.chars().take(SHOWN_CHARS_MAX).collect();
        ShownRow {
            key: self.key.iter().map(|stored| value(batch, stored, row)).collect(),
            crcs: hashed.columns.iter().map(|column| at(column, row)).collect(),
            shown: self.columns.iter().map(|stored| value(batch, stored, row).map(clip)).collect(),
        }
    }
}

impl Hashed {
    /// The hash by which both sides cut: of the key, or of the whole row where there is none.
    fn key_hash(&self, row: usize, text: &mut String) -> u32 {
        let key = if self.key.is_empty() { &self.columns } else { &self.key };
        row_text(key.iter(), row, text);
        crc32fast::hash(text.as_bytes())
    }
}

fn at(column: &Crcs, row: usize) -> Option<u32> {
    column.get(row).copied().flatten()
}

/// A value as both sides show it; none is null.
fn value(batch: &RecordBatch, stored: &Stored, row: usize) -> Option<String> {
    let array = batch.column_by_name(&stored.name).filter(|array| !array.is_null(row))?;
    let mut bytes = Vec::new();
    writer(&stored.column.form, array)?(row, &mut bytes);
    Some(match stored.column.form.is_binary() {
        true => bytes.iter().map(|byte| format!("{byte:02X}")).collect(),
        false => String::from_utf8_lossy(&bytes).into_owned(),
    })
}

fn has_replaced(batch: &RecordBatch, stored: &Stored) -> bool {
    use arrow_array::cast::AsArray;
    if !matches!(stored.column.form, Form::Text { .. }) {
        return false;
    }
    let array = batch.column_by_name(&stored.name).and_then(|array| array.as_string_opt::<i32>());
    array.is_some_and(|array| array.iter().flatten().any(|text| text.contains('\u{FFFD}')))
}
