//! What is recorded beside the acts themselves, and for how long.

use std::time::Duration;

use headwaters_control::{TokenDenied, TokenRequest};
use headwaters_model::id::ClientId;
use headwaters_model::resource::{Collection, ResourceRef};
use headwaters_model::secret::Secret;
use headwaters_store::{AuditEntry, AuditQuery, AuditRecord};
use tokio::time::{Instant, sleep};

use crate::world::{NOW_MS, World};

/// No test waits longer.
const PATIENCE: Duration = Duration::from_secs(20);
const DAY_MS: i64 = 24 * 3600 * 1000;

async fn recorded(world: &World) -> Vec<AuditRecord> {
    world.store.audit(&AuditQuery { limit: 100_000, ..AuditQuery::default() }).await.unwrap()
}

#[tokio::test]
async fn what_is_older_than_a_year_is_forgotten_by_the_worker_and_nothing_else() {
    let world = World::start().await;
    let mut tx = world.store.write(&world.caller.scope).await.unwrap();
    // More than are forgotten in one go.
    for days in (366..1500).chain([365, 364, 0]) {
        let entry = AuditEntry {
            at_ms: NOW_MS - days * DAY_MS,
            by: &world.caller.actor,
            action: "create",
            resource: ResourceRef::new(Collection::Flows, days),
            etag: None,
            request_id: None,
            allowed: true,
        };
        tx.audit(&entry).await.unwrap();
    }
    tx.commit().await.unwrap();
    let worker = world.worker();
    let started = Instant::now();
    let kept = loop {
        let kept = recorded(&world).await;
        if kept.len() <= 3 {
            break kept;
        }
        assert!(started.elapsed() < PATIENCE, "{} records are left", kept.len());
        sleep(Duration::from_millis(10)).await;
    };
    let days: Vec<_> = kept.iter().map(|line| line.resource_id.as_str()).collect();
    assert_eq!(days, ["0", "364", "365"]);
    worker.stop().await;
}

#[tokio::test]
async fn a_flood_of_refusals_is_recorded_in_part() {
    let world = World::start().await;
    for _ in 0..100 {
        world.control.record_refusal(&world.caller, "delete", ResourceRef::new(Collection::Flows, "a")).await;
    }
    let lines = recorded(&world).await;
    assert_eq!(lines.len(), 61, "the last one says that there were more");
    let (gap, line) = (&lines[0], &lines[1]);
    assert_eq!((gap.action.as_str(), gap.allowed, gap.resource_id.as_str()), ("left-out", false, ""));
    assert_eq!((line.action.as_str(), line.allowed, line.etag.as_deref()), ("delete", false, None));
    assert_eq!(line.request_id.as_deref(), Some("request-1"));
    world.clock.advance(Duration::from_secs(60));
    world.control.record_refusal(&world.caller, "delete", ResourceRef::new(Collection::Flows, "a")).await;
    assert_eq!(recorded(&world).await.len(), 62);
}

#[tokio::test]
async fn a_login_at_an_account_that_does_not_exist_leaves_no_record() {
    let world = World::start().await;
    let request = TokenRequest {
        grant_type: Some("client_credentials".into()),
        client_id: Some(ClientId::mint().to_string()),
        client_secret: Some(Secret::new("a guess")),
        ..TokenRequest::default()
    };
    assert!(matches!(world.control.issue_token(request).await, Err(TokenDenied::Client)));
    assert!(recorded(&world).await.is_empty());
}
