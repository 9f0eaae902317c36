//! From the cells of rows to record batches.
//!
//! A [`RowLayout`] says what each cell of a row is; [`Columns`] gathers rows under it. A row borrows the read buffer:
//! each byte is copied once, from there into its column, and nothing is allocated until a column grows.
//!
//! **Invariant.** The columns of a batch have the same length whenever a row was pushed without error; after an error
//! the batch is unusable and is dropped with the connection.

mod bytes;
mod cells;
mod column;
mod keys;
mod misfits;
mod numbers;
mod storage;
mod temporal;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::{Schema, SchemaRef};
use headwaters_model::diagnostic::{Diagnostics, Reason};

use self::cells::{BinaryRow, Cells, TextRow};
use self::column::Column;
use self::misfits::{Misfit, Misfits, clipped};
use super::types::{Decode, FRACTION_DIGITS_MAX, Landing};
use super::wire::RowFormat;

/// Why bytes are not a row of the announced columns. The connection that sent them cannot be trusted any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The row ends inside a cell.
    #[error("a row ends too early")]
    Short,
    /// Bytes follow the last cell.
    #[error("a row has more bytes than its columns")]
    LeftOver,
    /// A row of a prepared statement does not begin with zero.
    #[error("a row begins with the wrong byte")]
    Header,
    /// A length is not possible for its type.
    #[error("a value has an impossible length")]
    Length,
    /// Digits or bits are not a number of the column's type.
    #[error("a number does not fit the type that the server announced")]
    Number,
    /// A date or a time does not have the form that the servers print.
    #[error("a date or time is not in the form that servers print")]
    Date,
    /// Text could not be repaired.
    #[error("a text column could not be read as text")]
    Text,
    /// The columns do not fit their schema.
    #[error("a batch does not fit its schema")]
    Batch,
}

/// What the cells of a row are, and what is landed of them.
///
/// The cells are those of [`RowLayout::landings`] in order; after them comes one flag per column of
/// [`RowLayout::flagged`]: a text that is not empty where the enum holds its error value, so that it is told from a
/// declared member `''`.
#[derive(Debug, Clone)]
pub struct RowLayout {
    landings: Arc<[Landing]>,
    flagged: Arc<[usize]>,
    key: Arc<[usize]>,
    schema: SchemaRef,
}

impl RowLayout {
    /// Lays out the columns; `key` names the columns of the row key, which show in diagnostics if all of them are read.
    #[must_use]
    pub fn new(landings: Vec<Landing>, key: &[String]) -> Self {
        let flagged = landings.iter().enumerate();
        let flagged = flagged.filter(|(_, landing)| landing.decode == Decode::Enum { empty_member: true });
        let flagged = flagged.map(|(place, _)| place).collect();
        let place = |name: &String| landings.iter().position(|landing| landing.field.name() == name);
        let key = key.iter().map(place).collect::<Option<Vec<_>>>().unwrap_or_default();
        let schema = Schema::new(fields(&landings));
        Self { landings: landings.into(), flagged, key: key.into(), schema: Arc::new(schema) }
    }

    /// What is landed, in the order of the cells.
    #[must_use]
    pub fn landings(&self) -> &[Landing] {
        &self.landings
    }

    /// The columns that have a flag cell, in the order of the flags.
    #[must_use]
    pub fn flagged(&self) -> &[usize] {
        &self.flagged
    }

    /// The schema of the batches.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Diagnostics that are due whatever the rows hold: types that this build does not know.
    #[must_use]
    pub fn diagnostics(&self) -> Diagnostics {
        let mut diagnostics = Diagnostics::default();
        for landing in self.landings.iter().filter(|landing| landing.unknown) {
            let action = if landing.decode == Decode::Binary { "bytes" } else { "text" };
            diagnostics.record(landing.field.name(), Reason::UnknownType, action, None, "");
        }
        diagnostics
    }
}

/// The fields of the batches; raw texts follow the dates that they belong to, under a name that is free.
fn fields(landings: &[Landing]) -> Vec<arrow_schema::Field> {
    let mut fields = Vec::with_capacity(landings.len());
    for landing in landings {
        fields.push(landing.field.clone());
        let is_taken = |name: &str| landings.iter().any(|other| other.field.name().eq_ignore_ascii_case(name));
        fields.extend(landing.raw_field(is_taken));
    }
    fields
}

/// When a batch ends.
#[derive(Debug, Clone, Copy)]
pub struct BatchLimits {
    /// At so many rows.
    pub rows_max: usize,
    /// When its columns hold so many bytes; the row that crosses the line still belongs to it.
    pub bytes_max: usize,
}

/// Rows being gathered into a batch.
#[derive(Debug)]
pub struct Columns {
    format: RowFormat,
    layout: RowLayout,
    limits: BatchLimits,
    columns: Vec<Column>,
    row_bytes: usize,
    rows: usize,
    bytes: usize,
    misfits: Misfits,
    diagnostics: Diagnostics,
}

impl Columns {
    /// Starts an empty batch.
    #[must_use]
    pub fn new(layout: RowLayout, format: RowFormat, limits: BatchLimits) -> Self {
        let columns: Vec<Column> = layout.landings.iter().map(|landing| Column::new(landing.decode)).collect();
        let row_bytes = columns.iter().map(Column::row_bytes_beyond_wire).sum();
        let (misfits, diagnostics) = (Misfits::default(), Diagnostics::default());
        Self { format, layout, limits, columns, row_bytes, rows: 0, bytes: 0, misfits, diagnostics }
    }

    /// Appends one row as the server sent it.
    #[inline]
    pub fn push(&mut self, row: &[u8]) -> Result<(), Malformed> {
        match self.format {
            RowFormat::Binary => {
                self.push_cells(BinaryRow::of(row, self.columns.len() + self.layout.flagged.len())?)?
            }
            RowFormat::Text => self.push_cells(TextRow::of(row))?,
        }
        self.rows += 1;
        self.bytes += row.len() + self.row_bytes;
        Ok(())
    }

    #[inline]
    fn push_cells<'a>(&mut self, mut cells: impl Cells<'a>) -> Result<(), Malformed> {
        for (place, column) in self.columns.iter_mut().enumerate() {
            if let Some(misfit) = column.push(&mut cells)? {
                self.misfits.add(place, self.rows, *misfit);
            }
        }
        for &place in self.layout.flagged.iter() {
            if !cells.take_null()? && !cells.bytes()?.is_empty() {
                let misfit = Misfit { reason: Reason::EnumErrorValue, action: "empty text", raw: String::new() };
                self.misfits.add(place, self.rows, misfit);
            }
        }
        cells.end()
    }

    /// Whether the batch has reached a limit.
    #[inline]
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.rows >= self.limits.rows_max || self.bytes >= self.limits.bytes_max
    }

    /// Whether no row was pushed since the last batch.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Hands on the gathered rows and starts again.
    pub fn finish(&mut self) -> Result<RecordBatch, Malformed> {
        let mut arrays = Vec::with_capacity(self.layout.schema.fields().len());
        let mut places = Vec::with_capacity(self.columns.len());
        for (place, column) in self.columns.iter_mut().enumerate() {
            places.push(arrays.len());
            column.finish(&mut arrays, &mut |row, raw| {
                let raw = String::from_utf8_lossy(clipped(raw)).into_owned();
                self.misfits.add(place, row, Misfit { reason: Reason::CharsetConversion, action: "U+FFFD", raw });
            })?;
        }
        let layout = &self.layout;
        let name = |place: usize| layout.landings.get(place).map(|landing| landing.field.name().as_str());
        let part = |place: &usize, row| {
            let place = *places.get(*place)?;
            keys::print(layout.schema.fields().get(place)?, arrays.get(place)?, row)
        };
        let key = |row| {
            let parts = layout.key.iter().map(|place| part(place, row)).collect::<Option<Vec<_>>>()?;
            (!parts.is_empty()).then(|| parts.join(", "))
        };
        self.misfits.settle(&mut self.diagnostics, name, key);
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        (self.rows, self.bytes) = (0, 0);
        RecordBatch::try_new_with_options(self.layout.schema.clone(), arrays, &options).map_err(|_| Malformed::Batch)
    }

    /// The diagnostics of the batches that were finished since the last call.
    pub fn take_diagnostics(&mut self) -> Diagnostics {
        std::mem::take(&mut self.diagnostics)
    }
}

/// A printed decimal as units of `10^-scale`, for the planner's arithmetic on keys.
pub(super) fn decimal_ordinal(text: &str, scale: u8) -> Option<i128> {
    numbers::decimal(text.as_bytes(), scale)
}

/// The inverse of [`decimal_ordinal`].
pub(super) fn print_decimal_ordinal(units: i128, scale: u8) -> String {
    numbers::print_decimal(units, scale)
}

/// A printed date as days, or with `fraction_digits` a printed moment in units of its last digit, since 1970.
pub(super) fn date_ordinal(text: &str, fraction_digits: Option<u8>) -> Option<i128> {
    let clock = temporal::WallClock::parse(text.as_bytes())?;
    match fraction_digits {
        None => clock.days().ok().map(i128::from),
        Some(digits) => Some(i128::from(clock.micros_since_1970().ok()?.div_euclid(micros_of_unit(digits)))),
    }
}

/// The inverse of [`date_ordinal`]; none if the servers have no such date.
pub(super) fn print_date_ordinal(ordinal: i128, fraction_digits: Option<u8>) -> Option<String> {
    let printed = match fraction_digits {
        None => temporal::print_days(i32::try_from(ordinal).ok()?),
        Some(digits) => {
            temporal::print_micros(i64::try_from(ordinal).ok()?.checked_mul(micros_of_unit(digits))?, digits)
        }
    };
    // A year of five digits or a sign would not be a date of the servers.
    printed.as_bytes().get(4).is_some_and(|&byte| byte == b'-').then_some(printed)
}

fn micros_of_unit(fraction_digits: u8) -> i64 {
    10_i64.pow(u32::from(FRACTION_DIGITS_MAX.saturating_sub(fraction_digits)))
}
