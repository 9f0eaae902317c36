//! Everything that must hold before a change is taken: what `.ci/run` runs.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::Result;

use crate::environment::{root, target};
use crate::shell::{self, exists, step};
use crate::{generate, install, readme, tidy};

/// The crates that build without Arrow (docs/architecture.md section 2): checked first, because they answer in minutes.
const FAST_LANE: [&str; 4] = ["headwaters-model", "headwaters-store", "headwaters-control", "headwaters-api"];

/// Installs what is missing, then formats, borders, lints, tests; ends at the first step that fails.
pub(crate) fn run() -> Result<()> {
    let start = Instant::now();
    let target = target()?;
    println!("building in {}; a first run on two cores takes about half an hour, later ones minutes", target.display());
    install::everything()?;
    step("fmt: is everything formatted?", || shell::run(cargo(&target).args(["fmt", "--all", "--check"])))?;
    step("tidy: borders between crates, house rules", tidy::run)?;
    step("clippy, fast lane", || shell::run(packages(cargo(&target).arg("clippy"), &FAST_LANE).args(CLIPPY)))?;
    step("tests, fast lane", || tests(&target, &|command| packages(command, &FAST_LANE)))?;
    step("clippy, everything", || shell::run(everything(cargo(&target).arg("clippy")).args(CLIPPY)))?;
    step("tests, everything, on real servers", || tests(&target, &everything))?;
    step("tests of examples in the documentation", || {
        shell::run(everything(cargo(&target).args(["test", "--doc", "--locked", "--quiet"])))
    })?;
    step("README: do its calls work?", readme::run)?;
    step("generate: is docs/reference up to date?", || generate::run(true))?;
    println!("\nall good, in {:.1} minutes", start.elapsed().as_secs_f64() / 60.0);
    Ok(())
}

const CLIPPY: [&str; 5] = ["--all-targets", "--locked", "--", "--deny", "warnings"];

/// Runs tests by nextest, which isolates each test in a process and limits its time, or by `cargo test` where it is not
/// installed.
fn tests(target: &Path, choose: &dyn Fn(&mut Command) -> &mut Command) -> Result<()> {
    let mut command = cargo(target);
    if exists("cargo-nextest") {
        command.args(["nextest", "run", "--locked", "--no-fail-fast"]);
    } else {
        command.args(["test", "--locked", "--tests", "--quiet"]);
    }
    shell::run(choose(&mut command))
}

fn packages<'a>(command: &'a mut Command, names: &[&str]) -> &'a mut Command {
    for name in names {
        command.args(["--package", name]);
    }
    command
}

/// All crates, with the crash points that tests arm.
fn everything(command: &mut Command) -> &mut Command {
    command.args(["--workspace", "--features", "headwaters-server/crash-points"])
}

fn cargo(target: &Path) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(root()).env("CARGO_TARGET_DIR", target);
    command
}
