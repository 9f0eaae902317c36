//! The attempts of a run and how far it is, as its record tells them.

use std::sync::Arc;
use std::time::Duration;

use headwaters_control::Settings;
use headwaters_model::job::{JobError, Stage};
use headwaters_model::page::ListQuery;
use headwaters_model::resource::Resource;
use headwaters_model::run::{Run, RunStatus};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::fakes::{Land, failure, lost};
use crate::runs::number;
use crate::world::{World, quick, status};

fn attempts(run: &Resource<Run>) -> &[Value] {
    run.body.metrics["statusSummary"]["extensions"]["attempts"].as_array().map_or(&[], Vec::as_slice)
}

#[tokio::test]
async fn the_record_of_a_run_that_was_tried_again_tells_each_attempt() {
    let world = World::start().await;
    world.executor.on_land([Land::Breaks(lost()), Land::Rows(3, 0)]);
    world.flow().await;
    let worker = world.worker();
    let run = world.finished_after_pauses().await;
    worker.stop().await;
    let [first, second] = attempts(&run) else { panic!("two attempts: {}", run.document()) };
    assert_eq!((&first["ordinal"], &first["error"]), (&json!(1), &json!("the connection to db:3306 was lost")));
    assert_eq!((&second["ordinal"], second.get("error")), (&json!(2), None));
    for attempt in [first, second] {
        assert!(attempt["completedAtUTC"].as_i64() >= attempt["startedAtUTC"].as_i64(), "{attempt}");
    }
}

#[tokio::test]
async fn a_retry_is_seen_while_the_run_goes_on_and_counts_for_itself() {
    let world = World::start().await;
    world.executor.on_land([Land::BreaksAfter(2, lost()), Land::Stalled(Arc::new(Notify::new()))]);
    world.flow().await;
    let worker = world.worker();
    let ticking = async {
        loop {
            world.clock.advance(Duration::from_secs(1));
            sleep(Duration::from_millis(20)).await;
        }
    };
    let run = tokio::select! {
        run = world.run_when(|run| attempts(run).len() == 2) => run,
        () = ticking => unreachable!("the clock ticks for ever"),
    };
    worker.kill().await;
    assert_eq!(status(&run), RunStatus::InProgress);
    assert_eq!(attempts(&run)[0]["error"], "the connection to db:3306 was lost");
    assert_eq!(attempts(&run)[1].get("completedAtUTC"), None, "it is at work");
    assert_eq!(number(&run, "/recordSummary/inputRecordCount"), None, "what the first has read counts no more");
}

#[tokio::test]
async fn a_run_that_broke_at_once_tells_its_attempt_and_one_that_went_well_tells_none() {
    for (land, status_expected, attempts_expected) in [
        (Land::Breaks(JobError::Definite(failure(Stage::Source, "no table"))), RunStatus::Failed, 1),
        (Land::Rows(3, 0), RunStatus::Success, 0),
    ] {
        let world = World::start().await;
        world.executor.on_land([land]);
        world.flow().await;
        let worker = world.worker();
        let run = world.finished().await;
        worker.stop().await;
        assert_eq!((status(&run), attempts(&run).len()), (status_expected, attempts_expected), "{}", run.document());
    }
}

#[tokio::test]
async fn who_asks_the_process_that_works_on_a_run_sees_its_counters_before_they_are_written() {
    let world = World::with(Settings { progress_write: Duration::from_secs(3600), ..quick() }).await;
    world.executor.on_land([Land::UntilCancelled]);
    world.flow().await;
    let worker = world.worker();
    let run = world.run_when(|run| number(run, "/recordSummary/inputRecordCount") == Some(2)).await;
    assert_eq!(number(&run, "/sizeSummary/inputBytes"), Some(20));
    let listed = world.control.runs(&world.caller, &ListQuery::all()).await.unwrap().items.remove(0);
    assert_eq!(listed.read::<Run>().unwrap().metrics, run.body.metrics, "a list shows the same");
    let stored = world.other_process().get::<Run>(&world.caller, &run.id.to_string()).await.unwrap();
    assert_eq!(number(&stored, "/recordSummary/inputRecordCount"), None, "nothing is written for that");
    worker.kill().await;
}
