//! Rows by hand through every column.

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Int32Type};
use proptest::prelude::*;

use super::*;
use crate::mysql::types::{GuidLayout, ServerType, TypeRules, ZeroDates};

const LIMITS: BatchLimits = BatchLimits { rows_max: 100, bytes_max: 10_000 };

fn layout(columns: &[(&str, ServerType)], rules: &TypeRules, key: &[&str]) -> RowLayout {
    let landings = columns.iter().map(|(name, server)| Landing::of(name, server, true, rules)).collect();
    let key: Vec<String> = key.iter().map(|name| (*name).to_owned()).collect();
    RowLayout::new(landings, &key)
}

fn id_and(name: &str, server: ServerType) -> RowLayout {
    layout(&[("id", ServerType::Int { unsigned: false }), (name, server)], &TypeRules::default(), &["id"])
}

/// A row of two cells in the text protocol.
fn text_row(cells: &[Option<&[u8]>]) -> Vec<u8> {
    let mut row = Vec::new();
    for cell in cells {
        match cell {
            None => row.push(0xFB),
            Some(cell) => {
                row.push(u8::try_from(cell.len()).unwrap());
                row.extend_from_slice(cell);
            }
        }
    }
    row
}

#[test]
fn both_protocols_fill_the_same_columns() {
    let layout = id_and("d", ServerType::Decimal { precision: 5, scale: 2 });
    let mut text = Columns::new(layout.clone(), RowFormat::Text, LIMITS);
    text.push(&text_row(&[Some(b"-7"), Some(b"1.50")])).unwrap();
    text.push(&text_row(&[Some(b"8"), None])).unwrap();
    let mut binary = Columns::new(layout, RowFormat::Binary, LIMITS);
    binary.push(&[0, 0, 0xF9, 0xFF, 0xFF, 0xFF, 4, b'1', b'.', b'5', b'0']).unwrap();
    binary.push(&[0, 0b1000, 8, 0, 0, 0]).unwrap();
    let batch = text.finish().unwrap();
    assert_eq!(batch, binary.finish().unwrap());
    assert_eq!(batch.column(0).as_primitive::<Int32Type>().values(), &[-7, 8]);
    assert_eq!(batch.column(1).as_primitive::<Decimal128Type>().value(0), 150);
}

#[test]
fn bytes_that_are_no_text_are_repaired_and_told_with_their_key() {
    let mut columns = Columns::new(id_and("t", ServerType::Text), RowFormat::Text, LIMITS);
    columns.push(&text_row(&[Some(b"1"), Some("naïve".as_bytes())])).unwrap();
    columns.push(&text_row(&[Some(b"2"), Some(b"caf\xE9")])).unwrap();
    let batch = columns.finish().unwrap();
    assert_eq!(batch.column(1).as_string::<i32>().value(1), "caf\u{FFFD}");
    let diagnostics = columns.take_diagnostics();
    let [entry] = diagnostics.entries() else { panic!("one column, one reason") };
    assert_eq!((entry.reason, entry.count, entry.first_key.as_deref()), (Reason::CharsetConversion, 1, Some("2")));
}

#[test]
fn a_date_that_does_not_exist_is_told_with_its_key_and_lands_as_the_connection_wants() {
    for (zero_dates, landed, fields) in
        [(ZeroDates::Null, None, 2), (ZeroDates::Raw, None, 3), (ZeroDates::FirstDay, Some(-719_162), 2)]
    {
        let rules = TypeRules { zero_dates, ..TypeRules::default() };
        let columns = [("id", ServerType::Int { unsigned: false }), ("d", ServerType::Date)];
        let mut columns = Columns::new(layout(&columns, &rules, &["id"]), RowFormat::Text, LIMITS);
        columns.push(&text_row(&[Some(b"41"), Some(b"2024-00-15")])).unwrap();
        let batch = columns.finish().unwrap();
        let dates = batch.column(1).as_primitive::<arrow_array::types::Date32Type>();
        assert_eq!((dates.iter().next().flatten(), batch.num_columns()), (landed, fields), "{zero_dates:?}");
        if zero_dates == ZeroDates::Raw {
            assert_eq!(batch.schema().field(2).name(), "d_raw");
            assert_eq!(batch.column(2).as_string::<i32>().value(0), "2024-00-15");
        }
        let diagnostics = columns.take_diagnostics();
        let [entry] = diagnostics.entries() else { panic!("one column, one reason") };
        assert_eq!((entry.reason, entry.first_key.as_deref()), (Reason::InvalidDate, Some("41")));
        assert_eq!(entry.samples[0].raw, "2024-00-15");
    }
}

#[test]
fn the_error_value_of_an_enum_is_told_from_an_empty_member() {
    let plain = id_and("e", ServerType::Enum { empty_member: false });
    assert!(plain.flagged().is_empty());
    let mut columns = Columns::new(plain, RowFormat::Text, LIMITS);
    columns.push(&text_row(&[Some(b"1"), Some(b"")])).unwrap();
    columns.finish().unwrap();
    assert_eq!(columns.take_diagnostics().count(), 1);

    let ambiguous = id_and("e", ServerType::Enum { empty_member: true });
    assert_eq!(ambiguous.flagged(), [1]);
    let mut columns = Columns::new(ambiguous, RowFormat::Text, LIMITS);
    columns.push(&text_row(&[Some(b"1"), Some(b""), Some(b"")])).unwrap();
    columns.finish().unwrap();
    assert_eq!(columns.take_diagnostics().count(), 0);
    columns.push(&text_row(&[Some(b"2"), Some(b""), Some(b"1")])).unwrap();
    assert_eq!(columns.finish().unwrap().num_columns(), 2, "the flag is not landed");
    assert_eq!(columns.take_diagnostics().count(), 1);
}

#[test]
fn a_batch_ends_at_its_rows_or_at_its_bytes() {
    let mut columns = Columns::new(id_and("t", ServerType::Text), RowFormat::Text, LIMITS);
    let long = vec![b'x'; 200];
    let mut rows = 0;
    while !columns.is_full() {
        columns.push(&text_row(&[Some(b"1"), Some(&long)])).unwrap();
        rows += 1;
    }
    assert!((40..=50).contains(&rows), "{rows} rows of 200 bytes fill 10,000 bytes");
    columns.finish().unwrap();
    assert!(columns.is_empty() && !columns.is_full());
    for _ in 0..LIMITS.rows_max {
        assert!(!columns.is_full());
        columns.push(&text_row(&[None, None])).unwrap();
    }
    assert!(columns.is_full());
}

#[test]
fn rows_that_are_cut_or_too_long_are_refused() {
    let layout = id_and("t", ServerType::Text);
    for (format, row, why) in [
        (RowFormat::Binary, &b""[..], Malformed::Short),
        (RowFormat::Binary, &[1, 0, 0, 0, 0, 0, 0], Malformed::Header),
        (RowFormat::Binary, &[0, 0, 1, 0], Malformed::Short),
        (RowFormat::Binary, &[0, 0, 1, 0, 0, 0, 5, b'a'], Malformed::Short),
        (RowFormat::Binary, &[0, 0, 1, 0, 0, 0, 1, b'a', b'b'], Malformed::LeftOver),
        (RowFormat::Binary, &[0, 0, 1, 0, 0, 0, 0xFF], Malformed::Length),
        (RowFormat::Text, b"\x01x\x00", Malformed::Number),
        (RowFormat::Text, b"\x011", Malformed::Short),
    ] {
        let mut columns = Columns::new(layout.clone(), format, LIMITS);
        assert_eq!(columns.push(row), Err(why), "{row:?}");
    }
}

/// One column of every kind.
fn every_kind() -> RowLayout {
    let rules = TypeRules { guids: Some(GuidLayout::TimeSwapBinary16), ..TypeRules::default() };
    let zoned = TypeRules { source_time_zone: Some(chrono_tz::America::New_York), zero_dates: ZeroDates::Raw, ..rules };
    let servers = [
        ServerType::TinyInt { unsigned: false, boolean: false },
        ServerType::TinyInt { unsigned: true, boolean: false },
        ServerType::TinyInt { unsigned: false, boolean: true },
        ServerType::SmallInt { unsigned: false },
        ServerType::SmallInt { unsigned: true },
        ServerType::MediumInt { unsigned: true },
        ServerType::Int { unsigned: true },
        ServerType::BigInt { unsigned: false },
        ServerType::BigInt { unsigned: true },
        ServerType::Decimal { precision: 38, scale: 30 },
        ServerType::Decimal { precision: 65, scale: 30 },
        ServerType::Float,
        ServerType::Double,
        ServerType::Bit { bits: 1 },
        ServerType::Bit { bits: 63 },
        ServerType::Bit { bits: 64 },
        ServerType::Year,
        ServerType::Date,
        ServerType::DateTime { fraction_digits: 6 },
        ServerType::Timestamp { fraction_digits: 0 },
        ServerType::Time { fraction_digits: 3 },
        ServerType::Text,
        ServerType::Binary { length: 16, fixed: true },
        ServerType::Binary { length: 300, fixed: false },
        ServerType::Enum { empty_member: true },
        ServerType::Json,
        ServerType::Geometry,
        ServerType::Vector,
        ServerType::Null,
    ];
    let landings = servers.iter().enumerate();
    let landings = landings.map(|(n, server)| Landing::of(&format!("c{n}"), server, true, &zoned)).collect();
    RowLayout::new(landings, &["c0".to_owned()])
}

proptest! {
    #[test]
    fn no_bytes_can_make_a_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), binary: bool) {
        let format = if binary { RowFormat::Binary } else { RowFormat::Text };
        for place in 0..every_kind().landings().len() {
            let one = RowLayout::new(vec![every_kind().landings()[place].clone()], &[]);
            let mut columns = Columns::new(one, format, LIMITS);
            // A header without nulls leads past the bitmap, so that the decoder itself gets the bytes.
            let row = if binary { [&[0, 0][..], &bytes].concat() } else { bytes.clone() };
            if columns.push(&row).is_ok() {
                prop_assert_eq!(columns.finish().unwrap().num_rows(), 1);
            }
        }
        let mut all = Columns::new(every_kind(), format, LIMITS);
        let _ = all.push(&bytes);
    }
}

#[test]
fn a_row_of_nulls_fits_every_column() {
    let layout = every_kind();
    let mut columns = Columns::new(layout.clone(), RowFormat::Binary, LIMITS);
    columns.push(&[&[0][..], &[0xFF; 4]].concat()).unwrap();
    let batch = columns.finish().unwrap();
    assert_eq!((batch.num_rows(), batch.num_columns()), (1, layout.schema().fields().len()));
    assert!(batch.columns().iter().all(|column| column.is_null(0)));
}
