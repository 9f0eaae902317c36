//! Listing, describing and previewing, against real servers.
#![expect(clippy::unwrap_used, reason = "what these tests set up works, or the test fails")]

use std::time::{Duration, Instant};

use headwaters_model::explore::{ColumnType, ExploredTable, ListedTable, TableKind};
use headwaters_model::job::{ReadRequest, SourceAccess, Splits};
use headwaters_model::source_error::{SourceError, SourceErrorKind};
use headwaters_source::contract::{Preview, Source};
use headwaters_source::mysql::catalog::{self, TableDescription, TableName};
use headwaters_source::mysql::session::{self, Purpose};
use headwaters_source::mysql::{MySqlSource, dsn};
use headwaters_testkit::{DatabaseServer, Flavour, ServerOptions};
use serde_json::{Value, json};

use super::filters::filter;
use super::params::{access, account};

const FLAVOURS: [Flavour; 3] = Flavour::ALL;

/// Tables of the big list, and how long listing them may take on a busy machine.
const TABLES: usize = 50_000;
const LIST_DURATION_MAX: Duration = Duration::from_secs(20);

pub(crate) fn of_schema(server: &DatabaseServer, name: &str, schema: &str) -> SourceAccess {
    account(server, name, &format!("Database={schema}"))
}

async fn list(access: &SourceAccess) -> Vec<ListedTable> {
    MySqlSource::default().list(access).await.unwrap()
}

async fn describe(access: &SourceAccess, table: &str, preview: bool) -> Result<ExploredTable, SourceError> {
    let preview = preview.then_some(Preview { rows: 100, filter: None });
    MySqlSource::default().describe(access, table, preview).await
}

async fn kind_of_failure(access: &SourceAccess, table: &str) -> SourceErrorKind {
    describe(access, table, false).await.unwrap_err().fault().kind.clone()
}

pub(crate) async fn discovered(server: &DatabaseServer, schema: &str, table: &str) -> TableDescription {
    let parameters = dsn::parameters(&account(server, "reader", "")).unwrap();
    let mut connection = session::open(&parameters.connect, Purpose::Metadata).await.unwrap();
    let name = TableName { schema: schema.to_owned(), table: table.to_owned() };
    let described = catalog::describe(&mut connection, &name).await.unwrap();
    connection.close().await;
    described
}

#[tokio::test]
async fn every_listed_table_can_be_described_and_previewed_by_its_path() {
    for flavour in FLAVOURS {
        let server = DatabaseServer::shared(flavour).await.unwrap();
        server.load_types().await.unwrap();
        let reader = of_schema(server, "reader", "lake_types");
        let tables = list(&reader).await;
        assert!(tables.len() > 30 && tables.is_sorted_by_key(|table| &table.path), "{flavour}");
        assert!(tables.iter().any(|table| table.path == "lake_types.t.odd `names`;-- x"), "{flavour}");
        for table in tables {
            let explored = describe(&reader, &table.path, true).await;
            let explored = explored.unwrap_or_else(|error| panic!("{flavour} {}: {error:?}", table.path));
            assert_eq!(explored.path, table.path);
            let rows = explored.preview.unwrap();
            for row in &rows {
                let names: Vec<&String> = explored.columns.iter().map(|column| &column.name).collect();
                assert_eq!(row.keys().collect::<Vec<_>>(), names, "{flavour} {}", table.path);
            }
        }
    }
}

#[tokio::test]
async fn values_are_previewed_in_their_json_forms() {
    for flavour in FLAVOURS {
        let server = DatabaseServer::shared(flavour).await.unwrap();
        let schema = server.fresh_schema("forms").await.unwrap();
        let create = format!(
            "create table {schema}.t (id bigint unsigned primary key, flag tinyint(1), ratio float, total decimal(20,4), \
             born date, seen datetime(3), took time, raw blob, doc json, long_text longtext)"
        );
        server.execute(&create).await.unwrap();
        let insert = format!(
            "insert into {schema}.t values (18446744073709551615, 1, 1.1, 1234567890123456.7891, '2024-02-29', \
             '2024-02-29 10:11:12.345', '-100:00:01', x'c328', '[1]', repeat('ü', 5000)), \
             (7, 0, 0.5, 9.5000, null, null, null, null, null, '')"
        );
        server.execute(&insert).await.unwrap();
        let explored = describe(&of_schema(server, "reader", &schema), "t", true).await.unwrap();
        let types: Vec<ColumnType> = explored.columns.iter().map(|column| column.column_type).collect();
        use ColumnType as T;
        assert_eq!(
            types,
            [
                T::Long,
                T::Boolean,
                T::Double,
                T::Double,
                T::DateTime,
                T::DateTime,
                T::String,
                T::String,
                T::String,
                T::String
            ]
        );
        let mut rows = explored.preview.unwrap();
        rows.sort_by_key(|row| row["id"].is_string());
        let [small, large] = rows.try_into().unwrap();
        assert_eq!(
            Value::Object(small),
            json!({"id": 7, "flag": false, "ratio": 0.5, "total": 9.5, "born": null, "seen": null, "took": null,
                "raw": null, "doc": null, "long_text": ""})
        );
        assert_eq!(
            Value::Object(large),
            json!({"id": "18446744073709551615", "flag": true, "ratio": 1.1, "total": "1234567890123456.7891",
                "born": "2024-02-29T00:00:00", "seen": "2024-02-29T10:11:12.345", "took": "-100:00:01", "raw": "wyg=",
                "doc": "[1]", "long_text": "ü".repeat(1024)})
        );
    }
}

#[tokio::test]
async fn system_versioned_tables_are_listed_and_sequences_are_not() {
    let server = DatabaseServer::shared(Flavour::MariaDb).await.unwrap();
    server.load_types().await.unwrap();
    let paths: Vec<String> =
        list(&of_schema(server, "reader", "lake_types")).await.into_iter().map(|table| table.path).collect();
    assert!(paths.contains(&"lake_types.m_versioned".to_owned()));
    assert!(!paths.iter().any(|path| path.contains("m_seq")), "{paths:?}");
}

#[tokio::test]
async fn a_list_without_a_database_walks_every_schema_but_those_of_the_server() {
    for flavour in FLAVOURS {
        let server = DatabaseServer::shared(flavour).await.unwrap();
        let schema = server.fresh_schema("walk").await.unwrap();
        server.execute(&format!("create table {schema}.t (a int)")).await.unwrap();
        let tables = list(&account(server, "reader", "")).await;
        assert!(tables.iter().any(|table| table.path == format!("{schema}.t")));
        for hidden in ["mysql.", "information_schema.", "performance_schema.", "sys."] {
            assert!(!tables.iter().any(|table| table.path.starts_with(hidden)), "{flavour} {hidden}");
        }
    }
}

#[tokio::test]
async fn a_broken_view_is_listed_as_not_readable_and_breaks_nothing() {
    for flavour in FLAVOURS {
        let server = DatabaseServer::shared(flavour).await.unwrap();
        let schema = server.fresh_schema("views").await.unwrap();
        for statement in [
            "create table {s}.t (a int, b int)",
            "create table {s}.gone (a int)",
            "create view {s}.whole as select a, null as n, b + 0.5 as half from {s}.t",
            "create view {s}.broken as select a from {s}.gone",
            "drop table {s}.gone",
        ] {
            server.execute(&statement.replace("{s}", &schema)).await.unwrap();
        }
        let reader = of_schema(server, "reader", &schema);
        let found: Vec<(String, TableKind, bool)> =
            list(&reader).await.into_iter().map(|table| (table.path, table.kind, table.readable)).collect();
        let path = |name: &str| format!("{schema}.{name}");
        assert_eq!(
            found,
            [
                (path("broken"), TableKind::View, false),
                (path("t"), TableKind::Table, true),
                (path("whole"), TableKind::View, true)
            ]
        );
        let error = describe(&reader, "broken", false).await.unwrap_err();
        assert!(matches!(error, SourceError::Definite(_)) && error.to_string().contains("broken"), "{error:?}");
        let whole = describe(&reader, "whole", true).await.unwrap();
        let columns: Vec<_> = whole.columns.iter().map(|column| (&*column.name, column.column_type)).collect();
        assert_eq!(columns, [("a", ColumnType::Integer), ("n", ColumnType::String), ("half", ColumnType::Double)]);
    }
}

#[tokio::test]
async fn a_missing_table_is_told_from_a_forbidden_one() {
    for flavour in FLAVOURS {
        let server = DatabaseServer::shared(flavour).await.unwrap();
        let schema = server.fresh_schema("hidden").await.unwrap();
        server.execute(&format!("create table {schema}.Orders (a int)")).await.unwrap();
        let path = |name: &str| format!("{schema}.{name}");
        let reader = account(server, "reader", "");
        assert_eq!(kind_of_failure(&reader, &path("nobody")).await, SourceErrorKind::UnknownTable);
        assert_eq!(kind_of_failure(&reader, &path("orders")).await, SourceErrorKind::UnknownTable, "case matters");
        assert_eq!(kind_of_failure(&reader, "Orders").await, SourceErrorKind::UnknownTable, "no database is named");
        assert_eq!(kind_of_failure(&reader, "🙂").await, SourceErrorKind::UnknownTable);
        assert!(describe(&reader, &path("Orders"), false).await.is_ok());
        let nothing = account(server, "nothing", "");
        let error = describe(&nothing, &path("Orders"), false).await.unwrap_err();
        assert_eq!(error.fault().kind, SourceErrorKind::Privilege, "{flavour}");
        assert!(error.fault().hint.as_deref().unwrap().contains("GRANT SELECT ON"), "{error:?}");
    }
}

#[tokio::test]
async fn paths_with_dots_lead_to_their_tables() {
    for flavour in FLAVOURS {
        let server = DatabaseServer::shared(flavour).await.unwrap();
        let schema = server.fresh_schema("dots").await.unwrap();
        let dotted = format!("{schema}.x");
        for statement in [
            format!("create database `{dotted}`"),
            format!("create table `{dotted}`.`y.z` (a int)"),
            format!("create table `{schema}`.`x.y.z` (b int)"),
            format!("create table `{schema}`.`p.q` (c int)"),
        ] {
            server.execute(&statement).await.unwrap();
        }
        let reader = of_schema(server, "reader", &schema);
        for (path, column) in [
            (format!("{schema}.x.y.z"), "a"),
            ("x.y.z".to_owned(), "b"),
            ("p.q".to_owned(), "c"),
            (format!("{schema}.p.q"), "c"),
        ] {
            let explored = describe(&reader, &path, false).await.unwrap();
            assert_eq!(explored.columns[0].name, column, "{flavour} {path}");
        }
        server.execute(&format!("drop database `{dotted}`")).await.unwrap();
    }
}

#[tokio::test]
async fn a_server_that_folds_names_finds_a_table_in_any_spelling() {
    let server = ServerOptions::new(Flavour::MariaDb).argument("--lower-case-table-names=1").start().await.unwrap();
    let schema = server.fresh_schema("folds").await.unwrap();
    server.execute(&format!("create table {schema}.Orders (a int)")).await.unwrap();
    let reader = of_schema(&server, "reader", &schema);
    for path in ["orders".to_owned(), "ORDERS".to_owned(), format!("{}.Orders", schema.to_uppercase())] {
        assert_eq!(describe(&reader, &path, true).await.unwrap().path, format!("{schema}.orders"), "{path}");
    }
}

#[tokio::test]
async fn a_preview_of_values_that_can_not_be_clipped_ends_early() {
    let server = DatabaseServer::shared(Flavour::MariaDb).await.unwrap();
    let schema = server.fresh_schema("shapes").await.unwrap();
    let shape = "st_geomfromtext(concat('linestring(', repeat('0 0,', 250000), '1 1)'))";
    for statement in [
        format!("create table {schema}.t (id int primary key auto_increment, g geometry)"),
        format!("insert into {schema}.t (g) values ({shape})"),
        format!(
            "insert into {schema}.t (g) select g from {schema}.t t1, (select 1 union all select 2 union all select 3) x"
        ),
        format!(
            "insert into {schema}.t (g) select g from {schema}.t t1, (select 1 union all select 2 union all select 3) x"
        ),
    ] {
        server.execute(&statement).await.unwrap();
    }
    let rows = describe(&of_schema(server, "reader", &schema), "t", true).await.unwrap().preview.unwrap();
    assert!((5..16).contains(&rows.len()), "16 rows of 4 MB each, {} shown", rows.len());
}

#[tokio::test]
async fn columns_that_are_not_granted_are_left_out() {
    for flavour in FLAVOURS {
        let server = DatabaseServer::shared(flavour).await.unwrap();
        let schema = server.fresh_schema("grants").await.unwrap();
        let user = format!("u{}", &schema[schema.len().saturating_sub(20)..]);
        for statement in [
            format!("create table {schema}.t (a int primary key, b int)"),
            format!("insert into {schema}.t values (1, 2)"),
            format!("create user {user}@'%' identified by 'pw'"),
            format!("grant select (a), insert on {schema}.t to {user}@'%'"),
        ] {
            server.execute(&statement).await.unwrap();
        }
        let limited =
            access(&format!("Server={};Port={};UID={user};PWD=pw;Database={schema}", server.host(), server.port()));
        let explored = describe(&limited, "t", true).await.unwrap();
        assert_eq!(explored.columns.len(), 1, "{flavour}: {:?}", explored.columns);
        assert_eq!(explored.preview.unwrap(), [json!({"a": 1}).as_object().unwrap().clone()]);
        let request = ReadRequest {
            table: "t".to_owned(),
            columns: Some(vec!["b".to_owned()]),
            filter: None,
            delta: None,
            splits: Splits::Auto,
        };
        let error = MySqlSource::default().check_read(&limited, &request).await.unwrap_err();
        assert_eq!(error.fault().kind, SourceErrorKind::Privilege, "{flavour}: {error:?}");
        server.execute(&format!("drop user {user}@'%'")).await.unwrap();
    }
}

#[tokio::test]
async fn keys_are_row_keys_only_if_they_name_every_row() {
    for flavour in FLAVOURS {
        let server = DatabaseServer::shared(flavour).await.unwrap();
        let schema = server.fresh_schema("row_keys").await.unwrap();
        let unused = if flavour.is_maria_db() { "ignored" } else { "invisible" };
        let create = format!(
            "create table {schema}.t (a int not null, b varchar(50) not null, c int null, d int not null, e int not null, \
             primary key (d, a), unique key good (e), unique key loose (c), unique key prefix (b(10)), \
             unique key unused (a) {unused}, key plain (a))"
        );
        server.execute(&create).await.unwrap();
        let table = discovered(server, &schema, "t").await;
        let keys: Vec<(&str, usize)> = table.row_keys().map(|key| (&*key.name, key.columns.len())).collect();
        assert_eq!(keys, [("PRIMARY", 2), ("good", 1)], "{flavour}");
        assert_eq!(table.keys.len(), 6);
        assert!(table.is_transactional());
        if flavour == Flavour::MySql {
            server
                .execute(&format!("create table {schema}.f (a int not null, unique key fun ((a + 1)))"))
                .await
                .unwrap();
            assert_eq!(discovered(server, &schema, "f").await.row_keys().count(), 0);
        }
    }
}

#[tokio::test]
async fn columns_are_described_as_they_are_declared() {
    for flavour in FLAVOURS {
        let server = DatabaseServer::shared(flavour).await.unwrap();
        let schema = server.fresh_schema("columns").await.unwrap();
        let create = format!(
            "create table {schema}.t (a int, doc json, plain longtext, v int as (a + 1) virtual, s int as (a + 2) stored, \
             hidden int invisible, made datetime default current_timestamp)"
        );
        server.execute(&create).await.unwrap();
        let table = discovered(server, &schema, "t").await;
        let column = |name: &str| table.column(name).unwrap();
        use headwaters_source::mysql::catalog::Generated;
        assert_eq!(column("v").generated, Generated::Virtual);
        assert_eq!(column("s").generated, Generated::Stored);
        assert_eq!(column("made").generated, Generated::No);
        assert!(column("HIDDEN").invisible && !column("a").invisible);
        assert_eq!(column("doc").json_check, flavour.is_maria_db());
        assert!(!column("plain").json_check);
        assert!(table.columns.iter().all(|column| column.selectable));
    }
}

#[tokio::test]
async fn a_request_is_checked_before_it_is_kept() {
    let server = DatabaseServer::shared(Flavour::MariaDb).await.unwrap();
    let schema = server.fresh_schema("checks").await.unwrap();
    server.execute(&format!("create table {schema}.t (a int, b varchar(5))")).await.unwrap();
    let reader = of_schema(server, "reader", &schema);
    let request = |columns: Option<&[&str]>, node: Option<Value>| ReadRequest {
        table: "t".to_owned(),
        columns: columns.map(|names| names.iter().map(|&name| name.to_owned()).collect()),
        filter: node.map(|node| json!({"type": "PQL", "format": "pql/json", "value": node})),
        delta: None,
        splits: Splits::Auto,
    };
    let source = MySqlSource::default();
    source.check_read(&reader, &request(Some(&["B", "a"]), Some(filter("=", "a", 1)))).await.unwrap();
    for (request, kind) in [
        (request(Some(&["nobody"]), None), SourceErrorKind::UnknownColumn),
        (request(None, Some(filter("=", "nobody", 1))), SourceErrorKind::UnknownFilterColumn),
        (request(None, Some(filter("=", "a", "1"))), SourceErrorKind::FilterType),
    ] {
        let error = source.check_read(&reader, &request).await.unwrap_err();
        assert_eq!(error.fault().kind, kind);
    }
}

#[tokio::test]
async fn a_slow_preview_ends_with_a_reason() {
    let slow = async |flavour| {
        let server = DatabaseServer::shared(flavour).await.unwrap();
        let schema = server.fresh_schema("slow").await.unwrap();
        let view = format!("create view {schema}.v as select sleep(30) as a");
        server.execute(&view).await.unwrap();
        let started = Instant::now();
        let outcome = describe(&of_schema(server, "reader", &schema), "v", true).await;
        assert!(started.elapsed() < Duration::from_secs(12), "{flavour}");
        // MySQL ends the sleep early instead of the statement; MariaDB ends the statement.
        if let Err(error) = outcome {
            assert!(error.to_string().contains("longer than 5 s"), "{flavour}: {error:?}");
        }
    };
    tokio::join!(slow(Flavour::MariaDb), slow(Flavour::MySql));
}

/// A definition file is all that a list looks at, so that many tables are made by copying one.
#[tokio::test]
async fn a_server_with_fifty_thousand_tables_lists_them_in_seconds() {
    let server = ServerOptions::new(Flavour::MariaDb).start().await.unwrap();
    let schema = server.fresh_schema("many").await.unwrap();
    server.execute(&format!("create table {schema}.t (a int primary key, b text) engine=MyISAM")).await.unwrap();
    let folder = server.data_dir().join(&schema);
    let definition = folder.join("t.frm");
    for number in 1..TABLES {
        std::fs::copy(&definition, folder.join(format!("t_{number:05}.frm"))).unwrap();
    }
    let started = Instant::now();
    let tables = list(&account(&server, "reader", "")).await;
    let elapsed = started.elapsed();
    assert_eq!(tables.iter().filter(|table| table.path.starts_with(&schema)).count(), TABLES);
    assert!(elapsed < LIST_DURATION_MAX, "{elapsed:?}");
    let started = Instant::now();
    assert_eq!(describe(&account(&server, "reader", ""), &format!("{schema}.t"), true).await.unwrap().columns.len(), 2);
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "one table of many is looked up alone: {:?}",
        started.elapsed()
    );
}
