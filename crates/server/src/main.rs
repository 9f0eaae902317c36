//! The program `headwaters`: command line, configuration, and which adapters plug into which ports.
//!
//! **Invariant.** No business rules here (docs/architecture.md, section 2).

mod cli;
mod commands;
mod config;
mod exit;
mod place;
mod progress;
mod signal;
mod telemetry;
mod webhooks;
mod wire;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::config::Config;
use crate::exit::CliError;

fn main() -> ExitCode {
    // Wrong usage ends here with clap's own text and exit code 2.
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            error.code()
        }
    }
}

fn run(cli: Cli) -> Result<(), CliError> {
    let config = Config::load(cli.config.as_deref())?;
    telemetry::start(&config, matches!(cli.command, Command::Serve(_)))?;
    match cli.command {
        Command::Serve(arguments) => commands::serve::run(arguments, &config),
        Command::Copy(arguments) => block_on(commands::copy::run(arguments, &config)),
        Command::Explore(arguments) => block_on(commands::explore::run(arguments, &config)),
        Command::Env(arguments) => block_on(commands::env::run(arguments, &config)),
        Command::Token(arguments) => block_on(commands::token::run(arguments, &config)),
        Command::Check(arguments) => block_on(commands::check::run(arguments, &config)),
        Command::Audit(arguments) => block_on(commands::audit::run(arguments, &config)),
        Command::Verify(arguments) => block_on(commands::verify::run(arguments, &config)),
    }
}

/// Runs a command that is no server on a runtime of its own, one thread per core.
fn block_on(command: impl Future<Output = Result<(), CliError>>) -> Result<(), CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| CliError::other(format!("could not start the runtime: {error}")))?.block_on(command)
}

#[expect(clippy::print_stderr, reason = "the last word of a failed command belongs on standard error")]
fn report(error: &CliError) {
    eprintln!("{error}");
}
