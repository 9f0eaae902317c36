//! When a flow gets its runs.

use std::sync::Arc;

use headwaters_model::etag::Precondition;
use headwaters_model::resource::{Action, State};
use headwaters_model::run::RunStatus;
use tokio::sync::Notify;

use super::*;
use crate::asked::{rewrite, shown};
use crate::fakes::Land;
use crate::world::{RunningWorker, status};

#[tokio::test]
async fn a_flow_runs_at_each_of_its_instants_and_reads_each_moment_once() {
    let world = World::exact().await;
    let flow = world.recurring_flow().await;
    let worker = world.worker();
    for k in 0..4 {
        let run = world.nth_over(k).await;
        assert_eq!(status(&run), RunStatus::Success);
        assert_eq!(world.runs_after_a_look().await, k + 1, "nothing more is due");
        world.clock.advance(PERIOD);
    }
    world.nth_over(4).await;
    worker.stop().await;
    assert_eq!(world.landed(), [BEFORE, between(0, 1), between(1, 2), between(2, 3), between(3, 4)]);
    assert_eq!(world.watermark_ms(&flow).await, Some(instant_ms(4)));
    assert_eq!(world.executor.table().rows, 15);
}

#[tokio::test]
async fn after_a_pause_one_run_catches_up_on_everything_that_was_missed() {
    let world = World::exact().await;
    world.recurring_flow().await;
    let worker = world.worker();
    world.nth_over(0).await;
    worker.stop().await;
    world.clock.advance(PERIOD * 1000 + Duration::from_secs(7));
    let worker = RunningWorker::start(world.other_process());
    world.nth_over(1).await;
    assert_eq!(world.runs_after_a_look().await, 2, "one run, not a thousand");
    world.clock.advance(PERIOD);
    world.nth_over(2).await;
    worker.stop().await;
    assert_eq!(world.landed(), [BEFORE, between(0, 1000), between(1000, 1001)]);
}

#[tokio::test]
async fn while_a_run_goes_on_no_other_is_made_and_the_next_covers_everything_due() {
    let world = World::exact().await;
    let flow = world.recurring_flow().await;
    let go_on = Arc::new(Notify::new());
    world.executor.on_land([Land::Stalled(go_on.clone())]);
    let worker = world.worker();
    world.landings(1).await;
    for _ in 0..3 {
        world.clock.advance(PERIOD);
        assert_eq!(world.runs_after_a_look().await, 1);
    }
    assert!(world.store.due_flows(instant_ms(3), 10).await.unwrap().is_empty(), "a poll does not find it");
    go_on.notify_one();
    world.nth_over(1).await;
    assert_eq!(world.runs_after_a_look().await, 2);
    worker.stop().await;
    assert_eq!(world.landed(), [BEFORE, between(0, 3)]);
    assert_eq!(world.watermark_ms(&flow).await, Some(instant_ms(3)));
}

#[tokio::test]
async fn a_run_that_waits_for_a_worker_counts_as_one_that_goes_on() {
    let world = World::with(Settings { runs_at_once: 1, ..exact() }).await;
    world.executor.on_land([Land::Stalled(Arc::default())]);
    world.flow().await;
    let worker = world.worker();
    world.landings(1).await;
    world.recurring_flow().await;
    world.nth(1).await;
    world.clock.advance(PERIOD * 5);
    assert_eq!(world.runs_after_a_look().await, 2);
    worker.kill().await;
}

#[tokio::test]
async fn without_backfill_the_first_run_reads_from_the_start_on() {
    let world = World::exact().await;
    let late = serde_json::json!({ "startTime": (NOW_MS / 1000 - 300).to_string(), "backfill": "false" });
    world.recurring_flow_with(late, "updated_at").await;
    let worker = world.worker();
    let first = world.nth_over(0).await;
    world.clock.advance(PERIOD);
    world.nth_over(1).await;
    worker.stop().await;
    let start_ms = NOW_MS - 300_000;
    assert_eq!(
        (status(&first), crate::asked::read_count(&first)),
        (RunStatus::Success, Some(0)),
        "nothing is after it"
    );
    assert_eq!(world.landed(), [Window { start_ms, end_ms: start_ms + PERIOD_MS }]);
}

#[tokio::test]
async fn a_flow_out_of_use_makes_no_run_and_goes_on_at_its_next_instant_with_what_it_missed() {
    let world = World::exact().await;
    let flow = world.recurring_flow().await;
    let id = flow.id.to_string();
    let worker = world.worker();
    world.nth_over(0).await;
    world.control.act::<Flow>(&world.caller, &id, &Precondition::None, Action::Disable).await.unwrap();
    world.clock.advance(PERIOD * 3 + Duration::from_secs(60));
    assert_eq!(world.runs_after_a_look().await, 1);
    world.control.act::<Flow>(&world.caller, &id, &Precondition::None, Action::Enable).await.unwrap();
    assert_eq!(world.runs_after_a_look().await, 1, "the next tick is to come");
    world.clock.advance(PERIOD);
    world.nth_over(1).await;
    worker.stop().await;
    assert_eq!(world.landed(), [BEFORE, between(0, 4)]);
}

#[tokio::test]
async fn a_run_in_progress_of_a_flow_that_is_disabled_finishes_and_the_next_comes_when_it_is_enabled() {
    let world = World::exact().await;
    let flow = world.recurring_flow().await;
    let id = flow.id.to_string();
    let go_on = Arc::new(Notify::new());
    world.executor.on_land([Land::Stalled(go_on.clone())]);
    let worker = world.worker();
    world.landings(1).await;
    world.control.act::<Flow>(&world.caller, &id, &Precondition::None, Action::Disable).await.unwrap();
    world.clock.advance(PERIOD * 2);
    go_on.notify_one();
    assert_eq!(status(&world.nth_over(0).await), RunStatus::Success);
    assert_eq!(world.runs_after_a_look().await, 1);
    world.control.act::<Flow>(&world.caller, &id, &Precondition::None, Action::Enable).await.unwrap();
    world.nth_over(1).await;
    worker.stop().await;
    assert_eq!(world.landed(), [BEFORE, between(0, 2)], "the instant that has just come is the next one");
}

#[tokio::test]
async fn a_slower_rhythm_does_not_take_back_an_instant_that_has_come() {
    let world = World::exact().await;
    let flow = world.recurring_flow().await;
    let go_on = Arc::new(Notify::new());
    let worker = world.worker();
    world.nth_over(0).await;
    world.executor.on_land([Land::Stalled(go_on.clone())]);
    world.clock.advance(PERIOD);
    world.landings(2).await;
    world.clock.advance(PERIOD);
    // The run of the second instant is still busy; the third has come, and then the flow becomes a daily one.
    let patch = serde_json::json!([
        { "op": "replace", "path": "/scheduleParams/frequency", "value": "day" },
        { "op": "replace", "path": "/scheduleParams/interval", "value": 1 },
    ]);
    let patch = headwaters_model::patch::Patch::parse(patch).unwrap();
    let any = Precondition::IfMatch("*".into());
    world.control.patch::<Flow>(&world.caller, &flow.id.to_string(), &any, &patch).await.unwrap();
    go_on.notify_one();
    world.nth_over(2).await;
    worker.stop().await;
    assert_eq!(world.landed(), [BEFORE, between(0, 1), between(1, 2)]);
    let next = world.store.read(&world.caller.scope).await.unwrap().next_due(flow.id).await.unwrap();
    assert_eq!(next, Some(NOW_MS + 86_400_000));
}

#[tokio::test]
async fn a_flow_that_is_deleted_while_it_runs_is_not_due_any_more() {
    let world = World::exact().await;
    let flow = world.recurring_flow().await;
    world.executor.on_land([Land::UntilCancelled]);
    let worker = world.worker();
    world.landings(1).await;
    world.clock.advance(PERIOD * 2);
    world.control.delete_flow(&world.caller, &flow.id.to_string(), Precondition::None).await.unwrap();
    let run = world.nth_over(0).await;
    assert_eq!((status(&run), world.runs_after_a_look().await), (RunStatus::Failed, 1));
    worker.stop().await;
    assert_eq!(world.executor.table().rows, 0);
}

#[tokio::test]
async fn a_flow_whose_delta_column_was_lost_fails_its_runs_and_stays_in_use() {
    let world = World::exact().await;
    let flow = world.recurring_flow().await;
    rewrite::<Flow>(&world, &flow.id, |flow| flow.body.transformations.clear()).await;
    let worker = world.worker();
    let run = world.nth_over(0).await;
    assert_eq!(status(&run), RunStatus::Failed);
    let told = run.body.metrics["statusSummary"]["errors"][0]["message"].to_string();
    assert!(told.contains("delta column"), "{told}");
    world.clock.advance(PERIOD);
    world.nth_over(1).await;
    worker.stop().await;
    let flow = crate::asked::flow_now(&world, &flow).await;
    assert_eq!(flow.state, State::Enabled);
}

#[tokio::test]
async fn any_number_of_schedulers_and_workers_agree_on_one_run_for_each_instant() {
    const FLOWS: usize = 12;
    const INSTANTS: usize = 4;
    let world = World::exact().await;
    for _ in 0..FLOWS {
        world.recurring_flow().await;
    }
    let workers: Vec<_> = (0..4).map(|_| RunningWorker::start(world.other_process())).collect();
    for k in 1..=INSTANTS {
        world.nth(k * FLOWS - 1).await;
        for run in runs(&world).await {
            over(&world, run.id).await;
        }
        assert_eq!(runs(&world).await.len(), k * FLOWS);
        if k < INSTANTS {
            world.clock.advance(PERIOD);
        }
    }
    for worker in workers {
        worker.stop().await;
    }
    let expected = [BEFORE, between(0, 1), between(1, 2), between(2, 3)];
    let tables = world.executor.tables();
    assert_eq!(tables.len(), FLOWS);
    assert!(tables.iter().all(|table| table.windows == expected), "{tables:#?}");
}

#[tokio::test]
async fn what_a_scheduled_run_reads_is_in_its_record() {
    let world = World::exact().await;
    world.recurring_flow().await;
    let worker = world.worker();
    world.nth_over(0).await;
    world.clock.advance(PERIOD);
    let run = world.nth_over(1).await;
    worker.stop().await;
    let window = serde_json::json!({ "windowStart": instant_ms(0), "windowEnd": instant_ms(1) });
    assert_eq!(shown_window(&shown(&world, run.id).await), window);
}
