//! The process dies at each named point of a run, and each row is landed once all the same (docs/architecture.md,
//! section 4): of a table as of one moment, of windows one after the other, and of a plan whose key ranges are kept, or are
//! committed as they land.

use futures::StreamExt;
use headwaters_model::crash::CrashPoint;
use headwaters_testkit::proxy::Proxy;
use headwaters_testkit::world::{CATALOG, CopyOnce, FLOW_SERVICE, Recurring, World, now_s, quick_recurring};
use headwaters_testkit::{DatabaseServer, Flavour, ServerOptions};
use serde_json::{Value, json};

use crate::land::{count, rows};
use crate::scene::status;

/// How long a run may take that another process must first take over.
const RUN_SECONDS_MAX: u64 = 90;
/// How long a run may take that breaks in every attempt: the pauses before them outlast the restart of a server.
const WORN_OUT_SECONDS_MAX: u64 = 200;
/// At how many points processes die side by side: each waits most of the time for the lease of the dead one to end.
const AT_ONCE: usize = 6;
/// In how many seconds the second window of a recurring flow ends: the process has died by then, and new rows are there.
const SECOND_WINDOW_SECONDS: u64 = 20;
/// Rows of the table that is cut into key ranges.
const ROWS: i64 = 16_000;
/// Points that are passed only where what is landed is kept.
const WHEN_KEPT: [CrashPoint; 2] = [CrashPoint::PlanKept, CrashPoint::SplitKept];

/// Lets a process die at each of these points.
async fn at_each(points: impl IntoIterator<Item = String>, dies: impl AsyncFn(String)) {
    if !cfg!(feature = "crash-points") {
        panic!("the program has no crash points: run this with --features headwaters-server/crash-points");
    }
    futures::stream::iter(points).map(|point| dies(point)).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
}

/// The points that are passed by every run.
fn always() -> impl Iterator<Item = String> {
    when_kept().filter(|point| !WHEN_KEPT.iter().any(|other| other.name() == point))
}

/// The points that are passed by a run that keeps what it lands.
fn when_kept() -> impl Iterator<Item = String> {
    CrashPoint::ALL.iter().filter(|point| **point != CrashPoint::PartSettled).map(ToString::to_string)
}

/// The points that are passed by a run that commits as it lands, some of them once more.
fn when_committed() -> impl Iterator<Item = String> {
    let again = [CrashPoint::PendingWritten, CrashPoint::CommitPrepared, CrashPoint::CommitDurable];
    let again = again.map(|point| format!("{point}@2"));
    CrashPoint::ALL.iter().map(ToString::to_string).chain(again)
}

/// The next start after the process has died as it was told to.
async fn dead_and_restarted(world: &mut World, point: &str) {
    world.crashed().await.unwrap_or_else(|error| panic!("{point}: {error:#}\n{}", world.log()));
    world.restart().await.unwrap_or_else(|error| panic!("{point}: {error:#}"));
}

async fn ids(world: &World, copy: &CopyOnce) -> Vec<i64> {
    let folder = world.table_dir(&copy.data_set).await.expect("a table");
    let mut ids: Vec<i64> = rows(&folder).iter().map(|row| row["id"].as_i64().expect("an id")).collect();
    ids.sort_unstable();
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_point_lands_every_row_once() {
    let database = ServerOptions::new(Flavour::MariaDb).start().await.expect("a database");
    database.load("shop.sql").await.expect("the shop");
    let rows = database.query("select count(*) from shop.order_items").await.expect("a count")[0][0].clone();

    at_each(always(), async |point| {
        let mut world = World::options(env!("CARGO_BIN_EXE_headwaters"))
            .crash_at(&point)
            .start()
            .await
            .unwrap_or_else(|error| panic!("{point}: {error:#}"));
        let connection = world.connect("maria-db", &database.connection_string("reader")).await.expect("a connection");
        let copy = world.copy_once(&connection, "maria-db", "shop.order_items").await.expect("a flow");
        dead_and_restarted(&mut world, &point).await;
        let run = world.finished_run(&copy.flow, RUN_SECONDS_MAX).await;
        let run = run.unwrap_or_else(|error| panic!("{point}: {error:#}\n{}", world.log()));
        assert_eq!(status(&run), "success", "{point}: {run:#}");
        let folder = world.table_dir(&copy.data_set).await.expect("a table");
        assert_eq!(Some(count(&folder).to_string()), rows, "{point}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_point_of_a_window_lands_its_rows_once_and_the_next_one_reads_on_from_there() {
    let database = ServerOptions::new(Flavour::MariaDb).start().await.expect("a database");
    database.execute("create database big").await.expect("a schema");

    at_each(always(), async |point| {
        let table = format!("big.`{point}`");
        let make = format!("create table {table} (id int primary key, at datetime(3) not null)");
        database.execute(&make).await.expect("a table");
        let old = format!("insert into {table} select seq, utc_timestamp(3) - interval 1 hour from big.seq_1_to_20");
        database.execute(&old).await.expect("rows");
        let mut world = quick_recurring(World::options(env!("CARGO_BIN_EXE_headwaters")))
            .crash_at(&point)
            .start()
            .await
            .unwrap_or_else(|error| panic!("{point}: {error:#}"));
        let connection = world.connect("maria-db", &database.connection_string("reader")).await.expect("a connection");
        let flow = Recurring::new(&format!("big.{point}"), "at").soon_again(SECOND_WINDOW_SECONDS);
        let copy = world.copy_every_minute(&connection, "maria-db", &flow).await.expect("a flow");
        world.crashed().await.unwrap_or_else(|error| panic!("{point}: {error:#}\n{}", world.log()));
        let new = format!("insert into {table} select seq, utc_timestamp(3) from big.seq_21_to_30");
        database.execute(&new).await.expect("rows");
        assert!(now_s() < flow.instant_s(1), "{point}: the rows came too late for the second window");
        world.restart().await.unwrap_or_else(|error| panic!("{point}: {error:#}"));

        for (run, read) in [(0, 20), (1, 10)] {
            let run = world.nth_run(&copy.flow, run, RUN_SECONDS_MAX).await;
            let run = run.unwrap_or_else(|error| panic!("{point}: {error:#}\n{}", world.log()));
            assert_eq!(status(&run), "success", "{point}: {run:#}");
            assert_eq!(run["metrics"]["recordSummary"]["outputRecordCount"], read, "{point}: {run:#}");
        }
        assert_eq!(ids(&world, &copy).await, (1..=30).collect::<Vec<_>>(), "{point}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_point_of_a_run_that_keeps_what_it_lands_lands_every_row_once() {
    let database = with_key_ranges().await;
    at_each(when_kept(), async |point| {
        let run = dies_under(&database, &point, json!({"consistency": "split"})).await;
        assert_eq!(run["metrics"]["recordSummary"]["outputRecordCount"], ROWS, "{point}: {run:#}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_point_of_a_run_that_commits_as_it_lands_lands_every_row_once() {
    let database = with_key_ranges().await;
    at_each(when_committed(), async |point| {
        let run = dies_under(&database, &point, json!({"commitPerSplit": true})).await;
        assert_eq!(run["metrics"]["recordSummary"]["outputRecordCount"], ROWS, "{point}: {run:#}");
        let files = run["metrics"]["fileSummary"]["outputFileCount"].as_u64().expect("a number");
        assert!(files > 1, "{point}: {run:#}");
    })
    .await;
}

/// A table that is read in several key ranges.
async fn with_key_ranges() -> DatabaseServer {
    let database = ServerOptions::new(Flavour::MariaDb).start().await.expect("a database");
    database.execute("create database big").await.expect("a schema");
    database.execute("create table big.t (id int primary key, filler varchar(3000) not null)").await.expect("a table");
    let fill = format!("insert into big.t select seq, repeat(md5(seq), 80) from big.seq_1_to_{ROWS}");
    database.execute(&fill).await.expect("rows");
    database.execute("analyze table big.t").await.expect("estimates");
    database
}

/// A run that dies at a point and is brought to its end by the next process.
async fn dies_under(database: &DatabaseServer, point: &str, options: Value) -> Value {
    let mut world = World::options(env!("CARGO_BIN_EXE_headwaters"))
        .crash_at(point)
        .start()
        .await
        .unwrap_or_else(|error| panic!("{point}: {error:#}"));
    let connection = world.connect("maria-db", &database.connection_string("reader")).await.expect("a connection");
    let copy = copy_with(&world, &connection, "big.t", options).await;
    dead_and_restarted(&mut world, point).await;
    let run = world.finished_run(&copy.flow, RUN_SECONDS_MAX).await;
    let run = run.unwrap_or_else(|error| panic!("{point}: {error:#}\n{}", world.log()));
    assert_eq!(status(&run), "success", "{point}: {run:#}");
    assert!(ids(&world, &copy).await.into_iter().eq(1..=ROWS), "{point}: not every row is there once");
    run
}

/// A flow that copies a table of MariaDB once, with options.
pub(crate) async fn copy_with(world: &World, connection: &str, table: &str, options: Value) -> CopyOnce {
    let source = world.source_of(connection, "maria-db", table).await.expect("a source connection");
    let data_set = world.data_set(table).await.expect("a data set");
    let target = world.target_of(&data_set).await.expect("a target connection");
    let mut body = world.flow_body(table, &source, &target, now_s()).await.expect("the flow's spec");
    body["options"] = options;
    let flow = world.create(&format!("{FLOW_SERVICE}/flows"), &body).await.expect("a flow");
    CopyOnce { flow, source, target, data_set }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_in_every_attempt_fails_the_run_and_lands_nothing() {
    let database = ServerOptions::new(Flavour::MariaDb).start().await.expect("a database");
    database.execute("create database big").await.expect("a schema");
    database.execute("create table big.t (id int primary key, filler varchar(200) not null)").await.expect("a table");
    database.execute("insert into big.t select seq, repeat(md5(seq), 6) from big.seq_1_to_100000").await.expect("rows");
    let proxy = Proxy::to(database.port()).await.expect("a proxy");
    let world = World::options(env!("CARGO_BIN_EXE_headwaters")).start().await.expect("a server");
    let string = database.connection_string("reader").replace(&database.port().to_string(), &proxy.port().to_string());
    let connection = world.connect("maria-db", &string).await.expect("a connection");

    proxy.cut_after_bytes(4 << 20);
    let copy = world.copy_once(&connection, "maria-db", "big.t").await.expect("a flow");
    let run = world.finished_run(&copy.flow, WORN_OUT_SECONDS_MAX).await.expect("a run");
    let status = &run["metrics"]["statusSummary"];
    assert_eq!(status["status"], "failed", "{run:#}");
    assert_eq!(status["errors"][0]["code"], "CONNECTOR-1001-500", "{run:#}");
    let location = world.get(&format!("{CATALOG}/dataSets/{}", copy.data_set)).await.expect("an answer");
    let location = location.body[&copy.data_set]["location"].as_str().expect("a location").to_owned();
    let folder = std::path::PathBuf::from(location.trim_start_matches("file://"));
    assert!(!folder.join("_delta_log").exists(), "{}", folder.display());

    let tested = world.get(&format!("{FLOW_SERVICE}/connections/{connection}/test")).await.expect("an answer");
    assert_eq!(tested.status, 200, "a broken source is an answer, not an error: {}", tested.body);
}
