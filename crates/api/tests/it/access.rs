//! Who may call (flow-service.md 2.2): every row that this build sends, with its exact body.

use headwaters_control::{Settings, Strict};
use headwaters_model::account::{Account, Role};
use headwaters_model::id::OrgId;
use headwaters_store::AuditQuery;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::world::{Answer, CATALOG, Call, FLOW, UNKNOWN, World, new_connection};

fn edge(code: &str, message: &str) -> Value {
    json!({ "error_code": code, "message": message })
}

fn list(world: &World) -> Call<'_> {
    world.call(Method::GET, &format!("{FLOW}/flows"))
}

fn assert_problem(answer: &Answer, status: u16, code: &str, title: &str) {
    let body = answer.json();
    assert_eq!(answer.status.as_u16(), status, "{body}");
    assert_eq!(body["type"], format!("https://ns.adobe.com/aep/errors/{code}"));
    assert_eq!(body["title"], title);
    assert_eq!(body["status"], status);
    assert_eq!(body["errorMessage"], body["report"]["detailed-message"]);
    assert_eq!(body["errorDetails"], body["report"]["detailed-message"]);
    assert_eq!(body["report"]["request-id"], answer.header("x-request-id").unwrap());
}

#[tokio::test]
async fn every_row_of_the_edge_has_its_exact_body_in_all_services() {
    let world = World::start().await;
    let foreign_org = OrgId::mint();
    for path in [format!("{FLOW}/flows"), format!("{CATALOG}/dataSets")] {
        let call = || world.call(Method::GET, &path);
        let rows = [
            (call().without("authorization"), 403, edge("403010", "Oauth token is missing.")),
            (call().header("authorization", "Basic abc"), 403, edge("403010", "Oauth token is missing.")),
            (call().header("authorization", "Bearer"), 403, edge("403010", "Oauth token is missing.")),
            (call().header("authorization", "Bearer "), 403, edge("403010", "Oauth token is missing.")),
            (call().header("authorization", "Bearer abc"), 401, edge("401013", "Oauth token is not valid")),
            (call().without("x-api-key"), 403, edge("403000", "Api Key is required")),
            (call().header("x-api-key", "somebody"), 403, edge("403003", "Api Key is invalid")),
            (call().without("x-gw-ims-org-id"), 400, edge("400003", "Missing header")),
            (call().header("x-gw-ims-org-id", foreign_org.as_str()), 403, edge("403025", "Profile is not valid")),
            (call().header("x-gw-ims-org-id", "nonsense"), 403, edge("403025", "Profile is not valid")),
        ];
        for (call, status, body) in rows {
            let answer = call.send().await;
            assert_eq!((answer.status.as_u16(), answer.json()), (status, body), "{path}");
        }
    }
}

#[tokio::test]
async fn the_checks_come_in_the_documented_order() {
    let viewer = World::start().await.seen_by_role(Role::View).await;
    let path = format!("{FLOW}/connections");
    // Everything is wrong with the first call; each of the next ones mends what the answer before it named.
    let wrong = [
        ("authorization", "Bearer abc".to_owned(), format!("Bearer {}", viewer.token)),
        ("x-api-key", "somebody".to_owned(), viewer.credentials.client_id.to_string()),
        ("x-gw-ims-org-id", OrgId::mint().to_string(), viewer.credentials.org_id.to_string()),
        ("x-sandbox-name", "nowhere".to_owned(), "prod".to_owned()),
    ];
    let mut seen = Vec::new();
    for mended in 0..=wrong.len() {
        let mut call = viewer.open(Method::POST, &path).body("not json");
        for (place, (name, bad, good)) in wrong.iter().enumerate() {
            call = call.header(name, if place < mended { good } else { bad });
        }
        let answer = call.send().await;
        let body = answer.json();
        seen.push(body["error_code"].as_str().map_or_else(|| answer.code(), str::to_owned));
    }
    let manager = viewer.seen_by_role(Role::Manage).await;
    seen.push(manager.call(Method::POST, &path).body("not json").send().await.code());
    let permission_then_body = ["FLOW-2118-403", "FLOW-1405-400"];
    assert_eq!(seen, [&["401013", "403003", "403025", "FLOW-2100-404"][..], &permission_then_body].concat());
}

#[tokio::test]
async fn an_empty_organisation_is_told_apart_from_a_missing_one() {
    let world = World::start().await;
    let answer = list(&world).header("x-gw-ims-org-id", "").send().await;
    assert_problem(&answer, 401, "FLOW-2001-401", "Header is missing or empty");
}

#[tokio::test]
async fn a_token_is_taken_whatever_the_case_of_its_scheme() {
    let world = World::start().await;
    let answer = list(&world).header("authorization", &format!("bearer {}", world.token)).send().await;
    assert_eq!(answer.status, StatusCode::OK);
}

#[tokio::test]
async fn a_sandbox_that_is_not_named_is_prod() {
    let world = World::start().await;
    let id = world.make_connection().await;
    let answer = world.call(Method::GET, &format!("{FLOW}/connections/{id}")).without("x-sandbox-name").send().await;
    assert_eq!(answer.items()[0]["sandboxName"], "prod");
}

#[tokio::test]
async fn the_strict_switch_demands_a_sandbox() {
    let strict = Strict { sandbox: true, ..Strict::default() };
    let world = World::start_with(Settings { strict, ..Settings::default() }).await;
    let answer = list(&world).without("x-sandbox-name").send().await;
    assert_problem(&answer, 400, "FLOW-2105-400", "Header is missing");
    assert_eq!(list(&world).send().await.status, StatusCode::OK);
}

#[tokio::test]
async fn sandbox_headers_that_can_not_be_used_have_their_codes() {
    let world = World::start().await;
    let unknown = list(&world).header("x-sandbox-name", "nowhere").send().await;
    assert_problem(&unknown, 404, "FLOW-2100-404", "Sandbox not found");
    let wildcard = list(&world).header("x-sandbox-name", "*").send().await;
    assert_problem(&wildcard, 403, "FLOW-2111-403", "Headers not allowed");
    let by_id = list(&world).header("x-sandbox-id", "1bd86660-c5da-11e9-93d4-6d5fc3a66a8e").send().await;
    assert_problem(&by_id, 400, "FLOW-2110-400", "Headers not allowed");
}

#[tokio::test]
async fn the_neighbours_say_the_same_of_a_sandbox_in_their_own_body() {
    let world = World::start().await;
    let call = world.call(Method::GET, &format!("{CATALOG}/dataSets")).header("x-sandbox-name", "nowhere");
    let answer = call.send().await;
    let body = answer.json();
    assert_eq!((answer.status.as_u16(), &body["status"], &body["title"]), (404, &json!(404), &json!("NotFoundError")));
    assert!(body["detail"].as_str().unwrap().contains("nowhere"), "{body}");
}

#[tokio::test]
async fn an_account_that_may_only_view_reads_but_changes_nothing() {
    let world = World::start().await.seen_by_role(Role::View).await;
    assert_eq!(list(&world).send().await.status, StatusCode::OK);
    let answer = world.post(&format!("{FLOW}/connections"), &new_connection()).await;
    assert_problem(&answer, 403, "FLOW-2118-403", "Missing permission");
    // Permission comes before the route's own checks.
    let malformed = world.call(Method::POST, &format!("{FLOW}/flows")).body("{").send().await;
    assert_eq!(malformed.code(), "FLOW-2118-403");
    let neighbour = world.post(&format!("{CATALOG}/dataSets"), &json!({ "name": "x" })).await;
    assert_eq!((neighbour.status.as_u16(), &neighbour.json()["title"]), (403, &json!("ForbiddenError")));
}

#[tokio::test]
async fn a_service_acts_in_the_name_of_its_client() {
    let world = World::start().await.seen_by_role(Role::Service).await;
    let id = world.make_connection().await;
    let shown = world.get(&format!("{FLOW}/connections/{id}")).await.items().remove(0);
    assert_eq!(shown["createdBy"], shown["createdClient"]);
    assert_eq!(shown["createdClient"], world.credentials.client_id.as_str());
}

#[tokio::test]
async fn a_service_may_name_its_sandbox_by_id() {
    let world = World::start().await.seen_by_role(Role::Service).await;
    let id = world.make_connection().await;
    let shown = world.get(&format!("{FLOW}/connections/{id}")).await.items().remove(0);
    let sandbox = shown["sandboxId"].as_str().unwrap();
    let call = || list(&world).without("x-sandbox-name");
    assert_eq!(call().header("x-sandbox-id", sandbox).send().await.status, StatusCode::OK);
    let foreign = call().header("x-sandbox-id", "1bd86660-c5da-11e9-93d4-6d5fc3a66a8e").send().await;
    assert_problem(&foreign, 404, "FLOW-2103-404", "Sandbox not found");
    let wildcard = list(&world).header("x-sandbox-name", "*").send().await;
    assert_problem(&wildcard, 400, "FLOW-2113-400", "Headers not allowed");
}

#[tokio::test]
async fn an_id_of_another_organisation_is_not_found() {
    let world = World::start().await;
    let id = world.make_connection().await;
    let account = Account::mint(OrgId::mint(), "stranger", Role::Manage, 0);
    let stranger = world.seen_by(account).await;
    let answer = stranger.get(&format!("{FLOW}/connections/{id}")).await;
    assert_eq!(answer.code(), "FLOW-1439-404");
    assert!(stranger.get(&format!("{FLOW}/connections")).await.items().is_empty());
}

#[tokio::test]
async fn what_only_services_write_is_refused_from_every_user_before_anything_else_of_it_is_read() {
    let mut world = World::start().await;
    let specs = ["connectionSpecs", "flowSpecs"].map(|collection| format!("{FLOW}/{collection}"));
    let mut writes: Vec<_> = specs.iter().map(|specs| (Method::POST, specs.clone(), "FLOW-1426-400")).collect();
    writes.extend(specs.iter().map(|specs| (Method::PUT, format!("{specs}/{UNKNOWN}"), "FLOW-1426-400")));
    writes.push((Method::PUT, format!("{FLOW}/runs/{UNKNOWN}"), "FLOW-1427-400"));
    for role in [Role::View, Role::Manage] {
        world = world.seen_by_role(role).await;
        for (method, target, code) in &writes {
            // Neither a version nor a body: a service is told of these first.
            let answer = world.call(method.clone(), target).send().await;
            assert_problem(&answer, 400, code, "Invalid request");
        }
        let client = world.credentials.client_id.as_str();
        let lines = world.store.audit(&AuditQuery::default()).await.unwrap();
        let denied = lines.iter().filter(|line| !line.allowed && line.client == client).count();
        assert_eq!(denied, writes.len(), "each attempt is recorded once: {lines:?}");
    }
    world = world.seen_by_role(Role::Service).await;
    for (method, target, _) in &writes {
        let code = world.call(method.clone(), target).send().await.code();
        assert!(["FLOW-1403-400", "FLOW-1405-400"].contains(&code.as_str()), "{method} {target}: {code}");
    }
}
