//! Whose table is looked after, and since when files may be needed.

use headwaters_model::id::{DataSetId, PlanId};
use headwaters_model::job::{FrozenPlan, Landed, LandedSplit, Part};
use headwaters_store::Promotion;
use serde_json::json;

use crate::settlements::settle;
use crate::world::{NOW, Pipeline, World, data_set, landed};

/// How often a table is looked after here, in milliseconds.
const EVERY: i64 = 3_600_000;

async fn taken(world: &World, now_ms: i64) -> Vec<DataSetId> {
    let mut taken = Vec::new();
    while let Some(claim) = world.store.claim_care(now_ms - EVERY, now_ms).await.unwrap() {
        taken.push(claim.data_set);
    }
    taken
}

pub(crate) async fn each_table_is_taken_once_in_a_while_and_a_new_one_waits_as_long(world: &World) {
    let first = world.add(data_set("orders")).await;
    let second = world.add(data_set("customers")).await;
    assert_eq!(taken(world, NOW + EVERY - 1).await, []);
    let (a, b) = tokio::join!(taken(world, NOW + EVERY), taken(world, NOW + EVERY));
    let mut all = [a, b].concat();
    all.sort();
    let mut both = vec![first.id.clone(), second.id.clone()];
    both.sort();
    assert_eq!(all, both, "by one of two workers each");
    assert_eq!(taken(world, NOW + EVERY * 2 - 1).await, []);
    assert_eq!(taken(world, NOW + EVERY * 2).await.len(), 2);
    // The clock was far ahead, and is put back.
    assert_eq!(taken(world, NOW + 1).await.len(), 2);

    let claim = world.store.claim_care(NOW + EVERY, NOW + EVERY * 2).await.unwrap().unwrap();
    assert_eq!((&claim.scope, claim.location.is_empty(), claim.oldest_run_ms), (&world.scope, false, None));
}

pub(crate) async fn files_of_a_run_at_work_are_needed_since_it_was_made(world: &World) {
    let Pipeline { flow, .. } = world.add_pipeline().await;
    world.add_run(&flow, Some(NOW)).await;
    let waiting = world.store.claim_care(NOW, NOW + EVERY).await.unwrap().unwrap();
    assert_eq!(waiting.oldest_run_ms, None, "nothing of it is landed");
    world.claim("a", NOW + 5).await.unwrap();
    let at_work = world.store.claim_care(NOW + EVERY, NOW + EVERY).await.unwrap().unwrap();
    assert_eq!(at_work.oldest_run_ms, Some(NOW));
}

pub(crate) async fn what_a_run_has_landed_of_a_plan_is_needed_until_it_is_over_and_nobody_goes_on_with_it(
    world: &World,
) {
    let Pipeline { flow, data_set, .. } = world.add_pipeline().await;
    world.add_run(&flow, Some(NOW)).await;
    let first = world.claim("a", NOW).await.unwrap();
    let attempt = world.attempt(&first, "a", &data_set.id).await;
    let id = PlanId::mint();
    let plan = FrozenPlan { id, source: json!(0), splits: 3, reached: None, window: None, notes: Vec::new() };
    let part = Some(Part { plan: plan.clone(), splits: vec![0] });
    let visible = Landed { part, splits_left: 2, ..landed() };
    world.put_landed(&first, &attempt, &data_set.id, json!(0), visible).await;
    let mut tx = world.store.write(&world.scope).await.unwrap();
    tx.promote(flow.id, &data_set.id, &Promotion::Table(Some(attempt.ordinal)), NOW).await.unwrap();
    let next = tx.begin_attempt(&first.run, "a", &data_set.id, NOW).await.unwrap();
    let Landed { files, totals, diagnostics, .. } = landed();
    let split = LandedSplit { split: 1, files, totals, diagnostics, verified: None };
    tx.keep_split(&first.run, "a", id, next.ordinal, &split).await.unwrap();
    let kept = tx.take_plan(&first.run, next.base).await.unwrap().unwrap().resume;
    assert_eq!((kept.committed, kept.kept), (vec![0], vec![split]));
    tx.commit().await.unwrap();
    let claim = world.store.claim_care(NOW, NOW + EVERY).await.unwrap().unwrap();
    assert_eq!(claim.oldest_run_ms, Some(NOW), "it may yet commit what is landed");

    settle(world, &first, &data_set.id, Promotion::Unchanged).await.unwrap();
    let claim = world.store.claim_care(NOW + EVERY, NOW + 2 * EVERY).await.unwrap().unwrap();
    assert_eq!(claim.oldest_run_ms, None, "a plan that nobody goes on with keeps no file");
    world.add_run(&flow, Some(NOW + 1)).await;
    let second = world.claim("a", NOW + EVERY).await.unwrap();
    let mut tx = world.store.write(&world.scope).await.unwrap();
    let attempt = tx.begin_attempt(&second.run, "a", &data_set.id, NOW).await.unwrap();
    let taken = tx.take_plan(&second.run, attempt.base).await.unwrap().unwrap();
    assert_eq!((taken.taken_from, taken.resume.committed), (Some(first.run.id), vec![0]));
    assert_eq!(taken.resume.kept, [], "whoever goes on with it lands the rest anew");
}
