//! Who may call.

use std::time::Duration;

use headwaters_control::{AccessError, AccessHeaders, Credentials, Settings, Strict, TokenDenied, TokenRequest};
use headwaters_model::account::Role;
use headwaters_model::id::{ClientId, UserId};
use headwaters_model::sandbox::Sandbox;
use headwaters_model::secret::Secret;

use crate::world::{NOW_MS, World, quick, token};

async fn refused(world: &World, change: impl FnOnce(&mut AccessHeaders<'_>)) -> AccessError {
    let authorization = format!("Bearer {}", token(&world.control, &world.credentials).await.expose());
    let mut headers = AccessHeaders {
        authorization: Some(&authorization),
        api_key: Some(world.credentials.client_id.as_str()),
        org: Some(world.credentials.org_id.as_str()),
        sandbox_name: None,
        sandbox_id: None,
    };
    change(&mut headers);
    world.control.authenticate(headers, "r".into()).await.expect_err("the caller is turned away")
}

#[tokio::test]
async fn the_first_start_makes_an_account_and_no_later_one_does() {
    let world = World::start().await;
    assert!(world.control.prepare().await.unwrap().is_none());
    assert!(!world.control.adopt(&world.credentials).await.unwrap(), "it is there already");
    let foreign = Credentials { client_id: ClientId::mint(), ..world.credentials.clone() };
    assert!(!world.control.adopt(&foreign).await.unwrap(), "a file from elsewhere opens no door");
    assert!(world.store.account(&foreign.client_id).await.unwrap().is_none());
    assert_eq!((world.caller.role, world.caller.scope.sandbox_name.as_str()), (Role::Manage, "prod"));
    assert_eq!(world.caller.scope.org, world.credentials.org_id);
    assert!(world.caller.require(Role::Manage).is_ok());
    assert!(matches!(world.caller.require(Role::Service), Err(AccessError::Denied { .. })));
}

#[tokio::test]
async fn a_first_start_that_dies_before_or_after_its_file_is_written_locks_nobody_out() {
    let world = World::unpeopled().await;
    let lost = world.control.prepare().await.unwrap().expect("nobody is there yet");
    // It died before the file was written: nothing is stored, the next start mints anew.
    let kept = world.control.prepare().await.unwrap().expect("still nobody is there");
    assert_ne!(lost.client_id, kept.client_id);
    // It died after the file was written, before the account was: the next start finds the file and makes its account.
    assert!(world.other_process().adopt(&kept).await.unwrap());
    token(&world.control, &kept).await;
    assert!(!world.other_process().adopt(&lost).await.unwrap());
}

#[tokio::test]
async fn a_first_start_that_dies_between_organisation_and_account_is_carried_on() {
    let world = World::unpeopled().await;
    let kept = world.control.prepare().await.unwrap().unwrap();
    let sandbox = Sandbox::prod(kept.org_id.clone(), UserId::mint(), NOW_MS);
    world.store.create_organisation(&sandbox).await.unwrap();
    assert_eq!(world.control.prepare().await.unwrap().unwrap().org_id, kept.org_id);
    assert!(world.control.adopt(&kept).await.unwrap());
    token(&world.control, &kept).await;
}

#[tokio::test]
async fn each_bad_header_has_its_answer() {
    let world = World::start().await;
    assert!(matches!(refused(&world, |h| h.authorization = None).await, AccessError::NoToken));
    assert!(matches!(refused(&world, |h| h.authorization = Some("Bearer ")).await, AccessError::NoToken));
    assert!(matches!(refused(&world, |h| h.authorization = Some("Bearer x.y.z")).await, AccessError::BadToken));
    assert!(matches!(refused(&world, |h| h.api_key = None).await, AccessError::NoApiKey));
    assert!(matches!(refused(&world, |h| h.api_key = Some("someone")).await, AccessError::UnknownApiKey));
    assert!(matches!(refused(&world, |h| h.org = None).await, AccessError::NoOrg));
    assert!(matches!(refused(&world, |h| h.org = Some("")).await, AccessError::EmptyOrg));
    let other = "0123456789ABCDEF01234567@AdobeOrg";
    assert!(matches!(refused(&world, |h| h.org = Some(other)).await, AccessError::WrongOrg));
    assert!(matches!(refused(&world, |h| h.sandbox_name = Some("dev")).await, AccessError::UnknownSandbox { .. }));
    assert!(matches!(refused(&world, |h| h.sandbox_name = Some("*")).await, AccessError::AllSandboxesByUser));
    assert!(matches!(refused(&world, |h| h.sandbox_id = Some("x")).await, AccessError::SandboxIdByUser));
}

#[tokio::test]
async fn a_token_ends_after_a_day() {
    let world = World::start().await;
    let token = token(&world.control, &world.credentials).await;
    world.clock.advance(Duration::from_secs(86_400));
    let authorization = format!("Bearer {}", token.expose());
    let headers = AccessHeaders { authorization: Some(&authorization), ..AccessHeaders::default() };
    assert!(matches!(world.control.authenticate(headers, "r".into()).await, Err(AccessError::BadToken)));
}

#[tokio::test]
async fn a_missing_sandbox_is_refused_only_under_the_strict_switch() {
    let strict = Strict { sandbox: true, ..Strict::default() };
    let world = World::with(Settings { strict, ..quick() }).await;
    assert!(matches!(refused(&world, |_| {}).await, AccessError::NoSandbox));
}

#[tokio::test]
async fn a_token_is_given_only_for_the_right_secret() {
    let world = World::start().await;
    let request = || TokenRequest {
        grant_type: Some("client_credentials".into()),
        client_id: Some(world.credentials.client_id.to_string()),
        client_secret: Some(world.credentials.client_secret.clone()),
        scope: Some("openid,AdobeID".into()),
        request_id: None,
    };
    let issued = world.control.issue_token(request()).await.unwrap();
    assert_eq!(issued.expires_in_seconds, 86_399);
    let denied = async |request: TokenRequest| world.control.issue_token(request).await.unwrap_err();
    let wrong = TokenRequest { client_secret: Some(Secret::new("guess")), ..request() };
    assert!(matches!(denied(wrong).await, TokenDenied::Client));
    let unknown = TokenRequest { client_id: Some("nobody".into()), ..request() };
    assert!(matches!(denied(unknown).await, TokenDenied::Client));
    let code = TokenRequest { grant_type: Some("authorization_code".into()), ..request() };
    assert!(matches!(denied(code).await, TokenDenied::GrantType));
    let nobody = TokenRequest { client_id: None, ..request() };
    assert!(matches!(denied(nobody).await, TokenDenied::FieldMissing("client_id")));
    let greedy = TokenRequest { scope: Some("openid,everything".into()), ..request() };
    assert!(matches!(denied(greedy).await, TokenDenied::Scope(scope) if scope == "everything"));
}
