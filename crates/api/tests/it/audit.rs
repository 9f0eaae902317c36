//! What is recorded of attempts that are refused (flow-service.md 20).

use std::time::Duration;

use headwaters_model::account::Role;
use headwaters_store::{AuditQuery, AuditRecord};
use http::{Method, StatusCode};
use tokio::time::{Instant, sleep};

use crate::socket::PATIENCE;
use crate::world::{FLOW, World, new_connection};

/// What was recorded of a kind of act, the newest first.
async fn recorded(world: &World, action: &str) -> Vec<AuditRecord> {
    let lines = world.store.audit(&AuditQuery::default()).await.unwrap();
    lines.into_iter().filter(|line| line.action == action).collect()
}

#[tokio::test]
async fn attempts_that_a_role_does_not_allow_are_recorded_with_what_they_were_at() {
    let world = World::start().await;
    let connection = world.make_connection().await;
    let viewer = world.seen_by_role(Role::View).await;
    let target = format!("{FLOW}/connections/{connection}");
    let call = viewer.call(Method::DELETE, &target).header("x-request-id", "attempt-1");
    assert_eq!(call.send().await.status, StatusCode::FORBIDDEN);
    assert_eq!(viewer.post(&format!("{FLOW}/connections"), &new_connection()).await.status, StatusCode::FORBIDDEN);

    let deletes = recorded(&viewer, "delete").await;
    let [line] = deletes.as_slice() else { panic!("{deletes:?}") };
    assert_eq!((line.allowed, line.client.as_str()), (false, viewer.credentials.client_id.as_str()));
    assert_eq!((line.collection.as_str(), &line.resource_id), ("connections", &connection));
    assert_eq!((line.request_id.as_deref(), line.etag.as_deref()), (Some("attempt-1"), None));
    let creates = recorded(&viewer, "create").await;
    assert_eq!((creates[0].allowed, creates[0].resource_id.as_str()), (false, ""));
    assert!(viewer.get(&target).await.status.is_success(), "reading is allowed, and not recorded");
}

#[tokio::test]
async fn a_wrong_secret_is_recorded_for_an_account_that_exists_and_is_not_in_the_record() {
    let world = World::start().await;
    let login = async |client: &str| {
        let form = format!("grant_type=client_credentials&client_id={client}&client_secret=a-guess");
        let call = world.open(Method::POST, "/ims/token/v3").header("x-request-id", "login-1").body(form);
        assert_eq!(call.send().await.status, StatusCode::UNAUTHORIZED);
    };
    login("0123456789abcdef0123456789abcdef").await;
    login(world.credentials.client_id.as_str()).await;
    let started = Instant::now();
    let lines = loop {
        let lines = recorded(&world, "login").await;
        if !lines.is_empty() {
            break lines;
        }
        assert!(started.elapsed() < PATIENCE, "the login was not recorded");
        sleep(Duration::from_millis(5)).await;
    };
    let [line] = lines.as_slice() else { panic!("{lines:?}") };
    assert_eq!((line.allowed, line.client.as_str()), (false, world.credentials.client_id.as_str()));
    assert_eq!(line.request_id.as_deref(), Some("login-1"));
    assert!(!format!("{line:?}").contains("a-guess"));
}

#[tokio::test]
async fn an_attempt_is_recorded_under_the_id_that_it_was_at_however_it_was_spelt() {
    let world = World::start().await;
    let connection = world.make_connection().await;
    let viewer = world.seen_by_role(Role::View).await;
    let spelt: String = connection.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let refused = viewer.call(Method::DELETE, &format!("{FLOW}/connections/{spelt}")).send().await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert_eq!(recorded(&viewer, "delete").await[0].resource_id, connection);
}
