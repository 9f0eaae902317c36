//! Runs that repeat failed ones, and windows where zones and far ends come in (flow-service.md 16.6, 17.5, 17.7). What a
//! window lands is in `windows.rs`.

use headwaters_testkit::world::{CopyOnce, FLOW_SERVICE, now_s};
use headwaters_testkit::{Flavour, ServerOptions};
use serde_json::{Value, json};

use crate::land::rows;
use crate::scene::{FAR_S, ROWS, RUN_SECONDS_MAX, Scene, assert_refused, status, text};
use crate::tutorial::world;

/// 2024-06-30T18:30:00Z: midnight in Kolkata.
const MIDNIGHT_S: u64 = 1_719_772_200;

/// A flow whose own run finds no table, and the record of that run; the table is back afterwards.
async fn failed(scene: &Scene) -> (CopyOnce, Value) {
    let connection = scene.connection().await;
    let start_s = now_s() + 2;
    let copy = scene.world.copy_at(start_s, &connection, scene.spec_name(), &scene.table()).await.expect("a flow");
    let (table, away) = (scene.table(), format!("{}.away", scene.schema));
    scene.database.execute(&format!("rename table {table} to {away}")).await.expect("a new name");
    let run = scene.finished_run(&copy.flow).await;
    assert_eq!(status(&run), "failed", "{run:#}");
    scene.database.execute(&format!("rename table {away} to {table}")).await.expect("the old name");
    (copy, run)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_run_is_repeated_with_the_whole_table_and_lands_each_row_once() {
    for flavour in [Flavour::MariaDb, Flavour::MySql] {
        let scene = Scene::set(flavour).await;
        let (copy, first) = failed(&scene).await;
        let again = format!("runs/{}/action?op=RE_TRIGGER", text(&first["id"]));
        let made = scene.act(&again).await;
        assert_eq!((made.status, &made.body["parentFlowRunId"]), (200, &first["id"]), "{}", made.body);
        assert_ne!(made.body["id"], first["id"]);
        // Twice in a row: while the repeat waits or is at work, and when its rows have landed.
        assert_refused(&scene.act(&again).await, "CONNECTOR-1387-400");
        let run = scene.world.ended_run(&text(&made.body["id"]), RUN_SECONDS_MAX).await.expect("a run");
        assert_eq!(status(&run), "success", "{run:#}");
        assert_refused(&scene.act(&again).await, "CONNECTOR-1387-400");
        assert_eq!(scene.landed(&copy.data_set).await, ROWS, "{flavour}");
        let old = scene.document("runs", &text(&first["id"])).await;
        assert_eq!((status(&old).as_str(), &old["etag"]), ("failed", &first["etag"]), "the old record stays");

        assert_eq!(scene.act(&format!("flows/{}/action?op=disable", copy.flow)).await.status, 200);
        assert_refused(&scene.act(&again).await, "CONNECTOR-1388-400");
    }
}

/// A row a microsecond before midnight, one on it, and one far ahead; their moments in each of the types.
async fn moments_of_kolkata(flavour: Flavour) {
    let database = ServerOptions::new(flavour).timezone("Asia/Kolkata").start().await.expect("a database");
    for sql in [
        "create database zones",
        "create table zones.t (id int primary key, stamp timestamp(6) null, wall datetime(6), words varchar(30))",
        "insert into zones.t values \
             (1, '2024-06-30 23:59:59.999999', '2024-06-30 18:29:59.999999', '2024-06-30 18:29:59'), \
             (2, '2024-07-01 00:00:00', '2024-06-30 18:30:00', '2024-06-30 18:30:00'), \
             (3, '2037-12-31 00:00:00', '9999-12-31 23:59:59.999999', '9999-12-31 23:59:59')",
    ] {
        // The session of the test writes in the server's zone, as an application beside it does.
        database.execute(sql).await.expect("a statement");
    }
    let zone =
        database.query("select cast(unix_timestamp(stamp) as signed) from zones.t where id = 2").await.expect("a row");
    assert_eq!(zone[0][0].as_deref(), Some(MIDNIGHT_S.to_string().as_str()), "the server is in Kolkata");

    let world = world().await;
    let spec = if flavour.is_maria_db() { "maria-db" } else { "mysql" };
    let connection = world.connect(spec, &database.connection_string("reader")).await.expect("a connection");
    // A millisecond before midnight: in the same second as the first row, and before its moment.
    let before = json!(MIDNIGHT_S * 1000 - 1);
    let midnight = json!(MIDNIGHT_S);
    for (column, start, end, expected) in [
        ("stamp", &midnight, json!(MIDNIGHT_S + 1), vec![2]),
        ("stamp", &midnight, json!(999_999_999_999_u64), vec![2, 3]),
        ("stamp", &midnight, json!("253402300799999"), vec![2, 3]),
        ("stamp", &before, json!(MIDNIGHT_S), vec![1]),
        ("wall", &midnight, json!(MIDNIGHT_S + 1), vec![2]),
        ("wall", &midnight, json!(253_402_300_799_u64), vec![2]),
        ("wall", &midnight, json!(999_999_999_999_u64), vec![2, 3]),
        ("wall", &before, json!(MIDNIGHT_S), vec![1]),
        ("words", &before, json!(MIDNIGHT_S + 1), vec![2]),
        ("words", &midnight, json!(999_999_999_999_u64), vec![2, 3]),
    ] {
        let copy = world.copy_at(FAR_S, &connection, spec, "zones.t").await.expect("a flow");
        let params = json!({"windowStartTime": start, "windowEndTime": end, "deltaColumn": {"name": column}});
        let made = world.post(&format!("{FLOW_SERVICE}/runs"), &json!({"flowId": copy.flow, "params": params})).await;
        let made = made.expect("an answer");
        assert_eq!(made.status, 201, "{}", made.body);
        let run = world.ended_run(&text(&made.body["id"]), RUN_SECONDS_MAX).await.expect("a run");
        assert_eq!(status(&run), "success", "{run:#}");
        let folder = world.table_dir(&copy.data_set).await.expect("a table");
        let mut ids: Vec<u64> = rows(&folder).iter().filter_map(|row| row["id"].as_u64()).collect();
        ids.sort_unstable();
        assert_eq!(ids, expected, "{flavour}: {column} from {start} until {end}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_is_utc_and_its_end_may_be_far_ahead_whatever_zone_the_server_is_in() {
    for flavour in [Flavour::MariaDb, Flavour::MySql] {
        moments_of_kolkata(flavour).await;
    }
}
