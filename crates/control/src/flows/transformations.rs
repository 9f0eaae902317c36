//! The rules of transformations (flow-service.md 16.2).

use serde_json::{Map, Value};

use crate::error::{Cause, CommandError, clipped};
use crate::specs::KnownFlow;

/// Every transformation has a name and parameters; those that the flow spec knows satisfy its schema.
pub(super) fn check_transformations(known: &KnownFlow, entries: &[Value], strict: bool) -> Result<(), CommandError> {
    for (at, entry) in entries.iter().enumerate() {
        let pointer = format!("/transformations/{at}");
        let name = match entry.get("name") {
            Some(Value::String(name)) if !name.is_empty() => name,
            None | Some(Value::Null) => return Err(CommandError::missing_field(format!("{pointer}/name"))),
            Some(_) => {
                return Err(CommandError::invalid(Cause::InvalidValue, format!("{pointer}/name"), "must be a text"));
            }
        };
        let params = match entry.get("params") {
            Some(Value::Object(params)) => params,
            None | Some(Value::Null) => return Err(CommandError::missing_field(format!("{pointer}/params"))),
            Some(_) => {
                let place = format!("{pointer}/params");
                return Err(CommandError::invalid(Cause::InvalidValue, place, "must be an object"));
            }
        };
        if name == "Mapping" {
            check_mapping(params, &format!("{pointer}/params"))?;
        }
        match known.transformation(name) {
            Some(schema) => schema.check(params, &format!("{pointer}/params"))?,
            None if strict => {
                let reason = format!("there is no transformation of this name: {}", clipped(name));
                return Err(CommandError::invalid(Cause::UnknownTransformation, format!("{pointer}/name"), reason));
            }
            // Stored, echoed and without effect (flow-service.md 16.2).
            None => {}
        }
    }
    Ok(())
}

/// A mapping set is named by a text, its version by a whole number, native or as text (flow-service.md 16.2).
fn check_mapping(params: &Map<String, Value>, pointer: &str) -> Result<(), CommandError> {
    if params.get("mappingId").and_then(Value::as_str).is_none_or(|id| id.trim().is_empty()) {
        let reason = "must name a mapping set: a text that is not empty";
        return Err(CommandError::invalid(Cause::Mapping, format!("{pointer}/mappingId"), reason));
    }
    let is_version = |version: &Value| match version {
        Value::Number(number) => number.as_u64().is_some(),
        Value::String(text) => text.trim().parse::<u64>().is_ok(),
        _ => false,
    };
    if params.get("mappingVersion").is_some_and(|version| !is_version(version)) {
        let reason = "must be the version of the mapping set: a whole number from 0";
        return Err(CommandError::invalid(Cause::MappingVersion, format!("{pointer}/mappingVersion"), reason));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use headwaters_model::spec::CRM_TO_AEP;
    use serde_json::json;

    use super::*;
    use crate::specs::fixture::specs;

    fn cause(entry: Value, strict: bool) -> Option<Cause> {
        let specs = specs();
        let known = specs.flow(CRM_TO_AEP, "").unwrap();
        check_transformations(known, &[entry], strict).err().map(|error| error.cause())
    }

    #[test]
    fn a_transformation_has_a_name_and_parameters() {
        assert_eq!(cause(json!({ "params": {} }), false), Some(Cause::MissingField));
        assert_eq!(cause(json!({ "name": 7, "params": {} }), false), Some(Cause::InvalidValue));
        assert_eq!(cause(json!({ "name": "Copy" }), false), Some(Cause::MissingField));
        assert_eq!(cause(json!({ "name": "Copy", "params": {} }), false), Some(Cause::MissingField));
        assert_eq!(cause(json!({ "name": "Copy", "params": [] }), false), Some(Cause::InvalidValue));
        assert_eq!(cause(json!({ "name": "Copy", "params": { "deltaColumn": { "name": "t" } } }), true), None);
    }

    #[test]
    fn an_unknown_transformation_is_refused_only_under_the_strict_switch() {
        let wash = || json!({ "name": "Wash", "params": {} });
        assert_eq!((cause(wash(), false), cause(wash(), true)), (None, Some(Cause::UnknownTransformation)));
    }

    #[test]
    fn a_mapping_names_its_set_and_its_version() {
        let with = |params: Value| cause(json!({ "name": "Mapping", "params": params }), false);
        for id in [json!(null), json!(""), json!(" "), json!(7), json!({})] {
            assert_eq!(with(json!({ "mappingId": id })), Some(Cause::Mapping), "{id}");
        }
        assert_eq!(with(json!({})), Some(Cause::Mapping));
        let wrong = [json!(null), json!(-1), json!(1.5), json!("one"), json!(""), json!("-1"), json!([0]), json!(true)];
        for version in wrong {
            let params = json!({ "mappingId": "m", "mappingVersion": version });
            assert_eq!(with(params), Some(Cause::MappingVersion), "{version}");
        }
        for version in [json!(0), json!("0"), json!("12")] {
            assert_eq!(with(json!({ "mappingId": "m", "mappingVersion": version })), None, "{version}");
        }
        assert_eq!(with(json!({ "mappingId": "m" })), None);
    }
}
