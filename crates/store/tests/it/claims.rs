//! Who may work on a run, and when: claims, leases and attempts.

use headwaters_model::flow::Flow;
use headwaters_model::offset::Ordinal;
use headwaters_model::resource::{Resource, State};
use headwaters_model::run::{Run, RunStatus};
use headwaters_store::{Promotion, StoreError};

use crate::settlements::settle;
use crate::world::{LEASE, NOW, Pipeline, World, flow};

pub(crate) async fn an_instant_of_a_schedule_has_one_run(world: &World) {
    let Pipeline { flow, .. } = world.add_pipeline().await;
    world.add_run(&flow, Some(NOW)).await;
    let body = Run::scheduled(flow.id, flow.body.flow_spec.clone(), None);
    let again = Resource::new(world.scope.clone(), State::Enabled, body, &world.actor, NOW);
    let mut tx = world.store.write(&world.scope).await.unwrap();
    assert!(!tx.schedule_run(&again, NOW, Some(NOW)).await.unwrap());
    assert!(tx.schedule_run(&again, NOW, Some(NOW + 60_000)).await.unwrap());
    assert_eq!(tx.unfinished_runs(flow.id).await.unwrap().len(), 2);
}

pub(crate) async fn of_many_workers_one_claims_a_run(world: &World) {
    let Pipeline { flow, .. } = world.add_pipeline().await;
    let run = world.add_run(&flow, Some(NOW)).await;
    assert_eq!(world.claim("early", NOW - 1).await, None);
    let (a, b, c) = tokio::join!(world.claim("a", NOW), world.claim("b", NOW), world.claim("c", NOW));
    let claims: Vec<_> = [a, b, c].into_iter().flatten().collect();
    let [claim] = &claims[..] else { panic!("one claim: {claims:?}") };
    assert_eq!((claim.run.id, claim.taken_over, claim.scheduled_for_ms), (run.id, false, Some(NOW)));
    assert_eq!((claim.run.body.status(), claim.run.body.started_at_ms()), (RunStatus::InProgress, Some(NOW)));
    assert_ne!(claim.run.etag, run.etag);
    assert_eq!(world.find(&run.id).await.as_ref(), Some(&claim.run));
    let shown = world.find::<Flow>(&flow.id).await.unwrap().body.last_run_details.unwrap();
    assert_eq!((shown.state, shown.started_at_ms), (RunStatus::InProgress, Some(NOW)));
}

pub(crate) async fn a_flow_has_one_run_at_work(world: &World) {
    let Pipeline { flow, data_set, .. } = world.add_pipeline().await;
    world.add_run(&flow, Some(NOW)).await;
    let second = world.add_run(&flow, Some(NOW + 1)).await;
    let first = world.claim("a", NOW).await.unwrap();
    assert_eq!(world.claim("b", NOW).await, None);
    settle(world, &first, &data_set.id, Promotion::Unchanged).await.unwrap();
    assert_eq!(world.claim("b", NOW).await.unwrap().run.id, second.id);
}

pub(crate) async fn a_run_of_a_disabled_flow_waits(world: &World) {
    let Pipeline { mut flow, .. } = world.add_pipeline().await;
    world.add_run(&flow, Some(NOW)).await;
    flow = world.find(&flow.id).await.unwrap();
    flow.state = State::Disabled;
    let expected = flow.touch(&world.actor, NOW);
    let mut tx = world.store.write(&world.scope).await.unwrap();
    tx.replace(&flow, &expected).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(world.claim("a", NOW).await, None);
}

pub(crate) async fn a_lease_that_ended_is_taken_over(world: &World) {
    let Pipeline { flow, .. } = world.add_pipeline().await;
    world.add_run(&flow, Some(NOW)).await;
    let first = world.claim("a", NOW).await.unwrap();
    assert_eq!(world.claim("b", NOW + LEASE - 1).await, None);
    let second = world.claim("b", NOW + LEASE).await.unwrap();
    assert!(second.taken_over);
    assert_eq!((&second.batch, &second.run), (&first.batch, &first.run));
    assert!(!world.store.heartbeat(first.run.id, "a", NOW + 2 * LEASE).await.unwrap());
    world.store.release(second.run.id, "b").await.unwrap();
    assert!(world.claim("c", NOW + LEASE).await.unwrap().taken_over);
}

pub(crate) async fn a_heartbeat_keeps_a_lease(world: &World) {
    let Pipeline { flow, .. } = world.add_pipeline().await;
    world.add_run(&flow, Some(NOW)).await;
    let claim = world.claim("a", NOW).await.unwrap();
    assert!(world.store.heartbeat(claim.run.id, "a", NOW + 2 * LEASE).await.unwrap());
    assert_eq!(world.claim("b", NOW + LEASE).await, None);
}

pub(crate) async fn ordinals_only_grow(world: &World) {
    let Pipeline { flow, data_set, .. } = world.add_pipeline().await;
    world.add_run(&flow, Some(NOW)).await;
    let claim = world.claim("a", NOW).await.unwrap();
    let first = world.attempt(&claim, "a", &data_set.id).await;
    let second = world.attempt(&claim, "a", &data_set.id).await;
    assert_eq!((first.ordinal, first.number, first.base), (Ordinal::FIRST, 1, None));
    assert_eq!((second.ordinal, second.number, second.base), (Ordinal(2), 2, None));
    settle(world, &claim, &data_set.id, Promotion::Unchanged).await.unwrap();
    world.add_run(&flow, Some(NOW + 1)).await;
    let claim = world.claim("a", NOW).await.unwrap();
    let third = world.attempt(&claim, "a", &data_set.id).await;
    assert_eq!((third.ordinal, third.number), (Ordinal(3), 1));
}

pub(crate) async fn an_attempt_needs_the_lease(world: &World) {
    let Pipeline { flow, data_set, .. } = world.add_pipeline().await;
    world.add_run(&flow, Some(NOW)).await;
    let claim = world.claim("a", NOW).await.unwrap();
    world.claim("b", NOW + LEASE).await.unwrap();
    let mut tx = world.store.write(&world.scope).await.unwrap();
    let refused = tx.begin_attempt(&claim.run, "a", &data_set.id, NOW).await;
    assert!(matches!(refused, Err(StoreError::LeaseLost(_))), "{refused:?}");
}

pub(crate) async fn flows_are_due_when_their_instant_has_come(world: &World) {
    let first = world.add(flow("first", None, None)).await;
    let second = world.add(flow("second", None, None)).await;
    let mut tx = world.store.write(&world.scope).await.unwrap();
    tx.set_next_due(first.id, Some(NOW + 10)).await.unwrap();
    tx.set_next_due(second.id, Some(NOW)).await.unwrap();
    assert_eq!(tx.next_due(first.id).await.unwrap(), Some(NOW + 10));
    tx.commit().await.unwrap();
    let due = world.store.due_flows(NOW + 9, 10).await.unwrap();
    let [due] = &due[..] else { panic!("one: {due:?}") };
    assert_eq!((due.flow, due.due_ms, &due.scope), (second.id, NOW, &world.scope));
    assert_eq!(world.store.due_flows(NOW + 10, 1).await.unwrap().len(), 1);
    assert_eq!(world.store.due_flows(NOW + 10, 10).await.unwrap().len(), 2);
}
