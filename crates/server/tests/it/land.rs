//! Runs the program and reads back what it landed.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use headwaters_testkit::cache;
use serde_json::Value;

/// A program that reads Delta tables without any code of ours: the log as JSON, the files with Polars.
const READ_BACK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/read_back.py");

/// The program, without anything of this shell's configuration.
pub(crate) fn headwaters() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headwaters"));
    command.env_clear().env("PATH", "/usr/bin:/bin").current_dir(std::env::temp_dir());
    command
}

/// Runs the command to its end.
pub(crate) fn output(command: &mut Command) -> Output {
    command.output().expect("the program starts")
}

/// What a command has said on standard error.
pub(crate) fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Copies a table into a folder; the result's JSON line. Fails the test when the copy fails.
pub(crate) fn copied(source: &str, table: &str, to: &Path, more: &[&str]) -> Value {
    let mut command = headwaters();
    command.args(["copy", source, "--table", table, "--progress", "json", "--to"]).arg(to).args(more);
    let output = output(&mut command);
    assert!(output.status.success(), "{table}: {}", complaint(&output));
    let text = String::from_utf8(output.stdout).expect("the result is text");
    serde_json::from_str(text.lines().last().expect("a result")).expect("the result is JSON")
}

/// The rows of a Delta table as JSON objects under source names, in the form of the fixtures' expected files.
pub(crate) fn rows(table: &Path) -> Vec<Value> {
    let answer = read_back(&["rows".as_ref(), table.as_os_str()]);
    answer.as_array().expect("rows").clone()
}

/// The rows of the newest version of a Delta table as JSON objects under the names of the lake, read by Polars' own Delta
/// reader, which takes the types from the table; decimals and moments are texts. Sorted by their texts.
pub(crate) fn delta_rows(table: &Path) -> Vec<Value> {
    let answer = read_back(&["delta".as_ref(), table.as_os_str()]);
    let mut rows = answer.as_array().expect("rows").clone();
    rows.sort_by_key(ToString::to_string);
    rows
}

/// How many rows a Delta table has.
pub(crate) fn count(table: &Path) -> u64 {
    read_back(&["count".as_ref(), table.as_os_str()]).as_u64().expect("a number")
}

/// Asks the independent reader.
pub(crate) fn read_back(arguments: &[&std::ffi::OsStr]) -> Value {
    let python: PathBuf = cache::cache_dir().expect("a cache folder").join("readers/bin/python");
    assert!(python.is_file(), "{} is missing: `cargo xtask test` installs it", python.display());
    let output = output(Command::new(python).arg(READ_BACK).args(arguments));
    assert!(output.status.success(), "{}", complaint(&output));
    serde_json::from_slice(&output.stdout).expect("the reader answers in JSON")
}
