//! Runs whose commit may have been made while the lake does not say: they wait, and are never closed in doubt.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use headwaters_model::job::{JobError, Stage};
use headwaters_model::run::RunStatus;
use headwaters_model::source_error::Retry;
use tokio::sync::Notify;

use crate::fakes::{Commit, failure};
use crate::runs::number;
use crate::world::{RunningWorker, World, status};

/// More looks than a run may have attempts.
const LOOKS: usize = 8;

/// A run whose commit breaks while the lake goes away, looked after until its table was asked for many times.
async fn doubted(commit: impl FnOnce(Arc<Notify>) -> Commit) -> (World, RunningWorker) {
    let world = World::start().await;
    let go_on = Arc::new(Notify::new());
    world.executor.on_commit([commit(go_on.clone())]);
    world.flow().await;
    let worker = world.worker();
    world.commits_begun(1).await;
    world.executor.away.store(true, SeqCst);
    go_on.notify_one();
    world.while_time_passes(world.looks(LOOKS)).await;
    (world, worker)
}

async fn attempts(world: &World) -> usize {
    let run = world.run().await;
    world.store.read(&world.caller.scope).await.unwrap().attempts(run.id).await.unwrap().len()
}

#[tokio::test]
async fn a_run_whose_commit_is_in_doubt_waits_for_its_table_without_using_up_its_attempts() {
    let (world, worker) = doubted(Commit::StalledThenAnswerLost).await;
    assert_eq!((status(&world.run().await), attempts(&world).await), (RunStatus::InProgress, 1));
    world.executor.away.store(false, SeqCst);
    let run = world.finished_after_pauses().await;
    worker.stop().await;
    assert_eq!((status(&run), number(&run, "/recordSummary/outputRecordCount")), (RunStatus::Success, Some(3)));
    assert_eq!((world.executor.table().commits, attempts(&world).await), (1, 1));
}

#[tokio::test]
async fn a_run_whose_commit_was_not_made_goes_on_once_its_table_says_so() {
    let lost = JobError::Transient(failure(Stage::Lake, "the lake went away"), Retry::Again);
    let (world, worker) = doubted(|go_on| Commit::StalledThenBreaks(go_on, lost)).await;
    assert_eq!((status(&world.run().await), attempts(&world).await), (RunStatus::InProgress, 1));
    world.executor.away.store(false, SeqCst);
    let run = world.finished_after_pauses().await;
    worker.stop().await;
    assert_eq!((status(&run), world.executor.table().rows), (RunStatus::Success, 3));
    assert_eq!(attempts(&world).await, 2);
}

#[tokio::test]
async fn a_run_in_doubt_is_handed_over_at_a_shutdown_and_gone_on_with() {
    let (world, worker) = doubted(Commit::StalledThenAnswerLost).await;
    worker.stop().await;
    world.executor.away.store(false, SeqCst);
    world.clock.advance(Duration::from_secs(61));
    let next = RunningWorker::start(world.other_process());
    assert_eq!(status(&world.finished().await), RunStatus::Success);
    next.stop().await;
}

#[tokio::test]
async fn a_run_that_can_not_look_before_its_first_commit_uses_up_its_attempts() {
    let world = World::start().await;
    world.executor.away.store(true, SeqCst);
    world.flow().await;
    let worker = world.worker();
    let run = world.finished_after_pauses().await;
    worker.stop().await;
    assert_eq!((status(&run), attempts(&world).await), (RunStatus::Failed, 5));
    let message = &run.body.metrics["statusSummary"]["errors"][0]["message"];
    assert_eq!(message, "the lake does not answer (attempt 5 of 5)");
}
