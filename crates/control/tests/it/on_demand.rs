//! Runs on demand (flow-service.md 17.5).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use headwaters_control::{Cause, CreateRun, RUNS_WAITING_MAX, Settings};
use headwaters_model::connection::Connection;
use headwaters_model::data_set::DataSet;
use headwaters_model::etag::Precondition;
use headwaters_model::flow::Flow;
use headwaters_model::id::{DataSetId, FlowId};
use headwaters_model::metrics::Window;
use headwaters_model::page::ListQuery;
use headwaters_model::patch::Patch;
use headwaters_model::resource::State;
use headwaters_model::run::{Run, RunOrigin, RunStatus};
use headwaters_model::source_connection::SourceConnection;
use headwaters_model::window::{DeltaColumn, Windowed};
use headwaters_store::AuditQuery;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::asked::{
    NOW_S, PATIENCE, ask, ask_for, cause, flow_now, landed_flow, notes, over, queued, read_count, repeat, rewrite,
    runs, shown, when, window, window_read,
};
use crate::fakes::{Commit, Land};
use crate::world::{NOW_MS, RunningWorker, World, object, quick, status};

#[tokio::test]
async fn a_window_is_read_by_its_column_and_appended() {
    let world = World::start().await;
    let (flow, first, worker) = landed_flow(&world).await;
    let sent = json!({
        "startTime": NOW_S - 10, "windowStartTime": NOW_S.to_string(), "windowEndTime": NOW_S + 60,
        "deltaColumn": { "name": "UPDATED_AT", "dateFormat": "YYYY-MM-DD", "timezone": "UTC" },
    });
    let asked = ask(&world, &flow, sent.clone()).await.unwrap();
    assert_eq!((status(&asked), asked.body.params.clone()), (RunStatus::Scheduled, object(&sent)), "echoed as sent");
    assert_eq!((asked.created.by.clone(), asked.body.flow_id), (world.caller.actor.clone(), flow.id));

    let run = over(&world, asked.id).await;
    worker.stop().await;
    assert_eq!((status(&run), read_count(&run)), (RunStatus::Success, Some(3)));
    let read = world.executor.reads.lock().unwrap().last().unwrap().delta.clone().unwrap();
    assert_eq!(window_read(&world), Some(Window { start_ms: NOW_MS, end_ms: NOW_MS + 60_000 }));
    assert_eq!(read.column, DeltaColumn::read(&sent["deltaColumn"]).unwrap(), "the source knows how it is spelt");
    let covered = &run.body.activities[0]["durationSummary"]["extensions"];
    assert_eq!(*covered, json!({ "windowStart": NOW_MS, "windowEnd": NOW_MS + 60_000 }));
    assert_eq!((world.executor.table().rows, world.executor.table().commits), (6, 2));
    assert!(notes(&run).contains(&format!("{} (the whole table)", first.id)), "{}", notes(&run));
    assert_eq!(flow_now(&world, &flow).await.body.last_run_details.unwrap().id, run.id);
}

#[tokio::test]
async fn the_delta_column_of_the_first_run_on_demand_becomes_that_of_the_flow() {
    let world = World::start().await;
    let (flow, _, worker) = landed_flow(&world).await;
    let without = json!({ "windowStartTime": 0, "windowEndTime": 1 });
    assert_eq!(cause(&world, &flow, without.clone()).await, Cause::DeltaColumnMissing);
    assert_eq!(flow_now(&world, &flow).await.etag, flow.etag, "what is refused changes nothing");

    let first = ask(&world, &flow, window(0, 1)).await.unwrap();
    let changed = flow_now(&world, &flow).await;
    assert_ne!(changed.etag, flow.etag, "a new version of the flow");
    let copy = json!({ "name": "Copy", "params": { "deltaColumn": { "name": "updated_at" } } });
    assert_eq!(changed.body.transformations, [copy]);
    assert_eq!(changed.body.last_operation.operation, "update");

    let second = ask(&world, &flow, without).await.unwrap();
    assert_eq!(second.body.params.as_ref().unwrap()["deltaColumn"], json!({ "name": "updated_at" }));
    assert_eq!(flow_now(&world, &flow).await.etag, changed.etag, "later runs leave the flow as it is");
    let other = json!({ "windowStartTime": 0, "windowEndTime": 1, "deltaColumn": { "name": "noted" } });
    assert_eq!(cause(&world, &flow, other).await, Cause::OtherDeltaColumn);
    over(&world, first.id).await;
    over(&world, second.id).await;
    worker.stop().await;

    let lines = async |id: String| {
        let query = AuditQuery { resource_id: Some(id), ..AuditQuery::default() };
        let records = world.store.audit(&query).await.unwrap();
        records.into_iter().map(|record| record.action).collect::<Vec<_>>()
    };
    assert_eq!(lines(flow.id.to_string()).await, ["update", "create"]);
    assert_eq!(lines(second.id.to_string()).await, ["settle", "on-demand-run"]);
}

#[tokio::test]
async fn a_flow_with_the_delta_column_of_its_runs_on_demand_can_still_be_changed() {
    let world = World::start().await;
    let (flow, _, worker) = landed_flow(&world).await;
    worker.stop().await;
    ask(&world, &flow, window(0, 1)).await.unwrap();
    let patch = async |ops: Value| {
        let expected = Precondition::IfMatch("*".into());
        let patch = Patch::parse(ops).unwrap();
        world.control.patch::<Flow>(&world.caller, &flow.id.to_string(), &expected, &patch).await
    };
    let renamed = patch(json!([{ "op": "replace", "path": "/name", "value": "renamed" }])).await.unwrap();
    assert_eq!(renamed.body.delta_column().unwrap().name, "updated_at");
    let other = json!([{ "op": "replace", "path": "/transformations/0/params/deltaColumn/name", "value": "noted" }]);
    assert_eq!(patch(other).await.unwrap_err().cause(), Cause::OnceWithDelta);
    let without = patch(json!([{ "op": "remove", "path": "/transformations/0" }])).await.unwrap();
    assert_eq!(without.body.delta_column(), None, "the next run on demand names it anew");
}

#[tokio::test]
async fn every_rule_of_a_run_on_demand_has_its_cause() {
    let world = World::start().await;
    let (flow, _, worker) = landed_flow(&world).await;
    worker.stop().await;
    let null = CreateRun { flow_id: None, params: object(&window(0, 1)) };
    assert_eq!(world.control.create_run(&world.caller, null).await.unwrap_err().cause(), Cause::NoFlow);
    for unknown in [FlowId::mint().to_string(), "no-uuid".to_owned()] {
        assert_eq!(ask_for(&world, &unknown, window(0, 1)).await.unwrap_err().cause(), Cause::UnknownFlow);
    }
    for (params, expected) in [
        (Value::Null, Cause::RunParams),
        (json!({}), Cause::RunParams),
        (json!({ "startTime": NOW_S }), Cause::RunParams),
        (json!({ "windowStartTime": 1 }), Cause::RunParams),
        (json!({ "windowStartTime": "yesterday", "windowEndTime": 2 }), Cause::UnreadableTime),
        (json!({ "windowStartTime": 1, "windowEndTime": 2, "deltaColumn": "updated_at" }), Cause::RunParams),
        (json!({ "windowStartTime": 1, "windowEndTime": 2, "deltaColumn": {} }), Cause::DeltaColumnMissing),
        (window(2, 1), Cause::WindowOrder),
    ] {
        assert_eq!(cause(&world, &flow, params.clone()).await, expected, "{params}");
    }
    for (column, said) in [
        (json!({ "name": "colour" }), "has no column colour"),
        (json!({ "name": "id" }), "counts"),
        (json!({ "name": "paid" }), "boolean"),
        (json!({ "name": "noted", "dateFormat": "dd.MM.yyyy" }), "yyyy-MM-dd HH:mm:ss"),
    ] {
        let params = json!({ "windowStartTime": 1, "windowEndTime": 2, "deltaColumn": column });
        let refused = ask(&world, &flow, params).await.unwrap_err();
        assert_eq!(refused.cause(), Cause::InvalidValue, "{refused}");
        assert!(refused.to_string().contains(said), "{refused}");
    }
    assert_eq!(runs(&world).await.len(), 1, "nothing was made");
    assert_eq!(flow_now(&world, &flow).await.etag, flow.etag);
}

#[tokio::test]
async fn only_an_enabled_flow_of_the_frequency_once_runs_on_demand() {
    let world = World::start().await;
    let (flow, _, worker) = landed_flow(&world).await;
    worker.stop().await;
    for state in [State::Disabled, State::Draft] {
        rewrite::<Flow>(&world, &flow.id, |flow| flow.state = state).await;
        assert_eq!(cause(&world, &flow, window(0, 1)).await, Cause::NotApplicable);
    }
    rewrite::<Flow>(&world, &flow.id, |flow| {
        flow.state = State::Enabled;
        let schedule = json!({ "startTime": NOW_S, "frequency": "hour", "interval": 1 });
        flow.body.schedule_params = object(&schedule);
    })
    .await;
    assert_eq!(cause(&world, &flow, window(0, 1)).await, Cause::NoRunsForFrequency);
    rewrite::<Flow>(&world, &flow.id, |flow| {
        flow.body.schedule_params = object(&json!({ "startTime": NOW_S, "frequency": "once" }));
        let listed = "d6b52d86-f0f8-475f-89d4-ce54c8527328".parse().unwrap();
        flow.body.inherited_attributes.source_connections[0].connection_spec.id = listed;
    })
    .await;
    assert_eq!(cause(&world, &flow, window(0, 1)).await, Cause::NoRunsOnDemand);
}

#[tokio::test]
async fn a_setting_lets_a_recurring_flow_run_on_demand_without_moving_what_it_has_reached() {
    let world = World::with(Settings { on_demand_for_recurring: true, ..quick() }).await;
    let (flow, _, worker) = landed_flow(&world).await;
    rewrite::<Flow>(&world, &flow.id, |flow| {
        flow.body.schedule_params = object(&json!({ "startTime": NOW_S, "frequency": "hour", "interval": 1 }));
    })
    .await;
    let asked = ask(&world, &flow, window(0, 1)).await.unwrap();
    let run = over(&world, asked.id).await;
    worker.stop().await;
    assert_eq!(status(&run), RunStatus::Success);
    let data_set = data_set(&world).await;
    let reached =
        world.store.read(&world.caller.scope).await.unwrap().offset(flow.id, &data_set).await.unwrap().unwrap();
    assert_eq!((reached.ordinal.unwrap().0, reached.value), (2, json!({ "wholeTable": true })));
}

pub(crate) async fn data_set(world: &World) -> DataSetId {
    let all = world.control.list::<DataSet>(&world.caller, &ListQuery::all()).await.unwrap();
    all.items[0].id.clone()
}

#[tokio::test]
async fn a_run_on_demand_before_the_own_run_of_a_flow_leaves_all_of_it_to_that_run() {
    let world = World::start().await;
    let mut command = world.flow_command().await;
    command.schedule_params = object(&json!({ "startTime": NOW_S + 3600, "frequency": "once" }));
    let flow = world.control.create_flow(&world.caller, command).await.unwrap();
    let worker = world.worker();
    world.executor.on_land([Land::Rows(0, 0)]);
    over(&world, ask(&world, &flow, window(0, 1)).await.unwrap().id).await;
    let asked = over(&world, ask(&world, &flow, window(0, 1)).await.unwrap().id).await;
    let data_set = data_set(&world).await;
    let reached = async || {
        world.store.read(&world.caller.scope).await.unwrap().offset(flow.id, &data_set).await.unwrap().unwrap()
    };
    assert_eq!((reached().await.ordinal.unwrap().0, reached().await.value), (2, Value::Null), "nothing is reached yet");

    world.clock.advance(Duration::from_secs(3600));
    let own = async {
        while runs(&world).await.len() < 3 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, own).await.expect("the flow is due");
    let own = over(&world, runs(&world).await[2].id).await;
    worker.stop().await;
    assert_eq!((status(&own), world.executor.table().rows), (RunStatus::Success, 6));
    assert!(notes(&own).contains(&asked.id.to_string()), "{}", notes(&own));
    assert!(world.executor.reads.lock().unwrap().last().unwrap().delta.is_none());
    assert_eq!((reached().await.ordinal.unwrap().0, reached().await.value), (3, json!({ "wholeTable": true })));
}

#[tokio::test]
async fn a_setting_lets_a_run_without_params_read_the_whole_table() {
    let world = World::with(Settings { allow_without_params: true, ..quick() }).await;
    let (flow, _, worker) = landed_flow(&world).await;
    for params in [Value::Null, json!({}), json!({ "startTime": NOW_S })] {
        let asked = ask(&world, &flow, params).await.unwrap();
        let run = over(&world, asked.id).await;
        assert_eq!(status(&run), RunStatus::Success);
        assert!(notes(&run).contains("the whole table holds what was landed before"), "{}", notes(&run));
    }
    worker.stop().await;
    assert_eq!(world.executor.table().rows, 12);
    assert!(world.executor.reads.lock().unwrap().iter().all(|read| read.delta.is_none()));
    assert_eq!(cause(&world, &flow, json!({ "windowEndTime": 1 })).await, Cause::RunParams, "half a window is none");
}

#[tokio::test]
async fn a_window_that_only_meets_an_earlier_one_is_no_overlap() {
    let world = World::start().await;
    world.executor.on_land([Land::Rows(0, 0)]);
    let (flow, _, worker) = landed_flow(&world).await;
    let first = over(&world, ask(&world, &flow, window(0, 100)).await.unwrap().id).await;
    let meets = over(&world, ask(&world, &flow, window(100, 200)).await.unwrap().id).await;
    let overlaps = over(&world, ask(&world, &flow, window(99, 101)).await.unwrap().id).await;
    worker.stop().await;
    assert_eq!(
        (notes(&first), notes(&meets)),
        ("null".to_owned(), "null".to_owned()),
        "an empty table was landed before"
    );
    assert!(notes(&overlaps).contains(&first.id.to_string()), "{}", notes(&overlaps));
    assert!(notes(&overlaps).contains(&meets.id.to_string()), "{}", notes(&overlaps));
}

#[tokio::test]
async fn a_run_waits_for_its_time_and_for_the_run_that_is_at_work() {
    let world = World::start().await;
    let go_on = Arc::new(Notify::new());
    world.executor.on_land([Land::Stalled(go_on.clone())]);
    let flow = world.flow().await;
    let worker = world.worker();
    world.landings(1).await;
    let now = ask(&world, &flow, window(0, 1)).await.unwrap();
    let mut later = window(1, 2);
    later["startTime"] = json!(NOW_S + 3600);
    let later = ask(&world, &flow, later).await.unwrap();
    sleep(Duration::from_millis(100)).await;
    assert_eq!(status(&shown(&world, now.id).await), RunStatus::Scheduled, "one run of a flow is at work at a time");
    go_on.notify_one();
    over(&world, now.id).await;
    sleep(Duration::from_millis(100)).await;
    assert_eq!(status(&shown(&world, later.id).await), RunStatus::Scheduled);
    world.clock.advance(Duration::from_secs(3600));
    assert_eq!(status(&over(&world, later.id).await), RunStatus::Success);
    worker.stop().await;
    assert_eq!(world.executor.table().rows, 9);
}

#[tokio::test]
async fn so_many_runs_of_a_flow_may_wait_and_no_more() {
    let world = World::start().await;
    let flow = world.flow().await;
    for _ in 0..RUNS_WAITING_MAX {
        ask(&world, &flow, window(0, 1)).await.unwrap();
    }
    let refused = ask(&world, &flow, window(0, 1)).await.unwrap_err();
    assert_eq!(refused.cause(), Cause::RunCreation);
    assert!(refused.to_string().contains("100 runs"), "{refused}");
}

#[tokio::test]
async fn a_flow_whose_parts_are_not_in_use_makes_no_run() {
    let world = World::start().await;
    let flow = world.flow().await;
    let source = flow.body.source_connection_ids[0];
    let base = world.control.get::<SourceConnection>(&world.caller, &source.to_string()).await.unwrap();
    let base = base.body.base_connection_id.unwrap();
    rewrite::<Connection>(&world, &base, |base| base.state = State::Disabled).await;
    let refused = ask(&world, &flow, window(0, 1)).await.unwrap_err();
    assert_eq!(refused.cause(), Cause::RunCreation);
    assert!(refused.to_string().contains("disabled"), "{refused}");
}

#[tokio::test]
async fn a_column_that_is_gone_when_the_run_begins_fails_it_with_the_column_named() {
    let world = World::start().await;
    let (flow, _, worker) = landed_flow(&world).await;
    worker.stop().await;
    let delta = DeltaColumn { name: "gone".to_owned(), date_format: None, timezone: None };
    let windowed = Some(Windowed { window: Window { start_ms: 0, end_ms: 1_000 }, delta });
    let asked = queued(&world, &flow, &RunOrigin { windowed, ..RunOrigin::default() }, RunStatus::Scheduled).await;
    let worker = world.worker();
    let run = over(&world, asked.id).await;
    worker.stop().await;
    assert_eq!(status(&run), RunStatus::Failed);
    let error = &run.body.metrics["statusSummary"]["errors"][0];
    assert_eq!(error["code"], "CONNECTOR-1001-500");
    assert!(error["message"].to_string().contains("no column gone"), "{error}");
}

#[tokio::test]
async fn a_window_stays_that_of_its_run_when_another_worker_takes_it_over() {
    let world = World::start().await;
    let (flow, _, worker) = landed_flow(&world).await;
    worker.stop().await;
    let asked = ask(&world, &flow, window(NOW_S, NOW_S + 60)).await.unwrap();
    world.executor.on_land([Land::Stalled(Arc::default())]);
    let first = world.worker();
    world.landings(2).await;
    first.kill().await;
    let mut tx = world.store.write(&world.caller.scope).await.unwrap();
    let mut shown = tx.get::<Run>(&asked.id).await.unwrap().unwrap();
    shown.body.params = None;
    tx.rewrite(&shown).await.unwrap();
    tx.commit().await.unwrap();
    world.let_leases_end();
    let second = RunningWorker::start(world.other_process());
    let run = over(&world, asked.id).await;
    second.stop().await;
    let minute = Window { start_ms: NOW_MS, end_ms: NOW_MS + 60_000 };
    assert_eq!((status(&run), window_read(&world)), (RunStatus::Success, Some(minute)));
    assert_eq!(run.body.activities[0]["durationSummary"]["extensions"]["windowStart"], NOW_MS);
}

#[tokio::test]
async fn a_window_whose_commit_is_found_later_is_the_one_that_was_read() {
    let world = World::start().await;
    let (flow, _, worker) = landed_flow(&world).await;
    worker.stop().await;
    let asked = ask(&world, &flow, window(NOW_S, NOW_S + 60)).await.unwrap();
    world.executor.on_commit([Commit::MadeThenStalled(Arc::default())]);
    let first = world.worker();
    while world.executor.table().commits < 2 {
        sleep(Duration::from_millis(5)).await;
    }
    first.kill().await;
    rewrite::<Run>(&world, &asked.id, |run| {
        run.body.params = None;
        run.body.metrics["statusSummary"]["status"] = json!("failed");
    })
    .await;
    let second = RunningWorker::start(world.other_process());
    let run = when(&world, asked.id, |run| status(run) == RunStatus::Success).await;
    second.stop().await;
    assert_eq!((read_count(&run), world.executor.table().rows), (Some(3), 6), "each row once");
    let covered = &run.body.activities[0]["durationSummary"]["extensions"];
    assert_eq!(*covered, json!({ "windowStart": NOW_MS, "windowEnd": NOW_MS + 60_000 }));
    assert_eq!(repeat(&world, &run).await.unwrap_err().cause(), Cause::NotRepeatable);
}

#[tokio::test]
async fn a_waiting_run_on_demand_of_a_deleted_flow_is_closed_with_its_window() {
    let world = World::start().await;
    let (flow, _, worker) = landed_flow(&world).await;
    worker.stop().await;
    let asked = ask(&world, &flow, window(1, 2)).await.unwrap();
    world.control.delete_flow(&world.caller, &flow.id.to_string(), Precondition::None).await.unwrap();
    let run = shown(&world, asked.id).await;
    assert_eq!(status(&run), RunStatus::Failed);
    assert_eq!(run.body.activities[0]["durationSummary"]["extensions"]["windowStart"], 1_000);
    assert_eq!(world.executor.landings.load(Ordering::SeqCst), 1);
}
