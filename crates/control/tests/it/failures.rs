//! A source that fails in its own ways: what the attempts of a run have taught reaches the ones that follow, also after
//! the process has died (mysql-sources.md 16).

use headwaters_model::job::{JobError, Splits, Stage};
use headwaters_model::run::RunStatus;
use headwaters_model::source_error::Retry;
use serde_json::Value;

use crate::fakes::{Land, failure};
use crate::world::{RunningWorker, World, status};

fn broken(retry: Retry) -> JobError {
    JobError::Transient(failure(Stage::Source, "db:3306 answered with an error"), retry)
}

/// How many attempts of the run have ended in an error.
fn broken_attempts(metrics: &Value) -> usize {
    let attempts = metrics["statusSummary"]["extensions"]["attempts"].as_array();
    attempts.map_or(0, |attempts| attempts.iter().filter(|attempt| attempt.get("error").is_some()).count())
}

#[tokio::test]
async fn what_may_happen_once_is_remembered_by_the_next_process() {
    let world = World::start().await;
    let killed = || Land::Breaks(broken(Retry::Once(1317)));
    world.executor.on_land([killed(), killed()]);
    world.flow().await;
    let first = world.worker();
    world.run_when(|run| broken_attempts(&run.body.metrics) == 1).await;
    first.kill().await;

    world.let_leases_end();
    let second = RunningWorker::start(world.other_process());
    let run = world.finished_after_pauses().await;
    second.stop().await;
    assert_eq!((status(&run), broken_attempts(&run.body.metrics)), (RunStatus::Failed, 2));
    assert!(run.document().to_string().contains("for the second time in this run"), "{}", run.document());
}

#[tokio::test]
async fn an_attempt_reads_more_gently_than_the_ones_that_were_too_much() {
    let world = World::start().await;
    let ways = [Retry::FewerReaders, Retry::SmallerSplits, Retry::Lighter];
    world.executor.on_land(ways.map(|retry| Land::Breaks(broken(retry))));
    world.flow().await;
    let worker = world.worker();
    let run = world.finished_after_pauses().await;
    worker.stop().await;
    assert_eq!((status(&run), world.executor.table().rows), (RunStatus::Success, 3), "{}", run.document());
    assert_eq!(*world.executor.readers.lock().unwrap(), [None, Some(2), Some(2), Some(1)]);
    let splits: Vec<Splits> = world.executor.reads.lock().unwrap().iter().map(|read| read.splits).collect();
    assert_eq!(splits, [Splits::Auto, Splits::Auto, Splits::Finer(4), Splits::Finer(16)]);
}

#[tokio::test]
async fn a_connection_that_is_always_lost_midway_leads_to_the_suspicion_of_a_row() {
    let world = World::start().await;
    world.executor.on_land((0..5).map(|_| Land::BreaksAfter(7, broken(Retry::Reconnect))));
    world.flow().await;
    let worker = world.worker();
    let run = world.finished_after_pauses().await;
    worker.stop().await;
    assert_eq!((status(&run), broken_attempts(&run.body.metrics)), (RunStatus::Failed, 5));
    let told = run.document().to_string();
    assert!(told.contains("(attempt 5 of 5)") && told.contains("max_allowed_packet"), "{told}");
}
