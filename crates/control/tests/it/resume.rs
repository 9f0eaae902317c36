//! Runs that go on where an attempt broke (`options.consistency` split), and that make key ranges visible as they land
//! (`options.commitPerSplit`).

use std::sync::Arc;
use std::time::Duration;

use headwaters_model::batch::{Batch, BatchStatus};
use headwaters_model::etag::Precondition;
use headwaters_model::flow::Flow;
use headwaters_model::job::{JobError, Stage};
use headwaters_model::resource::Resource;
use headwaters_model::run::{Run, RunStatus};
use headwaters_model::source_error::Retry;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::asked::{over, runs};
use crate::fakes::{Commit, Cut, Land, READERS, failure, lost};
use crate::runs::{batches, number, text};
use crate::world::{RunningWorker, World, object, status};

const SPLITS: u32 = 5;

fn whole() -> Land {
    Land::Cut(Cut { splits: SPLITS, breaks_after: None })
}

fn breaks_after(landed: usize) -> Land {
    Land::Cut(Cut { splits: SPLITS, breaks_after: Some(landed) })
}

fn outdated() -> Land {
    let because = failure(Stage::Source, "what was landed can not be gone on with: the columns have changed");
    Land::Breaks(JobError::Transient(because, Retry::StartOver))
}

impl World {
    async fn flow_with(&self, options: Value) -> Resource<Flow> {
        let mut command = self.flow_command().await;
        command.options = object(&options);
        self.control.create_flow(&self.caller, command).await.unwrap()
    }

    /// Which key ranges each attempt has read.
    fn splits_read(&self) -> Vec<Vec<u32>> {
        self.executor.splits.lock().unwrap().clone()
    }

    /// Each key range is in the table once.
    fn assert_each_once(&self, splits: u32) {
        let mut files = self.executor.table().files;
        files.sort();
        let mut expected: Vec<String> = (0..splits).map(|split| format!("null {split}")).collect();
        expected.sort();
        assert_eq!(files, expected);
    }
}

fn notes(run: &Resource<Run>) -> Vec<&str> {
    let notes = run.body.metrics.pointer("/statusSummary/extensions/notes").and_then(Value::as_array);
    notes.into_iter().flatten().filter_map(Value::as_str).collect()
}

fn rows_shown(run: &Resource<Run>) -> Option<u64> {
    number(run, "/recordSummary/outputRecordCount")
}

fn files_of(batch: &Resource<Batch>) -> usize {
    batch.body.files.len()
}

#[tokio::test]
async fn under_split_the_next_attempt_reads_only_what_is_missing() {
    let world = World::start().await;
    world.executor.on_land([breaks_after(3), breaks_after(1), whole()]);
    world.flow_with(json!({ "consistency": "split" })).await;
    let worker = world.worker();
    let run = world.finished_after_pauses().await;
    worker.stop().await;
    assert_eq!(world.splits_read(), [vec![0, 1, 2], vec![3], vec![4]]);
    assert_eq!((status(&run), rows_shown(&run)), (RunStatus::Success, Some(5)));
    assert_eq!(number(&run, "/sizeSummary/inputBytes"), Some(50), "what was kept counts too");
    world.assert_each_once(SPLITS);
    assert_eq!(world.executor.table().commits, 1);
    let expected = [
        "read at attempt 3: the ones before it broke or were cut short",
        "4 of 5 key ranges had been landed by earlier attempts",
        "shows the table as of 3 moments",
    ];
    assert_eq!(notes(&run), expected);
    let kept = world.store.write(&world.caller.scope).await.unwrap().take_plan(&run, None).await.unwrap();
    assert_eq!(kept, None, "what was kept is gone with the run");
}

#[tokio::test]
async fn a_crash_keeps_what_was_landed() {
    let world = World::start().await;
    world.executor.on_commit([Commit::Stalled(Arc::default())]);
    world.executor.on_land([whole(), whole()]);
    world.flow_with(json!({ "consistency": "split" })).await;
    let first = world.worker();
    world.commits_begun(1).await;
    first.kill().await;
    world.let_leases_end();
    let second = RunningWorker::start(world.other_process());
    let run = world.finished().await;
    second.stop().await;
    assert_eq!(world.splits_read(), [vec![0, 1, 2, 3, 4], vec![]]);
    assert_eq!((status(&run), rows_shown(&run)), (RunStatus::Success, Some(5)));
    world.assert_each_once(SPLITS);
}

#[tokio::test]
async fn by_default_an_attempt_starts_over_and_a_failed_run_says_what_that_cost() {
    let world = World::start().await;
    world.executor.on_land([breaks_after(4), breaks_after(1), breaks_after(0), breaks_after(0), breaks_after(0)]);
    world.flow().await;
    let worker = world.worker();
    let run = world.finished_after_pauses().await;
    worker.stop().await;
    assert_eq!(world.splits_read()[..2], [vec![0, 1, 2, 3], vec![0]]);
    assert_eq!(status(&run), RunStatus::Failed);
    let saved = "4 of 5 key ranges had landed (80 %): options.consistency split would have gone on from there";
    assert_eq!(notes(&run), [saved]);
}

#[tokio::test]
async fn a_plan_that_does_not_hold_any_more_is_given_up_and_the_run_starts_over() {
    let world = World::start().await;
    world.executor.on_land([breaks_after(3), outdated(), whole()]);
    world.flow_with(json!({ "consistency": "split" })).await;
    let worker = world.worker();
    let run = world.finished_after_pauses().await;
    worker.stop().await;
    assert_eq!(world.splits_read(), [vec![0, 1, 2], vec![0, 1, 2, 3, 4]]);
    assert_eq!((status(&run), world.executor.table().rows), (RunStatus::Success, 5));
    assert!(notes(&run).iter().any(|note| note.starts_with("started over:")), "{:?}", notes(&run));
}

#[tokio::test]
async fn key_ranges_become_visible_while_the_run_goes_on() {
    let world = World::start().await;
    world.executor.on_land([whole(), whole(), whole()]);
    let third = Arc::new(Notify::new());
    world.executor.on_commit([Commit::Answered, Commit::AnswerLost, Commit::Stalled(third.clone())]);
    world.flow_with(json!({ "commitPerSplit": true })).await;
    let worker = world.worker();
    world.commits_begun(3).await;
    assert_eq!((world.executor.table().rows, status(&world.run().await)), (4, RunStatus::InProgress));
    third.notify_one();
    let run = world.finished().await;
    worker.stop().await;
    assert_eq!(world.splits_read(), [vec![0, 1], vec![2, 3], vec![4]], "{READERS} at a time");
    world.assert_each_once(SPLITS);
    assert_eq!((status(&run), rows_shown(&run)), (RunStatus::Success, Some(5)));
    assert_eq!(notes(&run), ["shows the table as of 3 moments"]);
    let [batch] = &batches(&world).await[..] else { panic!("one batch") };
    assert_eq!((batch.body.status, files_of(batch), batch.body.totals.rows_out), (BatchStatus::Success, 5, 5));
    assert_eq!(batch.body.table_version, Some(2));
}

#[tokio::test]
async fn a_table_of_many_key_ranges_needs_no_more_than_the_attempts_that_break() {
    let world = World::start().await;
    let many = Land::Cut(Cut { splits: 24, breaks_after: None });
    world.executor.on_land(std::iter::repeat_n(many, 12));
    world.flow_with(json!({ "commitPerSplit": true })).await;
    let worker = world.worker();
    let run = world.finished().await;
    worker.stop().await;
    assert_eq!((status(&run), world.executor.table().commits), (RunStatus::Success, 12));
    world.assert_each_once(24);
}

#[tokio::test]
async fn a_crash_after_a_part_was_committed_loses_and_repeats_nothing() {
    for made in [true, false] {
        let world = World::start().await;
        let stalled = Arc::default();
        world.executor.on_commit([
            Commit::Answered,
            if made { Commit::MadeThenStalled(stalled) } else { Commit::Stalled(stalled) },
        ]);
        world.executor.on_land([whole(), whole(), whole(), whole()]);
        world.flow_with(json!({ "commitPerSplit": true })).await;
        let first = world.worker();
        world.commits_begun(2).await;
        while made && world.executor.table().commits < 2 {
            sleep(Duration::from_millis(5)).await;
        }
        first.kill().await;
        world.let_leases_end();
        let second = RunningWorker::start(world.other_process());
        let run = world.finished().await;
        second.stop().await;
        assert_eq!((status(&run), rows_shown(&run)), (RunStatus::Success, Some(5)), "made: {made}");
        world.assert_each_once(SPLITS);
        let [batch] = &batches(&world).await[..] else { panic!("one batch") };
        assert_eq!(files_of(batch), 5);
    }
}

/// The first attempt stands still before its commit, the second goes on; the first one wakes up before or after it.
#[tokio::test]
async fn a_stalled_part_and_its_successor_land_each_key_range_once_in_either_order() {
    for first_wins in [true, false] {
        let world = World::start().await;
        let (first_go, second_go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        world.executor.on_commit([
            Commit::StalledThenAnswerLost(first_go.clone()),
            Commit::StalledThenAnswerLost(second_go.clone()),
        ]);
        world.executor.on_land(std::iter::repeat_n(whole(), 8));
        world.flow_with(json!({ "commitPerSplit": true })).await;
        let first = world.worker();
        world.commits_begun(1).await;
        world.let_leases_end();
        let second = RunningWorker::start(world.other_process());
        world.commits_begun(2).await;
        let order = if first_wins { [&first_go, &second_go] } else { [&second_go, &first_go] };
        order[0].notify_one();
        while world.executor.table().commits == 0 {
            sleep(Duration::from_millis(5)).await;
        }
        order[1].notify_one();
        let run = world.finished_after_pauses().await;
        first.stop().await;
        second.stop().await;
        assert_eq!((status(&run), rows_shown(&run)), (RunStatus::Success, Some(5)), "first wins: {first_wins}");
        world.assert_each_once(SPLITS);
    }
}

#[tokio::test]
async fn a_failed_run_says_which_rows_are_visible_and_a_repeat_goes_on_with_the_rest() {
    let world = World::start().await;
    let definite = JobError::Definite(failure(Stage::Source, "the account db:reader lacks SELECT"));
    world.executor.on_land([whole(), whole(), Land::Breaks(definite), whole()]);
    world.flow_with(json!({ "commitPerSplit": true })).await;
    let worker = world.worker();
    let failed = world.finished().await;
    assert_eq!(status(&failed), RunStatus::Failed);
    assert!(
        notes(&failed)[0].starts_with("4 rows of this run are in the data set, by 2 commits"),
        "{:?}",
        notes(&failed)
    );
    assert_eq!(number(&failed, "/recordSummary/outputRecordCount"), Some(4), "{}", failed.document());
    assert_eq!(number(&failed, "/fileSummary/outputFileCount"), Some(4));
    let [batch] = &batches(&world).await[..] else { panic!("one batch") };
    assert_eq!((batch.body.status, files_of(batch)), (BatchStatus::Failed, 4));

    let repeat = world.control.retrigger_run(&world.caller, &failed.id.to_string(), &Precondition::None).await.unwrap();
    let repeat = over(&world, repeat.id).await;
    worker.stop().await;
    assert_eq!((status(&repeat), rows_shown(&repeat)), (RunStatus::Success, Some(1)));
    assert!(notes(&repeat)[0].contains(&format!("what run {} has begun", failed.id)), "{:?}", notes(&repeat));
    assert_eq!(runs(&world).await.len(), 2);
    world.assert_each_once(SPLITS);
}

#[tokio::test]
async fn a_plan_that_does_not_hold_any_more_stops_a_run_with_visible_rows() {
    let world = World::start().await;
    world.executor.on_land([whole(), outdated()]);
    world.flow_with(json!({ "commitPerSplit": true })).await;
    let worker = world.worker();
    let run = world.finished().await;
    worker.stop().await;
    assert_eq!((status(&run), world.executor.table().rows), (RunStatus::Failed, 2));
    let said = text(&run, "/statusSummary/errors/0/message");
    assert!(said.ends_with("a part of what is read is in the data set already"), "{said}");
    assert!(text(&run, "/statusSummary/extensions/errorDetail").contains("make a new flow"));
}

#[tokio::test]
async fn what_was_landed_is_gone_when_the_run_is_given_up() {
    let world = World::start().await;
    let definite = JobError::Definite(failure(Stage::Source, "the account db:reader lacks SELECT"));
    world.executor.on_land([breaks_after(3), Land::Breaks(definite), whole()]);
    world.flow_with(json!({ "consistency": "split" })).await;
    let worker = world.worker();
    let failed = world.finished_after_pauses().await;
    let repeat = world.control.retrigger_run(&world.caller, &failed.id.to_string(), &Precondition::None).await.unwrap();
    let repeat = over(&world, repeat.id).await;
    worker.stop().await;
    assert_eq!(status(&repeat), RunStatus::Success);
    assert_eq!(world.splits_read(), [vec![0, 1, 2], vec![0, 1, 2, 3, 4]]);
}

#[tokio::test]
async fn a_transient_break_between_two_parts_goes_on_with_the_rest() {
    let world = World::start().await;
    world.executor.on_land([whole(), Land::Breaks(lost()), breaks_after(1), whole(), whole()]);
    world.flow_with(json!({ "commitPerSplit": true })).await;
    let worker = world.worker();
    let run = world.finished_after_pauses().await;
    worker.stop().await;
    assert_eq!(world.splits_read(), [vec![0, 1], vec![2], vec![3, 4]], "the kept one is committed with the rest");
    assert_eq!((status(&run), rows_shown(&run)), (RunStatus::Success, Some(5)));
    world.assert_each_once(SPLITS);
}
