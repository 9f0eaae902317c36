//! Logs and metrics of the process.

use std::io::IsTerminal;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::Config;
use crate::exit::CliError;

/// What is logged when nothing else is asked for.
const DEFAULT_FILTER: &str = "info";
/// What the commands without a server log: what a person must know.
const QUIET_FILTER: &str = "warn";

/// Starts logging to standard error: `HEADWATERS_LOG` (or `log` in the file) is a filter such as `info` or
/// `headwaters_engine=debug`, `HEADWATERS_LOG_FORMAT` is `text` or `json`.
pub(crate) fn start(config: &Config, server: bool) -> Result<(), CliError> {
    let given = crate::config::from_environment("HEADWATERS_LOG");
    let default = if server { DEFAULT_FILTER } else { QUIET_FILTER };
    let filter = config.option::<String>(given, "log")?.unwrap_or_else(|| default.to_owned());
    let filter = EnvFilter::try_new(filter).map_err(|_| config.invalid("log"))?;
    let format = config.option::<String>(crate::config::from_environment("HEADWATERS_LOG_FORMAT"), "log_format")?;
    let subscriber = tracing_subscriber::registry().with(filter);
    let lines =
        tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let started = match format.as_deref().unwrap_or("text") {
        "json" => subscriber.with(lines.json()).try_init(),
        "text" => subscriber.with(lines.compact()).try_init(),
        _ => return Err(config.invalid("log_format")),
    };
    started.map_err(|error| CliError::other(format!("could not start logging: {error}")))
}

/// Starts counting; the handle renders what was counted for `/metrics`.
pub(crate) fn start_metrics() -> Result<PrometheusHandle, CliError> {
    PrometheusBuilder::new()
        .install_recorder()
        .map_err(|error| CliError::other(format!("could not start metrics: {error}")))
}
