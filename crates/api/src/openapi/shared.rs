//! What the operations of a service share: who may call, headers, and the ways in which they fail.

use serde_json::{Map, Value, json};

use super::examples::Examples;
use super::reference;
use super::schemas::Schemas;
use crate::error::{EdgeBody, ImsBody, NeighbourBody, ProblemBody};
use crate::service::{CATALOG, FLOW_SERVICE, IMS};

/// How a request can fail, whatever it asks for.
const FAILURES: [(&str, &str); 12] = [
    ("400", "the request is at fault: what is wrong and what to do stands in the body"),
    ("401", "the token is not valid"),
    ("403", "the token, the client id, the organisation or the role of the account does not let the request pass"),
    ("404", "there is no such resource, or no such sandbox"),
    ("405", "the path is there, the method is not; `Allow` names those that are"),
    ("408", "the body did not come in time"),
    ("412", "`If-Match` names another version than the current one"),
    ("413", "the body is too long"),
    ("429", "the client asks more often than it may; `Retry-After` says when to ask again"),
    ("500", "a fault of this server; its log has more under the request id"),
    ("503", "this server can not answer now; `Retry-After` says when to ask again"),
    ("504", "no answer was found in time"),
];

/// The forms of errors: one per service.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    Problem,
    Neighbour,
    Ims,
}

impl Family {
    fn of(path: &str) -> Option<Self> {
        if path.starts_with(FLOW_SERVICE) {
            Some(Self::Problem)
        } else if path.starts_with(CATALOG) {
            Some(Self::Neighbour)
        } else if path.starts_with(IMS) {
            Some(Self::Ims)
        } else {
            None
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Problem => "Problem",
            Self::Neighbour => "NeighbourProblem",
            Self::Ims => "TokenProblem",
        }
    }

    /// Whether a request to the service can fail with this status at all.
    fn knows(self, status: &str) -> bool {
        match self {
            Self::Problem => true,
            // Only the Flow Service has versions.
            Self::Neighbour => status != "412",
            Self::Ims => !matches!(status, "403" | "412"),
        }
    }

    /// Whether a request to an operation can fail with this status.
    fn answers(self, status: &str, operation: &Map<String, Value>) -> bool {
        match status {
            "400" | "408" | "413" if self == Self::Ims => true,
            "401" | "429" | "500" | "503" | "504" => true,
            "400" | "403" | "404" => self != Self::Ims,
            "412" => takes_version(operation),
            "408" | "413" => operation.contains_key("requestBody"),
            _ => false,
        }
    }
}

/// In which order an operation is written: as people ask.
const ORDER: [&str; 8] =
    ["tags", "summary", "description", "operationId", "security", "parameters", "requestBody", "responses"];

/// Adds to an operation what it shares with others, and puts its parts in order.
pub(super) fn describe(path: &str, method: &str, operation: &mut Map<String, Value>) {
    if let Some(family) = Family::of(path) {
        share(family, path, method, operation);
    }
    let mut parts = std::mem::take(operation);
    let ordered = ORDER.iter().filter_map(|name| parts.remove_entry(*name)).collect::<Vec<_>>();
    operation.extend(ordered.into_iter().chain(parts));
}

fn share(family: Family, path: &str, method: &str, operation: &mut Map<String, Value>) {
    let mut parameters = vec![reference("parameters", "x-request-id")];
    if family != Family::Ims {
        parameters.extend(["x-sandbox-name", "x-sandbox-id"].map(|name| reference("parameters", name)));
    }
    if let Some(name) = precondition(path, method) {
        parameters.push(reference("parameters", name));
    }
    match operation.get_mut("parameters").and_then(Value::as_array_mut) {
        Some(own) => {
            // Ids in paths are texts, whatever their form: a wrong one is not found (flow-service.md 1).
            for id in own.iter_mut().filter(|parameter| parameter["schema"].is_null()) {
                id["schema"] = json!({ "type": "string", "minLength": 1 });
            }
            own.extend(parameters);
        }
        None => drop(operation.insert("parameters".to_owned(), parameters.into())),
    }
    let failures: Vec<_> = FAILURES.iter().filter(|(status, _)| family.answers(status, operation)).collect();
    let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) else { return };
    for (status, _) in failures {
        // What a route says of its own failures is in the same form: the shared one has examples.
        responses.insert((*status).to_owned(), reference("responses", &format!("{}{status}", family.name())));
    }
    for (_, response) in responses.iter_mut().filter(|(_, response)| response.get("$ref").is_none()) {
        response["headers"]["x-request-id"] = reference("headers", "x-request-id");
    }
    responses.sort_keys();
}

/// Where a version can or must be named (flow-service.md 4).
fn precondition(path: &str, method: &str) -> Option<&'static str> {
    let versioned = !path.contains("Specs");
    match method {
        "patch" => Some("If-Match"),
        "put" if versioned => Some("If-Match"),
        "delete" => Some("If-Match-optional"),
        "post" if path.ends_with("/action") => Some("If-Match-optional"),
        _ => None,
    }
}

fn takes_version(operation: &Map<String, Value>) -> bool {
    let parameters = operation.get("parameters").and_then(Value::as_array).into_iter().flatten();
    parameters.filter_map(|parameter| parameter["$ref"].as_str()).any(|path| path.contains("/If-Match"))
}

/// What a caller must bring: all three (flow-service.md 2.1).
pub(super) fn security() -> Value {
    json!([{ "token": [], "client": [], "organisation": [] }])
}

/// The parts that operations refer to, but for their schemas.
pub(super) fn components(schemas: &mut Schemas, examples: &Examples) -> Value {
    let header = |name: &str, description: &str| json!({ "type": "apiKey", "in": "header", "name": name, "description": description });
    json!({
        "schemas": {},
        "responses": responses(schemas, examples),
        "parameters": parameters(),
        "headers": headers(),
        "securitySchemes": {
            "token": {
                "type": "http",
                "scheme": "bearer",
                "bearerFormat": "JWT",
                "description": "from `POST /ims/token/v3`, `headwaters env` or `headwaters token`",
            },
            "client": header("x-api-key", "the client id that the token was given to"),
            "organisation": header("x-gw-ims-org-id", "the organisation, e.g. `0123456789ABCDEF01234567@AdobeOrg`"),
        },
    })
}

/// The headers that every operation takes, and those about versions (flow-service.md 2.1).
fn parameters() -> Value {
    let header = |name: &str, required: bool, description: &str, example: &str| {
        json!({
            "name": name, "in": "header", "required": required, "description": description,
            "schema": { "type": "string" }, "example": example,
        })
    };
    let etag = "\"7e05f181-0000-0200-0000-638e84f40000\"";
    json!({
        "x-sandbox-name": header("x-sandbox-name", false, "the sandbox; `prod` when absent", "prod"),
        "x-sandbox-id": {
            "name": "x-sandbox-id", "in": "header", "required": false, "schema": { "type": "string" },
            "description": "the sandbox by its id; for accounts with the role `service` only",
        },
        "x-request-id": header(
            "x-request-id", false, "names the request in its answer and in the log; made up when absent", "orders-1"),
        "If-Match": header("If-Match", true, "the version that is meant, as `etag` shows it", etag),
        "If-Match-optional": header("If-Match", false, "the version that is meant; any when absent", etag),
    })
}

fn headers() -> Value {
    let header = |description: &str, kind: &str| json!({ "description": description, "schema": { "type": kind } });
    json!({
        "x-request-id": header("names the request in the log", "string"),
        "Location": header("where the resource is from now on", "string"),
        "ETag": header("the version, the same as `etag` in the document", "string"),
        "Retry-After": header("how many seconds to wait", "integer"),
        "Allow": header("the methods that are there", "string"),
    })
}

/// How the operations of each service fail.
fn responses(schemas: &mut Schemas, examples: &Examples) -> Value {
    let problem = schemas.plain::<ProblemBody>();
    let neighbour = schemas.plain::<NeighbourBody>();
    let edge = schemas.plain::<EdgeBody>();
    let ims = schemas.plain::<ImsBody>();
    let mut all = Map::new();
    for family in [Family::Problem, Family::Neighbour, Family::Ims] {
        for (status, description) in FAILURES.into_iter().filter(|(status, _)| family.knows(status)) {
            // The platform's edge answers for all services alike (flow-service.md 2.2).
            let at_the_edge = matches!(status, "400" | "401" | "403");
            let bodies = match family {
                // A wrong content type is answered in the neighbours' form everywhere.
                Family::Problem if status == "400" => vec![&problem, &edge, &neighbour],
                Family::Problem if at_the_edge => vec![&problem, &edge],
                Family::Problem => vec![&problem],
                Family::Neighbour if at_the_edge => vec![&neighbour, &edge],
                Family::Neighbour => vec![&neighbour],
                Family::Ims => vec![&ims],
            };
            let schema = if let [only] = &bodies[..] { (*only).clone() } else { json!({ "oneOf": bodies }) };
            let name = format!("{}{status}", family.name());
            let mut content = json!({ "schema": schema });
            if let Some(examples) = examples.failures(&name) {
                content["examples"] = examples;
            }
            let mut headers = json!({ "x-request-id": reference("headers", "x-request-id") });
            let telling = match status {
                "405" => Some("Allow"),
                "429" | "503" => Some("Retry-After"),
                _ => None,
            };
            if let Some(header) = telling {
                headers[header] = reference("headers", header);
            }
            let response =
                json!({ "description": description, "headers": headers, "content": { "application/json": content } });
            all.insert(name, response);
        }
    }
    all.into()
}
