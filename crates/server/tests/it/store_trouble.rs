//! The metadata store is held by somebody else, its disk is full, or its file is damaged (docs/operations.md, "Disk full,
//! store locked"): what waits, what is refused, and that nothing is lost or doubled when it is over.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use headwaters_testkit::Flavour;
use headwaters_testkit::disk::SmallDisk;
use headwaters_testkit::world::{CATALOG, World, now_s};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::land::{complaint, count, headwaters, output};
use crate::scene::{ROWS, RUN_SECONDS_MAX, Scene, status, text};
use crate::store_file::StoreFile;

/// How long the store is held: longer than any call waits for it, and than a lease lasts.
const HELD: Duration = Duration::from_secs(20);
/// How long a refusal may take: the wait for our own connection and for the lock.
const REFUSAL_SECONDS_MAX: u64 = 12;
/// A disk on which a store has room for some hundred resources.
const STORE_DISK_BYTES: u64 = 3 << 20;
/// A disk that is too small for the table below.
const LAKE_DISK_BYTES: u64 = 2 << 20;
const LAKE_DISK_BYTES_LATER: u64 = 64 << 20;
/// The rows of a table that does not become smaller than four megabytes.
const BIG_ROWS: u64 = 8_000;
/// More data sets than a full disk has room for.
const WRITES_MAX: usize = 5_000;

/// The answer to a write that the store refuses for the moment: documented, with a time, and soon.
async fn assert_refused_for_now(answer: Response, begun: Instant, says: &str) {
    assert!(begun.elapsed() < Duration::from_secs(REFUSAL_SECONDS_MAX), "it took {:?}", begun.elapsed());
    let (code, retry_after) = (answer.status().as_u16(), answer.headers().get("retry-after").cloned());
    let body: Value = answer.json().await.expect("a body");
    assert_eq!(code, 503, "{body}");
    let retry_after: u64 = retry_after.expect("when to try again").to_str().expect("text").parse().expect("seconds");
    assert!((1..=10).contains(&retry_after), "{retry_after}");
    let sentence = format!("{}{}", text(&body["errorMessage"]), text(&body["detail"]));
    assert!(sentence.contains(says), "{body}");
}

async fn post(world: &World, path: &str, body: &Value) -> Response {
    world.request(Method::POST, path).json(body).send().await.expect("an answer")
}

async fn ready(world: &World) -> Response {
    world.bare_request(Method::GET, "/readyz").send().await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn while_somebody_holds_the_store_reads_go_on_writes_are_refused_and_runs_wait() {
    let scene = Scene::set(Flavour::MariaDb).await;
    let connection = scene.connection().await;
    let view = format!("create view {0}.slow as select id, sleep(2) as slept from {0}.orders", scene.schema);
    scene.database.execute(&view).await.expect("a view");
    // Due while the store is held.
    let (spec, table) = (scene.spec_name(), scene.table());
    let later = scene.world.copy_at(now_s() + 8, &connection, spec, &table).await.expect("a flow");
    let slow = scene.world.copy_once(&connection, spec, &format!("{}.slow", scene.schema)).await.expect("a flow");
    let asked = format!("runs?property=flowId=={}&property=state==inProgress", slow.flow);
    while scene.get(&asked).await.body["items"].get(0).is_none() {
        sleep(Duration::from_millis(20)).await;
    }

    let mut file = StoreFile::of(&scene.world).await;
    file.hold().await;
    let held = Instant::now();
    let (data_sets, named) = (format!("{CATALOG}/dataSets"), json!({"name": "held"}));
    let begun = Instant::now();
    let (refused, unready) = futures::join!(post(&scene.world, &data_sets, &named), ready(&scene.world));
    assert_refused_for_now(refused, begun, "it is busy").await;
    assert_refused_for_now(unready, begun, "it is busy").await;
    while held.elapsed() < HELD {
        let begun = Instant::now();
        assert_eq!(scene.document("flows", &slow.flow).await["id"], slow.flow.as_str());
        assert!(begun.elapsed() < Duration::from_secs(2), "a read took {:?}", begun.elapsed());
        let health = scene.world.bare_request(Method::GET, "/healthz").send().await.expect("an answer");
        assert_eq!(health.status(), 200);
        sleep(Duration::from_millis(200)).await;
    }
    file.let_go().await;

    for copy in [&slow, &later] {
        let run = scene.finished_run(&copy.flow).await;
        assert_eq!(status(&run), "success", "{run:#}");
        assert_eq!(scene.landed(&copy.data_set).await, ROWS);
        assert_eq!(scene.count("runs", &format!("flowId=={}", copy.flow)).await, 1);
    }
    let log = scene.world.log();
    assert_eq!(log.matches("an attempt begins").count(), 2, "what was landed waited for the store: {log}");
    assert_eq!(ready(&scene.world).await.status(), 200);
    let taken = post(&scene.world, &data_sets, &named).await;
    assert_eq!(taken.status(), 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_writes_whole_and_everything_goes_on_when_there_is_room() {
    let disk = SmallDisk::mount(STORE_DISK_BYTES).expect("a small disk, for which tests run as root");
    let lake = tempfile::tempdir().expect("a folder");
    let mut scene = Scene::set(Flavour::MariaDb).await;
    let options = World::options(env!("CARGO_BIN_EXE_headwaters")).data(&disk.path().join("data"));
    let lake_path = lake.path().to_str().expect("a path").to_owned();
    scene.world = options.argument("--lake").argument(&lake_path).start().await.expect("a server");
    let connection = scene.connection().await;
    let view = format!("create view {0}.slow as select id, sleep(2) as slept from {0}.orders", scene.schema);
    scene.database.execute(&view).await.expect("a view");
    let table = format!("{}.slow", scene.schema);
    let copy = scene.world.copy_once(&connection, scene.spec_name(), &table).await.expect("a flow");
    let asked = format!("runs?property=flowId=={}&property=state==inProgress", copy.flow);
    while scene.get(&asked).await.body["items"].get(0).is_none() {
        sleep(Duration::from_millis(20)).await;
    }

    disk.fill().expect("a full disk");
    let data_sets = format!("{CATALOG}/dataSets");
    let mut made = 0_u64;
    let refused = loop {
        // The log of the database may have some room of its own left.
        let begun = Instant::now();
        let answer = post(&scene.world, &data_sets, &json!({"name": format!("full {made}")})).await;
        match answer.status().as_u16() {
            201 => made += 1,
            _ => break (answer, begun),
        }
        assert!(made < WRITES_MAX as u64, "the disk does not fill up");
    };
    assert_refused_for_now(refused.0, refused.1, "free space").await;
    // What readiness writes is a page, for which the refused write may have left room.
    let full_since = Instant::now();
    let (unready, begun) = loop {
        let begun = Instant::now();
        let answer = ready(&scene.world).await;
        if answer.status() != 200 {
            break (answer, begun);
        }
        assert!(full_since.elapsed() < Duration::from_secs(RUN_SECONDS_MAX), "it says that it is ready");
        sleep(Duration::from_millis(500)).await;
    };
    assert_refused_for_now(unready, begun, "free space").await;
    assert_eq!(scene.document("flows", &copy.flow).await["id"], copy.flow.as_str(), "reads go on");
    // The run has landed by now, and waits.
    sleep(Duration::from_secs(7)).await;
    let run = scene.get(&format!("runs?property=flowId=={}", copy.flow)).await.body["items"][0].clone();
    assert_eq!(status(&run), "inProgress", "{run:#}");

    disk.free().expect("room");
    let run = scene.finished_run(&copy.flow).await;
    assert_eq!(status(&run), "success", "{run:#}");
    assert_eq!(scene.landed(&copy.data_set).await, ROWS);
    assert_eq!(scene.world.log().matches("an attempt begins").count(), 1, "{}", scene.world.log());
    assert_eq!(ready(&scene.world).await.status(), 200);
    assert_eq!(post(&scene.world, &data_sets, &json!({"name": "room"})).await.status(), 201);
    // The flow's data set, those that were made before the disk was full, and the one after; each whole, none half.
    let mut file = StoreFile::of(&scene.world).await;
    let there = file.number("select count(*) from data_set").await;
    assert_eq!(u64::try_from(there).expect("a count"), 1 + made + 1);
    let audited = "select count(*) from audit where action = 'create' and collection = 'dataSets' and allowed";
    assert_eq!(file.number(audited).await, there, "each with its line in the audit, and no line without one");
    drop(file);
    assert_eq!(scene.world.terminate().await.expect("an end").code(), Some(0));
    scene.world.restart().await.expect("a server");
    assert_eq!(status(&scene.finished_run(&copy.flow).await), "success");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_lake_is_full_gives_the_space_back_and_goes_on_when_there_is_more() {
    let disk = SmallDisk::mount(LAKE_DISK_BYTES).expect("a small disk, for which tests run as root");
    let mut scene = Scene::set(Flavour::MariaDb).await;
    let options = World::options(env!("CARGO_BIN_EXE_headwaters")).argument("--lake");
    scene.world = options.argument(&format!("{}/lake", disk.path().display())).start().await.expect("a server");
    let table = format!("{}.big", scene.schema);
    for sql in [
        format!("create table {table} (id int primary key, noise varbinary(512) not null)"),
        format!("insert into {table} select seq, random_bytes(512) from seq_1_to_{BIG_ROWS}"),
    ] {
        scene.database.execute(&format!("use {};", scene.schema)).await.ok();
        scene.database.execute(&sql.replace("seq_1", &format!("{}.seq_1", scene.schema))).await.expect("a statement");
    }
    let connection = scene.connection().await;
    let copy = scene.world.copy_once(&connection, scene.spec_name(), &table).await.expect("a flow");
    let begun = Instant::now();
    while !scene.world.log().contains("the disk is full") {
        assert!(begun.elapsed() < Duration::from_secs(RUN_SECONDS_MAX), "{}", scene.world.log());
        sleep(Duration::from_millis(50)).await;
    }
    let run = scene.get(&format!("runs?property=flowId=={}", copy.flow)).await.body["items"][0].clone();
    assert_eq!(status(&run), "inProgress", "somebody may make room: {run:#}");
    let folder = scene.world.table_dir(&copy.data_set).await.expect("a table");
    assert!(!folder.join("_delta_log").exists(), "nothing is visible");

    disk.enlarge(LAKE_DISK_BYTES_LATER).expect("more room");
    let mut file = StoreFile::of(&scene.world).await;
    let ended = loop {
        // The pause is long; as if it were over.
        file.end_leases().await;
        let run = scene.get(&format!("runs?property=flowId=={}", copy.flow)).await.body["items"][0].clone();
        if status(&run) != "inProgress" {
            break run;
        }
        assert!(begun.elapsed() < Duration::from_secs(2 * RUN_SECONDS_MAX), "{}", scene.world.log());
        sleep(Duration::from_secs(1)).await;
    };
    assert_eq!(status(&ended), "success", "{ended:#}");
    assert_eq!(count(&folder), BIG_ROWS);
}

/// What `headwaters serve` complains about with this data directory.
fn complaint_of_serve(data: &Path) -> String {
    let mut command = headwaters();
    command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data);
    let output = output(&mut command);
    assert_eq!(output.status.code(), Some(1), "{}", complaint(&output));
    complaint(&output)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_store_a_letter_in_its_place_and_a_disk_that_takes_no_writes_are_told_at_the_start() {
    let disk = SmallDisk::mount(STORE_DISK_BYTES).expect("a small disk, for which tests run as root");
    let data = disk.path().join("data");
    let mut world = World::options(env!("CARGO_BIN_EXE_headwaters")).data(&data).start().await.expect("a server");
    world.data_set("kept").await.expect("a data set");
    assert_eq!(world.terminate().await.expect("an end").code(), Some(0));
    let store = data.join("headwaters.db");
    let whole = std::fs::read(&store).expect("a store");

    for (what, bytes) in [
        ("a letter", b"dear store, ".repeat(100)),
        ("cut", whole[..whole.len() / 2].to_vec()),
        ("overwritten", [&whole[..100], &vec![0xee; whole.len() - 100][..]].concat()),
    ] {
        std::fs::write(&store, &bytes).expect("a file");
        let complaint = complaint_of_serve(&data);
        assert!(complaint.contains("headwaters.db"), "{what}: {complaint}");
        assert!(complaint.contains("damaged or is no SQLite database"), "{what}: {complaint}");
        assert!(complaint.contains("hint: restore the file from a backup"), "{what}: {complaint}");
        assert_eq!(std::fs::read(&store).expect("a file"), bytes, "{what}: it is left as it was");
    }
    std::fs::write(&store, &whole).expect("a file");

    disk.make_read_only().expect("no writes");
    let complaint = complaint_of_serve(&data);
    assert!(complaint.contains(data.to_str().expect("a path")) && complaint.contains("hint: "), "{complaint}");
    drop(disk);

    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().join("a-file");
    std::fs::write(&place, "").expect("a file");
    std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o600)).expect("permissions");
    assert!(complaint_of_serve(&place).contains("a-file"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_starts_while_somebody_holds_the_store_is_ready_when_it_is_let_go() {
    let mut world = World::options(env!("CARGO_BIN_EXE_headwaters")).start().await.expect("a server");
    let data_set = world.data_set("kept").await.expect("a data set");
    world.kill().await.expect("a server");
    let mut file = StoreFile::of(&world).await;
    file.hold().await;
    let let_go = async {
        sleep(Duration::from_secs(3)).await;
        file.let_go().await;
    };
    let begun = Instant::now();
    let (restarted, ()) = futures::join!(world.restart(), let_go);
    restarted.expect("a server");
    assert!(begun.elapsed() >= Duration::from_secs(3), "it said that it was ready while it could not write");
    assert!(world.table_dir(&data_set).await.is_ok());
}
