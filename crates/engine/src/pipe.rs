//! The pipelines of a job: per connection one reader task and one encoder task with a short channel between them.
//!
//! ```text
//! queue of splits, biggest first
//!   ├── reader 1 ── batches ──> encoder 1 ──> files
//!   └── reader 2 ── batches ──> encoder 2 ──> files
//! ```
//!
//! **Invariant.** The files of a split are finished only after its reader has returned `Ok` for it: the totals travel
//! beside the batches, and an encoder that doesn't get them aborts the writer. The first error is the one that is
//! reported; it stops all other pipelines, and then no file is left; unless another attempt goes on with the plan: then
//! finished splits stay, and each is told with its files as soon as they are finished.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use headwaters_lake::contract::{SplitWriter, Table};
use headwaters_lake::crash::{CrashPoint, point as crash};
use headwaters_model::diagnostic::Diagnostics;
use headwaters_model::job::{JobError, LandedFile, LandedSplit, RunEvent, Totals};
use headwaters_model::verified::Verified;
use headwaters_source::contract::{Batch, Split, SplitReader, SplitTotals};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::budget::CHANNEL_BATCHES;
use crate::errors::{broken, of_lake, of_source};
use crate::events::Progress;
use crate::transform::Transform;
use crate::verify;
use crate::watched;

/// What all pipelines of a job share.
#[derive(Clone)]
pub(crate) struct Line {
    pub(crate) table: Arc<dyn Table>,
    pub(crate) transform: Transform,
    pub(crate) progress: Arc<Progress>,
    /// Whether finished splits stay when another one breaks.
    pub(crate) keep: bool,
    /// Whether each split's files are compared with the server before they are told of.
    pub(crate) verify: bool,
    /// Stops all of them.
    pub(crate) stop: CancellationToken,
    /// Who encodes a batch that is far over the budget (a row of many megabytes) does so alone.
    pub(crate) wide: Arc<Semaphore>,
    /// From this size on a batch is one of those.
    pub(crate) wide_bytes: usize,
}

/// What the pipelines have made.
#[derive(Debug, Default)]
pub(crate) struct Read {
    pub(crate) files: Vec<LandedFile>,
    pub(crate) diagnostics: Diagnostics,
    /// What was compared with the server, where that was asked for.
    pub(crate) verified: Option<Verified>,
}

impl Read {
    fn add(&mut self, part: Self) {
        self.files.extend(part.files);
        self.diagnostics.merge(part.diagnostics);
        if let Some(verified) = part.verified {
            self.verified.get_or_insert_default().add(verified);
        }
    }
}

/// A split on its way from reader to encoder.
struct Feed {
    split: u32,
    batches: mpsc::Receiver<Batch>,
    /// Arrives when the split was read to its end, and only then.
    totals: oneshot::Receiver<SplitTotals>,
}

type Queue = Arc<Mutex<VecDeque<Split>>>;

/// Reads all splits, in this order, with all readers.
pub(crate) async fn run(line: Line, splits: Vec<Split>, readers: Vec<Box<dyn SplitReader>>) -> Result<Read, JobError> {
    let queue: Queue = Arc::new(Mutex::new(splits.into()));

    let mut tasks: JoinSet<(Read, Result<(), JobError>)> = JoinSet::new();
    for reader in readers {
        let (feeds, fed) = mpsc::channel(1);
        let read = read_splits(reader, queue.clone(), feeds, line.stop.clone());
        tasks.spawn(async move { (Read::default(), read.await) }.in_current_span());
        tasks.spawn(land_splits(line.clone(), fed).in_current_span());
    }

    let mut all = Read::default();
    let mut first_error = None;
    while let Some(joined) = tasks.join_next().await {
        let (part, result) = joined.unwrap_or_else(|error| {
            (Read::default(), Err(broken(format!("a part of the run broke, which is a defect: {error}"))))
        });
        all.add(part);
        if let Err(error) = result {
            line.stop.cancel();
            first_error = Some(first_error.map_or(error.clone(), |first| worse(first, error)));
        }
    }
    if first_error.is_none() && !queue.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
        first_error = Some(JobError::Cancelled);
    }
    match first_error {
        None => Ok(all),
        Some(error) if line.keep => Err(error),
        Some(error) => {
            line.table.discard(all.files).await;
            Err(error)
        }
    }
}

/// The first error that is a reason; being stopped is only ever a consequence.
fn worse(first: JobError, later: JobError) -> JobError {
    if first == JobError::Cancelled { later } else { first }
}

/// Reads splits until the queue is empty, one after the other.
async fn read_splits(
    mut reader: Box<dyn SplitReader>,
    queue: Queue,
    feeds: mpsc::Sender<Feed>,
    stop: CancellationToken,
) -> Result<(), JobError> {
    let mut result = Ok(());
    while !stop.is_cancelled() {
        let Some(split) = next(&queue) else { break };
        let (batches, receiver) = mpsc::channel(CHANNEL_BATCHES);
        let (done, totals) = oneshot::channel();
        if feeds.send(Feed { split: split.index, batches: receiver, totals }).await.is_err() {
            // The encoder is gone and has said why.
            result = Err(JobError::Cancelled);
            break;
        }
        match watched::read(split.index, reader.read(&split, &batches)).await {
            Ok(read) => {
                let _ = done.send(read);
            }
            // A reader that was stopped, or whose batches nobody takes any more, may end in any way.
            Err(_) if stop.is_cancelled() || batches.is_closed() => {
                result = Err(JobError::Cancelled);
                break;
            }
            Err(error) => {
                result = Err(of_source(error));
                break;
            }
        }
    }
    // Told before the connection is closed, which may take a moment: the others can stop meanwhile.
    if result.is_err() {
        stop.cancel();
    }
    reader.close().await;
    result
}

fn next(queue: &Queue) -> Option<Split> {
    queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
}

/// Lands splits as they come.
async fn land_splits(line: Line, mut feeds: mpsc::Receiver<Feed>) -> (Read, Result<(), JobError>) {
    let mut landed = Read::default();
    while let Some(feed) = feeds.recv().await {
        match watched::land(feed.split, land_split(&line, feed)).await {
            Ok(part) => landed.add(part),
            Err(error) => {
                line.stop.cancel();
                return (landed, Err(error));
            }
        }
    }
    (landed, Ok(()))
}

/// Lands one split into files of its own.
async fn land_split(line: &Line, mut feed: Feed) -> Result<Read, JobError> {
    let mut writer = line.table.writer().map_err(of_lake)?;
    let arrived = match write_batches(line, &mut feed, writer.as_mut()).await {
        Ok(arrived) => arrived,
        Err(error) => {
            writer.abort().await;
            return Err(error);
        }
    };
    let Ok(totals) = feed.totals.await else {
        // The reader broke off and says why.
        writer.abort().await;
        return Err(JobError::Cancelled);
    };
    let rows = arrived.rows_in;
    if rows != totals.rows {
        writer.abort().await;
        return Err(broken(format!(
            "{} rows of a key range were read but {rows} arrived, which is a defect",
            totals.rows
        )));
    }
    let files = writer.finish().await.map_err(of_lake)?;
    let verified = match verify(line, &files, &totals).await {
        Ok(verified) => verified,
        Err(error) => {
            line.table.discard(files).await;
            return Err(error);
        }
    };
    crash(CrashPoint::PartlyLanded);

    let part = Totals {
        rows_in: totals.rows_rejected,
        rows_out: rows,
        rows_rejected: totals.rows_rejected,
        bytes_in: totals.bytes_in.saturating_sub(arrived.bytes_in),
        bytes_out: files.iter().map(|file| file.size_bytes).sum(),
    };
    line.progress.add(part);
    let whole =
        Totals { rows_in: rows + totals.rows_rejected, bytes_in: totals.bytes_in.max(arrived.bytes_in), ..part };
    let told = LandedSplit {
        split: feed.split,
        files: files.clone(),
        totals: whole,
        diagnostics: totals.diagnostics.clone(),
        verified: verified.clone(),
    };
    line.progress.tell(RunEvent::SplitLanded(told)).await;
    Ok(Read { files, diagnostics: totals.diagnostics, verified })
}

/// Compares the files of a split with what the server says of its rows.
async fn verify(line: &Line, files: &[LandedFile], totals: &SplitTotals) -> Result<Option<Verified>, JobError> {
    match (&totals.checksums, line.verify) {
        (_, false) => Ok(None),
        (None, true) => Ok(Some(Verified::unseen(verify::NOT_SHOWN_TWICE))),
        (Some(sums), true) => verify::check(line.table.as_ref(), files, sums, totals.rows_rejected).await.map(Some),
    }
}

/// Writes batches until the reader has no more; returns what arrived.
async fn write_batches(line: &Line, feed: &mut Feed, writer: &mut dyn SplitWriter) -> Result<Totals, JobError> {
    let mut arrived = Totals::default();
    while let Some(batch) = feed.batches.recv().await {
        if line.stop.is_cancelled() {
            return Err(JobError::Cancelled);
        }
        let part = Totals { rows_in: batch.rows.num_rows() as u64, bytes_in: batch.bytes_in, ..Totals::default() };
        let alone = match batch.rows.get_array_memory_size() >= line.wide_bytes {
            // The semaphore is never closed; without its permit the batch would only be encoded beside another.
            true => line.wide.acquire().await.ok(),
            false => None,
        };
        writer.write(line.transform.apply(batch.rows)).await.map_err(of_lake)?;
        drop(alone);
        arrived.add(part);
        line.progress.add(part);
    }
    Ok(arrived)
}
