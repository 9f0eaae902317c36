//! Every kind of delta column: windows that are asked for, and windows that follow the watermark.

use anyhow::Result;
use headwaters_model::source_error::SourceErrorKind;
use headwaters_model::watermark::{FirstRead, Position, Watermark};
use headwaters_source::contract::Source;
use headwaters_source::mysql::MySqlSource;
use serde_json::json;

use super::{FLAVOURS, Table, delta, ms};
use crate::filters::filter;

/// Moments around the bounds of windows; the ids are their places.
const MOMENTS: [&str; 7] = [
    "2024-01-01 00:00:00.000000",
    "2024-01-01 00:00:00.000001",
    "2024-01-01 00:00:00.999999",
    "2024-01-01 00:00:01.000000",
    "2024-01-01 23:59:59.999999",
    "2024-01-02 00:00:00.000000",
    "2024-01-02 12:00:00.500000",
];

/// Columns of every kind: the type, how it holds the moment `at`, and the `dateFormat`. Nothing is rounded up.
const KINDS: [(&str, &str, Option<&str>); 19] = [
    ("datetime", "date_format(at, '%Y-%m-%d %H:%i:%s')", Some("YYYY-MM-DD")),
    ("datetime(3)", "left(date_format(at, '%Y-%m-%d %H:%i:%s.%f'), 23)", None),
    ("datetime(6)", "at", None),
    ("timestamp null", "date_format(at, '%Y-%m-%d %H:%i:%s')", None),
    ("timestamp(6) null", "at", None),
    ("date", "date(at)", None),
    ("varchar(19)", "date_format(at, '%Y-%m-%d %H:%i:%s')", None),
    ("char(14) character set latin1 collate latin1_bin", "date_format(at, '%Y%m%d%H%i%s')", Some("yyyyMMddHHmmss")),
    (
        "varchar(40) character set utf8mb4 collate utf8mb4_unicode_ci",
        "concat(left(date_format(at, '%Y-%m-%dT%H:%i:%s.%f'), 23), 'Z')",
        Some("yyyy-MM-dd'T'HH:mm:ss.SSS'Z'"),
    ),
    ("text character set utf8mb3", "date_format(at, '%Y/%m/%d')", Some("YYYY/MM/DD")),
    ("varchar(20)", "date_format(at, '%d.%m.%Y %H:%i:%s')", Some("dd.MM.yyyy HH:mm:ss")),
    ("varchar(40)", "date_format(at, '%c/%e/%y %h:%i:%s.%f %p')", Some("M/d/yy h:mm:ss.SSSSSS a")),
    ("varchar(40)", "date_format(at, '%M %e, %Y')", Some("MMMM d, yyyy")),
    ("int", "us div 1000000", Some("epoch")),
    ("bigint unsigned", "us div 1000", Some("epochMillis")),
    ("decimal(16,6)", "cast(us as decimal(20)) / 1000 / 1000", Some("epoch")),
    ("decimal(20)", "us div 1000", Some("epochMillis")),
    ("double", "us / 1e6", Some("epoch")),
    ("float", "us / 1e6", Some("epoch")),
];

async fn table_of(flavour: headwaters_testkit::Flavour, kind: &str, value: &str) -> Result<Table<'static>> {
    let table = Table::make(flavour, &format!("c {kind}")).await?;
    for (id, at) in MOMENTS.iter().enumerate() {
        let since = "timestampdiff(microsecond, '1970-01-01 00:00:00', at)";
        let moment = format!("(select cast('{at}' as datetime(6)) as at) as m");
        table
            .execute(&format!("insert into t select {id}, {value} from (select at, {since} as us from {moment}) as n"))
            .await?;
    }
    Ok(table)
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_that_meet_hold_each_row_once_whatever_the_column() -> Result<()> {
    let bounds = ["2023-12-31", "2024-01-01", "2024-01-01 00:00:01", "2024-01-02", "2024-01-03"].map(ms);
    for flavour in FLAVOURS {
        for (kind, value, format) in KINDS {
            let table = table_of(flavour, kind, value).await?;
            let mut flow = table.flow("C");
            // Who writes on the server does not matter for moments that are long gone, and takes time to find out.
            flow.access = table.access("reader", "");
            flow.column = delta("C", format, Some("UTC"));
            // A millisecond more cuts second precision in two.
            let cut = [bounds[0], bounds[1], bounds[1] + 1, bounds[2], bounds[3], bounds[4]];
            let mut asked = Vec::new();
            for pair in cut.windows(2) {
                asked.extend(flow.asked(pair[0], pair[1]).await?);
            }
            asked.sort_unstable();
            assert_eq!(asked, [0, 1, 2, 3, 4, 5, 6], "{flavour} {kind} {format:?}");
            assert_eq!(
                flow.asked(i64::MIN, i64::MAX).await?.len(),
                7,
                "{flavour} {kind}: moments that no column holds"
            );
            assert!(flow.asked(i64::MAX - 1, i64::MAX).await?.is_empty(), "{flavour} {kind}");
            let mut since = Vec::new();
            for bound in bounds {
                since.extend(flow.run_at(bound).await?.ids);
            }
            since.sort_unstable();
            assert_eq!(since, [0, 1, 2, 3, 4, 5, 6], "{flavour} {kind} {format:?}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_the_moments_of_a_window_are_read() -> Result<()> {
    for flavour in FLAVOURS {
        for (kind, value, format) in KINDS {
            if matches!(kind, "float" | "date") || value.contains("%M %e") || value.contains("'%Y/%m/%d'") {
                continue;
            }
            let table = table_of(flavour, kind, value).await?;
            let mut flow = table.flow("c");
            flow.access = table.access("reader", "");
            flow.column = delta("c", format, None);
            let first_second = flow.asked(ms("2024-01-01"), ms("2024-01-01 00:00:01")).await?;
            assert_eq!(first_second, [0, 1, 2], "{flavour} {kind} {format:?}");
            flow.first = FirstRead::From(ms("2024-01-01 00:00:01"));
            let ran = flow.run_at(ms("2024-01-02")).await?;
            assert_eq!(ran.ids, [3, 4], "{flavour} {kind} {format:?}");
            let window = ran.plan.window.expect("a window");
            assert_eq!((window.start_ms, window.end_ms), (ms("2024-01-01 00:00:01"), ms("2024-01-02")), "{kind}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_without_a_usable_value_come_with_the_first_run_alone_and_are_counted_later() -> Result<()> {
    for flavour in FLAVOURS {
        for (kind, odd) in [
            ("datetime(3)", "null), (3, '0000-00-00'"),
            ("timestamp null", "null), (3, '0000-00-00'"),
            ("date", "null), (3, '0000-00-00'"),
            ("varchar(30)", "null), (3, 'soon"),
            ("varchar(30)", "'9999-99-99 99:99:99Z'), (3, ''"),
        ] {
            let odd = odd.replace("'soon", "'soon'");
            let table = Table::make(flavour, &format!("at {kind}, index (at)")).await?;
            table.execute(&format!("insert into t values (1, '2024-01-01 10:00:00'), (2, {odd})")).await?;
            let mut flow = table.flow("at");
            let first = flow.run_at(ms("2024-01-02")).await?;
            assert_eq!(first.ids, [1, 2, 3], "{flavour} {kind}");
            assert!(!first.has_note("no usable value"), "{:?}", first.plan.notes);
            table.execute("insert into t values (4, null), (5, '2024-01-02 00:00:00')").await?;
            let second = flow.run_at(ms("2024-01-04")).await?;
            assert_eq!(second.ids, [5], "{flavour} {kind}");
            assert!(
                second.has_note("3 rows have no usable value in column at"),
                "{flavour} {kind}: {:?}",
                second.plan.notes
            );
            let mut late = table.flow("at");
            late.first = FirstRead::From(ms("2024-01-01"));
            assert_eq!(late.run_at(ms("2024-01-04")).await?.ids, [1, 5], "{flavour} {kind}");
        }
        // A date that does not exist has its place among those that do.
        let table = Table::make(flavour, "at date").await?;
        table.execute("insert into t values (1, '2024-02-00'), (2, '2024-02-31'), (3, '2024-03-01')").await?;
        let mut flow = table.flow("at");
        assert_eq!(flow.run_at(ms("2024-02-01")).await?.ids, [1]);
        assert_eq!(flow.run_at(ms("2024-03-01")).await?.ids, [2]);
        assert_eq!(flow.run_at(ms("2024-03-02")).await?.ids, [3]);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hour_that_repeats_in_autumn_loses_and_doubles_nothing() -> Result<()> {
    for flavour in FLAVOURS {
        let walls = ["00:59:59", "01:00:00", "01:10:00", "01:30:00", "01:10:00", "01:30:00", "01:59:59", "02:00:00"];
        // When each was written, in UTC: the hour between 1 and 2 passes twice.
        let written = ["04:59:59", "05:00:00", "05:10:00", "05:30:00", "06:10:00", "06:30:00", "06:59:59", "07:00:00"];
        for (kind, format) in [("datetime", None), ("varchar(40)", None), ("varchar(40)", Some("dd.MM.yyyy HH:mm:ss"))]
        {
            let table = Table::make(flavour, &format!("at {kind}")).await?;
            let mut flow = table.flow("at");
            flow.access =
                table.access("admin", if kind == "datetime" { "SourceTimeZone=America/New_York" } else { "" });
            flow.column = delta("at", format, Some("America/New_York"));
            let mut read = Vec::new();
            for (id, (wall, utc)) in walls.iter().zip(written).enumerate() {
                let value = if format.is_some() { format!("03.11.2024 {wall}") } else { format!("2024-11-03 {wall}") };
                table.execute(&format!("insert into t values ({id}, '{value}')")).await?;
                read.extend(flow.run_at(ms(&format!("2024-11-03 {utc}"))).await?.ids);
            }
            read.extend(flow.run_at(ms("2024-11-03 07:00:01")).await?.ids);
            read.sort_unstable();
            assert_eq!(read, [0, 1, 2, 3, 4, 5, 6, 7], "{flavour} {kind}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_that_tell_no_time_are_refused_with_what_to_do() -> Result<()> {
    let columns =
        "f double, g json, b tinyint(1), y year, e enum('a'), words varchar(30), n int, at datetime, z varchar(30)";
    for flavour in FLAVOURS {
        let table = Table::make(flavour, columns).await?;
        for (name, format, zone, hint) in [
            ("nothing", None, None, "describe the table"),
            ("f", None, None, "epoch"),
            ("g", None, None, "date-time column"),
            ("b", None, None, "date-time column"),
            ("y", None, None, "date-time column"),
            ("e", Some("epoch"), None, "date-time column"),
            ("words", Some("yyyy-MM-dd HH:mm:ssXXX"), None, "yyyy or yy"),
            ("words", Some("epoch"), None, "yyyy or yy"),
            ("z", None, Some("Mars/Olympus"), "Europe/Zurich"),
        ] {
            let mut flow = table.flow(name);
            flow.column = delta(name, format, zone);
            let request = flow.request(flow.since(0));
            let error = MySqlSource::default().check_read(&flow.access, &request).await.expect_err(name);
            assert_eq!(error.fault().kind, SourceErrorKind::DeltaColumn, "{flavour} {name}: {error}");
            assert!(error.fault().hint.as_deref().is_some_and(|found| found.contains(hint)), "{error:?}");
            assert!(flow.run().await.is_err(), "{name}");
        }
        for (name, format) in [("n", None), ("at", None), ("words", Some("dd.MM.yy")), ("f", Some("epochMillis"))] {
            let mut flow = table.flow(name);
            flow.column = delta(name, format, None);
            let request = flow.request(flow.since(0));
            MySqlSource::default().check_read(&flow.access, &request).await?;
        }
        let asked = table.flow("n").asked(0, 1).await.expect_err("a counter has no windows");
        assert!(asked.to_string().contains("counts"), "{asked}");
    }
    Ok(())
}

#[tokio::test]
async fn a_watermark_of_another_column_or_kind_is_not_gone_on_from() -> Result<()> {
    let table = Table::make(FLAVOURS[0], "n int, at datetime").await?;
    for (column, of) in [("n", "at"), ("n", "n"), ("at", "other")] {
        let mut flow = table.flow(column);
        let position = Position::Moment { through_us: 0 };
        flow.watermark = Some(Watermark::at(of, position));
        let error = flow.run().await.expect_err("another meaning");
        assert!(error.to_string().contains("the flow has read by the column"), "{error}");
    }
    Ok(())
}

#[tokio::test]
async fn a_watermark_of_another_table_is_not_gone_on_from() -> Result<()> {
    let table = Table::make(FLAVOURS[0], "at datetime").await?;
    let other = Table::make(FLAVOURS[0], "at datetime").await?;
    let mut flow = table.flow("at");
    flow.run_at(ms("2024-01-02")).await?;
    let mut moved = other.flow("at");
    moved.watermark = flow.watermark.clone();
    let error = MySqlSource::default().check_read(&moved.access, &moved.request(moved.since(0))).await.unwrap_err();
    assert_eq!(error.fault().kind, SourceErrorKind::DeltaColumn);
    assert!(error.to_string().contains(&format!("has read the table {}.t so far", table.schema)), "{error}");
    assert!(error.fault().hint.as_deref().is_some_and(|hint| hint.contains("make a new flow")), "{error:?}");
    // What an older release stored does not say which table it was.
    moved.watermark = moved.watermark.map(|watermark| Watermark { table: None, filter: None, ..watermark });
    assert!(!moved.run_at(ms("2024-01-03")).await?.has_note("the row filter was changed"));
    Ok(())
}

#[tokio::test]
async fn a_changed_row_filter_is_told_once() -> Result<()> {
    let table = Table::make(FLAVOURS[0], "at datetime").await?;
    let mut flow = table.flow("at");
    flow.run_at(ms("2024-01-02")).await?;
    flow.filter = Some(json!({"type": "PQL", "format": "pql/json", "value": filter(">", "id", 2)}));
    let ran = flow.run_at(ms("2024-01-03")).await?;
    assert!(ran.has_note("the row filter was changed: rows before 2024-01-02T00:00:00Z by at"), "{:?}", ran.plan.notes);
    assert!(!flow.run_at(ms("2024-01-04")).await?.has_note("the row filter was changed"));
    Ok(())
}

#[tokio::test]
async fn values_are_not_read_in_another_zone_or_format_than_before() -> Result<()> {
    let table = Table::make(FLAVOURS[0], "at datetime, words varchar(30)").await?;
    let mut flow = table.flow("at");
    flow.run_at(ms("2024-01-01")).await?;
    flow.access = table.access("admin", "SourceTimeZone=Asia/Kolkata");
    let error = flow.run_at(ms("2024-01-02")).await.expect_err("another zone");
    assert!(error.to_string().contains("Asia/Kolkata instead of UTC"), "{error}");
    let mut flow = table.flow("words");
    flow.run_at(ms("2024-01-01")).await?;
    flow.column = delta("words", Some("yyyyMMdd"), None);
    let error = flow.run_at(ms("2024-01-02")).await.expect_err("another format");
    assert!(error.to_string().contains("yyyyMMdd, UTC instead of yyyy-MM-dd HH:mm:ss, UTC"), "{error}");
    Ok(())
}
