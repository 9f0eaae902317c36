//! The same for plans whose key ranges are committed one after the other, by attempts that go on with each other's.

use headwaters_model::diagnostic::Diagnostics;
use headwaters_model::id::{DataSetId, PlanId};
use headwaters_model::job::{FrozenPlan, Landed, LandedSplit, Part, Resume, Totals};
use headwaters_model::offset::{CommitMark, Ordinal, Standing};
use headwaters_store::{Attempt, Claim, KeyRing, Promotion, Store};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use super::{STALLED, orders};
use crate::world::{NOW, Pipeline, World, landed};

/// Into how many key ranges each plan is cut.
const SPLITS: u32 = 3;

/// One thing that happens, to one of the attempts on their way.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// A worker settles what the table knows, and begins a new attempt in the place of one that died; it reads so many key
    /// ranges.
    Begin(usize, usize),
    /// The attempt keeps its plan, and what it has landed of it, for the next one.
    Keep(usize),
    /// What was landed and is not in the table is given up: the next attempt makes a plan of its own.
    StartOver,
    /// The attempt notes what it is about to commit.
    Note(usize),
    /// The attempt commits, if the table still stands at its base.
    Commit(usize),
    /// Somebody settles what the table knows.
    Settle,
}

/// An attempt on its way: it has landed some key ranges of a plan.
struct OnItsWay {
    attempt: Attempt,
    plan: FrozenPlan,
    splits: Vec<u32>,
    left: u32,
    noted: bool,
}

/// A table that keeps the ranges that were committed, and the last ordinal.
#[derive(Default)]
struct Table {
    last: Option<Ordinal>,
    ranges: Vec<(i64, i64)>,
}

#[test]
fn however_attempts_that_commit_key_ranges_overtake_each_other_every_row_is_committed_once() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let event = (0..11u8, 0..STALLED, 1..=SPLITS as usize).prop_map(|(kind, place, splits)| match kind {
        0..=1 => Event::Begin(place, splits),
        9..=10 => Event::Keep(place),
        2..=3 => Event::Note(place),
        4..=6 => Event::Commit(place),
        7 => Event::Settle,
        _ => Event::StartOver,
    });
    let events = prop::collection::vec(event, 1..60);
    let mut runner = TestRunner::new(orders());
    let held = runner.run(&events, |events| {
        let (ranges, reached) = runtime.block_on(play(&events));
        each_once(ranges, reached).map_err(TestCaseError::fail)
    });
    held.unwrap();
}

#[tokio::test]
async fn a_plan_made_before_another_one_was_committed_is_not_gone_on_with() {
    use Event::{Begin, Commit, Keep, Note, Settle, StartOver};
    // What was noted under a plan that was given up is committed when its successor has made a plan of the same rows; the
    // plan of the successor is kept before the commit is settled, or after.
    for between in [[Keep(0), Commit(2), Settle], [Commit(2), Keep(0), Settle], [Commit(2), Settle, Keep(0)]] {
        let before = [Begin(2, 3), Keep(2), StartOver, Note(2), Begin(0, 1)];
        let after = [Begin(0, 1), Note(0), Commit(0)];
        let (ranges, reached) = play(&[&before[..], &between, &after].concat()).await;
        each_once(ranges, reached).unwrap_or_else(|wrong| panic!("{between:?}: {wrong}"));
    }
}

/// Says what is wrong when rows are in the table twice, or are not there though they are below the watermark.
fn each_once(mut ranges: Vec<(i64, i64)>, reached: i64) -> Result<(), String> {
    ranges.sort_unstable();
    if ranges.windows(2).any(|pair| pair[0].1 > pair[1].0) {
        return Err(format!("rows were committed twice: {ranges:?}"));
    }
    let below: i64 = ranges.iter().filter(|range| range.1 <= reached).map(|range| range.1 - range.0).sum();
    match below == reached {
        true => Ok(()),
        false => Err(format!("not all below the watermark {reached} is in the table: {ranges:?}")),
    }
}

#[tokio::test]
async fn a_run_that_finds_no_row_in_the_rest_of_a_plan_has_landed_what_it_reads_all_the_same() {
    let (world, Pipeline { data_set, .. }, claim) = at_work().await;
    let mut table = Table::default();
    let on_its_way = OnItsWay { noted: true, ..begin(&world, &claim, &data_set.id, 1, 1).await };
    note(&world, &claim, &data_set.id, &on_its_way).await;
    commit(&mut table, Some(&on_its_way));
    settle(&world, &claim, &data_set.id, &table).await;
    let landed = async || {
        let kin = world.store.read(&world.scope).await.unwrap().kin(claim.run.id).await.unwrap();
        kin.iter().map(|kin| kin.landed).collect::<Vec<_>>()
    };
    assert_eq!(landed().await, [false], "a repeat goes on with the rest");
    let mut tx = world.store.write(&world.scope).await.unwrap();
    tx.finish_plan(on_its_way.plan.id, claim.run.id).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(landed().await, [true], "a repeat would read everything again");
}

/// A run that a worker has in hand.
async fn at_work() -> (World, Pipeline, Claim) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("headwaters.db");
    let store = Store::open(path.to_str().unwrap(), KeyRing::generate().unwrap()).await.unwrap();
    let world = World::new(store, dir).await;
    let pipeline = world.add_pipeline().await;
    world.add_run(&pipeline.flow, Some(NOW)).await;
    let claim = world.claim("a", NOW).await.unwrap();
    (world, pipeline, claim)
}

/// Plays events and gives the committed ranges and the watermark.
async fn play(events: &[Event]) -> (Vec<(i64, i64)>, i64) {
    let (world, Pipeline { flow, data_set, .. }, claim) = at_work().await;
    let mut table = Table::default();
    let mut attempts: [Option<OnItsWay>; STALLED] = Default::default();
    for (moment, event) in (1..).zip(events) {
        match *event {
            Event::Settle => settle(&world, &claim, &data_set.id, &table).await,
            Event::StartOver => {
                let mut tx = world.store.write(&world.scope).await.unwrap();
                tx.drop_plans(claim.run.id).await.unwrap();
                tx.commit().await.unwrap();
            }
            Event::Begin(place, splits) => {
                settle(&world, &claim, &data_set.id, &table).await;
                attempts[place] = Some(begin(&world, &claim, &data_set.id, splits, moment).await);
            }
            Event::Keep(place) => {
                if let Some(on_its_way) = &attempts[place] {
                    keep(&world, &claim, on_its_way).await;
                }
            }
            Event::Note(place) => {
                if let Some(on_its_way) = attempts[place].as_mut().filter(|on_its_way| !on_its_way.noted) {
                    on_its_way.noted = true;
                    note(&world, &claim, &data_set.id, on_its_way).await;
                }
            }
            Event::Commit(place) => commit(&mut table, attempts[place].as_ref()),
        }
    }
    settle(&world, &claim, &data_set.id, &table).await;
    let (_, offset) = world.standing(&flow, &data_set.id).await;
    (table.ranges, offset.as_ref().and_then(Value::as_i64).unwrap_or(0))
}

/// Begins an attempt that goes on with the plan that is there, or makes one from the watermark on.
async fn begin(world: &World, claim: &Claim, data_set: &DataSetId, splits: usize, moment: i64) -> OnItsWay {
    let mut tx = world.store.write(&world.scope).await.unwrap();
    let attempt = tx.begin_attempt(&claim.run, "a", data_set, NOW).await.unwrap();
    let from = attempt.offset.as_ref().and_then(Value::as_i64).unwrap_or(0);
    let kept = tx.take_plan(&claim.run, attempt.base).await.unwrap();
    tx.commit().await.unwrap();
    let Some(Resume { plan, committed, kept }) = kept.map(|kept| kept.resume) else {
        let plan = plan(from, from + i64::from(SPLITS) * moment);
        let left = SPLITS - u32::try_from(splits).unwrap();
        return OnItsWay { attempt, plan, splits: (0..SPLITS).take(splits).collect(), left, noted: false };
    };
    let mut landed: Vec<u32> = kept.iter().map(|kept| kept.split).collect();
    let missing: Vec<u32> = (0..SPLITS).filter(|split| !committed.contains(split) && !landed.contains(split)).collect();
    landed.extend(missing.iter().take(splits));
    let left = u32::try_from(missing.len().saturating_sub(splits)).unwrap();
    OnItsWay { attempt, plan, splits: landed, left, noted: false }
}

/// What control does while an attempt lands. That the plan is gone by then is not the attempt's to mend.
async fn keep(world: &World, claim: &Claim, on_its_way: &OnItsWay) {
    let OnItsWay { attempt, plan, splits, .. } = on_its_way;
    let mut tx = world.store.write(&world.scope).await.unwrap();
    tx.keep_plan(&claim.run, "a", attempt.base, plan).await.unwrap();
    for &split in splits {
        let landed = LandedSplit {
            split,
            files: Vec::new(),
            totals: Totals::default(),
            diagnostics: Diagnostics::default(),
            verified: None,
        };
        tx.keep_split(&claim.run, "a", plan.id, attempt.ordinal, &landed).await.unwrap();
    }
    tx.commit().await.unwrap();
}

fn plan(from: i64, until: i64) -> FrozenPlan {
    let source = json!([from, until]);
    FrozenPlan { id: PlanId::mint(), source, splits: SPLITS, reached: None, window: None, notes: Vec::new() }
}

async fn note(world: &World, claim: &Claim, data_set: &DataSetId, on_its_way: &OnItsWay) {
    let OnItsWay { attempt, plan, splits, left, .. } = on_its_way;
    let until = plan.source[1].clone();
    let next = if *left > 0 { attempt.offset.clone().unwrap_or(Value::Null) } else { until };
    let part = Some(Part { plan: plan.clone(), splits: splits.clone() });
    let landed = Landed { part, splits_left: *left, ..landed() };
    world.put_landed(claim, attempt, data_set, next, landed).await;
}

/// What the lake does: a noted attempt is committed while the table stands at its base, and only once.
fn commit(table: &mut Table, on_its_way: Option<&OnItsWay>) {
    let Some(OnItsWay { attempt, plan, splits, noted: true, .. }) = on_its_way else { return };
    let mark = CommitMark { app_id: "flow".to_owned(), base: attempt.base, ordinal: attempt.ordinal };
    if mark.standing(table.last) == Standing::AtBase {
        let [from, until] = [0, 1].map(|place| plan.source[place].as_i64().unwrap());
        let width = (until - from) / i64::from(SPLITS);
        let range = |split: &u32| (from + i64::from(*split) * width, from + i64::from(*split + 1) * width);
        table.ranges.extend(splits.iter().map(range));
        table.last = Some(attempt.ordinal);
    }
}

/// What control does before each attempt: it asks the table and promotes what explains it.
async fn settle(world: &World, claim: &Claim, data_set: &DataSetId, table: &Table) {
    let mut tx = world.store.write(&world.scope).await.unwrap();
    tx.promote(claim.run.body.flow_id, data_set, &Promotion::Table(table.last), NOW).await.unwrap();
    tx.commit().await.unwrap();
}
