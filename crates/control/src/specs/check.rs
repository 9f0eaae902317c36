//! Checks parameters against the JSON Schema that a spec publishes for them.
//!
//! What a client sends is taken liberally: a number or a boolean where the schema says `string` counts as its text
//! (flow-service.md 12.1). Sentences never repeat a value, because any of them may be a secret.

use jsonschema::Validator;
use jsonschema::error::ValidationErrorKind;
use serde_json::{Map, Value};

use crate::error::{Cause, CommandError};

/// The schema of one set of parameters, ready to check.
#[derive(Debug)]
pub(crate) struct ParamsSchema {
    validator: Validator,
    /// Properties of type `string`.
    texts: Vec<String>,
    /// Properties with `format: "password"`.
    secrets: Vec<String>,
}

impl ParamsSchema {
    /// Compiles a draft-07 schema; references to other documents are refused.
    pub(crate) fn compile(schema: &Value) -> Result<Self, CommandError> {
        let validator = jsonschema::draft7::options()
            .offline()
            .build(schema)
            .map_err(|error| CommandError::Internal(format!("a spec holds an invalid schema: {error}")))?;
        let with = |key: &str, wanted: &str| {
            let properties = schema.get("properties").and_then(Value::as_object);
            let matching = properties.into_iter().flatten().filter(|(_, property)| property[key] == wanted);
            matching.map(|(name, _)| name.clone()).collect::<Vec<_>>()
        };
        Ok(Self { texts: with("type", "string"), secrets: with("format", "password"), validator })
    }

    /// Which properties are secrets.
    pub(crate) fn secrets(&self) -> &[String] {
        &self.secrets
    }

    /// The parameters with numbers and booleans as text where the schema wants text.
    pub(crate) fn as_text(&self, params: &Map<String, Value>) -> Map<String, Value> {
        let mut taken = params.clone();
        for name in &self.texts {
            if let Some(value @ (Value::Number(_) | Value::Bool(_))) = taken.get_mut(name) {
                *value = Value::String(value.to_string());
            }
        }
        taken
    }

    /// Checks parameters that stand at `pointer` of a body; the first fault is the answer.
    pub(crate) fn check(&self, params: &Map<String, Value>, pointer: &str) -> Result<(), CommandError> {
        let taken = Value::Object(self.as_text(params));
        let mut faults: Vec<_> = self.validator.iter_errors(&taken).collect();
        // What is missing is told before what is wrong: it is the likelier slip.
        faults.sort_by_key(|fault| !matches!(fault.kind(), ValidationErrorKind::Required { .. }));
        let Some(fault) = faults.first() else { return Ok(()) };
        let place = format!("{pointer}{}", fault.instance_path());
        Err(match fault.kind() {
            ValidationErrorKind::Required { property } => {
                CommandError::missing_field(format!("{place}/{}", property.as_str().unwrap_or_default()))
            }
            _ => CommandError::invalid(Cause::InvalidValue, place, fault.masked_with("the value").to_string()),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> ParamsSchema {
        ParamsSchema::compile(&json!({
            "$schema": "http://json-schema.org/draft-07/schema#", "type": "object",
            "properties": {
                "server": { "type": "string" }, "port": { "type": "string" },
                "password": { "type": "string", "format": "password" }
            },
            "required": ["server", "password"]
        }))
        .unwrap()
    }

    fn check(params: Value) -> Result<(), CommandError> {
        schema().check(params.as_object().unwrap(), "/auth/params")
    }

    #[test]
    fn numbers_and_booleans_count_as_their_text() {
        check(json!({ "server": "db", "password": "x", "port": 3306, "extra": [1] })).unwrap();
        let params = json!({ "port": 3306, "server": true });
        let taken = schema().as_text(params.as_object().unwrap());
        assert_eq!(Value::Object(taken), json!({ "port": "3306", "server": "true" }));
    }

    #[test]
    fn a_missing_field_is_named() {
        let error = check(json!({ "server": "db", "port": [] })).unwrap_err();
        assert_eq!(error.cause(), Cause::MissingField);
        assert_eq!(error.to_string(), "/auth/params/password: is mandatory and missing");
    }

    #[test]
    fn a_wrong_type_is_named_without_its_value() {
        let error = check(json!({ "server": "db", "password": ["hunter2"] })).unwrap_err();
        assert_eq!(error.cause(), Cause::InvalidValue);
        assert!(error.to_string().starts_with("/auth/params/password: "), "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn secrets_are_told_by_their_format() {
        assert_eq!(schema().secrets(), ["password"]);
    }
}
