//! Clocks that are put back: no instant gets a second run, and no flow stands still for long.

use headwaters_model::run::RunStatus;

use super::*;
use crate::asked::{NOW_S, ask, landed_flow, shown, window};
use crate::world::{RunningWorker, status};

/// Half a year.
const FAR: Duration = Duration::from_secs(180 * 86_400);

#[tokio::test]
async fn a_clock_that_goes_back_over_an_instant_makes_no_second_run_of_it() {
    let world = World::exact().await;
    world.recurring_flow().await;
    let worker = world.worker();
    world.nth_over(0).await;
    world.clock.advance(PERIOD);
    world.nth_over(1).await;
    world.clock.set(instant_ms(0) + 1_000);
    assert_eq!(world.runs_after_a_look().await, 2);
    world.clock.set(instant_ms(1) + 1_000);
    assert_eq!(world.runs_after_a_look().await, 2, "it has its run");
    world.clock.set(instant_ms(2));
    world.nth_over(2).await;
    worker.stop().await;
    assert_eq!(world.landed(), [BEFORE, between(0, 1), between(1, 2)]);
}

#[tokio::test]
async fn a_flow_that_a_clock_was_far_ahead_for_goes_on_with_the_right_time() {
    let world = World::exact().await;
    let flow = world.recurring_flow().await;
    let worker = world.worker();
    world.nth_over(0).await;
    world.clock.advance(FAR);
    let ahead = world.nth_over(1).await;
    world.clock.set(instant_ms(1) - 1_000);
    assert_eq!(world.runs_after_a_look().await, 2);
    let next = world.store.read(&world.caller.scope).await.unwrap().next_due(flow.id).await.unwrap();
    assert_eq!(next, Some(instant_ms(1)), "not in half a year");
    world.clock.set(instant_ms(1));
    let again = world.nth_over(2).await;
    worker.stop().await;
    assert!(ahead.id < again.id);
    let reached = world.watermark_ms(&flow).await.unwrap();
    assert!(reached > instant_ms(2), "the source of this test believes the clock: what it read stays read");
}

#[tokio::test]
async fn a_run_that_was_made_by_a_clock_far_ahead_does_not_wait_for_that_time() {
    let world = World::exact().await;
    let flow = world.recurring_flow().await;
    let worker = world.worker();
    world.nth_over(0).await;
    worker.stop().await;
    world.clock.advance(FAR);
    // The workers are busy: the run is made and waits.
    let scheduler = RunningWorker::start(world.process_with(Settings { runs_at_once: 0, ..exact() }));
    let made = world.nth(1).await;
    world.clock.set(instant_ms(1) - 1_000);
    world.runs_after_a_look().await;
    scheduler.stop().await;
    let worker = world.worker();
    over(&world, made.id).await;
    worker.stop().await;
    assert_eq!(world.runs_after_a_look().await, 2);
    assert!(world.watermark_ms(&flow).await.is_some());
}

#[tokio::test]
async fn clocks_that_differ_a_little_do_not_take_instants_from_each_other() {
    let world = World::exact().await;
    world.recurring_flow().await;
    let worker = world.worker();
    world.nth_over(0).await;
    for k in 1..4 {
        world.clock.set(instant_ms(i64::try_from(k).unwrap()) + 500);
        world.nth_over(k).await;
        // A scheduler whose clock is behind by less than a minute looks too.
        world.clock.set(instant_ms(i64::try_from(k).unwrap()) - 20_000);
        assert_eq!(world.runs_after_a_look().await, k + 1);
    }
    worker.stop().await;
    assert_eq!(world.landed(), [BEFORE, between(0, 1), between(1, 2), between(2, 3)]);
}

#[tokio::test]
async fn a_run_that_was_asked_for_while_a_clock_was_far_ahead_does_not_wait_for_that_time() {
    let world = World::start().await;
    let (flow, _, worker) = landed_flow(&world).await;
    worker.stop().await;
    world.clock.advance(FAR);
    let far_s = NOW_S + i64::try_from(FAR.as_secs()).unwrap();
    let asked = ask(&world, &flow, window(0, 1)).await.unwrap();
    let mut params = window(0, 1);
    params["startTime"] = json!(far_s + 60);
    let later = ask(&world, &flow, params).await.unwrap();
    world.clock.set(NOW_MS + 1_000);
    let worker = world.worker();
    assert_eq!(status(&over(&world, asked.id).await), RunStatus::Success);
    worker.stop().await;
    assert_eq!(status(&shown(&world, later.id).await), RunStatus::Scheduled, "somebody has asked for that time");
}
