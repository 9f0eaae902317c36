//! `headwaters copy`: one table into one Delta table, without a server.
//!
//! The same engine as a flow's run, under a mark of its own: a fresh application id, no base, ordinal 1
//! (docs/architecture.md, section 4).

use std::time::{Duration, Instant};

use headwaters_model::flow::RunOptions;
use headwaters_model::job::{
    Committed, Failure, JobError, Landed, ReadRequest, RunEvent, RunJob, Splits, Stage, WriteMode,
};
use headwaters_model::offset::{CommitMark, Ordinal};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::source_argument::SourceArgument;
use crate::cli::{Copy, Mode, Progress, SplitsArgument};
use crate::config::Config;
use crate::exit::CliError;
use crate::progress::Display;
use crate::wire;

/// How many events may wait for the display; the engine never waits for it longer than that.
const EVENTS_WAITING_MAX: usize = 64;

/// Copies the table and prints the result.
pub(crate) async fn run(arguments: Copy, config: &Config) -> Result<(), CliError> {
    let progress = match arguments.progress {
        Some(progress) => progress,
        None => super::parsed::<Progress>(config, "progress")?.unwrap_or_else(Display::default_progress),
    };
    let started = Instant::now();
    let source = SourceArgument::open(&arguments.source)?;
    let job = job(arguments, config, &source)?;
    let engine = wire::engine(config, 1)?;

    let cancel = CancellationToken::new();
    let (events, received) = mpsc::channel(EVENTS_WAITING_MAX);
    let display = tokio::spawn(show(received, Display::start(progress)));
    let outcome = until_interrupted(carry_out(&engine, &job, events, cancel.clone()), &cancel).await;
    // Every sender is gone by now, so the display has come to its end.
    let display = display.await.map_err(|error| CliError::other(format!("the progress display broke: {error}")))?;
    display.finish();

    let (landed, committed) = outcome?;
    let result = Outcome { landed, committed, seconds: started.elapsed().as_secs_f64() };
    super::print(&if progress == Progress::Json { result.json().to_string() } else { result.sentence() })
}

fn job(arguments: Copy, config: &Config, source: &SourceArgument) -> Result<RunJob, CliError> {
    let splits = config.option(arguments.splits, "splits")?.unwrap_or(SplitsArgument(Splits::Auto)).0;
    let mode = match arguments.mode {
        Some(mode) => mode,
        None => super::parsed::<Mode>(config, "mode")?.unwrap_or(Mode::Overwrite),
    };
    Ok(RunJob {
        flow: None,
        source: source.access.clone(),
        read: ReadRequest { table: arguments.table, columns: arguments.columns, filter: None, delta: None, splits },
        location: wire::table_location(&arguments.to)?,
        mode: match mode {
            Mode::Overwrite => WriteMode::Overwrite,
            Mode::Append => WriteMode::Append,
        },
        mark: CommitMark { app_id: Uuid::now_v7().to_string(), base: None, ordinal: Ordinal::FIRST },
        batch: None,
        options: RunOptions::default(),
        resume: None,
        readers_max: None,
    })
}

/// Lands and commits; a copy tolerates no rejected row, so with one nothing is committed.
async fn carry_out(
    engine: &headwaters_engine::Engine,
    job: &RunJob,
    events: mpsc::Sender<RunEvent>,
    cancel: CancellationToken,
) -> Result<(Landed, Committed), JobError> {
    let landed = engine.land(job.clone(), events, cancel).await?;
    if landed.totals.rows_rejected > 0 {
        engine.discard(job, &landed).await;
        let message = format!(
            "{} of {} rows could not be landed, and a copy leaves out none",
            landed.totals.rows_rejected, landed.totals.rows_in
        );
        let hint = "rows over the row limit (65 MiB) are rejected; leave their wide column out with --columns";
        return Err(JobError::Definite(Failure { stage: Stage::Data, message, hint: Some(hint.to_owned()) }));
    }
    match engine.commit(job, &landed, &job.mark).await {
        Ok(committed) => Ok((landed, committed)),
        Err(error) => {
            // After a transient error nobody knows whether the commit was made; its files must stay.
            if matches!(error, JobError::Definite(_)) {
                engine.discard(job, &landed).await;
            }
            Err(error)
        }
    }
}

/// Runs the work; on SIGINT or SIGTERM it is told to stop, and its own answer is awaited, so that queries are killed
/// and uploads aborted before the process ends.
async fn until_interrupted<T>(
    work: impl Future<Output = Result<T, JobError>>,
    cancel: &CancellationToken,
) -> Result<T, CliError> {
    tokio::pin!(work);
    tokio::select! {
        done = &mut work => Ok(done?),
        () = crate::signal::stop() => {
            cancel.cancel();
            // Who asks twice does not want to wait for the tidying up.
            tokio::select! {
                done = &mut work => Ok(done?),
                () = crate::signal::stop() => Err(JobError::Cancelled.into()),
            }
        }
    }
}

async fn show(mut events: mpsc::Receiver<RunEvent>, mut display: Display) -> Display {
    let mut beat = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(event) => display.take(&event),
                None => return display,
            },
            _ = beat.tick() => display.beat(),
        }
    }
}

/// What the last line says.
struct Outcome {
    landed: Landed,
    committed: Committed,
    seconds: f64,
}

impl Outcome {
    /// The keys of product.md, "Command line".
    fn json(&self) -> Value {
        let totals = self.landed.totals;
        json!({
            "rows": totals.rows_out,
            "bytes_in": totals.bytes_in,
            "bytes_out": totals.bytes_out,
            "files": self.landed.files.len(),
            "seconds": (self.seconds * 1000.0).round() / 1000.0,
            "version": self.committed.version,
            "diagnostics": self.landed.diagnostics,
            "notes": self.landed.notes,
        })
    }

    fn sentence(&self) -> String {
        let totals = self.landed.totals;
        let version = self.committed.version.map_or_else(|| "unchanged".to_owned(), |version| version.to_string());
        let mut text = format!(
            "{} rows, {} bytes in, {} bytes out, {} files, {:.1} seconds, version {version}",
            totals.rows_out,
            totals.bytes_in,
            totals.bytes_out,
            self.landed.files.len(),
            self.seconds,
        );
        for diagnostic in self.landed.diagnostics.entries() {
            let raw: Vec<&str> = diagnostic.samples.iter().take(3).map(|sample| sample.raw.as_str()).collect();
            let reason = json!(diagnostic.reason);
            text.push_str(&format!(
                "\n  column {}: {} values {} -> {} (e.g. {})",
                diagnostic.column,
                diagnostic.count,
                reason.as_str().unwrap_or_default(),
                diagnostic.action,
                raw.join(", "),
            ));
        }
        for note in &self.landed.notes {
            text.push_str(&format!("\n  note: {note}"));
        }
        text
    }
}
