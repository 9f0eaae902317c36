//! A stranger reads the description of a running server and tries whatever it allows, and what it does not.
//!
//! schemathesis makes up the requests: the examples, the edges of every parameter and body, and random ones. It looks for
//! faults of the server, for statuses and content types that are not described, for bodies and headers that are not as
//! described, and for operations that let in whoever asks. The ids in paths are those of real resources, because made-up
//! ones end at 404; what it deletes are others than those that it looks at.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use headwaters_testkit::cache;
use headwaters_testkit::world::{CopyOnce, World};
use headwaters_testkit::{Flavour, ServerOptions};
use serde_json::Value;

use crate::land::output;
use crate::tutorial::world;

/// How many random requests an operation gets.
const EXAMPLES_MAX: u32 = 25;
/// How long the whole run may take.
const RUN_SECONDS_MAX: u32 = 200;
/// How long one answer may take.
const ANSWER_SECONDS_MAX: u32 = 30;
/// How many operations answer the stranger with a success at least once, so that it is noticed when everything is turned
/// away at the door. The others are for services, or for what only a state of minutes ago allows.
const SUCCEEDED_MIN: usize = 40;

/// What is run. `stateful` is left out: it follows the links of a description, ours has none, and the ids in paths are
/// given here. What comes after what is told by the tests of whole stories (tutorial.rs, clients.rs, walk.rs).
const PHASES: &str = "examples,coverage,fuzzing";
/// Warnings are about operations that hardly ever answer with a success: [`SUCCEEDED_MIN`] measures that and fails.
const WARNINGS: &str = "off";
/// Checks that are left out, and why.
const LEFT_OUT: [(&str, &str); 3] = [
    (
        "missing_required_header",
        "the headers of the caller come from outside, so it can't leave them out; ignored_auth can",
    ),
    ("negative_data_rejection", "unknown properties, parameters and content types are taken (flow-service.md 1.1)"),
    ("positive_data_acceptance", "what fits a schema can be refused: a table, a state, a version that is not there"),
];

/// The sandbox that is there, and whatever version a resource has: made-up ones end at 404 and 412.
const IN_HEADERS: &str = r#"
"header.x-sandbox-name" = "prod"
"header.If-Match" = "*"
"#;
/// Real specs; the regular expressions are those of paths.
const SPECS: &str = r#"
[[operations]]
include-path-regex = "/connectionSpecs/"
parameters = { "path.spec_id" = "26d738e0-8963-47ea-aadf-c60de735468a" }
[[operations]]
include-path-regex = "/flowSpecs/"
parameters = { "path.spec_id" = "14518937-270c-4525-bdec-c2ba7cce3860" }
"#;
/// What must not be sent.
const HOOKS: &str = include_str!("schemathesis_hooks.py");

/// A flow with all that belongs to it, by their ids.
struct Ids {
    connection: String,
    copy: CopyOnce,
    run: String,
    batch: String,
}

impl Ids {
    async fn of_new(world: &World, connection_string: &str, table: &str) -> Self {
        let connection = world.connect("maria-db", connection_string).await.expect("a connection");
        let copy = world.copy_once(&connection, "maria-db", table).await.expect("a flow");
        let run = world.finished_run(&copy.flow, 60).await.expect("a run");
        let text = |pointer| run.pointer(pointer).and_then(Value::as_str).expect("an id").to_owned();
        Self { connection, run: text("/id"), batch: text("/activities/1/targetInfo/0/reference/ids/0"), copy }
    }

    /// What stands in paths, as lines of the configuration.
    fn in_paths(&self) -> String {
        let Self { connection, copy, run, batch } = self;
        let names = [
            ("connection_id", connection),
            ("source_connection_id", &copy.source),
            ("target_connection_id", &copy.target),
            ("flow_id", &copy.flow),
            ("run_id", run),
            ("data_set_ids", &copy.data_set),
            ("batch_ids", batch),
        ];
        names.map(|(name, id)| format!("\"path.{name}\" = \"{id}\"\n")).concat()
    }
}

/// Who calls, and the ids in paths.
fn configuration(world: &World, looked_at: &Ids, deleted: &Ids) -> String {
    let header = |name| format!("{name} = \"{}\"\n", world.header(name).expect("a header"));
    let caller = ["authorization", "x-api-key", "x-gw-ims-org-id"].map(header).concat();
    let deletes = "[[operations]]\ninclude-method = \"DELETE\"\n[operations.parameters]";
    format!(
        "hooks = \"hooks.py\"\n[headers]\n{caller}[parameters]{IN_HEADERS}{}{deletes}\n{}{SPECS}",
        looked_at.in_paths(),
        deleted.in_paths(),
    )
}

/// Lets the stranger loose: whether nothing was found, and what was said.
fn let_loose(dir: &Path, world: &World, configuration: &str) -> (bool, String) {
    let program = cache::cache_dir().expect("a cache folder").join("schemathesis/bin/schemathesis");
    assert!(program.is_file(), "{} is missing: `cargo xtask test` installs it", program.display());
    std::fs::write(dir.join("schemathesis.toml"), configuration).expect("a configuration");
    std::fs::write(dir.join("hooks.py"), HOOKS).expect("the hooks");
    let mut command = Command::new("timeout");
    command.current_dir(dir).env_clear().env("PATH", "/usr/bin:/bin").env("HOME", dir);
    command.arg(RUN_SECONDS_MAX.to_string()).arg(program);
    command.args(["--config-file", "schemathesis.toml", "run", &world.url("/openapi.json"), "--no-color"]);
    command.args(["--phases", PHASES, "--max-examples", &EXAMPLES_MAX.to_string(), "--warnings", WARNINGS]);
    command.args(["--checks", "all", "--exclude-checks", &LEFT_OUT.map(|(check, _)| check).join(",")]);
    // The same requests in every run.
    command.arg("--generation-deterministic");
    command.args(["--request-timeout", &ANSWER_SECONDS_MAX.to_string(), "--continue-on-failure"]);
    let output = output(&mut command);
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (output.status.success(), said)
}

/// How often each operation has answered with a success, by the server's own numbers.
async fn successes(world: &World) -> BTreeMap<String, u64> {
    let numbers = world.get("/metrics").await.expect("an answer");
    let numbers = numbers.body.as_str().expect("a text");
    let mut successes = BTreeMap::new();
    for line in numbers.lines().filter(|line| line.starts_with("headwaters_http_requests_total{")) {
        if let Some((operation, rest)) = line.split_once(",status=\"2") {
            let (_, count) = rest.rsplit_once(' ').expect("a number");
            *successes.entry(operation.to_owned()).or_default() += count.parse::<u64>().expect("a number");
        }
    }
    successes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_who_tries_everything_finds_nothing_that_is_not_described() {
    let database = ServerOptions::new(Flavour::MariaDb).start().await.expect("a database");
    database.load("shop.sql").await.expect("the shop");
    let world = world().await;
    let source = database.connection_string("reader");
    let looked_at = Ids::of_new(&world, &source, "shop.categories").await;
    let deleted = Ids::of_new(&world, &source, "shop.customers").await;
    let dir = tempfile::tempdir().expect("a folder");
    // What was asked to get so far does not count.
    let before = successes(&world).await;
    let (nothing_found, said) = let_loose(dir.path(), &world, &configuration(&world, &looked_at, &deleted));
    let after = successes(&world).await;
    let succeeded =
        after.iter().filter(|(operation, count)| before.get(*operation).is_none_or(|old| old < *count)).count();
    // For `--no-capture`: how many operations and cases it were is of interest when all went well, too.
    println!("{said}\n{succeeded} operations have answered the stranger with a success");
    assert!(nothing_found, "{said}");
    assert!(!world.log().contains("panicked"), "{}", world.log());
    assert!(
        succeeded >= SUCCEEDED_MIN,
        "only {succeeded} operations have answered the stranger with a success\n{said}"
    );
}
