//! Results, and what cuts them short.

use std::time::Duration;

use headwaters_model::source_error::{SourceError, SourceErrorKind};
use headwaters_source::mysql::wire::{
    ColumnType, ConnectOptions, Connection, Endpoint, LoadBalance, Param, RowFormat, Rows,
};
use headwaters_testkit::proxy::Proxy;
use headwaters_testkit::{DatabaseServer, Flavour, ServerOptions};
use tokio::time::{Instant, sleep, timeout};

use super::{cell, plain, protected};

/// Rows of the table that [`numbers`] makes.
const ROWS: usize = 100_000;

/// A schema with a table `t (id int primary key, name varchar(100), note text)` of [`ROWS`] rows.
async fn numbers(server: &DatabaseServer) -> String {
    let schema = server.fresh_schema("wire").await.unwrap();
    let create = format!("create table {schema}.t (id int primary key, name varchar(100), note text)");
    server.execute(&create).await.unwrap();
    let digits = "(select 0 i union all select 1 union all select 2 union all select 3 union all select 4 union all \
                  select 5 union all select 6 union all select 7 union all select 8 union all select 9)";
    let number = "a.i + 10 * b.i + 100 * c.i + 1000 * d.i + 10000 * e.i";
    let fill = format!(
        "insert into {schema}.t select {number}, concat('name ', {number}), if({number} % 3, repeat('é', 40), null) \
         from {digits} a, {digits} b, {digits} c, {digits} d, {digits} e"
    );
    server.execute(&fill).await.unwrap();
    schema
}

/// Reads to the end; the number of rows and the sum of their bytes.
async fn count(rows: &mut Rows<'_>) -> Result<(usize, u64), SourceError> {
    let (mut count, mut bytes) = (0, 0);
    loop {
        while let Some(row) = rows.next_buffered()? {
            count += 1;
            bytes += row.len() as u64;
        }
        if !rows.fill().await? {
            return Ok((count, bytes));
        }
    }
}

#[tokio::test]
async fn all_rows_arrive_in_both_protocols_with_and_without_compression_and_tls() {
    for flavour in [Flavour::MariaDb, Flavour::MySql] {
        let server = DatabaseServer::shared(flavour).await.unwrap();
        let schema = numbers(server).await;
        let sql = format!("select * from {schema}.t");
        let mut seen = Vec::new();
        let bare = ConnectOptions { allow_public_key_retrieval: true, ..plain(server, "reader") };
        for options in [bare.clone(), ConnectOptions { compress: true, ..bare }, protected(server, "reader")] {
            let mut connection = Connection::connect(&options).await.unwrap();
            let mut rows = connection.stream_text(&sql).await.unwrap();
            let text = count(&mut rows).await.unwrap();
            assert_eq!((rows.format(), rows.columns().len()), (RowFormat::Text, 3));
            let statement = connection.prepare(&sql).await.unwrap();
            let mut rows = connection.stream(&statement, &[]).await.unwrap();
            let binary = count(&mut rows).await.unwrap();
            assert_eq!(rows.columns()[0].column_type, ColumnType::MYSQL_TYPE_LONG);
            assert!(rows.bytes_read() > binary.1);
            connection.close_statement(statement).await.unwrap();
            assert_eq!(cell(&mut connection, "select 1").await, "1");
            connection.close().await;
            assert_eq!((text.0, binary.0), (ROWS, ROWS));
            seen.push((text.1, binary.1));
        }
        assert!(seen.iter().all(|sums| *sums == seen[0]), "{flavour}: {seen:?}");
    }
}

#[tokio::test]
async fn values_are_bound_as_what_they_are() {
    for flavour in Flavour::ALL {
        let server = DatabaseServer::shared(flavour).await.unwrap();
        let mut connection = Connection::connect(&protected(server, "reader")).await.unwrap();
        let sql = "select cast(count(*) as signed) from (select 1) one where ? = -7 and ? = 18446744073709551615 \
                   and ? = 0.5 and ? = 'naïve 🔑' and ? is null";
        let statement = connection.prepare(sql).await.unwrap();
        assert_eq!(statement.columns().len(), 1);
        let params = [
            Param::Int(-7),
            Param::UInt(u64::MAX),
            Param::Double(0.5),
            Param::Bytes("naïve 🔑".as_bytes().to_vec()),
            Param::Null,
        ];
        let mut rows = connection.stream(&statement, &params).await.unwrap();
        assert!(rows.fill().await.unwrap());
        // A zero, a bitmap without nulls, and the eight bytes of a one.
        assert_eq!(rows.next_buffered().unwrap().unwrap(), [0, 0, 1, 0, 0, 0, 0, 0, 0, 0], "{flavour}");
        assert!(!rows.fill().await.unwrap());
        connection.close().await;
    }
}

#[tokio::test]
async fn mariadb_names_its_types_that_look_like_text() {
    let server = DatabaseServer::shared(Flavour::MariaDb).await.unwrap();
    let schema = server.fresh_schema("wire").await.unwrap();
    server.execute(&format!("create table {schema}.t (u uuid, i inet6, j json, p point)")).await.unwrap();
    let mut connection = Connection::connect(&plain(server, "reader")).await.unwrap();
    let statement = connection.prepare(&format!("select u, i, j, p from {schema}.t")).await.unwrap();
    let named: Vec<_> =
        statement.columns().iter().map(|c| c.extended_type.as_deref().or(c.extended_format.as_deref())).collect();
    assert_eq!(named, [Some("uuid"), Some("inet6"), Some("json"), Some("point")]);
    connection.close().await;
}

#[tokio::test]
async fn rows_around_the_longest_packet_arrive_and_one_over_the_limit_is_counted() {
    let server = ServerOptions::new(Flavour::MariaDb).argument("--max-allowed-packet=256M").start().await.unwrap();
    let mut connection = Connection::connect(&plain(&server, "admin")).await.unwrap();
    let sizes =
        [16_777_210_usize, 16_777_211, 16_777_214, 16_777_215, 16_777_216, 70_000_000, 67_108_864, 33_554_427, 5];
    let parts: Vec<String> = sizes.iter().map(|size| format!("select repeat('x', {size}) v")).collect();
    let statement = connection.prepare(&parts.join(" union all ")).await.unwrap();
    let mut rows = connection.stream(&statement, &[]).await.unwrap();
    let mut seen = Vec::new();
    loop {
        while let Some(row) = rows.next_buffered().unwrap() {
            let prefix = row.len() - row.iter().rev().take_while(|byte| **byte == b'x').count();
            seen.push(row.len() - prefix);
        }
        if !rows.fill().await.unwrap() {
            break;
        }
    }
    let kept: Vec<usize> = sizes.into_iter().filter(|size| *size != 70_000_000).collect();
    assert_eq!(seen, kept);
    assert_eq!(rows.rows_too_large(), 1);
    connection.close().await;
}

#[tokio::test]
async fn a_connection_that_breaks_in_the_middle_is_an_error_and_never_a_short_table() {
    let server = DatabaseServer::shared(Flavour::MariaDb).await.unwrap();
    let schema = numbers(server).await;
    let proxy = Proxy::to(server.port()).await.unwrap();
    let hosts = vec![Endpoint::Tcp { host: "127.0.0.1".to_owned(), port: proxy.port() }];
    let options = ConnectOptions { hosts, ..plain(server, "reader") };
    let mut connection = Connection::connect(&options).await.unwrap();
    proxy.cut_after_bytes(500_000);
    let mut rows = connection.stream_text(&format!("select * from {schema}.t")).await.unwrap();
    let error = count(&mut rows).await.unwrap_err();
    assert!(matches!(error, SourceError::Transient(_)));
    assert_eq!(error.fault().kind, SourceErrorKind::Lost);
}

/// How many statements with this mark run on the server.
async fn running(server: &DatabaseServer, mark: &str) -> usize {
    let sql = "select info from information_schema.processlist where info like 'select /* %'";
    let rows = server.query(sql).await.unwrap();
    rows.iter().flatten().flatten().filter(|info| info.contains(mark)).count()
}

/// Waits until exactly so many run.
async fn wait_for_running(server: &DatabaseServer, mark: &str, wanted: usize) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while running(server, mark).await != wanted {
        assert!(Instant::now() < deadline, "statements marked {mark} should be {wanted}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// A statement that would run for hours before its first row.
fn endless(schema: &str, mark: &str) -> String {
    format!("select /* {mark} */ count(*) from {schema}.t a, {schema}.t b, {schema}.t c where a.id + b.id = c.id + 0.5")
}

#[tokio::test]
async fn a_killed_statement_says_so() {
    for flavour in [Flavour::MariaDb, Flavour::MySql] {
        let server = DatabaseServer::shared(flavour).await.unwrap();
        let schema = numbers(server).await;
        let mut connection = Connection::connect(&protected(server, "reader")).await.unwrap();
        let killer = connection.killer();
        let sql = endless(&schema, "killed");
        let (outcome, ()) = tokio::join!(async { count(&mut connection.stream_text(&sql).await?).await }, async {
            wait_for_running(server, &schema, 1).await;
            killer.kill().await.unwrap();
        });
        let error = outcome.unwrap_err();
        assert_eq!(error.fault().kind, SourceErrorKind::Server { number: 1317 }, "{flavour}: {error}");
        // The connection itself lives on.
        assert_eq!(cell(&mut connection, "select 1").await, "1");
        connection.close().await;
    }
}

/// Numbers of connections begin at 1 again when a server is restarted: ours is a stranger's then.
#[tokio::test]
async fn a_stranger_on_a_restarted_server_is_not_killed() {
    let mut server = ServerOptions::new(Flavour::MariaDb).start().await.unwrap();
    let options = plain(&server, "reader");
    let connection = Connection::connect(&options).await.unwrap();
    let (killer, wanted) = (connection.killer(), connection.server().connection_id());
    sleep(Duration::from_secs(3)).await;
    server.stop().await.unwrap();
    server.start().await.unwrap();
    let mut stranger = Connection::connect(&options).await.unwrap();
    while stranger.server().connection_id() < wanted {
        stranger.close().await;
        stranger = Connection::connect(&options).await.unwrap();
    }
    assert_eq!(stranger.server().connection_id(), wanted);
    let (slept, killed) = tokio::join!(cell(&mut stranger, "select sleep(2)"), async {
        sleep(Duration::from_millis(300)).await;
        killer.kill().await
    });
    assert_eq!(slept, "0", "a sleep that was killed ends in an error");
    killed.unwrap();
    stranger.close().await;
}

#[tokio::test]
async fn a_statement_that_nobody_reads_any_more_is_killed() {
    for flavour in [Flavour::MariaDb, Flavour::MySql] {
        let server = DatabaseServer::shared(flavour).await.unwrap();
        let schema = numbers(server).await;
        let mut connection = Connection::connect(&protected(server, "reader")).await.unwrap();
        let sql = endless(&schema, "dropped");
        let read = timeout(Duration::from_secs(2), connection.stream_text(&sql));
        assert!(read.await.is_err(), "it has no rows yet");
        wait_for_running(server, &schema, 1).await;
        drop(connection);
        wait_for_running(server, &schema, 0).await;

        let mut connection = Connection::connect(&protected(server, "reader")).await.unwrap();
        let sql = format!("select /* abandoned */ a.note from {schema}.t a, {schema}.t b");
        let mut rows = connection.stream_text(&sql).await.unwrap();
        assert!(rows.fill().await.unwrap());
        assert_eq!(running(server, &schema).await, 1);
        connection.abandon().await;
        wait_for_running(server, &schema, 0).await;
    }
}

#[tokio::test]
async fn a_metadata_statement_has_a_time_limit_and_a_table_read_has_none() {
    let server = DatabaseServer::shared(Flavour::MariaDb).await.unwrap();
    let limit = Some(Duration::from_millis(300));
    let options = ConnectOptions { statement_timeout: limit, ..plain(server, "reader") };
    let mut connection = Connection::connect(&options).await.unwrap();
    let mut rows = connection.stream_text("select sleep(0.8)").await.unwrap();
    assert_eq!(count(&mut rows).await.unwrap().0, 1);
    let error = connection.query("select sleep(30)").await.unwrap_err();
    assert!(error.fault().message.contains("longer than 0.3 s"), "{error}");
    assert!(matches!(error, SourceError::Transient(_)));
}

#[tokio::test]
async fn hosts_are_tried_in_order_until_one_answers() {
    let server = DatabaseServer::shared(Flavour::MariaDb).await.unwrap();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = |port| Endpoint::Tcp { host: "127.0.0.1".to_owned(), port };
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let hosts = vec![host(closed), host(silent.local_addr().unwrap().port()), host(server.port())];
    for load_balance in [LoadBalance::FailOver, LoadBalance::RoundRobin, LoadBalance::Random] {
        let options = ConnectOptions {
            hosts: hosts.clone(),
            connect_timeout: Some(Duration::from_secs(1)),
            load_balance,
            ..plain(server, "reader")
        };
        let connection = Connection::connect(&options).await.unwrap();
        assert_eq!(*connection.server().endpoint(), host(server.port()));
        connection.close().await;
    }

    let silent_only = ConnectOptions {
        hosts: hosts[..2].to_vec(),
        connect_timeout: Some(Duration::from_millis(300)),
        ..plain(server, "reader")
    };
    let error = Connection::connect(&silent_only).await.unwrap_err();
    assert_eq!(error.fault().kind, SourceErrorKind::Unreachable);
    assert!(error.fault().message.contains("within 0.3 s"), "{error}");
}

#[tokio::test]
async fn what_is_missing_is_told_apart() {
    for flavour in Flavour::ALL {
        let server = DatabaseServer::shared(flavour).await.unwrap();
        let schema = server.fresh_schema("wire").await.unwrap();
        server.execute(&format!("create table {schema}.t (id int)")).await.unwrap();
        let mut connection = Connection::connect(&protected(server, "reader")).await.unwrap();
        for (sql, kind) in [
            (format!("select * from {schema}.missing"), SourceErrorKind::UnknownTable),
            (format!("select missing from {schema}.t"), SourceErrorKind::UnknownColumn),
            (format!("delete from {schema}.t"), SourceErrorKind::Privilege),
            ("selectt".to_owned(), SourceErrorKind::Server { number: 1064 }),
        ] {
            let error = connection.query(&sql).await.unwrap_err();
            assert_eq!(error.fault().kind, kind, "{flavour}: {error}");
            assert!(connection.prepare(&sql).await.is_err());
        }
        connection.ping().await.unwrap();
        connection.close().await;
    }
}

#[tokio::test]
async fn a_connection_that_the_server_killed_is_lost() {
    for flavour in [Flavour::MariaDb, Flavour::MySql] {
        let server = DatabaseServer::shared(flavour).await.unwrap();
        let mut connection = Connection::connect(&protected(server, "reader")).await.unwrap();
        server.execute(&format!("kill {}", connection.server().connection_id())).await.unwrap();
        sleep(Duration::from_millis(200)).await;
        let error = connection.query("select 1").await.unwrap_err();
        assert!(matches!(error, SourceError::Transient(_)), "{flavour}: {error}");
        assert_eq!(error.fault().kind, SourceErrorKind::Lost, "{flavour}: {error}");
    }
}

#[tokio::test]
async fn long_lists_are_handed_on_row_by_row() {
    let server = DatabaseServer::shared(Flavour::MariaDb).await.unwrap();
    let schema = numbers(server).await;
    let mut connection = Connection::connect(&plain(server, "reader")).await.unwrap();
    let (mut rows, mut sum) = (0, 0_u64);
    let sql = format!("select id, note from {schema}.t");
    connection
        .query_each(&sql, |row| {
            rows += 1;
            sum += row.parse_as::<u64>("ID")?.unwrap_or_default();
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!((rows, sum), (ROWS, (ROWS as u64 - 1) * ROWS as u64 / 2));
    let error = connection.query(&format!("select a.id from {schema}.t a, {schema}.t b")).await.unwrap_err();
    assert!(error.fault().message.contains("more than 100000 rows"), "{error}");
}
