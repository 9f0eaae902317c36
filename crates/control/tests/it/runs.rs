//! A run from its flow to its end: the straight way, and every way in which it may break.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use headwaters_control::Settings;
use headwaters_model::account::Actor;
use headwaters_model::batch::{Batch, BatchStatus};
use headwaters_model::data_set::DataSet;
use headwaters_model::etag::Precondition;
use headwaters_model::flow::Flow;
use headwaters_model::job::{JobError, Stage};
use headwaters_model::page::ListQuery;
use headwaters_model::resource::{Resource, State};
use headwaters_model::run::{Run, RunStatus};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::fakes::{Commit, Land, failure, lost};
use crate::world::{RunningWorker, World, object, quick, status};

fn text<'a>(run: &'a Resource<Run>, pointer: &str) -> &'a str {
    run.body.metrics.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn number(run: &Resource<Run>, pointer: &str) -> Option<u64> {
    run.body.metrics.pointer(pointer).and_then(Value::as_u64)
}

fn error_code(run: &Resource<Run>) -> &str {
    text(run, "/statusSummary/errors/0/code")
}

async fn batches(world: &World) -> Vec<Resource<Batch>> {
    world.control.list::<Batch>(&world.caller, &ListQuery::all()).await.unwrap().items
}

#[tokio::test]
async fn a_flow_that_runs_once_lands_its_table_and_tells_so_everywhere() {
    let world = World::start().await;
    let flow = world.flow().await;
    let worker = world.worker();
    let run = world.finished().await;
    worker.stop().await;

    assert_eq!((status(&run), run.body.flow_id), (RunStatus::Success, flow.id));
    assert_eq!(number(&run, "/recordSummary/inputRecordCount"), Some(3));
    assert_eq!(number(&run, "/recordSummary/outputRecordCount"), Some(3));
    assert_eq!(run.body.activities.len(), 2);
    assert_eq!(run.body.activities[0]["name"], "MySQL Copy Activity");
    assert_eq!((world.executor.table().rows, world.executor.table().version), (3, Some(0)));

    let [batch] = &batches(&world).await[..] else { panic!("one batch") };
    assert_eq!(
        (batch.body.status, batch.body.table_version, batch.body.run_id),
        (BatchStatus::Success, Some(0), run.id)
    );
    assert_eq!(run.body.activities[1]["targetInfo"][0]["reference"]["ids"], json!([batch.id]));
    let shown = world.control.get::<Flow>(&world.caller, &flow.id.to_string()).await.unwrap();
    assert_eq!(shown.body.last_run_details.unwrap().state, RunStatus::Success);
    assert_eq!(shown.etag, flow.etag, "runs do not touch the flow's etag");
    let data_sets = world.control.list::<DataSet>(&world.caller, &ListQuery::all()).await.unwrap();
    assert_eq!(data_sets.items[0].body.last_successful_batch.as_ref(), Some(&batch.id));
}

#[tokio::test]
async fn a_flow_that_starts_later_waits_for_its_instant() {
    let world = World::start().await;
    let mut command = world.flow_command().await;
    let start_s = crate::world::NOW_MS / 1000 + 3600;
    command.schedule_params = object(&json!({ "startTime": start_s, "frequency": "once" }));
    world.control.create_flow(&world.caller, command).await.unwrap();
    let worker = world.worker();
    sleep(Duration::from_millis(100)).await;
    assert!(world.control.runs(&world.caller, &ListQuery::all()).await.unwrap().items.is_empty());
    world.clock.advance(Duration::from_secs(3600));
    assert_eq!(status(&world.finished().await), RunStatus::Success);
    worker.stop().await;
}

#[tokio::test]
async fn a_run_in_progress_shows_when_it_began_and_how_far_it_is() {
    let world = World::start().await;
    world.executor.on_land([Land::UntilCancelled]);
    world.flow().await;
    let worker = world.worker();
    let counting = |run: &Resource<Run>| number(run, "/recordSummary/inputRecordCount") == Some(2);
    let run = world.run_when(counting).await;
    assert_eq!((status(&run), run.body.started_at_ms()), (RunStatus::InProgress, Some(crate::world::NOW_MS)));

    // Another process knows it too, a little later, from the store.
    let other = world.other_process();
    let written = async {
        while !counting(&other.run(&world.caller, &run.id.to_string()).await.unwrap()) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), written).await.expect("the counters are written down");
    worker.kill().await;
}

#[tokio::test]
async fn a_table_without_rows_makes_a_success_without_a_batch() {
    let world = World::start().await;
    world.executor.on_land([Land::Rows(0, 0)]);
    world.flow().await;
    let worker = world.worker();
    let run = world.finished().await;
    worker.stop().await;
    assert_eq!((status(&run), number(&run, "/recordSummary/inputRecordCount")), (RunStatus::Success, Some(0)));
    assert_eq!(run.body.activities.len(), 1);
    assert!(batches(&world).await.is_empty());
    assert_eq!(
        (world.executor.table().version, world.executor.table().commits),
        (Some(0), 0),
        "the table is made empty"
    );
}

#[tokio::test]
async fn a_definite_error_stops_the_run_at_once() {
    let world = World::start().await;
    world.executor.on_land([Land::Breaks(JobError::Definite(failure(Stage::Source, "no table shop.orders")))]);
    world.flow().await;
    let worker = world.worker();
    let run = world.finished().await;
    worker.stop().await;
    assert_eq!((status(&run), error_code(&run)), (RunStatus::Failed, "CONNECTOR-1001-500"));
    assert_eq!(text(&run, "/statusSummary/errors/0/message"), "no table shop.orders");
    assert_eq!(text(&run, "/statusSummary/extensions/errorDetail"), "no table shop.orders; look at the server's log");
    assert_eq!(world.executor.landings.load(Ordering::SeqCst), 1);
    assert_eq!(world.executor.table().commits, 0);
}

#[tokio::test]
async fn a_lake_that_refuses_the_commit_fails_the_run_and_its_batch() {
    let world = World::start().await;
    let refused = failure(Stage::Lake, "no space left below file:///lake");
    world.executor.on_commit([Commit::Breaks(JobError::Definite(refused))]);
    world.flow().await;
    let worker = world.worker();
    let run = world.finished().await;
    worker.stop().await;
    assert_eq!((status(&run), error_code(&run)), (RunStatus::Failed, "CONNECTOR-3001-500"));
    let [batch] = &batches(&world).await[..] else { panic!("one batch") };
    assert_eq!((batch.body.status, batch.body.errors[0].code.as_str()), (BatchStatus::Failed, "CONNECTOR-3001-500"));
    assert!(batch.body.files.is_empty());
}

#[tokio::test]
async fn a_lost_connection_is_tried_again_after_a_pause() {
    let world = World::start().await;
    world.executor.on_land([Land::Breaks(lost()), Land::Breaks(lost())]);
    world.flow().await;
    let worker = world.worker();
    let run = world.finished_after_pauses().await;
    worker.stop().await;
    assert_eq!((status(&run), world.executor.table().rows), (RunStatus::Success, 3));
    let attempts = world.store.read(&world.caller.scope).await.unwrap().attempts(run.id).await.unwrap();
    let errors: Vec<_> = attempts.iter().map(|attempt| attempt.error.as_deref()).collect();
    let broke = Some("the connection to db:3306 was lost");
    assert_eq!(errors, [broke, broke, None]);
    assert_eq!(attempts.iter().map(|attempt| attempt.ordinal.0).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(text(&run, "/statusSummary/extensions/notes/0").starts_with("read at attempt 3"));
}

#[tokio::test]
async fn a_run_gives_up_after_its_last_attempt() {
    let world = World::start().await;
    world.executor.on_land((0..10).map(|_| Land::Breaks(lost())));
    world.flow().await;
    let worker = world.worker();
    let run = world.finished_after_pauses().await;
    worker.stop().await;
    assert_eq!((status(&run), error_code(&run)), (RunStatus::Failed, "CONNECTOR-1001-500"));
    assert_eq!(text(&run, "/statusSummary/errors/0/message"), "the connection to db:3306 was lost (attempt 5 of 5)");
    assert_eq!(world.executor.landings.load(Ordering::SeqCst), 5);
}

#[tokio::test]
async fn bad_rows_fail_the_run_unless_their_share_is_tolerated() {
    for (percent, expected) in
        [(None, RunStatus::Failed), (Some(50), RunStatus::Success), (Some(10), RunStatus::Failed)]
    {
        let world = World::start().await;
        world.executor.on_land([Land::Rows(10, 1)]);
        let mut command = world.flow_command().await;
        command.options = percent.and_then(|percent| object(&json!({ "partialIngestionPercent": percent })));
        world.control.create_flow(&world.caller, command).await.unwrap();
        let worker = world.worker();
        let run = world.finished().await;
        worker.stop().await;
        assert_eq!((status(&run), error_code(&run)), (expected, "CONNECTOR-2001-500"), "{percent:?}");
        assert_eq!(world.executor.table().rows, if expected == RunStatus::Success { 9 } else { 0 });
    }
}

#[tokio::test]
async fn a_mapping_that_can_not_be_applied_fails_the_run_and_lands_nothing() {
    let world = World::start().await;
    let mut command = world.flow_command().await;
    let mapping = json!({ "name": "Mapping", "params": { "mappingId": "ab12", "mappingVersion": 0 } });
    command.transformations = Some(vec![mapping.clone()]);
    let flow = world.control.create_flow(&world.caller, command).await.unwrap();
    assert_eq!(flow.body.transformations, [mapping], "stored and echoed as sent");
    let worker = world.worker();
    let run = world.finished().await;
    worker.stop().await;
    assert_eq!((status(&run), error_code(&run)), (RunStatus::Failed, "CONNECTOR-2001-500"));
    assert!(text(&run, "/statusSummary/errors/0/message").contains("ab12"));
    assert_eq!(world.executor.landings.load(Ordering::SeqCst), 0);
}

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
    assert!(tx.schedule_run(&later, crate::world::NOW_MS, None).await.unwrap());
    tx.commit().await.unwrap();

    let second = RunningWorker::start(world.other_process());
    let finished = async {
        loop {
            let run = world.control.run(&world.caller, &later.id.to_string()).await.unwrap();
            if status(&run).is_final() {
                return run;
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    let run = tokio::time::timeout(Duration::from_secs(10), finished).await.expect("the later run ends");
    second.stop().await;
    assert_eq!(status(&run), RunStatus::Success);
    let earlier = world.control.run(&world.caller, &earlier.id.to_string()).await.unwrap();
    assert_eq!((status(&earlier), number(&earlier, "/recordSummary/outputRecordCount")), (RunStatus::Success, Some(3)));
    assert_eq!((world.executor.table().commits, world.executor.table().rows), (2, 6));
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
async fn deleting_a_flow_cancels_its_run() {
    let world = World::start().await;
    world.executor.on_land([Land::UntilCancelled]);
    let flow = world.flow().await;
    let worker = world.worker();
    world.landings(1).await;
    world.control.delete_flow(&world.caller, &flow.id.to_string(), Precondition::None).await.unwrap();
    let run = world.finished().await;
    let exit = worker.stop().await;
    assert_eq!(exit.cut_short, 0, "the run has stopped by itself");
    assert_eq!(status(&run), RunStatus::Failed);
    assert!(text(&run, "/statusSummary/errors/0/message").contains("was deleted"));
    assert_eq!(world.executor.table().commits, 0);
    assert!(world.control.get::<Flow>(&world.caller, &flow.id.to_string()).await.is_err());
}

#[tokio::test]
async fn a_run_that_committed_while_its_flow_was_deleted_is_a_success() {
    let world = World::start().await;
    let go_on = Arc::new(Notify::new());
    world.executor.on_commit([Commit::Stalled(go_on.clone())]);
    let flow = world.flow().await;
    let worker = world.worker();
    world.commits_begun(1).await;
    world.control.delete_flow(&world.caller, &flow.id.to_string(), Precondition::None).await.unwrap();
    go_on.notify_one();
    let run = world.run_when(|run| status(run) == RunStatus::Success).await;
    worker.stop().await;
    assert_eq!(world.executor.table().rows, 3);
    assert!(text(&run, "/statusSummary/extensions/notes/0").contains("closed before its commit was known"));
}

#[tokio::test]
async fn a_shutdown_lets_runs_finish_and_cuts_short_those_that_do_not() {
    let world = World::start().await;
    world.executor.on_land([Land::UntilCancelled]);
    world.flow().await;
    let first = world.worker();
    world.landings(1).await;
    assert_eq!(first.stop().await.cut_short, 1);
    assert_eq!(status(&world.run().await), RunStatus::InProgress);

    // No lease has to end first: it was released.
    let second = RunningWorker::start(world.other_process());
    let run = world.finished().await;
    second.stop().await;
    assert_eq!((status(&run), world.executor.table().rows), (RunStatus::Success, 3));
}

#[tokio::test]
async fn many_workers_never_run_one_flow_twice() {
    let world = World::start().await;
    let workers: Vec<_> = (0..4).map(|_| RunningWorker::start(world.other_process())).collect();
    world.flow().await;
    let run = world.finished().await;
    sleep(Duration::from_millis(100)).await;
    for worker in workers {
        worker.stop().await;
    }
    assert_eq!(status(&run), RunStatus::Success);
    assert_eq!(world.executor.landings.load(Ordering::SeqCst), 1);
    assert_eq!((world.executor.table().commits, world.executor.table().rows), (1, 3));
}

#[tokio::test]
async fn many_flows_and_workers_run_each_flow_once() {
    let world = World::start().await;
    let workers: Vec<_> = (0..3).map(|_| RunningWorker::start(world.other_process())).collect();
    for _ in 0..6 {
        let command = world.flow_command().await;
        // Data sets of their own: the fake lake counts the commits of each table.
        world.control.create_flow(&world.caller, command).await.unwrap();
    }
    let all_over = async {
        loop {
            let runs = world.control.runs(&world.caller, &ListQuery::all()).await.unwrap().items;
            if runs.len() == 6 && runs.iter().all(|run| status(run).is_final()) {
                return runs;
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    let runs = tokio::time::timeout(Duration::from_secs(15), all_over).await.expect("all runs end");
    for worker in workers {
        worker.stop().await;
    }
    assert!(runs.iter().all(|run| status(run) == RunStatus::Success));
    assert_eq!(world.executor.landings.load(Ordering::SeqCst), 6);
    assert_eq!(world.executor.tables().iter().map(|table| table.commits).collect::<Vec<_>>(), [1; 6]);
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
