//! The token endpoint (platform-services.md 6).

use headwaters_control::Credentials;
use http::{Method, StatusCode};
use serde_json::json;

use crate::world::{FLOW, World};

#[tokio::test]
async fn a_form_gets_a_token_at_every_version() {
    let world = World::start().await;
    for version in ["v1", "v2", "v3", "v3/"] {
        let call = world.open(Method::POST, &format!("/ims/token/{version}"));
        let answer =
            call.header("content-type", "application/x-www-form-urlencoded").body(world.token_form()).send().await;
        let body = answer.json();
        assert_eq!(answer.status, StatusCode::OK, "{body}");
        assert_eq!((&body["token_type"], &body["expires_in"]), (&json!("bearer"), &json!(86399)));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let token = body["access_token"].as_str().unwrap();
        let list = world.call(Method::GET, &format!("{FLOW}/flows"));
        assert_eq!(list.header("authorization", &format!("Bearer {token}")).send().await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn the_fields_may_stand_in_the_query_or_in_both_places() {
    let world = World::start().await;
    let in_query = world.open(Method::POST, &format!("/ims/token/v2?{}", world.token_form())).send().await;
    assert_eq!(in_query.status, StatusCode::OK);
    let Credentials { client_id, client_secret, .. } = &world.credentials;
    let target = format!("/ims/token/v2?grant_type=client_credentials&client_id={client_id}&client_secret=stale");
    let both = world.open(Method::POST, &target).body(format!("client_secret={}", client_secret.expose())).send().await;
    assert_eq!(both.status, StatusCode::OK, "the form wins over the query");
}

#[tokio::test]
async fn each_refusal_has_its_name_and_says_no_secret() {
    let world = World::start().await;
    let Credentials { client_id, client_secret, .. } = &world.credentials;
    let secret = client_secret.expose();
    let rows = [
        (String::new(), 400, "invalid_request"),
        (format!("grant_type=client_credentials&client_secret={secret}"), 400, "invalid_request"),
        (format!("grant_type=client_credentials&client_id={client_id}"), 400, "invalid_request"),
        (format!("client_id={client_id}&client_secret={secret}"), 400, "invalid_request"),
        (
            format!("grant_type=authorization_code&client_id={client_id}&client_secret={secret}"),
            400,
            "unsupported_grant_type",
        ),
        (
            format!("grant_type=client_credentials&client_id={client_id}&client_secret={secret}&scope=root"),
            400,
            "invalid_scope",
        ),
        (format!("grant_type=client_credentials&client_id={client_id}&client_secret=wrong-one"), 401, "invalid_client"),
        (format!("grant_type=client_credentials&client_id=nobody&client_secret={secret}"), 401, "invalid_client"),
    ];
    for (form, status, error) in rows {
        let answer = world.open(Method::POST, "/ims/token/v3").body(form.clone()).send().await;
        let body = answer.json();
        assert_eq!((answer.status.as_u16(), &body["error"]), (status, &json!(error)), "{form}");
        assert!(body["error_description"].is_string());
        assert!(!body.to_string().contains(secret) && !body.to_string().contains("wrong-one"));
    }
}

#[tokio::test]
async fn other_versions_and_methods_answer_in_the_endpoint_s_own_shape() {
    let world = World::start().await;
    let unknown = world.open(Method::POST, "/ims/token/v4").send().await;
    assert_eq!((unknown.status.as_u16(), &unknown.json()["error"]), (404, &json!("invalid_request")));
    let method = world.open(Method::GET, "/ims/token/v3").send().await;
    assert_eq!((method.status.as_u16(), method.header("allow")), (405, Some("POST")));
}

#[tokio::test]
async fn a_form_that_is_no_form_costs_the_server_little() {
    let world = World::start().await;
    let ask = async |target: &str, form: String| world.open(Method::POST, target).body(form).send().await;
    let long = format!("{}&x={}", world.token_form(), "y".repeat(16 << 10));
    let many = "a&".repeat(1000);
    assert_eq!(ask("/ims/token/v3", long).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(ask("/ims/token/v3", many.clone()).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(ask(&format!("/ims/token/v3?{many}"), world.token_form()).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(ask("/ims/token/v3", world.token_form()).await.status, StatusCode::OK);
}
