//! What flows cost that have nothing to do: many that wait for an instant far away, and runs that find nothing new.
//!
//! Processor time is the sum over the threads of the server, in nanoseconds, as the kernel's scheduler counts it; memory
//! is what is resident. Waiting flows are compared with none, in one process each.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::demo::database::{self, Database};
use crate::demo::keeper::Keeper;
use crate::demo::service::Service;
use crate::demo::{CATALOG, DATA_LAKE_SPEC, FLOW_SERVICE, now_s, scratch, text};
use crate::environment::{cache, root, target};
use crate::http::percent_encoded;
use crate::shell::{self, output, step};

/// How many flows wait if nothing else is said.
const FLOWS: usize = 10_000;
/// For how long the processor time of an idle server is measured.
const IDLE: Duration = Duration::from_secs(30);
/// The time a server gets to settle before it is measured.
const SETTLE: Duration = Duration::from_secs(3);
/// A start that nobody lives to see (the year 2100).
const FAR_S: u64 = 4_102_444_800;
/// How many flows run without finding anything, and how often.
const EMPTY_FLOWS: usize = 10;
const EMPTY_ROUNDS: usize = 10;
/// How long a round of them may take.
const ROUND_SECONDS_MAX: u64 = 120;
/// What they read, and by which column.
const TABLE: &str = "shop.orders";
const COLUMN: &str = "updated_at";

/// Makes every flow due that waits for none, as if its interval were over.
const MAKE_DUE: &str = "
import sqlite3, sys, time
store = sqlite3.connect(sys.argv[1], timeout=10)
with store:
    store.execute('update flow set next_due_at_us = ? where scheduled_run is null', (int(time.time() * 1000) * 1000,))
";

/// A server beside a shop, until it is dropped.
struct Bench {
    service: Service,
    database: Database,
    folder: PathBuf,
    _keeper: Keeper,
}

/// What a server has used.
#[derive(Clone, Copy)]
struct Usage {
    cpu: Duration,
    resident_kib: u64,
}

/// Measures, and prints a table for docs/benchmarks.md.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let (mut flows, mut binary) = (FLOWS, None);
    for pair in arguments.chunks(2) {
        match pair {
            ["--flows", number] => flows = number.parse().context("--flows takes a number")?,
            ["--binary", path] => binary = Some(PathBuf::from(path)),
            _ => bail!("idle takes --flows N and --binary PATH"),
        }
    }
    let binary = match binary {
        Some(path) => path.canonicalize().with_context(|| format!("looking for {}", path.display()))?,
        None => step("building the program as it is published", build)?,
    };
    let none = step("an idle server without flows", || Bench::start(&binary)?.idle())?;
    let bench = step("a server with flows that wait", || Bench::start(&binary))?;
    step(&format!("making {flows} flows"), || bench.wait_far_away(flows))?;
    let many = step("the idle server with them", || bench.idle())?;
    drop(bench);
    let empty = step("runs that find nothing new", || Bench::start(&binary)?.empty_runs())?;

    println!("\nidle for {} s: processor time, memory", IDLE.as_secs());
    for (what, used) in [("no flows", none), (&format!("{flows} flows"), many)] {
        let percent = 100.0 * used.cpu.as_secs_f64() / IDLE.as_secs_f64();
        println!(
            "  {what:<14} {:>7.1} ms ({percent:.3} %)  {:>6} KiB",
            used.cpu.as_secs_f64() * 1e3,
            used.resident_kib
        );
    }
    println!("a run that finds nothing new ({} of them), the idle server taken off", empty.runs);
    println!("  processor time {:.1} ms; from begin to end {} ms (median)", empty.cpu_ms, empty.median_ms);
    Ok(())
}

fn build() -> Result<PathBuf> {
    let target = target()?;
    let mut cargo = Command::new("cargo");
    cargo.current_dir(root()).env("CARGO_TARGET_DIR", &target);
    shell::run(cargo.args(["build", "--release", "--locked", "--package", "headwaters-server"]))?;
    Ok(target.join("release/headwaters"))
}

/// What runs cost that find nothing.
struct Empty {
    runs: usize,
    cpu_ms: f64,
    median_ms: i64,
}

impl Bench {
    fn start(binary: &Path) -> Result<Self> {
        let folder = scratch()?;
        let keeper = Keeper::over(&folder)?;
        let database = Database::start(&folder)?;
        let mut service = Service::start(binary, &folder)?;
        service.log_in()?;
        Ok(Self { service, database, folder, _keeper: keeper })
    }

    fn usage(&self) -> Result<Usage> {
        let process = Path::new("/proc").join(self.service.process_id().to_string());
        let mut cpu_ns = 0_u64;
        for thread in fs::read_dir(process.join("task")).context("listing the server's threads")? {
            // A thread that just ended is not worth an error.
            let counted = fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
            cpu_ns += counted.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or_default();
        }
        let status = fs::read_to_string(process.join("status")).context("asking for the server's memory")?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let resident = resident.and_then(|text| text.trim().trim_end_matches(" kB").trim().parse().ok());
        Ok(Usage { cpu: Duration::from_nanos(cpu_ns), resident_kib: resident.context("no resident memory")? })
    }

    /// What the server uses while nobody asks it for anything.
    fn idle(&self) -> Result<Usage> {
        shell::pause(SETTLE);
        let before = self.usage()?;
        shell::pause(IDLE);
        let after = self.usage()?;
        Ok(Usage { cpu: after.cpu.saturating_sub(before.cpu), resident_kib: after.resident_kib })
    }

    fn create(&self, path: &str, body: &Value) -> Result<String> {
        let answer = self.service.send("POST", path, Some(body))?;
        if answer.status != 201 {
            bail!("POST {path} answered {}: {}", answer.status, answer.body);
        }
        text(&answer.json()?, "/id")
    }

    fn spec(&self, collection: &str, name: &str) -> Result<Value> {
        let path = format!("{FLOW_SERVICE}/{collection}?property={}", percent_encoded(&format!("name==\"{name}\"")));
        let found = self.service.send("GET", &path, None)?.json()?;
        Ok(json!({"id": text(&found, "/items/0/id")?, "version": "1.0"}))
    }

    fn source(&self) -> Result<String> {
        let spec = self.spec("connectionSpecs", "maria-db")?;
        let connection = json!({
            "name": "the shop", "connectionSpec": spec,
            "auth": {"specName": "Basic Authentication", "params": {
                "server": "127.0.0.1", "port": self.database.port.to_string(), "database": "shop",
                "username": database::USER, "password": database::PASSWORD,
            }},
        });
        let connection = self.create(&format!("{FLOW_SERVICE}/connections"), &connection)?;
        let source = json!({
            "name": TABLE, "baseConnectionId": connection, "connectionSpec": spec,
            "data": {"format": "tabular"}, "params": {"tableName": TABLE},
        });
        self.create(&format!("{FLOW_SERVICE}/sourceConnections"), &source)
    }

    fn target(&self, name: &str) -> Result<String> {
        let made = self.service.send("POST", &format!("{CATALOG}/dataSets"), Some(&json!({"name": name})))?.json()?;
        let data_set = text(&made, "/0")?.trim_start_matches("@/dataSets/").to_owned();
        let lake = json!({"id": DATA_LAKE_SPEC, "version": "1.0"});
        let target = json!({"name": name, "connectionSpec": lake, "data": {}, "params": {"dataSetId": data_set}});
        self.create(&format!("{FLOW_SERVICE}/targetConnections"), &target)
    }

    fn flow(&self, spec: &Value, source: &str, target: &str, start_s: u64) -> Result<String> {
        let flow = json!({
            "name": "waits", "flowSpec": spec, "sourceConnectionIds": [source], "targetConnectionIds": [target],
            "transformations": [{"name": "Copy", "params": {"deltaColumn": {"name": COLUMN}}}],
            "scheduleParams": {"startTime": start_s.to_string(), "frequency": "minute", "interval": 15},
        });
        self.create(&format!("{FLOW_SERVICE}/flows"), &flow)
    }

    /// Makes flows in use whose first instant is far away.
    fn wait_far_away(&self, flows: usize) -> Result<()> {
        let (spec, source, target) = (self.spec("flowSpecs", "CRMToAEP")?, self.source()?, self.target("waits")?);
        for _ in 0..flows {
            self.flow(&spec, &source, &target, FAR_S)?;
        }
        Ok(())
    }

    /// Lets flows run again and again over a table that does not change.
    fn empty_runs(&self) -> Result<Empty> {
        let (spec, source) = (self.spec("flowSpecs", "CRMToAEP")?, self.source()?);
        let begin_s = now_s()?;
        let mut flows = Vec::new();
        for number in 0..EMPTY_FLOWS {
            flows.push(self.flow(&spec, &source, &self.target(&format!("empty {number}"))?, begin_s)?);
        }
        // The first runs read the whole table, those of the next round what the lag has held back.
        self.wait_for_runs(&flows, EMPTY_FLOWS)?;
        self.round(&flows, 2 * EMPTY_FLOWS)?;
        let idle = self.idle()?;
        let (before, begun) = (self.usage()?, Instant::now());
        for round in 0..EMPTY_ROUNDS {
            self.round(&flows, (round + 3) * EMPTY_FLOWS)?;
        }
        let took = begun.elapsed();
        let cpu = self.usage()?.cpu.saturating_sub(before.cpu);
        let cpu = cpu.saturating_sub(idle.cpu.mul_f64(took.as_secs_f64() / IDLE.as_secs_f64()));
        let runs = EMPTY_ROUNDS * EMPTY_FLOWS;
        let mut times = Vec::new();
        for flow in &flows {
            let newest = self.runs_of(flow)?;
            for run in newest.iter().take(EMPTY_ROUNDS) {
                let time =
                    |name: &str| run.pointer(&format!("/metrics/durationSummary/{name}")).and_then(Value::as_i64);
                let read = run.pointer("/metrics/recordSummary/inputRecordCount").and_then(Value::as_i64);
                let (Some(start), Some(end), Some(0)) = (time("startedAtUTC"), time("completedAtUTC"), read) else {
                    bail!("this run has not found nothing: {run}");
                };
                times.push(end - start);
            }
        }
        times.sort_unstable();
        let median_ms = times.get(times.len() / 2).copied().context("no runs")?;
        Ok(Empty { runs, cpu_ms: cpu.as_secs_f64() * 1e3 / f64::from(u32::try_from(runs)?), median_ms })
    }

    fn round(&self, flows: &[String], runs: usize) -> Result<()> {
        let store = self.folder.join("headwaters-data/headwaters.db");
        let python = cache()?.join("readers/bin/python");
        output(Command::new(python).args(["-c", MAKE_DUE]).arg(store))?;
        self.wait_for_runs(flows, runs)
    }

    /// Waits until so many runs have ended. Few questions: they cost the server processor time as well.
    fn wait_for_runs(&self, flows: &[String], runs: usize) -> Result<()> {
        let begun = Instant::now();
        loop {
            let count = |state: &str| -> Result<u64> {
                let path = format!("{FLOW_SERVICE}/runs?count=true&property=state=={state}");
                let counted = self.service.send("GET", &path, None)?.json()?;
                counted["count"].as_u64().with_context(|| format!("no count: {counted}"))
            };
            if count("success")? >= u64::try_from(runs)? {
                return Ok(());
            }
            if begun.elapsed() > Duration::from_secs(ROUND_SECONDS_MAX) || count("failed")? > 0 {
                bail!("the runs do not end well: {:?}", self.runs_of(&flows[0])?);
            }
            shell::pause(Duration::from_millis(500));
        }
    }

    /// The runs of a flow, the newest first.
    fn runs_of(&self, flow: &str) -> Result<Vec<Value>> {
        let path = format!("{FLOW_SERVICE}/runs?property=flowId=={flow}&limit={}", EMPTY_ROUNDS + 5);
        let shown = self.service.send("GET", &path, None)?.json()?;
        Ok(shown["items"].as_array().cloned().unwrap_or_default())
    }
}
