//! Checksums of a table's rows, computed by the server.
//!
//! ```text
//! forms ── expressions     what is landed for a column -> its canonical form, and the same form in SQL
//!   ├── of_split            the checksums of a key range, in the moment in which its rows are read
//!   └── compare             those of a whole table and of its parts, for `headwaters verify`
//! ```
//!
//! **Invariant.** The expression of a column makes of a cell the very bytes that [`Form`] makes of what
//! [`super::columns`] lands for it. Values that were changed knowingly are changed here in the same way: dates that do not
//! exist are null (or 0001-01-01), truth values are 0 or 1, wall clocks in a gap are moved forward.

mod compare;
mod gaps;

use headwaters_model::checksum::{
    CheckedColumn, Checksums, ColumnSum, Form, NULL_MARK, REPLACED_MARK, RangeChecksums, SCALE, SMALL_NUMBER,
};
use headwaters_model::diagnostic::{Diagnostics, Reason};
use headwaters_model::source_error::{SourceError, SourceErrorKind};

pub(super) use self::compare::compare;
use super::catalog::quoted;
use super::columns::RowLayout;
use super::types::{Decode, GuidLayout, Landing, ZeroDates};
use super::wire::{ColumnDef, Connection, TextRow};

/// A column as both sides compare it.
#[derive(Debug, Clone)]
pub(super) struct Checked {
    /// What the other side needs to know.
    pub(super) column: CheckedColumn,
    /// The canonical form in SQL; null where it is landed as null.
    pub(super) sql: String,
    /// What is null where that is, as cheaply as it can be said.
    pub(super) presence: String,
}

impl Checked {
    fn of(decode: Decode, column: CheckedColumn, name: &str) -> Self {
        let sql = expression(decode, &column.form, name);
        let presence = match decode {
            Decode::Date { .. } | Decode::DateTime { .. } | Decode::Vector => sql.clone(),
            _ => name.to_owned(),
        };
        Self { column, sql, presence }
    }
}

/// All columns that are landed, in the order of the batches. Where texts of a column held bytes that are no text, what
/// became of these is not known on the server, so the content of such texts is left out.
pub(super) fn checked_columns(layout: &RowLayout, defs: &[ColumnDef], is_lossy: impl Fn(&str) -> bool) -> Vec<Checked> {
    let mut fields = layout.schema().fields().iter();
    let mut checked = Vec::with_capacity(fields.len());
    for (landing, def) in layout.landings().iter().zip(defs) {
        let name = landing.field.name();
        let form = form(landing.decode, def, is_lossy(name));
        fields.next();
        checked.push(Checked::of(landing.decode, CheckedColumn { name: name.clone(), form }, &quoted(name)));
        // The raw texts of dates that do not exist stand in a column behind them.
        if landing.raw_field(|_| false).is_some()
            && let Some(raw) = fields.next()
        {
            let column = CheckedColumn { name: raw.name().clone(), form: Form::Text { lossy: false } };
            let sql = raw_dates(landing);
            checked.push(Checked { presence: sql.clone(), sql, column });
        }
    }
    checked
}

/// The canonical form of what a decoder lands.
fn form(decode: Decode, def: &ColumnDef, lossy: bool) -> Form {
    match decode {
        Decode::Int8
        | Decode::Int16FromU8
        | Decode::Int16
        | Decode::Int32FromU16
        | Decode::Int32
        | Decode::Int64FromU32
        | Decode::Int64
        | Decode::DecimalFromU64
        | Decode::BooleanFromTiny
        | Decode::BooleanFromBit
        | Decode::Int64FromBits
        | Decode::DecimalFromBits => Form::Integer,
        Decode::Float32 | Decode::Float64 => Form::Number,
        Decode::Decimal { scale, .. } => Form::Decimal { scale },
        // What is landed is the text of a decimal of this scale.
        Decode::LongDecimal => Form::Decimal { scale: def.decimals },
        Decode::Date { .. } => Form::Date,
        Decode::DateTime { fraction_digits, zone, .. } => {
            Form::Moment { fraction_digits, zone: zone.map(|zone| zone.name().to_owned()) }
        }
        Decode::Text | Decode::Enum { .. } => Form::Text { lossy },
        Decode::Time { .. } | Decode::Null => Form::Text { lossy: false },
        Decode::Binary => Form::Bytes,
        Decode::Guid(layout) => Form::Guid { order: guid_order(layout) },
        Decode::Geometry => Form::Geometry,
        Decode::Vector => Form::Floats,
    }
}

/// For each stored byte of a GUID its place in the text.
fn guid_order(layout: GuidLayout) -> [u8; 16] {
    let head = match layout {
        GuidLayout::Binary16 => [0, 1, 2, 3, 4, 5, 6, 7],
        GuidLayout::TimeSwapBinary16 => [6, 7, 4, 5, 0, 1, 2, 3],
        GuidLayout::LittleEndianBinary16 => [3, 2, 1, 0, 5, 4, 7, 6],
    };
    let [a, b, c, d, e, f, g, h] = head;
    [a, b, c, d, e, f, g, h, 8, 9, 10, 11, 12, 13, 14, 15]
}

/// The canonical form of a column's values in SQL.
fn expression(decode: Decode, form: &Form, name: &str) -> String {
    match decode {
        // A cast forgets ZEROFILL, which would print zeros in front.
        Decode::Int8 | Decode::Int16 | Decode::Int32 | Decode::Int64 => format!("CAST({name} AS SIGNED)"),
        Decode::Int16FromU8
        | Decode::Int32FromU16
        | Decode::Int64FromU32
        | Decode::DecimalFromU64
        | Decode::Int64FromBits
        | Decode::DecimalFromBits => format!("CAST({name} AS UNSIGNED)"),
        Decode::BooleanFromTiny | Decode::BooleanFromBit => format!("({name} + 0 <> 0)"),
        Decode::Decimal { precision, scale } => format!("CAST({name} AS DECIMAL({precision},{scale}))"),
        Decode::LongDecimal => match form {
            Form::Decimal { scale } => format!("CAST({name} AS DECIMAL({DECIMAL_DIGITS_MAX},{scale}))"),
            _ => name.to_owned(),
        },
        Decode::Float32 | Decode::Float64 => number(name),
        Decode::Date { zero_dates } => existing(name, name, zero_dates, "0001-01-01"),
        Decode::DateTime { fraction_digits, zone, zero_dates } => {
            let first = match fraction_digits {
                0 => "0001-01-01 00:00:00".to_owned(),
                digits => format!("0001-01-01 00:00:00.{:0<1$}", "", usize::from(digits)),
            };
            let clock = zone.map_or_else(|| name.to_owned(), |zone| gaps::closed(zone, name, fraction_digits));
            existing(name, &clock, zero_dates, &first)
        }
        Decode::Text | Decode::Enum { .. } => text(name, matches!(form, Form::Text { lossy: true })),
        Decode::Vector => format!("IF(LENGTH({name}) % 4 = 0, {name}, NULL)"),
        Decode::Time { .. } => format!("CAST({name} AS CHAR)"),
        Decode::Binary | Decode::Guid(_) | Decode::Geometry | Decode::Null => name.to_owned(),
    }
}

/// The digits that a DECIMAL of either server has at most.
const DECIMAL_DIGITS_MAX: u8 = 65;

/// See [`Form::Number`]. Adding a double makes one of a FLOAT, and lets DOUBLE(m,d) print more than d digits.
fn number(name: &str) -> String {
    let (size, scaled) = (format!("ABS({name} + 0e0)"), format!("ABS({name} + 0e0) * {SCALE:e}"));
    format!(
        "CONCAT(IF({name} < 0, '-', ''), CASE WHEN {name} = 0 THEN '0' WHEN {size} >= {SMALL_NUMBER:e} THEN CONCAT({size}) \
         WHEN {scaled} >= {SMALL_NUMBER:e} THEN CONCAT('s', {scaled}) ELSE CONCAT('ss', {scaled} * {SCALE:e}) END)"
    )
}

/// Text as UTF-8, which is what the server sends.
fn text(name: &str, lossy: bool) -> String {
    let text = format!("CONVERT({name} USING utf8mb4)");
    if !lossy {
        return text;
    }
    // Converting the bytes back tells whether they were text: MySQL answers null, MariaDB question marks.
    let bytes = format!("CAST({text} AS BINARY)");
    let broken = format!("IFNULL(CAST(CONVERT({bytes} USING utf8mb4) AS BINARY) <> {bytes}, 1)");
    // Half a surrogate pair in UCS-2 is sent as three bytes that are no text. MariaDB takes these for text (in UTF-8 the byte
    // ED only ever leads), and MySQL ends the text before them.
    let halves: Vec<String> = (0xA0..=0xBF_u8).map(|low| format!("LOCATE(X'ED{low:02X}', {bytes})")).collect();
    let halved = format!("LOCATE(X'ED', {bytes}) > 0 AND ({}) > 0", halves.join(" + "));
    format!(
        "IF({name} IS NULL, NULL, \
         IF({broken} OR LOCATE(X'EFBFBD', {bytes}) > 0 OR ({halved}) OR NOT (CHAR_LENGTH({name}) <=> CHAR_LENGTH({text})), \
         '{REPLACED_MARK}', {text}))"
    )
}

/// Whether a date exists and every reader knows it: the way to a number of days and back leads to the same date. On MySQL
/// it does so for dates of the year 0 too.
fn exists(name: &str) -> String {
    format!("YEAR({name}) > 0 AND FROM_DAYS(TO_DAYS({name})) = DATE({name})")
}

/// The value where its date exists, else what the connection wants instead (mysql-sources.md 9).
fn existing(name: &str, value: &str, zero_dates: ZeroDates, first: &str) -> String {
    let exists = exists(name);
    match zero_dates {
        ZeroDates::Null | ZeroDates::Raw => format!("IF({exists}, {value}, NULL)"),
        ZeroDates::FirstDay => {
            // A day of the year 0 exists if it does in 2000, another leap year; it is out of range, so null.
            let in_2000 = format!("CONCAT('2000', SUBSTR({name}, 5, 6))");
            format!(
                "CASE WHEN {name} IS NULL THEN NULL WHEN {exists} THEN {value} \
                 WHEN YEAR({name}) = 0 AND IFNULL(CONCAT(FROM_DAYS(TO_DAYS({in_2000}))) = {in_2000}, 0) THEN NULL \
                 ELSE '{first}' END"
            )
        }
    }
}

/// The raw texts of dates that do not exist; null beside all others.
fn raw_dates(landing: &Landing) -> String {
    let name = quoted(landing.field.name());
    format!("IF({name} IS NULL OR IFNULL({}, 0), NULL, CAST({name} AS CHAR))", exists(&name))
}

/// The CRCs of a row's values as one text.
fn row_text<'a>(columns: impl Iterator<Item = &'a Checked>) -> String {
    let crcs: Vec<String> = columns.map(|checked| format!("IFNULL(CRC32({}), '{NULL_MARK}')", checked.sql)).collect();
    format!("CONCAT_WS(',', {})", crcs.join(", "))
}

/// What is selected for the checksums of rows: their number, the sum over whole rows, then two cells for each column.
///
/// Each CRC is computed twice. A derived table would compute it once, but the servers write such a table out before they sum
/// it up: a row of CRCs for each row of the source, on the disk of its server.
fn sums_list(columns: &[Checked]) -> String {
    let hash = format!("CAST(CONV(LEFT(SHA2({}, 256), 16), 16, 10) AS UNSIGNED)", row_text(columns.iter()));
    let mut list = format!("COUNT(*), SUM({hash})");
    for Checked { sql, presence, .. } in columns {
        list.push_str(&format!(", COUNT({presence}), SUM(CRC32({sql}))"));
    }
    list
}

/// Reads what was selected by [`sums_list`], from the cell at `start` on.
fn read_sums(row: &TextRow, start: usize, columns: usize) -> Result<Checksums, SourceError> {
    let count = |place: usize| -> Result<u64, SourceError> {
        u64::try_from(whole(row, start + place)?).map_err(|_| odd("a count is too large"))
    };
    let mut sums = Checksums { rows: count(0)?, row_sum: whole(row, start + 1)?, columns: Vec::new() };
    for place in 0..columns {
        let (values, sum) = (count(2 + 2 * place)?, whole(row, start + 3 + 2 * place)?);
        sums.columns.push(ColumnSum { values, sum });
    }
    Ok(sums)
}

/// A whole number; the sum over nothing is null.
fn whole(row: &TextRow, place: usize) -> Result<u128, SourceError> {
    let Some(digits) = row.at(place) else { return Ok(0) };
    let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
    number.ok_or_else(|| odd("a checksum is not a whole number"))
}

fn odd(what: &str) -> SourceError {
    SourceError::definite(SourceErrorKind::Protocol, format!("the server's answer to a checksum is odd: {what}"))
}

/// The rows of a split, as the statements that read them say it.
pub(super) struct SplitRows<'a> {
    /// What stands behind SELECT from FROM on.
    pub(super) from: String,
    /// The key range alone.
    pub(super) range: Option<String>,
    /// What administrators see before the statement.
    pub(super) comment: &'a str,
    pub(super) layout: &'a RowLayout,
    pub(super) defs: &'a [ColumnDef],
    /// What was found when they were read.
    pub(super) diagnostics: &'a Diagnostics,
}

/// The server's checksums of rows that were just read over the same connection, which shows the same moment.
pub(super) async fn of_split(connection: &mut Connection, rows: SplitRows<'_>) -> Result<RangeChecksums, SourceError> {
    let found = rows.diagnostics.entries();
    let is_lossy =
        |name: &str| found.iter().any(|entry| entry.column == name && entry.reason == Reason::CharsetConversion);
    let checked = checked_columns(rows.layout, rows.defs, is_lossy);
    let sql = format!("SELECT {} {}", sums_list(&checked), rows.from);
    let answer = connection.query_unhurried(&super::session::tagged(rows.comment, &sql)).await?;
    let row = answer.first().ok_or_else(|| odd("it has no row"))?;
    let sums = read_sums(row, 0, checked.len())?;
    let columns = checked.into_iter().map(|checked| checked.column).collect();
    Ok(RangeChecksums { range: rows.range, columns, sums })
}
