//! Runs whose worker dies, stalls or loses its lease: every row lands once all the same.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use headwaters_control::Settings;
use headwaters_model::batch::BatchStatus;
use headwaters_model::data_set::DataSet;
use headwaters_model::etag::Precondition;
use headwaters_model::job::{JobError, Stage};
use headwaters_model::page::ListQuery;
use headwaters_model::run::RunStatus;
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::fakes::{Commit, Land, failure};
use crate::runs::{batches, error_code, number, text};
use crate::world::{RunningWorker, World, quick, status};

#[tokio::test]
async fn an_answer_that_got_lost_is_found_in_the_table() {
    let world = World::start().await;
    world.executor.on_commit([Commit::AnswerLost]);
    world.flow().await;
    let worker = world.worker();
    let run = world.finished_after_pauses().await;
    worker.stop().await;
    assert_eq!((status(&run), number(&run, "/recordSummary/outputRecordCount")), (RunStatus::Success, Some(3)));
    assert_eq!((world.executor.table().commits, world.executor.table().rows), (1, 3));
    assert_eq!(world.executor.landings.load(Ordering::SeqCst), 1, "nothing is read twice");
    assert_eq!(batches(&world).await[0].body.table_version, Some(0));
}

#[tokio::test]
async fn a_crash_while_landing_leaves_the_run_to_the_next_worker() {
    let world = World::start().await;
    world.executor.on_land([Land::UntilCancelled]);
    world.flow().await;
    let first = world.worker();
    world.landings(1).await;
    first.kill().await;
    assert_eq!(world.executor.table().commits, 0);

    world.let_leases_end();
    let second = RunningWorker::start(world.other_process());
    let run = world.finished().await;
    second.stop().await;
    assert_eq!((status(&run), world.executor.table().rows), (RunStatus::Success, 3));
}

#[tokio::test]
async fn a_crash_before_the_commit_is_repeated_and_its_pending_offset_never_promoted() {
    let world = World::start().await;
    world.executor.on_commit([Commit::Stalled(Arc::default())]);
    let flow = world.flow().await;
    let first = world.worker();
    world.commits_begun(1).await;
    let data_set = world.control.list::<DataSet>(&world.caller, &ListQuery::all()).await.unwrap().items[0].id.clone();
    let pending =
        async || world.store.read(&world.caller.scope).await.unwrap().pending(flow.id, &data_set).await.unwrap();
    assert_eq!(pending().await.len(), 1);
    first.kill().await;

    world.let_leases_end();
    let second = RunningWorker::start(world.other_process());
    let run = world.finished().await;
    second.stop().await;
    assert_eq!((status(&run), world.executor.table().commits), (RunStatus::Success, 1));
    let mut tx = world.store.read(&world.caller.scope).await.unwrap();
    assert_eq!(tx.offset(flow.id, &data_set).await.unwrap().unwrap().ordinal.unwrap().0, 2);
    assert!(pending().await.is_empty(), "the first attempt's offset is gone with its base");
}

#[tokio::test]
async fn a_crash_after_the_commit_lands_every_row_once() {
    let world = World::start().await;
    // The commit is made, then the worker stands still for ever: it dies before it can settle.
    let go_on = Arc::new(Notify::new());
    world.executor.on_commit([Commit::MadeThenStalled(go_on)]);
    world.flow().await;
    let first = world.worker();
    while world.executor.table().commits == 0 {
        sleep(Duration::from_millis(5)).await;
    }
    first.kill().await;
    assert_eq!(status(&world.run().await), RunStatus::InProgress);

    world.let_leases_end();
    let second = RunningWorker::start(world.other_process());
    let run = world.finished().await;
    second.stop().await;
    assert_eq!((status(&run), number(&run, "/recordSummary/outputRecordCount")), (RunStatus::Success, Some(3)));
    assert_eq!((world.executor.table().commits, world.executor.table().rows), (1, 3));
    assert_eq!(world.executor.landings.load(Ordering::SeqCst), 1, "nothing is read twice");
    assert_eq!(batches(&world).await[0].body.files.len(), 1, "the batch tells what was noted before the commit");
}

#[tokio::test]
async fn a_stalled_attempt_that_wakes_up_after_its_successor_commits_nothing() {
    let world = World::start().await;
    let go_on = Arc::new(Notify::new());
    world.executor.on_commit([Commit::Stalled(go_on.clone()), Commit::Answered]);
    world.flow().await;
    let first = world.worker();
    world.commits_begun(1).await;
    // The first worker is alive, but the others believe it dead.
    world.let_leases_end();
    let second = RunningWorker::start(world.other_process());
    let run = world.finished().await;
    assert_eq!(status(&run), RunStatus::Success);
    go_on.notify_one();
    first.stop().await;
    second.stop().await;
    assert_eq!((world.executor.table().commits, world.executor.table().rows), (1, 3));
    assert_eq!(world.finished().await, run, "the late attempt changes nothing");
}

#[tokio::test]
async fn a_stalled_attempt_that_commits_before_its_successor_is_the_one_that_counts() {
    let world = World::start().await;
    let (first_goes, second_goes) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    world.executor.on_commit([Commit::Stalled(first_goes.clone()), Commit::Stalled(second_goes.clone())]);
    world.executor.on_land([Land::Rows(3, 0), Land::Rows(4, 0)]);
    let flow = world.flow().await;
    let first = world.worker();
    world.commits_begun(1).await;
    world.let_leases_end();
    let second = RunningWorker::start(world.other_process());
    world.commits_begun(2).await;
    first_goes.notify_one();
    let run = world.finished().await;
    second_goes.notify_one();
    second.stop().await;
    first.stop().await;
    assert_eq!((status(&run), number(&run, "/recordSummary/outputRecordCount")), (RunStatus::Success, Some(3)));
    assert_eq!((world.executor.table().commits, world.executor.table().rows), (1, 3));
    let data_set = world.control.list::<DataSet>(&world.caller, &ListQuery::all()).await.unwrap().items[0].id.clone();
    let offset = world.store.read(&world.caller.scope).await.unwrap().offset(flow.id, &data_set).await.unwrap();
    assert_eq!(offset.unwrap().ordinal.unwrap().0, 1, "the offset is that of the commit in the table");
}

#[tokio::test]
async fn a_stalled_attempt_that_breaks_does_not_close_the_run_of_its_successor() {
    // With room for one run the first worker can not become its own successor.
    let world = World::with(Settings { runs_at_once: 1, ..quick() }).await;
    let (first_goes, second_goes) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let refused = JobError::Definite(failure(Stage::Lake, "no space left below file:///lake"));
    world.executor.on_commit([Commit::StalledThenBreaks(first_goes.clone(), refused)]);
    world.executor.on_land([Land::Rows(3, 0), Land::Stalled(second_goes.clone())]);
    world.flow().await;
    let first = world.worker();
    world.commits_begun(1).await;
    world.let_leases_end();
    let second = RunningWorker::start(world.other_process());
    world.landings(2).await;
    first_goes.notify_one();
    first.stop().await;
    assert_eq!(status(&world.run().await), RunStatus::InProgress, "only the attempt has failed");
    second_goes.notify_one();
    let run = world.finished().await;
    second.stop().await;
    assert_eq!((status(&run), world.executor.table().rows), (RunStatus::Success, 3));
    let attempts = world.store.read(&world.caller.scope).await.unwrap().attempts(run.id).await.unwrap();
    let errors: Vec<_> = attempts.iter().map(|attempt| attempt.error.as_deref()).collect();
    assert_eq!(errors, [Some("no space left below file:///lake"), None]);
}

#[tokio::test]
async fn a_run_that_was_cancelled_during_its_commit_asks_the_table_when_the_answer_is_lost() {
    let world = World::start().await;
    let go_on = Arc::new(Notify::new());
    world.executor.on_commit([Commit::StalledThenAnswerLost(go_on.clone())]);
    let flow = world.flow().await;
    let worker = world.worker();
    world.commits_begun(1).await;
    world.control.delete_flow(&world.caller, &flow.id.to_string(), Precondition::None).await.unwrap();
    assert_eq!(status(&world.run().await), RunStatus::Failed);
    go_on.notify_one();
    let run = world.run_when(|run| status(run) == RunStatus::Success).await;
    worker.stop().await;
    assert_eq!((world.executor.table().rows, number(&run, "/recordSummary/outputRecordCount")), (3, Some(3)));
    assert_eq!(batches(&world).await[0].body.status, BatchStatus::Success);
}

#[tokio::test]
async fn a_worker_that_loses_its_lease_stops_its_work() {
    let world = World::with(Settings { lease: Duration::from_millis(300), ..quick() }).await;
    world.executor.on_land([Land::UntilCancelled]);
    world.flow().await;
    let first = world.worker();
    world.landings(1).await;
    let second = RunningWorker::start(world.other_process());
    // As if the first worker slept through its heartbeats.
    while world.executor.landings.load(Ordering::SeqCst) < 2 {
        world.clock.advance(Duration::from_secs(1));
        sleep(Duration::from_millis(20)).await;
    }
    let run = world.finished().await;
    assert_eq!(status(&run), RunStatus::Success);
    assert_eq!(first.stop().await.cut_short, 0, "it has noticed and stopped");
    second.stop().await;
    assert_eq!((world.executor.table().commits, world.executor.table().rows), (1, 3));
}

#[tokio::test]
async fn a_table_whose_marks_nobody_can_explain_stops_the_run() {
    let world = World::start().await;
    world.executor.mark_by_somebody_else(&world.flow().await.id.to_string(), 7);
    let worker = world.worker();
    let run = world.finished().await;
    worker.stop().await;
    assert_eq!((status(&run), error_code(&run)), (RunStatus::Failed, "CONNECTOR-3001-500"));
    assert!(text(&run, "/statusSummary/errors/0/message").contains("it has 7, expected none"));
    assert_eq!(world.executor.landings.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_run_that_kills_its_process_again_and_again_is_given_up() {
    let world = World::start().await;
    world.executor.on_land((0..10).map(|_| Land::UntilCancelled));
    world.flow().await;
    for attempt in 1..=5 {
        let worker = RunningWorker::start(world.other_process());
        world.landings(attempt).await;
        worker.kill().await;
        world.let_leases_end();
    }
    let worker = RunningWorker::start(world.other_process());
    let run = world.finished().await;
    worker.stop().await;
    assert_eq!(status(&run), RunStatus::Failed);
    assert!(text(&run, "/statusSummary/errors/0/message").contains("in 5 attempts"));
}
