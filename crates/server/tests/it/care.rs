//! The server looks after its tables while runs land into them.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::Duration;

use headwaters_testkit::Flavour;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::land::{delta_rows, headwaters, output};
use crate::scene::Scene;

/// How long the first look at a new table may take: a minute, and the time of a busy machine.
const CARE_SECONDS_MAX: u64 = 150;

/// So many small files are put together at once.
const SMALL_FILES: usize = 8;

/// How many files the newest version of a table has.
fn files(table: &Path) -> usize {
    let answer = crate::land::read_back(&["files".as_ref(), table.as_os_str()]);
    usize::try_from(answer.as_u64().expect("a number")).expect("few files")
}

/// Reads the table once more and appends its rows to the lake, as a file of its own.
async fn append(scene: &Scene, account: &str, table: &Path) {
    let mut command = headwaters();
    command.args(["copy", account, "--table", &scene.table(), "--mode", "append", "--progress", "none", "--to"]);
    command.arg(table);
    let copied = tokio::task::spawn_blocking(move || output(&mut command)).await.expect("an end");
    assert!(copied.status.success(), "{}", crate::land::complaint(&copied));
}

/// The value of a counter; one that never counted is not shown.
async fn counter(scene: &Scene, name: &str) -> u64 {
    let metrics = scene.world.get("/metrics").await.expect("an answer").body;
    let Value::String(metrics) = metrics else { panic!("metrics are text") };
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0, |value| value.parse().unwrap_or_else(|_| panic!("not a number: {name} {value}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn many_small_appends_become_few_files_and_polars_reads_every_row() {
    let settings = [("HEADWATERS_LAKE_CARE_MINUTES", "1"), ("HEADWATERS_LAKE_COMPACT_FILES_MIN", "8")];
    let scene = Scene::set_with(Flavour::MariaDb, &settings).await;
    let connection = scene.connection().await;
    let copy = scene.world.copy_once(&connection, scene.spec_name(), &scene.table()).await.expect("a flow");
    scene.finished_run(&copy.flow).await;
    let table = scene.world.table_dir(&copy.data_set).await.expect("a table");

    // What lands small files fastest: copies beside the server, into its own table.
    let account = scene.database.connection_string("reader");
    for id in 100..112 {
        let sql = format!("insert into {} values ({id}, 'row {id}', '2024-02-01 00:00:00')", scene.table());
        scene.database.execute(&sql).await.expect("a row");
    }
    let first = delta_rows(&table);
    let mut rounds = 0;
    while rounds < SMALL_FILES {
        append(&scene, &account, &table).await;
        rounds += 1;
        assert_eq!(delta_rows(&table).len(), 3 + 15 * rounds);
    }

    // Rows go on landing while it is looked after, in one visit or several.
    let begun = Instant::now();
    while counter(&scene, "headwaters_compacted_files_total").await < SMALL_FILES as u64 {
        assert!(begun.elapsed() < Duration::from_secs(CARE_SECONDS_MAX), "it is not looked after");
        if rounds < 3 * SMALL_FILES {
            append(&scene, &account, &table).await;
            rounds += 1;
        }
        sleep(Duration::from_secs(2)).await;
    }
    append(&scene, &account, &table).await;
    rounds += 1;

    let mut times: HashMap<String, usize> = HashMap::new();
    for row in delta_rows(&table) {
        *times.entry(row.to_string()).or_default() += 1;
    }
    assert_eq!(times.len(), 15);
    let first: HashSet<String> = first.iter().map(ToString::to_string).collect();
    for (row, times) in &times {
        let landed_first = first.contains(row);
        assert_eq!(*times, rounds + usize::from(landed_first), "{row}");
    }
    let left = files(&table);
    assert!(left <= rounds - SMALL_FILES + 2, "{left} files after {} were written", rounds + 1);
    assert_eq!(counter(&scene, "headwaters_care_failures_total").await, 0);
}
