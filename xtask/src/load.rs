//! How quick lists and reads are over many flows: builds the example of the API that measures it, and runs it.

use std::process::Command;

use anyhow::Result;

use crate::environment::{root, target};
use crate::shell;

/// Builds with the profile of the published program, and hands on what the person asked for.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("cargo");
    command.current_dir(root()).env("CARGO_TARGET_DIR", target()?);
    command.args(["run", "--quiet", "--release", "--locked", "-p", "headwaters-api", "--example", "load", "--"]);
    shell::run(command.args(arguments))
}
