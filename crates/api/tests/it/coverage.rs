//! Nothing is forgotten: every operation of the published contract has a route, a line in the table of permissions, a
//! test that shows its success, and one that shows what it refuses (flow-service.md 6).
//!
//! The table names the tests. That they are run, and that the snapshots that they compare with are of that operation and
//! show that outcome, is read from their sources (evidence.rs) and from the snapshots themselves: each holds its request.

use std::collections::{BTreeMap, BTreeSet};

use headwaters_api::{Need, operations};
use headwaters_model::account::Role;
use http::Method;
use serde_json::{Value, json};

use crate::contract::{contract, operations_of, shape};
use crate::evidence::{asserted_anywhere, asserted_by, snapshots};
use crate::world::{FLOW, OLD, UNKNOWN, World};

/// An operation, the test that shows its success, and the test that shows what it refuses.
type Covered = (&'static str, Option<&'static str>, &'static str);

const CONNECTION: Option<&str> = Some("connections::a_base_connection_goes_its_way_from_draft_to_deletion");
const CONNECTION_REFUSED: &str = "connections::what_is_asked_wrongly_of_a_base_connection_is_refused";
const CONNECTION_UNCHANGED: &str = "connections::what_can_not_be_done_to_a_base_connection_is_refused";
const BEHIND_REFUSED: &str = "connections::what_is_asked_wrongly_of_the_source_behind_a_base_connection_is_refused";
const SOURCE: Option<&str> = Some("source_and_target::a_source_connection_goes_its_way_from_draft_to_deletion");
const SOURCE_REFUSED: &str = "source_and_target::what_is_asked_wrongly_of_a_source_connection_is_refused";
const TARGET: Option<&str> = Some("source_and_target::a_target_connection_goes_its_way_from_draft_to_deletion");
const TARGET_REFUSED: &str = "source_and_target::what_is_asked_wrongly_of_a_target_connection_is_refused";
const FLOWS: Option<&str> = Some("flows::a_flow_goes_its_way_from_draft_to_deletion");
const FLOWS_REFUSED: &str = "flows::what_is_asked_wrongly_of_a_flow_is_refused";
const FLOWS_UNCHANGED: &str = "flows::what_can_not_be_done_to_a_flow_is_refused";
const RUNS: Option<&str> = Some("runs::a_run_is_made_on_demand_and_one_that_failed_is_repeated_and_reported_on");
const RUNS_REFUSED: &str = "runs::what_is_asked_wrongly_of_runs_is_refused";
const SPECS: Option<&str> = Some("specs::a_connection_spec_is_added_shown_and_replaced_by_a_service");
const SPECS_REFUSED: &str = "specs::what_is_asked_wrongly_of_connection_specs_is_refused";
const FLOW_SPECS: Option<&str> = Some("specs::a_flow_spec_is_added_found_and_replaced_by_a_service");
const FLOW_SPECS_REFUSED: &str = "specs::what_is_asked_wrongly_of_flow_specs_is_refused";

/// The operations in the order of flow-service.md 6.
const OPERATIONS: [Covered; 45] = [
    ("GET /connections", CONNECTION, CONNECTION_REFUSED),
    ("POST /connections", CONNECTION, CONNECTION_REFUSED),
    ("GET /connections/{}", CONNECTION, CONNECTION_REFUSED),
    ("PATCH /connections/{}", CONNECTION, CONNECTION_UNCHANGED),
    ("DELETE /connections/{}", CONNECTION, CONNECTION_UNCHANGED),
    ("GET /connections/{}/test", CONNECTION, BEHIND_REFUSED),
    ("GET /connections/{}/explore", CONNECTION, BEHIND_REFUSED),
    ("GET /connections/{}/configs", CONNECTION, BEHIND_REFUSED),
    ("POST /connections/{}/action", CONNECTION, CONNECTION_UNCHANGED),
    ("POST /connections/search", CONNECTION, CONNECTION_REFUSED),
    ("GET /connectionSpecs", SPECS, SPECS_REFUSED),
    ("POST /connectionSpecs", SPECS, SPECS_REFUSED),
    ("GET /connectionSpecs/{}", SPECS, SPECS_REFUSED),
    ("PUT /connectionSpecs/{}", SPECS, SPECS_REFUSED),
    // No source of this build can be explored by its spec alone: it has no success.
    ("GET /connectionSpecs/{}/explore", None, SPECS_REFUSED),
    ("GET /connectionSpecs/{}/configs", SPECS, SPECS_REFUSED),
    ("GET /flows", FLOWS, FLOWS_REFUSED),
    ("POST /flows", FLOWS, FLOWS_REFUSED),
    ("GET /flows/{}", FLOWS, FLOWS_REFUSED),
    ("PATCH /flows/{}", FLOWS, FLOWS_UNCHANGED),
    ("DELETE /flows/{}", FLOWS, FLOWS_UNCHANGED),
    ("POST /flows/{}/action", FLOWS, FLOWS_UNCHANGED),
    ("POST /flows/search", FLOWS, FLOWS_REFUSED),
    ("GET /flowSpecs", FLOW_SPECS, FLOW_SPECS_REFUSED),
    ("POST /flowSpecs", FLOW_SPECS, FLOW_SPECS_REFUSED),
    ("GET /flowSpecs/{}", FLOW_SPECS, FLOW_SPECS_REFUSED),
    ("PUT /flowSpecs/{}", FLOW_SPECS, FLOW_SPECS_REFUSED),
    ("POST /flowSpecs/search", FLOW_SPECS, FLOW_SPECS_REFUSED),
    ("GET /runs", RUNS, RUNS_REFUSED),
    ("POST /runs", RUNS, RUNS_REFUSED),
    ("GET /runs/{}", RUNS, RUNS_REFUSED),
    ("PUT /runs/{}", RUNS, RUNS_REFUSED),
    ("POST /runs/{}/action", RUNS, RUNS_REFUSED),
    ("GET /sourceConnections", SOURCE, SOURCE_REFUSED),
    ("POST /sourceConnections", SOURCE, SOURCE_REFUSED),
    ("GET /sourceConnections/{}", SOURCE, SOURCE_REFUSED),
    ("PATCH /sourceConnections/{}", SOURCE, SOURCE_REFUSED),
    ("DELETE /sourceConnections/{}", SOURCE, SOURCE_REFUSED),
    ("POST /sourceConnections/{}/action", SOURCE, SOURCE_REFUSED),
    ("GET /targetConnections", TARGET, TARGET_REFUSED),
    ("POST /targetConnections", TARGET, TARGET_REFUSED),
    ("GET /targetConnections/{}", TARGET, TARGET_REFUSED),
    ("PATCH /targetConnections/{}", TARGET, TARGET_REFUSED),
    ("DELETE /targetConnections/{}", TARGET, TARGET_REFUSED),
    ("POST /targetConnections/{}/action", TARGET, TARGET_REFUSED),
];

fn of_contract() -> BTreeSet<String> {
    let contract = contract();
    operations_of(&contract).map(|(name, ..)| name).collect()
}

fn of_routes() -> BTreeSet<String> {
    let flow = operations().into_iter().filter_map(|operation| {
        let path = operation.path.strip_prefix(FLOW)?;
        Some(format!("{} {}", operation.method, shape(path)))
    });
    flow.collect()
}

#[test]
fn every_operation_of_the_contract_has_a_route_and_stands_in_the_table() {
    let table: BTreeSet<_> = OPERATIONS.iter().map(|(operation, ..)| (*operation).to_owned()).collect();
    assert_eq!(table.len(), OPERATIONS.len(), "each operation once");
    assert_eq!(table, of_contract(), "left: the table, right: the contract");
    assert_eq!(of_routes(), of_contract(), "left: what has a route, right: what should have one");
}

#[test]
fn every_route_has_a_line_in_the_table_of_permissions_that_fits_its_method() {
    for operation in operations() {
        let Some(needs) = operation.needs else { panic!("no permission: {} {}", operation.method, operation.path) };
        let path = operation.path.as_str();
        let reads = operation.method == Method::GET || path.ends_with("/search");
        let expected = match (path.starts_with("/data/"), reads) {
            (false, _) => Need::Open,
            (true, true) => Need::Caller(Role::View),
            (true, false) if path.ends_with("/action") => Need::Acting,
            (true, false) if path.contains("Specs") => Need::WritingSpecs,
            (true, false) if path.contains("/runs") && operation.method == Method::PUT => Need::Reporting,
            (true, false) => Need::Caller(Role::Manage),
        };
        assert_eq!(needs, expected, "{operation:?}");
    }
}

/// What the snapshots of a test show of an operation: statuses of answers, and codes of refusals.
fn shown_of(operation: &str, test: &str, snapshots: &BTreeMap<String, Value>) -> BTreeSet<String> {
    let asserted = asserted_by(test);
    let own = snapshots.iter().filter(|(name, shown)| shown["request"] == operation && asserted.contains(*name));
    own.flat_map(|(_, shown)| match shown["refusals"].as_array() {
        Some(refusals) => refusals.iter().map(|refusal| refusal["code"].as_str().unwrap().to_owned()).collect(),
        None => vec![shown["status"].to_string()],
    })
    .collect()
}

/// The refusals that every operation of a kind must show: not found, no version, an old version, an action that is none.
fn main_refusals(operation: &str) -> Vec<&'static str> {
    let (method, path) = operation.split_once(' ').unwrap();
    let mut codes = Vec::new();
    if path.contains("{}") {
        codes.push("FLOW-1439-404");
    }
    if method == "PATCH" || operation == "PUT /runs/{}" {
        codes.extend(["FLOW-1403-400", "FLOW-1404-412"]);
    }
    if method == "DELETE" {
        codes.push("FLOW-1404-412");
    }
    if path.ends_with("/action") {
        codes.extend(["CONNECTOR-1359-400", "CONNECTOR-1398-400"]);
    }
    codes
}

#[test]
fn every_operation_has_a_snapshot_of_its_success_and_of_its_main_refusals() {
    let snapshots = snapshots();
    let mut lacking = Vec::new();
    for (operation, success, refused) in OPERATIONS {
        if let Some(test) = success {
            let shown = shown_of(operation, test, &snapshots);
            if !shown.iter().any(|outcome| outcome.starts_with('2')) {
                lacking.push(format!("{operation}: no success in {test}"));
            }
        }
        let shown = shown_of(operation, refused, &snapshots);
        if shown.is_empty() {
            lacking.push(format!("{operation}: no refusals in {refused}"));
        }
        let missing = main_refusals(operation).into_iter().filter(|code| !shown.contains(*code));
        lacking.extend(missing.map(|code| format!("{operation}: {code} is not shown in {refused}")));
    }
    assert!(lacking.is_empty(), "{lacking:#?}");
}

#[test]
fn no_snapshot_is_left_over() {
    let asserted = asserted_anywhere();
    let left_over: Vec<_> = snapshots().into_keys().filter(|name| !asserted.contains(name)).collect();
    assert!(left_over.is_empty(), "no test asserts {left_over:?}");
}

#[tokio::test]
async fn every_operation_answers_the_same_behind_a_trailing_slash() {
    let world = World::start().await.seen_by_role(Role::Service).await;
    for (operation, ..) in OPERATIONS {
        let (method, path) = operation.split_once(' ').unwrap();
        let target = format!("{FLOW}{}", path.replace("{}", UNKNOWN));
        let ask = async |target: &str| {
            let call = world.call(method.parse().unwrap(), &format!("{target}?op=publish"));
            let answer = call.header("if-match", OLD).json(&json!({})).send().await;
            (answer.status.as_u16(), if answer.status.is_success() { String::new() } else { answer.code() })
        };
        let plain = ask(&target).await;
        assert_eq!(plain, ask(&format!("{target}/")).await, "{operation}");
        assert!(!plain.1.starts_with("FLOW-1400"), "{operation}: {plain:?}");
    }
}
