//! Who may work on a run, and when: claims, leases and attempts.

use headwaters_model::flow::Flow;
use headwaters_model::offset::Ordinal;
use headwaters_model::resource::{Resource, State};
use headwaters_model::run::{Run, RunOrigin, RunStatus};
use headwaters_store::{PAUSE_MS_MAX, Promotion, StoreError};

use crate::settlements::settle;
use crate::world::{LEASE, NOW, Pipeline, World, flow};

pub(crate) async fn an_instant_of_a_schedule_has_one_run(world: &World) {
    let Pipeline { flow, .. } = world.add_pipeline().await;
    world.add_run(&flow, Some(NOW)).await;
    let body = Run::scheduled(flow.id, flow.body.flow_spec.clone(), None);
    let again = Resource::new(world.scope.clone(), State::Enabled, body, &world.actor, NOW);
    let mut tx = world.store.write(&world.scope).await.unwrap();
    assert!(!tx.schedule_run(&again, &RunOrigin::default(), NOW, Some(NOW)).await.unwrap());
    assert!(tx.schedule_run(&again, &RunOrigin::default(), NOW, Some(NOW + 60_000)).await.unwrap());
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

pub(crate) async fn what_seems_leased_for_longer_than_any_lease_is_taken_over(world: &World) {
    let Pipeline { flow, .. } = world.add_pipeline().await;
    world.add_run(&flow, Some(NOW)).await;
    let first = world.claim("a", NOW).await.unwrap();
    let longest = LEASE + PAUSE_MS_MAX;
    assert!(world.store.heartbeat(first.run.id, "a", NOW + longest).await.unwrap());
    assert_eq!(world.claim("b", NOW).await, None, "so long a pause can be");
    let set_back = world.claim("b", NOW - 1).await.unwrap();
    assert_eq!((set_back.run.id, set_back.taken_over), (first.run.id, true));
    assert_eq!(world.claim("c", NOW).await, None, "it has a lease by the clock that is");
}

pub(crate) async fn what_a_worker_has_in_hand_it_does_not_take_from_itself(world: &World) {
    let Pipeline { source, target, flow: one, .. } = world.add_pipeline().await;
    let other = world.add(flow("other", Some(source.id), Some(target.id))).await;
    world.add_run(&one, Some(NOW)).await;
    let first = world.claim("a", NOW).await.unwrap();
    world.add_run(&other, Some(NOW)).await;
    let second = world.claim("b", NOW).await.unwrap();
    let in_hand = [first.run.id, second.run.id];
    let late = NOW + 2 * LEASE;
    assert_eq!(world.claim_beside("c", &in_hand, late).await, None);
    assert!(world.store.heartbeat(first.run.id, "a", late + LEASE).await.unwrap(), "the lease goes on where it ended");
    assert_eq!(world.claim_beside("c", &in_hand[..1], late).await.unwrap().run.id, second.run.id);
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
    tx.set_next_due(first.id, Some(NOW + 10), NOW).await.unwrap();
    tx.set_next_due(second.id, Some(NOW), NOW).await.unwrap();
    assert_eq!(tx.next_due(first.id).await.unwrap(), Some(NOW + 10));
    tx.commit().await.unwrap();
    let due = world.store.due_flows(NOW + 9, 10).await.unwrap();
    let [due] = &due[..] else { panic!("one: {due:?}") };
    assert_eq!((due.flow, due.due_ms, &due.scope), (second.id, NOW, &world.scope));
    assert_eq!(world.store.due_flows(NOW + 10, 1).await.unwrap().len(), 1);
    assert_eq!(world.store.due_flows(NOW + 10, 10).await.unwrap().len(), 2);
}

pub(crate) async fn a_flow_with_a_run_of_its_schedule_that_is_not_over_is_not_due(world: &World) {
    let Pipeline { flow, data_set, .. } = world.add_pipeline().await;
    let due = async || {
        let due = world.store.due_flows(NOW + LEASE, 10).await.unwrap();
        due.into_iter().map(|due| (due.flow, due.due_ms)).collect::<Vec<_>>()
    };
    let run = world.add_run(&flow, Some(NOW)).await;
    let mut tx = world.store.write(&world.scope).await.unwrap();
    tx.set_next_due(flow.id, Some(NOW + 10), NOW).await.unwrap();
    assert_eq!(tx.scheduled_run(flow.id).await.unwrap(), Some(run.id));
    tx.commit().await.unwrap();
    assert_eq!(due().await, [], "it waits");
    let claim = world.claim("a", NOW).await.unwrap();
    assert_eq!(due().await, [], "it is at work");
    let attempt = world.attempt(&claim, "a", &data_set.id).await;
    let promotion = Promotion::Empty { base: attempt.base, next: serde_json::Value::Null };
    settle(world, &claim, &data_set.id, promotion).await.unwrap();
    assert_eq!(due().await, [(flow.id, NOW + 10)], "it is over");
    // One that somebody asked for holds nothing up.
    world.add_run(&flow, None).await;
    assert_eq!(due().await, [(flow.id, NOW + 10)]);
}

pub(crate) async fn flows_that_a_clock_ahead_has_put_off_are_found(world: &World) {
    let ahead = world.add(flow("ahead", None, None)).await.id;
    let right = world.add(flow("right", None, None)).await.id;
    let over = world.add(flow("over", None, None)).await.id;
    let mut tx = world.store.write(&world.scope).await.unwrap();
    tx.set_next_due(ahead, Some(NOW + 9_000), NOW + 5_000).await.unwrap();
    tx.set_next_due(right, Some(NOW + 9_000), NOW).await.unwrap();
    tx.set_next_due(over, None, NOW + 5_000).await.unwrap();
    tx.commit().await.unwrap();
    let found = async |now_ms| {
        let found = world.store.flows_set_ahead(now_ms, 10).await.unwrap();
        found.into_iter().map(|found| found.flow).collect::<Vec<_>>()
    };
    assert_eq!((found(NOW + 4_999).await, found(NOW + 5_000).await), (vec![ahead], vec![]));
    assert_eq!(found(NOW - 1).await, [right, ahead], "what is due no more is not put off");
}

pub(crate) async fn runs_that_a_clock_ahead_has_made_wait_only_for_a_start_that_was_asked_for(world: &World) {
    let scheduled = world.add_run(&world.add(flow("scheduled", None, None)).await, Some(NOW)).await;
    let asked = world.add_run(&world.add(flow("asked", None, None)).await, None).await;
    let flow = world.add(flow("later", None, None)).await;
    let body = Run::scheduled(flow.id, flow.body.flow_spec.clone(), None);
    let later = Resource::new(world.scope.clone(), State::Enabled, body, &world.actor, NOW);
    let mut tx = world.store.write(&world.scope).await.unwrap();
    tx.queue_run(&later, &RunOrigin::default(), NOW + 1).await.unwrap();
    tx.commit().await.unwrap();

    let back = NOW - 5_000;
    let hasten = async |moment_ms, limit| world.store.hasten_made_ahead(moment_ms, back, limit).await.unwrap();
    assert_eq!(hasten(NOW, 9).await, 0, "clocks may differ so much");
    assert!(world.claim("a", back).await.is_none());
    assert_eq!((hasten(NOW - 1, 1).await, hasten(NOW - 1, 9).await, hasten(NOW - 1, 9).await), (1, 1, 0));
    let mut claimed = [world.claim("a", back).await.unwrap().run.id, world.claim("a", back).await.unwrap().run.id];
    claimed.sort();
    assert_eq!(claimed, [scheduled.id, asked.id]);
    assert!(world.claim("a", NOW).await.is_none(), "it waits for its start");
    assert_eq!(world.claim("a", NOW + 1).await.unwrap().run.id, later.id);
}
