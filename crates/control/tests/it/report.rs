//! What services report of runs (flow-service.md 17.6).

use headwaters_control::{Cause, REPORT_ENTRIES_MAX, ReportRun};
use headwaters_model::etag::Precondition;
use headwaters_model::id::{FlowId, RunId};
use headwaters_model::run::RunStatus;
use serde_json::json;

use crate::asked::{ask, flow_now, landed_flow, report, service, shown, window};
use crate::world::{World, object};

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
    let less = json!({ "metrics": { "statusSummary": { "status": "success" } } });
    let again = report(&world, &service(&world), &reported, less).await.unwrap();
    assert_eq!(again.body.predecessors, reported.body.predecessors, "what is left out stays");
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

#[tokio::test]
async fn of_many_predecessors_the_unknown_one_is_named() {
    let world = World::start().await;
    let (flow, run, worker) = landed_flow(&world).await;
    worker.stop().await;
    let mut fields = json!({ "metrics": { "statusSummary": { "status": "success" } } });
    fields["predecessors"] = json!(vec![json!({ "flowRunId": run.id, "flowId": flow.id }); REPORT_ENTRIES_MAX]);
    let reported = report(&world, &service(&world), &run, fields.clone()).await.unwrap();
    assert_eq!(reported.body.predecessors.as_ref(), Some(&fields["predecessors"]));
    fields["predecessors"][REPORT_ENTRIES_MAX - 1]["flowRunId"] = json!("no-uuid");
    let refused = report(&world, &service(&world), &reported, fields).await.unwrap_err();
    assert_eq!(refused.cause(), Cause::UnknownPredecessorRun);
    assert!(refused.to_string().contains("no run no-uuid"), "{refused}");
}
