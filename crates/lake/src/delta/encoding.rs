//! How columns are encoded: chosen once per table from its first rows.
//!
//! A dictionary pays where values repeat. Where they don't, building one hashes every value only to throw the work away
//! when it overflows, which is the largest single cost of writing; so the first rows are looked at first.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use arrow_array::cast::AsArray;
use arrow_array::types::{ArrowPrimitiveType, ByteArrayType};
use arrow_array::{Array, ArrayRef, GenericByteArray, PrimitiveArray, RecordBatch, downcast_primitive_array};
use arrow_buffer::ToByteSlice;
use arrow_schema::DataType;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::ENGINE;
use crate::contract::WriteLimits;

/// How many rows are looked at.
const SAMPLE_ROWS: usize = 8192;
/// A row group has at most so many rows.
const ROW_GROUP_ROWS_MAX: usize = 1 << 20;
/// A page ends near so many bytes.
const PAGE_BYTES: usize = 1 << 20;
/// So many rows are encoded between two looks at the page's size.
const ENCODE_ROWS: usize = 4096;
/// Longer texts are cut in the statistics, the upper bound rounded up.
const STATISTICS_TEXT_BYTES: usize = 64;

/// The properties of the files, for rows like these.
pub(super) fn properties(sample: &RecordBatch, limits: &WriteLimits) -> WriterProperties {
    let mut builder = WriterProperties::builder()
        .set_created_by(ENGINE.to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_statistics_truncate_length(Some(STATISTICS_TEXT_BYTES))
        .set_offset_index_disabled(true)
        .set_dictionary_enabled(false)
        .set_write_batch_size(ENCODE_ROWS)
        .set_data_page_size_limit(PAGE_BYTES)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS_MAX))
        .set_max_row_group_bytes(Some(limits.row_group_bytes_max));
    for (field, column) in sample.schema().fields().iter().zip(sample.columns()) {
        let path = ColumnPath::from(field.name().as_str());
        if repeats(column) {
            builder = builder.set_column_dictionary_enabled(path, true);
        } else if matches!(field.data_type(), DataType::Int32 | DataType::Int64) {
            builder = builder.set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
        }
    }
    builder.build()
}

/// Whether most values in the second half of the sample were seen in the first half.
///
/// Not simply how many differ: keys that arrive in order repeat next to each other and yet never come again.
fn repeats(column: &ArrayRef) -> bool {
    let rows = column.len().min(SAMPLE_ROWS);
    let Some(hashes) = hashes(&column.slice(0, rows)) else { return false };
    let (first, second) = hashes.split_at(hashes.len() / 2);
    let first: HashSet<u64> = first.iter().copied().collect();
    let second: HashSet<u64> = second.iter().copied().collect();
    let new = second.difference(&first).count();
    new * 2 <= second.len()
}

/// One hash per value that is not null; none for types that have no dictionary.
fn hashes(column: &ArrayRef) -> Option<Vec<u64>> {
    let hasher = RandomState::new();
    downcast_primitive_array!(
        column => Some(of_primitives(column, &hasher)),
        DataType::Utf8 => Some(of_bytes(column.as_string::<i32>(), &hasher)),
        DataType::Binary => Some(of_bytes(column.as_binary::<i32>(), &hasher)),
        _ => None,
    )
}

fn of_primitives<T: ArrowPrimitiveType>(column: &PrimitiveArray<T>, hasher: &RandomState) -> Vec<u64> {
    column.iter().flatten().map(|value| hasher.hash_one(value.to_byte_slice())).collect()
}

fn of_bytes<T: ByteArrayType>(column: &GenericByteArray<T>, hasher: &RandomState) -> Vec<u64> {
    column.iter().flatten().map(|value| hasher.hash_one::<&[u8]>(value.as_ref())).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Int64Array, StringArray};

    use super::*;

    #[test]
    fn a_dictionary_is_made_only_where_values_come_again() {
        let rows = 0..20_000_i64;
        let columns: [(&str, ArrayRef); 5] = [
            (
                "flag",
                Arc::new(StringArray::from_iter_values(rows.clone().map(|row| ["A", "N", "R"][row as usize % 3]))),
            ),
            ("text", Arc::new(StringArray::from_iter_values(rows.clone().map(|row| format!("text {row}"))))),
            // In order, each four times: most values of the sample repeat, none comes again later.
            ("key", Arc::new(Int64Array::from_iter_values(rows.clone().map(|row| row / 4)))),
            ("part", Arc::new(Int64Array::from_iter_values(rows.clone().map(|row| row * 7919 % 1000)))),
            ("empty", Arc::new(Int64Array::from_iter(rows.map(|_| None)))),
        ];
        let sample =
            RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap();
        let properties = properties(&sample, &WriteLimits::default());
        let chosen = ["flag", "text", "key", "part", "empty"].map(|name| properties.dictionary_enabled(&name.into()));
        assert_eq!(chosen, [true, false, false, true, true]);
    }
}
