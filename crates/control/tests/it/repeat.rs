//! Runs that repeat others, and what services report of runs (flow-service.md 17.6, 17.7).

use std::sync::Arc;
use std::time::Duration;

use headwaters_control::{Caller, Cause, CommandError, ReportRun};
use headwaters_model::account::Role;
use headwaters_model::etag::Precondition;
use headwaters_model::flow::Flow;
use headwaters_model::id::{FlowId, RunId};
use headwaters_model::job::{JobError, Stage};
use headwaters_model::resource::{Resource, State};
use headwaters_model::run::{Run, RunStatus};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::fakes::{Commit, Land, failure};
use crate::on_demand::{ask, flow_now, landed_flow, notes, over, read_count, rewrite, shown, when, window};
use crate::world::{RunningWorker, World, object, status};

async fn repeat(world: &World, run: &Resource<Run>) -> Result<Resource<Run>, CommandError> {
    world.control.retrigger_run(&world.caller, &run.id.to_string(), &Precondition::None).await
}

async fn report(
    world: &World,
    caller: &Caller,
    run: &Resource<Run>,
    fields: Value,
) -> Result<Resource<Run>, CommandError> {
    let command = ReportRun { flow_id: Some(run.body.flow_id.to_string()), fields: object(&fields).unwrap() };
    let expected = Precondition::IfMatch(run.etag.to_string());
    world.control.report_run(caller, &run.id.to_string(), &expected, command).await
}

fn service(world: &World) -> Caller {
    Caller { role: Role::Service, ..world.caller.clone() }
}

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

#[tokio::test]
async fn a_service_replaces_what_is_reported_of_a_run() {
    let world = World::start().await;
    let (flow, run, worker) = landed_flow(&world).await;
    worker.stop().await;
    let spec = json!({ "id": flow.body.flow_spec.id });
    let fields = json!({
        "providerRefId": "job-7", "childFlowRunIds": ["c"], "params": null, "recordTypes": ["profile"],
        "predecessors": [{ "flowId": flow.id, "flowRunId": run.id, "flowSpec": spec }],
        "activities": [{ "id": "a" }],
        "metrics": {
            "durationSummary": { "startedAtUTC": 5, "completedAtUTC": 6 },
            "statusSummary": { "status": "PARTIAL_FAILURE", "errors": [] }, "customSummary": { "x": 1 },
        },
    });
    let reported = report(&world, &service(&world), &run, fields).await.unwrap();
    assert_ne!(reported.etag, run.etag);
    assert_eq!(shown(&world, run.id).await, reported);
    assert_eq!(
        reported.body.metrics,
        json!({
            "durationSummary": { "startedAtUTC": 5, "completedAtUTC": 6 },
            "statusSummary": { "status": "failed", "errors": [] },
        })
    );
    let document = reported.document();
    assert_eq!((&document["providerRefId"], &document["childFlowRunIds"]), (&json!("job-7"), &json!(["c"])));
    assert_eq!((&document["recordTypes"], &document["activities"]), (&json!(["profile"]), &json!([{ "id": "a" }])));
    assert_eq!(document["predecessors"][0]["flowRunId"], json!(run.id));
    let details = flow_now(&world, &flow).await.body.last_run_details.unwrap();
    assert_eq!((details.state, details.started_at_ms), (RunStatus::Failed, Some(5)));
    let stale = report(&world, &service(&world), &run, json!({})).await.unwrap_err();
    assert_eq!(stale.cause(), Cause::Stale);
}

#[tokio::test]
async fn every_rule_of_a_report_has_its_cause() {
    let world = World::start().await;
    let (flow, run, worker) = landed_flow(&world).await;
    worker.stop().await;
    let good = json!({ "metrics": { "statusSummary": { "status": "success" } } });
    let by_user = report(&world, &world.caller, &run, good.clone()).await.unwrap_err();
    assert_eq!(by_user.cause(), Cause::RunsByUser);

    let send = async |id: &str, flow_id: Option<String>, expected: &Precondition| {
        let command = ReportRun { flow_id, fields: object(&good).unwrap() };
        world.control.report_run(&service(&world), id, expected, command).await.unwrap_err().cause()
    };
    let (id, own, any) = (run.id.to_string(), Some(flow.id.to_string()), Precondition::IfMatch("*".into()));
    assert_eq!(send(&id, own.clone(), &Precondition::None).await, Cause::IfMatchAbsent);
    assert_eq!(send(&RunId::mint().to_string(), own.clone(), &any).await, Cause::Missing);
    assert_eq!(send(&id, None, &any).await, Cause::NoFlow);
    assert_eq!(send(&id, Some(FlowId::mint().to_string()), &any).await, Cause::UnknownFlow);
    let other = world.control.create_flow(&world.caller, world.flow_command().await).await.unwrap();
    assert_eq!(send(&id, Some(other.id.to_string()), &any).await, Cause::InvalidValue);

    for (field, value, expected) in [
        ("metrics", json!({}), Cause::RunStatus),
        ("metrics", json!({ "statusSummary": { "status": "inProgress" } }), Cause::RunStatus),
        ("metrics", json!({ "statusSummary": { "status": "QUEUED" } }), Cause::RunStatus),
        ("metrics", json!([]), Cause::InvalidValue),
        ("metrics", json!({ "statusSummary": "success" }), Cause::InvalidValue),
        ("activities", json!(["a"]), Cause::InvalidValue),
        ("activities", json!(vec![json!({}); 1_001]), Cause::InvalidValue),
        ("parentFlowRunId", json!("a"), Cause::InvalidValue),
        ("params", json!("a"), Cause::InvalidValue),
        ("recordTypes", json!(["x".repeat(300_000)]), Cause::InvalidValue),
        ("predecessors", json!([{ "flowRunId": RunId::mint(), "flowId": flow.id }]), Cause::UnknownPredecessorRun),
        ("predecessors", json!([{ "flowRunId": run.id, "flowId": FlowId::mint() }]), Cause::UnknownPredecessorFlow),
    ] {
        let mut fields = good.clone();
        fields[field] = value;
        let refused = report(&world, &service(&world), &run, fields).await.unwrap_err();
        assert_eq!(refused.cause(), expected, "{field}: {refused}");
    }
    assert_eq!(shown(&world, run.id).await, run, "nothing was changed");

    let waiting = ask(&world, &flow, window(0, 1)).await.unwrap();
    let refused = report(&world, &service(&world), &waiting, good.clone()).await.unwrap_err();
    assert_eq!(refused.cause(), Cause::NotApplicable);
    assert!(refused.to_string().contains("its worker"), "{refused}");
}
