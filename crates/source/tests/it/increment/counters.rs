//! Counters: what is read of them, and what waits.

use std::time::Duration;

use anyhow::Result;
use headwaters_model::watermark::{FirstRead, Position};
use headwaters_testkit::Flavour;
use mysql_async::prelude::Queryable;
use tokio::time::sleep;

use super::{FAR_MS, FLAVOURS, Flow, Table, own_server};

fn position(flow: &Flow) -> (Option<String>, usize) {
    match flow.watermark.as_ref().map(|watermark| &watermark.position) {
        Some(Position::Counter { through, seen }) => (through.clone(), seen.len()),
        other => panic!("{other:?}"),
    }
}

/// Runs until something is read.
async fn next(flow: &mut Flow) -> Result<Vec<i32>> {
    for _ in 0..100 {
        let ids = flow.run().await?.ids;
        if !ids.is_empty() {
            return Ok(ids);
        }
        sleep(Duration::from_millis(100)).await;
    }
    Ok(Vec::new())
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_of_every_type_move_by_value() -> Result<()> {
    for flavour in FLAVOURS {
        let server = own_server(flavour).await?;
        for (kind, values, last) in [
            ("int", ["-5", "0", "7", "8"], "8"),
            (
                "bigint unsigned",
                ["1", "9223372036854775808", "18446744073709551614", "18446744073709551615"],
                "18446744073709551615",
            ),
            (
                "decimal(40,2)",
                ["-1.50", "9.90", "10.00", "12345678901234567890123456789012345678.25"],
                "12345678901234567890123456789012345678.25",
            ),
            ("mediumint unsigned zerofill", ["1", "2", "30", "400"], "400"),
        ] {
            let table = Table::make_on(&server, &format!("n {kind}, index (n)")).await?;
            let [a, b, c, d] = values;
            table.execute(&format!("insert into t values (1, {a}), (2, {b}), (9, null)")).await?;
            let mut flow = table.flow("n");
            flow.lag_ms = 300;
            let first = flow.run().await?;
            assert_eq!(first.ids, [1, 2, 9], "{flavour} {kind}: {:?}", first.plan.notes);
            assert_eq!(first.plan.window, None, "a counter has no moments");
            table.execute(&format!("insert into t values (3, {c}), (4, {d}), (8, null)")).await?;
            assert_eq!(next(&mut flow).await?, [3, 4], "{flavour} {kind}");
            // The server may show zeros that fill the number up.
            let (through, seen) = position(&flow);
            let through = through.map(|through| through.trim_start_matches('0').to_owned());
            assert_eq!((through.as_deref(), seen), (Some(last), 0), "{flavour} {kind}");
            let empty = flow.run().await?;
            assert_eq!(empty.ids, [0; 0]);
            assert!(empty.has_note("2 rows have no usable value in column n"), "{:?}", empty.plan.notes);
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_smaller_number_that_is_committed_later_is_not_lost() -> Result<()> {
    for flavour in FLAVOURS {
        let server = own_server(flavour).await?;
        // Once with PROCESS, by which the writer is seen; once by the lag alone.
        for (account, lag_ms) in [("admin", 0), ("reader", 2_000)] {
            let table = Table::make_on(&server, "n int, index (n)").await?;
            table.execute("insert into t values (1, 1)").await?;
            let mut flow = table.flow("n");
            flow.access = table.access(account, "");
            flow.lag_ms = lag_ms;
            assert_eq!(next(&mut flow).await?, [1], "{flavour} {account}");
            let mut writer = table.session().await?;
            writer.query_drop("start transaction").await?;
            writer.query_drop("insert into t values (100, 100)").await?;
            table.execute("insert into t values (101, 101)").await?;
            sleep(Duration::from_millis(1_100)).await;
            let held = flow.run().await?;
            assert_eq!(held.ids, [0; 0], "{flavour} {account}");
            assert!(held.has_note("values of n up to 101 are left for later runs"), "{:?}", held.plan.notes);
            assert_eq!(position(&flow), (Some("1".to_owned()), 1), "{flavour} {account}");
            writer.query_drop("commit").await?;
            assert_eq!(next(&mut flow).await?, [100, 101], "{flavour} {account}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_run_waits_for_its_bound_no_longer_than_the_lag() -> Result<()> {
    let server = own_server(Flavour::MariaDb).await?;
    let table = Table::make_on(&server, "n int, index (n)").await?;
    table.execute("insert into t values (1, 1), (2, null)").await?;
    let mut flow = table.flow("n");
    flow.access = table.access("reader", "");
    flow.lag_ms = 700;
    let started = std::time::Instant::now();
    assert_eq!(flow.run().await?.ids, [1, 2]);
    assert!(started.elapsed() >= Duration::from_millis(700));

    // A writer that outlives the lag leaves the first run without a bound, and nothing is lost.
    let table = Table::make_on(&server, "n int, index (n)").await?;
    let mut writer = table.session().await?;
    writer.query_drop("start transaction").await?;
    writer.query_drop("insert into t values (1, 1)").await?;
    table.execute("insert into t values (2, 2), (3, null)").await?;
    let mut flow = table.flow("n");
    flow.lag_ms = 700;
    assert_eq!(flow.run().await?.ids, [0; 0]);
    assert_eq!(position(&flow).0, None);
    writer.query_drop("commit").await?;
    assert_eq!(next(&mut flow).await?, [1, 2, 3]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_backfill_a_counter_begins_behind_what_is_there() -> Result<()> {
    let server = own_server(Flavour::MySql).await?;
    let table = Table::make_on(&server, "n bigint").await?;
    let mut empty = table.flow("n");
    empty.first = FirstRead::From(FAR_MS);
    assert_eq!(empty.run().await?.ids, [0; 0]);
    table.execute("insert into t values (1, 10), (2, null)").await?;
    let mut flow = table.flow("n");
    flow.first = FirstRead::From(0);
    let first = flow.run().await?;
    assert_eq!((first.ids, position(&flow)), (vec![], (Some("10".to_owned()), 0)));
    table.execute("insert into t values (3, 11), (4, 10)").await?;
    assert_eq!(next(&mut flow).await?, [3]);
    assert_eq!(next(&mut empty).await?, [1, 3, 4], "all has come after its first run, but for what has no number");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_counter_that_went_back_is_told() -> Result<()> {
    let server = own_server(FLAVOURS[0]).await?;
    // The largest value is told without an index too.
    let table = Table::make_on(&server, "n bigint").await?;
    table.execute("insert into t values (1, 70)").await?;
    let mut flow = table.flow("n");
    assert_eq!(next(&mut flow).await?, [1]);
    table.execute("truncate t").await?;
    let emptied = flow.run().await?;
    assert!(emptied.has_note("and 70 was read: smaller values are not read"), "{:?}", emptied.plan.notes);
    table.execute("insert into t values (1, 5)").await?;
    let error = flow.run().await.expect_err("the new rows would be lost");
    assert!(error.to_string().contains("is 5, but 70 was read before"), "{error}");
    table.execute("insert into t values (2, 71)").await?;
    assert_eq!(next(&mut flow).await?, [2]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_backfill_what_was_open_when_the_counter_begins_is_not_lost() -> Result<()> {
    let server = own_server(Flavour::MariaDb).await?;
    let table = Table::make_on(&server, "n int, index (n)").await?;
    table.execute("insert into t values (1, 1)").await?;
    let mut writer = table.session().await?;
    writer.query_drop("start transaction").await?;
    writer.query_drop("insert into t values (10, 10)").await?;
    table.execute("insert into t values (11, 11)").await?;
    let mut flow = table.flow("n");
    (flow.first, flow.lag_ms) = (FirstRead::From(0), 700);
    let held = flow.run().await?;
    assert!(held.has_note("the flow has not begun: values of n up to 11 are left"), "{:?}", held.plan.notes);
    assert!(flow.watermark.is_none());
    writer.query_drop("commit").await?;
    let begun = flow.run().await?;
    assert!(begun.has_note("the flow begins behind 11, the largest value of n"), "{:?}", begun.plan.notes);
    table.execute("insert into t values (12, 12)").await?;
    assert_eq!(next(&mut flow).await?, [12]);
    Ok(())
}
