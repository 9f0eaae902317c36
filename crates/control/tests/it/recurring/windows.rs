//! What a scheduled run asks its source to read, and what becomes of its answer.

use std::sync::Arc;

use headwaters_control::Cause;
use headwaters_model::etag::Precondition;
use headwaters_model::patch::Patch;
use headwaters_model::run::RunStatus;
use headwaters_model::watermark::{Delta, FirstRead, Span};
use tokio::sync::Notify;

use super::*;
use crate::asked::{read_count, rewrite};
use crate::fakes::{Commit, Land};
use crate::world::{RunningWorker, status};

fn last_read(world: &World) -> Delta {
    world.executor.reads.lock().unwrap().last().unwrap().delta.clone().unwrap()
}

#[tokio::test]
async fn a_run_is_given_the_watermark_its_instant_the_lag_and_the_column_of_its_flow() {
    let world = World::start().await;
    let flow = world.recurring_flow().await;
    let worker = world.worker();
    world.nth_over(0).await;
    let Delta { column, span: Span::Since(since) } = last_read(&world) else { panic!("since the watermark") };
    assert_eq!((column, since.watermark.clone()), (flow.body.delta_column().unwrap(), None));
    assert_eq!((since.first, since.instant_ms, since.lag_ms), (FirstRead::Everything, NOW_MS, 60_000));
    world.clock.advance(PERIOD);
    world.nth_over(1).await;
    worker.stop().await;
    let Span::Since(since) = last_read(&world).span else { panic!("since the watermark") };
    assert_eq!(since.watermark.unwrap().position, Position::Moment { through_us: (NOW_MS - 60_000) * 1000 });
    let end_ms = instant_ms(1) - 60_000;
    let expected = [Window { start_ms: 0, end_ms: NOW_MS - 60_000 }, Window { start_ms: NOW_MS - 60_000, end_ms }];
    assert_eq!(world.landed(), expected, "the lag makes no gap");
}

#[tokio::test]
async fn a_run_that_finds_nothing_moves_the_watermark_all_the_same() {
    let world = World::exact().await;
    let flow = world.recurring_flow().await;
    let worker = world.worker();
    world.nth_over(0).await;
    world.executor.on_land([Land::Rows(0, 0)]);
    world.clock.advance(PERIOD);
    let empty = world.nth_over(1).await;
    assert_eq!((status(&empty), read_count(&empty)), (RunStatus::Success, Some(0)));
    assert_eq!(world.watermark_ms(&flow).await, Some(instant_ms(1)));
    world.clock.advance(PERIOD);
    world.nth_over(2).await;
    worker.stop().await;
    assert_eq!(world.landed(), [BEFORE, between(1, 2)]);
}

#[tokio::test]
async fn a_column_that_counts_is_read_by_value_and_shows_no_window() {
    let world = World::exact().await;
    let flow = world.recurring_flow_with(json!({}), "id").await;
    let worker = world.worker();
    world.nth_over(0).await;
    world.clock.advance(PERIOD);
    let run = world.nth_over(1).await;
    worker.stop().await;
    let position = world.watermark(&flow).await.unwrap().position;
    assert_eq!(position, Position::Counter { through: Some((instant_ms(1) / 1000).to_string()), seen: Vec::new() });
    assert_eq!((shown_window(&run), &run.body.params), (Value::Null, &None));
    assert_eq!(crate::asked::notes(&run), "null");
}

#[tokio::test]
async fn the_window_of_a_run_is_shown_among_its_params_once_it_is_known() {
    let world = World::exact().await;
    world.recurring_flow().await;
    let worker = world.worker();
    world.nth_over(0).await;
    world.clock.advance(PERIOD);
    let run = world.nth_over(1).await;
    worker.stop().await;
    let params = json!({ "windowStartTime": instant_ms(0) / 1000, "windowEndTime": instant_ms(1) / 1000 });
    assert_eq!(json!(run.body.params), params);
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_found_with_its_window_and_nothing_is_read_twice() {
    let world = World::exact().await;
    let flow = world.recurring_flow().await;
    let worker = world.worker();
    world.nth_over(0).await;
    world.executor.on_commit([Commit::AnswerLost]);
    world.clock.advance(PERIOD);
    let run = world.nth_over(1).await;
    worker.stop().await;
    assert_eq!(status(&run), RunStatus::Success);
    assert_eq!(shown_window(&run), json!({ "windowStart": instant_ms(0), "windowEnd": instant_ms(1) }));
    assert_eq!(world.landed(), [BEFORE, between(0, 1)]);
    assert_eq!(world.watermark_ms(&flow).await, Some(instant_ms(1)));
}

#[tokio::test]
async fn an_attempt_that_was_taken_over_reads_the_same_window_and_one_of_them_lands() {
    let world = World::exact().await;
    world.recurring_flow().await;
    let go_on = Arc::new(Notify::new());
    world.executor.on_commit([Commit::Stalled(go_on.clone())]);
    let stalled = world.worker();
    world.commits_begun(1).await;
    world.let_leases_end();
    let second = RunningWorker::start(world.other_process());
    world.nth_over(0).await;
    go_on.notify_one();
    world.runs_after_a_look().await;
    stalled.stop().await;
    second.stop().await;
    assert_eq!((world.landed(), world.executor.table().rows), (vec![BEFORE], 3));
}

#[tokio::test]
async fn a_flow_does_not_go_on_by_another_column_than_it_has_read_by() {
    let world = World::exact().await;
    let flow = world.recurring_flow().await;
    let patch = async |column: &str| {
        let path = "/transformations/0/params/deltaColumn/name";
        let patch = Patch::parse(json!([{ "op": "replace", "path": path, "value": column }])).unwrap();
        let any = Precondition::IfMatch("*".into());
        world.control.patch::<Flow>(&world.caller, &flow.id.to_string(), &any, &patch).await
    };
    patch("noted").await.unwrap();
    patch("updated_at").await.unwrap();
    let worker = world.worker();
    world.nth_over(0).await;
    let refused = patch("noted").await.unwrap_err();
    assert_eq!(refused.cause(), Cause::InvalidValue, "it has read by one: {refused}");
    // As another build may have left it.
    let copy = json!({ "name": "Copy", "params": { "deltaColumn": { "name": "noted" } } });
    rewrite::<Flow>(&world, &flow.id, |flow| flow.body.transformations = vec![copy]).await;
    world.clock.advance(PERIOD);
    let run = world.nth_over(1).await;
    worker.stop().await;
    assert_eq!(status(&run), RunStatus::Failed);
    assert_eq!(world.watermark_ms(&flow).await, Some(instant_ms(0)));
}
