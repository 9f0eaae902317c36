//! Specs that services describe (flow-service.md 12.4): kept per organisation, listed, and never used.

use headwaters_model::account::Role;
use headwaters_model::id::SpecId;
use headwaters_model::resource::{Collection, ResourceRef};
use headwaters_model::spec::VERSION_DEFAULT;
use serde_json::{Map, Value, json};

use super::Specs;
use crate::Control;
use crate::access::Caller;
use crate::audit::{Deed, note_unversioned};
use crate::error::{Cause, CommandError};
use crate::life_cycle::text_of;

/// How many specs of a kind an organisation may have beside the built-in ones.
pub const WRITTEN_SPECS_MAX: u64 = 100;
/// How long the document of a spec may be, in bytes of JSON.
pub const SPEC_BYTES_MAX: usize = 256 * 1024;

/// The form of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Text,
    Object,
    List,
}

/// What a connection spec may hold beside its id; all else of a body is ignored (flow-service.md 1.1).
const CONNECTION_SPEC: &[(&str, Form)] = &[
    ("name", Form::Text),
    ("providerId", Form::Text),
    ("version", Form::Text),
    ("type", Form::Text),
    ("settings", Form::Object),
    ("attributes", Form::Object),
    ("authSpec", Form::List),
    ("encryptionSpecs", Form::List),
    ("sourceSpec", Form::Object),
    ("targetSpec", Form::Object),
    ("exploreSpec", Form::Object),
    ("permissionsInfo", Form::Object),
    ("entitlementInfo", Form::List),
    ("policy", Form::Object),
];

/// What a flow spec may hold beside its id.
const FLOW_SPEC: &[(&str, Form)] = &[
    ("name", Form::Text),
    ("providerId", Form::Text),
    ("version", Form::Text),
    ("type", Form::Text),
    ("attributes", Form::Object),
    ("optionSpec", Form::Object),
    (TRANSFORMATIONS_WRITTEN, Form::List),
    ("scheduleSpec", Form::Object),
    ("runSpec", Form::Object),
    ("permissionsInfo", Form::Object),
    ("entitlementInfo", Form::List),
    ("policy", Form::Object),
    ("sourceConnectionSpecIds", Form::List),
    ("targetConnectionSpecIds", Form::List),
];

/// What a body calls the transformations, unlike every document that is read (flow-service.md 12.2).
const TRANSFORMATIONS_WRITTEN: &str = "transformationSpecDTOS";

impl Control {
    /// Adds a spec to the catalogue of the caller's organisation and returns its document.
    ///
    /// Causes: `SpecsByUser` unless the caller is a service, `MissingField`, `InvalidValue`.
    pub async fn create_spec(
        &self,
        caller: &Caller,
        of: Collection,
        fields: &Map<String, Value>,
    ) -> Result<Value, CommandError> {
        caller.require_writing_specs()?;
        let id = SpecId::mint();
        let document = document_of(id, of, fields)?;
        let mut tx = self.store.write(&caller.scope).await?;
        if tx.count_specs(of).await? >= WRITTEN_SPECS_MAX {
            let reason = format!("an organisation can have {WRITTEN_SPECS_MAX} {}s of its own, it has them", of.noun());
            return Err(CommandError::invalid(Cause::InvalidValue, "", reason));
        }
        let now_ms = self.clock.now_ms();
        tx.put_spec(of, id, &document, now_ms).await?;
        note_unversioned(&mut tx, caller, Deed::Create, ResourceRef::new(of, id), now_ms).await?;
        tx.commit().await?;
        Ok(document)
    }

    /// Replaces a spec of the caller's organisation and returns its new document.
    ///
    /// Causes: `SpecsByUser` unless the caller is a service, `Missing`, `Forbidden` for one that is built in,
    /// `MissingField`, `InvalidValue`.
    pub async fn replace_spec(
        &self,
        caller: &Caller,
        of: Collection,
        id: &str,
        fields: &Map<String, Value>,
    ) -> Result<Value, CommandError> {
        caller.require_writing_specs()?;
        let missing = || CommandError::Missing(ResourceRef::new(of, id));
        let id = id.parse().map_err(|_| missing())?;
        if self.specs.built_in(of, id).is_some() {
            let reason = format!("the {} {id} is built in and can not be replaced", of.noun());
            return Err(CommandError::invalid(Cause::Forbidden, "", reason));
        }
        let mut tx = self.store.write(&caller.scope).await?;
        if tx.spec(of, id).await?.is_none() {
            return Err(missing());
        }
        let document = document_of(id, of, fields)?;
        let now_ms = self.clock.now_ms();
        tx.put_spec(of, id, &document, now_ms).await?;
        note_unversioned(&mut tx, caller, Deed::Update, ResourceRef::new(of, id), now_ms).await?;
        tx.commit().await?;
        Ok(document)
    }
}

impl Specs {
    /// The document of a built-in spec.
    pub(super) fn built_in(&self, of: Collection, id: SpecId) -> Option<&Value> {
        match of {
            Collection::FlowSpecs => self.find_flow(id).map(|known| known.spec.document()),
            _ => self.find_connection(id).map(|known| known.spec.document()),
        }
    }
}

impl Caller {
    /// Refuses whoever is no service, because only services write specs. Causes: `SpecsByUser`.
    pub fn require_writing_specs(&self) -> Result<(), CommandError> {
        if self.role == Role::Service {
            return Ok(());
        }
        let reason = "specs are written by services only: use the token of an account with the role service";
        Err(CommandError::invalid(Cause::SpecsByUser, "", reason))
    }
}

/// The document that a body describes.
fn document_of(id: SpecId, of: Collection, fields: &Map<String, Value>) -> Result<Value, CommandError> {
    let known = if of == Collection::FlowSpecs { FLOW_SPEC } else { CONNECTION_SPEC };
    let mut document = Map::new();
    document.insert("id".to_owned(), json!(id));
    for (key, form) in known {
        if let Some(value) = fields.get(*key).filter(|value| !value.is_null()) {
            form.check(value, key)?;
            document.insert((*key).to_owned(), value.clone());
        }
    }
    for key in ["name", "providerId"] {
        text_of(document.get(key).and_then(Value::as_str), &format!("/{key}"))?;
    }
    document.entry("version").or_insert_with(|| VERSION_DEFAULT.into());
    if let Some(transformations) = document.remove(TRANSFORMATIONS_WRITTEN) {
        // Readers look for either key (flow-service.md 12.2).
        document.insert("transformationSpecs".to_owned(), transformations.clone());
        document.insert("transformationSpec".to_owned(), transformations);
    }
    if let Value::Object(attributes) = document.entry("attributes").or_insert_with(|| json!({})) {
        attributes.insert("isAvailable".to_owned(), false.into());
    }
    let document = Value::Object(document);
    if document.to_string().len() > SPEC_BYTES_MAX {
        let reason = format!("a {} can be {SPEC_BYTES_MAX} bytes long, it is longer", of.noun());
        return Err(CommandError::invalid(Cause::InvalidValue, "", reason));
    }
    Ok(document)
}

impl Form {
    fn check(self, value: &Value, key: &str) -> Result<(), CommandError> {
        let (fits, expected) = match self {
            Self::Text => (value.is_string(), "a text"),
            Self::Object => (value.is_object(), "an object"),
            Self::List => (value.is_array(), "a list"),
        };
        if fits {
            return Ok(());
        }
        let reason = format!("has the wrong JSON type, expected {expected}");
        Err(CommandError::invalid(Cause::InvalidValue, format!("/{key}"), reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(of: Collection, fields: Value) -> Result<Value, CommandError> {
        document_of(SpecId::mint(), of, fields.as_object().unwrap())
    }

    #[test]
    fn a_spec_that_is_written_says_that_it_is_not_available() {
        let fields = json!({ "name": "erp", "providerId": "p", "attributes": { "isAvailable": true, "isSource": true }, "x": 1 });
        let document = document(Collection::ConnectionSpecs, fields).unwrap();
        assert_eq!(document["attributes"], json!({ "isAvailable": false, "isSource": true }));
        assert_eq!((&document["version"], &document["x"]), (&json!("1.0"), &Value::Null));
    }

    #[test]
    fn the_transformations_of_a_flow_spec_are_shown_under_both_names_that_are_read() {
        let fields = json!({ "name": "erp", "providerId": "p", "transformationSpecDTOS": [{ "name": "Copy" }] });
        let document = document(Collection::FlowSpecs, fields).unwrap();
        assert_eq!(document["transformationSpecs"], json!([{ "name": "Copy" }]));
        assert_eq!(document["transformationSpec"], document["transformationSpecs"]);
        assert!(document.get(TRANSFORMATIONS_WRITTEN).is_none());
    }

    #[test]
    fn what_lacks_is_mandatory_too_long_or_of_another_type_is_refused() {
        let cause = |fields| document(Collection::ConnectionSpecs, fields).unwrap_err().cause();
        assert_eq!(cause(json!({ "providerId": "p" })), Cause::MissingField);
        assert_eq!(cause(json!({ "name": " ", "providerId": "p" })), Cause::MissingField);
        assert_eq!(cause(json!({ "name": "erp" })), Cause::MissingField);
        assert_eq!(cause(json!({ "name": "erp", "providerId": 7 })), Cause::InvalidValue);
        assert_eq!(cause(json!({ "name": "erp", "providerId": "p", "authSpec": {} })), Cause::InvalidValue);
        let long = "x".repeat(SPEC_BYTES_MAX);
        assert_eq!(cause(json!({ "name": "erp", "providerId": "p", "settings": { "x": long } })), Cause::InvalidValue);
    }
}
