//! Changing flows: schedules, and what enable and disable mean for runs (flow-service.md 9, 10, 16.4).

use std::sync::Arc;
use std::time::Duration;

use headwaters_control::ports::Clock;
use headwaters_model::id::FlowId;
use headwaters_model::page::ListQuery;
use headwaters_model::resource::{Collection, Kind};
use headwaters_model::run::{Run, RunStatus};
use headwaters_store::{DAMAGED_PAUSE_MS, Stored, Table};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::*;
use crate::fakes::Land;

const NOW_S: i64 = NOW_MS / 1000;

fn copy() -> Value {
    json!([{ "name": "Copy", "params": { "deltaColumn": { "name": "updated_at" } } }])
}

impl World {
    /// When a flow is due next.
    pub(super) async fn due_ms(&self, flow: &str) -> Option<i64> {
        self.store.read(&self.caller.scope).await.unwrap().next_due(flow.parse().unwrap()).await.unwrap()
    }

    async fn set_due_ms(&self, flow: &str, due_ms: i64) {
        let mut tx = self.store.write(&self.caller.scope).await.unwrap();
        tx.set_next_due(flow.parse().unwrap(), Some(due_ms), self.clock.now_ms()).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// A flow that starts in an hour.
    async fn later_flow(&self) -> String {
        let mut command = self.flow_command().await;
        command.schedule_params = json!({ "startTime": NOW_S + 3600, "frequency": "once" }).as_object().cloned();
        self.control.create_flow(&self.caller, command).await.unwrap().id.to_string()
    }

    /// A flow that runs every hour since `start_s`, long ago perhaps.
    async fn hourly_flow(&self, start_s: i64) -> String {
        let id = self.later_flow().await;
        self.write::<Flow>(&id, |flow| {
            let schedule = json!({ "startTime": start_s.to_string(), "frequency": "hour", "interval": "1" });
            flow.body.schedule_params = schedule.as_object().cloned();
            flow.body.transformations = copy().as_array().cloned().unwrap();
        })
        .await;
        id
    }

    async fn runs(&self) -> usize {
        self.control.list::<Run>(&self.caller, &ListQuery::all()).await.unwrap().items.len()
    }
}

#[tokio::test]
async fn a_flow_that_is_at_rest_is_not_due() {
    let world = World::start().await;
    let id = world.later_flow().await;
    let disabled = world.act::<Flow>(&id, Action::Disable).await.unwrap();
    assert_eq!((disabled.state, disabled.body.last_operation.operation.as_str()), (State::Disabled, "disable"));
    assert_eq!(world.due_ms(&id).await, None);
    let patch = json!([replace("/scheduleParams/startTime", NOW_S + 60)]);
    world.patch::<Flow>(&id, patch).await.unwrap();
    assert_eq!(world.due_ms(&id).await, None, "nor when its schedule changes");
    assert_eq!(world.act::<Flow>(&id, Action::Disable).await.unwrap_err().cause(), Cause::NotApplicable);

    let worker = world.worker();
    world.clock.advance(Duration::from_secs(120));
    let enabled = world.act::<Flow>(&id, Action::Enable).await.unwrap();
    assert_eq!((enabled.state, enabled.body.last_operation.operation.as_str()), (State::Enabled, "enable"));
    assert_eq!(world.finished().await.body.status(), RunStatus::Success, "the instant that it missed");
    worker.stop().await;
    assert_eq!(world.act::<Flow>(&id, Action::Enable).await.unwrap_err().cause(), Cause::NotApplicable);
    assert_eq!(world.acts(&id).await, ["enable", "update", "disable", "create"]);
}

#[tokio::test]
async fn a_flow_that_has_run_once_does_not_run_twice() {
    let world = World::start().await;
    let id = world.flow().await.id.to_string();
    let worker = world.worker();
    world.finished().await;
    world.act::<Flow>(&id, Action::Disable).await.unwrap();
    world.act::<Flow>(&id, Action::Enable).await.unwrap();
    let settled = async {
        while world.due_ms(&id).await.is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), settled).await.expect("the scheduler finds the run in time");
    worker.stop().await;
    assert_eq!((world.runs().await, world.executor.table().rows), (1, 3));
}

#[tokio::test]
async fn a_run_in_progress_outlives_the_end_of_its_flows_use() {
    let world = World::start().await;
    let go_on = Arc::new(Notify::new());
    world.executor.on_land([Land::Stalled(go_on.clone())]);
    let id = world.flow().await.id.to_string();
    let worker = world.worker();
    world.landings(1).await;
    world.act::<Flow>(&id, Action::Disable).await.unwrap();
    go_on.notify_one();
    assert_eq!(world.finished().await.body.status(), RunStatus::Success);
    worker.stop().await;
    let flow = world.read::<Flow>(&id).await;
    assert_eq!((flow.state, flow.body.last_run_details.unwrap().state), (State::Disabled, RunStatus::Success));
}

#[tokio::test]
async fn a_patch_keeps_what_runs_have_written() {
    let world = World::start().await;
    let id = world.flow().await.id.to_string();
    let before = world.read::<Flow>(&id).await;
    let worker = world.worker();
    world.finished().await;
    worker.stop().await;
    let details = world.read::<Flow>(&id).await.body.last_run_details;
    assert!(details.is_some());
    let rename = Patch::parse(json!([replace("/name", "other")])).unwrap();
    let patched = world.control.patch::<Flow>(&world.caller, &id, &version(&before.etag), &rename).await.unwrap();
    assert_eq!(patched.body.last_run_details, details, "a run makes no new version");
    assert_eq!(world.read::<Flow>(&id).await.body.last_run_details, details);
}

#[tokio::test]
async fn a_flow_that_has_not_started_can_be_moved() {
    let world = World::start().await;
    let id = world.later_flow().await;
    assert_eq!(world.due_ms(&id).await, Some(NOW_MS + 3_600_000));
    let start = |start_s: i64| json!([replace("/scheduleParams/startTime", start_s.to_string())]);
    let patched = world.patch::<Flow>(&id, start(NOW_S + 60)).await.unwrap();
    assert_eq!(patched.document()["scheduleParams"]["startTime"], (NOW_S + 60).to_string(), "echoed as it was sent");
    assert_eq!(world.due_ms(&id).await, Some(NOW_MS + 60_000));
    assert_eq!(world.refused::<Flow>(&id, start(NOW_S - 301)).await, Cause::StartInPast);
    let recurring = json!([
        replace("/scheduleParams/frequency", "hour"),
        add("/scheduleParams/interval", 1),
        add("/transformations", copy()),
    ]);
    world.patch::<Flow>(&id, recurring).await.unwrap();
    assert_eq!(world.due_ms(&id).await, Some(NOW_MS + 60_000), "its first instant stays");
}

#[tokio::test]
async fn a_flow_asks_its_source_by_which_column_it_is_to_be_read() {
    let world = World::start().await;
    let id = world.later_flow().await;
    let by = |column: &str| {
        json!([
            replace("/scheduleParams/frequency", "hour"),
            add("/scheduleParams/interval", 1),
            add("/transformations", json!([{ "name": "Copy", "params": { "deltaColumn": { "name": column } } }])),
        ])
    };
    for (column, said) in [("colour", "no column colour"), ("paid", "boolean")] {
        let refused = world.patch::<Flow>(&id, by(column)).await.unwrap_err();
        assert_eq!(refused.cause(), Cause::InvalidValue, "{refused}");
        let told = refused.to_string();
        assert!(told.contains(said) && told.contains("/transformations/0/params/deltaColumn"), "{told}");
    }
    world.patch::<Flow>(&id, by("updated_at")).await.unwrap();
    let column = |name: &str| json!([replace("/transformations/0/params/deltaColumn/name", name)]);
    assert_eq!(world.refused::<Flow>(&id, column("colour")).await, Cause::InvalidValue);
    world.patch::<Flow>(&id, column("id")).await.unwrap();

    let draft = json!([{ "name": "Copy", "params": { "deltaColumn": { "name": "colour" } } }]);
    world.write::<Flow>(&id, |flow| flow.state = State::Draft).await;
    world.patch::<Flow>(&id, json!([replace("/transformations", draft)])).await.unwrap();
    let refused = world.act::<Flow>(&id, Action::Publish).await.unwrap_err();
    assert_eq!(refused.cause(), Cause::InvalidValue, "a draft is checked when it is published: {refused}");
    world.patch::<Flow>(&id, column("updated_at")).await.unwrap();
    world.act::<Flow>(&id, Action::Publish).await.unwrap();
    assert_eq!(world.due_ms(&id).await, Some(NOW_MS + 3_600_000));
}

#[tokio::test]
async fn what_has_started_can_not_be_moved_but_otherwise_changed() {
    let world = World::start().await;
    let id = world.later_flow().await;
    world.clock.advance(Duration::from_secs(2 * 3600));
    for state in [State::Enabled, State::Disabled] {
        let later = json!([replace("/scheduleParams/startTime", NOW_S + 4 * 3600)]);
        assert_eq!(world.refused::<Flow>(&id, later).await, Cause::StartPassed, "{state:?}");
        // The start lies in the past by now, which is no fault of a patch that leaves it.
        world.patch::<Flow>(&id, json!([replace("/name", state.name())])).await.unwrap();
        let same = json!([replace("/scheduleParams/startTime", NOW_S + 3600)]);
        world.patch::<Flow>(&id, same).await.unwrap();
        if state == State::Enabled {
            assert_eq!(world.due_ms(&id).await, Some(NOW_MS + 3_600_000), "it waits for the scheduler");
            world.act::<Flow>(&id, Action::Disable).await.unwrap();
        }
    }
}

#[tokio::test]
async fn the_rhythm_of_a_recurring_flow_can_change_at_any_time_but_not_its_beginning() {
    let world = World::start().await;
    let id = world.hourly_flow(NOW_S - 1800).await;
    for (patch, cause) in [
        (replace("/scheduleParams/startTime", NOW_S + 60), Cause::StartPassed),
        (replace("/scheduleParams/frequency", "once"), Cause::OnceTooLate),
        (add("/scheduleParams/backfill", false), Cause::BackfillTooLate),
        (replace("/scheduleParams/interval", 0), Cause::IntervalNotPositive),
        (replace("/scheduleParams/frequency", "fortnight"), Cause::Frequency),
        (remove("/transformations/0"), Cause::NoDeltaColumn),
    ] {
        assert_eq!(world.refused::<Flow>(&id, json!([patch])).await, cause, "{patch}");
        world.write::<Flow>(&id, |flow| flow.state = State::Disabled).await;
        assert_eq!(world.refused::<Flow>(&id, json!([patch])).await, cause, "at rest: {patch}");
        world.write::<Flow>(&id, |flow| flow.state = State::Enabled).await;
    }
    world.set_due_ms(&id, NOW_MS + 1_800_000).await;
    world.patch::<Flow>(&id, json!([replace("/name", "x"), add("/scheduleParams/backfill", "true")])).await.unwrap();
    assert_eq!(world.due_ms(&id).await, Some(NOW_MS + 1_800_000));
    let patch = json!([replace("/scheduleParams/frequency", "minute"), replace("/scheduleParams/interval", "20")]);
    world.patch::<Flow>(&id, patch).await.unwrap();
    assert_eq!(world.due_ms(&id).await, Some(NOW_MS + 600_000), "every 20 minutes from the start");
    world.set_due_ms(&id, NOW_MS - 1000).await;
    world.patch::<Flow>(&id, json!([replace("/scheduleParams/interval", 30)])).await.unwrap();
    assert_eq!(world.due_ms(&id).await, Some(NOW_MS - 1000), "an instant that has come keeps its turn");

    world.act::<Flow>(&id, Action::Disable).await.unwrap();
    world.clock.advance(Duration::from_secs(60));
    world.act::<Flow>(&id, Action::Enable).await.unwrap();
    assert_eq!(world.due_ms(&id).await, Some(NOW_MS + 1_800_000), "it goes on at its next instant");
}

#[tokio::test]
async fn a_recurring_flow_that_has_not_started_becomes_once_in_one_patch() {
    let world = World::start().await;
    let id = world.hourly_flow(NOW_S + 3600).await;
    let (once, interval, delta) = (
        replace("/scheduleParams/frequency", "once"),
        remove("/scheduleParams/interval"),
        replace("/transformations", json!([])),
    );
    assert_eq!(world.refused::<Flow>(&id, json!([once])).await, Cause::OnceWithInterval);
    assert_eq!(world.refused::<Flow>(&id, json!([once, interval])).await, Cause::OnceWithDelta);
    let backfill = add("/scheduleParams/backfill", true);
    assert_eq!(world.refused::<Flow>(&id, json!([once, interval, backfill, delta])).await, Cause::OnceWithBackfill);
    world.patch::<Flow>(&id, json!([once, interval, delta])).await.unwrap();
    assert_eq!(world.due_ms(&id).await, Some(NOW_MS + 3_600_000));
}

#[tokio::test]
async fn a_run_does_not_read_through_what_was_taken_out_of_use() {
    let world = World::start().await;
    let [connection, .., flow] = world.chain().await;
    world.patch::<Connection>(&connection, json!([replace("/state", "disabled")])).await.unwrap();
    let worker = world.worker();
    let run = world.finished().await;
    assert_eq!(run.body.status(), RunStatus::Failed);
    let told = run.body.metrics.to_string();
    assert!(told.contains(&connection) && told.contains("in the state disabled"), "{told}");
    assert_eq!((world.executor.table().rows, world.executor.reads.lock().unwrap().len()), (0, 0));

    world.patch::<Connection>(&connection, json!([replace("/state", "enabled")])).await.unwrap();
    let again = world.control.retrigger_run(&world.caller, &run.id.to_string(), &Precondition::None).await.unwrap();
    let landed = async {
        while world.executor.table().rows == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), landed).await.expect("the repeat lands in time");
    worker.stop().await;
    assert_eq!(again.body.flow_id.to_string(), flow);
}

#[tokio::test]
async fn the_next_instant_is_one_of_the_schedule_that_there_is_then() {
    let world = World::start().await;
    let id = world.hourly_flow(NOW_S - 1800).await;
    world.set_due_ms(&id, NOW_MS - 1_800_000).await;
    let mut daily = world.read::<Flow>(&id).await;
    daily.body.schedule_params.as_mut().unwrap().insert("frequency".into(), "day".into());
    let expected = daily.touch(&world.caller.actor, NOW_MS);
    // Somebody else is writing: the scheduler has found the flow and waits for its turn.
    let mut tx = world.store.write(&world.caller.scope).await.unwrap();
    let worker = world.worker();
    tokio::time::sleep(Duration::from_millis(200)).await;
    tx.replace(&daily, &expected).await.unwrap();
    tx.commit().await.unwrap();
    let moved_on = async {
        while world.due_ms(&id).await == Some(NOW_MS - 1_800_000) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), moved_on).await.expect("the scheduler comes by in time");
    worker.stop().await;
    assert_eq!(world.due_ms(&id).await, Some(NOW_MS - 1_800_000 + 86_400_000));
}

/// A row of the flows whose body no build has written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Damage {
    name: String,
}

impl Kind for Damage {
    type Id = FlowId;
    const COLLECTION: Collection = Collection::Flows;

    fn mint() -> FlowId {
        FlowId::mint()
    }
}

impl Stored for Damage {
    const TABLE: &'static Table = Flow::TABLE;
}

#[tokio::test]
async fn a_flow_that_can_not_be_read_does_not_stand_before_the_others_for_ever() {
    let world = World::start().await;
    let broken = world.read::<Flow>(&world.later_flow().await).await;
    let Resource { id, scope, created, updated, etag, state, .. } = broken.clone();
    let body = Damage { name: "x".into() };
    let mut tx = world.store.write(&world.caller.scope).await.unwrap();
    tx.rewrite(&Resource::<Damage> { id, scope, created, updated, etag, state, body }).await.unwrap();
    tx.commit().await.unwrap();
    let id = broken.id.to_string();
    world.set_due_ms(&id, NOW_MS - 1000).await;
    let worker = world.worker();
    let put_aside = async {
        while world.due_ms(&id).await == Some(NOW_MS - 1000) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), put_aside).await.expect("the scheduler comes by in time");
    worker.stop().await;
    assert_eq!(world.due_ms(&id).await, Some(NOW_MS + DAMAGED_PAUSE_MS));
    assert_eq!(world.runs().await, 0);
}
