//! The description of the API, generated from the routes themselves.
//!
//! A route describes what is its own: what it is for, its parameters, its statuses. The rest is added here, once: what an
//! operation takes and answers (openapi/exchanges.rs), with examples that the test suite has recorded
//! (openapi/examples.rs), and what all operations share (openapi/shared.rs).

mod examples;
mod exchanges;
mod schemas;
mod shared;

use axum::body::Bytes;
use http::Method;
use serde_json::{Map, Value, json};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, PathItem};

use self::schemas::Schemas;
use crate::permissions::{Need, needed};
use crate::router::described_routes;

/// The finished document as text; a clone shares it.
#[derive(Clone)]
pub(crate) struct Document(Bytes);

impl Document {
    /// Completes and writes a collected document.
    pub(crate) fn of(collected: &OpenApi) -> Self {
        Self(written(collected).into())
    }

    /// The document as JSON text.
    pub(crate) fn text(&self) -> Bytes {
        self.0.clone()
    }
}

/// The description of every operation, as `GET /openapi.json` answers it.
#[must_use]
pub fn openapi_json() -> String {
    written(&described_routes().into_openapi())
}

/// One operation of this server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Its method.
    pub method: Method,
    /// Its path, with `{names}` for ids.
    pub path: String,
    /// What it asks of its caller; none is a line that lacks in the table of permissions.
    pub needs: Option<Need>,
}

/// Every operation of this server, in the order of their paths.
#[must_use]
pub fn operations() -> Vec<Operation> {
    let document = described_routes().into_openapi();
    let of_path = |(path, item): (&String, &PathItem)| {
        let operation = |method| Operation { needs: needed(&method, path), method, path: path.clone() };
        methods_of(item).into_iter().map(operation).collect::<Vec<_>>()
    };
    document.paths.paths.iter().flat_map(of_path).collect()
}

fn methods_of(item: &PathItem) -> Vec<Method> {
    let all = [
        (Method::GET, &item.get),
        (Method::POST, &item.post),
        (Method::PUT, &item.put),
        (Method::PATCH, &item.patch),
        (Method::DELETE, &item.delete),
    ];
    all.into_iter().filter(|(_, operation)| operation.is_some()).map(|(method, _)| method).collect()
}

/// The document before any route is described in it.
pub(crate) fn frame() -> OpenApi {
    let info = InfoBuilder::new()
        .title("Headwaters")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("A self-hosted Flow Service: brings MySQL and MariaDB tables into Delta Lake."))
        .license(Some(LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build()))
        .build();
    let tag = |name: &str, description: &str| TagBuilder::new().name(name).description(Some(description)).build();
    let tags = [
        tag("connections", "base connections: how a source is reached"),
        tag("specs", "what can be connected, and how it flows"),
        tag("sourceConnections", "what is read"),
        tag("targetConnections", "where it lands"),
        tag("flows", "from which source into which target, when, and how"),
        tag("runs", "what flows have done"),
        tag("catalog", "data sets and the batches that landed in them"),
        tag("tokens", "access tokens for technical accounts"),
        tag("operations", "health, numbers and this description"),
    ];
    OpenApiBuilder::new().info(info).tags(Some(tags)).build()
}

/// Adds to what the routes say of themselves what they take and answer, examples, and what they share.
fn complete(collected: &OpenApi) -> Value {
    let mut document = as_json(collected);
    let mut schemas = Schemas::new(taken(&mut document, "/components/schemas"));
    let exchanges = exchanges::all(&mut schemas);
    let examples = examples::recorded();
    for (path, method, operation) in operations_of(&mut document) {
        let key = format!("{} {}", method.to_uppercase(), exchanges::shape(path));
        if let Some(exchange) = exchanges.get(&key) {
            exchange.describe(operation);
        }
        shared::describe(path, method, operation);
        examples.show(&format!("{} {path}", method.to_uppercase()), operation);
    }
    document["security"] = shared::security();
    document["components"] = shared::components(&mut schemas, &examples);
    document["components"]["schemas"] = schemas.used_by(&document);
    document
}

/// Every operation with its path and its method.
fn operations_of(document: &mut Value) -> impl Iterator<Item = (&str, &str, &mut Map<String, Value>)> {
    let paths = document.get_mut("paths").and_then(Value::as_object_mut);
    paths.into_iter().flatten().flat_map(|(path, item)| {
        let methods = item.as_object_mut().into_iter().flatten();
        methods.filter_map(|(method, operation)| Some((path.as_str(), method.as_str(), operation.as_object_mut()?)))
    })
}

fn taken(document: &mut Value, pointer: &str) -> Map<String, Value> {
    match document.pointer_mut(pointer).map(Value::take) {
        Some(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}

fn as_json(part: &impl serde::Serialize) -> Value {
    serde_json::to_value(part).unwrap_or_else(|error| {
        // Maps with text keys and strings: there is nothing in it that JSON can't say.
        unreachable!("the description is made of texts: {error}")
    })
}

/// A reference to a part of the document.
fn reference(kind: &str, name: &str) -> Value {
    json!({ "$ref": format!("#/components/{kind}/{name}") })
}

fn written(collected: &OpenApi) -> String {
    format!("{:#}\n", complete(collected))
}
