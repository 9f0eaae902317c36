//! What the runs of a flow do when the columns of their source change in between (product.md, `options.schemaChange`).
//! What the lake does by itself is tested there.

use std::path::Path;

use headwaters_testkit::Flavour;
use headwaters_testkit::world::{Recurring, now_s};
use serde_json::{Value, json};

use crate::land::delta_rows;
use crate::recurring::NEXT_SECONDS_MAX;
use crate::scene::{Scene, status, text};

/// A table that changes, and the data set that follows it.
struct Drift {
    scene: Scene,
    table: String,
    connection: String,
    data_set: String,
}

impl Drift {
    /// A table of these columns and this first row, landed.
    async fn begin(flavour: Flavour, columns: &str, row: &str) -> Self {
        let scene = Scene::set(flavour).await;
        let table = format!("{}.drift", scene.schema);
        let connection = scene.connection().await;
        let data_set = scene.world.data_set("drift").await.expect("a data set");
        let drift = Self { scene, table, connection, data_set };
        drift.execute(&format!("create table {} (id int primary key, {columns})", drift.table)).await;
        drift.execute(&format!("insert into {} values (1, {row})", drift.table)).await;
        let run = drift.run("evolve").await;
        assert_eq!(status(&run), "success", "{run:#}");
        drift
    }

    async fn execute(&self, sql: &str) {
        self.scene.database.execute(sql).await.expect("a statement");
    }

    /// Changes the table, and leaves one new row in it.
    async fn change(&self, alter: &str, row: &str) {
        self.execute(&format!("truncate table {}", self.table)).await;
        self.execute(&format!("alter table {} {alter}", self.table)).await;
        self.execute(&format!("insert into {} values (2, {row})", self.table)).await;
    }

    /// Reads the table into the data set under this policy; the record of the run.
    async fn run(&self, policy: &str) -> Value {
        let world = &self.scene.world;
        let source = world.source_of(&self.connection, self.scene.spec_name(), &self.table).await.expect("a source");
        let target = world.target_of(&self.data_set).await.expect("a target");
        let mut flow = world.flow_body("drift", &source, &target, now_s()).await.expect("a flow");
        flow["options"] = json!({ "schemaChange": policy });
        let flow = self.scene.create("flows", &flow).await;
        self.scene.finished_run(&flow).await
    }

    async fn landed(&self) -> Vec<Value> {
        delta_rows(&self.scene.world.table_dir(&self.data_set).await.expect("a table"))
    }

    /// How many versions the table has had.
    async fn versions(&self) -> usize {
        versions(&self.scene.world.table_dir(&self.data_set).await.expect("a table"))
    }
}

fn versions(table: &Path) -> usize {
    let log = std::fs::read_dir(table.join("_delta_log")).expect("a log");
    let paths = log.map(|entry| entry.expect("an entry").path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "json")).count()
}

fn notes(run: &Value) -> String {
    run["metrics"]["statusSummary"]["extensions"]["notes"].to_string()
}

/// One way in which a table changes between two runs.
struct Case {
    columns: &'static str,
    row: &'static str,
    alter: &'static str,
    new_row: &'static str,
    /// What the refusal under `fail` names.
    difference: &'static str,
    /// What the run under `evolve` notes.
    note: &'static str,
    rows: fn() -> Value,
}

const CASES: [Case; 6] = [
    Case {
        columns: "v varchar(10)",
        row: "'old'",
        alter: "add column more int",
        new_row: "'new', 7",
        difference: "column more is not in the table",
        note: "column more was added to the table",
        rows: || json!([{"id": 1, "v": "old", "more": null}, {"id": 2, "v": "new", "more": 7}]),
    },
    Case {
        columns: "v varchar(10) not null, gone int not null",
        row: "'old', 5",
        alter: "drop column gone",
        new_row: "'new'",
        difference: "column gone of the table is not read from the source",
        note: "column gone of the table is not read from the source and stays empty",
        rows: || json!([{"id": 1, "v": "old", "gone": 5}, {"id": 2, "v": "new", "gone": null}]),
    },
    Case {
        columns: "mail varchar(10)",
        row: "'old'",
        alter: "change column mail address varchar(10)",
        new_row: "'new'",
        difference: "column address is likely column mail under a new name",
        note: "column address is likely column mail under a new name",
        rows: || json!([{"id": 1, "mail": "old", "address": null}, {"id": 2, "mail": null, "address": "new"}]),
    },
    Case {
        columns: "v int, price decimal(6,2), x float",
        row: "2147483647, 1234.56, 0.5",
        alter: "modify v bigint, modify price decimal(12,4), modify x double",
        new_row: "9007199254740991, 12345678.1234, 0.1",
        difference: "column price is decimal(12,4) in the source but decimal(6,2) in the table",
        note: "column v was widened from integer to long",
        rows: || {
            json!([
                {"id": 1, "v": 2_147_483_647, "price": "1234.5600", "x": 0.5},
                {"id": 2, "v": 9_007_199_254_740_991_i64, "price": "12345678.1234", "x": 0.1},
            ])
        },
    },
    Case {
        columns: "v bigint, price decimal(12,4)",
        row: "9007199254740991, 12345678.1234",
        alter: "modify v smallint, modify price decimal(6,2)",
        new_row: "-5, 1234.56",
        difference: "column v is short in the source but long in the table",
        note: "column v is short in the source and stays long in the table",
        rows: || {
            json!([
                {"id": 1, "v": 9_007_199_254_740_991_i64, "price": "12345678.1234"},
                {"id": 2, "v": -5, "price": "1234.5600"},
            ])
        },
    },
    Case {
        columns: "`a b` int, v int not null",
        row: "1, 10",
        alter: "modify v int null, modify `a b` int after v",
        new_row: "null, 2",
        difference: "column v may be null in the source but not in the table",
        note: "column v of the table may now be null, as in the source",
        rows: || json!([{"id": 1, "a_b": 1, "v": 10}, {"id": 2, "a_b": 2, "v": null}]),
    },
];

#[tokio::test(flavor = "multi_thread")]
async fn a_table_follows_its_source_under_evolve_and_stands_still_under_fail() {
    for flavour in [Flavour::MariaDb, Flavour::MySql] {
        for case in &CASES {
            let drift = Drift::begin(flavour, case.columns, case.row).await;
            let before = drift.versions().await;
            drift.change(case.alter, case.new_row).await;

            let refused = drift.run("fail").await;
            let error = &refused["metrics"]["statusSummary"]["errors"][0];
            assert_eq!((status(&refused).as_str(), text(&error["code"]).as_str()), ("failed", "CONNECTOR-3001-500"));
            assert!(text(&error["message"]).contains(case.difference), "{flavour}, {}: {error}", case.alter);
            assert_eq!(drift.versions().await, before, "{flavour}, {}", case.alter);

            let run = drift.run("evolve").await;
            assert_eq!(status(&run), "success", "{flavour}, {}: {run:#}", case.alter);
            assert!(notes(&run).contains(case.note), "{flavour}, {}: {}", case.alter, notes(&run));
            let expected = (case.rows)();
            let mut expected = expected.as_array().expect("rows").clone();
            let mut landed = drift.landed().await;
            expected.sort_by_key(|row| row["id"].as_i64());
            landed.sort_by_key(|row| row["id"].as_i64());
            assert_eq!(landed, expected, "{flavour}, {}", case.alter);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_of_another_type_is_a_definite_error_with_a_way_out_and_the_table_stays() {
    for flavour in [Flavour::MariaDb, Flavour::MySql] {
        for (before, row, alter, new_row, conflict) in [
            ("v int", "1", "modify v varchar(10)", "'x'", "column v is string in the source but integer in the table"),
            ("v text", "'2024-01-01'", "modify v date", "'2024-01-02'", "column v is date in the source but string"),
            (
                "v date",
                "'2024-01-01'",
                "modify v datetime",
                "'2024-01-02'",
                "column v is timestamp in the source but date",
            ),
        ] {
            let drift = Drift::begin(flavour, before, row).await;
            let before = drift.versions().await;
            drift.change(alter, new_row).await;
            for policy in ["evolve", "fail"] {
                let run = drift.run(policy).await;
                let error = text(&run["metrics"]["statusSummary"]["errors"][0]["message"]);
                assert_eq!(status(&run), "failed", "{run:#}");
                assert!(error.contains(conflict), "{flavour}, {alter}, {policy}: {error}");
                let attempts = &run["metrics"]["statusSummary"]["extensions"]["attempts"];
                assert!(attempts.as_array().is_none_or(|attempts| attempts.len() <= 1), "tried once: {attempts}");
                assert_eq!(drift.versions().await, before, "{flavour}, {alter}, {policy}");
            }
        }
    }
}

/// In how many seconds the second run of a flow comes: after the first one, and the change of the table.
const CHANGED_S: u64 = 30;

#[tokio::test(flavor = "multi_thread")]
async fn a_recurring_flow_follows_its_source_or_fails_and_stays_enabled() {
    for flavour in [Flavour::MariaDb, Flavour::MySql] {
        let settings = [("HEADWATERS_FLOWS_INTERVAL_MINUTES_MIN", "1"), ("HEADWATERS_FLOWS_WINDOW_LAG_SECONDS", "0")];
        let scene = Scene::set_with(flavour, &settings).await;
        let table = format!("{}.drift", scene.schema);
        let execute = async |sql: String| scene.database.execute(&sql).await.expect("a statement");
        execute(format!("create table {table} (id int primary key, n int not null, changed datetime(6) not null)"))
            .await;
        execute(format!("insert into {table} values (1, 10, '2024-01-01 00:00:00')")).await;

        let connection = scene.connection().await;
        let mut flows = Vec::new();
        for policy in ["evolve", "fail"] {
            let flow = Recurring::new(&table, "changed").soon_again(CHANGED_S).option("schemaChange", json!(policy));
            let made = scene.world.copy_every_minute(&connection, scene.spec_name(), &flow).await.expect("a flow");
            flows.push((policy, made));
        }
        for (policy, flow) in &flows {
            let run = scene.world.nth_run(&flow.flow, 0, NEXT_SECONDS_MAX).await.expect("a run");
            assert_eq!(status(&run), "success", "{policy}: {run:#}");
        }
        execute(format!("alter table {table} modify n bigint not null, add column more varchar(10)")).await;
        execute(format!("insert into {table} values (2, 1099511627776, utc_timestamp(6), 'x')")).await;

        for (policy, flow) in &flows {
            let run = scene.world.nth_run(&flow.flow, 1, NEXT_SECONDS_MAX).await.expect("a run");
            let landed = delta_rows(&scene.world.table_dir(&flow.data_set).await.expect("a table"));
            let ids: Vec<_> =
                landed.iter().map(|row| (row["id"].as_i64(), row["n"].as_i64(), row["more"].as_str())).collect();
            let old = (Some(1), Some(10), None);
            if *policy == "evolve" {
                assert_eq!(status(&run), "success", "{flavour}: {run:#}");
                assert!(notes(&run).contains("column n was widened from integer to long"), "{}", notes(&run));
                assert_eq!(ids, [old, (Some(2), Some(1 << 40), Some("x"))], "{flavour}");
            } else {
                assert_eq!(status(&run), "failed", "{flavour}: {run:#}");
                assert_eq!(ids, [old], "{flavour}");
                let flow = scene.document("flows", &flow.flow).await;
                assert_eq!(flow["state"], "enabled", "its next instant tries again");
            }
        }
    }
}
