//! Examples of requests and answers. A test records them from a server at work, nobody writes them by hand
//! (tests/it/recorded.rs). In `examples.json` stand by operation where it was, what was sent and what came back, and by
//! failure a body.

use serde_json::{Map, Value, json};

const RECORDED: &str = include_str!("examples.json");

/// What was recorded.
pub(super) struct Examples(Value);

/// All examples.
pub(super) fn recorded() -> Examples {
    // The file is compiled in, and a test compares it with what is answered now.
    Examples(serde_json::from_str(RECORDED).unwrap_or_else(|error| unreachable!("examples.json: {error}")))
}

impl Examples {
    /// Shows the examples of an operation, `METHOD path`, in its description.
    pub(super) fn show(&self, operation_name: &str, operation: &mut Map<String, Value>) {
        let recorded = &self.0["operations"][operation_name];
        show_ids(operation_name, recorded["at"].as_str().unwrap_or_default(), operation);
        let sent = operation.get_mut("requestBody").and_then(|body| body.get_mut("content"));
        put(sent, &recorded["takes"]);
        for (status, answers) in recorded["answers"].as_object().into_iter().flatten() {
            let answer = operation.get_mut("responses").and_then(|responses| responses.get_mut(status));
            put(answer.and_then(|answer| answer.get_mut("content")), answers);
        }
    }

    /// The examples of a failure, by the name of its response.
    pub(super) fn failures(&self, name: &str) -> Option<Value> {
        shown(&self.0["failures"][name])
    }
}

/// Puts the ids of a recorded path beside the names in the path of its operation.
fn show_ids(operation_name: &str, recorded: &str, operation: &mut Map<String, Value>) {
    let path = operation_name.split_once(' ').map(|(_, path)| path).unwrap_or_default();
    for (name, id) in path.split('/').zip(recorded.split('/')) {
        let Some(name) = name.strip_prefix('{').and_then(|name| name.strip_suffix('}')) else { continue };
        let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten();
        for parameter in parameters.filter(|parameter| parameter["in"] == "path" && parameter["name"] == name) {
            parameter["example"] = id.into();
        }
    }
}

/// Puts examples beside the schema of every media type.
fn put(content: Option<&mut Value>, examples: &Value) {
    let media_types = content.and_then(Value::as_object_mut).into_iter().flatten();
    for (_, media_type) in media_types {
        if let Some(examples) = shown(examples) {
            media_type["examples"] = examples;
        }
    }
}

/// Examples by their names, in the form of the description.
fn shown(examples: &Value) -> Option<Value> {
    let examples = examples.as_object()?;
    Some(examples.iter().map(|(name, value)| (name.clone(), json!({ "value": value }))).collect::<Map<_, _>>().into())
}
