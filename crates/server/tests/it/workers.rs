//! Two processes over one store and one lake: they agree, also when one of them is killed (docs/operations.md).

use std::collections::HashMap;
use std::time::Duration;

use headwaters_testkit::Flavour;
use headwaters_testkit::world::{CopyOnce, FLOW_SERVICE, World, now_s};
use serde_json::json;
use tokio::time::sleep;

use crate::scene::{ROWS, Scene, status, text};

/// How many flows are due while both work.
const FLOWS: u64 = 16;
/// How often one of the two is killed meanwhile.
const KILLS: u64 = 3;
/// How long a run may take that the other process must take over.
const RUN_SECONDS_MAX: u64 = 90;

/// Another process over the store and the lake of a scene.
async fn beside(scene: &Scene) -> World {
    let options = World::options(env!("CARGO_BIN_EXE_headwaters")).data(&scene.world.data_dir());
    options.start().await.expect("a second server")
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_over_one_store_run_each_flow_once_although_one_is_killed_again_and_again() {
    let mut scene = Scene::set(Flavour::MariaDb).await;
    let mut other = beside(&scene).await;
    let connection = scene.connection().await;
    let mut copies: Vec<CopyOnce> = Vec::new();
    let begin_s = now_s() + 1;
    for flow in 0..FLOWS {
        // Both answer, and both find what the other has written.
        let world = if flow % 2 == 0 { &scene.world } else { &other };
        let start_s = begin_s + flow / 2;
        let copy = world.copy_at(start_s, &connection, scene.spec_name(), &scene.table()).await.expect("a flow");
        copies.push(copy);
    }
    for kill in 0..KILLS {
        sleep(Duration::from_millis(700 + 400 * kill)).await;
        let victim = if kill % 2 == 0 { &mut other } else { &mut scene.world };
        victim.kill().await.expect("a server");
        victim.restart().await.expect("a server");
    }
    for copy in &copies {
        let run = scene.world.finished_run(&copy.flow, RUN_SECONDS_MAX).await.expect("a run");
        assert_eq!(status(&run), "success", "{run:#}");
        let asked = format!("{FLOW_SERVICE}/runs?property=flowId=={}", copy.flow);
        let shown = other.get(&asked).await.expect("an answer").body;
        assert_eq!(shown["items"].as_array().map(Vec::len), Some(1), "one run of each flow: {shown:#}");
        assert_eq!(text(&shown["items"][0]["id"]), text(&run["id"]), "both show the same");
        assert_eq!(scene.landed(&copy.data_set).await, ROWS, "{}", copy.flow);
    }
    let mut worked: HashMap<&str, usize> = HashMap::new();
    for (name, world) in [("one", &scene.world), ("other", &other)] {
        worked.insert(name, world.log().matches("the run is over").count());
    }
    assert!(worked.values().all(|runs| *runs > 0), "both work: {worked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_one_process_reads_is_stopped_by_its_deletion_at_the_other() {
    let scene = Scene::set(Flavour::MariaDb).await;
    let other = beside(&scene).await;
    let connection = scene.connection().await;
    let view = format!("create view {0}.slow as select id, sleep(0.5) as slept from {0}.orders", scene.schema);
    scene.database.execute(&view).await.expect("a view");
    let table = format!("{}.slow", scene.schema);
    let copy = scene.world.copy_once(&connection, scene.spec_name(), &table).await.expect("a flow");
    let busy = format!("flowId=={}&property=state==inProgress", copy.flow);
    while scene.get(&format!("runs?property={busy}")).await.body["items"].get(0).is_none() {
        sleep(Duration::from_millis(20)).await;
    }
    let gone = other.delete(&format!("{FLOW_SERVICE}/flows/{}", copy.flow)).await.expect("an answer");
    assert_eq!(gone.status, 204, "{}", gone.body);
    let run = scene.world.finished_run(&copy.flow, RUN_SECONDS_MAX).await.expect("a run");
    // Whichever came first: the rows are there and the run says so, or neither.
    sleep(Duration::from_secs(3)).await;
    let run = scene.world.ended_run(&text(&run["id"]), RUN_SECONDS_MAX).await.expect("a run");
    let folder = scene.world.table_dir(&copy.data_set).await.expect("a table");
    let landed = if folder.join("_delta_log").exists() { crate::land::count(&folder) } else { 0 };
    let expected = if status(&run) == "success" { ROWS } else { 0 };
    assert_eq!(landed, expected, "{run:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_that_start_at_once_on_an_empty_directory_share_one_set_of_credentials() {
    let disk = tempfile::tempdir().expect("a folder");
    let data = disk.path().join("data");
    let start = || World::options(env!("CARGO_BIN_EXE_headwaters")).data(&data).start();
    let (one, other) = futures::future::join(start(), start()).await;
    let (one, other) = (one.expect("a server"), other.expect("a server"));
    let made = one.data_set("shared").await.expect("a data set");
    // A token of one is good at the other, and what one wrote the other reads.
    let shown = other.table_dir(&made).await.expect("a data set");
    assert!(shown.starts_with(&data), "{}", shown.display());
    let asked = json!({"name": "shared too"});
    let answer = other.post("/data/foundation/catalog/dataSets", &asked).await.expect("an answer");
    assert_eq!(answer.status, 201, "{}", answer.body);
}
