//! Tasks of those who build Headwaters: `cargo xtask` lists them.
//!
//! Kept to std, anyhow and serde_json, so that it compiles in seconds on a machine that has compiled nothing yet.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "talking to the person at the terminal is what tasks are for"
)]

mod demo;
mod environment;
mod generate;
mod http;
mod idle;
mod install;
mod load;
mod readme;
mod shell;
mod test;
mod tidy;
mod torture;

use std::process::ExitCode;

use anyhow::Result;

const HELP: &str = "\
Tasks of those who build Headwaters

Usage: cargo xtask TASK

  demo [--keep]       install what is missing, build, and walk the database tutorial against a private MariaDB;
                      --keep leaves server and database running until Ctrl-C
  test                install what is missing, then fmt, tidy, deny, clippy and every test against real servers
  install             only install what is missing: Debian packages, test servers, Python readers
  tidy                borders between the crates, and house rules
  load [--flows N]    measure lists and reads over 100,000 flows under 64 connections; --help lists what else it takes
  idle [--flows N]    measure what 10,000 flows that wait cost, and a run that finds nothing new; --binary PATH takes a
                      program that is built already
  torture [--kills N] [--seed N] [--flavour mariadb|mysql]
                      kill server and database, 60 times if nothing else is said, while rows are written and flows run
  readme              run the commands and calls of README.md against a server and a database of their own
  generate [--check]  write docs/reference/ from the binary; --check fails if it is not up to date

Caches are in $HEADWATERS_CACHE, by default ~/.cache/headwaters.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments.as_slice() {
        ["demo"] => demo::run(false),
        ["demo", "--keep"] => demo::run(true),
        ["test"] => test::run(),
        ["install"] => install::everything(),
        ["tidy"] => tidy::run(),
        ["load", arguments @ ..] => load::run(arguments),
        ["idle", arguments @ ..] => idle::run(arguments),
        ["torture", arguments @ ..] => torture::run(arguments),
        ["readme"] => readme::build_and_run(),
        ["generate"] => generate::build_and_run(false),
        ["generate", "--check"] => generate::build_and_run(true),
        [] | ["help" | "--help" | "-h"] => {
            println!("{HELP}");
            Ok(())
        }
        unknown => {
            eprintln!("no such task: {}\n\n{HELP}", unknown.join(" "));
            return ExitCode::from(2);
        }
    };
    exit(outcome)
}

fn exit(outcome: Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}
