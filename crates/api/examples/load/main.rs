//! How quick lists and reads are over many flows: fills a store, serves the real routes on a port of this machine and
//! measures with clients that keep their connections. `cargo xtask load` builds and runs it.
//!
//! Server, clients and writers share one process and one machine. Where clients ask as often as they are answered, the
//! machine is always busy and the time of an answer says little more than the rate: with 64 clients it is 64 times the
//! time of one. Where a rate is named, requests are sent when they are due, however long the ones before take.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "talking to the person at the terminal is what it is for"
)]

mod client;
mod fill;
mod measure;
mod nowhere;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use headwaters_api::{ApiState, Server};
use headwaters_control::{Control, Ports, Settings};
use headwaters_store::{KeyRing, Store};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::client::Access;
use crate::fill::Filled;
use crate::nowhere::{Monotonic, Nowhere};

type Error = Box<dyn std::error::Error + Send + Sync>;

const HELP: &str = "\
Measures lists and reads over many flows

  --flows N        flows, and as many runs [100000]
  --clients N      connections that ask at the same time [64]
  --seconds N      how long each question is asked [5]
  --only TEXT      only the questions whose name holds this text
  --output json    one JSON document instead of a table";

/// What is asked for at the command line.
struct Arguments {
    flows: usize,
    clients: usize,
    seconds: u64,
    only: String,
    json: bool,
}

impl Arguments {
    fn read(mut words: impl Iterator<Item = String>) -> Result<Self, Error> {
        let mut read = Self { flows: 100_000, clients: 64, seconds: 5, only: String::new(), json: false };
        while let Some(word) = words.next() {
            let value = words.next().ok_or_else(|| format!("no value after {word}\n\n{HELP}"))?;
            match word.as_str() {
                "--flows" => read.flows = value.parse()?,
                "--clients" => read.clients = value.parse()?,
                "--seconds" => read.seconds = value.parse()?,
                "--only" => read.only = value,
                "--output" if value == "json" => read.json = true,
                _ => return Err(format!("not understood: {word} {value}\n\n{HELP}").into()),
            }
        }
        Ok(read)
    }
}

fn main() -> ExitCode {
    if std::env::args().any(|word| word == "--help") {
        println!("{HELP}");
        return ExitCode::SUCCESS;
    }
    let outcome = Arguments::read(std::env::args().skip(1)).and_then(|arguments| {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(run(&arguments))
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<(), Error> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("headwaters.db");
    let store = Store::open(&format!("sqlite://{}", path.display()), KeyRing::generate()?).await?;
    let ports = Ports { sources: Arc::new(Nowhere), executor: Arc::new(Nowhere), lakes: Arc::new(Nowhere) };
    let control = Control::new(store.clone(), ports, Arc::new(Monotonic::default()), &[7; 32], Settings::default())?;
    let credentials = control.prepare().await?.ok_or("the store is not new")?;
    control.adopt(&credentials).await?;

    let started = Instant::now();
    let filled = Filled::fill(&store, &credentials, arguments.flows).await?;
    let megabytes = std::fs::metadata(&path)?.len() >> 20;
    eprintln!("{} flows stored in {:.1} s, {megabytes} MiB", arguments.flows, started.elapsed().as_secs_f64());

    let state = ApiState::new(control, Arc::new(String::new));
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    let address = listener.local_addr()?;
    let stop = CancellationToken::new();
    let server = tokio::spawn(Server::new(listener, state).run(stop.clone()));

    let access = Access::log_in(address, &credentials).await?;
    let questions = measure::questions(&access, &filled).await?;
    let mut measured = Vec::new();
    for question in questions.into_iter().filter(|question| question.name.contains(&arguments.only)) {
        let time = Duration::from_secs(arguments.seconds);
        measured.push(measure::ask(&access, &filled, question, arguments.clients, time).await?);
        if let (Some(last), false) = (measured.last(), arguments.json) {
            if measured.len() == 1 {
                println!("{}", measure::Measured::HEADING);
            }
            println!("{last}");
        }
    }
    if arguments.json {
        let rows: Vec<_> = measured.iter().map(measure::Measured::json).collect();
        let document = serde_json::json!({ "flows": arguments.flows, "clients": arguments.clients, "measured": rows });
        println!("{document:#}");
    }
    stop.cancel();
    server.await?;
    store.close().await;
    Ok(())
}
