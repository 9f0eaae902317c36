//! Commits that are in the table although nobody was told: found and settled later.

use std::sync::Arc;
use std::time::Duration;

use headwaters_model::account::Actor;
use headwaters_model::batch::BatchStatus;
use headwaters_model::etag::Precondition;
use headwaters_model::job::{JobError, Stage};
use headwaters_model::resource::{Resource, State};
use headwaters_model::run::{Run, RunOrigin, RunStatus};
use serde_json::json;
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::fakes::{Commit, Land, failure};
use crate::runs::{batches, number};
use crate::world::{RunningWorker, World, status};

#[tokio::test]
async fn a_commit_that_comes_after_the_run_was_given_up_makes_it_a_success() {
    let world = World::start().await;
    let go_on = Arc::new(Notify::new());
    let refused = JobError::Definite(failure(Stage::Lake, "no space left below file:///lake"));
    world.executor.on_commit([Commit::Stalled(go_on.clone()), Commit::Breaks(refused)]);
    world.flow().await;
    let first = world.worker();
    world.commits_begun(1).await;
    world.let_leases_end();
    let second = RunningWorker::start(world.other_process());
    assert_eq!(status(&world.finished().await), RunStatus::Failed);
    go_on.notify_one();
    let run = world.run_when(|run| status(run) == RunStatus::Success).await;
    first.stop().await;
    second.stop().await;
    assert_eq!((world.executor.table().rows, number(&run, "/recordSummary/outputRecordCount")), (3, Some(3)));
    let mut statuses: Vec<_> =
        batches(&world).await.iter().map(|batch| batch.body.status == BatchStatus::Success).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [false, true], "the failed batch stays, the rows have one of their own");
}

#[tokio::test]
async fn a_commit_whose_worker_died_after_the_flow_was_deleted_is_found_at_the_next_start() {
    let world = World::start().await;
    world.executor.on_commit([Commit::MadeThenStalled(Arc::default())]);
    let flow = world.flow().await;
    let first = world.worker();
    while world.executor.table().commits == 0 {
        sleep(Duration::from_millis(5)).await;
    }
    world.control.delete_flow(&world.caller, &flow.id.to_string(), Precondition::None).await.unwrap();
    first.kill().await;
    let closed = world.run().await;
    assert_eq!(status(&closed), RunStatus::Failed);

    let second = RunningWorker::start(world.other_process());
    let run = world.run_when(|run| status(run) == RunStatus::Success).await;
    assert_eq!(number(&run, "/recordSummary/outputRecordCount"), Some(3));
    assert_eq!(run.body.activities[0]["name"], "MySQL Copy Activity", "all that is told of it was kept");
    assert_eq!(run.body.activities[0]["sourceInfo"][0]["id"], json!(flow.body.source_connection_ids[0]));
    let [batch] = &batches(&world).await[..] else { panic!("one batch") };
    assert_eq!((batch.body.status, batch.body.table_version), (BatchStatus::Success, Some(0)));
    second.stop().await;
    let attempts = world.store.read(&world.caller.scope).await.unwrap().attempts(run.id).await.unwrap();
    assert!(attempts.is_empty(), "what was noted of the flow's attempts goes with the last doubt");
}

#[tokio::test]
async fn what_is_pending_of_a_deleted_flow_and_never_committed_is_forgotten_after_a_day() {
    let world = World::start().await;
    world.executor.on_commit([Commit::Stalled(Arc::default())]);
    let flow = world.flow().await;
    let first = world.worker();
    world.commits_begun(1).await;
    world.control.delete_flow(&world.caller, &flow.id.to_string(), Precondition::None).await.unwrap();
    first.kill().await;
    let left = async || world.store.left_behind(None, 10).await.unwrap().len();
    let second = RunningWorker::start(world.other_process());
    sleep(Duration::from_millis(100)).await;
    second.stop().await;
    assert_eq!(left().await, 1, "a day has not passed");
    world.clock.advance(Duration::from_secs(25 * 3600));
    let third = RunningWorker::start(world.other_process());
    while left().await > 0 {
        sleep(Duration::from_millis(5)).await;
    }
    third.stop().await;
    let run = world.run().await;
    assert_eq!(status(&run), RunStatus::Failed);
    assert!(world.store.read(&world.caller.scope).await.unwrap().attempts(run.id).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_commit_that_comes_after_the_run_of_a_once_flow_was_closed_is_found_at_the_next_start() {
    let world = World::start().await;
    let go_on = Arc::new(Notify::new());
    let refused = JobError::Definite(failure(Stage::Lake, "no space left below file:///lake"));
    // The commit is made by a worker that dies before it can tell.
    world.executor.on_commit([Commit::StalledThenNeverAnswers(go_on.clone()), Commit::Breaks(refused)]);
    world.flow().await;
    let first = world.worker();
    world.commits_begun(1).await;
    world.let_leases_end();
    let second = RunningWorker::start(world.other_process());
    assert_eq!(status(&world.finished().await), RunStatus::Failed);
    second.stop().await;
    go_on.notify_one();
    while world.executor.table().commits == 0 {
        sleep(Duration::from_millis(5)).await;
    }
    first.kill().await;
    assert_eq!(status(&world.run().await), RunStatus::Failed);
    let third = RunningWorker::start(world.other_process());
    let run = world.run_when(|run| status(run) == RunStatus::Success).await;
    third.stop().await;
    assert_eq!((world.executor.table().rows, number(&run, "/recordSummary/outputRecordCount")), (3, Some(3)));
}

#[tokio::test]
async fn rows_that_are_committed_after_a_run_was_settled_without_any_are_told() {
    let world = World::start().await;
    let go_on = Arc::new(Notify::new());
    world.executor.on_commit([Commit::Stalled(go_on.clone())]);
    world.executor.on_land([Land::Rows(3, 0), Land::Rows(0, 0)]);
    world.flow().await;
    let first = world.worker();
    world.commits_begun(1).await;
    world.let_leases_end();
    let second = RunningWorker::start(world.other_process());
    let empty = world.finished().await;
    assert_eq!((status(&empty), number(&empty, "/recordSummary/inputRecordCount")), (RunStatus::Success, Some(0)));
    go_on.notify_one();
    let run = world.run_when(|run| number(run, "/recordSummary/outputRecordCount") == Some(3)).await;
    first.stop().await;
    second.stop().await;
    assert_eq!((status(&run), world.executor.table().rows), (RunStatus::Success, 3));
}

#[tokio::test]
async fn a_later_run_first_settles_what_an_earlier_one_left_in_the_table() {
    let world = World::start().await;
    world.executor.on_commit([Commit::MadeThenStalled(Arc::default())]);
    let flow = world.flow().await;
    let first = world.worker();
    while world.executor.table().commits == 0 {
        sleep(Duration::from_millis(5)).await;
    }
    first.kill().await;

    // The run is given up, by whomever, and another one of the same flow follows.
    let earlier = world.run().await;
    let mut tx = world.store.write(&world.caller.scope).await.unwrap();
    let mut closed = tx.get::<Run>(&earlier.id).await.unwrap().unwrap();
    closed.body.metrics["statusSummary"]["status"] = json!("failed");
    let expected = closed.touch(&Actor::scheduler(), crate::world::NOW_MS);
    tx.replace(&closed, &expected).await.unwrap();
    let body = Run::scheduled(flow.id, flow.body.flow_spec.clone(), None);
    let later =
        Resource::new(world.caller.scope.clone(), State::Enabled, body, &Actor::scheduler(), crate::world::NOW_MS);
    assert!(tx.schedule_run(&later, &RunOrigin::default(), crate::world::NOW_MS, None).await.unwrap());
    tx.commit().await.unwrap();

    let second = RunningWorker::start(world.other_process());
    let finished = async {
        loop {
            let run = world.control.get::<Run>(&world.caller, &later.id.to_string()).await.unwrap();
            if status(&run).is_final() {
                return run;
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    let run = tokio::time::timeout(Duration::from_secs(10), finished).await.expect("the later run ends");
    second.stop().await;
    assert_eq!(status(&run), RunStatus::Success);
    let earlier = world.control.get::<Run>(&world.caller, &earlier.id.to_string()).await.unwrap();
    assert_eq!((status(&earlier), number(&earlier, "/recordSummary/outputRecordCount")), (RunStatus::Success, Some(3)));
    assert_eq!((world.executor.table().commits, world.executor.table().rows), (2, 6));
}
