//! What real servers answer when something is wrong, and what follows from it (mysql-sources.md 16).
//!
//! Each number here was said by a server because the thing itself had happened, but for
//! [`every_number_is_told_by_its_flavour`], where the server says what it is asked to say.

use std::time::Duration;

use anyhow::{Context, Result};
use headwaters_model::job::Splits;
use headwaters_model::secret::Secret;
use headwaters_model::source_error::{Retry, SourceError, SourceErrorKind};
use headwaters_source::contract::Source;
use headwaters_source::mysql::MySqlSource;
use headwaters_source::mysql::session::{self, Purpose};
use headwaters_source::mysql::wire::{ConnectOptions, Connection, Endpoint, TlsMode, TlsOptions};
use headwaters_testkit::{DatabaseServer, Flavour, ServerOptions};
use mysql_async::prelude::Queryable;
use tokio_util::sync::CancellationToken;

use crate::reading::{access, limits, request};

/// A statement that would take hours.
const LONG: &str =
    "select count(*) from information_schema.columns a, information_schema.columns b, information_schema.columns c";
const BOTH: [Flavour; 2] = [Flavour::MariaDb, Flavour::MySql];

/// What follows an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Follows {
    Stop,
    /// Stop for people; a run tries once more.
    StopUnlessRotated,
    Try(Retry),
}

fn options(server: &DatabaseServer, account: &str, password: &str) -> ConnectOptions {
    ConnectOptions {
        hosts: vec![Endpoint::Tcp { host: server.host().to_owned(), port: server.port() }],
        user: account.to_owned(),
        password: Secret::new(password),
        tls: TlsOptions { mode: TlsMode::Required, ..TlsOptions::default() },
        ..ConnectOptions::default()
    }
}

fn of_account(server: &DatabaseServer, name: &str) -> ConnectOptions {
    options(server, name, server.account(name).password)
}

/// A connection whose session is as the server makes it.
async fn bare(server: &DatabaseServer, account: &str) -> Result<Connection> {
    Ok(Connection::connect(&of_account(server, account)).await?)
}

/// How a statement ends that must fail.
async fn refused(connection: &mut Connection, sql: &str) -> Result<SourceError> {
    connection.execute(sql).await.err().with_context(|| format!("{sql} must fail"))
}

#[track_caller]
fn assert_follows(error: &SourceError, number: u16, follows: Follows) {
    let told = format!("error {number}");
    assert!(error.to_string().contains(&told), "not {told}: {error}");
    let found = match error {
        SourceError::Definite(fault) if fault.retry == Retry::Once(number) => Follows::StopUnlessRotated,
        SourceError::Definite(_) => Follows::Stop,
        SourceError::Transient(fault) => Follows::Try(fault.retry),
    };
    assert_eq!(found, follows, "{error}");
}

async fn a_private(flavour: Flavour) -> Result<DatabaseServer> {
    let server = ServerOptions::new(flavour).start().await?;
    server.execute("create database d").await?;
    server.execute("create table d.t (id int primary key, v int not null)").await?;
    server.execute("insert into d.t values (1, 1), (2, 2)").await?;
    Ok(server)
}

#[tokio::test]
async fn what_is_not_there_or_not_allowed_is_a_person_s_turn() -> Result<()> {
    for flavour in BOTH {
        let server = DatabaseServer::shared(flavour).await?;
        let schema = server.fresh_schema("refused").await?;
        for sql in [
            format!("create table {schema}.t (id int primary key)"),
            format!("create table {schema}.gone (id int primary key)"),
            format!("create view {schema}.broken as select * from {schema}.gone"),
            format!("drop table {schema}.gone"),
            format!("create definer = 'nobody'@'%' view {schema}.orphan as select * from {schema}.t"),
        ] {
            server.execute(&sql).await?;
        }
        let mut reader = bare(server, "reader").await?;
        for (number, sql) in [
            (1049, "use nowhere_at_all".to_owned()),
            (1146, format!("select * from {schema}.nothing")),
            (1054, format!("select nothing from {schema}.t")),
            (1356, format!("select * from {schema}.broken")),
            (1227, "set global max_connections = 5".to_owned()),
        ] {
            assert_follows(&refused(&mut reader, &sql).await?, number, Follows::Stop);
        }
        let mut nothing = bare(server, "nothing").await?;
        assert_follows(&refused(&mut nothing, &format!("use {schema}")).await?, 1044, Follows::Stop);
        assert_follows(&refused(&mut nothing, &format!("select * from {schema}.t")).await?, 1142, Follows::Stop);
        let mut admin = bare(server, "admin").await?;
        assert_follows(&refused(&mut admin, &format!("drop table {schema}.nothing")).await?, 1051, Follows::Stop);
        // Others are told 1045 by MariaDB: who the definer is is not their business.
        assert_follows(&refused(&mut admin, &format!("select * from {schema}.orphan")).await?, 1449, Follows::Stop);
        let mut guarded = session::open(&of_account(server, "admin"), Purpose::Reading).await?;
        let write = format!("insert into {schema}.t values (1)");
        assert_follows(&refused(&mut guarded, &write).await?, 1792, Follows::Stop);
    }
    Ok(())
}

#[tokio::test]
async fn an_account_that_may_not_come_in_is_a_person_s_turn() -> Result<()> {
    for flavour in BOTH {
        let server = a_private(flavour).await?;
        let locked = if flavour.is_maria_db() { 4151 } else { 3118 };
        for sql in [
            "create user locked@'%' identified by 'Headwaters-1'",
            "alter user locked@'%' account lock",
            "create user expired@'%' identified by 'Headwaters-1'",
            "alter user expired@'%' password expire",
            "create user columns@'%' identified by 'Headwaters-1'",
            "grant select (id) on d.t to columns@'%'",
            "create user calls@'%' identified by 'Headwaters-1'",
            "grant select on d.t to calls@'%'",
            "create procedure d.p() select 1",
        ] {
            server.execute(sql).await?;
        }
        let come_in = async |account: &str, password: &str| {
            let ended = Connection::connect(&options(&server, account, password)).await;
            ended.err().with_context(|| format!("{account} must be refused"))
        };
        let wrong = come_in("reader", "not the password").await?;
        assert_follows(&wrong, 1045, Follows::StopUnlessRotated);
        assert_follows(&come_in("unix_socket", "").await?, 1698, Follows::Stop);
        assert_follows(&come_in("locked", "Headwaters-1").await?, locked, Follows::Stop);
        // A server may let an expired account in and refuse its statements, or refuse it at the door.
        let expired = match Connection::connect(&options(&server, "expired", "Headwaters-1")).await {
            Ok(mut connection) => (1820, refused(&mut connection, "select 1").await?),
            Err(error) => (1862, error),
        };
        assert_follows(&expired.1, expired.0, Follows::Stop);
        let mut columns = Connection::connect(&options(&server, "columns", "Headwaters-1")).await?;
        assert_follows(&refused(&mut columns, "select v from d.t").await?, 1143, Follows::Stop);
        let mut calls = Connection::connect(&options(&server, "calls", "Headwaters-1")).await?;
        assert_follows(&refused(&mut calls, "call d.p()").await?, 1370, Follows::Stop);

        // MySQL checks the password before it asks for TLS, which over a plain connection needs its cache warm.
        bare(&server, "reader").await?.close().await;
        server.execute("set global require_secure_transport = on").await?;
        let tls = TlsOptions { mode: TlsMode::Disabled, ..TlsOptions::default() };
        let plain = ConnectOptions { tls, ..of_account(&server, "reader") };
        let refused_plain = Connection::connect(&plain).await.err().context("a plain connection")?;
        assert!(matches!(refused_plain, SourceError::Definite(_)), "{flavour}: {refused_plain}");
        if !flavour.is_maria_db() {
            assert_follows(&refused_plain, 3159, Follows::Stop);
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_server_without_room_asks_for_fewer_readers() -> Result<()> {
    for flavour in BOTH {
        let server = a_private(flavour).await?;
        server.execute("create user few@'%' identified by 'Headwaters-1' with max_user_connections 1").await?;
        let few = options(&server, "few", "Headwaters-1");
        let first = Connection::connect(&few).await?;
        let second = Connection::connect(&few).await.err().context("a second connection")?;
        assert_follows(&second, 1226, Follows::Try(Retry::FewerReaders));
        drop(first);

        server.execute("set global max_connections = 10").await?;
        let mut held = Vec::new();
        let full = loop {
            match Connection::connect(&of_account(&server, "reader")).await {
                Ok(connection) if held.len() < 20 => held.push(connection),
                Ok(_) => anyhow::bail!("{flavour} takes more connections than it may"),
                Err(error) => break error,
            }
        };
        assert_follows(&full, 1040, Follows::Try(Retry::FewerReaders));
    }
    Ok(())
}

#[tokio::test]
async fn locks_that_are_not_had_are_tried_again() -> Result<()> {
    for flavour in BOTH {
        let server = a_private(flavour).await?;
        let mut other = server.connect().await?;
        other.query_drop("lock tables d.t write").await?;
        let mut admin = bare(&server, "admin").await?;
        admin.execute("set session lock_wait_timeout = 1, innodb_lock_wait_timeout = 20").await?;
        assert_follows(&refused(&mut admin, "select * from d.t").await?, 1205, Follows::Try(Retry::Again));
        other.query_drop("unlock tables").await?;

        // Each holds the row that the other wants; the server lets the lighter transaction go.
        admin.execute("start transaction").await?;
        admin.execute("update d.t set v = v + 1 where id = 1").await?;
        other.query_drop("start transaction").await?;
        other.query_drop("insert into d.t values (3, 3), (4, 4), (5, 5)").await?;
        other.query_drop("update d.t set v = v + 1 where id = 2").await?;
        let (ours, theirs) = tokio::join!(
            admin.execute("update d.t set v = v + 1 where id = 2"),
            other.query_drop("update d.t set v = v + 1 where id = 1")
        );
        theirs?;
        assert_follows(&ours.err().context("a deadlock")?, 1213, Follows::Try(Retry::Again));
    }
    Ok(())
}

#[tokio::test]
async fn statements_that_are_stopped_are_told_by_who_stopped_them() -> Result<()> {
    for flavour in BOTH {
        let server = DatabaseServer::shared(flavour).await?;
        let mut killed = bare(server, "admin").await?;
        let id = killed.server().connection_id();
        let (ended, kill) = tokio::join!(refused(&mut killed, LONG), async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            server.execute(&format!("kill query {id}")).await
        });
        kill?;
        assert_follows(&ended?, 1317, Follows::Try(Retry::Once(1317)));

        let (number, limit) = match flavour.is_maria_db() {
            true => (1969, "set session max_statement_time = 0.2"),
            false => (3024, "set session max_execution_time = 200"),
        };
        killed.execute(limit).await?;
        assert_follows(&refused(&mut killed, LONG).await?, number, Follows::Try(Retry::SmallerSplits));
        killed.close().await;
    }
    Ok(())
}

/// Neither server says that somebody killed a connection (1927, 3169): it closes it.
#[tokio::test]
async fn connections_that_are_ended_are_opened_again() -> Result<()> {
    for flavour in BOTH {
        let server = DatabaseServer::shared(flavour).await?;
        let mut idle = bare(server, "admin").await?;
        server.execute(&format!("kill {}", idle.server().connection_id())).await?;
        tokio::time::sleep(Duration::from_millis(300)).await;
        let mut busy = bare(server, "admin").await?;
        let id = busy.server().connection_id();
        let (ended, kill) = tokio::join!(refused(&mut busy, LONG), async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            server.execute(&format!("kill {id}")).await
        });
        kill?;
        for error in [refused(&mut idle, "select 1").await?, ended?] {
            assert_eq!((error.fault().kind.clone(), error.fault().retry), (SourceErrorKind::Lost, Retry::Reconnect));
            assert!(error.to_string().contains("was lost"), "{flavour}: {error}");
        }
    }
    let server = DatabaseServer::shared(Flavour::MySql).await?;
    let mut inactive = bare(server, "reader").await?;
    inactive.execute("set session wait_timeout = 1").await?;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_follows(&refused(&mut inactive, "select 1").await?, 4031, Follows::Try(Retry::Again));
    Ok(())
}

#[tokio::test]
async fn a_table_that_changes_under_a_snapshot_is_tried_again() -> Result<()> {
    let server = DatabaseServer::shared(Flavour::MySql).await?;
    let schema = server.fresh_schema("changed").await?;
    server.execute(&format!("create table {schema}.t (id int primary key)")).await?;
    let mut reader = session::open(&of_account(server, "reader"), Purpose::Reading).await?;
    reader.execute("start transaction with consistent snapshot, read only").await?;
    server.execute(&format!("alter table {schema}.t add column v int, algorithm = copy")).await?;
    let error = refused(&mut reader, &format!("select * from {schema}.t")).await?;
    assert_follows(&error, 1412, Follows::Try(Retry::Again));
    Ok(())
}

#[tokio::test]
async fn a_server_that_ran_out_of_something_is_asked_for_less() -> Result<()> {
    for flavour in BOTH {
        let server = a_private(flavour).await?;
        let mut admin = bare(&server, "admin").await?;
        for sql in ["set session max_heap_table_size = 16384", "create table d.small (v char(250)) engine = memory"] {
            admin.execute(sql).await?;
        }
        let row = format!("('{}')", "x".repeat(250));
        let rows = vec![row; 1000].join(",");
        let full = refused(&mut admin, &format!("insert into d.small values {rows}")).await?;
        assert_follows(&full, 1114, Follows::Try(Retry::Lighter));
        let wrong = refused(&mut admin, "insert into d.t (id, v) values (9, convert(x'ff' using utf8mb4))").await?;
        assert!(matches!(wrong, SourceError::Definite(_)), "{wrong}");
    }
    Ok(())
}

#[tokio::test]
async fn a_server_that_is_closed_to_us_says_so() -> Result<()> {
    for flavour in BOTH {
        let server = a_private(flavour).await?;
        server.execute("create user writer@'%' identified by 'Headwaters-1'").await?;
        server.execute("grant select, insert, lock tables on d.* to writer@'%'").await?;
        server.execute("set global read_only = on").await?;
        let mut writer = Connection::connect(&options(&server, "writer", "Headwaters-1")).await?;
        assert_follows(&refused(&mut writer, "insert into d.t values (7, 7)").await?, 1290, Follows::Stop);
        if !flavour.is_maria_db() {
            server.execute("set global offline_mode = on").await?;
            let closed = Connection::connect(&of_account(&server, "reader")).await.err().context("offline")?;
            assert_follows(&closed, 3032, Follows::Try(Retry::Later));
        }
    }
    Ok(())
}

#[tokio::test]
async fn nobody_there_is_tried_again_and_no_such_host_once() -> Result<()> {
    let mut server = a_private(Flavour::MariaDb).await?;
    let tcp = of_account(&server, "reader");
    let socket = ConnectOptions { hosts: vec![Endpoint::Socket(server.socket())], ..tcp.clone() };
    server.kill()?;
    for options in [tcp.clone(), socket] {
        let error = Connection::connect(&options).await.err().context("a dead server")?;
        assert_eq!((error.fault().kind.clone(), error.fault().retry), (SourceErrorKind::Unreachable, Retry::Later));
    }
    let unknown = vec![Endpoint::Tcp { host: "no-such-host.invalid".to_owned(), port: 3306 }];
    let error = Connection::connect(&ConnectOptions { hosts: unknown, ..tcp }).await.err().context("no such host")?;
    assert_eq!((error.fault().kind.clone(), error.fault().retry), (SourceErrorKind::Unreachable, Retry::Once(2005)));
    Ok(())
}

/// The table of the reference once more, with the numbers on a real wire: which are meant depends on who says them.
#[tokio::test]
async fn every_number_is_told_by_its_flavour() -> Result<()> {
    use Follows::{Stop, Try};
    let once = |number| Try(Retry::Once(number));
    let told = [
        (1053, Try(Retry::Later), Try(Retry::Later)),
        (1038, Try(Retry::Lighter), Try(Retry::Lighter)),
        (1159, Try(Retry::Reconnect), Try(Retry::Reconnect)),
        (1615, Try(Retry::Again), Try(Retry::Again)),
        (1030, Stop, Stop),
        (1835, once(1835), once(1835)),
        (1927, once(1927), Stop),
        (1969, Try(Retry::SmallerSplits), Stop),
        (3024, Stop, Try(Retry::SmallerSplits)),
        (3032, Stop, Try(Retry::Later)),
        (3169, Stop, once(3169)),
        (4031, Stop, Try(Retry::Again)),
    ];
    for flavour in BOTH {
        let server = DatabaseServer::shared(flavour).await?;
        let mut connection = bare(server, "reader").await?;
        for (number, on_mariadb, on_mysql) in told {
            let sql = format!("signal sqlstate 'HY000' set mysql_errno = {number}, message_text = 'as asked'");
            let follows = if flavour.is_maria_db() { on_mariadb } else { on_mysql };
            assert_follows(&refused(&mut connection, &sql).await?, number, follows);
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_plan_names_the_server_that_it_reached() -> Result<()> {
    for (flavour, own) in [
        (Flavour::MariaDb, "select concat(@@hostname, ':', @@port, '/', @@server_id)"),
        (Flavour::MySql, "select @@server_uuid"),
    ] {
        let server = DatabaseServer::shared(flavour).await?;
        let schema = server.fresh_schema("named").await?;
        server.execute(&format!("create table {schema}.t (id int primary key)")).await?;
        let access = access(server, "reader", &schema);
        let request = request("t", Splits::Exactly(1));
        let open = MySqlSource::default().open(&access, &request, limits(1), CancellationToken::new()).await?;
        assert_eq!(open.plan.server, server.query(own).await?[0][0], "{flavour}");
    }
    Ok(())
}
