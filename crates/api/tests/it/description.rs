//! The description tells the truth: every answer of every test is held against it, and it leaves nothing out.
//!
//! The schemas are closed for this: a field that is answered and not described fails the test that met it.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use headwaters_api::{openapi_json, operations};
use http::{Method, StatusCode};
use jsonschema::Validator;
use serde_json::{Map, Value, json};

use crate::world::{Answer, CATALOG, FLOW};

/// The description as it is served.
pub(crate) static DESCRIPTION: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(&openapi_json()).unwrap());

/// Its components with every object closed that does not say that it is open.
static CLOSED: LazyLock<Value> = LazyLock::new(|| {
    let mut components = DESCRIPTION["components"].clone();
    close(&mut components["schemas"]);
    components
});

fn close(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if fields.get("properties").is_some_and(Value::is_object) && !fields.contains_key("additionalProperties") {
                fields.insert("additionalProperties".to_owned(), false.into());
            }
            fields.values_mut().for_each(close);
        }
        Value::Array(values) => values.iter_mut().for_each(close),
        _ => {}
    }
}

/// Panics when an answer is not as the description says.
pub(crate) fn check(method: &Method, target: &str, answer: &Answer) {
    if !matches!(*method, Method::GET | Method::POST | Method::PUT | Method::PATCH | Method::DELETE) {
        return;
    }
    let shown = || format!("{method} {target} answered {answer:?}");
    let Some((path, operation)) = operation(method, target) else {
        let family = match target {
            _ if target.starts_with(FLOW) => "Problem",
            _ if target.starts_with("/data/") => "NeighbourProblem",
            _ if target.starts_with("/ims/token/") => "TokenProblem",
            _ => "Problem",
        };
        let response = &DESCRIPTION["components"]["responses"][format!("{family}{}", answer.status.as_u16())];
        return check_body(response, answer, &shown);
    };
    let response = resolved(&operation["responses"][answer.status.as_str()]);
    assert!(response.is_object(), "the status is not described for {path}: {}", shown());
    check_body(response, answer, &shown);
    for name in response["headers"].as_object().map(Map::keys).into_iter().flatten() {
        assert!(answer.header(name).is_some(), "the header {name} is described and not there: {}", shown());
    }
}

fn check_body(response: &Value, answer: &Answer, shown: &dyn Fn() -> String) {
    let Some(content) = response["content"].as_object() else {
        assert!(answer.body.is_empty(), "no body is described: {}", shown());
        return;
    };
    let content_type = answer.header("content-type").unwrap_or_default().split(';').next().unwrap_or_default();
    let Some(described) = content.get(content_type) else { panic!("the content type is not described: {}", shown()) };
    if content_type == "application/json" {
        let errors: Vec<_> = problems(&described["schema"], &answer.json());
        assert!(errors.is_empty(), "{errors:#?}\n{}", shown());
    }
}

/// What is wrong with a value under a schema of the description.
pub(crate) fn problems(schema: &Value, value: &Value) -> Vec<String> {
    let mut schema = schema.clone();
    close(&mut schema);
    let root = json!({ "components": &*CLOSED, "allOf": [schema] });
    let validator: Validator = jsonschema::draft202012::new(&root).unwrap();
    validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

/// The operation of a request, if there is one, with its path.
pub(crate) fn operation(method: &Method, target: &str) -> Option<(&'static str, &'static Value)> {
    let path = target.split('?').next().unwrap_or_default();
    let path = path.strip_suffix('/').filter(|path| !path.is_empty()).unwrap_or(path);
    let fits = |template: &str| {
        let (segments, names) = (path.split('/'), template.split('/'));
        segments.clone().count() == names.clone().count()
            && segments.zip(names).all(|(segment, name)| name.starts_with('{') || segment == name)
    };
    let paths = DESCRIPTION["paths"].as_object().unwrap();
    let mut fitting: Vec<_> = paths.iter().filter(|(template, _)| fits(template)).collect();
    // A literal segment goes before a name.
    fitting.sort_by_key(|(template, _)| template.matches('{').count());
    let method = method.as_str().to_lowercase();
    fitting.into_iter().find_map(|(template, item)| Some((template.as_str(), item.get(&method)?)))
}

/// What a reference leads to; other values as they are.
pub(crate) fn resolved(value: &Value) -> &Value {
    match value["$ref"].as_str() {
        Some(reference) => DESCRIPTION.pointer(reference.trim_start_matches('#')).unwrap_or(&Value::Null),
        None => value,
    }
}

fn described() -> impl Iterator<Item = (String, &'static Value)> {
    operations().into_iter().map(|operation| {
        let method = operation.method.as_str().to_lowercase();
        (format!("{} {}", operation.method, operation.path), &DESCRIPTION["paths"][operation.path][method])
    })
}

#[test]
fn every_operation_says_what_it_is_for_what_it_takes_and_how_it_can_fail() {
    let mut ids = BTreeSet::new();
    for (name, operation) in described() {
        assert!(operation["summary"].as_str().is_some_and(|summary| summary.ends_with('.')), "{name}");
        assert!(operation["tags"][0].is_string(), "{name}");
        assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{name}");
        if name.contains(" /data/") {
            assert!(operation["security"].is_null(), "{name}: the same for all");
            let statuses = operation["responses"].as_object().unwrap();
            for status in ["400", "401", "403", "404", "429", "500", "503", "504"] {
                assert!(statuses.contains_key(status), "{name}: {status}");
            }
            let takes_version = operation["parameters"].to_string().contains("/If-Match");
            assert_eq!(statuses.contains_key("412"), takes_version, "{name}");
            for status in ["408", "413"] {
                assert_eq!(statuses.contains_key(status), operation["requestBody"].is_object(), "{name}: {status}");
            }
            for header in ["x-sandbox-name", "x-sandbox-id", "x-request-id"] {
                assert!(operation["parameters"].to_string().contains(&format!("/parameters/{header}")), "{name}");
            }
        } else if !name.contains(" /ims/") {
            assert_eq!(operation["security"], json!([{}]), "{name}");
        }
    }
}

#[test]
fn a_caller_brings_a_token_a_client_id_and_an_organisation() {
    assert_eq!(DESCRIPTION["security"], json!([{ "token": [], "client": [], "organisation": [] }]));
    let schemes = &DESCRIPTION["components"]["securitySchemes"];
    assert_eq!(schemes["token"]["scheme"], "bearer");
    for (name, header) in [("client", "x-api-key"), ("organisation", "x-gw-ims-org-id")] {
        assert_eq!((&schemes[name]["in"], &schemes[name]["name"]), (&json!("header"), &json!(header)));
    }
}

#[test]
fn every_body_has_a_schema_that_says_something() {
    for (name, operation) in described() {
        let answers = operation["responses"].as_object().unwrap().iter();
        let answers = answers.map(|(status, answer)| (status.as_str(), resolved(answer)));
        let bodies = answers.chain([("request", &operation["requestBody"])]);
        for (place, body) in bodies {
            for (media_type, content) in body["content"].as_object().into_iter().flatten() {
                if media_type != "application/json" || name == "GET /openapi.json" {
                    continue;
                }
                let schema = resolved(&content["schema"]);
                let says =
                    ["properties", "oneOf", "items", "additionalProperties"].iter().any(|key| !schema[*key].is_null());
                assert!(says, "{name} {place}: {schema}");
            }
        }
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_schema_is_used() {
    fn walk(value: &Value, used: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(reference)) = fields.get("$ref") {
                    assert!(DESCRIPTION.pointer(reference.strip_prefix('#').unwrap()).is_some(), "{reference}");
                    used.insert(reference.clone());
                }
                fields.values().for_each(|value| walk(value, used));
            }
            Value::Array(values) => values.iter().for_each(|value| walk(value, used)),
            _ => {}
        }
    }
    let mut used = BTreeSet::new();
    walk(&DESCRIPTION, &mut used);
    for name in DESCRIPTION["components"]["schemas"].as_object().unwrap().keys() {
        assert!(used.contains(&format!("#/components/schemas/{name}")), "{name}");
    }
}

#[test]
fn every_example_is_what_its_schema_describes() {
    fn check_all(place: &str, body: &Value) {
        for (media_type, content) in body["content"].as_object().into_iter().flatten() {
            for (name, example) in content["examples"].as_object().into_iter().flatten() {
                let errors = problems(&content["schema"], &example["value"]);
                assert!(errors.is_empty(), "{place} {media_type} {name}: {errors:#?}");
            }
        }
    }
    for (name, operation) in described() {
        check_all(&name, &operation["requestBody"]);
        for (status, answer) in operation["responses"].as_object().unwrap() {
            check_all(&format!("{name} {status}"), resolved(answer));
        }
    }
}

#[test]
fn an_answer_that_is_not_as_described_is_found() {
    let target = format!("{CATALOG}/dataSets");
    let answer = |status: StatusCode, body: &Value| {
        let headers = [("content-type", "application/json"), ("x-request-id", "r"), ("location", "/")];
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        Answer { request: String::new(), status, headers: headers.collect(), body: body.to_string().into() }
    };
    let holds =
        |status, body| std::panic::catch_unwind(|| check(&Method::GET, &target, &answer(status, &body))).is_ok();
    assert!(holds(StatusCode::OK, json!({ "65a0c3d2e1f0b9a897867564": { "name": "Orders" } })));
    assert!(!holds(StatusCode::OK, json!({ "65a0c3d2e1f0b9a897867564": { "name": "Orders", "colour": "red" } })));
    assert!(!holds(StatusCode::OK, json!({ "65a0c3d2e1f0b9a897867564": { "name": 7 } })));
    assert!(!holds(StatusCode::OK, json!([])));
    assert!(!holds(StatusCode::IM_A_TEAPOT, json!({})));
    assert!(!holds(StatusCode::NOT_FOUND, json!({ "title": "NotFoundError" })));
}

#[test]
fn the_description_is_what_it_was() {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    // The examples have a test of their own (recorded.rs), and the words of the snapshot shall be those of the routes.
    let mut document = DESCRIPTION.clone();
    without_examples(&mut document);
    settings.bind(|| insta::assert_json_snapshot!("openapi", document, { ".info.version" => "[version]" }));
}

fn without_examples(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, value| name != "examples" || value.is_array());
            fields.values_mut().for_each(without_examples);
        }
        Value::Array(values) => values.iter_mut().for_each(without_examples),
        _ => {}
    }
}
