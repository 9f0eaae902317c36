//! Runs that repeat others (flow-service.md 17.7).

use std::sync::Arc;
use std::time::Duration;

use headwaters_control::{Cause, REPEATS_MAX};
use headwaters_model::connection::Connection;
use headwaters_model::etag::Precondition;
use headwaters_model::flow::Flow;
use headwaters_model::id::RunId;
use headwaters_model::job::{JobError, Stage};
use headwaters_model::metrics::Window;
use headwaters_model::resource::{Resource, State};
use headwaters_model::run::{Run, RunStatus};
use headwaters_model::source_connection::SourceConnection;
use serde_json::json;
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::asked::{
    ask, landed_flow, notes, over, queued, read_count, repeat, report, rewrite, service, shown, when, window,
    window_read,
};
use crate::fakes::{Commit, Land, failure};
use crate::world::{RunningWorker, World, object, status};

/// A flow whose own run is over: it has failed, and nothing was landed.
async fn failed_flow(world: &World) -> (Resource<Flow>, Resource<Run>, RunningWorker) {
    world.executor.on_land([Land::Breaks(JobError::Definite(failure(Stage::Source, "no table shop.orders")))]);
    let (flow, run, worker) = landed_flow(world).await;
    assert_eq!(status(&run), RunStatus::Failed);
    (flow, run, worker)
}

#[tokio::test]
async fn only_runs_that_failed_or_read_nothing_are_repeated() {
    let world = World::start().await;
    let (flow, landed, worker) = landed_flow(&world).await;
    let refused = repeat(&world, &landed).await.unwrap_err();
    assert_eq!(refused.cause(), Cause::NotRepeatable, "{refused}");
    world.executor.on_land([Land::Rows(0, 0)]);
    let empty = over(&world, ask(&world, &flow, window(0, 1)).await.unwrap().id).await;
    let repeated = over(&world, repeat(&world, &empty).await.unwrap().id).await;
    worker.stop().await;
    assert_eq!((repeated.body.parent_flow_run_id, &repeated.body.params), (Some(empty.id), &empty.body.params));
    assert_eq!((status(&repeated), read_count(&repeated)), (RunStatus::Success, Some(3)));

    let waiting = ask(&world, &flow, window(0, 1)).await.unwrap();
    let refused = repeat(&world, &waiting).await.unwrap_err();
    assert_eq!(refused.cause(), Cause::NotRepeatable);
    assert!(refused.to_string().contains("is scheduled"), "{refused}");
    let missing = world.control.retrigger_run(&world.caller, &RunId::mint().to_string(), &Precondition::None).await;
    assert_eq!(missing.unwrap_err().cause(), Cause::Missing);
}

#[tokio::test]
async fn a_run_is_repeated_only_under_the_version_that_was_seen_and_while_its_flow_is_enabled() {
    let world = World::start().await;
    let (flow, failed, worker) = failed_flow(&world).await;
    worker.stop().await;
    let stale = Precondition::IfMatch("\"00000000-0000-0200-0000-000000000000\"".into());
    let refused = world.control.retrigger_run(&world.caller, &failed.id.to_string(), &stale).await.unwrap_err();
    assert_eq!(refused.cause(), Cause::Stale);
    rewrite::<Flow>(&world, &flow.id, |flow| flow.state = State::Disabled).await;
    assert_eq!(repeat(&world, &failed).await.unwrap_err().cause(), Cause::FlowNotEnabled);
    world.control.delete_flow(&world.caller, &flow.id.to_string(), Precondition::None).await.unwrap();
    assert_eq!(repeat(&world, &failed).await.unwrap_err().cause(), Cause::FlowNotEnabled);
}

#[tokio::test]
async fn a_failed_run_of_a_once_flow_is_repeated_with_the_whole_table_and_only_once() {
    let world = World::start().await;
    let (_, failed, worker) = failed_flow(&world).await;
    worker.stop().await;
    let first = repeat(&world, &failed).await.unwrap();
    let refused = repeat(&world, &failed).await.unwrap_err();
    assert_eq!(refused.cause(), Cause::NotRepeatable, "twice in a row");
    assert!(refused.to_string().contains(&first.id.to_string()), "{refused}");

    let worker = world.worker();
    let run = over(&world, first.id).await;
    worker.stop().await;
    assert_eq!((status(&run), run.body.parent_flow_run_id), (RunStatus::Success, Some(failed.id)));
    assert_eq!((world.executor.table().rows, world.executor.table().commits), (3, 1));
    assert_eq!(notes(&run), "null");
    assert_eq!(shown(&world, failed.id).await, failed, "the old one stays");
    let refused = repeat(&world, &failed).await.unwrap_err();
    assert_eq!(refused.cause(), Cause::NotRepeatable);
    assert!(refused.to_string().contains("in the data set"), "{refused}");
}

#[tokio::test]
async fn a_repeat_that_fails_can_be_repeated_and_so_can_the_first_run() {
    let world = World::start().await;
    let (_, failed, worker) = failed_flow(&world).await;
    let broken = || Land::Breaks(JobError::Definite(failure(Stage::Source, "no table shop.orders")));
    world.executor.on_land([broken(), broken()]);
    let second = over(&world, repeat(&world, &failed).await.unwrap().id).await;
    let third = over(&world, repeat(&world, &second).await.unwrap().id).await;
    assert_eq!((status(&second), status(&third)), (RunStatus::Failed, RunStatus::Failed));
    let fourth = over(&world, repeat(&world, &failed).await.unwrap().id).await;
    worker.stop().await;
    assert_eq!((status(&fourth), world.executor.table().rows), (RunStatus::Success, 3));
    for run in [&failed, &second, &third] {
        assert_eq!(repeat(&world, run).await.unwrap_err().cause(), Cause::NotRepeatable);
    }
}

/// A run that was closed as failed although its commit is in the table, and nobody knows it yet: its worker died.
async fn committed_and_failed(world: &World) -> (Resource<Flow>, Resource<Run>) {
    world.executor.on_commit([Commit::MadeThenStalled(Arc::default())]);
    let flow = world.flow().await;
    let first = world.worker();
    while world.executor.table().commits == 0 {
        sleep(Duration::from_millis(5)).await;
    }
    first.kill().await;
    let run = world.run().await;
    rewrite::<Run>(world, &run.id, |run| run.body.metrics["statusSummary"]["status"] = json!("failed")).await;
    (flow, shown(world, run.id).await)
}

#[tokio::test]
async fn a_repeat_of_a_run_whose_commit_was_made_after_all_lands_nothing_again() {
    let world = World::start().await;
    let (_, failed) = committed_and_failed(&world).await;
    let again = repeat(&world, &failed).await.unwrap();
    let worker = RunningWorker::start(world.other_process());
    let run = over(&world, again.id).await;
    worker.stop().await;
    assert_eq!((world.executor.table().rows, world.executor.table().commits), (3, 1), "each row once");
    assert_eq!((status(&run), read_count(&run)), (RunStatus::Success, Some(0)));
    assert!(notes(&run).contains(&failed.id.to_string()), "{}", notes(&run));
    let corrected = shown(&world, failed.id).await;
    assert_eq!((status(&corrected), read_count(&corrected)), (RunStatus::Success, Some(3)));
    assert_eq!(repeat(&world, &run).await.unwrap_err().cause(), Cause::NotRepeatable);
}

#[tokio::test]
async fn a_run_whose_commit_was_found_meanwhile_is_not_repeated() {
    let world = World::start().await;
    let (_, failed) = committed_and_failed(&world).await;
    let worker = RunningWorker::start(world.other_process());
    let corrected = when(&world, failed.id, |run| status(run) == RunStatus::Success).await;
    worker.stop().await;
    assert_eq!(repeat(&world, &corrected).await.unwrap_err().cause(), Cause::NotRepeatable);
}

#[tokio::test]
async fn a_commit_that_is_made_while_its_repeat_reads_is_the_one_that_counts() {
    let world = World::start().await;
    let (stalled, repeat_goes) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let refused = JobError::Definite(failure(Stage::Lake, "no space left below file:///lake"));
    world.executor.on_commit([Commit::Stalled(stalled.clone()), Commit::Breaks(refused)]);
    world.executor.on_land([Land::Rows(3, 0), Land::Rows(3, 0), Land::Stalled(repeat_goes.clone())]);
    world.flow().await;
    let first = world.worker();
    world.commits_begun(1).await;
    // The first worker is believed dead; its successor gives the run up.
    world.let_leases_end();
    let second = RunningWorker::start(world.other_process());
    let failed = world.finished().await;
    assert_eq!(status(&failed), RunStatus::Failed);
    let again = repeat(&world, &failed).await.unwrap();
    world.landings(3).await;
    stalled.notify_one();
    when(&world, failed.id, |run| status(run) == RunStatus::Success).await;
    repeat_goes.notify_one();
    let run = over(&world, again.id).await;
    first.stop().await;
    second.stop().await;
    assert_eq!((world.executor.table().rows, world.executor.table().commits), (3, 1), "each row once");
    assert_eq!((status(&run), read_count(&run)), (RunStatus::Success, Some(0)));
}

#[tokio::test]
async fn a_report_can_not_make_a_run_land_its_rows_twice() {
    let world = World::start().await;
    let (_, landed, worker) = landed_flow(&world).await;
    worker.stop().await;
    let failed = json!({ "metrics": { "statusSummary": { "status": "failed" } } });
    let reported = report(&world, &service(&world), &landed, failed).await.unwrap();
    assert_eq!(status(&reported), RunStatus::Failed);
    let refused = repeat(&world, &reported).await.unwrap_err();
    assert_eq!(refused.cause(), Cause::NotRepeatable);
    assert!(refused.to_string().contains("in the data set"), "{refused}");
}

/// Two windows of a flow: the first one found nothing, the second one has landed.
async fn empty_and_landed(world: &World) -> (Resource<Flow>, Resource<Run>, Resource<Run>, RunningWorker) {
    let (flow, _, worker) = landed_flow(world).await;
    world.executor.on_land([Land::Rows(0, 0)]);
    let empty = over(world, ask(world, &flow, window(1, 2)).await.unwrap().id).await;
    let landed = over(world, ask(world, &flow, window(2, 3)).await.unwrap().id).await;
    (flow, empty, landed, worker)
}

#[tokio::test]
async fn a_report_of_other_params_changes_nothing_of_what_a_repeat_reads() {
    let world = World::start().await;
    let (_, empty, landed, worker) = empty_and_landed(&world).await;
    let mut empty = empty;
    for params in [json!(landed.body.params), json!({}), json!({ "windowStartTime": "soon" })] {
        let good = json!({ "params": params, "metrics": { "statusSummary": { "status": "success" } } });
        let reported = report(&world, &service(&world), &empty, good).await.unwrap();
        assert_eq!(json!(reported.body.params), params, "it is shown");
        world.executor.on_land([Land::Rows(0, 0)]);
        let again = repeat(&world, &reported).await.unwrap();
        assert_eq!(again.body.params, object(&window(1, 2)), "what it reads, not what was reported");
        empty = over(&world, again.id).await;
        assert_eq!(window_read(&world), Some(Window { start_ms: 1_000, end_ms: 2_000 }));
    }
    worker.stop().await;
}

#[tokio::test]
async fn a_reported_parent_makes_no_kin() {
    let world = World::start().await;
    let (_, empty, landed, worker) = empty_and_landed(&world).await;
    let parent =
        |parent: RunId| json!({ "parentFlowRunId": parent, "metrics": { "statusSummary": { "status": "failed" } } });
    let reported = report(&world, &service(&world), &empty, parent(landed.id)).await.unwrap();
    assert_eq!(reported.body.parent_flow_run_id, Some(landed.id));
    // Of a run that repeats none it may be told otherwise again; its repeat reads all the same.
    let reported = report(&world, &service(&world), &reported, parent(landed.id)).await.unwrap();
    world.executor.on_land([Land::Breaks(JobError::Definite(failure(Stage::Source, "no table shop.orders")))]);
    let second = over(&world, repeat(&world, &reported).await.unwrap().id).await;
    let elsewhere = report(&world, &service(&world), &second, parent(landed.id)).await.unwrap_err();
    assert!(elsewhere.to_string().contains("no report can change"), "{elsewhere}");
    let third = over(&world, repeat(&world, &second).await.unwrap().id).await;
    worker.stop().await;
    assert_eq!((status(&third), read_count(&third)), (RunStatus::Success, Some(3)));
    // And rows of one that was reported to be of another family still count.
    let refused = repeat(&world, &shown(&world, reported.id).await).await.unwrap_err();
    assert!(refused.to_string().contains(&third.id.to_string()), "{refused}");
}

#[tokio::test]
async fn a_reported_window_stops_no_later_run() {
    let world = World::start().await;
    let (flow, _, landed, worker) = empty_and_landed(&world).await;
    for (start, end) in [(json!("a"), json!("b")), (json!(1.7e12), json!([])), (json!(true), json!(null))] {
        let extensions = json!({ "windowStart": start, "windowEnd": end });
        let fields = json!({
            "activities": [{ "durationSummary": { "extensions": extensions } }],
            "metrics": { "recordSummary": { "outputRecordCount": "many" }, "statusSummary": { "status": "success" } },
        });
        report(&world, &service(&world), &shown(&world, landed.id).await, fields).await.unwrap();
        let run = over(&world, ask(&world, &flow, window(2, 4)).await.unwrap().id).await;
        assert_eq!(status(&run), RunStatus::Success, "{start} {end}");
        assert!(notes(&run).contains("the window overlaps"), "{}", notes(&run));
    }
    let run = over(&world, ask(&world, &flow, window(10, 11)).await.unwrap().id).await;
    worker.stop().await;
    assert!(!notes(&run).contains(&landed.id.to_string()), "{}", notes(&run));
}

#[tokio::test]
async fn a_run_whose_records_were_all_rejected_is_repeated() {
    let world = World::start().await;
    world.executor.on_land([Land::Rows(3, 3)]);
    let mut command = world.flow_command().await;
    command.options = object(&json!({ "partialIngestionPercent": 100 }));
    world.control.create_flow(&world.caller, command).await.unwrap();
    let worker = world.worker();
    let run = world.finished().await;
    assert_eq!((status(&run), read_count(&run)), (RunStatus::Success, Some(3)));
    let again = over(&world, repeat(&world, &run).await.unwrap().id).await;
    worker.stop().await;
    assert_eq!((status(&again), world.executor.table().rows), (RunStatus::Success, 3));
}

#[tokio::test]
async fn a_run_is_repeated_only_while_what_its_flow_connects_is_in_use() {
    let world = World::start().await;
    let (flow, failed, worker) = failed_flow(&world).await;
    worker.stop().await;
    let source = flow.body.source_connection_ids[0];
    let base = world.control.get::<SourceConnection>(&world.caller, &source.to_string()).await.unwrap();
    let base = base.body.base_connection_id.unwrap();
    rewrite::<Connection>(&world, &base, |base| base.state = State::Disabled).await;
    let refused = repeat(&world, &failed).await.unwrap_err();
    assert_eq!(refused.cause(), Cause::RunCreation);
    assert!(refused.to_string().contains("disabled"), "{refused}");
    rewrite::<Connection>(&world, &base, |base| base.state = State::Enabled).await;
    repeat(&world, &failed).await.unwrap();
}

#[tokio::test]
async fn so_often_a_run_may_be_repeated_and_no_more() {
    let world = World::start().await;
    let (flow, failed, worker) = failed_flow(&world).await;
    worker.stop().await;
    let origin = world.store.read(&world.caller.scope).await.unwrap().run_origin(failed.id).await.unwrap();
    let origin = origin.repeated(failed.id);
    for _ in 1..REPEATS_MAX {
        queued(&world, &flow, &origin, RunStatus::Failed).await;
    }
    let last = repeat(&world, &failed).await.unwrap();
    rewrite::<Run>(&world, &last.id, |run| run.body.metrics["statusSummary"]["status"] = json!("failed")).await;
    for run in [&failed, &shown(&world, last.id).await] {
        let refused = repeat(&world, run).await.unwrap_err();
        assert_eq!(refused.cause(), Cause::NotRepeatable);
        assert!(refused.to_string().contains("100 times"), "{refused}");
    }
}
