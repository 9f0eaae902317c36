//! `headwaters verify`: a table of a source against a table of the lake, and where they differ.

mod shown;

use headwaters_engine::verify::{KEYS_SHOWN_DEFAULT, Scope};
use tokio_util::sync::CancellationToken;

use super::source_argument::SourceArgument;
use crate::cli::{Output, Verify};
use crate::config::Config;
use crate::exit::{CliError, Kind};
use crate::wire;

/// Compares and prints what was found; a difference is an exit code of its own.
pub(crate) async fn run(arguments: Verify, config: &Config) -> Result<(), CliError> {
    let output = match arguments.output {
        Some(output) => output,
        None => super::parsed::<Output>(config, "output")?.unwrap_or(Output::Table),
    };
    let source = SourceArgument::open(&arguments.source)?;
    let scope = Scope {
        table: arguments.table,
        columns: arguments.columns,
        location: wire::table_location(&arguments.against)?,
        keys_max: arguments.keys.map_or(KEYS_SHOWN_DEFAULT, |keys| keys as usize),
    };
    let engine = wire::engine(config, 1)?;
    let cancel = CancellationToken::new();
    let verifying = engine.verify(&source.access, &scope, cancel.clone());
    let report = tokio::select! {
        report = verifying => report?,
        () = crate::signal::stop() => {
            cancel.cancel();
            return Err(CliError::new(Kind::Interrupted, "interrupted; nothing was changed"));
        }
    };
    super::print(&match output {
        Output::Json => format!("{:#}", shown::json(&report)),
        Output::Table => shown::text(&report),
    })?;
    if report.is_equal() {
        return Ok(());
    }
    Err(CliError::new(Kind::Data, format!("{} and {} differ", report.table, report.location)))
}
