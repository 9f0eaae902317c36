//! Nothing is forgotten: the published contract, the routes, the permissions and the description agree.

use std::collections::BTreeSet;

use headwaters_api::{Need, openapi_json, operations};
use headwaters_model::account::Role;
use http::Method;
use serde_json::Value;

use crate::world::{FLOW, World};

/// The published contract of the Flow Service, paths and parameters only.
const CONTRACT: &str = include_str!("flow-service-contract.json");

/// Operations of the contract that come with the next milestone. Until then their paths answer 404 or 405.
const NEXT_MILESTONE: [(&str, &str); 21] = [
    ("PATCH", "/connections/{}"),
    ("POST", "/connections/{}/action"),
    ("GET", "/connections/{}/configs"),
    ("POST", "/connections/search"),
    ("POST", "/connectionSpecs"),
    ("PUT", "/connectionSpecs/{}"),
    ("GET", "/connectionSpecs/{}/explore"),
    ("GET", "/connectionSpecs/{}/configs"),
    ("PATCH", "/flows/{}"),
    ("POST", "/flows/{}/action"),
    ("POST", "/flows/search"),
    ("POST", "/flowSpecs"),
    ("PUT", "/flowSpecs/{}"),
    ("POST", "/flowSpecs/search"),
    ("POST", "/runs"),
    ("PUT", "/runs/{}"),
    ("POST", "/runs/{}/action"),
    ("PATCH", "/sourceConnections/{}"),
    ("POST", "/sourceConnections/{}/action"),
    ("PATCH", "/targetConnections/{}"),
    ("POST", "/targetConnections/{}/action"),
];

/// A path with the names of its ids left out and without a trailing slash.
fn shape(path: &str) -> String {
    let segments = path.trim_end_matches('/').split('/');
    let plain = segments.map(|segment| if segment.starts_with('{') { "{}" } else { segment });
    plain.collect::<Vec<_>>().join("/")
}

fn of_contract() -> BTreeSet<(String, String)> {
    let contract: Value = serde_json::from_str(CONTRACT).unwrap();
    let paths = contract["paths"].as_object().unwrap();
    let methods = |(path, item): (&String, &Value)| {
        let methods = item.as_object().unwrap().keys().map(|method| (method.to_uppercase(), shape(path)));
        methods.collect::<Vec<_>>()
    };
    paths.iter().flat_map(methods).collect()
}

fn of_routes() -> BTreeSet<(String, String)> {
    let flow = operations().into_iter().filter_map(|operation| {
        let path = operation.path.strip_prefix(FLOW)?.to_owned();
        Some((operation.method.to_string(), shape(&path)))
    });
    flow.collect()
}

#[test]
fn every_operation_of_the_contract_has_a_route_or_stands_on_the_list_of_the_next_milestone() {
    let (contract, routes) = (of_contract(), of_routes());
    let planned: BTreeSet<_> =
        NEXT_MILESTONE.iter().map(|(method, path)| ((*method).to_owned(), (*path).to_owned())).collect();
    let expected: BTreeSet<_> = contract.difference(&planned).cloned().collect();
    assert_eq!(routes, expected, "left: what has a route, right: what should have one");
    let stale: Vec<_> = planned.difference(&contract).collect();
    assert!(stale.is_empty(), "not in the contract: {stale:?}");
}

#[tokio::test]
async fn what_comes_with_the_next_milestone_answers_a_problem_until_then() {
    let world = World::start().await;
    for (method, path) in NEXT_MILESTONE {
        let target = format!("{FLOW}{}", path.replace("{}", "7d0a6a1e-3a3f-4b57-8a44-1d4c2c1f8a01"));
        let answer = world.call(method.parse().unwrap(), &target).body("{}").send().await;
        assert!(matches!(answer.code().as_str(), "FLOW-1400-404" | "FLOW-1400-405"), "{method} {target}: {answer:?}");
    }
}

#[test]
fn every_route_has_a_line_in_the_table_of_permissions_that_fits_its_method() {
    for operation in operations() {
        let Some(needs) = operation.needs else { panic!("no permission: {} {}", operation.method, operation.path) };
        let expected = match (operation.path.starts_with("/data/"), operation.method == Method::GET) {
            (false, _) => Need::Open,
            (true, true) => Need::Caller(Role::View),
            (true, false) => Need::Caller(Role::Manage),
        };
        assert_eq!(needs, expected, "{operation:?}");
    }
}

#[test]
fn every_operation_is_described_with_what_all_of_them_share() {
    let document: Value = serde_json::from_str(&openapi_json()).unwrap();
    for operation in operations() {
        let described = &document["paths"][&operation.path][operation.method.as_str().to_lowercase()];
        assert!(described["operationId"].is_string(), "{operation:?}");
        assert!(described["summary"].is_string(), "{operation:?}");
        assert!(described["tags"][0].is_string(), "{operation:?}");
        if operation.path.starts_with("/data/") {
            let parameters = described["parameters"].as_array().unwrap();
            let org = "#/components/parameters/x-gw-ims-org-id";
            assert!(parameters.iter().any(|parameter| parameter["$ref"] == org), "{operation:?}");
            for status in ["400", "401", "403", "404", "500", "503"] {
                assert!(described["responses"][status].is_object(), "{operation:?} {status}");
            }
        }
    }
    let ids: Vec<_> = operations()
        .iter()
        .map(|o| document["paths"][&o.path][o.method.as_str().to_lowercase()]["operationId"].clone())
        .collect();
    let distinct: BTreeSet<_> = ids.iter().map(Value::to_string).collect();
    assert_eq!(distinct.len(), ids.len(), "operation ids are distinct");
}

#[test]
fn every_reference_of_the_description_leads_somewhere() {
    fn walk(value: &Value, document: &Value) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(reference)) = fields.get("$ref") {
                    let pointer = reference.strip_prefix('#').unwrap();
                    assert!(document.pointer(pointer).is_some(), "{reference}");
                }
                fields.values().for_each(|value| walk(value, document));
            }
            Value::Array(values) => values.iter().for_each(|value| walk(value, document)),
            _ => {}
        }
    }
    let document: Value = serde_json::from_str(&openapi_json()).unwrap();
    walk(&document, &document);
}

#[test]
fn the_description_is_what_it_was() {
    let document: Value = serde_json::from_str(&openapi_json()).unwrap();
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_json_snapshot!("openapi", document, { ".info.version" => "[version]" }));
}
