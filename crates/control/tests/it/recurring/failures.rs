//! Scheduled runs that fail, what becomes of their windows (`flows.failed_window`), and runs that repeat them
//! (flow-service.md 16.6, 17.7).

use headwaters_control::{Cause, FailedWindow};
use headwaters_model::etag::Precondition;
use headwaters_model::job::{JobError, Stage};
use headwaters_model::run::RunStatus;

use super::*;
use crate::asked::{flow_now, notes, read_count, repeat, window_read};
use crate::fakes::{Commit, Land, failure, lost};
use crate::world::{RunningWorker, status};

fn breaks() -> Land {
    Land::Breaks(JobError::Definite(failure(Stage::Source, "no table shop.orders")))
}

/// A world in which the window of a failed run is skipped.
fn skipping() -> Settings {
    Settings { failed_window: FailedWindow::Skip, ..exact() }
}

/// A flow whose second run, of the first period, has failed.
async fn failed_in(world: &World) -> (Resource<Flow>, Resource<Run>, RunningWorker) {
    failed_by(world, "updated_at").await
}

async fn failed_by(world: &World, column: &str) -> (Resource<Flow>, Resource<Run>, RunningWorker) {
    let flow = world.recurring_flow_with(json!({}), column).await;
    let worker = world.worker();
    world.nth_over(0).await;
    world.executor.on_land([breaks()]);
    world.clock.advance(PERIOD);
    let failed = world.nth_over(1).await;
    assert_eq!(status(&failed), RunStatus::Failed);
    (flow, failed, worker)
}

#[tokio::test]
async fn what_a_failed_run_should_have_read_is_read_by_the_next_one() {
    let world = World::exact().await;
    let (flow, failed, worker) = failed_in(&world).await;
    assert_eq!(world.watermark_ms(&flow).await, Some(instant_ms(0)), "nothing has moved");
    assert_eq!(shown_window(&failed), json!({ "windowStart": instant_ms(0), "windowEnd": instant_ms(1) }));
    assert_eq!(flow_now(&world, &flow).await.state.name(), "enabled");
    world.clock.advance(PERIOD);
    world.nth_over(2).await;
    worker.stop().await;
    assert_eq!(world.landed(), [BEFORE, between(0, 2)]);
}

#[tokio::test]
async fn a_failed_run_that_is_repeated_at_once_reads_its_window_and_moves_the_watermark() {
    let world = World::exact().await;
    let (flow, failed, worker) = failed_in(&world).await;
    let repeated = over(&world, repeat(&world, &failed).await.unwrap().id).await;
    assert_eq!((status(&repeated), repeated.body.parent_flow_run_id), (RunStatus::Success, Some(failed.id)));
    assert_eq!(shown_window(&repeated), json!({ "windowStart": instant_ms(0), "windowEnd": instant_ms(1) }));
    assert_eq!(world.watermark_ms(&flow).await, Some(instant_ms(1)));
    let refused = repeat(&world, &repeated).await.unwrap_err();
    assert_eq!(refused.cause(), Cause::NotRepeatable, "it has landed rows");
    world.clock.advance(PERIOD);
    world.nth_over(3).await;
    worker.stop().await;
    assert_eq!(world.landed(), [BEFORE, between(0, 1), between(1, 2)]);
}

#[tokio::test]
async fn a_failed_run_that_is_repeated_later_reads_nothing_that_was_read_meanwhile() {
    let world = World::exact().await;
    let (flow, failed, worker) = failed_in(&world).await;
    world.clock.advance(PERIOD);
    world.nth_over(2).await;
    let repeated = over(&world, repeat(&world, &failed).await.unwrap().id).await;
    assert_eq!((status(&repeated), read_count(&repeated)), (RunStatus::Success, Some(0)));
    assert!(notes(&repeated).contains("was read before"), "{}", notes(&repeated));
    assert_eq!(world.watermark_ms(&flow).await, Some(instant_ms(2)), "it does not go back");
    world.clock.advance(PERIOD);
    world.nth_over(4).await;
    worker.stop().await;
    assert_eq!(world.landed(), [BEFORE, between(0, 2), between(2, 3)]);
}

#[tokio::test]
async fn a_failed_run_can_be_repeated_again_although_a_repeat_of_it_has_landed() {
    let world = World::exact().await;
    let (_, failed, worker) = failed_in(&world).await;
    over(&world, repeat(&world, &failed).await.unwrap().id).await;
    let again = over(&world, repeat(&world, &failed).await.unwrap().id).await;
    worker.stop().await;
    assert_eq!((status(&again), read_count(&again)), (RunStatus::Success, Some(0)), "nothing can be doubled");
    assert_eq!(world.landed(), [BEFORE, between(0, 1)]);
}

#[tokio::test]
async fn a_repeat_of_a_first_run_is_a_first_run() {
    let world = World::exact().await;
    let flow = world.recurring_flow().await;
    world.executor.on_land([breaks()]);
    let worker = world.worker();
    let failed = world.nth_over(0).await;
    assert_eq!((status(&failed), world.watermark(&flow).await), (RunStatus::Failed, None));
    world.clock.advance(PERIOD);
    world.executor.on_land([breaks()]);
    assert_eq!(status(&world.nth_over(1).await), RunStatus::Failed);
    over(&world, repeat(&world, &failed).await.unwrap().id).await;
    assert_eq!(world.landed(), [BEFORE], "no further than the instant that it repeats");
    world.clock.advance(PERIOD);
    world.nth_over(3).await;
    worker.stop().await;
    assert_eq!(world.landed(), [BEFORE, between(0, 2)]);
}

#[tokio::test]
async fn a_commit_of_a_failed_run_that_is_found_later_moves_the_watermark_and_nothing_is_read_twice() {
    let world = World::exact().await;
    let flow = world.recurring_flow().await;
    let worker = world.worker();
    world.nth_over(0).await;
    world.executor.on_commit([Commit::MadeThenStalled(std::sync::Arc::default())]);
    world.clock.advance(PERIOD);
    world.commits_begun(2).await;
    worker.kill().await;
    let stalled = world.nth(1).await;
    world.let_leases_end();
    let worker = RunningWorker::start(world.other_process());
    assert_eq!(status(&over(&world, stalled.id).await), RunStatus::Success);
    world.clock.advance(PERIOD);
    world.nth_over(2).await;
    worker.stop().await;
    assert_eq!(world.landed(), [BEFORE, between(0, 1), between(1, 2)]);
    assert_eq!(world.watermark_ms(&flow).await, Some(instant_ms(2)));
}

#[tokio::test]
async fn where_a_setting_says_so_a_failed_window_is_skipped_and_left_to_a_repeat() {
    let world = World::with(skipping()).await;
    let (flow, failed, worker) = failed_in(&world).await;
    assert_eq!(world.watermark_ms(&flow).await, Some(instant_ms(1)), "past the window that failed");
    assert!(notes(&failed).contains("repeat this run"), "{}", notes(&failed));
    world.clock.advance(PERIOD);
    world.nth_over(2).await;
    assert_eq!(world.landed(), [BEFORE, between(1, 2)]);

    let repeated = over(&world, repeat(&world, &failed).await.unwrap().id).await;
    assert_eq!((status(&repeated), window_read(&world)), (RunStatus::Success, Some(between(0, 1))));
    assert_eq!(shown_window(&repeated), json!({ "windowStart": instant_ms(0), "windowEnd": instant_ms(1) }));
    assert_eq!(world.watermark_ms(&flow).await, Some(instant_ms(2)), "it moves nothing");
    assert_eq!(notes(&repeated), "null", "it overlaps nothing");
    assert_eq!(repeat(&world, &failed).await.unwrap_err().cause(), Cause::NotRepeatable, "that would double rows");
    world.clock.advance(PERIOD);
    world.nth_over(4).await;
    worker.stop().await;
    assert_eq!(world.landed().last(), Some(&between(2, 3)));
    assert_eq!(world.executor.table().rows, 12);
}

#[tokio::test]
async fn a_skipped_window_whose_repeat_fails_can_be_repeated_still() {
    let world = World::with(skipping()).await;
    let (flow, failed, worker) = failed_in(&world).await;
    world.executor.on_land([breaks()]);
    let second = over(&world, repeat(&world, &failed).await.unwrap().id).await;
    assert_eq!((status(&second), world.watermark_ms(&flow).await), (RunStatus::Failed, Some(instant_ms(1))));
    let third = over(&world, repeat(&world, &second).await.unwrap().id).await;
    worker.stop().await;
    assert_eq!((status(&third), window_read(&world)), (RunStatus::Success, Some(between(0, 1))));
}

#[tokio::test]
async fn what_a_repeat_has_landed_that_read_on_does_not_keep_a_skipped_window_from_being_repeated() {
    let lagging = Settings { window_lag: Duration::from_secs(60), ..quick() };
    let world = World::with(lagging.clone()).await;
    let (_, failed, worker) = failed_in(&world).await;
    worker.stop().await;
    let worker = RunningWorker::start(world.process_with(Settings { failed_window: FailedWindow::Skip, ..lagging }));
    world.executor.on_land([breaks()]);
    let skipped = over(&world, repeat(&world, &failed).await.unwrap().id).await;
    assert_eq!(status(&skipped), RunStatus::Failed);
    worker.stop().await;
    // What was too new then is not any more.
    let worker = RunningWorker::start(world.process_with(exact()));
    let on = over(&world, repeat(&world, &failed).await.unwrap().id).await;
    let lag_ms = 60_000;
    assert_eq!(world.landed().last(), Some(&Window { start_ms: instant_ms(1) - lag_ms, end_ms: instant_ms(1) }));

    let window = Window { start_ms: instant_ms(0) - lag_ms, end_ms: instant_ms(1) - lag_ms };
    let repeated = over(&world, repeat(&world, &skipped).await.unwrap().id).await;
    assert_eq!((status(&repeated), window_read(&world)), (RunStatus::Success, Some(window)));
    assert_eq!((notes(&repeated).as_str(), read_count(&repeated), world.executor.table().rows), ("null", Some(3), 9));
    assert_eq!(repeat(&world, &skipped).await.unwrap_err().cause(), Cause::NotRepeatable, "that would double rows");
    assert_eq!(repeat(&world, &on).await.unwrap_err().cause(), Cause::NotRepeatable);
    worker.stop().await;
}

#[tokio::test]
async fn a_first_window_and_one_that_counts_are_never_skipped() {
    let world = World::with(skipping()).await;
    let first = world.recurring_flow().await;
    world.executor.on_land([breaks()]);
    let worker = world.worker();
    let failed = world.nth_over(0).await;
    worker.stop().await;
    assert_eq!(
        (status(&failed), world.watermark(&first).await),
        (RunStatus::Failed, None),
        "rows without moments are in it"
    );

    let world = World::with(skipping()).await;
    let (flow, failed, worker) = failed_by(&world, "id").await;
    worker.stop().await;
    let Position::Counter { through, .. } = world.watermark(&flow).await.unwrap().position else { panic!("a counter") };
    assert_eq!(through, Some((NOW_MS / 1000).to_string()));
    assert!(!notes(&failed).contains("repeat this run"), "{}", notes(&failed));
}

#[tokio::test]
async fn a_run_that_breaks_before_its_window_is_known_skips_nothing() {
    let world = World::with(skipping()).await;
    let flow = world.recurring_flow().await;
    let worker = world.worker();
    world.nth_over(0).await;
    let mapped = json!([
        { "name": "Copy", "params": { "deltaColumn": { "name": "updated_at" } } },
        { "name": "Mapping", "params": { "mappingId": "m" } },
    ]);
    crate::asked::rewrite::<Flow>(&world, &flow.id, |flow| {
        flow.body.transformations = mapped.as_array().cloned().unwrap();
    })
    .await;
    world.clock.advance(PERIOD);
    assert_eq!(status(&world.nth_over(1).await), RunStatus::Failed);
    worker.stop().await;
    assert_eq!(world.watermark_ms(&flow).await, Some(instant_ms(0)));
}

#[tokio::test]
async fn a_run_that_is_closed_with_its_flow_is_one_of_a_schedule_and_shows_its_attempts() {
    let world = World::exact().await;
    world.executor.on_land([Land::Breaks(lost()), Land::UntilCancelled]);
    let flow = world.recurring_flow().await;
    let worker = world.worker();
    world.while_time_passes(world.landings(2)).await;
    world.control.delete_flow(&world.caller, &flow.id.to_string(), Precondition::None).await.unwrap();
    let closed = world.nth_over(0).await;
    worker.stop().await;
    assert_eq!(status(&closed), RunStatus::Failed);
    let kind = closed.body.activities[0].pointer("/statusSummary/extensions/type");
    assert_eq!(kind, None, "only a flow that runs once is \"one-time\"");
    let attempts = &closed.body.metrics["statusSummary"]["extensions"]["attempts"];
    assert_eq!(attempts[0]["error"], "the connection to db:3306 was lost", "{}", closed.document());
    assert_eq!(attempts.as_array().map(Vec::len), Some(2));
}
