//! Reads JSON documents of callers into the types of commands.

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

use crate::error::{Cause, CommandError};

/// Reads a JSON object into a type. Properties that the type does not know are ignored; one of another JSON type is
/// `InvalidValue` and named (flow-service.md 3.4), without its value: it may be a secret.
pub fn shaped<T: DeserializeOwned>(document: Value) -> Result<T, CommandError> {
    if !document.is_object() {
        return Err(CommandError::invalid(Cause::InvalidValue, "", "a JSON object was expected"));
    }
    serde_path_to_error::deserialize(document).map_err(|error| {
        let pointer = pointer(error.path());
        // The library's sentence echoes the value that it found; only what it wanted instead is told.
        let sentence = error.inner().to_string();
        let reason = match sentence.rsplit_once(", expected ") {
            Some((_, expected)) => format!("has the wrong JSON type, expected {}", in_words(expected)),
            None => "has the wrong JSON type".to_owned(),
        };
        CommandError::invalid(Cause::InvalidValue, pointer, reason)
    })
}

/// What the library expected, without the names of our types.
fn in_words(expected: &str) -> &str {
    match expected {
        "i8" | "i16" | "i32" | "i64" | "u8" | "u16" | "u32" | "u64" => "a whole number",
        "f32" | "f64" => "a number",
        other => other,
    }
}

/// The JSON pointer of a place in a document.
fn pointer(path: &Path) -> String {
    let step = |segment: &Segment| match segment {
        Segment::Map { key } => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
        Segment::Seq { index } => format!("/{index}"),
        Segment::Enum { .. } | Segment::Unknown => String::new(),
    };
    path.iter().map(step).collect()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Outer {
        #[expect(dead_code, reason = "only read into")]
        name: Option<String>,
        inner_parts: Option<Vec<Inner>>,
    }

    #[derive(Debug, Deserialize)]
    struct Inner {
        #[expect(dead_code, reason = "only read into")]
        port: Option<u16>,
    }

    #[test]
    fn a_field_of_another_type_is_named_and_its_value_is_not() {
        let shape = |body| shaped::<Outer>(body).unwrap_err().to_string();
        assert_eq!(shape(json!({ "name": 4711 })), "/name: has the wrong JSON type, expected a string");
        assert_eq!(
            shape(json!({ "innerParts": [{}, { "port": "hunter2, expected x" }] })),
            "/innerParts/1/port: has the wrong JSON type, expected a whole number"
        );
        assert_eq!(shape(json!([])), "a JSON object was expected");
    }

    #[test]
    fn nulls_and_unknown_properties_are_as_good_as_absent() {
        let read: Outer = shaped(json!({ "name": null, "providerId": "x" })).unwrap();
        assert!(read.inner_parts.is_none());
    }
}
