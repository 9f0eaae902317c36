//! Flows that recur, on real servers (flow-service.md 16.4, 16.6): what a second run reads, what no window can see, and what
//! settings change.

use headwaters_testkit::world::{CopyOnce, FLOW_SERVICE, PERIOD_S, Recurring, World, now_s, quick_recurring};
use headwaters_testkit::{DatabaseServer, Flavour, ServerOptions};
use serde_json::{Value, json};

use crate::land::rows;
use crate::scene::{RUN_SECONDS_MAX, assert_refused, path, status, text};

/// In how many seconds the second run of a flow comes, so that a test has time to change rows before.
pub(crate) const SOON_S: u64 = 15;
/// How long a test waits for the next run of a flow.
pub(crate) const NEXT_SECONDS_MAX: u64 = PERIOD_S + RUN_SECONDS_MAX;
/// 2024-02-01T00:00:00Z, where the second day of the shop begins.
const SECOND_DAY_S: u64 = 1_706_745_600;
const DAY_S: u64 = 86_400;

fn spec_name(flavour: Flavour) -> &'static str {
    if flavour.is_maria_db() { "maria-db" } else { "mysql" }
}

/// The shop on a server of its own, and a program that runs flows every minute.
struct Shop {
    database: DatabaseServer,
    world: World,
    connection: String,
    spec: &'static str,
}

impl Shop {
    async fn open(flavour: Flavour, settings: &[(&str, &str)]) -> Self {
        let database = ServerOptions::new(flavour).start().await.expect("a database");
        database.load("shop.sql").await.expect("the shop");
        let options = quick_recurring(World::options(env!("CARGO_BIN_EXE_headwaters")));
        let options = settings.iter().fold(options, |options, (name, value)| options.env(name, value));
        let world = options.start().await.expect("a server");
        let spec = spec_name(flavour);
        let string = format!("{};Database=shop", database.connection_string("reader"));
        let connection = world.connect(spec, &string).await.expect("a connection");
        Self { database, world, connection, spec }
    }

    async fn flow(&self, flow: &Recurring) -> CopyOnce {
        self.world.copy_every_minute(&self.connection, self.spec, flow).await.expect("a flow")
    }

    async fn run(&self, copy: &CopyOnce, k: usize) -> Value {
        self.world.nth_run(&copy.flow, k, NEXT_SECONDS_MAX).await.expect("a run in time")
    }

    /// The ids of the rows that have landed, in order; one that has landed twice stands twice.
    async fn landed(&self, copy: &CopyOnce) -> Vec<i64> {
        let folder = self.world.table_dir(&copy.data_set).await.expect("a table");
        let mut ids: Vec<_> = rows(&folder).iter().map(|row| row["id"].as_i64().expect("an id")).collect();
        ids.sort_unstable();
        ids
    }
}

/// How many rows a run has read.
pub(crate) fn read(run: &Value) -> u64 {
    assert_eq!(status(run), "success", "{run:#}");
    run["metrics"]["recordSummary"]["inputRecordCount"].as_u64().expect("a count")
}

fn notes(run: &Value) -> String {
    run["metrics"]["statusSummary"]["extensions"]["notes"].to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_day_of_the_shop_is_found_by_windows_as_far_as_they_can_see_it() {
    for flavour in [Flavour::MariaDb, Flavour::MySql] {
        let shop = Shop::open(flavour, &[("HEADWATERS_RUNS_ON_DEMAND_FOR_RECURRING", "true")]).await;
        let copy = shop.flow(&Recurring::new("shop.customers", "updated_at").soon_again(SOON_S)).await;
        let first = shop.run(&copy, 0).await;
        assert_eq!(read(&first), 80, "everything that was there");
        shop.database.load("shop-changes.sql").await.expect("the second day");

        // A window of the second day, as the fixture counts it: rows on its start, not those on its end; not the row whose
        // column was not touched (6), nor the one that was dated back (84).
        let window = |start_s: u64, end_s: u64| json!({"flowId": copy.flow, "params": {"windowStartTime": start_s, "windowEndTime": end_s}});
        let mut expected: Vec<i64> = (1..=80).collect();
        let mut known = vec![text(&first["id"])];
        for (start_s, end_s, found) in [
            (SECOND_DAY_S, SECOND_DAY_S + 2 * DAY_S, vec![1, 2, 3, 4, 5, 81, 82]),
            (SECOND_DAY_S + 2 * DAY_S, SECOND_DAY_S + 3 * DAY_S, vec![83]),
        ] {
            let id = shop.world.create(&format!("{FLOW_SERVICE}/runs"), &window(start_s, end_s)).await.expect("a run");
            let run = shop.world.ended_run(&id, RUN_SECONDS_MAX).await.expect("an end");
            assert_eq!(read(&run), found.len() as u64, "{flavour}: {run:#}");
            assert!(notes(&run).contains(&text(&first["id"])), "it reads again what the first run covered: {run:#}");
            expected.extend(found);
            known.push(id);
        }
        expected.sort_unstable();
        assert_eq!(shop.landed(&copy).await, expected, "{flavour}");

        // The schedule goes on where it stood. Everything of the second day is dated long before, so that it finds nothing.
        let mut next = shop.run(&copy, 3).await;
        for k in 0..3 {
            let run = shop.run(&copy, k).await;
            if !known.contains(&text(&run["id"])) {
                next = run;
            }
        }
        assert_eq!(read(&next), 0, "{flavour}: {next:#}");
        assert_eq!(shop.landed(&copy).await, expected, "{flavour}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_failed_is_read_by_whoever_comes_first_and_once() {
    let shop = Shop::open(Flavour::MariaDb, &[]).await;
    let copy = shop.flow(&Recurring::new("shop.customers", "updated_at").soon_again(SOON_S)).await;
    assert_eq!(read(&shop.run(&copy, 0).await), 80);
    shop.database.execute("update shop.customers set credit = 1 where id in (7, 8)").await.expect("two changes");
    shop.database.execute("rename table shop.customers to shop.away").await.expect("another name");
    let failed = shop.run(&copy, 1).await;
    assert_eq!(status(&failed), "failed", "{failed:#}");
    let flow = shop.world.document("flows", &copy.flow).await.expect("a flow");
    assert_eq!(flow["state"], "enabled", "it stays in use");
    shop.database.execute("rename table shop.away to shop.customers").await.expect("the old name");

    let again = path("runs", &text(&failed["id"])) + "/action?op=re-trigger";
    let made = shop.world.act(&again).await.expect("an answer");
    assert_eq!(made.status, 200, "{}", made.body);
    let repeated = shop.world.ended_run(&text(&made.body["id"]), NEXT_SECONDS_MAX).await.expect("an end");
    let mut found = read(&repeated);
    if found < 2 {
        // The changes came after the instant that it repeats, or the next run of the schedule was first.
        found += read(&shop.run(&copy, 3).await);
    }
    assert_eq!(found, 2);
    let mut expected: Vec<i64> = (1..=80).chain([7, 8]).collect();
    expected.sort_unstable();
    assert_eq!(shop.landed(&copy).await, expected);
    let later = shop.world.act(&again).await.expect("an answer");
    assert_eq!(later.status, 200, "nothing can be doubled: {}", later.body);
    let later = shop.world.ended_run(&text(&later.body["id"]), NEXT_SECONDS_MAX).await.expect("an end");
    assert_eq!((read(&later), shop.landed(&copy).await), (0, expected), "{}", notes(&later));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recurring_flow_is_refused_where_its_column_or_its_interval_does_not_fit() {
    let shop = Shop::open(Flavour::MariaDb, &[]).await;
    let Shop { world, connection, spec, .. } = &shop;
    let source = world.source_of(connection, spec, "shop.customers").await.expect("a source connection");
    let target = world.target_of(&world.data_set("customers").await.expect("a data set")).await.expect("a target");
    let flow = async |schedule: Value, delta: Value| {
        let mut body = world.flow_body("customers", &source, &target, now_s()).await.expect("a body");
        for (key, value) in schedule.as_object().expect("an object") {
            body["scheduleParams"][key] = value.clone();
        }
        body["transformations"] = json!([{"name": "Copy", "params": {"deltaColumn": delta}}]);
        world.post(&format!("{FLOW_SERVICE}/flows"), &body).await.expect("an answer")
    };
    let minutely = || json!({"frequency": "minute", "interval": "1"});
    for (delta, said) in [
        (json!({"name": "no_such_column"}), "no_such_column"),
        (json!({"name": "prefs"}), "prefs"),
        (json!({"name": "vip"}), "vip"),
        (json!({"name": "full_name", "dateFormat": "HH:mm"}), "dateFormat"),
    ] {
        let refused = flow(minutely(), delta).await;
        assert_refused(&refused, "CONNECTOR-1312-400");
        let told = text(&refused.body["errorMessage"]);
        assert!(told.contains(said) && told.contains("/transformations/0/params/deltaColumn"), "{told}");
    }
    let zero = json!({"frequency": "minute", "interval": 0});
    assert_refused(&flow(zero, json!({"name": "updated_at"})).await, "CONNECTOR-1394-400");
    let usual = World::options(env!("CARGO_BIN_EXE_headwaters")).start().await.expect("a server");
    let connection = usual.connect(spec, &shop.database.connection_string("reader")).await.expect("a connection");
    let often = Recurring::new("shop.customers", "updated_at");
    let refused = usual.copy_every_minute(&connection, spec, &often).await.expect_err("every minute is too often");
    assert!(refused.to_string().contains("CONNECTOR-1362-400"), "{refused}");
}
