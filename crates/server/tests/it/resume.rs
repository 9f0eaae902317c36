//! A full load that breaks late: what the next attempt reads again, and what it does not (docs/architecture.md, section 4;
//! mysql-sources.md 14).

use std::time::Duration;

use headwaters_testkit::proxy::Proxy;
use headwaters_testkit::world::{CopyOnce, World};
use headwaters_testkit::{DatabaseServer, Flavour, ServerOptions};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::crash::copy_with;
use crate::land::rows;
use crate::scene::status;

const ROWS: i64 = 200_000;
/// About how many bytes of the wire they are: 203 each.
const TABLE_BYTES: u64 = 40_600_000;
/// How much of the table has crossed the wire when it breaks.
const LATE_BYTES: u64 = TABLE_BYTES * 4 / 5;
/// Slow enough that a key range is landed long before the next one is read.
const BYTES_PER_SECOND: u64 = 8 << 20;
/// How long a run may take with its pauses.
const RUN_SECONDS_MAX: u64 = 120;
/// How long anything may take that a test waits for.
const SOON: Duration = Duration::from_secs(60);

/// A table in several key ranges, behind a network that can be cut, and a program beside it.
struct Late {
    database: DatabaseServer,
    proxy: Proxy,
    world: World,
    connection: String,
}

impl Late {
    async fn set() -> Self {
        let database = ServerOptions::new(Flavour::MariaDb).start().await.expect("a database");
        database.execute("create database big").await.expect("a schema");
        let table = "create table big.t (id int primary key, filler varchar(200) not null)";
        database.execute(table).await.expect("a table");
        let fill = format!("insert into big.t select seq, repeat(md5(seq), 6) from big.seq_1_to_{ROWS}");
        database.execute(&fill).await.expect("rows");
        database.execute("analyze table big.t").await.expect("estimates");
        let proxy = Proxy::to(database.port()).await.expect("a proxy");
        let world = World::options(env!("CARGO_BIN_EXE_headwaters")).start().await.expect("a server");
        let string =
            database.connection_string("locker").replace(&database.port().to_string(), &proxy.port().to_string());
        let connection = world.connect("maria-db", &string).await.expect("a connection");
        Self { database, proxy, world, connection }
    }

    /// Begins to copy the table, which goes wrong late.
    async fn begin(&self, options: Value) -> CopyOnce {
        self.proxy.throttle(BYTES_PER_SECOND);
        copy_with(&self.world, &self.connection, "big.t", options).await
    }

    /// Cuts the connections when most of the table has crossed the wire, and waits until the attempt has noticed; how many
    /// bytes there were.
    async fn breaks_late(&self) -> u64 {
        self.until("the table is read", || self.proxy.bytes_down() >= LATE_BYTES).await;
        self.proxy.cut();
        self.until("the attempt breaks", || self.world.log().contains("the attempt broke")).await;
        self.proxy.bytes_down()
    }

    async fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let start = Instant::now();
        while !is_so() {
            assert!(start.elapsed() < SOON, "not so far after {SOON:?}: {what}\n{}", self.world.log());
            sleep(Duration::from_millis(10)).await;
        }
    }

    async fn run(&self, copy: &CopyOnce) -> Value {
        let run = self.world.finished_run(&copy.flow, RUN_SECONDS_MAX).await;
        run.unwrap_or_else(|error| panic!("{error:#}\n{}", self.world.log()))
    }

    async fn landed(&self, copy: &CopyOnce) -> Vec<Value> {
        let mut rows = rows(&self.world.table_dir(&copy.data_set).await.expect("a table"));
        rows.sort_by_key(|row| row["id"].as_i64());
        rows
    }

    /// Each row of the source is in the table once.
    async fn assert_all_landed(&self, copy: &CopyOnce) {
        let ids = self.landed(copy).await.into_iter().map(|row| row["id"].as_i64().expect("an id"));
        assert!(ids.eq(1..=ROWS), "not every row is there once");
    }
}

fn notes(run: &Value) -> Vec<&str> {
    let notes = run.pointer("/metrics/statusSummary/extensions/notes").and_then(Value::as_array);
    notes.into_iter().flatten().filter_map(Value::as_str).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_keeps_what_it_lands_reads_only_the_missing_key_ranges_again() {
    let late = Late::set().await;
    let copy = late.begin(json!({"consistency": "split"})).await;
    let before = late.breaks_late().await;
    late.proxy.mend();
    let run = late.run(&copy).await;
    assert_eq!(status(&run), "success", "{run:#}");
    let again = late.proxy.bytes_down() - before;
    assert!(again < TABLE_BYTES * 7 / 10, "{again} bytes were read again of {TABLE_BYTES}: {run:#}");
    assert_eq!(run["metrics"]["recordSummary"]["outputRecordCount"], ROWS, "{run:#}");
    let noted = notes(&run);
    assert!(noted.iter().any(|note| note.ends_with("key ranges had been landed by earlier attempts")), "{noted:?}");
    assert!(noted.contains(&"shows the table as of 2 moments"), "{noted:?}");
    late.assert_all_landed(&copy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_was_cut_tells_what_all_its_attempts_have_compared() {
    for options in [json!({"consistency": "split", "verify": true}), json!({"commitPerSplit": true, "verify": true})] {
        let late = Late::set().await;
        let copy = late.begin(options.clone()).await;
        late.breaks_late().await;
        late.proxy.mend();
        let run = late.run(&copy).await;
        assert_eq!(status(&run), "success", "{run:#}");
        let noted = notes(&run);
        let expected = format!("verified: {ROWS} rows, 2 columns are equal on the server and in the written files");
        let told: Vec<&str> = noted.iter().filter(|note| note.contains("verified")).copied().collect();
        assert_eq!(told, [expected], "{options}: {noted:?}");
        late.assert_all_landed(&copy).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_goes_on_after_its_database_was_killed_and_came_back() {
    let mut late = Late::set().await;
    let copy = late.begin(json!({"consistency": "split"})).await;
    late.until("the table is read", || late.proxy.bytes_down() >= LATE_BYTES).await;
    let before = late.proxy.bytes_down();
    late.database.kill().expect("the database is killed");
    late.database.start().await.expect("the database comes back");
    let run = late.run(&copy).await;
    assert_eq!(status(&run), "success", "{run:#}");
    let again = late.proxy.bytes_down() - before;
    assert!(again < TABLE_BYTES * 7 / 10, "{again} bytes were read again of {TABLE_BYTES}: {run:#}");
    late.assert_all_landed(&copy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_as_of_one_moment_starts_over() {
    let late = Late::set().await;
    let copy = late.begin(json!({"consistency": "table"})).await;
    let before = late.breaks_late().await;
    late.proxy.mend();
    let run = late.run(&copy).await;
    assert_eq!(status(&run), "success", "{run:#}");
    let again = late.proxy.bytes_down() - before;
    assert!(again >= TABLE_BYTES, "only {again} bytes were read again of {TABLE_BYTES}: {run:#}");
    late.assert_all_landed(&copy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_landed_before_the_columns_changed_is_given_up() {
    let late = Late::set().await;
    let copy = late.begin(json!({"consistency": "split"})).await;
    late.breaks_late().await;
    late.database.execute("alter table big.t add column colour varchar(10) default 'red'").await.expect("a column");
    late.proxy.mend();
    let run = late.run(&copy).await;
    assert_eq!(status(&run), "success", "{run:#}");
    let noted = notes(&run);
    let started_over =
        |note: &&str| note.starts_with("started over:") && note.contains("the columns of `big`.`t` have changed");
    assert!(noted.iter().any(started_over), "{noted:?}");
    late.assert_all_landed(&copy).await;
    assert!(late.landed(&copy).await.iter().all(|row| row["colour"] == "red"), "rows from before the change are there");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_starts_over_once_rows_are_visible() {
    let late = Late::set().await;
    let copy = late.begin(json!({"commitPerSplit": true})).await;
    late.breaks_late().await;
    late.database.execute("alter table big.t add column colour varchar(10)").await.expect("a column");
    late.proxy.mend();
    let run = late.run(&copy).await;
    assert_eq!(status(&run), "failed", "{run:#}");
    let summary = &run["metrics"]["statusSummary"];
    let said = summary["errors"][0]["message"].as_str().expect("a message");
    assert!(said.ends_with("a part of what is read is in the data set already"), "{said}");
    let visible = late.landed(&copy).await.len();
    let noted = notes(&run);
    assert!(
        noted.iter().any(|note| note.starts_with(&format!("{visible} rows of this run are in the data set"))),
        "{noted:?}"
    );

    late.database.execute("alter table big.t drop column colour").await.expect("the column is gone");
    let id = run["id"].as_str().expect("an id");
    let again = late.world.act(&format!("/data/foundation/flowservice/runs/{id}/action?op=re-trigger")).await;
    let again = again.expect("an answer");
    assert!(again.status < 300, "{} {}", again.status, again.body);
    let start = Instant::now();
    while late.landed(&copy).await.len() < usize::try_from(ROWS).expect("a number") {
        assert!(start.elapsed() < SOON, "the rest does not land: {}", late.world.log());
        sleep(Duration::from_millis(200)).await;
    }
    late.assert_all_landed(&copy).await;
}
