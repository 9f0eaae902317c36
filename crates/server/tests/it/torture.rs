//! The process is killed again and again, and the database a few times, while rows are written and recurring runs go on.
//! In the end every row is in every data set once (mysql-sources.md 18, point 4; docs/architecture.md, section 4).
//!
//! A few kills are made with the other tests, bounded to about a minute; `cargo xtask torture` makes many. What happens
//! follows from a seed, as far as a race can follow from one; it is printed with the counts.
//!
//! What is written has all that makes windows hard: transactions of up to a second, of several writers, that commit in
//! another order than they began in, or roll back; many rows with one value of the delta column; numbers of a counter
//! that are committed before smaller ones.

mod judge;
mod writers;

use std::time::{Duration, Instant};

use headwaters_testkit::world::{FLOW_SERVICE, World, now_s};
use headwaters_testkit::{DatabaseServer, Flavour, ServerOptions};
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use self::judge::{Tally, Verdict};
use self::writers::{Kind, Writers};
use crate::store_file::StoreFile;

/// How many kills there are, how they fall, and on which server, where the environment does not say.
const KILLS: &str = "HEADWATERS_TORTURE_KILLS";
const SEED: &str = "HEADWATERS_TORTURE_SEED";
const FLAVOUR: &str = "HEADWATERS_TORTURE_FLAVOUR";
/// How many kills the other tests have time for.
const KILLS_FEW: u32 = 6;
/// Of so many kills one is the database's.
const DATABASE_EVERY: u32 = 8;
/// How long the process lives at most before the next kill, in milliseconds.
const LIFE_MS_MAX: u64 = 2_500;
/// How often flows are made due.
const TICK: Duration = Duration::from_millis(400);
/// How often all flows run once more at the end: one that counts may need a second look, the last finds nothing.
const LAST_ROUNDS: u32 = 3;
/// How long a round may take, leases that must end and pauses included.
const ROUND_SECONDS_MAX: u64 = 120;

/// The flows: what they read, and by which column.
const FLOWS: [(Kind, &str); 6] = [
    (Kind::Event, "id"),
    (Kind::Event, "made_at"),
    (Kind::Event, "made_s"),
    (Kind::Account, "updated_at"),
    (Kind::Account, "updated_s"),
    (Kind::Account, "stamp"),
];

/// Random numbers that follow from a seed (xorshift).
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn of(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `end`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end.max(1)
    }
}

/// A flow under torture.
struct Flow {
    kind: Kind,
    column: &'static str,
    data_set: String,
}

struct Torture {
    database: DatabaseServer,
    world: World,
    flows: Vec<Flow>,
    dice: Dice,
    tally: Tally,
}

#[expect(clippy::disallowed_methods, reason = "how a person asks for more of this test")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

impl Torture {
    async fn begin(flavour: Flavour, seed: u64) -> Self {
        // A database that loses what it has committed would lose it for us as well.
        let database = ServerOptions::new(flavour).argument("--innodb-flush-log-at-trx-commit=1");
        let database = database.start().await.expect("a database");
        writers::make_tables(&database).await;
        let lag = (seed % 3).to_string();
        let world = World::options(env!("CARGO_BIN_EXE_headwaters"))
            .env("HEADWATERS_FLOWS_WINDOW_LAG_SECONDS", &lag)
            .env("HEADWATERS_RUNS_CONCURRENT_MAX", "4");
        let world = world.start().await.expect("a server");
        let mut torture = Self { database, world, flows: Vec::new(), dice: Dice::of(seed), tally: Tally::default() };
        torture.make_flows(if flavour.is_maria_db() { "maria-db" } else { "mysql" }).await;
        torture
    }

    async fn make_flows(&mut self, spec: &str) {
        // It has PROCESS, and so sees who is still writing.
        let connection =
            self.world.connect(spec, &self.database.connection_string("admin")).await.expect("a connection");
        for (kind, column) in FLOWS {
            let source = self.world.source_of(&connection, spec, kind.table()).await.expect("a source");
            let data_set = self.world.data_set(&format!("{} by {column}", kind.table())).await.expect("a data set");
            let target = self.world.target_of(&data_set).await.expect("a target");
            let mut body = self.world.flow_body(column, &source, &target, now_s()).await.expect("a body");
            body["scheduleParams"]["frequency"] = json!("minute");
            body["scheduleParams"]["interval"] = json!(15);
            body["transformations"] = json!([{"name": "Copy", "params": {"deltaColumn": {"name": column}}}]);
            self.world.create(&format!("{FLOW_SERVICE}/flows"), &body).await.expect("a flow");
            self.flows.push(Flow { kind, column, data_set });
        }
    }

    /// Lets the process or the database live for a moment, then kills it and starts it again.
    async fn kill(&mut self, number: u32) {
        sleep(Duration::from_millis(100 + self.dice.below(LIFE_MS_MAX))).await;
        if number % DATABASE_EVERY == DATABASE_EVERY / 2 {
            self.database.kill().expect("a database");
            self.tally.database_kills += 1;
            return self.database.start().await.expect("a database");
        }
        self.world.kill().await.expect("a server");
        self.tally.kills += 1;
        let mut file = StoreFile::of(&self.world).await;
        if file.number("select count(*) from run where status = 'inProgress'").await > 0 {
            self.tally.kills_at_work += 1;
        }
        if self.dice.below(4) > 0 {
            // As if the process had been away until its leases ended; else it comes back before.
            file.end_leases().await;
        }
        drop(file);
        self.world.restart().await.expect("a server");
    }

    /// Runs every flow once more, and waits until none is due or at work.
    async fn round(&self) {
        let mut file = StoreFile::of(&self.world).await;
        file.make_due().await;
        let over = async {
            while file.unfinished().await > 0 {
                sleep(Duration::from_millis(100)).await;
            }
        };
        let over = timeout(Duration::from_secs(ROUND_SECONDS_MAX), over).await;
        over.unwrap_or_else(|_| panic!("the last runs do not end: {}", self.world.log()));
    }

    async fn judge(mut self) -> (Tally, Vec<Verdict>) {
        let mut file = StoreFile::of(&self.world).await;
        self.tally.runs = file.number("select count(*) from run").await;
        self.tally.runs_failed = file.number("select count(*) from run where status = 'failed'").await;
        self.tally.attempts = file.number("select count(*) from attempt").await;
        let mut verdicts = Vec::new();
        for flow in &self.flows {
            let folder = self.world.table_dir(&flow.data_set).await.expect("a table");
            verdicts.push(judge::judge(&self.database, flow.kind, flow.column, &folder).await);
        }
        (self.tally, verdicts)
    }
}

/// Makes every flow due again and again, as if its interval were over whenever its last run is.
fn keep_due(world: &World, stop: CancellationToken) -> JoinHandle<()> {
    let path = world.data_dir();
    tokio::spawn(async move {
        let mut file = StoreFile::below(&path).await;
        while timeout(TICK, stop.cancelled()).await.is_err() {
            file.make_due().await;
        }
    })
}

async fn torture(flavour: Flavour, kills: u32, seed: u64) {
    let begun = Instant::now();
    let mut torture = Torture::begin(flavour, seed).await;
    let stop = CancellationToken::new();
    let writers = Writers::begin(&torture.database, &torture.dice, &stop);
    let due = keep_due(&torture.world, stop.clone());
    for number in 0..kills {
        torture.kill(number).await;
    }
    stop.cancel();
    due.await.expect("flows are kept due");
    torture.tally.transactions = writers.end().await;
    // Past the lag, and past whole seconds.
    sleep(Duration::from_secs(4)).await;
    for _ in 0..LAST_ROUNDS {
        torture.round().await;
    }
    let (tally, verdicts) = torture.judge().await;
    judge::report(&tally, &verdicts, seed, begun.elapsed());
    assert!(tally.transactions > 0 && verdicts.iter().all(|verdict| verdict.landed > 0), "nothing was written");
    for verdict in &verdicts {
        assert!(verdict.is_clean(), "seed {seed}: {verdict:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn however_often_the_process_is_killed_no_row_is_lost_and_none_is_there_twice() {
    let number = |name, default| variable(name).map_or(default, |text| text.parse().expect("a number"));
    let kills = number(KILLS, u64::from(KILLS_FEW));
    let seed = number(SEED, now_s());
    let flavour = match variable(FLAVOUR).as_deref() {
        None | Some("mariadb") => Flavour::MariaDb,
        Some("mysql") => Flavour::MySql,
        Some(other) => panic!("{FLAVOUR} is mariadb or mysql, not {other}"),
    };
    torture(flavour, u32::try_from(kills).expect("a small number"), seed).await;
}
