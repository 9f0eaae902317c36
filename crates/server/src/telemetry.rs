//! Logs and metrics of the process.

use std::io::IsTerminal;
use std::time::Duration;

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

/// How often what was measured is summed up: between two times every measurement is kept by itself.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

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

/// Starts counting; the handle renders what was counted for `/metrics`. It must be kept up ([`keep_up`]).
pub(crate) fn start_metrics() -> Result<PrometheusHandle, CliError> {
    PrometheusBuilder::new()
        .install_recorder()
        .map_err(|error| CliError::other(format!("could not start metrics: {error}")))
}

/// Sums up what was measured, until it is dropped: otherwise only whoever asks for `/metrics` does, and a server that
/// nobody asks keeps every measurement.
pub(crate) async fn keep_up(metrics: PrometheusHandle) {
    keep_up_every(UPKEEP_EVERY, || metrics.run_upkeep()).await;
}

async fn keep_up_every(pause: Duration, upkeep: impl Fn()) {
    loop {
        tokio::time::sleep(pause).await;
        upkeep();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn measurements_are_summed_up_again_and_again_without_anybody_asking_for_them() {
        let times = Cell::new(0);
        let upkeep = keep_up_every(Duration::from_millis(1), || times.set(times.get() + 1));
        let enough = async {
            while times.get() < 3 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            () = upkeep => unreachable!("it goes on until it is dropped"),
            () = enough => {}
        }
    }
}
