//! One file per command, and what they share.

pub(crate) mod audit;
pub(crate) mod check;
pub(crate) mod copy;
pub(crate) mod credentials;
pub(crate) mod env;
pub(crate) mod explore;
pub(crate) mod serve;
pub(crate) mod source_argument;
pub(crate) mod token;
pub(crate) mod verify;

use std::io::Write;

use clap::ValueEnum;

use crate::config::Config;
use crate::exit::CliError;

/// Prints one result to standard output, with a line's end.
pub(crate) fn print(text: &str) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")
        .and_then(|()| out.flush())
        .map_err(|error| CliError::other(format!("could not write the result: {error}")))
}

/// Tells a person what they should know, beside the result.
#[expect(clippy::print_stderr, reason = "a warning of a command belongs on standard error")]
pub(crate) fn warn(text: &str) {
    eprintln!("warning: {text}");
}

/// A choice of the command line as it stands in the configuration file.
pub(crate) fn parsed<T: ValueEnum>(config: &Config, key: &'static str) -> Result<Option<T>, CliError> {
    let text = config.option::<String>(None, key)?;
    text.map(|text| T::from_str(&text, true).map_err(|_| config.invalid(key))).transpose()
}
