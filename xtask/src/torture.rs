//! The torture test at length: many kills of server and database while rows are written (crates/server/tests/it/torture.rs).

use std::process::Command;

use anyhow::{Result, bail};

use crate::environment::{root, target};
use crate::shell::{self, exists};
use crate::test::EVERYTHING;

/// How many kills there are if nothing else is said.
const KILLS: &str = "60";
/// The test, as its runner knows it.
const TEST: &str = "torture::";

/// Runs the test with as many kills as were asked for; it prints its seed, so that it can be asked for again.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("cargo");
    command.current_dir(root()).env("CARGO_TARGET_DIR", target()?).env("HEADWATERS_TORTURE_KILLS", KILLS);
    for pair in arguments.chunks(2) {
        match pair {
            ["--kills", number] => command.env("HEADWATERS_TORTURE_KILLS", number),
            ["--seed", number] => command.env("HEADWATERS_TORTURE_SEED", number),
            ["--flavour", name] => command.env("HEADWATERS_TORTURE_FLAVOUR", name),
            _ => bail!("torture takes --kills N, --seed N and --flavour mariadb or mysql"),
        };
    }
    if exists("cargo-nextest") {
        // Its profile lets a test take an hour.
        command.args(["nextest", "run", "--locked", "--profile", "torture", "--no-capture"]).args(EVERYTHING);
        command.args(["--filterset", &format!("package(headwaters-server) and test({TEST})")]);
    } else {
        command.args(["test", "--locked", "--test", "it"]).args(EVERYTHING).args(["--", TEST, "--nocapture"]);
    }
    shell::run(&mut command)
}
