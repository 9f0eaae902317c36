//! Runs on demand beside those of the schedule (flow-service.md 16.6, 17.5).

use headwaters_control::Cause;
use headwaters_model::run::RunStatus;

use super::*;
use crate::asked::{NOW_S, ask, cause, notes, window};
use crate::world::status;

fn offered() -> Settings {
    Settings { on_demand_for_recurring: true, ..exact() }
}

#[tokio::test]
async fn a_flow_that_recurs_runs_on_demand_only_where_a_setting_says_so() {
    let world = World::exact().await;
    let flow = world.recurring_flow().await;
    assert_eq!(cause(&world, &flow, window(0, 1)).await, Cause::NoRunsForFrequency);
    let world = World::with(offered()).await;
    let flow = world.recurring_flow().await;
    let other = json!({ "windowStartTime": 0, "windowEndTime": 1, "deltaColumn": { "name": "noted" } });
    assert_eq!(cause(&world, &flow, other).await, Cause::OtherDeltaColumn);
    let asked = ask(&world, &flow, json!({ "windowStartTime": 0, "windowEndTime": 1 })).await.unwrap();
    assert_eq!(asked.body.params.unwrap()["deltaColumn"]["name"], "updated_at", "the flow names it");
}

#[tokio::test]
async fn a_run_on_demand_moves_no_watermark_and_says_what_it_reads_again() {
    let world = World::with(offered()).await;
    let flow = world.recurring_flow().await;
    let worker = world.worker();
    let first = world.nth_over(0).await;
    world.clock.advance(PERIOD);
    let second = world.nth_over(1).await;

    let inside = over(&world, ask(&world, &flow, window(NOW_S - 60, NOW_S)).await.unwrap().id).await;
    assert_eq!(world.watermark_ms(&flow).await, Some(instant_ms(1)));
    let told = notes(&inside);
    assert!(told.contains(&first.id.to_string()) && !told.contains(&second.id.to_string()), "{told}");
    assert!(told.contains("the window overlaps") && !told.contains("whole table"), "{told}");
    let across = over(&world, ask(&world, &flow, window(NOW_S - 60, NOW_S + 60)).await.unwrap().id).await;
    let told = notes(&across);
    assert!([&first, &second, &inside].iter().all(|run| told.contains(&run.id.to_string())), "{told}");
    let ahead = over(&world, ask(&world, &flow, window(NOW_S + 900, NOW_S + 960)).await.unwrap().id).await;
    assert_eq!(notes(&ahead), "null", "nothing of it was read before");
    assert_eq!(world.watermark_ms(&flow).await, Some(instant_ms(1)));

    world.clock.advance(PERIOD);
    let third = world.nth_over(5).await;
    worker.stop().await;
    assert!(notes(&third).contains(&ahead.id.to_string()), "{}", notes(&third));
    assert!(!notes(&third).contains(&across.id.to_string()), "{}", notes(&third));
    assert_eq!(world.landed().last(), Some(&between(1, 2)), "it goes on where the schedule stood");
}

#[tokio::test]
async fn a_run_on_demand_does_not_hold_up_the_schedule_for_longer_than_it_takes() {
    let world = World::with(offered()).await;
    let flow = world.recurring_flow().await;
    let worker = world.worker();
    world.nth_over(0).await;
    let later = json!({ "startTime": NOW_S + 86_400, "windowStartTime": 0, "windowEndTime": 1 });
    let asked = ask(&world, &flow, later).await.unwrap();
    world.clock.advance(PERIOD);
    assert_eq!(status(&world.nth_over(2).await), RunStatus::Success, "one that waits for its time is not at work");
    worker.stop().await;
    assert_eq!(status(&crate::asked::shown(&world, asked.id).await), RunStatus::Scheduled);
    assert_eq!(world.landed(), [BEFORE, between(0, 1)]);
}
