//! Reads that end early end on the server too, and never look complete.

use std::time::Duration;

use anyhow::{Context, Result};
use headwaters_model::job::Splits;
use headwaters_model::source_error::{SourceError, SourceErrorKind};
use headwaters_source::contract::{OpenTable, ReadLimits, Source};
use headwaters_source::mysql::MySqlSource;
use headwaters_testkit::{DatabaseServer, Flavour, ServerOptions};
use mysql_async::prelude::Queryable;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::reading::{access, limits, request};

/// How long a query may stay in the process list after its reader is gone.
const GONE: Duration = Duration::from_secs(10);

/// A table that takes far more than any buffer between the server and us.
async fn large_table(server: &DatabaseServer) -> Result<String> {
    let schema = server.fresh_schema("large").await?;
    server.execute(&format!("create table `{schema}`.t (id int primary key auto_increment, v varchar(1000))")).await?;
    server.execute(&format!("insert into `{schema}`.t (v) values (repeat('x', 1000)), (repeat('y', 1000))")).await?;
    for _ in 0..13 {
        server.execute(&format!("insert into `{schema}`.t (v) select v from `{schema}`.t")).await?;
    }
    Ok(schema)
}

async fn open(server: &DatabaseServer, schema: &str, comment: &str, cancel: CancellationToken) -> Result<OpenTable> {
    let limits = ReadLimits { comment: comment.to_owned(), batch_rows_max: 100, ..limits(1) };
    let request = request("t", Splits::Exactly(1));
    Ok(MySqlSource::default().open(&access(server, "reader", schema), &request, limits, cancel).await?)
}

async fn is_running(server: &DatabaseServer, comment: &str) -> Result<bool> {
    let list = format!("select count(*) from information_schema.processlist where info like '/* {comment}%'");
    Ok(server.query(&list).await?.first().and_then(|row| row.first().cloned().flatten()).is_some_and(|n| n != "0"))
}

async fn is_gone(server: &DatabaseServer, comment: &str) -> Result<bool> {
    let deadline = tokio::time::Instant::now() + GONE;
    while is_running(server, comment).await? {
        if tokio::time::Instant::now() > deadline {
            return Ok(false);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(true)
}

/// Starts a read, lets it get stuck behind a full channel, does `interrupt`, and returns how the read ended.
async fn interrupted<F: Future<Output = Result<()>>>(
    mut open: OpenTable,
    interrupt: impl FnOnce(mpsc::Receiver<headwaters_source::contract::Batch>) -> F,
) -> Result<Result<u64, SourceError>> {
    let mut reader = open.readers.pop().context("a reader")?;
    let split = open.plan.splits.first().context("a split")?;
    let (sender, mut receiver) = mpsc::channel(1);
    let reading = async {
        let totals = reader.read(split, &sender).await;
        drop(sender);
        totals.map(|totals| totals.rows)
    };
    let interrupting = async {
        receiver.recv().await.context("a first batch")?;
        interrupt(receiver).await
    };
    let (ended, interrupt) = tokio::join!(reading, interrupting);
    interrupt?;
    Ok(ended)
}

async fn take_all(mut receiver: mpsc::Receiver<headwaters_source::contract::Batch>) -> Result<()> {
    while receiver.recv().await.is_some() {}
    Ok(())
}

#[tokio::test]
async fn a_cancelled_read_is_gone_from_the_process_list() -> Result<()> {
    for flavour in [Flavour::MariaDb, Flavour::MySql] {
        let server = DatabaseServer::shared(flavour).await?;
        let schema = large_table(server).await?;
        let cancel = CancellationToken::new();
        let open = open(server, &schema, "cancelled read", cancel.clone()).await?;
        let ended = interrupted(open, |receiver| async move {
            assert!(is_running(server, "cancelled read").await?, "administrators see who reads");
            cancel.cancel();
            assert!(is_gone(server, "cancelled read").await?, "{flavour}");
            drop(receiver);
            Ok(())
        });
        assert_eq!(ended.await?.expect_err("cancelled").fault().kind, SourceErrorKind::Cancelled);
    }
    Ok(())
}

#[tokio::test]
async fn a_read_that_nobody_waits_for_is_killed_on_the_server() -> Result<()> {
    let server = DatabaseServer::shared(Flavour::MariaDb).await?;
    let schema = large_table(server).await?;
    let mut open = open(server, &schema, "dropped read", CancellationToken::new()).await?;
    let mut reader = open.readers.pop().context("a reader")?;
    let (sender, mut receiver) = mpsc::channel(1);
    tokio::select! {
        _ = reader.read(&open.plan.splits[0], &sender) => panic!("the channel is full long before the end"),
        first = receiver.recv() => assert!(first.is_some()),
    }
    drop(reader);
    assert!(is_gone(server, "dropped read").await?);
    Ok(())
}

#[tokio::test]
async fn a_receiver_that_goes_away_ends_the_read() -> Result<()> {
    let server = DatabaseServer::shared(Flavour::MariaDb).await?;
    let schema = large_table(server).await?;
    let open = open(server, &schema, "unwanted read", CancellationToken::new()).await?;
    let ended = interrupted(open, |receiver| async move {
        drop(receiver);
        Ok(())
    });
    assert!(ended.await?.is_err());
    assert!(is_gone(server, "unwanted read").await?);
    Ok(())
}

#[tokio::test]
async fn a_killed_query_is_an_error_and_not_a_short_table() -> Result<()> {
    for (flavour, kill) in [(Flavour::MariaDb, "kill query"), (Flavour::MySql, "kill query"), (Flavour::MySql, "kill")]
    {
        let server = DatabaseServer::shared(flavour).await?;
        let schema = large_table(server).await?;
        let open = open(server, &schema, "killed read", CancellationToken::new()).await?;
        let ended = interrupted(open, |receiver| async move {
            let who = "select id from information_schema.processlist where info like '/* killed read%'";
            let id = server.query(who).await?.first().and_then(|row| row.first().cloned().flatten());
            server.execute(&format!("{kill} {}", id.context("the reader is in the process list")?)).await?;
            take_all(receiver).await
        });
        let error = ended.await?.expect_err("a killed query");
        assert!(matches!(error, SourceError::Transient(_)), "{flavour}, {kill}: {error}");
    }
    Ok(())
}

#[tokio::test]
async fn a_long_read_gives_way_to_a_change_of_the_table() -> Result<()> {
    for flavour in [Flavour::MariaDb, Flavour::MySql] {
        let server = DatabaseServer::shared(flavour).await?;
        let schema = large_table(server).await?;
        let limits = ReadLimits { batch_rows_max: 100, ..limits(1) };
        let access = access(server, "admin", &schema);
        let request = request("t", Splits::Exactly(1));
        let open = MySqlSource::default().open(&access, &request, limits, CancellationToken::new()).await?;
        let ended = interrupted(open, |receiver| async move {
            let alter = format!("alter table `{schema}`.t add column w int");
            tokio::time::timeout(GONE, server.execute(&alter))
                .await
                .context("the change gets through in seconds")??;
            drop(receiver);
            Ok(())
        });
        let error = ended.await?.expect_err("the read gave way");
        assert!(matches!(error, SourceError::Transient(_)), "{flavour}: {error}");
        assert!(error.to_string().contains("gave way"), "{flavour}: {error}");
    }
    Ok(())
}

#[tokio::test]
async fn a_long_read_does_not_give_way_to_who_only_wants_a_lock() -> Result<()> {
    for flavour in [Flavour::MariaDb, Flavour::MySql] {
        let server = DatabaseServer::shared(flavour).await?;
        let schema = large_table(server).await?;
        let limits = ReadLimits { batch_rows_max: 100, ..limits(1) };
        let access = access(server, "admin", &schema);
        let request = request("t", Splits::Exactly(1));
        let open = MySqlSource::default().open(&access, &request, limits, CancellationToken::new()).await?;
        let ended = interrupted(open, |receiver| async move {
            let mut other = server.connect().await?;
            other.query_drop("set session lock_wait_timeout = 6").await?;
            let locked = other.query_drop(format!("lock tables `{schema}`.t write")).await;
            assert!(locked.is_err(), "{flavour}: the snapshot is in the way for as long as the read takes");
            other.disconnect().await?;
            take_all(receiver).await
        });
        assert!(ended.await?.is_ok_and(|rows| rows > 0), "{flavour}: the read came to its end");
    }
    Ok(())
}

#[tokio::test]
async fn a_server_that_dies_is_an_error_and_not_a_short_table() -> Result<()> {
    let mut server = ServerOptions::new(Flavour::MariaDb).start().await?;
    let schema = large_table(&server).await?;
    let open = open(&server, &schema, "doomed read", CancellationToken::new()).await?;
    let ended = interrupted(open, |receiver| {
        let killed = server.kill();
        async move {
            killed?;
            take_all(receiver).await
        }
    });
    let error = ended.await?.expect_err("the server is dead");
    assert!(matches!(&error, SourceError::Transient(fault) if fault.kind == SourceErrorKind::Lost), "{error}");
    Ok(())
}
