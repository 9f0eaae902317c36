//! Runs that a client asks for: which rows they land, and what is answered to those that can not be (flow-service.md 17.5).

use headwaters_testkit::Flavour;
use headwaters_testkit::world::{Answer, CopyOnce, now_s};
use serde_json::{Value, json};

use crate::land::rows;
use crate::scene::{FAR_S, RUN_SECONDS_MAX, Scene, assert_refused, assert_written, path, status, text};

/// 2024-01-01T00:00:00Z.
const START_S: u64 = 1_704_067_200;
/// A day later.
const END_S: u64 = START_S + 86_400;

/// Six rows: just before the window, on its start, within, just before its end, on its end, without a moment.
const MOMENTS: [(u32, &str); 6] = [
    (1, "'2023-12-31 23:59:59.999999'"),
    (2, "'2024-01-01 00:00:00'"),
    (3, "'2024-01-01 12:34:56.789012'"),
    (4, "'2024-01-01 23:59:59.999999'"),
    (5, "'2024-01-02 00:00:00'"),
    (6, "null"),
];
/// The rows of the window.
const WITHIN: [u64; 3] = [2, 3, 4];

struct Windows {
    scene: Scene,
    connection: String,
}

impl Windows {
    async fn set(flavour: Flavour) -> Self {
        let scene = Scene::set(flavour).await;
        let table = format!("{}.moments", scene.schema);
        let make = format!(
            "create table {table} (id int primary key, at datetime(6), stamp timestamp(6) null, second datetime, day date, \
             words varchar(19), epoch bigint, millis bigint, version bigint not null)"
        );
        scene.database.execute(&make).await.expect("a table");
        for (id, at) in MOMENTS {
            // Whole seconds are cut, not rounded: the row just before an end stays before it.
            let second = format!("date_format({at}, '%Y-%m-%d %H:%i:%s')");
            let since = format!("timestampdiff(microsecond, '1970-01-01 00:00:00', {at})");
            let insert = format!(
                "insert into {table} values ({id}, {at}, {at}, {second}, date({at}), {second}, \
                 floor({since} / 1000000), floor({since} / 1000), {id})"
            );
            scene.database.execute(&insert).await.expect("a row");
        }
        let connection = scene.connection().await;
        Self { scene, connection }
    }

    /// A flow of the table that never runs by itself.
    async fn flow(&self) -> CopyOnce {
        let table = format!("{}.moments", self.scene.schema);
        let spec = self.scene.spec_name();
        self.scene.world.copy_at(FAR_S, &self.connection, spec, &table).await.expect("a flow")
    }

    async fn ask(&self, flow: &str, params: &Value) -> Answer {
        self.scene.post("runs", &json!({"flowId": flow, "params": params})).await
    }

    /// The record of a run that was asked for, once it has ended well.
    async fn ran(&self, flow: &str, params: &Value) -> Value {
        let answer = self.ask(flow, params).await;
        let id = text(&answer.body["id"]);
        let etag = assert_written(&answer, 201, &id);
        assert_eq!(answer.body["items"], json!([{"id": id, "etag": etag}]), "for readers of the other documented form");
        let run = self.scene.world.ended_run(&id, RUN_SECONDS_MAX).await.expect("a run");
        assert_eq!(status(&run), "success", "{run:#}");
        run
    }

    /// The ids of the landed rows, sorted.
    async fn landed(&self, data_set: &str) -> Vec<u64> {
        let folder = self.scene.world.table_dir(data_set).await.expect("a table");
        let mut ids: Vec<u64> = rows(&folder).iter().filter_map(|row| row["id"].as_u64()).collect();
        ids.sort_unstable();
        ids
    }
}

fn params(column: &str) -> Value {
    json!({
        "startTime": now_s(), "windowStartTime": START_S, "windowEndTime": END_S, "deltaColumn": {"name": column},
    })
}

fn records(run: &Value) -> &Value {
    &run["metrics"]["recordSummary"]["outputRecordCount"]
}

fn notes(run: &Value) -> String {
    run["metrics"]["statusSummary"]["extensions"]["notes"].to_string()
}

async fn exactly_the_rows_of_the_window(flavour: Flavour) {
    let windows = Windows::set(flavour).await;
    let copy = windows.flow().await;
    let first = windows.ran(&copy.flow, &params("at")).await;
    assert_eq!(windows.landed(&copy.data_set).await, WITHIN);
    assert_eq!(records(&first), 3);
    assert_eq!(first["params"], params_of(&first, &params("at")), "what was asked for is shown");
    let window = &first["activities"][0]["durationSummary"]["extensions"];
    assert_eq!(
        (&window["windowStart"], &window["windowEnd"]),
        (&json!(START_S * 1000), &json!(END_S * 1000)),
        "{first:#}"
    );
    assert!(!notes(&first).contains("overlap"), "{first:#}");

    let shown = windows.scene.document("flows", &copy.flow).await;
    let kept = json!([{"name": "Copy", "params": {"deltaColumn": {"name": "at"}}}]);
    assert_eq!(shown["transformations"], kept, "the flow remembers its column");

    // Asked again, as texts and without the column: the same rows once more, and the run says so.
    let again = json!({
        "startTime": now_s().to_string(),
        "windowStartTime": START_S.to_string(), "windowEndTime": END_S.to_string(),
    });
    let second = windows.ran(&copy.flow, &again).await;
    assert_eq!(windows.landed(&copy.data_set).await, [2, 2, 3, 3, 4, 4]);
    assert!(notes(&second).contains("overlap"), "{second:#}");

    // What follows begins where the window ended; an end far ahead is an end.
    let rest = json!({"startTime": now_s(), "windowStartTime": END_S, "windowEndTime": 16_504_063_000_u64});
    let third = windows.ran(&copy.flow, &rest).await;
    assert_eq!(records(&third), 1);
    assert_eq!(windows.landed(&copy.data_set).await, [2, 2, 3, 3, 4, 4, 5]);
    assert!(!notes(&third).contains("overlap"), "{third:#}");

    let before = json!({"startTime": now_s(), "windowStartTime": 0, "windowEndTime": START_S * 1000});
    assert_eq!(records(&windows.ran(&copy.flow, &before).await), 1, "large numbers are milliseconds");
    assert_eq!(windows.scene.count("runs", &format!("flowId=={}", copy.flow)).await, 4);
}

/// The parameters as a run shows them: the keys that were sent.
fn params_of(run: &Value, sent: &Value) -> Value {
    let keys = sent.as_object().expect("an object").iter();
    keys.map(|(key, value)| match key.as_str() {
        // The clock has moved on.
        "startTime" => (key.clone(), run["params"]["startTime"].clone()),
        _ => (key.clone(), value.clone()),
    })
    .collect::<serde_json::Map<_, _>>()
    .into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_lands_exactly_the_rows_of_its_window_each_time_it_is_asked_for_on_maria_db() {
    exactly_the_rows_of_the_window(Flavour::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_lands_exactly_the_rows_of_its_window_each_time_it_is_asked_for_on_mysql() {
    exactly_the_rows_of_the_window(Flavour::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_that_holds_a_moment_can_be_windowed_on_both_servers() {
    for flavour in [Flavour::MariaDb, Flavour::MySql] {
        let windows = Windows::set(flavour).await;
        for (column, more) in [
            ("stamp", json!({})),
            ("second", json!({"dateFormat": "YYYY-MM-DD", "timezone": "UTC"})),
            ("day", json!({})),
            ("words", json!({"dateFormat": "yyyy-MM-dd HH:mm:ss", "timezone": "UTC"})),
            ("epoch", json!({"dateFormat": "epoch"})),
            ("millis", json!({"dateFormat": "epochMillis"})),
        ] {
            let copy = windows.flow().await;
            let mut params = params(column);
            params["deltaColumn"]
                .as_object_mut()
                .expect("an object")
                .extend(more.as_object().expect("an object").clone());
            assert_eq!(records(&windows.ran(&copy.flow, &params).await), 3, "{flavour}: {column}");
        }
        let counter = windows.ask(&windows.flow().await.flow, &params("version")).await;
        assert_refused(&counter, "CONNECTOR-1312-400");
        let unknown = windows.ask(&windows.flow().await.flow, &params("no_such_column")).await;
        assert_refused(&unknown, "CONNECTOR-1312-400");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_filter_and_a_window_both_hold_and_runs_asked_for_at_once_all_land() {
    let windows = Windows::set(Flavour::MariaDb).await;
    let copy = windows.flow().await;
    let filter = json!({"type": "PQL", "format": "pql/json", "value": {
        "nodeType": "fnApply", "fnName": ">", "params": [
            {"nodeType": "fieldLookup", "fieldName": "id"}, {"nodeType": "literal", "value": 2},
        ],
    }});
    let add = json!([{"op": "add", "path": "/params/filters", "value": filter}]);
    assert_written(&windows.scene.patch("sourceConnections", &copy.source, &add).await, 200, &copy.source);
    let params = params("at");
    futures::future::join_all((0..4).map(|_| windows.ran(&copy.flow, &params))).await;
    assert_eq!(windows.landed(&copy.data_set).await, [3, 3, 3, 3, 4, 4, 4, 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_window_is_a_success_without_records_that_may_be_tried_again() {
    let windows = Windows::set(Flavour::MariaDb).await;
    let scene = &windows.scene;
    let copy = windows.flow().await;
    let later = 2 * END_S - START_S;
    let mut params = params("at");
    params["windowStartTime"] = json!(later);
    params["windowEndTime"] = json!(later + 60);
    let empty = windows.ran(&copy.flow, &params).await;
    assert_eq!(empty["metrics"]["recordSummary"]["inputRecordCount"], 0, "{empty:#}");
    assert_eq!(empty["activities"].as_array().map(Vec::len), Some(1), "nothing was promoted: {empty:#}");

    let insert = format!("insert into {}.moments (id, at, version) values (7, '2024-01-03 00:00:30', 7)", scene.schema);
    scene.database.execute(&insert).await.expect("a late row");
    let again = scene.act(&format!("runs/{}/action?op=re-trigger", text(&empty["id"]))).await;
    assert_eq!(again.status, 200, "{}", again.body);
    let id = text(&again.body["id"]);
    let run = scene.world.ended_run(&id, RUN_SECONDS_MAX).await.expect("a run");
    assert_eq!((records(&run), &run["parentFlowRunId"]), (&json!(1), &empty["id"]), "{run:#}");
    assert_eq!(windows.landed(&copy.data_set).await, [7], "the same window, read anew");
    let full = scene.act(&format!("runs/{id}/action?op=re-trigger")).await;
    assert_refused(&full, "CONNECTOR-1387-400");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_for_later_waits_and_shows_that_it_does() {
    let windows = Windows::set(Flavour::MariaDb).await;
    let scene = &windows.scene;
    let copy = windows.flow().await;
    let mut params = params("at");
    params["startTime"] = json!(now_s() + 3600);
    let asked = windows.ask(&copy.flow, &params).await;
    assert_eq!(asked.status, 201, "{}", asked.body);
    let id = text(&asked.body["id"]);
    assert_eq!(asked.location, Some(path("runs", &id)));
    // One that is for now overtakes it.
    let mut now = params.clone();
    now["startTime"] = json!(now_s());
    windows.ran(&copy.flow, &now).await;
    let shown = scene.document("runs", &id).await;
    assert_eq!(shown["metrics"], json!({"statusSummary": {"status": "scheduled"}}));
    assert_eq!((&shown["activities"], &shown["params"]), (&json!([]), &params));
    assert_refused(&scene.act(&format!("runs/{id}/action?op=re-trigger")).await, "CONNECTOR-1387-400");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_for_later_is_made_up_for_after_a_power_cut() {
    let mut windows = Windows::set(Flavour::MariaDb).await;
    let copy = windows.flow().await;
    let mut params = params("at");
    params["startTime"] = json!(now_s() + 1);
    let asked = windows.ask(&copy.flow, &params).await;
    assert_eq!(asked.status, 201, "{}", asked.body);
    windows.scene.world.kill().await.expect("an end");
    windows.scene.world.restart().await.expect("a second start");
    let run = windows.scene.world.ended_run(&text(&asked.body["id"]), RUN_SECONDS_MAX).await.expect("a run");
    assert_eq!(status(&run), "success", "{run:#}");
    assert_eq!(windows.landed(&copy.data_set).await, WITHIN);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_run_is_refused_with_its_code_and_leaves_no_trace() {
    let windows = Windows::set(Flavour::MariaDb).await;
    let scene = &windows.scene;
    let copy = windows.flow().await;
    let flow = &copy.flow;
    let with = |key: &str, value: Value| {
        let mut params = params("at");
        params[key] = value;
        json!({"flowId": flow, "params": params})
    };
    let mut without_column = with("startTime", json!(now_s()));
    without_column["params"].as_object_mut().expect("an object").remove("deltaColumn");
    for (body, code) in [
        (json!({"params": params("at")}), "FLOW-1446-400"),
        (json!({"flowId": null, "params": params("at")}), "FLOW-1446-400"),
        (json!({"flowId": "00000000-0000-0000-0000-000000000000", "params": params("at")}), "FLOW-1430-400"),
        (json!({"flowId": flow}), "CONNECTOR-1384-400"),
        (json!({"flowId": flow, "params": {}}), "CONNECTOR-1384-400"),
        (json!({"flowId": flow, "params": null}), "CONNECTOR-1384-400"),
        (without_column, "CONNECTOR-1383-400"),
        (with("windowEndTime", json!(START_S - 1)), "CONNECTOR-1381-400"),
        (with("windowStartTime", json!("yesterday")), "CONNECTOR-1340-400"),
        (with("startTime", json!("soon")), "CONNECTOR-1340-400"),
    ] {
        let refused = scene.post("runs", &body).await;
        assert_eq!(refused.status, 400, "{body}: {}", refused.body);
        assert_refused(&refused, code);
    }
    let nothing = scene.world.spell("POST", &path("runs", ""), &[], Some("")).await.expect("an answer");
    assert_refused(&nothing, "FLOW-1405-400");
    assert_eq!(scene.count("runs", &format!("flowId=={flow}")).await, 0);
    let shown = scene.document("flows", flow).await;
    assert!(!shown["transformations"].to_string().contains("Copy"), "{shown:#}");

    windows.ran(flow, &params("at")).await;
    assert_refused(&windows.ask(flow, &params("stamp")).await, "CONNECTOR-1382-400");
    assert_written(&scene.act(&format!("flows/{flow}/action?op=disable")).await, 200, flow);
    assert_refused(&windows.ask(flow, &params("at")).await, "FLOW-1422-400");
    assert_eq!(scene.count("runs", &format!("flowId=={flow}")).await, 1);
}
