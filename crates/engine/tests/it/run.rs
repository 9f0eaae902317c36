//! One job from its plan to its commit.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use headwaters_engine::{Budget, Engine};
use headwaters_model::flow::RunOptions;
use headwaters_model::id::{BatchId, FlowId, RunId};
use headwaters_model::job::{
    Committed, JobError, Landed, ReadRequest, RunEvent, RunJob, SourceAccess, Splits, Stage, WriteMode,
};
use headwaters_model::offset::{CommitMark, Ordinal};
use serde_json::{Map, Value};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::fake::{Deed, FakeSource, SPEC, Table};

/// What a run of a fake table into a fresh folder needs.
pub(crate) struct World {
    pub(crate) source: FakeSource,
    pub(crate) engine: Engine,
    pub(crate) folder: TempDir,
    pub(crate) cancel: CancellationToken,
}

impl World {
    pub(crate) fn new(table: Table, budget: Budget) -> Self {
        let source = FakeSource::new(table);
        let engine = Engine::new(vec![Arc::new(source.clone())], budget);
        Self { source, engine, folder: TempDir::new().unwrap(), cancel: CancellationToken::new() }
    }

    fn of(deeds: Vec<Deed>) -> Self {
        let table = Table { deeds, batches_per_split: 4, rows_per_batch: 100, value_bytes: 20 };
        Self::new(table, Budget::divide(128 << 20, 2))
    }

    pub(crate) fn job(&self) -> RunJob {
        RunJob {
            flow: Some((FlowId::mint(), RunId::mint())),
            source: SourceAccess { spec: SPEC, auth_spec: String::new(), params: Map::new(), secrets: Vec::new() },
            read: ReadRequest { table: "t".to_owned(), columns: None, filter: None, delta: None, splits: Splits::Auto },
            location: format!("file://{}/t", self.folder.path().display()),
            mode: WriteMode::Append,
            mark: CommitMark { app_id: "app".to_owned(), base: None, ordinal: Ordinal::FIRST },
            batch: Some(BatchId::mint()),
            options: RunOptions::default(),
            resume: None,
            readers_max: None,
        }
    }

    /// Lands, and collects the events.
    pub(crate) async fn land(&self, job: &RunJob) -> (Result<Landed, JobError>, Vec<RunEvent>) {
        let (sender, mut receiver) = mpsc::channel(4);
        let events = tokio::spawn(async move {
            let mut events = Vec::new();
            while let Some(event) = receiver.recv().await {
                events.push(event);
            }
            events
        });
        let landed =
            tokio::time::timeout(Duration::from_secs(60), self.engine.land(job.clone(), sender, self.cancel.clone()));
        (landed.await.expect("a run must end"), events.await.unwrap())
    }

    /// The same with an engine over what the source shows now.
    pub(crate) fn with_source_of_today(self) -> Self {
        let engine = Engine::new(vec![Arc::new(self.source.clone())], Budget::divide(128 << 20, 1));
        Self { engine, ..self }
    }

    /// What lies in the table's folder.
    pub(crate) fn left(&self) -> Vec<String> {
        names(&self.folder.path().join("t"))
    }

    fn all_readers_are_closed(&self) -> bool {
        self.source.seen.opened.load(Ordering::SeqCst) == self.source.seen.closed.load(Ordering::SeqCst)
    }
}

fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_of_every_split_lands_once_and_is_committed_once() {
    let world = World::of(vec![Deed::Reads; 5]);
    let job = world.job();
    assert_eq!(world.engine.applied(&job.location, "app").await.unwrap(), None);

    let (landed, events) = world.land(&job).await;
    let landed = landed.unwrap();
    assert_eq!(landed.totals.rows_in, 2000);
    assert_eq!(landed.totals.rows_out, 2000);
    assert_eq!(landed.files.iter().map(|file| file.rows).sum::<u64>(), 2000);
    assert_eq!(landed.files.iter().map(|file| file.size_bytes).sum::<u64>(), landed.totals.bytes_out);
    assert_eq!(landed.files.len(), 5, "each split has files of its own");
    assert_eq!(landed.notes, ["read by a fake"]);
    assert_eq!(landed.diagnostics.count(), 5);
    assert!(!world.left().contains(&"_delta_log".to_owned()), "nothing is visible yet");

    assert_eq!(events[0], RunEvent::Planned { splits: 5, readers: 2, rows_estimate: Some(42), frozen: None });
    assert_eq!(events.last(), Some(&RunEvent::Progress(landed.totals)));
    let mut splits: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            RunEvent::SplitLanded(landed) if landed.totals.rows_out == 400 => Some(landed.split),
            _ => None,
        })
        .collect();
    splits.sort_unstable();
    assert_eq!(splits, [0, 1, 2, 3, 4]);

    let made = world.engine.commit(&job, &landed, &job.mark).await.unwrap();
    assert_eq!(made, Committed { version: Some(0), ordinal: Some(Ordinal(1)) });
    assert_eq!(world.engine.applied(&job.location, "app").await.unwrap(), Some(Ordinal(1)));
    assert_eq!(world.engine.commit(&job, &landed, &job.mark).await.unwrap(), made, "a repeated call changes nothing");

    let entry = fs::read_to_string(world.folder.path().join("t/_delta_log/00000000000000000000.json")).unwrap();
    let info: Value = serde_json::from_str(entry.lines().next().unwrap()).unwrap();
    let (flow, run) = job.flow.unwrap();
    assert_eq!(info["commitInfo"]["flow"], flow.to_string());
    assert_eq!(info["commitInfo"]["run"], run.to_string());
    assert_eq!(info["commitInfo"]["batch"], job.batch.unwrap().to_string());
    assert!(world.all_readers_are_closed());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_biggest_splits_are_read_first() {
    let world = World::new(
        Table { deeds: vec![Deed::Reads; 6], batches_per_split: 1, rows_per_batch: 10, value_bytes: 1 },
        Budget::divide(24 << 20, 1),
    );
    world.land(&world.job()).await.0.unwrap();
    assert_eq!(*world.source.seen.order.lock().unwrap(), [5, 4, 3, 2, 1, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_stops_the_others_and_leaves_nothing() {
    // One split is landed first, one breaks, one waits for ever unless it is stopped.
    let world = World::of(vec![Deed::Breaks, Deed::Hangs, Deed::Reads]);
    let (landed, _) = world.land(&world.job()).await;
    let JobError::Transient(failure, _) = landed.unwrap_err() else { panic!("not transient") };
    assert_eq!((failure.stage, failure.message.as_str()), (Stage::Source, "lost the connection to the fake"));
    assert_eq!(world.left(), Vec::<String>::new());
    assert!(world.all_readers_are_closed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_run_leaves_nothing() {
    let world = World::of(vec![Deed::Hangs, Deed::Hangs, Deed::Reads]);
    let cancel = world.cancel.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(200)).await;
        cancel.cancel();
    });
    let (landed, _) = world.land(&world.job()).await;
    assert_eq!(landed.unwrap_err(), JobError::Cancelled);
    assert_eq!(world.left(), Vec::<String>::new());
    assert!(world.all_readers_are_closed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_cancelled_before_it_began_does_nothing() {
    let world = World::of(vec![Deed::Reads; 3]);
    world.cancel.cancel();
    assert_eq!(world.land(&world.job()).await.0.unwrap_err(), JobError::Cancelled);
    assert_eq!(world.left(), Vec::<String>::new());
    assert!(world.all_readers_are_closed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_of_the_lake_stops_the_readers_and_is_the_reason_given() {
    let world = World::of(vec![Deed::Garbles, Deed::Hangs]);
    let (landed, _) = world.land(&world.job()).await;
    let JobError::Definite(failure) = landed.unwrap_err() else { panic!("not definite") };
    assert_eq!(failure.stage, Stage::Lake);
    assert!(failure.message.contains("a column is missing"), "{}", failure.message);
    assert_eq!(world.left(), Vec::<String>::new());
    assert!(world.all_readers_are_closed());
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_went_astray_are_an_error_never_a_short_table() {
    let world = World::of(vec![Deed::Reads, Deed::Lies]);
    let (landed, _) = world.land(&world.job()).await;
    let JobError::Transient(failure, _) = landed.unwrap_err() else { panic!("not transient") };
    assert!(failure.message.contains("401 rows of a key range were read but 400 arrived"), "{}", failure.message);
    assert_eq!(world.left(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_with_the_table_is_found_before_a_row_is_read() {
    let world = World::of(vec![Deed::Reads]);
    let log = world.folder.path().join("t/_delta_log");
    fs::create_dir_all(&log).unwrap();
    let schema =
        r#"{\"type\":\"struct\",\"fields\":[{\"name\":\"id\",\"type\":\"string\",\"nullable\":true,\"metadata\":{}}]}"#;
    let entry = format!(
        "{{\"protocol\":{{\"minReaderVersion\":1,\"minWriterVersion\":2}}}}\n{{\"metaData\":{{\"id\":\"x\",\"format\":{{\"provider\":\
         \"parquet\",\"options\":{{}}}},\"schemaString\":\"{schema}\",\"partitionColumns\":[],\"configuration\":{{}}}}}}\n"
    );
    fs::write(log.join("00000000000000000000.json"), entry).unwrap();
    let (landed, _) = world.land(&world.job()).await;
    let JobError::Definite(failure) = landed.unwrap_err() else { panic!("not definite") };
    assert!(failure.message.contains("column id is long in the source but string in the table"), "{}", failure.message);
    assert!(world.source.seen.order.lock().unwrap().is_empty());
    assert!(world.all_readers_are_closed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_without_rows_is_made_empty() {
    let world = World::new(
        Table { deeds: vec![Deed::Reads], batches_per_split: 0, rows_per_batch: 0, value_bytes: 0 },
        Budget::for_cores(2),
    );
    let job = world.job();
    let landed = world.land(&job).await.0.unwrap();
    assert!(landed.files.is_empty());
    let made = world.engine.commit(&job, &landed, &job.mark).await.unwrap();
    assert_eq!(made, Committed { version: Some(0), ordinal: None });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spec_that_nobody_serves_is_a_definite_error() {
    let world = World::of(vec![Deed::Reads]);
    let mut job = world.job();
    job.source.spec = headwaters_model::id::SpecId::fixed(8);
    let JobError::Definite(failure) = world.land(&job).await.0.unwrap_err() else { panic!("not definite") };
    assert_eq!(failure.stage, Stage::Source);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_place_of_the_lake_can_be_probed() {
    let world = World::of(vec![]);
    world.engine.probe(&world.job().location).await.unwrap();
    let JobError::Definite(failure) = world.engine.probe("s3://bucket/t").await.unwrap_err() else { panic!() };
    assert_eq!(failure.stage, Stage::Lake);
}
