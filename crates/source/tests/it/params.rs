//! Connection parameters in all their forms, against real servers.
#![expect(clippy::unwrap_used, reason = "what these tests set up works, or the test fails")]

use std::time::Duration;

use headwaters_model::explore::ServerInfo;
use headwaters_model::job::SourceAccess;
use headwaters_model::secret::Secret;
use headwaters_model::source_error::{SourceError, SourceErrorKind};
use headwaters_source::contract::Source;
use headwaters_source::mysql::MySqlSource;
use headwaters_source::mysql::dsn::{self, BASIC_AUTH, MARIA_DB_SPEC};
use headwaters_source::mysql::session::{self, Purpose};
use headwaters_testkit::{DatabaseServer, Flavour, ServerOptions};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(10);

/// Access by a connection string, a URI, or whatever the command line takes.
pub(crate) fn access(text: &str) -> SourceAccess {
    dsn::access_from_text(text, None).unwrap().0
}

/// Access of a test account by the connection string of the test kit, with more keys.
pub(crate) fn account(server: &DatabaseServer, name: &str, more: &str) -> SourceAccess {
    access(&format!("{};{more}", server.connection_string(name)))
}

async fn probe(access: &SourceAccess) -> Result<ServerInfo, SourceError> {
    MySqlSource::default().probe(access, PATIENCE).await
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[tokio::test]
async fn every_form_of_parameters_reaches_the_same_account() {
    for flavour in [Flavour::MariaDb, Flavour::MySql] {
        let server = DatabaseServer::shared(flavour).await.unwrap();
        let (host, port) = (server.host(), server.port());
        let odd = server.account("odd_password");
        let password = encoded(odd.password);
        let Value::Object(params) =
            json!({"server": host, "port": port.to_string(), "database": "mysql", "username": odd.name})
        else {
            unreachable!("an object")
        };
        let basic = SourceAccess {
            spec: MARIA_DB_SPEC,
            auth_spec: BASIC_AUTH.to_owned(),
            params,
            secrets: vec![("password".to_owned(), Secret::new(odd.password))],
        };
        let beside = format!("Server={host};Port={port};UID={}", odd.name);
        for access in [
            account(server, odd.name, ""),
            access(&format!("mysql://{}:{password}@{host}:{port}/mysql?ssl-mode=REQUIRED", odd.name)),
            access(&format!("jdbc:mariadb://{host}:{port}/mysql?user={}&password={password}", odd.name)),
            access(&format!("Server={};UID={};PWD={}", server.socket().display(), odd.name, quoted(odd.password))),
            dsn::access_from_text(&beside, Some(Secret::new(odd.password))).unwrap().0,
            basic,
        ] {
            let info = probe(&access).await.unwrap();
            assert_eq!(info.account, "odd_password@%", "{flavour}");
        }
        assert_eq!(probe(&account(server, "empty_password", "")).await.unwrap().account, "empty_password@%");
    }
}

fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('"', "\"\""))
}

#[tokio::test]
async fn a_probe_tells_server_version_and_tls() {
    for (flavour, server_name) in [(Flavour::MariaDb, "MariaDB"), (Flavour::MySql, "MySQL")] {
        let server = DatabaseServer::shared(flavour).await.unwrap();
        let ca = server.certificates().ca();
        let verified = format!("SslMode=VerifyFull;SslCa={}", ca.display());
        let info = probe(&account(server, "reader", &verified)).await.unwrap();
        assert_eq!(info.server, server_name);
        assert!(info.version.split('.').count() == 3, "{}", info.version);
        assert!(info.tls.starts_with("TLSv1.3 / ") && info.tls.ends_with("verified: chain+name"), "{}", info.tls);
        let plain =
            probe(&account(server, "admin", "SslMode=None;AllowPublicKeyRetrieval=true;Pooling=true")).await.unwrap();
        assert_eq!(plain.tls, "none");
        assert!(plain.notes.contains(&"Pooling is ignored: it means nothing here".to_owned()), "{:?}", plain.notes);
    }
}

#[tokio::test]
async fn a_probe_tells_which_privileges_lack_and_what_that_costs() {
    for flavour in [Flavour::MariaDb, Flavour::MySql] {
        let server = DatabaseServer::shared(flavour).await.unwrap();
        let nothing = probe(&account(server, "nothing", "")).await.unwrap();
        assert!(nothing.notes.iter().any(|note| note.starts_with("SELECT is missing")), "{:?}", nothing.notes);
        let reader = probe(&account(server, "reader", "Database=mysql")).await.unwrap();
        let [note] = &*reader.notes else { panic!("{:?}", reader.notes) };
        assert!(note.contains("GRANT LOCK TABLES ON `mysql`.* TO 'reader'@'%'"), "{note}");
        for whole in ["locker", "admin"] {
            assert_eq!(probe(&account(server, whole, "")).await.unwrap().notes, [""; 0], "{flavour} {whole}");
        }
    }
}

#[tokio::test]
async fn a_warm_password_cache_on_plain_tcp_is_reported() {
    let server = DatabaseServer::shared(Flavour::MySql).await.unwrap();
    let over_tls = account(server, "caching_sha2", "SslMode=Required");
    let plain = account(server, "caching_sha2", "SslMode=None");
    assert!(!probe(&over_tls).await.unwrap().notes.iter().any(|note| note.contains("cold")));
    let notes = probe(&plain).await.unwrap().notes;
    assert!(notes.iter().any(|note| note.contains("password cache is cold")), "{notes:?}");
}

#[tokio::test]
async fn a_refused_password_is_never_shown() {
    let server = DatabaseServer::shared(Flavour::MariaDb).await.unwrap();
    let text = format!("Server={};Port={};UID=reader;PWD='hunter2;x'", server.host(), server.port());
    let error = probe(&access(&text)).await.unwrap_err();
    assert_eq!(error.fault().kind, SourceErrorKind::Refused);
    assert!(error.to_string().contains("reader") && !format!("{error:?}").contains("hunter2"), "{error:?}");
}

#[tokio::test]
async fn a_probe_of_a_silent_host_ends_in_time() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let silent = access(&format!("Server=127.0.0.1;Port={port};UID=u"));
    let started = std::time::Instant::now();
    let error = MySqlSource::default().probe(&silent, Duration::from_millis(300)).await.unwrap_err();
    assert_eq!(error.fault().kind, SourceErrorKind::Unreachable);
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn the_session_is_ours_whatever_the_server_sets() {
    let hostile = [
        "--sql-mode=ANSI_QUOTES,PAD_CHAR_TO_FULL_LENGTH,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT",
        "--autocommit=0",
        "--character-set-server=latin1",
        "--collation-server=latin1_swedish_ci",
        "--init-connect=SET NAMES latin1",
        "--transaction-isolation=READ-UNCOMMITTED",
        "--max-statement-time=1",
    ];
    let options =
        hostile.iter().fold(ServerOptions::new(Flavour::MariaDb), |options, argument| options.argument(argument));
    let server = options.timezone("Asia/Kolkata").start().await.unwrap();
    let parameters = dsn::parameters(&account(&server, "reader", "DefaultCommandTimeout=7")).unwrap();
    for (purpose, limit) in [(Purpose::Metadata, "7.000000"), (Purpose::Reading, "0.000000")] {
        let mut connection = session::open(&parameters.connect, purpose).await.unwrap();
        let answer = connection
            .query(
                "SELECT @@sql_mode AS mode, @@autocommit AS auto, @@time_zone AS zone, @@character_set_results AS charset, \
                 @@tx_isolation AS isolation, @@tx_read_only AS guarded, @@max_statement_time AS time_max, \
                 @@net_write_timeout AS patience",
            )
            .await
            .unwrap();
        let row = answer.first().unwrap();
        for (label, expected) in [
            ("mode", ""),
            ("auto", "1"),
            ("zone", "+00:00"),
            ("charset", "utf8mb4"),
            ("isolation", "REPEATABLE-READ"),
            ("guarded", "1"),
            ("time_max", limit),
            ("patience", "3600"),
        ] {
            assert_eq!(row.text(label).unwrap(), Some(expected), "{label}");
        }
        connection.close().await;
    }
}

#[tokio::test]
async fn a_table_is_read_whole_and_as_it_is_now_whatever_the_server_sets() {
    for flavour in [Flavour::MariaDb, Flavour::MySql] {
        let server = ServerOptions::new(flavour).start().await.unwrap();
        let schema = server.fresh_schema("whole").await.unwrap();
        let versioned = if flavour.is_maria_db() { "with system versioning" } else { "" };
        let mut statements = vec![
            format!("create table {schema}.t (id int primary key auto_increment) {versioned}"),
            format!("insert into {schema}.t values (1), (2), (3), (4), (5)"),
            "set global max_join_size = 1".to_owned(),
            "set global sql_select_limit = 2".to_owned(),
        ];
        if flavour.is_maria_db() {
            statements.push("set global sql_big_selects = 0".to_owned());
            statements.push("set global system_versioning_asof = '2001-01-01 00:00:00'".to_owned());
        }
        for statement in statements {
            server.execute(&statement).await.unwrap();
        }
        let parameters = dsn::parameters(&account(&server, "reader", "")).unwrap();
        let mut connection = session::open(&parameters.connect, Purpose::Reading).await.unwrap();
        let sql = format!("select id from {schema}.t");
        assert_eq!(connection.query(&sql).await.unwrap().rows().len(), 5, "{flavour}");
        let statement = connection.prepare(&sql).await.unwrap();
        let mut rows = connection.stream(&statement, &[]).await.unwrap();
        let mut count = 0;
        while rows.fill().await.unwrap() {
            while rows.next_buffered().unwrap().is_some() {
                count += 1;
            }
        }
        assert_eq!(count, 5, "{flavour}");
        connection.close().await;
    }
}

#[tokio::test]
async fn a_session_can_not_write() {
    for flavour in [Flavour::MariaDb, Flavour::MySql] {
        let server = DatabaseServer::shared(flavour).await.unwrap();
        let schema = server.fresh_schema("guard").await.unwrap();
        server.execute(&format!("create table {schema}.t (a int)")).await.unwrap();
        let parameters = dsn::parameters(&account(server, "admin", "")).unwrap();
        let mut connection = session::open(&parameters.connect, Purpose::Reading).await.unwrap();
        let error = connection.execute(&format!("insert into {schema}.t values (1)")).await.unwrap_err();
        assert_eq!(error.fault().kind, SourceErrorKind::Server { number: 1792 }, "{flavour}");
        connection.close().await;
    }
}
