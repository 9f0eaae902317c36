//! Small results in the text protocol: what metadata statements answer.

use std::str::FromStr;

use headwaters_model::source_error::{SourceError, SourceErrorKind};
use mysql_common::io::ParseBuf;

use super::column::{ColumnDef, Columns};

/// Rows that [`super::Connection::query`] holds at most; longer lists are streamed.
pub const QUERY_ROWS_MAX: usize = 100_000;
/// Bytes of cells that [`super::Connection::query`] holds at most.
pub const QUERY_BYTES_MAX: usize = 32 * 1024 * 1024;

/// The length prefix that means null.
const NULL: u8 = 0xFB;

/// A whole result.
#[derive(Debug, Clone)]
pub struct TextRows {
    pub(super) columns: Columns,
    pub(super) rows: Vec<TextRow>,
}

impl TextRows {
    /// The columns.
    #[must_use]
    pub fn columns(&self) -> &[ColumnDef] {
        &self.columns
    }

    /// The rows.
    #[must_use]
    pub fn rows(&self) -> &[TextRow] {
        &self.rows
    }

    /// The first row, which is the only one where a statement answers with one.
    #[must_use]
    pub fn first(&self) -> Option<&TextRow> {
        self.rows.first()
    }
}

impl IntoIterator for TextRows {
    type Item = TextRow;
    type IntoIter = std::vec::IntoIter<TextRow>;

    fn into_iter(self) -> Self::IntoIter {
        self.rows.into_iter()
    }
}

impl<'a> IntoIterator for &'a TextRows {
    type Item = &'a TextRow;
    type IntoIter = std::slice::Iter<'a, TextRow>;

    fn into_iter(self) -> Self::IntoIter {
        self.rows.iter()
    }
}

/// One row of text.
///
/// Labels are compared without regard to case: MySQL 8 shouts the labels of `information_schema` (mysql-sources.md 5).
#[derive(Debug, Clone)]
pub struct TextRow {
    columns: Columns,
    cells: Vec<Option<Vec<u8>>>,
}

impl TextRow {
    /// Reads a row packet; none if it is not a row of these columns.
    pub(super) fn parse(packet: &[u8], columns: &Columns) -> Option<Self> {
        let mut buf = ParseBuf(packet);
        let mut cells = Vec::with_capacity(columns.len());
        for _ in 0..columns.len() {
            cells.push(cell(&mut buf)?.map(<[u8]>::to_vec));
        }
        buf.is_empty().then(|| Self { columns: columns.clone(), cells })
    }

    /// How many bytes its cells hold.
    pub(super) fn bytes_held(&self) -> usize {
        self.cells.iter().flatten().map(Vec::len).sum()
    }

    /// The cell at a place; none if it is null or there is no such place.
    #[must_use]
    pub fn at(&self, index: usize) -> Option<&[u8]> {
        self.cells.get(index)?.as_deref()
    }

    /// The cell of a column; none is null. Fails if the result has no such column.
    pub fn bytes(&self, label: &str) -> Result<Option<&[u8]>, SourceError> {
        let place = self.columns.iter().position(|column| column.name.eq_ignore_ascii_case(label));
        place.map(|place| self.at(place)).ok_or_else(|| odd(format!("the server's answer lacks the column {label}")))
    }

    /// The cell of a column as text; none is null. Fails if the result has no such column, or it is not UTF-8.
    pub fn text(&self, label: &str) -> Result<Option<&str>, SourceError> {
        let Some(bytes) = self.bytes(label)? else { return Ok(None) };
        std::str::from_utf8(bytes).map(Some).map_err(|_| odd(format!("the server's {label} is not UTF-8")))
    }

    /// The cell of a column that can not be null, as text.
    pub fn required_text(&self, label: &str) -> Result<&str, SourceError> {
        self.text(label)?.ok_or_else(|| odd(format!("the server's {label} is null")))
    }

    /// The cell of a column, read as a number or whatever else is written as text; none is null.
    pub fn parse_as<T: FromStr>(&self, label: &str) -> Result<Option<T>, SourceError> {
        let Some(text) = self.text(label)? else { return Ok(None) };
        text.parse().map(Some).map_err(|_| odd(format!("the server's {label} is not what it should be: {text}")))
    }
}

/// Reads one cell; the outer none means that the packet is cut.
fn cell<'a>(buf: &mut ParseBuf<'a>) -> Option<Option<&'a [u8]>> {
    if buf.0.first() == Some(&NULL) {
        buf.checked_skip(1);
        return Some(None);
    }
    buf.checked_eat_lenenc_str().map(Some)
}

fn odd(message: String) -> SourceError {
    SourceError::definite(SourceErrorKind::Protocol, message)
}

#[cfg(test)]
pub(super) mod tests {
    use mysql_common::constants::{ColumnFlags, ColumnType};
    use proptest::prelude::*;

    use super::*;

    /// Text columns with these labels.
    pub(in super::super) fn columns(labels: &[&str]) -> Columns {
        labels
            .iter()
            .map(|label| ColumnDef {
                schema: String::new(),
                table: String::new(),
                org_table: String::new(),
                name: (*label).to_owned(),
                org_name: String::new(),
                column_type: ColumnType::MYSQL_TYPE_VAR_STRING,
                flags: ColumnFlags::empty(),
                character_set: 45,
                length: 255,
                decimals: 0,
                extended_type: None,
                extended_format: None,
            })
            .collect()
    }

    #[test]
    fn cells_are_found_by_label_whatever_its_case() {
        let row = TextRow::parse(b"\x03abc\xfb\x0242", &columns(&["TABLE_NAME", "note", "n"])).unwrap();
        assert_eq!(row.required_text("table_name").unwrap(), "abc");
        assert_eq!(row.text("NOTE").unwrap(), None);
        assert_eq!(row.parse_as::<u64>("n").unwrap(), Some(42));
        assert!(row.text("missing").is_err());
        assert!(row.required_text("note").is_err());
        assert!(row.parse_as::<u64>("table_name").is_err());
    }

    #[test]
    fn a_row_with_a_cell_too_few_or_too_many_is_none() {
        assert!(TextRow::parse(b"\x03abc", &columns(&["a", "b"])).is_none());
        assert!(TextRow::parse(b"\x03abc\x00", &columns(&["a"])).is_none());
        assert!(TextRow::parse(b"\x05abc", &columns(&["a"])).is_none());
    }

    proptest! {
        #[test]
        fn no_bytes_can_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = TextRow::parse(&bytes, &columns(&["a", "b", "c"]));
        }
    }
}
