//! What an orderly end does with runs under way, beside one that is none (docs/architecture.md, section 8).

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use headwaters_testkit::Flavour;
use headwaters_testkit::world::CopyOnce;
use tokio::time::sleep;

use crate::scene::{ROWS, RUN_SECONDS_MAX, Scene, status};

/// More often than a run may be tried.
const ENDS: u32 = 7;
/// How long the start of a query may take.
const QUERY_SECONDS_MAX: u64 = 30;

/// A flow whose run takes that long for each of three rows.
async fn slow_copy(scene: &Scene, seconds_per_row: f32) -> CopyOnce {
    make_view(scene, seconds_per_row).await;
    let connection = scene.connection().await;
    let table = format!("{}.slow", scene.schema);
    scene.world.copy_once(&connection, scene.spec_name(), &table).await.expect("a flow")
}

async fn make_view(scene: &Scene, seconds_per_row: f32) {
    let slept = format!("sleep({seconds_per_row})");
    let view =
        format!("create or replace view {0}.slow as select id, title, {slept} as slept from {0}.orders", scene.schema);
    scene.database.execute(&view).await.expect("a view");
}

/// How many queries of the view the database server works on.
async fn queries(scene: &Scene) -> u64 {
    let sql = format!(
        "select count(*) from information_schema.processlist \
         where id <> connection_id() and command <> 'Sleep' and info like '%{}%'",
        scene.schema
    );
    let rows = scene.database.query(&sql).await.expect("an answer");
    rows[0][0].as_deref().and_then(|count| count.parse().ok()).expect("a count")
}

/// Waits until a run reads.
async fn reading(scene: &Scene) {
    let begun = Instant::now();
    while queries(scene).await == 0 {
        assert!(begun.elapsed() < Duration::from_secs(QUERY_SECONDS_MAX), "no query: {}", scene.world.log());
        sleep(Duration::from_millis(20)).await;
    }
}

/// The Parquet files below a folder, of the table or left over.
fn data_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "parquet")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_ends_within_the_drain_time_is_finished_before_the_process_ends() {
    let mut scene = Scene::set(Flavour::MariaDb).await;
    let copy = slow_copy(&scene, 0.7).await;
    reading(&scene).await;
    assert_eq!(scene.world.terminate().await.expect("an end").code(), Some(0), "{}", scene.world.log());
    assert_eq!(queries(&scene).await, 0);
    let finished = scene.world.log().matches("the run is over").count();
    assert_eq!(finished, 1, "before the end: {}", scene.world.log());

    scene.world.restart().await.expect("a server");
    let run = scene.finished_run(&copy.flow).await;
    assert_eq!((status(&run).as_str(), scene.landed(&copy.data_set).await), ("success", ROWS), "{run:#}");
    assert_eq!(scene.world.log().matches("an attempt begins").count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_cut_short_at_every_end_leaves_nothing_behind_and_is_never_used_up() {
    let mut scene = Scene::set_with(Flavour::MariaDb, &[("HEADWATERS_RUNS_DRAIN_SECONDS", "0")]).await;
    let copy = slow_copy(&scene, 300.0).await;
    let folder = scene.world.table_dir(&copy.data_set).await.expect("a table");
    for end in 1..=ENDS {
        reading(&scene).await;
        let begun = Instant::now();
        assert_eq!(scene.world.terminate().await.expect("an end").code(), Some(0), "{}", scene.world.log());
        assert!(begun.elapsed() < Duration::from_secs(15), "end {end} took {:?}", begun.elapsed());
        assert_eq!(queries(&scene).await, 0, "end {end}: the query is killed");
        assert_eq!(data_files(&folder), Vec::<PathBuf>::new(), "end {end}");
        if end == ENDS {
            make_view(&scene, 0.0).await;
        }
        scene.world.restart().await.expect("a server");
    }
    let run = scene.finished_run(&copy.flow).await;
    assert_eq!((status(&run).as_str(), scene.landed(&copy.data_set).await), ("success", ROWS), "{run:#}");
    assert_eq!(data_files(&folder).len(), 1, "what the table has, and nothing beside it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_the_drain_at_once_and_hands_the_run_over() {
    let mut scene = Scene::set_with(Flavour::MariaDb, &[("HEADWATERS_RUNS_DRAIN_SECONDS", "600")]).await;
    let copy = slow_copy(&scene, 300.0).await;
    reading(&scene).await;
    scene.world.signal("TERM").expect("a server");
    sleep(Duration::from_millis(500)).await;
    assert_eq!(queries(&scene).await, 1, "the run gets its time");
    let begun = Instant::now();
    assert_eq!(scene.world.terminate().await.expect("an end").code(), Some(0), "{}", scene.world.log());
    assert!(begun.elapsed() < Duration::from_secs(15), "it took {:?}", begun.elapsed());
    assert_eq!(queries(&scene).await, 0);

    make_view(&scene, 0.0).await;
    scene.world.restart().await.expect("a server");
    let run = scene.finished_run(&copy.flow).await;
    assert_eq!((status(&run).as_str(), scene.landed(&copy.data_set).await), ("success", ROWS), "{run:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_process_is_killed_instead_goes_on_when_its_lease_has_ended() {
    let mut scene = Scene::set(Flavour::MariaDb).await;
    let copy = slow_copy(&scene, 300.0).await;
    reading(&scene).await;
    scene.world.kill().await.expect("a server");
    make_view(&scene, 0.0).await;
    scene.world.restart().await.expect("a server");
    let run = scene.world.finished_run(&copy.flow, RUN_SECONDS_MAX).await.expect("a run");
    assert_eq!((status(&run).as_str(), scene.landed(&copy.data_set).await), ("success", ROWS), "{run:#}");
    let notes = run["metrics"]["statusSummary"]["extensions"]["notes"].to_string();
    assert!(notes.contains("attempt 2"), "an attempt that died with its process counts: {run:#}");
}
