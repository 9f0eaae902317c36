//! The published contract of the Flow Service against our description: operations, parameters, fields.
//!
//! Whatever the contract has is in the description, or is an exception with a reason from flow-service.md. An exception
//! that is not needed any more fails too.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::description::{DESCRIPTION, resolved};
use crate::world::FLOW;

/// The published contract: paths, parameters and schemas, no prose.
const CONTRACT: &str = include_str!("flow-service-contract.json");
/// The headers that say who calls: security schemes in our description.
const CALLER: [&str; 3] = ["Authorization", "x-api-key", "x-gw-ims-org-id"];

/// What the contract has and the description has not, and why; `*` stands for any beginning of the place.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("*auth.params.accessKeyId", "a key of another source: which there are says the spec, flow-service.md 13.1"),
    ("*auth.params.secretAccessKey", "a key of another source: which there are says the spec, flow-service.md 13.1"),
    ("*.params.path", "of file sources; tables have tableName, flow-service.md 14.1"),
    ("POST /sourceConnections: request params.path", "of file sources; tables have tableName, flow-service.md 14.1"),
    ("*.providerRefId", "optional, and there is no provider behind a connection, flow-service.md 14.1"),
    ("*.inheritedAttributes.baseConnection", "a target has no base connection, flow-service.md 15"),
    ("*activites", "a misspelling of activities, flow-service.md 17.1"),
    ("*eTag", "a misspelling of etag, flow-service.md 17.1"),
    ("*/{}: answer _links", "a single document is wrapped without links, flow-service.md 5"),
    ("*/{}: answer count", "a single document is wrapped without a count, flow-service.md 5"),
    ("PATCH /sourceConnections/{}: answer items", "the answer is id and etag, flow-service.md 21"),
    ("PATCH /targetConnections/{}: answer items", "the answer is id and etag, flow-service.md 21"),
    ("*/configs: answer []", "the answer is an object with items, flow-service.md 12.3"),
    ("*transformationSpecs.name", "an array in all samples, flow-service.md 12.2"),
    ("*transformationSpecs.spec", "an array in all samples, flow-service.md 12.2"),
    ("*permissionsInfo.manage[].type", "a misspelling of @type, flow-service.md 12.1"),
    ("*permissionsInfo.view[].type", "a misspelling of @type, flow-service.md 12.1"),
    ("*/flowSpecs: request optionSpec.", "a spec holds name and schema, not values, flow-service.md 12.2"),
    ("*/flowSpecs: request runSpec.", "a spec holds name and schema, not values, flow-service.md 12.2"),
    ("*/flowSpecs: request scheduleSpec.", "a spec holds name and schema, not values, flow-service.md 12.2"),
    (
        "*/flowSpecs: request transformationSpecDTOS[].",
        "a spec holds name and schema, not values, flow-service.md 12.2",
    ),
    ("*/flowSpecs/{}: request optionSpec.", "a spec holds name and schema, not values, flow-service.md 12.2"),
    ("*/flowSpecs/{}: request runSpec.", "a spec holds name and schema, not values, flow-service.md 12.2"),
    ("*/flowSpecs/{}: request scheduleSpec.", "a spec holds name and schema, not values, flow-service.md 12.2"),
    (
        "*/flowSpecs/{}: request transformationSpecDTOS[].",
        "a spec holds name and schema, not values, flow-service.md 12.2",
    ),
];

/// An operation of the contract, and ours.
struct Pair<'a> {
    name: String,
    contract: &'a Value,
    ours: &'a Value,
}

/// The published contract.
pub(crate) fn contract() -> Value {
    serde_json::from_str(CONTRACT).unwrap()
}

/// A path with the names of its ids left out and without a trailing slash.
pub(crate) fn shape(path: &str) -> String {
    let plain = |segment| if str::starts_with(segment, '{') { "{}" } else { segment };
    path.trim_end_matches('/').split('/').map(plain).collect::<Vec<_>>().join("/")
}

/// Every operation of a document of OpenAPI: method and [`shape`] of its path, the path itself, and what it says.
pub(crate) fn operations_of(document: &Value) -> impl Iterator<Item = (String, &str, &Value)> {
    document["paths"].as_object().unwrap().iter().flat_map(|(path, item)| {
        let named = |method: &str| format!("{} {}", method.to_uppercase(), shape(path));
        let methods = item.as_object().unwrap().iter();
        methods.map(move |(method, operation)| (named(method), path.as_str(), operation))
    })
}

fn pairs(contract: &Value) -> Vec<Pair<'_>> {
    let ours: BTreeMap<_, _> = operations_of(&DESCRIPTION)
        .filter(|(_, path, _)| path.starts_with(FLOW))
        .map(|(name, _, operation)| (name.replacen(FLOW, "", 1), operation))
        .collect();
    operations_of(contract)
        .map(|(name, _, contract)| Pair { contract, ours: ours.get(&name).copied().unwrap_or(&Value::Null), name })
        .collect()
}

/// The fields of a schema, by their paths: `items[].auth.params`. What may hold anything ends in `*`.
fn fields(schema: &Value, document: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    collect(schema, document, "", &mut found);
    found
}

fn collect(schema: &Value, document: &Value, at: &str, found: &mut BTreeSet<String>) {
    /// Nothing that is described lies deeper.
    const DEPTH_MAX: usize = 12;
    if at.matches('.').count() > DEPTH_MAX {
        return;
    }
    if let Some(reference) = schema["$ref"].as_str() {
        if reference.ends_with("/JsonSchema") {
            found.insert(format!("{at}.*"));
        }
        return collect(document.pointer(reference.trim_start_matches('#')).unwrap(), document, at, found);
    }
    let says = ["type", "properties", "oneOf", "anyOf", "allOf", "items", "enum"];
    if says.iter().all(|key| schema[*key].is_null()) {
        found.insert(format!("{at}.*"));
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{at}.{name}");
        found.insert(path.clone());
        collect(property, document, &path, found);
    }
    for part in ["oneOf", "anyOf", "allOf"] {
        schema[part].as_array().into_iter().flatten().for_each(|one| collect(one, document, at, found));
    }
    if schema["items"].is_object() {
        collect(&schema["items"], document, &format!("{at}[]"), found);
    }
}

/// Whether a field of the contract is among ours, or lies in something of ours that may hold anything.
fn has(ours: &BTreeSet<String>, field: &str) -> bool {
    let open = |path: &str| {
        path.strip_suffix(".*")
            .is_some_and(|above| field.strip_prefix(above).is_some_and(|rest| rest.starts_with(['.', '['])))
    };
    ours.contains(field) || ours.iter().any(|path| open(path))
}

fn json_schema(body: &Value) -> &Value {
    &resolved(body)["content"]["application/json"]["schema"]
}

/// Everything that the contract has and the description has not.
fn lacking() -> BTreeSet<String> {
    let contract = contract();
    let mut lacking = BTreeSet::new();
    for Pair { name, contract: theirs, ours } in pairs(&contract) {
        if !ours.is_object() {
            lacking.insert(format!("{name}: the operation"));
            continue;
        }
        for parameter in theirs["parameters"].as_array().into_iter().flatten() {
            let (parameter, place) = (parameter["name"].as_str().unwrap(), parameter["in"].as_str().unwrap());
            if !has_parameter(ours, parameter, place) {
                lacking.insert(format!("{name}: parameter {parameter}"));
            }
        }
        let sent = fields(json_schema(&theirs["requestBody"]), &contract);
        let ours_sent = fields(json_schema(&ours["requestBody"]), &DESCRIPTION);
        let sent = sent.iter().filter(|field| !field.ends_with('*') && !has(&ours_sent, field));
        lacking.extend(sent.map(|field| format!("{name}: request {}", field.trim_start_matches('.'))));
        for (status, answer) in theirs["responses"].as_object().unwrap() {
            let answered = &ours["responses"][status];
            if !answered.is_object() {
                lacking.insert(format!("{name}: status {status}"));
                continue;
            }
            for header in answer["headers"].as_object().map(|headers| headers.keys()).into_iter().flatten() {
                if resolved(answered)["headers"][header].is_null() {
                    lacking.insert(format!("{name}: header {header}"));
                }
            }
            let theirs = fields(json_schema(answer), &contract);
            let ours = fields(json_schema(answered), &DESCRIPTION);
            let answer = theirs.iter().filter(|field| !field.ends_with('*') && !has(&ours, field));
            lacking.extend(answer.map(|field| format!("{name}: answer {}", field.trim_start_matches('.'))));
        }
    }
    lacking
}

fn has_parameter(operation: &Value, name: &str, place: &str) -> bool {
    if CALLER.contains(&name) {
        return true;
    }
    let ours = operation["parameters"].as_array().into_iter().flatten().map(resolved);
    let mut same_place = ours.filter(|parameter| parameter["in"] == place);
    // Ids in paths are called differently, and each path has one; names of headers are the same in any case.
    match place {
        "path" => same_place.next().is_some(),
        "header" => {
            same_place.any(|parameter| parameter["name"].as_str().is_some_and(|ours| ours.eq_ignore_ascii_case(name)))
        }
        _ => same_place.any(|parameter| parameter["name"] == name),
    }
}

/// Whether an exception is about this: the same, or something above it. One that ends in a dot is about all fields there.
fn is_about(exception: &str, lacking: &str) -> bool {
    let below = |rest: &str| rest.is_empty() || rest.starts_with(['.', '[']) || exception.ends_with(['.', ']']);
    match exception.strip_prefix('*') {
        Some(ending) => lacking.find(ending).is_some_and(|at| below(&lacking[at + ending.len()..])),
        None => lacking.strip_prefix(exception).is_some_and(below),
    }
}

#[test]
fn whatever_the_contract_has_is_described_or_is_an_exception_with_a_reason() {
    let missing: Vec<_> = lacking()
        .into_iter()
        .filter(|place| !EXCEPTIONS.iter().any(|(exception, _)| is_about(exception, place)))
        .collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn every_exception_is_needed_and_has_a_reason() {
    let lacking = lacking();
    for (exception, reason) in EXCEPTIONS {
        assert!(lacking.iter().any(|place| is_about(exception, place)), "not needed any more: {exception}");
        assert!(reason.contains("flow-service.md "), "{exception}");
    }
}
