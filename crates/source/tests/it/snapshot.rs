//! Several readers see one moment, or there is one reader and a note that says why.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use headwaters_model::job::Splits;
use headwaters_source::contract::{OpenTable, Source};
use headwaters_source::mysql::MySqlSource;
use headwaters_testkit::{DatabaseServer, Flavour, ServerOptions};
use mysql_async::prelude::Queryable;
use tokio_util::sync::CancellationToken;

use crate::neutral::neutral;
use crate::reading::{access, drain, limits, request};

const ROWS: usize = 4_000;

/// A table of [`ROWS`] rows whose `v` are all different.
async fn table(server: &DatabaseServer) -> Result<String> {
    let schema = server.fresh_schema("moment").await?;
    server.execute(&format!("create table `{schema}`.t (id bigint not null primary key, v int not null)")).await?;
    let rows: Vec<String> = (0..ROWS).map(|n| format!("({}, {n})", n * 1000)).collect();
    server.execute(&format!("insert into `{schema}`.t values {}", rows.join(","))).await?;
    server.execute(&format!("analyze table `{schema}`.t")).await?;
    Ok(schema)
}

async fn open(server: &DatabaseServer, account: &str, schema: &str, readers: u32) -> Result<OpenTable> {
    let access = access(server, account, schema);
    let request = request("t", Splits::Exactly(8));
    Ok(MySqlSource::default().open(&access, &request, limits(readers), CancellationToken::new()).await?)
}

/// Moves rows to other keys, one transaction after the other, until told to stop: at every moment there are [`ROWS`].
async fn move_rows(server: &DatabaseServer, schema: &str, stop: &AtomicBool) -> Result<u32> {
    let mut connection = server.connect().await?;
    let mut moved = 0;
    while !stop.load(Ordering::Relaxed) {
        let v = moved * 7919 % u32::try_from(ROWS)?;
        connection.query_drop("start transaction").await?;
        connection.query_drop(format!("delete from `{schema}`.t where v = {v}")).await?;
        let id = (u64::from(moved) * 48_271) % (1000 * ROWS as u64) / 1000 * 1000 + 1 + u64::from(moved % 997);
        connection.query_drop(format!("insert ignore into `{schema}`.t values ({id}, {v})")).await?;
        let there: Option<u32> = connection.query_first(format!("select 1 from `{schema}`.t where v = {v}")).await?;
        connection.query_drop(if there.is_some() { "commit" } else { "rollback" }).await?;
        moved += 1;
    }
    connection.disconnect().await?;
    Ok(moved)
}

/// Reads the table over and over while rows move between the splits; each time every row must be there once.
async fn rows_are_read_once(server: &DatabaseServer, account: &str) -> Result<()> {
    let schema = table(server).await?;
    server.execute(&format!("create index v on `{schema}`.t (v)")).await?;
    let stop = AtomicBool::new(false);
    let reading = async {
        let mut outcome = Ok(());
        for _ in 0..8 {
            outcome = one_reading(server, account, &schema).await;
            if outcome.is_err() {
                break;
            }
        }
        stop.store(true, Ordering::Relaxed);
        outcome
    };
    let (read, moved) = tokio::join!(reading, move_rows(server, &schema, &stop));
    read?;
    assert!(moved? > 10, "rows moved meanwhile");
    Ok(())
}

async fn one_reading(server: &DatabaseServer, account: &str, schema: &str) -> Result<()> {
    let open = open(server, account, schema, 4).await?;
    assert_eq!(open.readers.len(), 4, "{:?}", open.plan.notes);
    let landed = drain(open).await?;
    let neutral = neutral(&landed)?;
    let values: BTreeSet<i64> = neutral.rows.iter().filter_map(|row| row["v"].as_i64()).collect();
    assert_eq!((landed.rows(), values.len()), (ROWS, ROWS), "each row once");
    assert!(landed.rows_by_split.iter().filter(|rows| **rows > 0).count() > 4, "{:?}", landed.rows_by_split);
    Ok(())
}

#[tokio::test]
async fn readers_of_mariadb_share_a_moment_by_a_short_lock() -> Result<()> {
    rows_are_read_once(DatabaseServer::shared(Flavour::MariaDb).await?, "locker").await
}

#[tokio::test]
async fn readers_of_mysql_share_a_moment_by_a_short_lock() -> Result<()> {
    rows_are_read_once(DatabaseServer::shared(Flavour::MySql).await?, "locker").await
}

#[tokio::test]
async fn readers_of_mariadb_agree_on_a_position_without_any_privilege() -> Result<()> {
    let server =
        ServerOptions::new(Flavour::MariaDb).argument("--log-bin=agree").argument("--server-id=7").start().await?;
    rows_are_read_once(&server, "reader").await?;
    let schema = table(&server).await?;
    let seen = open(&server, "admin", &schema, 4).await?;
    assert!(seen.plan.notes.is_empty(), "{:?}", seen.plan.notes);
    let unseen = open(&server, "reader", &schema, 4).await?;
    let note = unseen.plan.notes.first().context("a note")?;
    assert!(note.contains("not proven") && note.contains("GRANT BINLOG MONITOR"), "{note}");
    Ok(())
}

#[tokio::test]
async fn without_the_privilege_there_is_one_reader_and_a_note() -> Result<()> {
    for flavour in [Flavour::MariaDb, Flavour::MySql] {
        let server = ServerOptions::new(flavour).argument("--skip-log-bin").start().await?;
        let schema = table(&server).await?;
        let open = open(&server, "reader", &schema, 4).await?;
        assert_eq!(open.readers.len(), 1);
        let note = open.plan.notes.first().context("a note")?;
        assert!(note.contains(&format!("GRANT LOCK TABLES ON `{schema}`.*")), "{note}");
        assert_eq!(drain(open).await?.rows(), ROWS);
    }
    Ok(())
}

#[tokio::test]
async fn a_writer_that_does_not_end_leaves_one_reader_and_a_note() -> Result<()> {
    let server = DatabaseServer::shared(Flavour::MySql).await?;
    let schema = table(server).await?;
    let mut writer = server.connect().await?;
    writer.query_drop("start transaction").await?;
    writer.query_drop(format!("update `{schema}`.t set v = v where id = 0")).await?;
    let open = open(server, "locker", &schema, 4).await?;
    assert_eq!(open.readers.len(), 1);
    let note = open.plan.notes.first().context("a note")?;
    assert!(note.contains("within 5 seconds"), "{note}");
    assert_eq!(drain(open).await?.rows(), ROWS);
    writer.query_drop("rollback").await?;
    writer.disconnect().await?;
    Ok(())
}

#[tokio::test]
async fn rows_written_after_the_moment_are_not_read() -> Result<()> {
    for flavour in [Flavour::MariaDb, Flavour::MySql] {
        let server = DatabaseServer::shared(flavour).await?;
        let schema = table(server).await?;
        let open = open(server, "locker", &schema, 2).await?;
        server.execute(&format!("insert into `{schema}`.t values (-1, -1), (99999999, -2)")).await?;
        server.execute(&format!("delete from `{schema}`.t where id between 1 and 100000")).await?;
        assert_eq!(drain(open).await?.rows(), ROWS, "{flavour}");
    }
    Ok(())
}

#[tokio::test]
async fn a_table_without_transactions_is_one_statement_and_a_note() -> Result<()> {
    let server = DatabaseServer::shared(Flavour::MariaDb).await?;
    let schema = server.fresh_schema("engines").await?;
    server.execute(&format!("create table `{schema}`.t (id int primary key, v int) engine = myisam")).await?;
    server.execute(&format!("insert into `{schema}`.t values (1, 1), (2, 2), (3, 3)")).await?;
    let open = open(server, "locker", &schema, 4).await?;
    assert_eq!((open.readers.len(), open.plan.splits.len()), (1, 1));
    assert!(open.plan.notes.iter().any(|note| note.contains("not transactional")), "{:?}", open.plan.notes);
    assert_eq!(drain(open).await?.rows(), 3);
    Ok(())
}

#[tokio::test]
async fn the_definition_of_a_table_stays_while_it_is_read() -> Result<()> {
    for flavour in [Flavour::MariaDb, Flavour::MySql] {
        let server = DatabaseServer::shared(flavour).await?;
        let schema = table(server).await?;
        let open = open(server, "locker", &schema, 2).await?;
        let mut other = server.connect().await?;
        other.query_drop("set session lock_wait_timeout = 1").await?;
        let altered = other.query_drop(format!("alter table `{schema}`.t modify v varchar(20)")).await;
        assert!(altered.is_err(), "{flavour}: the snapshot holds the definition");
        assert_eq!(drain(open).await?.rows(), ROWS);
        other.query_drop(format!("alter table `{schema}`.t modify v varchar(20)")).await?;
        other.disconnect().await?;
    }
    Ok(())
}
