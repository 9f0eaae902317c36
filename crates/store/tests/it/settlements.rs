//! What a run that landed, failed or went missing leaves behind: offsets, batches and pending commits.

use headwaters_model::batch::{Batch, BatchStatus};
use headwaters_model::data_set::DataSet;
use headwaters_model::flow::Flow;
use headwaters_model::id::DataSetId;
use headwaters_model::metrics::RunRecord;
use headwaters_model::offset::Ordinal;
use headwaters_model::resource::Resource;
use headwaters_model::run::{Run, RunStatus};
use headwaters_store::{AttemptEnd, Claim, Outdated, PendingCommit, Promotion, Settlement, StoreError};
use serde_json::json;

use crate::world::{LEASE, NOW, Pipeline, World, batch, landed};

pub(crate) async fn settling_moves_everything_at_once(world: &World) {
    let Pipeline { flow, data_set, .. } = world.add_pipeline().await;
    world.add_run(&flow, Some(NOW)).await;
    let claim = world.claim("a", NOW).await.unwrap();
    let attempt = world.attempt(&claim, "a", &data_set.id).await;
    world.put_pending(&claim, &attempt, &data_set.id, json!({ "id": 3 })).await;
    settle(world, &claim, &data_set.id, Promotion::Table(Some(attempt.ordinal))).await.unwrap();

    assert_eq!(world.standing(&flow, &data_set.id).await, (vec![], Some(json!({ "id": 3 }))));
    let run: Resource<Run> = world.find(&claim.run.id).await.unwrap();
    assert_eq!(run.body.status(), RunStatus::Success);
    let shown = world.find::<Flow>(&flow.id).await.unwrap().body.last_run_details.unwrap();
    assert_eq!((shown.id, shown.state, shown.completed_at_ms), (run.id, RunStatus::Success, Some(NOW)));
    let batch = world.find::<Batch>(&claim.batch).await.unwrap();
    assert_eq!((batch.body.run_id, batch.body.status), (run.id, BatchStatus::Success));
    let data_set: Resource<DataSet> = world.find(&data_set.id).await.unwrap();
    assert_eq!(data_set.body.last_successful_batch, Some(claim.batch.clone()));
    let mut tx = world.store.read(&world.scope).await.unwrap();
    let attempts = tx.attempts(run.id).await.unwrap();
    assert_eq!((attempts.len(), attempts[0].ended_at_ms), (1, Some(NOW)));
    assert_eq!(world.claim("b", NOW + LEASE).await, None);

    // Whoever finds the same commit again is told that there is nothing left to do.
    let again = Claim { run, ..claim };
    let refused = settle(world, &again, &data_set.id, Promotion::Table(Some(attempt.ordinal))).await;
    assert!(matches!(refused, Err(StoreError::Settled(_))), "{refused:?}");
}

pub(crate) async fn settling_a_run_twice_fails_the_second_time(world: &World) {
    let Pipeline { flow, data_set, .. } = world.add_pipeline().await;
    world.add_run(&flow, Some(NOW)).await;
    let claim = world.claim("a", NOW).await.unwrap();
    settle(world, &claim, &data_set.id, Promotion::Unchanged).await.unwrap();
    let refused = settle(world, &claim, &data_set.id, Promotion::Unchanged).await;
    assert!(matches!(refused, Err(StoreError::Outdated(Outdated::Stale { .. }))), "{refused:?}");
}

pub(crate) async fn a_failure_is_written_only_by_the_holder_of_the_lease(world: &World) {
    let Pipeline { flow, data_set, .. } = world.add_pipeline().await;
    world.add_run(&flow, Some(NOW)).await;
    let first = world.claim("a", NOW).await.unwrap();
    world.claim("b", NOW + LEASE).await.unwrap();
    let mut run = first.run.clone();
    let record = json!({ "statusSummary": { "status": "failed" } });
    run.body.record(RunRecord { metrics: record, activities: Vec::new() });
    let expected = run.touch(&world.actor, NOW);
    for (owner, allowed) in [(None, false), (Some("a"), false), (Some("b"), true)] {
        let mut tx = world.store.write(&world.scope).await.unwrap();
        let settlement = Settlement {
            run: &run,
            expected: &expected,
            owner,
            data_set: &data_set.id,
            promotion: Promotion::Unchanged,
            attempt: None,
            batch: None,
            by: &world.actor,
            now_ms: NOW,
        };
        let settled = tx.settle(settlement).await;
        assert_eq!(settled.is_ok(), allowed, "{owner:?}: {settled:?}");
        assert!(allowed || matches!(settled, Err(StoreError::LeaseLost(_))), "{settled:?}");
    }
}

pub(crate) async fn what_is_pending_of_a_run_that_is_over_is_found(world: &World) {
    let Pipeline { flow, data_set, .. } = world.add_pipeline().await;
    world.add_run(&flow, Some(NOW)).await;
    let claim = world.claim("a", NOW).await.unwrap();
    let attempt = world.attempt(&claim, "a", &data_set.id).await;
    world.put_pending(&claim, &attempt, &data_set.id, json!(3)).await;
    assert_eq!(world.store.left_behind(None, 10).await.unwrap(), [], "its run is at work");
    settle(world, &claim, &data_set.id, Promotion::Unchanged).await.unwrap();
    let found = world.store.left_behind(None, 10).await.unwrap();
    let [left] = &found[..] else { panic!("one: {found:?}") };
    assert_eq!((left.pending.run, left.pending.ordinal, &left.scope), (claim.run.id, attempt.ordinal, &world.scope));
    assert_eq!(left.pending.facts.batch, claim.batch);
    assert!(world.store.left_behind(Some(left), 10).await.unwrap().is_empty());

    // What belongs to the flow stays while something is pending, and goes with it.
    let mut tx = world.store.write(&world.scope).await.unwrap();
    tx.forget_flow(flow.id).await.unwrap();
    assert_eq!(tx.attempts(claim.run.id).await.unwrap().len(), 1);
    tx.drop_pending(&left.pending).await.unwrap();
    tx.forget_flow(flow.id).await.unwrap();
    assert!(tx.attempts(claim.run.id).await.unwrap().is_empty());
}

pub(crate) async fn a_commit_that_nothing_explains_stops_the_flow(world: &World) {
    let Pipeline { flow, data_set, .. } = world.add_pipeline().await;
    world.add_run(&flow, Some(NOW)).await;
    let claim = world.claim("a", NOW).await.unwrap();
    let refused = settle(world, &claim, &data_set.id, Promotion::Table(Some(Ordinal(7)))).await;
    match refused {
        Err(StoreError::Disagreement { table, store, .. }) => assert_eq!((table, store), (Some(Ordinal(7)), None)),
        other => panic!("{other:?}"),
    }
    // Nothing of the settlement is left: the run is still at work.
    let run: Resource<Run> = world.find(&claim.run.id).await.unwrap();
    assert_eq!(run, claim.run);
    assert_eq!(world.find::<Batch>(&claim.batch).await, None);
}

pub(crate) async fn lower_pending_offsets_go_and_higher_ones_stay(world: &World) {
    let Pipeline { flow, data_set, .. } = world.add_pipeline().await;
    world.add_run(&flow, Some(NOW)).await;
    let claim = world.claim("a", NOW).await.unwrap();
    for next in [1, 2, 3] {
        let attempt = world.attempt(&claim, "a", &data_set.id).await;
        world.put_pending(&claim, &attempt, &data_set.id, json!(next)).await;
    }
    let mut tx = world.store.write(&world.scope).await.unwrap();
    tx.promote(flow.id, &data_set.id, &Promotion::Table(None), NOW).await.unwrap();
    tx.promote(flow.id, &data_set.id, &Promotion::Table(Some(Ordinal(2))), NOW).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(world.standing(&flow, &data_set.id).await, (vec![Ordinal(3)], Some(json!(2))));
    // The third was made for a base that is gone: it can not have been committed.
    let mut tx = world.store.write(&world.scope).await.unwrap();
    let refused = tx.promote(flow.id, &data_set.id, &Promotion::Table(Some(Ordinal(3))), NOW).await;
    assert!(matches!(refused, Err(StoreError::Disagreement { .. })), "{refused:?}");
}

pub(crate) async fn a_run_without_rows_moves_the_offset_from_its_base_only(world: &World) {
    let Pipeline { flow, data_set, .. } = world.add_pipeline().await;
    world.add_run(&flow, Some(NOW)).await;
    let claim = world.claim("a", NOW).await.unwrap();
    let attempt = world.attempt(&claim, "a", &data_set.id).await;
    world.put_pending(&claim, &attempt, &data_set.id, json!(10)).await;
    let mut tx = world.store.write(&world.scope).await.unwrap();
    tx.promote(flow.id, &data_set.id, &Promotion::Table(Some(attempt.ordinal)), NOW).await.unwrap();
    let from_nowhere = Promotion::Empty { base: None, next: json!(5) };
    tx.promote(flow.id, &data_set.id, &from_nowhere, NOW).await.unwrap();
    assert_eq!(tx.offset(flow.id, &data_set.id).await.unwrap().unwrap().value, json!(10));
    let from_base = Promotion::Empty { base: Some(attempt.ordinal), next: json!(20) };
    tx.promote(flow.id, &data_set.id, &from_base, NOW).await.unwrap();
    let offset = tx.offset(flow.id, &data_set.id).await.unwrap().unwrap();
    assert_eq!((offset.value, offset.ordinal), (json!(20), Some(attempt.ordinal)));
}

pub(crate) async fn a_lost_answer_is_found_again(world: &World) {
    let Pipeline { flow, data_set, .. } = world.add_pipeline().await;
    world.add_run(&flow, Some(NOW)).await;
    let claim = world.claim("a", NOW).await.unwrap();
    let attempt = world.attempt(&claim, "a", &data_set.id).await;
    world.put_pending(&claim, &attempt, &data_set.id, json!(3)).await;
    // The worker dies after its commit; whoever takes over finds what was landed.
    let heir = world.claim("b", NOW + LEASE).await.unwrap();
    let mut tx = world.store.read(&world.scope).await.unwrap();
    let found = tx.pending(flow.id, &data_set.id).await.unwrap();
    let [PendingCommit { run, ordinal, landed: rows, next, .. }] = &found[..] else { panic!("one: {found:?}") };
    assert_eq!((*run, *ordinal, rows, next), (heir.run.id, attempt.ordinal, &landed(), &json!(3)));
    assert_eq!(tx.pending(flow.id, &DataSetId::mint()).await.unwrap(), []);
    drop(tx);
    settle(world, &heir, &data_set.id, Promotion::Table(Some(attempt.ordinal))).await.unwrap();
    assert_eq!(world.standing(&flow, &data_set.id).await, (vec![], Some(json!(3))));
}

/// Settles a claimed run as a success, as control does it.
pub(crate) async fn settle(
    world: &World,
    claim: &Claim,
    data_set: &DataSetId,
    promotion: Promotion,
) -> Result<(), StoreError> {
    let mut run = claim.run.clone();
    let record = json!({
        "durationSummary": { "startedAtUTC": NOW, "completedAtUTC": NOW },
        "statusSummary": { "status": "success" },
    });
    run.body.record(RunRecord { metrics: record, activities: Vec::new() });
    let expected = run.touch(&world.actor, NOW);
    let batch = batch(world, claim, data_set, BatchStatus::Success);
    let mut tx = world.store.write(&world.scope).await?;
    let settlement = Settlement {
        run: &run,
        expected: &expected,
        owner: None,
        data_set,
        promotion,
        attempt: Some(AttemptEnd::of(Ordinal::FIRST)),
        batch: Some(&batch),
        by: &world.actor,
        now_ms: NOW,
    };
    tx.settle(settlement).await?;
    tx.commit().await
}
