//! What is asked of runs: making one, repeating it, reporting on it; and how a test sees what became of it.

use std::time::Duration;

use headwaters_control::{Caller, Cause, CommandError, CreateRun, ReportRun};
use headwaters_model::account::Role;
use headwaters_model::etag::Precondition;
use headwaters_model::flow::Flow;
use headwaters_model::id::RunId;
use headwaters_model::metrics::Window;
use headwaters_model::page::{ListQuery, SEARCH_LIMIT_MAX};
use headwaters_model::resource::{Resource, State};
use headwaters_model::run::{Run, RunOrigin, RunStatus};
use headwaters_model::watermark::Span;
use headwaters_store::Stored;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::world::{NOW_MS, RunningWorker, World, object, status};

pub(crate) const NOW_S: i64 = NOW_MS / 1000;
/// No test waits longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn window(start_s: i64, end_s: i64) -> Value {
    json!({ "windowStartTime": start_s, "windowEndTime": end_s, "deltaColumn": { "name": "updated_at" } })
}

pub(crate) async fn ask_for(world: &World, flow: &str, params: Value) -> Result<Resource<Run>, CommandError> {
    let command = CreateRun { flow_id: Some(flow.to_owned()), params: object(&params) };
    world.control.create_run(&world.caller, command).await
}

pub(crate) async fn ask(world: &World, flow: &Resource<Flow>, params: Value) -> Result<Resource<Run>, CommandError> {
    ask_for(world, &flow.id.to_string(), params).await
}

pub(crate) async fn cause(world: &World, flow: &Resource<Flow>, params: Value) -> Cause {
    ask(world, flow, params).await.unwrap_err().cause()
}

pub(crate) async fn shown(world: &World, id: RunId) -> Resource<Run> {
    world.control.get::<Run>(&world.caller, &id.to_string()).await.unwrap()
}

pub(crate) async fn flow_now(world: &World, flow: &Resource<Flow>) -> Resource<Flow> {
    world.control.get::<Flow>(&world.caller, &flow.id.to_string()).await.unwrap()
}

/// The run once it has come so far.
pub(crate) async fn when(world: &World, id: RunId, reached: impl Fn(&Resource<Run>) -> bool) -> Resource<Run> {
    let waiting = async {
        loop {
            let run = shown(world, id).await;
            if reached(&run) {
                return run;
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    match timeout(PATIENCE, waiting).await {
        Ok(run) => run,
        Err(_) => panic!("the run did not get so far: {}", shown(world, id).await.document()),
    }
}

pub(crate) async fn over(world: &World, id: RunId) -> Resource<Run> {
    when(world, id, |run| status(run).is_final()).await
}

/// All runs of the flow, the oldest first.
pub(crate) async fn runs(world: &World) -> Vec<Resource<Run>> {
    let all = ListQuery { limit: SEARCH_LIMIT_MAX, ..ListQuery::all() };
    let mut runs = world.control.list::<Run>(&world.caller, &all).await.unwrap().items;
    runs.sort_by_key(|run| run.id);
    runs
}

/// Changes a stored resource behind the back of control.
pub(crate) async fn rewrite<K: Stored>(world: &World, id: &K::Id, change: impl FnOnce(&mut Resource<K>)) {
    let mut tx = world.store.write(&world.caller.scope).await.unwrap();
    let mut resource = tx.get::<K>(id).await.unwrap().unwrap();
    change(&mut resource);
    let expected = resource.touch(&world.caller.actor, NOW_MS);
    tx.replace(&resource, &expected).await.unwrap();
    tx.commit().await.unwrap();
}

/// A flow whose own run is over: it has landed three rows.
pub(crate) async fn landed_flow(world: &World) -> (Resource<Flow>, Resource<Run>, RunningWorker) {
    let flow = world.flow().await;
    let worker = world.worker();
    let run = world.finished().await;
    (flow, run, worker)
}

pub(crate) fn notes(run: &Resource<Run>) -> String {
    run.body.metrics["statusSummary"]["extensions"]["notes"].to_string()
}

pub(crate) fn read_count(run: &Resource<Run>) -> Option<u64> {
    run.body.metrics["recordSummary"]["inputRecordCount"].as_u64()
}

/// A run that is there, as far as `status` says, without anybody having asked for it.
pub(crate) async fn queued(
    world: &World,
    flow: &Resource<Flow>,
    origin: &RunOrigin,
    status: RunStatus,
) -> Resource<Run> {
    let mut body = Run::scheduled(flow.id, flow.body.flow_spec.clone(), None);
    body.metrics["statusSummary"]["status"] = json!(status);
    let run = Resource::new(world.caller.scope.clone(), State::Enabled, body, &world.caller.actor, NOW_MS);
    let mut tx = world.store.write(&world.caller.scope).await.unwrap();
    tx.queue_run(&run, origin, NOW_MS).await.unwrap();
    tx.commit().await.unwrap();
    run
}

/// The window that was read last, as it was asked for; none for the whole table.
pub(crate) fn window_read(world: &World) -> Option<Window> {
    let read = world.executor.reads.lock().unwrap().last().unwrap().clone();
    match read.delta?.span {
        Span::Asked(window) => Some(window),
        Span::Since(since) => panic!("not a window, but what has come since: {since:?}"),
    }
}

pub(crate) async fn repeat(world: &World, run: &Resource<Run>) -> Result<Resource<Run>, CommandError> {
    world.control.retrigger_run(&world.caller, &run.id.to_string(), &Precondition::None).await
}

pub(crate) async fn report(
    world: &World,
    caller: &Caller,
    run: &Resource<Run>,
    fields: Value,
) -> Result<Resource<Run>, CommandError> {
    let command = ReportRun { flow_id: Some(run.body.flow_id.to_string()), fields: object(&fields).unwrap() };
    let expected = Precondition::IfMatch(run.etag.to_string());
    world.control.report_run(caller, &run.id.to_string(), &expected, command).await
}

pub(crate) fn service(world: &World) -> Caller {
    Caller { role: Role::Service, ..world.caller.clone() }
}
