use headwaters_engine::verify::ColumnPair;
use headwaters_model::checksum::{Checksums, NotCompared};

use super::*;

fn sums(rows: u64, row_sum: u128, columns: &[(u64, u128)]) -> Checksums {
    let columns = columns.iter().map(|&(values, sum)| ColumnSum { values, sum }).collect();
    Checksums { rows, row_sum, columns }
}

fn report() -> Report {
    let (source, lake) = (sums(80, 1000, &[(80, 7), (79, 8)]), sums(81, 1010, &[(81, 9), (79, 8)]));
    let names = ["id", "note"].iter().enumerate();
    let columns = names.map(|(place, name)| ColumnPair {
        name: (*name).to_owned(),
        source: source.columns[place],
        lake: lake.columns[place],
    });
    Report {
        table: "shop.orders".to_owned(),
        location: "file:///srv/lake/orders".to_owned(),
        version: 3,
        files: 2,
        columns: columns.collect(),
        source,
        lake,
        not_compared: Vec::new(),
        key: vec!["id".to_owned()],
        ranges: Vec::new(),
        keys: Vec::new(),
        counts: [0; 4],
        complete: true,
        notes: Vec::new(),
    }
}

fn key(
    id: &str,
    difference: Difference,
    times: (usize, usize),
    columns: &[(&str, Option<&str>, Option<&str>)],
) -> KeyDifference {
    let pair = |(column, source, lake): &(&str, Option<&str>, Option<&str>)| ValuePair {
        column: (*column).to_owned(),
        source: source.map(str::to_owned),
        lake: lake.map(str::to_owned),
    };
    KeyDifference {
        key: vec![("id".to_owned(), id.to_owned())],
        difference,
        source_times: times.0,
        lake_times: times.1,
        columns: columns.iter().map(pair).collect(),
    }
}

fn different() -> Report {
    let long = "x".repeat(SHOWN_CHARS_MAX);
    Report {
        ranges: vec![RangeDifference { range: Some((1, 81)), source_rows: 80, lake_rows: 81 }],
        keys: vec![
            key("5", Difference::Missing, (1, 0), &[]),
            key("7", Difference::Repeated, (1, 2), &[("note", Some("now"), Some("then"))]),
            key(
                "9",
                Difference::Different,
                (1, 1),
                &[("note", Some("a "), Some("a")), ("b", None, Some("")), ("c", Some(&long), Some(&long))],
            ),
            key("99", Difference::Extra, (0, 1), &[]),
        ],
        counts: [1, 1, 1, 1],
        notes: vec!["the lake has 1 rows more than the source".to_owned()],
        not_compared: vec![NotCompared { column: "extra".to_owned(), reason: "it is only in the lake".to_owned() }],
        ..report()
    }
}

#[test]
fn a_person_reads_what_differs_and_where() {
    insta::assert_snapshot!(text(&different()));
}

#[test]
fn a_program_reads_the_same() {
    insta::assert_json_snapshot!(json(&different()));
}

#[test]
fn an_equal_table_is_two_lines() {
    let equal = Report { lake: report().source, columns: Vec::new(), ..report() };
    insta::assert_snapshot!(text(&equal), @r"
    shop.orders against file:///srv/lake/orders (version 3, 2 files)
    equal: 80 rows, 0 columns
    ");
}

#[test]
fn values_in_the_wrong_rows_are_told_though_each_column_is_right() {
    let source = report().source;
    let columns = report().columns.into_iter().map(|pair| ColumnPair { lake: pair.source, ..pair }).collect();
    let swapped = Report { lake: Checksums { row_sum: 1, ..source }, columns, ..report() };
    assert!(text(&swapped).contains("not in the rows where they belong"));
}
