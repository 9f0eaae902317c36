//! A source fails while a run reads it: which runs come to their end all the same, with every row once, which stop, and
//! what their records say (mysql-sources.md 16).

mod definite;
mod lost;
mod signalled;
mod waits;

use std::collections::BTreeSet;
use std::time::Duration;

use headwaters_testkit::proxy::Proxy;
use headwaters_testkit::world::{CopyOnce, FLOW_SERVICE, World, now_s};
use headwaters_testkit::{DatabaseServer, Flavour, ServerOptions};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::land::rows;
use crate::scene::text;

/// How long a run may take with all of its pauses.
const RUN_SECONDS_MAX: u64 = 90;
/// How long anything may take that a test waits for.
const SOON: Duration = Duration::from_secs(20);
/// How many rows the table has. They take more than all buffers between the server and us.
const ROWS: u64 = 1 << 15;
/// Slow enough that a test can step in while the table is read.
const SLOW_BYTES_PER_SECOND: u64 = 2 << 20;
/// In how many seconds a flow begins that must not begin before something is in its way.
const AHEAD_S: u64 = 3;

/// Each test once for MariaDB and once for MySQL.
macro_rules! on_both {
    ($($name:ident),+ $(,)?) => {
        mod on_maria_db {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(headwaters_testkit::Flavour::MariaDb).await;
            })+
        }
        mod on_mysql {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(headwaters_testkit::Flavour::MySql).await;
            })+
        }
    };
}
pub(crate) use on_both;

/// A database of its own with the table `d.t`, behind a network that can be made slow, and a program beside it.
struct Trouble {
    database: DatabaseServer,
    proxy: Proxy,
    world: World,
}

impl Trouble {
    async fn set(flavour: Flavour, arguments: &[&str]) -> Self {
        let options =
            arguments.iter().fold(ServerOptions::new(flavour), |options, argument| options.argument(argument));
        let database = options.start().await.expect("a database");
        fill(&database).await;
        let proxy = Proxy::to(database.port()).await.expect("a proxy");
        let world = World::options(env!("CARGO_BIN_EXE_headwaters")).start().await.expect("a server");
        Self { database, proxy, world }
    }

    fn spec_name(&self) -> &'static str {
        if self.database.flavour().is_maria_db() { "maria-db" } else { "mysql" }
    }

    /// The connection string of an account through the proxy.
    fn string(&self, account: &str) -> String {
        let direct = self.database.connection_string(account);
        direct.replace(&self.database.port().to_string(), &self.proxy.port().to_string())
    }

    async fn connection(&self, account: &str) -> String {
        self.world.connect(self.spec_name(), &self.string(account)).await.expect("a connection")
    }

    /// A flow that copies the table now.
    async fn copies(&self, account: &str) -> CopyOnce {
        let connection = self.connection(account).await;
        self.world.copy_once(&connection, self.spec_name(), "d.t").await.expect("a flow")
    }

    /// As [`Self::copies`], with a promise other than the usual one.
    async fn copies_with(&self, account: &str, consistency: Option<&str>) -> CopyOnce {
        let Some(consistency) = consistency else { return self.copies(account).await };
        let connection = self.connection(account).await;
        let source = self.world.source_of(&connection, self.spec_name(), "d.t").await.expect("a source");
        let data_set = self.world.data_set("d.t").await.expect("a data set");
        let target = self.world.target_of(&data_set).await.expect("a target");
        let mut flow = self.world.flow_body("d.t", &source, &target, now_s()).await.expect("a body");
        flow["options"] = json!({ "consistency": consistency });
        let flow = self.world.create(&format!("{FLOW_SERVICE}/flows"), &flow).await.expect("a flow");
        CopyOnce { flow, source, target, data_set }
    }

    /// A flow that copies a table a moment from now.
    async fn will_copy(&self, connection: &str, table: &str) -> CopyOnce {
        let copy = self.world.copy_at(now_s() + AHEAD_S, connection, self.spec_name(), table).await;
        copy.expect("a flow")
    }

    async fn execute(&self, sql: &str) {
        self.database.execute(sql).await.expect("a statement");
    }

    /// The connection that reads the table, once there is one other than `but`.
    async fn reader(&self, but: Option<&str>) -> String {
        let who = "select id from information_schema.processlist where info like '/* headwaters flow%'";
        let start = Instant::now();
        loop {
            let found = self.database.query(who).await.expect("the process list");
            if let Some(id) = found.iter().filter_map(|row| row[0].clone()).find(|id| Some(id.as_str()) != but) {
                return id;
            }
            assert!(start.elapsed() < SOON, "nobody reads; the program's log:\n{}", self.world.log());
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the program has logged something that often.
    async fn logged(&self, what: &str, times: usize) {
        let start = Instant::now();
        while self.world.log().matches(what).count() < times {
            assert!(start.elapsed() < SOON, "not logged: {what}; the program's log:\n{}", self.world.log());
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// The flow's run, once it has ended.
    async fn ended(&self, copy: &CopyOnce) -> Value {
        let run = self.world.finished_run(&copy.flow, RUN_SECONDS_MAX).await;
        run.unwrap_or_else(|error| panic!("{error:#}\n{}", self.world.log()))
    }

    /// The run has succeeded with every row of the table once; returns the errors of its attempts before the last.
    async fn assert_landed_once(&self, copy: &CopyOnce) -> Vec<String> {
        let run = self.ended(copy).await;
        assert_eq!(run["metrics"]["statusSummary"]["status"], "success", "{run:#}\n{}", self.world.log());
        assert_eq!(run["metrics"]["recordSummary"]["outputRecordCount"], ROWS, "{run:#}");
        let rows = rows(&self.world.table_dir(&copy.data_set).await.expect("a table"));
        let ids: BTreeSet<u64> = rows.iter().filter_map(|row| row["id"].as_u64()).collect();
        assert_eq!((rows.len() as u64, ids.len() as u64), (ROWS, ROWS), "each row once");
        errors(&run)
    }
}

/// Makes and fills the table `d.t`, without asking for anything that only one flavour has.
async fn fill(database: &DatabaseServer) {
    let execute = async |sql: &str| database.execute(sql).await.expect("a statement");
    execute("create database d").await;
    execute("create table d.t (id int primary key, filler varchar(700) not null)").await;
    execute("insert into d.t values (1, repeat('0123456789', 65))").await;
    for doubling in 0..ROWS.ilog2() {
        execute(&format!("insert into d.t select id + {}, filler from d.t", 1 << doubling)).await;
    }
}

/// Why the attempts of a run broke, in their order.
fn errors(run: &Value) -> Vec<String> {
    let attempts = run["metrics"]["statusSummary"]["extensions"]["attempts"].as_array().cloned().unwrap_or_default();
    attempts.iter().filter_map(|attempt| attempt["error"].as_str().map(str::to_owned)).collect()
}

/// The run has failed at the source; returns what its record tells: the sentence with its hint.
#[track_caller]
fn told_by_failed(run: &Value) -> String {
    let status = &run["metrics"]["statusSummary"];
    assert_eq!(status["status"], "failed", "{run:#}");
    assert_eq!(status["errors"][0]["code"], "CONNECTOR-1001-500", "{run:#}");
    let sentence = text(&status["errors"][0]["message"]);
    assert!(!sentence.is_empty(), "{run:#}");
    status.to_string()
}
