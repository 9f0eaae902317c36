//! A clock that is set forward or back by hours while runs wait, are at work, or have lost their worker.

use std::sync::Arc;
use std::time::Duration;

use headwaters_control::Settings;
use headwaters_model::resource::Resource;
use headwaters_model::run::{Run, RunStatus};
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::fakes::{Commit, Land, lost};
use crate::world::{NOW_MS, RunningWorker, World, quick, status};

/// By how much a clock jumps: more than any lease, pause or grace.
const JUMP: Duration = Duration::from_secs(5 * 3600);
const JUMP_MS: i64 = 5 * 3_600_000;

/// A lease whose heartbeats a test can wait for.
fn beating() -> Settings {
    Settings { lease: Duration::from_millis(300), ..quick() }
}

/// The rows are there once, by one commit.
fn assert_once(world: &World) {
    assert_eq!((world.executor.table().commits, world.executor.table().rows), (1, 3));
}

fn assert_no_negative_times(run: &Resource<Run>) {
    let document = run.document();
    let times = |pointer: &str| {
        let [start, end] = ["startedAtUTC", "completedAtUTC"]
            .map(|name| document.pointer(&format!("{pointer}/durationSummary/{name}")).and_then(|time| time.as_i64()));
        (start.unwrap(), end.unwrap())
    };
    for pointer in ["/metrics", "/activities/0", "/activities/1"] {
        let (start, end) = times(pointer);
        assert!(start <= end, "{pointer}: {document}");
    }
}

async fn attempts(world: &World, run: &Resource<Run>) -> usize {
    world.store.read(&world.caller.scope).await.unwrap().attempts(run.id).await.unwrap().len()
}

#[tokio::test]
async fn a_run_at_work_goes_on_when_the_clock_is_set_forward() {
    let world = World::with(beating()).await;
    let go_on = Arc::new(Notify::new());
    world.executor.on_land([Land::Stalled(go_on.clone())]);
    world.flow().await;
    let worker = world.worker();
    world.landings(1).await;
    world.clock.advance(JUMP);
    // The worker looks for runs to claim every few milliseconds, and the lease has ended by the new clock.
    sleep(Duration::from_millis(400)).await;
    go_on.notify_one();
    let run = world.finished().await;
    worker.stop().await;
    assert_eq!((status(&run), attempts(&world, &run).await), (RunStatus::Success, 1), "it was not taken from itself");
    assert_once(&world);
    assert_no_negative_times(&run);
}

#[tokio::test]
async fn a_run_that_another_worker_takes_over_because_the_clock_was_set_forward_lands_its_rows_once() {
    let world = World::start().await;
    let go_on = Arc::new(Notify::new());
    world.executor.on_commit([Commit::Stalled(go_on.clone())]);
    world.flow().await;
    let first = world.worker();
    world.commits_begun(1).await;
    world.clock.advance(JUMP);
    let second = RunningWorker::start(world.other_process());
    let run = world.finished().await;
    go_on.notify_one();
    first.stop().await;
    second.stop().await;
    assert_eq!(status(&run), RunStatus::Success);
    assert_once(&world);
    assert_no_negative_times(&run);
}

#[tokio::test]
async fn the_run_of_a_dead_worker_is_taken_over_at_once_when_the_clock_was_set_back() {
    let world = World::start().await;
    world.executor.on_land([Land::UntilCancelled]);
    world.flow().await;
    let first = world.worker();
    world.landings(1).await;
    first.kill().await;
    world.clock.set(NOW_MS - JUMP_MS);
    let second = RunningWorker::start(world.other_process());
    let run = world.finished().await;
    second.stop().await;
    assert_eq!(status(&run), RunStatus::Success);
    assert_once(&world);
    assert_no_negative_times(&run);
}

#[tokio::test]
async fn a_pause_does_not_last_for_hours_when_the_clock_is_set_back() {
    let world = World::start().await;
    world.executor.on_land([Land::Breaks(lost())]);
    world.flow().await;
    let worker = world.worker();
    world.landings(1).await;
    // The pause is written down by the clock that was.
    while attempt_is_open(&world).await {
        sleep(Duration::from_millis(5)).await;
    }
    world.clock.set(NOW_MS - JUMP_MS);
    let run = world.finished_after_pauses().await;
    worker.stop().await;
    assert_eq!((status(&run), attempts(&world, &run).await), (RunStatus::Success, 2));
    assert_once(&world);
    assert_no_negative_times(&run);
}

async fn attempt_is_open(world: &World) -> bool {
    let run = world.run().await;
    let attempts = world.store.read(&world.caller.scope).await.unwrap().attempts(run.id).await.unwrap();
    attempts.iter().all(|attempt| attempt.ended_at_ms.is_none())
}

#[tokio::test]
async fn heartbeats_go_on_by_the_new_clock_when_it_is_set_back() {
    let world = World::with(beating()).await;
    let go_on = Arc::new(Notify::new());
    world.executor.on_land([Land::Stalled(go_on.clone())]);
    world.flow().await;
    let worker = world.worker();
    world.landings(1).await;
    let set_back = NOW_MS - JUMP_MS;
    world.clock.set(set_back);
    // Two heartbeats later the lease ends where the new clock says, neither hours later nor before.
    sleep(Duration::from_millis(400)).await;
    let claim = |now_ms| world.store.claim_run("somebody else", &[], now_ms, 300);
    assert_eq!(claim(set_back).await.unwrap(), None, "the lease holds");
    go_on.notify_one();
    let run = world.finished().await;
    worker.stop().await;
    assert_eq!((status(&run), attempts(&world, &run).await), (RunStatus::Success, 1));
    assert_once(&world);
    assert_no_negative_times(&run);
}
