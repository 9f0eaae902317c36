//! The ordinals of architecture.md, section 4, under every order of events: attempts stall, wake up and overtake each
//! other around a table that knows only its last ordinal, and still every row is committed once. Some commit all that they
//! have read, from the watermark to a new one; others commit key ranges of a plan one after the other, and the watermark
//! moves with the last of them.

mod parts;

use headwaters_model::id::DataSetId;
use headwaters_model::offset::{CommitMark, Ordinal, Standing};
use headwaters_store::{Attempt, Claim, KeyRing, PendingCommit, Promotion, Store, StoreError};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::world::{NOW, Pipeline, World, landed};

/// Of the cases that are tried by default, or as `PROPTEST_CASES` says, only each so-manieth: each makes a store.
const ORDERS_SHARE: u32 = 10;
/// How many attempts may be on their way at a time.
const STALLED: usize = 3;

/// How many orders of events are tried.
fn orders() -> Config {
    let cases = Config::default().cases / ORDERS_SHARE;
    Config { cases, failure_persistence: None, ..Config::default() }
}

/// One thing that happens, to one of the attempts on their way.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// A worker settles what the table knows, and begins a new attempt in the place of one that died.
    Begin(usize),
    /// The attempt notes what it is about to commit.
    Note(usize),
    /// The attempt commits, if the table still stands at its base.
    Commit(usize),
    /// Somebody settles what the table knows.
    Settle,
}

/// An attempt on its way: it has read everything from its offset to `until`.
struct OnItsWay {
    attempt: Attempt,
    until: i64,
    noted: bool,
}

/// A table that keeps the ranges that were committed, and the last ordinal.
#[derive(Default)]
struct Table {
    last: Option<Ordinal>,
    ranges: Vec<(i64, i64)>,
}

#[test]
fn however_attempts_overtake_each_other_every_row_is_committed_once() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let event = (0..4u8, 0..STALLED).prop_map(|(kind, place)| match kind {
        0 => Event::Begin(place),
        1 => Event::Note(place),
        2 => Event::Commit(place),
        _ => Event::Settle,
    });
    let events = prop::collection::vec(event, 1..40);
    let mut runner = TestRunner::new(orders());
    let held = runner.run(&events, |events| {
        let ranges = runtime.block_on(play(&events));
        let gapless = ranges.iter().scan(0, |end, range| Some(range.0 == std::mem::replace(end, range.1)));
        prop_assert!(gapless.into_iter().all(|fits| fits), "{:?}", ranges);
        Ok(())
    });
    held.unwrap();
}

/// Plays events and gives the committed ranges in their order.
async fn play(events: &[Event]) -> Vec<(i64, i64)> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("headwaters.db");
    let store = Store::open(path.to_str().unwrap(), KeyRing::generate().unwrap()).await.unwrap();
    let world = World::new(store, dir).await;
    let Pipeline { flow, data_set, .. } = world.add_pipeline().await;
    world.add_run(&flow, Some(NOW)).await;
    let claim = world.claim("a", NOW).await.unwrap();
    let mut table = Table::default();
    let mut attempts: [Option<OnItsWay>; STALLED] = Default::default();
    for (moment, event) in (1..).zip(events) {
        match *event {
            Event::Settle => settle(&world, &claim, &data_set.id, &table).await.unwrap(),
            Event::Begin(place) => {
                settle(&world, &claim, &data_set.id, &table).await.unwrap();
                let attempt = world.attempt(&claim, "a", &data_set.id).await;
                // The source has grown: a later attempt reads further.
                attempts[place] = Some(OnItsWay { attempt, until: moment, noted: false });
            }
            Event::Note(place) => {
                if let Some(on_its_way) = attempts[place].as_mut().filter(|on_its_way| !on_its_way.noted) {
                    on_its_way.noted = true;
                    let next = json!(on_its_way.until);
                    world.put_pending(&claim, &on_its_way.attempt, &data_set.id, next).await;
                }
            }
            Event::Commit(place) => commit(&mut table, attempts[place].as_ref()),
        }
    }
    settle(&world, &claim, &data_set.id, &table).await.unwrap();
    let (_, offset) = world.standing(&flow, &data_set.id).await;
    assert_eq!(offset.as_ref().and_then(Value::as_i64), table.ranges.last().map(|range| range.1));
    table.ranges
}

/// What the lake does: a noted attempt is committed while the table stands at its base, and only once.
fn commit(table: &mut Table, on_its_way: Option<&OnItsWay>) {
    let Some(OnItsWay { attempt, until, noted: true }) = on_its_way else { return };
    let mark = CommitMark { app_id: "flow".to_owned(), base: attempt.base, ordinal: attempt.ordinal };
    if mark.standing(table.last) == Standing::AtBase {
        let from = attempt.offset.as_ref().and_then(Value::as_i64).unwrap_or(0);
        table.ranges.push((from, *until));
        table.last = Some(attempt.ordinal);
    }
}

/// What control does before each attempt: it asks the table and promotes what explains it.
async fn settle(world: &World, claim: &Claim, data_set: &DataSetId, table: &Table) -> Result<(), StoreError> {
    let mut tx = world.store.write(&world.scope).await?;
    tx.promote(claim.run.body.flow_id, data_set, &Promotion::Table(table.last), NOW).await?;
    let pending: Vec<PendingCommit> = tx.pending(claim.run.body.flow_id, data_set).await?;
    assert!(pending.iter().all(|pending| Some(pending.ordinal) > table.last && pending.landed == landed()));
    tx.commit().await
}
