//! The schemas that operations refer to, by their names.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;
use utoipa::{PartialSchema, ToSchema};

use super::{as_json, reference};
use crate::documents::{CountDocument, Envelope, PageLinks};

/// What is stored and shown as it was sent: what is described of it is what this server reads, not all that may be there.
const AS_SENT: [&str; 14] = [
    "SourceParams",
    "SourceColumn",
    "TargetData",
    "TargetSchema",
    "TargetParams",
    "FlowOptions",
    "ScheduleParams",
    "Transformation",
    "TransformationParams",
    "DeltaColumn",
    "RunParams",
    "ConnectionSpecAttributes",
    "FlowSpecAttributes",
    "UiAttributes",
];

/// Schemas by their names.
pub(super) struct Schemas(Map<String, Value>);

impl Schemas {
    /// Those that the routes have named.
    pub(super) fn new(collected: Map<String, Value>) -> Self {
        Self(collected)
    }

    /// A type as it stands.
    pub(super) fn plain<T: ToSchema + PartialSchema>(&mut self) -> Value {
        self.parts::<T>();
        self.put(&T::name(), as_json(&T::schema()))
    }

    /// A document of a collection: what all of them have, and its own fields.
    pub(super) fn stored<T: ToSchema + PartialSchema>(&mut self) -> Value {
        self.parts::<T>();
        let mut document = as_json(&T::schema());
        let envelope = as_json(&Envelope::schema());
        if let (Some(properties), Some(own)) = (envelope["properties"].as_object(), document["properties"].as_object())
        {
            let all: Map<_, _> = properties.clone().into_iter().chain(own.clone()).collect();
            document["properties"] = all.into();
        }
        let required = [&envelope, &document].into_iter().filter_map(|schema| schema["required"].as_array()).flatten();
        document["required"] = required.cloned().collect();
        self.put(&T::name(), document)
    }

    /// The answer of a list of documents: a page, or their number. `document` is what [`Self::stored`] or
    /// [`Self::plain`] has made of the type.
    pub(super) fn page(&mut self, document: &Value) -> Value {
        let name = name_in(document).trim_end_matches("Document").to_owned();
        // A list shows those fields that `property` names, always the id among them.
        let mut item = self.0.get(name_in(document)).cloned().unwrap_or_default();
        item["required"] = json!(["id"]);
        item["description"] =
            format!("{} Of its fields a list can show those alone that `property` names.", text(&item)).into();
        let item = self.put(&format!("{name}Item"), item);
        let (links, count) = (self.plain::<PageLinks>(), self.plain::<CountDocument>());
        let page = json!({
            "type": "object",
            "description": "One page of a list.",
            "required": ["items", "_links"],
            "properties": {
                "items": { "type": "array", "items": item },
                "_links": links,
            },
        });
        let page = self.put(&format!("{name}Page"), page);
        json!({ "oneOf": [page, count] })
    }

    /// The answer that shows one document, wrapped as every collection wraps it (flow-service.md 5).
    pub(super) fn single(&mut self, document: &Value) -> Value {
        let name = name_in(document).trim_end_matches("Document").to_owned();
        let wrapped = json!({
            "type": "object",
            "description": "One document, wrapped as a list.",
            "required": ["items"],
            "properties": { "items": { "type": "array", "items": document, "minItems": 1, "maxItems": 1 } },
        });
        self.put(&format!("{name}Single"), wrapped)
    }

    /// The body that makes or replaces such a document: its fields but for the id, with those that are written under
    /// another name than they are shown; only these are mandatory.
    pub(super) fn written(&mut self, document: &Value, mandatory: &[&str], renamed: &[(&str, &str)]) -> Value {
        let name = name_in(document).trim_end_matches("Document").to_owned();
        let mut body = self.0.get(name_in(document)).cloned().unwrap_or_default();
        if let Some(properties) = body.get_mut("properties").and_then(Value::as_object_mut) {
            properties.remove("id");
            for (shown, written) in renamed {
                if let Some(property) = properties.remove(*shown) {
                    properties.insert((*written).to_owned(), property);
                }
            }
        }
        body["required"] = json!(mandatory);
        body["description"] = format!("{} As it is written.", text(&body)).into();
        self.put(&format!("New{name}"), body)
    }

    /// Those that are used by the document, or by one another.
    pub(super) fn used_by(mut self, document: &Value) -> Value {
        let mut used = BTreeSet::new();
        let mut found = references_in(document);
        while let Some(name) = found.pop() {
            if let Some(schema) = self.0.get(&name)
                && used.insert(name)
            {
                found.extend(references_in(schema));
            }
        }
        self.0.retain(|name, _| used.contains(name));
        self.0.sort_keys();
        self.0.into()
    }

    fn parts<T: ToSchema>(&mut self) {
        let mut parts: Vec<(String, RefOr<Schema>)> = Vec::new();
        T::schemas(&mut parts);
        for (name, schema) in parts {
            self.put(&name, as_json(&schema));
        }
    }

    fn put(&mut self, name: &str, mut schema: Value) -> Value {
        if AS_SENT.contains(&name) {
            schema["additionalProperties"] = true.into();
            // A null is as good as absent, and kept.
            let fields = schema.get_mut("properties").and_then(Value::as_object_mut);
            fields.into_iter().flatten().for_each(|(_, field)| allow_null(field));
        }
        self.0.insert(name.to_owned(), schema);
        reference("schemas", name)
    }
}

fn allow_null(field: &mut Value) {
    let nothing = json!({ "type": "null" });
    if let Some(one_of) = field.get_mut("oneOf").and_then(Value::as_array_mut) {
        if !one_of.contains(&nothing) {
            one_of.push(nothing);
        }
    } else if let Some(only) = field["type"].as_str() {
        field["type"] = json!([only, "null"]);
    } else if field["$ref"].is_string() {
        *field = json!({ "oneOf": [field, nothing] });
    }
}

fn text(schema: &Value) -> &str {
    schema["description"].as_str().unwrap_or_default()
}

/// The name at the end of a reference.
fn name_in(reference: &Value) -> &str {
    reference["$ref"].as_str().and_then(|path| path.rsplit('/').next()).unwrap_or_default()
}

/// The names of all schemas that are referred to.
fn references_in(value: &Value) -> Vec<String> {
    match value {
        Value::Object(fields) => {
            let own =
                fields.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix("#/components/schemas/"));
            own.map(str::to_owned).into_iter().chain(fields.values().flat_map(references_in)).collect()
        }
        Value::Array(values) => values.iter().flat_map(references_in).collect(),
        _ => Vec::new(),
    }
}
