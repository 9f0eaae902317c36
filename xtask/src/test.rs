//! Everything that must hold before a change is taken: what `.ci/run` runs.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::Result;

use crate::environment::{root, target};
use crate::shell::{self, exists, step};
use crate::{generate, install, readme, tidy};

/// What is linted and tested: always all crates with the same features, those at whose crash points tests make a process
/// die. Cargo builds a library anew for every set of features that it finds in a selection of crates; so a lane of the
/// light crates first, which would fail sooner, makes a run from nothing longer by their whole graph.
pub(crate) const EVERYTHING: [&str; 3] =
    ["--workspace", "--features", "headwaters-server/crash-points,headwaters-lake/crash-points"];

/// Installs what is missing, then formats, borders, lints, tests; ends at the first step that fails.
pub(crate) fn run() -> Result<()> {
    let start = Instant::now();
    let target = target()?;
    println!("building in {}; a first run on two cores takes about half an hour, later ones minutes", target.display());
    install::everything()?;
    step("fmt: is everything formatted?", || shell::run(cargo(&target).args(["fmt", "--all", "--check"])))?;
    step("tidy: borders between crates, house rules", tidy::run)?;
    step("deny: licences, advisories, duplicates", deny)?;
    step("clippy", || {
        let lints = ["--all-targets", "--locked", "--", "--deny", "warnings"];
        shell::run(cargo(&target).arg("clippy").args(EVERYTHING).args(lints))
    })?;
    step("tests, on real servers", || tests(&target))?;
    step("tests of examples in the documentation", || {
        shell::run(cargo(&target).args(["test", "--doc", "--locked", "--quiet"]).args(EVERYTHING))
    })?;
    // The tests have built the program; to build it without crash points would take its whole graph again.
    let binary = target.join("debug/headwaters");
    step("README: do its commands and calls work?", || readme::run(&binary))?;
    step("generate: is docs/reference up to date?", || generate::run(&binary, true))?;
    println!("\nall good, in {:.1} minutes", start.elapsed().as_secs_f64() / 60.0);
    Ok(())
}

/// Asks cargo-deny, where it is installed, whether the graph keeps to `deny.toml`.
fn deny() -> Result<()> {
    if !exists("cargo-deny") {
        println!("    not checked: cargo-deny is not installed (`cargo install --locked cargo-deny`)");
        return Ok(());
    }
    shell::run(Command::new("cargo").current_dir(root()).args(["deny", "check"]))
}

/// Runs tests by nextest, which isolates each test in a process and limits its time, or by `cargo test` where it is not
/// installed.
fn tests(target: &Path) -> Result<()> {
    let mut command = cargo(target);
    // A snapshot that is missing or differs fails, here as on a desk, and no file is left beside it.
    command.env("INSTA_UPDATE", "no").env_remove("INSTA_FORCE_PASS");
    if exists("cargo-nextest") {
        command.args(["nextest", "run", "--locked", "--no-fail-fast"]);
    } else {
        command.args(["test", "--locked", "--tests", "--no-fail-fast", "--quiet"]);
    }
    shell::run(command.args(EVERYTHING))
}

fn cargo(target: &Path) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(root()).env("CARGO_TARGET_DIR", target);
    command
}
