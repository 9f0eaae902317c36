//! Rows that are committed after a run has read what lies around them.

use std::time::Duration;

use anyhow::Result;
use headwaters_model::source_error::{Retry, SourceError};
use headwaters_model::watermark::{FirstRead, Position, Watermark};
use headwaters_testkit::{Flavour, ServerOptions};
use mysql_async::prelude::Queryable;
use tokio::time::sleep;

use super::{FAR_MS, FLAVOURS, Flow, Table, ms, own_server};

/// What a transaction may take before its rows count as late, where it can not be seen.
const LAG: Duration = Duration::from_millis(2_500);

/// Runs until all ids have been read, each of them once; fails if one comes twice or it takes too long.
async fn run_until(flow: &mut Flow, ids: &[i32]) -> Result<()> {
    let mut read = Vec::new();
    for _ in 0..60 {
        read.extend(flow.run().await?.ids);
        read.sort_unstable();
        if read == ids {
            return Ok(());
        }
        assert!(read.len() < ids.len(), "{read:?}");
        sleep(Duration::from_millis(200)).await;
    }
    panic!("read {read:?}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_committed_after_a_run_is_read_by_a_later_one() -> Result<()> {
    for flavour in FLAVOURS {
        let server = own_server(flavour).await?;
        let table = Table::make_on(&server, "at datetime(6), index (at)").await?;
        let mut flow = table.flow("at");
        flow.first = FirstRead::From(ms("2024-01-01"));
        let mut writer = table.session().await?;
        writer.query_drop("start transaction").await?;
        writer.query_drop("insert into t values (1, now(6))").await?;
        sleep(Duration::from_millis(1_500)).await;
        table.execute("insert into t values (2, now(6))").await?;
        sleep(Duration::from_millis(50)).await;
        // The account has PROCESS: the open transaction is seen, and the second row waits with the first.
        let ran = flow.run().await?;
        assert_eq!(ran.ids, [0; 0], "{flavour} {:?}", ran.plan);
        writer.query_drop("commit").await?;
        run_until(&mut flow, &[1, 2]).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_privilege_the_lag_guards_and_the_run_names_the_grant() -> Result<()> {
    for flavour in FLAVOURS {
        let server = own_server(flavour).await?;
        let table = Table::make_on(&server, "at datetime(6), index (at)").await?;
        let mut flow = table.flow("at");
        flow.access = table.access("reader", "");
        flow.first = FirstRead::From(ms("2024-01-01"));
        flow.lag_ms = i64::try_from(LAG.as_millis())?;
        let mut writer = table.session().await?;
        writer.query_drop("start transaction").await?;
        writer.query_drop("insert into t values (1, now(6))").await?;
        table.execute("insert into t values (2, now(6))").await?;
        let ran = flow.run().await?;
        assert_eq!(ran.ids, [0; 0], "{flavour}");
        assert!(ran.has_note("GRANT PROCESS ON *.*"), "{flavour}: {:?}", ran.plan.notes);
        writer.query_drop("commit").await?;
        run_until(&mut flow, &[1, 2]).await?;
        flow.access = table.access("admin", "");
        assert!(!flow.run().await?.has_note("GRANT PROCESS"));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_waits_for_a_lock_holds_moments_and_counters_back() -> Result<()> {
    for flavour in FLAVOURS {
        let server = own_server(flavour).await?;
        for lock in ["flush tables with read lock", "lock tables t read", "lock tables other write"] {
            let table = Table::make_on(&server, "at datetime(6), n int, index (at), index (n)").await?;
            table.execute("create table other as select 1 as one").await?;
            table.execute("insert into t values (1, '2024-01-02', 1)").await?;
            let mut flows = [table.flow("at"), table.flow("n")];
            for flow in &mut flows {
                flow.lag_ms = 500;
                run_until(flow, &[1]).await?;
            }
            let mut blocker = table.session().await?;
            let mut writer = table.session().await?;
            blocker.query_drop(lock).await?;
            let waiting =
                tokio::spawn(async move { writer.query_drop("insert into t select 2, now(6), 2 from other").await });
            // It waits for longer than the lag and than all margins.
            sleep(Duration::from_millis(3_500)).await;
            let mut late = vec![2];
            if lock.contains("other") {
                table.execute("insert into t values (3, now(6), 3)").await?;
                late.push(3);
            }
            for flow in &mut flows {
                assert_eq!(flow.run().await?.ids, [0; 0], "{flavour} {lock}");
            }
            blocker.query_drop("unlock tables").await?;
            waiting.await??;
            for flow in &mut flows {
                run_until(flow, &late).await?;
            }
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_whose_trigger_reads_holds_a_window_back() -> Result<()> {
    for flavour in FLAVOURS {
        let server = own_server(flavour).await?;
        let table = Table::make_on(&server, "at datetime(6), index (at)").await?;
        table.execute("create trigger slow before insert on t for each row set @waited = (select sleep(3))").await?;
        let mut flow = table.flow("at");
        flow.lag_ms = 500;
        flow.first = FirstRead::From(ms("2024-01-01"));
        let mut writer = table.session().await?;
        let waiting = tokio::spawn(async move { writer.query_drop("insert into t values (1, now(6))").await });
        sleep(Duration::from_millis(2_300)).await;
        assert_eq!(flow.run().await?.ids, [0; 0], "{flavour}");
        waiting.await??;
        run_until(&mut flow, &[1]).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_rows_others_may_write_is_never_quiet() -> Result<()> {
    for flavour in FLAVOURS {
        let server = own_server(flavour).await?;
        let table = Table::make_on(&server, "n int, index (n)").await?;
        table.execute("insert into t values (1, 1)").await?;
        let mut flow = table.flow("n");
        run_until(&mut flow, &[1]).await?;
        table.execute("insert into t values (2, 2)").await?;
        flow.lag_ms = 60_000;
        server.execute("set global read_only = 1").await?;
        let ran = flow.run().await?;
        assert_eq!(ran.ids, [0; 0], "{flavour}: a smaller number may still come from elsewhere");
        assert!(ran.has_note("read-only or belongs to a cluster"), "{:?}", ran.plan.notes);
        server.execute("set global read_only = 0").await?;
        run_until(&mut flow, &[2]).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_ends_where_the_watermark_stands() -> Result<()> {
    for flavour in FLAVOURS {
        let server = own_server(flavour).await?;
        let table = Table::make_on(&server, "at datetime(6), index (at)").await?;
        let mut flow = table.flow("at");
        for _ in 0..3 {
            let ran = flow.run().await?;
            let end_ms = ran.plan.window.map(|window| window.end_ms);
            let Some(Position::Moment { through_us }) = ran.plan.reached.map(|reached| reached.position) else {
                panic!("no moment")
            };
            assert_eq!(end_ms.map(|end_ms| end_ms * 1_000), Some(through_us), "{flavour}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_servers_zone_moves_no_bound() -> Result<()> {
    for flavour in [Flavour::MariaDb, Flavour::MySql] {
        for zone in ["Asia/Kolkata", "America/New_York"] {
            let server = ServerOptions::new(flavour).timezone(zone).start().await?;
            let table =
                Table::make_on(&server, "at timestamp(6) null, local datetime(6), index (at), index (local)").await?;
            let mut session = table.server.connect().await?;
            session.query_drop(format!("use `{}`", table.schema)).await?;
            for (column, declared) in [("at", ""), ("local", &*format!("SourceTimeZone={zone}"))] {
                session.query_drop("delete from t").await?;
                let mut flow = table.flow(column);
                flow.access = table.access("admin", declared);
                flow.first = FirstRead::From(ms("2024-01-01"));
                let mut writer = table.server.connect().await?;
                writer.query_drop(format!("use `{}`", table.schema)).await?;
                writer.query_drop("start transaction").await?;
                writer.query_drop("insert into t values (1, now(6), now(6))").await?;
                session.query_drop("insert into t values (2, now(6), now(6))").await?;
                sleep(Duration::from_millis(1_200)).await;
                session
                    .query_drop("insert into t values (3, now(6) - interval 1 hour, now(6) - interval 1 hour)")
                    .await?;
                let ran = flow.run().await?;
                assert_eq!(ran.ids, [3], "{flavour} {zone} {column}: {:?}", ran.plan);
                writer.query_drop("commit").await?;
                run_until(&mut flow, &[1, 2]).await?;
            }
            let ran = table.flow("local").run().await?;
            assert!(ran.has_note("SourceTimeZone"), "{:?}", ran.plan.notes);
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_transactions_that_write_hold_a_window_back() -> Result<()> {
    for flavour in FLAVOURS {
        let server = own_server(flavour).await?;
        let table = Table::make_on(&server, "at datetime(6), index (at)").await?;
        let other = Table::make_on(&server, "v int").await?;
        let mut reader = table.session().await?;
        reader.query_drop("start transaction with consistent snapshot").await?;
        reader.query_drop("select * from t").await?;
        table.execute("insert into t values (1, now(6))").await?;
        sleep(Duration::from_millis(1_200)).await;
        let mut flow = table.flow("at");
        run_until(&mut flow, &[1]).await?;

        let name = format!("xa_{}", other.schema);
        let mut writer = other.session().await?;
        for statement in ["xa start '{}'", "insert into t values (1, 1)", "xa end '{}'", "xa prepare '{}'"] {
            writer.query_drop(statement.replace("{}", &name)).await?;
        }
        drop(writer.disconnect().await);
        sleep(Duration::from_millis(1_500)).await;
        table.execute("insert into t values (2, now(6))").await?;
        sleep(Duration::from_millis(50)).await;
        let prepared = flow.run().await?.ids;
        other.execute(&format!("xa commit '{name}'")).await?;
        assert_eq!(prepared, [0; 0], "{flavour}: a prepared transaction may still be committed");
        run_until(&mut flow, &[2]).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_from_the_future_does_not_move_the_watermark_there() -> Result<()> {
    for flavour in FLAVOURS {
        let server = own_server(flavour).await?;
        let table = Table::make_on(&server, "at datetime(6), index (at)").await?;
        table.execute("insert into t values (1, '9999-12-31 23:59:59.999999'), (2, '2024-01-01')").await?;
        let mut flow = table.flow("at");
        assert_eq!(flow.run().await?.ids, [2], "{flavour}");
        table.execute("insert into t values (3, now(6))").await?;
        run_until(&mut flow, &[3]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_clock_before_the_watermark_moves_nothing_and_another_server_is_told() -> Result<()> {
    let server = own_server(Flavour::MariaDb).await?;
    let table = Table::make_on(&server, "at datetime(6), index (at)").await?;
    table.execute("insert into t values (1, now(6)), (2, '2124-01-01')").await?;
    let mut flow = table.flow("at");
    let position = Position::Moment { through_us: ms("2124-01-01") * 1_000 };
    let server = Some("another".to_owned());
    let ahead = Watermark { server, ..Watermark::at("at", position.clone()) };
    flow.watermark = Some(ahead);
    let ran = flow.run_at(i64::MAX / 1_000).await?;
    assert_eq!(ran.ids, [0; 0]);
    assert!(ran.has_note("the source's clock shows"), "{:?}", ran.plan.notes);
    assert!(ran.has_note("instead of another"), "{:?}", ran.plan.notes);
    assert_eq!(flow.watermark.map(|watermark| watermark.position), Some(position), "it does not move back");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_stands_still_is_tried_again_later() -> Result<()> {
    for (flavour, make, end) in [
        (Flavour::MariaDb, "change master to master_host = '127.0.0.1', master_port = 1", "reset slave all"),
        (
            Flavour::MySql,
            "change replication source to source_host = '127.0.0.1', source_port = 1, source_user = 'nobody'",
            "reset replica all",
        ),
    ] {
        let server = ServerOptions::new(flavour).argument("--server-id=7").start().await?;
        let table = Table::make_on(&server, "at datetime(6), n int, index (at), index (n)").await?;
        table.execute("insert into t values (1, '2024-01-01', 1)").await?;
        server.execute(make).await?;
        for column in ["at", "n"] {
            let mut flow = table.flow(column);
            let error = flow.read(flow.since(FAR_MS)).await.expect_err("nobody knows what it lacks");
            let Some(SourceError::Transient(fault)) = error.downcast_ref::<SourceError>() else { panic!("{error:?}") };
            assert_eq!(fault.retry, Retry::Later, "{flavour} {column}: {fault:?}");
            assert!(fault.hint.as_deref().is_some_and(|hint| hint.contains("START REPLICA")), "{fault:?}");
            server.execute(end).await?;
            assert_eq!(flow.run().await?.ids, [1], "{flavour} {column}");
            server.execute(make).await?;
        }
        // Who may not ask, and finds the server closed to writers, takes it for a replica.
        server.execute("set global read_only = 1").await?;
        let mut flow = table.flow("at");
        flow.access = table.access("reader", "");
        assert!(flow.run().await?.has_note("may be a replica"), "{flavour}");
    }
    Ok(())
}

/// Rows that the writer commits; each transaction writes several, some of them late.
const WRITTEN: i32 = 600;

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_runs_under_a_busy_writer_read_each_row_once() -> Result<()> {
    for (flavour, kind) in [(Flavour::MariaDb, "datetime"), (Flavour::MySql, "timestamp(3) null")] {
        let server = own_server(flavour).await?;
        let table = Table::make_on(&server, &format!("at {kind}, index (at)")).await?;
        let mut writers = Vec::new();
        for start in [0, WRITTEN / 2] {
            let mut session = table.session().await?;
            writers.push(tokio::spawn(async move {
                // MariaDB cuts digits anyway; MySQL would round up, into the future.
                for id in (start..start + WRITTEN / 2).step_by(10) {
                    session.query_drop("start transaction").await?;
                    for id in id..id + 10 {
                        session.query_drop(format!("insert into t values ({id}, now())")).await?;
                        sleep(Duration::from_millis(if id % 97 == 0 { 900 } else { 1 })).await;
                    }
                    session.query_drop("commit").await?;
                }
                anyhow::Ok(())
            }));
        }
        let mut flow = table.flow("at");
        flow.first = FirstRead::From(ms("2024-01-01"));
        // Without it the last row of all would lie in the second of the clock.
        flow.lag_ms = 100;
        let mut read = Vec::new();
        for run in 0..1_000 {
            read.extend(flow.run().await?.ids);
            if run >= 100 && read.len() >= usize::try_from(WRITTEN)? {
                break;
            }
            sleep(Duration::from_millis(30)).await;
        }
        for writer in writers {
            writer.await??;
        }
        read.sort_unstable();
        assert_eq!(read, (0..WRITTEN).collect::<Vec<_>>(), "{flavour}");
    }
    Ok(())
}
