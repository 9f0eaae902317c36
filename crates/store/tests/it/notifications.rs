//! What waits to be told of runs: taken by one, told at least once, never more than there is room for.

use headwaters_model::id::RunId;
use headwaters_store::{NewNotification, Notification, NotificationEnd, NotificationTerms};

use crate::world::{LEASE, NOW, World};

const HOOK: &str = "the first webhook";
const TERMS: NotificationTerms = NotificationTerms { lease_ms: LEASE, pause_ms_max: 600_000, limit: 2 };

async fn put(world: &World, webhook: &str, payload: &str, queue_max: u32) -> u64 {
    let new = NewNotification { webhook, run: RunId::mint(), event_code: "code", payload, at_ms: NOW };
    let mut tx = world.store.write(&world.scope).await.unwrap();
    let gave_way = tx.put_notification(&new, queue_max).await.unwrap();
    tx.commit().await.unwrap();
    gave_way
}

async fn take(world: &World, now_ms: i64) -> Vec<Notification> {
    world.store.take_notifications(HOOK, now_ms, &TERMS).await.unwrap()
}

fn payloads(taken: &[Notification]) -> Vec<&str> {
    let mut payloads: Vec<&str> = taken.iter().map(|one| one.payload.as_str()).collect();
    payloads.sort_unstable();
    payloads
}

pub(crate) async fn a_notification_is_taken_by_one_until_its_lease_ends(world: &World) {
    for payload in ["1", "2", "3"] {
        put(world, HOOK, payload, 10).await;
    }
    put(world, "another webhook", "4", 10).await;
    let first = take(world, NOW).await;
    assert_eq!(payloads(&first), ["1", "2"]);
    assert_eq!(payloads(&take(world, NOW).await), ["3"]);
    assert!(take(world, NOW + LEASE - 1).await.is_empty());
    let again = take(world, NOW + LEASE).await;
    assert_eq!((payloads(&again), again[0].tries), (vec!["1", "2"], 2));
    assert_eq!(again[0].id, first[0].id, "a try changes nothing of what is delivered");
}

pub(crate) async fn what_was_delivered_is_gone_and_what_was_not_comes_again(world: &World) {
    put(world, HOOK, "1", 10).await;
    put(world, HOOK, "2", 10).await;
    let taken = take(world, NOW).await;
    let ends = [NotificationEnd::Over, NotificationEnd::Again(NOW + 5)];
    let ended: Vec<_> = taken.clone().into_iter().zip(ends).collect();
    world.store.end_notifications(&ended).await.unwrap();
    assert_eq!(world.store.notifications_waiting(HOOK).await.unwrap(), 1);
    assert!(take(world, NOW + 4).await.is_empty());
    let again = take(world, NOW + 5).await;
    assert_eq!(payloads(&again), [taken[1].payload.as_str()]);

    // The first worker wakes up late: what the second one has in hand is not for it to put off.
    world.store.end_notifications(&[(taken[1].clone(), NotificationEnd::Again(NOW + 100_000))]).await.unwrap();
    assert_eq!(take(world, NOW + 5 + LEASE).await.len(), 1);
}

pub(crate) async fn a_full_queue_lets_its_oldest_notification_go(world: &World) {
    let gave_way = [put(world, HOOK, "1", 2).await, put(world, HOOK, "2", 2).await, put(world, HOOK, "3", 2).await];
    assert_eq!(gave_way, [0, 0, 1]);
    assert_eq!(payloads(&take(world, NOW).await), ["2", "3"]);
}

pub(crate) async fn what_a_fast_clock_has_put_off_too_far_is_due(world: &World) {
    put(world, HOOK, "1", 10).await;
    let taken = take(world, NOW).await;
    let far = NOW + TERMS.pause_ms_max + 1;
    world.store.end_notifications(&[(taken[0].clone(), NotificationEnd::Again(far))]).await.unwrap();
    assert_eq!(take(world, NOW).await.len(), 1);
}

pub(crate) async fn what_has_waited_too_long_is_forgotten(world: &World) {
    put(world, HOOK, "1", 10).await;
    assert_eq!(world.store.forget_notifications(NOW).await.unwrap(), 0);
    assert_eq!(world.store.forget_notifications(NOW + 1).await.unwrap(), 1);
    assert_eq!(world.store.notifications_waiting(HOOK).await.unwrap(), 0);
}

pub(crate) async fn a_run_is_told_to_be_late_once(world: &World) {
    let flow = world.add_pipeline().await.flow;
    let run = world.add_run(&flow, None).await;
    assert_eq!(world.store.runs_waiting(NOW).await.unwrap(), 1);
    world.claim("worker", NOW).await.unwrap();
    assert_eq!(world.store.runs_waiting(NOW).await.unwrap(), 0);
    assert!(world.store.late_runs(NOW, 10).await.unwrap().is_empty());
    assert_eq!(world.store.late_runs(NOW + 1, 10).await.unwrap(), [(world.scope.clone(), run.id)]);
    let mut tx = world.store.write(&world.scope).await.unwrap();
    assert!(tx.tell_late(run.id, NOW).await.unwrap());
    assert!(!tx.tell_late(run.id, NOW).await.unwrap());
    tx.commit().await.unwrap();
    assert!(world.store.late_runs(NOW + 1, 10).await.unwrap().is_empty());
}
