//! Attempts of recurring runs that overtake each other, and windows whose key ranges become visible one after the other: in
//! every order each window is read once, and the watermark moves with the last row below it.

use std::sync::Arc;

use headwaters_model::job::{JobError, Stage};
use headwaters_model::run::RunStatus;
use tokio::sync::Notify;

use super::*;
use crate::asked::notes;
use crate::fakes::{Commit, Cut, Land, failure};
use crate::world::{RunningWorker, status};

const SPLITS: u32 = 5;

fn whole() -> Land {
    Land::Cut(Cut { splits: SPLITS, breaks_after: None })
}

impl World {
    async fn recurring_flow_with_options(&self, options: Value) -> Resource<Flow> {
        let mut command = self.flow_command().await;
        command.schedule_params = object(&json!({ "startTime": NOW_MS / 1000, "frequency": "minute", "interval": 15 }));
        command.transformations =
            Some(vec![json!({ "name": "Copy", "params": { "deltaColumn": { "name": "updated_at" } } })]);
        command.options = object(&options);
        self.control.create_flow(&self.caller, command).await.unwrap()
    }

    /// Each key range of these windows is in the table once, and nothing else.
    fn assert_windows(&self, windows: &[Window]) {
        let mut expected: Vec<String> = windows
            .iter()
            .flat_map(|window| (0..SPLITS).map(|split| format!("[{},{}] {split}", window.start_ms, window.end_ms)))
            .collect();
        expected.sort();
        let mut files = self.executor.table().files;
        files.sort();
        assert_eq!(files, expected);
    }
}

/// The first attempt stands still before its commit, whose answer is lost, and the second takes over; they commit in either
/// order.
#[tokio::test]
async fn however_two_attempts_of_a_window_overtake_each_other_it_is_read_once_and_the_next_run_goes_on_from_there() {
    for options in [json!({}), json!({ "consistency": "split" }), json!({ "commitPerSplit": true })] {
        for first_wins in [true, false] {
            let world = World::exact().await;
            let flow = world.recurring_flow_with_options(options.clone()).await;
            let (first_go, second_go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
            world.executor.on_commit([
                Commit::StalledThenAnswerLost(first_go.clone()),
                Commit::StalledThenAnswerLost(second_go.clone()),
            ]);
            world.executor.on_land(std::iter::repeat_n(whole(), 12));
            let first = world.worker();
            world.commits_begun(1).await;
            world.clock.advance(Duration::from_secs(120));
            let second = RunningWorker::start(world.other_process());
            world.commits_begun(2).await;
            let order = if first_wins { [&first_go, &second_go] } else { [&second_go, &first_go] };
            order[0].notify_one();
            while world.executor.table().commits == 0 {
                sleep(Duration::from_millis(5)).await;
            }
            order[1].notify_one();
            let run = world.nth_over(0).await;
            assert_eq!(status(&run), RunStatus::Success, "{options}, first wins: {first_wins}");
            assert_eq!(world.watermark_ms(&flow).await, Some(instant_ms(0)));
            world.assert_windows(&[BEFORE]);

            world.clock.advance(PERIOD);
            let next = world.nth_over(1).await;
            first.stop().await;
            second.stop().await;
            assert_eq!(status(&next), RunStatus::Success, "{options}, first wins: {first_wins}");
            world.assert_windows(&[BEFORE, between(0, 1)]);
            assert_eq!(world.watermark_ms(&flow).await, Some(instant_ms(1)));
        }
    }
}

/// A run is closed while a commit of it stands still. When the commit is made after all, the next run has kept key ranges of
/// a window that begins where the closed one began.
#[tokio::test]
async fn what_was_kept_is_read_anew_when_a_commit_that_was_given_up_is_made_meanwhile() {
    let world = World::exact().await;
    let flow = world.recurring_flow_with_options(json!({ "consistency": "split" })).await;
    let go = Arc::new(Notify::new());
    world.executor.on_commit([Commit::StalledThenAnswerLost(go.clone())]);
    let definite = JobError::Definite(failure(Stage::Source, "the account db:reader lacks SELECT"));
    let breaks = Land::Cut(Cut { splits: SPLITS, breaks_after: Some(3) });
    world.executor.on_land([whole(), Land::Breaks(definite), breaks, whole(), whole()]);
    let first = world.worker();
    world.commits_begun(1).await;
    world.clock.advance(Duration::from_secs(120));
    let second = RunningWorker::start(world.other_process());
    let closed = world.nth_over(0).await;
    assert_eq!(status(&closed), RunStatus::Failed);
    world.clock.advance(PERIOD - Duration::from_secs(120));
    let next = world.nth(1).await;
    while world.executor.splits.lock().unwrap().len() < 2 {
        sleep(Duration::from_millis(5)).await;
    }
    go.notify_one();
    while world.executor.table().commits == 0 {
        sleep(Duration::from_millis(5)).await;
    }
    let next = world.while_time_passes(over(&world, next.id)).await;
    first.stop().await;
    second.stop().await;
    assert_eq!(status(&next), RunStatus::Success);
    world.assert_windows(&[BEFORE, between(0, 1)]);
    assert_eq!(world.watermark_ms(&flow).await, Some(instant_ms(1)));
}

#[tokio::test]
async fn the_watermark_moves_with_the_last_key_range_and_the_next_run_first_reads_what_a_failed_one_has_left() {
    let world = World::exact().await;
    let definite = JobError::Definite(failure(Stage::Source, "the account db:reader lacks SELECT"));
    world.executor.on_land([whole(), Land::Breaks(definite)]);
    let flow = world.recurring_flow_with_options(json!({ "commitPerSplit": true })).await;
    let worker = world.worker();
    let failed = world.nth_over(0).await;
    assert_eq!((status(&failed), world.executor.table().rows), (RunStatus::Failed, 2));
    assert!(notes(&failed).contains("2 rows of this run are in the data set"), "{}", notes(&failed));
    assert_eq!(world.watermark_ms(&flow).await, None, "rows below it are still missing");

    world.executor.on_land([whole(), whole()]);
    world.clock.advance(PERIOD);
    let rest = world.nth_over(1).await;
    assert_eq!(status(&rest), RunStatus::Success);
    assert!(notes(&rest).contains(&format!("what run {} has begun", failed.id)), "{}", notes(&rest));
    assert_eq!(world.watermark_ms(&flow).await, Some(instant_ms(0)), "as far as the plan reached");
    world.assert_windows(&[BEFORE]);

    world.executor.on_land([whole(), whole(), whole()]);
    world.clock.advance(PERIOD);
    world.nth_over(2).await;
    worker.stop().await;
    world.assert_windows(&[BEFORE, between(0, 2)]);
    assert_eq!(world.watermark_ms(&flow).await, Some(instant_ms(2)));
}
