//! The database tutorial of the Flow Service, walked against a private MariaDB: see it work before reading on.

pub(crate) mod database;
pub(crate) mod keeper;
pub(crate) mod service;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use self::database::Database;
use self::keeper::Keeper;
use self::service::Service;
use crate::environment::{cache, root, target};
use crate::http::percent_encoded;
use crate::install;
use crate::shell::{self, output, step};

pub(crate) const FLOW_SERVICE: &str = "/data/foundation/flowservice";
pub(crate) const CATALOG: &str = "/data/foundation/catalog";
/// The data lake as a target; its id is the same on every installation.
pub(crate) const DATA_LAKE_SPEC: &str = "c604ff05-7f1a-43c0-8e18-33bf874cb11c";
const TABLE: &str = "shop.customers";
/// The columns that are compared; every type among them prints the same in SQL and in Python.
const COLUMNS: [&str; 6] = ["id", "full_name", "nickname", "birth_date", "credit", "updated_at"];
/// How many rows are printed; all are compared.
const ROWS_SHOWN: usize = 6;
/// How long the run may take.
const RUN_SECONDS_MAX: u64 = 120;

/// Reads a Delta table with a library that knows nothing of us.
const READER: &str = "
import json, sys
import polars
columns = sys.argv[2].split(',')
def text(value):
    if value is None:
        return 'NULL'
    if hasattr(value, 'hour'):
        return value.strftime('%Y-%m-%d %H:%M:%S.%f')
    return str(value)
rows = polars.read_delta(sys.argv[1]).select(columns).sort(columns[0]).rows()
print(json.dumps([[text(cell) for cell in row] for row in rows]))
";

/// Installs what is missing, builds, shows, stops; with `keep`, stops at Ctrl-C.
pub(crate) fn run(keep: bool) -> Result<()> {
    println!("Headwaters: a table from MariaDB into a Delta table, through the Flow Service API.");
    println!(
        "Nothing of this touches a database of yours. A first run builds for several minutes, on two cores a quarter of an hour or more."
    );
    install::for_demo()?;
    let binary = step("building the binary (cargo tells how far it is)", build)?;

    let dir = scratch()?;
    let keeper = Keeper::over(&dir)?;
    let database = step("starting a private MariaDB and loading a small shop", || Database::start(&dir))?;
    let mut service = step("starting the server", || Service::start(&binary, &dir))?;
    step("asking for a token with the credentials of the first start", || service.log_in())?;
    let ids = step("walking the database tutorial", || tutorial(&service, &database))?;
    step("comparing the source with what landed, read by the Python packages polars and deltalake", || {
        compare(&database, &ids)
    })?;
    if keep {
        println!("\nserver on http://127.0.0.1:{}, its data in {}", service.port, service.data.display());
        println!(
            "eval \"$({} env --data {})\" sets what the tutorial's curl calls need",
            binary.display(),
            service.data.display()
        );
        println!(
            "MariaDB on 127.0.0.1:{} (database shop, user {}, password {})",
            database.port,
            database::USER,
            database::PASSWORD
        );
        println!("Ctrl-C stops and removes everything");
        return service.wait_for_end();
    }
    step("cleaning up as the tutorial does", || clean_up(&service, &ids))?;
    step("stopping the server (SIGTERM) and the database", || {
        service.stop()?;
        drop(keeper);
        Ok(())
    })?;
    println!("\nThat was it. README.md tells how to run it for yourself.");
    Ok(())
}

/// A server and a shop that are there for a moment.
pub(crate) struct Shop {
    /// A folder that is removed afterwards.
    pub(crate) folder: PathBuf,
    /// The server's data directory.
    pub(crate) data: PathBuf,
    /// Where the shop is, who may read it, and with which password.
    pub(crate) connection_string: String,
    /// The same as `user@host:port/database`.
    pub(crate) address: String,
    /// The password that belongs to the address.
    pub(crate) password: &'static str,
    /// How many rows `shop.orders` has.
    pub(crate) orders: usize,
}

/// Does something while a server of this program and a shop run.
pub(crate) fn with_shop(binary: &Path, work: impl FnOnce(&Shop) -> Result<()>) -> Result<()> {
    let dir = scratch()?;
    let _keeper = Keeper::over(&dir)?;
    let database = Database::start(&dir)?;
    let service = Service::start(binary, &dir)?;
    let (user, password, port) = (database::USER, database::PASSWORD, database.port);
    work(&Shop {
        folder: dir,
        data: service.data.clone(),
        connection_string: format!("Server=127.0.0.1;Port={port};Database=shop;UID={user};PWD={password}"),
        address: format!("{user}@127.0.0.1:{port}/shop"),
        password,
        orders: database.rows("select id from shop.orders")?.len(),
    })?;
    service.stop()
}

/// A folder for one demonstration.
pub(crate) fn scratch() -> Result<PathBuf> {
    let dir = std::env::temp_dir().join(format!("headwaters-demo-{}", std::process::id()));
    fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
    Ok(dir)
}

/// Builds the program in the profile of tests: most of the graph then serves both, and any other would start from nothing.
pub(crate) fn build() -> Result<PathBuf> {
    let target = target()?;
    let mut cargo = Command::new("cargo");
    cargo.current_dir(root()).env("CARGO_TARGET_DIR", &target);
    shell::run(cargo.args(["build", "--locked", "--package", "headwaters-server"]))?;
    Ok(target.join("debug/headwaters"))
}

/// The OpenAPI document of a server that is started for this question.
pub(crate) fn open_api(binary: &Path) -> Result<Value> {
    let dir = scratch()?;
    let _keeper = Keeper::over(&dir)?;
    let service = Service::start(binary, &dir)?;
    let document = service.send("GET", "/openapi.json", None)?.json()?;
    service.stop()?;
    Ok(document)
}

/// What the tutorial made, in the order in which it is removed again.
struct Made {
    flow: String,
    source: String,
    target: String,
    connection: String,
    location: String,
}

/// The calls of the tutorial, in its order (flow-service.md section 22, steps 1 to 9).
fn tutorial(service: &Service, database: &Database) -> Result<Made> {
    let filter = |path: &str, property: &str| format!("{FLOW_SERVICE}{path}?property={}", percent_encoded(property));

    note("1. Which connection specification reads MariaDB?");
    let specs = service.call_for("GET", &filter("/connectionSpecs", "name==\"maria-db\""), None, 200, "/items/0/id")?;
    let spec = json!({"id": text(&specs, "/items/0/id")?, "version": "1.0"});

    note("2. Create a base connection: where the database is, and who reads it. The service tries it out.");
    let body = json!({
        "name": "the shop", "connectionSpec": spec,
        "auth": {"specName": "Basic Authentication", "params": {
            "server": "127.0.0.1", "port": database.port.to_string(), "database": "shop",
            "username": database::USER, "password": database::PASSWORD,
        }},
    });
    let connection = text(&service.call("POST", &format!("{FLOW_SERVICE}/connections"), Some(&body), 201)?, "/id")?;
    service.call("GET", &format!("{FLOW_SERVICE}/connections/{connection}"), None, 200)?;

    note("3. Test it.");
    service.call("GET", &format!("{FLOW_SERVICE}/connections/{connection}/test"), None, 200)?;

    note("4. Look around: which tables, which columns, what rows?");
    let explore = format!("{FLOW_SERVICE}/connections/{connection}/explore");
    service.call("GET", &format!("{explore}?objectType=root"), None, 200)?;
    service.call("GET", &format!("{explore}?objectType=table&object={TABLE}&preview=true"), None, 200)?;

    note("5. Say what is to be read.");
    let body = json!({
        "name": "customers of the shop", "baseConnectionId": connection, "connectionSpec": spec,
        "data": {"format": "tabular"}, "params": {"tableName": TABLE},
    });
    let source = text(&service.call("POST", &format!("{FLOW_SERVICE}/sourceConnections"), Some(&body), 201)?, "/id")?;

    note("6. Say where it goes: a data set, and a target connection that names it.");
    let made = service.call("POST", &format!("{CATALOG}/dataSets"), Some(&json!({"name": "customers"})), 201)?;
    let data_set = text(&made, "/0")?.trim_start_matches("@/dataSets/").to_owned();
    let body = json!({
        "name": "customers in the lake", "connectionSpec": {"id": DATA_LAKE_SPEC, "version": "1.0"},
        "data": {}, "params": {"dataSetId": data_set},
    });
    let target = text(&service.call("POST", &format!("{FLOW_SERVICE}/targetConnections"), Some(&body), 201)?, "/id")?;

    note("7. Which flow specification copies tables?");
    let specs = service.call_for("GET", &filter("/flowSpecs", "name==\"CRMToAEP\""), None, 200, "/items/0/id")?;

    note("8. Create the flow, to run once, now.");
    let body = json!({
        "name": "customers, once", "flowSpec": {"id": text(&specs, "/items/0/id")?, "version": "1.0"},
        "sourceConnectionIds": [source], "targetConnectionIds": [target],
        "scheduleParams": {"startTime": now_s()?.to_string(), "frequency": "once"},
    });
    let flow = text(&service.call("POST", &format!("{FLOW_SERVICE}/flows"), Some(&body), 201)?, "/id")?;

    note("9. Watch its run.");
    let runs = filter("/runs", &format!("flowId=={flow}"));
    wait_for_run(service, &runs)?;
    service.call_for("GET", &runs, None, 200, "/items/0/metrics")?;
    let location = format!("/{data_set}/location");
    let data_sets = service.call_for("GET", &format!("{CATALOG}/dataSets/{data_set}"), None, 200, &location)?;
    let location = text(&data_sets, &location)?;
    Ok(Made { flow, source, target, connection, location })
}

/// Seconds since 1970.
#[expect(clippy::disallowed_methods, reason = "a client of the API says by its own clock when a flow begins")]
pub(crate) fn now_s() -> Result<u64> {
    Ok(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs())
}

fn wait_for_run(service: &Service, runs: &str) -> Result<()> {
    let start = Instant::now();
    loop {
        let answer = service.send("GET", runs, None)?.json()?;
        let status =
            answer.pointer("/items/0/metrics/statusSummary/status").and_then(Value::as_str).unwrap_or("none yet");
        match status {
            "success" => return Ok(()),
            "failed" => bail!("the run failed: {answer}"),
            _ if start.elapsed() > Duration::from_secs(RUN_SECONDS_MAX) => {
                bail!("no end of the run after {RUN_SECONDS_MAX} s: {answer}")
            }
            _ => shell::pause(Duration::from_millis(200)),
        }
    }
}

/// Prints source and lake side by side, and compares all rows.
fn compare(database: &Database, made: &Made) -> Result<()> {
    let columns = COLUMNS.join(",");
    let source = database.rows(&format!("select {columns} from {TABLE} order by id"))?;
    let path = made.location.strip_prefix("file://").unwrap_or(&made.location);
    let python = cache()?.join("readers/bin/python");
    let landed = output(Command::new(python).args(["-c", READER, path, &columns]))?;
    let landed: Vec<Vec<String>> = serde_json::from_str(&landed).context("reading what the Python reader printed")?;

    for (title, rows) in [(format!("{TABLE} in MariaDB"), &source), (made.location.clone(), &landed)] {
        println!("\n    {title}: {} rows", rows.len());
        print_rows(rows);
    }
    if source != landed {
        let first = source.iter().zip(&landed).find(|(left, right)| left != right);
        bail!("the landed rows differ from the source's; the first difference: {first:?}");
    }
    println!("\n    all {} rows are equal in all {} columns", source.len(), COLUMNS.len());
    Ok(())
}

fn print_rows(rows: &[Vec<String>]) {
    let shown: Vec<Vec<&str>> = std::iter::once(COLUMNS.to_vec())
        .chain(rows.iter().take(ROWS_SHOWN).map(|row| row.iter().map(String::as_str).collect()))
        .collect();
    for row in &shown {
        let cells = row.iter().enumerate().map(|(column, cell)| {
            let width =
                shown.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0);
            format!("{cell}{}", " ".repeat(width.saturating_sub(cell.chars().count())))
        });
        println!("      {}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}

/// Removes what was made, in the order that the service asks for: a connection that a flow uses stays.
fn clean_up(service: &Service, made: &Made) -> Result<()> {
    let connection = format!("{FLOW_SERVICE}/connections/{}", made.connection);
    service.call("DELETE", &connection, None, 400)?;
    for (collection, id) in
        [("flows", &made.flow), ("sourceConnections", &made.source), ("targetConnections", &made.target)]
    {
        service.call("DELETE", &format!("{FLOW_SERVICE}/{collection}/{id}"), None, 204)?;
    }
    service.call("DELETE", &connection, None, 204)?;
    service.call("GET", &connection, None, 404).map(drop)
}

fn note(text: &str) {
    println!("\n  {text}");
}

pub(crate) fn text(value: &Value, pointer: &str) -> Result<String> {
    let found = value.pointer(pointer).and_then(Value::as_str);
    Ok(found.with_context(|| format!("the answer has no text at {pointer}: {value}"))?.to_owned())
}
