use chrono::NaiveDateTime;
use headwaters_model::window::DeltaColumn;
use proptest::prelude::*;

use super::*;
use crate::mysql::catalog::{ColumnDescription, Generated, ObjectKind, TableDescription, TableName};
use crate::mysql::types::TypeRules;

fn table(data_type: &str, column_type: &str) -> TableDescription {
    let column = ColumnDescription {
        name: "At".to_owned(),
        ordinal: 1,
        nullable: true,
        data_type: data_type.to_owned(),
        column_type: column_type.to_owned(),
        charset: Some("latin1".to_owned()),
        collation: Some("latin1_bin".to_owned()),
        json_check: false,
        srid: None,
        invisible: false,
        generated: Generated::No,
        selectable: true,
    };
    TableDescription {
        name: TableName { schema: "s".to_owned(), table: "t".to_owned() },
        kind: ObjectKind::Table,
        engine: Some("InnoDB".to_owned()),
        columns: vec![column],
        keys: Vec::new(),
    }
}

fn find(column_type: &str, format: Option<&str>) -> Column {
    let delta = DeltaColumn { name: "at".to_owned(), date_format: format.map(str::to_owned), timezone: None };
    let data_type = column_type.split(['(', ' ']).next().unwrap();
    Column::find(&delta, &table(data_type, column_type), &TypeRules::default()).unwrap()
}

fn moments(column: &Column) -> &Moments {
    match &column.values {
        Values::Moments(moments) => moments,
        Values::Counter(_) => panic!("a counter"),
    }
}

fn us(text: &str) -> i64 {
    text.parse::<NaiveDateTime>().unwrap().and_utc().timestamp_micros()
}

/// The condition of a window with its values in their places.
fn between(column_type: &str, format: Option<&str>, lower: Option<&str>, upper: Option<&str>) -> String {
    let column = find(column_type, format);
    let condition = column.moments_between(moments(&column), lower.map(us), upper.map(us));
    let mut params = condition.params.iter();
    let shown = |param: &Param| match param {
        Param::Bytes(bytes) => format!("'{}'", String::from_utf8_lossy(bytes)),
        Param::Int(value) => value.to_string(),
        Param::UInt(value) => format!("{value}u"),
        Param::Double(value) => format!("{value:?}"),
        Param::Null => "null".to_owned(),
    };
    let parts: Vec<String> = condition.sql.split('?').map(str::to_owned).collect();
    let (last, parts) = parts.split_last().unwrap();
    parts.iter().map(|part| format!("{part}{}", shown(params.next().unwrap()))).collect::<String>() + last
}

#[test]
fn a_window_is_spelt_as_its_column_counts() {
    let (lower, upper) = (Some("2023-11-14T22:13:20"), Some("2023-11-15T00:00:01.5"));
    for (column_type, format, expected) in [
        (
            "datetime(3)",
            Some("YYYY-MM-DD"),
            "(`At` >= CAST('2023-11-14 22:13:20.000000' AS DATETIME(3)) AND `At` < CAST('2023-11-15 00:00:01.500000' AS DATETIME(3)))",
        ),
        ("date", None, "(`At` >= CAST('2023-11-14' AS DATE) AND `At` < CAST('2023-11-15' AS DATE))"),
        ("int(11)", Some("epoch"), "(`At` >= 1700000000 AND `At` < 1700006401)"),
        ("bigint(20) unsigned", Some("epochMillis"), "(`At` >= 1700000000000u AND `At` < 1700006401500u)"),
        (
            "decimal(20,6)",
            Some("epoch"),
            "(`At` >= CAST('1700000000.000000' AS DECIMAL(65,6)) AND `At` < CAST('1700006401.500000' AS DECIMAL(65,6)))",
        ),
        ("double", Some("epoch"), "(`At` >= 1700000000.0 AND `At` < 1700006401.5)"),
        (
            "varchar(30)",
            Some("yyyyMMdd HH"),
            "(`At` >= CONVERT('20231114 22' USING latin1) COLLATE latin1_bin AND `At` < CONVERT('20231115 00' USING latin1) \
             COLLATE latin1_bin AND CHAR_LENGTH(`At`) = 11 AND `At` REGEXP '^[0-9]{4}[0-9]{2}[0-9]{2} [0-9]{2}$')",
        ),
        (
            "varchar(30)",
            Some("d.M.yyyy"),
            "(CAST(STR_TO_DATE(`At`, '%d.%m.%Y') AS DATETIME(6)) >= CAST('2023-11-14 22:13:20.000000' AS DATETIME(6)) AND \
             CAST(STR_TO_DATE(`At`, '%d.%m.%Y') AS DATETIME(6)) < CAST('2023-11-15 00:00:01.500000' AS DATETIME(6)))",
        ),
    ] {
        assert_eq!(between(column_type, format, lower, upper), expected, "{column_type}");
    }
}

#[test]
fn what_no_window_can_hold_is_read_with_all_that_lies_before_the_first_bound() {
    let upper = Some("2024-01-01T00:00:00");
    assert_eq!(
        between("datetime", None, None, upper),
        "(`At` < CAST('2024-01-01 00:00:00.000000' AS DATETIME(0)) OR `At` IS NULL)"
    );
    assert_eq!(
        between("char(4)", Some("yyyyMMdd"), None, upper),
        "(`At` < CONVERT('20240101' USING latin1) COLLATE latin1_bin OR `At` IS NULL OR NOT (CHAR_LENGTH(`At`) = 8 AND \
         `At` REGEXP '^[0-9]{4}[0-9]{2}[0-9]{2}$'))"
    );
    let unusable = find("timestamp", None).unusable().unwrap();
    assert_eq!(unusable.sql, "(`At` < CAST(? AS DATETIME(0)) OR `At` IS NULL)");
    assert_eq!(unusable.params, [Param::Bytes(b"1970-01-01 00:00:01.000000".to_vec())]);
}

#[test]
fn moments_that_no_column_holds_bound_nothing() {
    let column = find("datetime", None);
    let of = |lower, upper| column.moments_between(moments(&column), lower, upper);
    assert_eq!(of(Some(i64::MIN), None).params, [Param::Bytes(b"0001-01-01 00:00:00.000000".to_vec())]);
    assert_eq!(of(Some(0), Some(WALL_END_US)).params.len(), 1, "the year 10000 bounds nothing");
    assert_eq!(of(Some(WALL_END_US), None), nothing());
    assert_eq!(of(Some(5), Some(5)), nothing());
    let stamp = find("timestamp", None);
    let far = stamp.moments_between(moments(&stamp), Some(0), Some(us("2493-01-01T00:00:00")));
    assert_eq!(far.params, [Param::Bytes(b"1970-01-01 00:00:01.000000".to_vec())]);
}

#[test]
fn a_float_is_compared_as_it_keeps_a_moment() {
    let bound = between("float", Some("epoch"), Some("2023-11-14T22:13:21"), None);
    assert_eq!(bound, "(`At` >= 1700000000.0)", "it knows only every 128th second");
}

/// Columns with every step between two moments.
const TYPES: [(&str, Option<&str>); 10] = [
    ("datetime", None),
    ("datetime(3)", None),
    ("timestamp(6)", None),
    ("date", None),
    ("varchar(20)", Some("yyyy-MM-dd HH:mm")),
    ("varchar(20)", Some("yyyy-MM-dd'T'HH:mm:ss.SS")),
    ("int", Some("epoch")),
    ("bigint", Some("epochMillis")),
    ("decimal(20,1)", Some("epoch")),
    ("double", Some("epoch")),
];

proptest! {
    /// Bounds are compared in the order of their values, so this is the invariant of the module for values in whole units.
    #[test]
    fn windows_that_meet_hold_each_value_once(
        (column_type, format) in proptest::sample::select(&TYPES[..]),
        mut bounds in proptest::collection::vec(0_i64..4_000_000_000_000_000, 2..6),
        value in 0_i64..4_000_000_000_000_000,
    ) {
        use super::super::wall::{ceil, floor};
        let unit = moments(&find(column_type, format)).unit_us;
        bounds.sort_unstable();
        let value = floor(value, unit);
        for rounded in [floor, ceil] {
            let windows = bounds.windows(2).map(|pair| (rounded(pair[0], unit), rounded(pair[1], unit)));
            let held = windows.filter(|(lower, upper)| (*lower..*upper).contains(&value)).count();
            let (first, last) = (rounded(bounds[0], unit), rounded(*bounds.last().unwrap(), unit));
            prop_assert_eq!(held, usize::from((first..last).contains(&value)));
        }
    }

    /// The values that stand for two bounds in a statement have the bounds' order.
    #[test]
    fn values_of_bounds_keep_their_order(
        (column_type, format) in proptest::sample::select(&TYPES[..]),
        one in 0_i64..4_000_000_000_000_000, other in 0_i64..4_000_000_000_000_000,
    ) {
        use super::super::wall::floor;
        let column = find(column_type, format);
        let unit = moments(&column).unit_us;
        let (one, other) = (floor(one, unit), floor(other, unit));
        let text = |wall| match moments(&column).form.operand(wall).1 {
            Param::Bytes(bytes) => format!("{:0>40}", String::from_utf8(bytes).unwrap()),
            Param::Int(value) => format!("{value:040}"),
            Param::UInt(value) => format!("{value:040}"),
            Param::Double(value) => format!("{value:040.6}"),
            Param::Null => String::new(),
        };
        prop_assert_eq!(text(one).cmp(&text(other)), one.cmp(&other));
    }
}
