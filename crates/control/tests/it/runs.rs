//! A run from its flow to its end: the straight way, what it tells, and what ends it early.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use headwaters_model::batch::{Batch, BatchStatus};
use headwaters_model::data_set::DataSet;
use headwaters_model::etag::Precondition;
use headwaters_model::flow::Flow;
use headwaters_model::job::{JobError, Stage};
use headwaters_model::page::ListQuery;
use headwaters_model::resource::Resource;
use headwaters_model::run::{Run, RunStatus};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::fakes::{Commit, Land, failure, lost};
use crate::world::{RunningWorker, World, object, status};

pub(crate) fn text<'a>(run: &'a Resource<Run>, pointer: &str) -> &'a str {
    run.body.metrics.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

pub(crate) fn number(run: &Resource<Run>, pointer: &str) -> Option<u64> {
    run.body.metrics.pointer(pointer).and_then(Value::as_u64)
}

pub(crate) fn error_code(run: &Resource<Run>) -> &str {
    text(run, "/statusSummary/errors/0/code")
}

pub(crate) async fn batches(world: &World) -> Vec<Resource<Batch>> {
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
    assert!(world.control.list::<Run>(&world.caller, &ListQuery::all()).await.unwrap().items.is_empty());
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
        while !counting(&other.get::<Run>(&world.caller, &run.id.to_string()).await.unwrap()) {
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
            let runs = world.control.list::<Run>(&world.caller, &ListQuery::all()).await.unwrap().items;
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
