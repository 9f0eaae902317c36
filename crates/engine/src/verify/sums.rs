//! From batches to the CRCs of their values, and to checksums.

use arrow_array::{Array, RecordBatch};
use aws_lc_rs::digest::{SHA256, digest};
use headwaters_model::checksum::{CheckedColumn, Checksums, NULL_MARK};

use super::canonical::{reads, writer};

/// A column of the source and its name in the files.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) column: CheckedColumn,
    pub(super) name: String,
}

/// The CRCs of one column's values; none is null.
pub(super) type Crcs = Vec<Option<u32>>;

/// The CRCs of a column in a batch; of one that the batch lacks, nulls. The error says what the file holds instead.
pub(super) fn crcs(batch: &RecordBatch, stored: &Stored) -> Result<Crcs, String> {
    let Some(array) = batch.column_by_name(&stored.name) else { return Ok(vec![None; batch.num_rows()]) };
    let Some(write) = writer(&stored.column.form, array) else {
        return Err(format!("column {} is {} in a file", stored.name, array.data_type()));
    };
    debug_assert!(reads(&stored.column.form, array.data_type()));
    let mut bytes = Vec::new();
    let crc = |row| {
        (!array.is_null(row)).then(|| {
            bytes.clear();
            write(row, &mut bytes);
            crc32fast::hash(&bytes)
        })
    };
    Ok((0..batch.num_rows()).map(crc).collect())
}

/// The CRCs of a row's values as one text, as [`headwaters_model::checksum`] says.
pub(super) fn row_text<'a>(columns: impl Iterator<Item = &'a Crcs>, row: usize, text: &mut String) {
    use std::fmt::Write as _;
    text.clear();
    for (place, column) in columns.enumerate() {
        if place > 0 {
            text.push(',');
        }
        match column.get(row).copied().flatten() {
            // Writing into a string never fails.
            Some(crc) => drop(write!(text, "{crc}")),
            None => text.push_str(NULL_MARK),
        }
    }
}

/// The first eight bytes of a text's SHA-256 as a number.
pub(super) fn row_hash(text: &str) -> u64 {
    let hash = digest(&SHA256, text.as_bytes());
    hash.as_ref().first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// Adds all rows of a batch.
pub(super) fn add(sums: &mut Checksums, batch: &RecordBatch, columns: &[Stored]) -> Result<(), String> {
    let crcs = columns.iter().map(|stored| crcs(batch, stored)).collect::<Result<Vec<_>, _>>()?;
    let mut text = String::new();
    for row in 0..batch.num_rows() {
        row_text(crcs.iter(), row, &mut text);
        sums.add_row(crcs.iter().map(|column| column.get(row).copied().flatten()), row_hash(&text));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_hashed_as_the_servers_hash_it() {
        // SELECT CONV(LEFT(SHA2('891568578,~', 256), 16), 16, 10), CRC32('abc')
        let mut text = String::new();
        row_text([vec![Some(891_568_578)], vec![None]].iter(), 0, &mut text);
        assert_eq!(text, "891568578,~");
        assert_eq!(row_hash("abc"), 13_436_514_500_253_700_074);
        assert_eq!(crc32fast::hash(b"abc"), 891_568_578);
    }
}
