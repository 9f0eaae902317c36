//! `headwaters serve`: the API and the worker in one process, on two runtimes.
//!
//! *Front* answers the API and keeps leases alive, *work* reads, encodes and writes: a full work runtime can't delay a
//! health check (docs/architecture.md, section 8).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use headwaters_api::{ApiState, Server};
use headwaters_control::{Control, Worker, WorkerExit};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;

use super::credentials::CredentialsFile;
use crate::cli::Serve;
use crate::config::Config;
use crate::exit::CliError;
use crate::place::{self, Directory, with_causes};
use crate::{signal, telemetry};

/// Where it listens when nothing else is said.
const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8480);
/// Threads that answer; answering is small work.
const FRONT_THREADS: usize = 2;
/// How long requests under way may take once the runs have had their own time after the order to stop. What takes longer
/// is cut; docs/api.md says so.
const REQUESTS_DRAIN: Duration = Duration::from_secs(5);

/// Serves until SIGINT or SIGTERM, then drains.
pub(crate) fn run(arguments: Serve, config: &Config) -> Result<(), CliError> {
    let front = runtime(Builder::new_multi_thread().worker_threads(FRONT_THREADS).thread_name("front"))?;
    let work = runtime(Builder::new_multi_thread().thread_name("work"))?;
    let outcome = front.block_on(serve(arguments, config, work.handle().clone()));
    work.shutdown_timeout(REQUESTS_DRAIN);
    front.shutdown_timeout(REQUESTS_DRAIN);
    outcome
}

fn runtime(builder: &mut Builder) -> Result<Runtime, CliError> {
    builder.enable_all().build().map_err(|error| CliError::other(format!("could not start a runtime: {error}")))
}

async fn serve(arguments: Serve, config: &Config, work: tokio::runtime::Handle) -> Result<(), CliError> {
    let metrics = telemetry::start_metrics()?;
    // Ends with the runtime.
    tokio::spawn(telemetry::keep_up(metrics.clone()));
    // What is wrong in the settings is said before anything is made.
    let directory = Directory::named(arguments.place.data, config)?;
    let lake = directory.lake(arguments.stores.lake, config)?;
    let address = config.option(arguments.listen, "listen")?.unwrap_or(DEFAULT_LISTEN);
    place::refuse_wrong_settings(config)?;

    directory.make()?;
    let keys = directory.made_key_ring()?;
    let signing_key = keys.signing_key().to_vec();
    let store = directory.open_store(arguments.stores.store, config, keys).await?;
    let control = place::control(store.clone(), lake, &signing_key, config, work)?;

    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| CliError::other(format!("could not listen on {address}: {error}")))?;
    let address = listener.local_addr().map_err(|error| CliError::other(error.to_string()))?;
    credentials(&control, &directory, &format!("http://{address}")).await?;

    let state = ApiState::limited(control.clone(), Arc::new(move || metrics.render()), place::limits(config)?);
    let outcome = until_stopped(control, Server::new(listener, state), address).await;
    store.close().await;
    outcome
}

/// Makes the first account on a first start; later starts only bring `base_url` up to date.
///
/// The secret is on the disk before the account exists. A start that finds the file and no account was cut short in
/// between the last time, and makes the account of the file.
async fn credentials(control: &Control, directory: &Directory, base_url: &str) -> Result<(), CliError> {
    let path = CredentialsFile::path(directory.path());
    let mut file = match CredentialsFile::read(directory.path())? {
        Some(file) => file,
        None => match control.prepare().await.map_err(|error| CliError::other(with_causes(&error)))? {
            Some(minted) => {
                let file = CredentialsFile::of(&minted, base_url.to_owned()).write_first(directory.path())?;
                super::print(&format!("wrote {}", path.display()))?;
                file
            }
            None => {
                tracing::warn!(path = %path.display(), "the credentials file is gone, and the store keeps only a hash of its secret");
                return Ok(());
            }
        },
    };
    let credentials = file.credentials(directory.path())?;
    control.adopt(&credentials).await.map_err(|error| CliError::other(with_causes(&error)))?;
    if file.base_url == base_url {
        return Ok(());
    }
    base_url.clone_into(&mut file.base_url);
    file.write(directory.path())
}

/// Serves and works; on a signal it stops claiming, gives its runs their time, and what is being answered that time and
/// [`REQUESTS_DRAIN`] more. On a second signal neither gets any more time.
async fn until_stopped(control: Control, server: Server, address: SocketAddr) -> Result<(), CliError> {
    let (stop, hurry) = (CancellationToken::new(), CancellationToken::new());
    let mut orders = signal::Orders::taken();
    let worker = tokio::spawn(Worker::new(control).hurried_by(hurry.clone()).run(stop.clone()));
    let server = tokio::spawn(server.run(stop.clone()));
    super::print(&format!("listening on http://{address}"))?;
    tracing::info!(%address, "serving");
    let worked = both(worker, server, async || orders.next().await, Stopping { stop, hurry }, REQUESTS_DRAIN).await?;
    if worked.cut_short > 0 {
        tracing::warn!(runs = worked.cut_short, "runs were cut short; the next start goes on with them");
    }
    Ok(())
}

/// How worker and server are told to stop.
struct Stopping {
    /// Nothing new is begun, what is under way gets its time.
    stop: CancellationToken,
    /// It gets no more time.
    hurry: CancellationToken,
}

/// Lets worker and server go on until the order to stop. Neither ends by itself while all is well: when one breaks, the
/// other must not go on as if it did not matter. Requests under way get `drain` once the worker has ended, unless a
/// second order comes first.
async fn both(
    mut worker: JoinHandle<WorkerExit>,
    mut server: JoinHandle<()>,
    mut order: impl AsyncFnMut(),
    Stopping { stop, hurry }: Stopping,
    drain: Duration,
) -> Result<WorkerExit, CliError> {
    tokio::select! {
        () = order() => tracing::info!("stopping: requests and runs under way get their time; a second signal ends it"),
        ended = &mut worker => return Err(broken("the worker", ended.err())),
        ended = &mut server => return Err(broken("the listener", ended.err())),
    }
    stop.cancel();
    let worked = tokio::select! {
        worked = &mut worker => worked,
        () = order() => {
            tracing::info!("stopping at once: runs under way are cut short and handed over");
            hurry.cancel();
            worker.await
        }
    };
    let worked = worked.map_err(|error| broken("the worker", Some(error)))?;
    // A client that keeps its connection open must not keep the process alive.
    let drain = if hurry.is_cancelled() { Duration::ZERO } else { drain };
    match tokio::time::timeout(drain, &mut server).await {
        Ok(Err(error)) => Err(broken("the listener", Some(error))),
        Ok(Ok(())) => Ok(worked),
        Err(_) => {
            server.abort();
            Ok(worked)
        }
    }
}

fn broken(what: &str, error: Option<JoinError>) -> CliError {
    let why = error.map_or_else(|| "it ended by itself".to_owned(), |error| error.to_string());
    CliError::other(format!("{what} broke: {why}")).with_hint("the log tells more; a restart goes on with all runs")
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    const DRAIN: Duration = Duration::from_millis(10);

    impl Stopping {
        fn new() -> Self {
            Self { stop: CancellationToken::new(), hurry: CancellationToken::new() }
        }
    }

    async fn never() {
        pending().await
    }

    fn worker_until(stop: &CancellationToken) -> JoinHandle<WorkerExit> {
        let stop = stop.clone();
        tokio::spawn(async move {
            stop.cancelled().await;
            WorkerExit { cut_short: 0 }
        })
    }

    #[tokio::test]
    async fn when_the_worker_breaks_the_server_does_not_go_on_alone() {
        let worker = tokio::spawn(async { panic!("on purpose") });
        let ended = both(worker, tokio::spawn(pending()), never, Stopping::new(), DRAIN).await;
        let error = ended.unwrap_err();
        assert!(error.message.starts_with("the worker broke"), "{error}");
    }

    #[tokio::test]
    async fn when_the_listener_ends_by_itself_the_worker_does_not_go_on_alone() {
        let stopping = Stopping::new();
        let ended = both(worker_until(&stopping.stop), tokio::spawn(ready(())), never, stopping, DRAIN).await;
        assert_eq!(ended.unwrap_err().message, "the listener broke: it ended by itself");
    }

    #[tokio::test]
    async fn the_order_to_stop_ends_both_even_if_a_client_never_lets_go() {
        let stopping = Stopping::new();
        let stop = stopping.stop.clone();
        let mut orders = 1;
        let once = async || match orders {
            0 => pending().await,
            _ => orders -= 1,
        };
        let ended = both(worker_until(&stop), tokio::spawn(pending()), once, stopping, DRAIN).await;
        assert_eq!(ended.unwrap(), WorkerExit { cut_short: 0 });
        assert!(stop.is_cancelled());
    }

    #[tokio::test]
    async fn a_second_order_gives_neither_any_more_time() {
        let stopping = Stopping::new();
        let hurry = stopping.hurry.clone();
        let worker = tokio::spawn(async move {
            hurry.cancelled().await;
            WorkerExit { cut_short: 1 }
        });
        let ended = both(worker, tokio::spawn(pending()), async || {}, stopping, Duration::from_secs(3600)).await;
        assert_eq!(ended.unwrap(), WorkerExit { cut_short: 1 });
    }
}
