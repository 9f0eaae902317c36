//! Documents as text: what is shown of a resource without reading its body into its type.
//!
//! **Invariant.** The text says what [`Resource::shown`] says. Both take the envelope from one place, and bodies are
//! stored as they serialise; the property test of the store compares them.

use serde::Serialize;
use serde::de::{DeserializeOwned, Error as _, Unexpected};
use serde_json::value::RawValue;
use serde_json::{Error, Map, Value};

use super::{Kind, Resource};
use crate::etag::Etag;

/// The fields that all resources share, in the order in which documents show them (flow-service.md 5).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    id: String,
    created_at: i64,
    updated_at: i64,
    created_by: &'a str,
    updated_by: &'a str,
    created_client: &'a str,
    updated_client: &'a str,
    sandbox_id: String,
    sandbox_name: &'a str,
    ims_org_id: &'a str,
    /// Absent where the collection has no states.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'a str>,
    /// The etag once more, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    etag: &'a str,
}

/// The document of a resource as it is shown: a JSON text, with what is needed of it beside.
#[derive(Debug, Clone)]
pub struct Document<K: Kind> {
    /// The id of the resource.
    pub id: K::Id,
    /// Its version.
    pub etag: Etag,
    json: Box<RawValue>,
}

impl<K: Kind, B> Resource<K, B> {
    fn envelope(&self) -> Envelope<'_> {
        let stated = K::COLLECTION.has_state();
        Envelope {
            id: self.id.to_string(),
            created_at: self.created.at_ms,
            updated_at: self.updated.at_ms,
            created_by: self.created.by.user.as_str(),
            updated_by: self.updated.by.user.as_str(),
            created_client: self.created.by.client.as_str(),
            updated_client: self.updated.by.client.as_str(),
            sandbox_id: self.scope.sandbox.to_string(),
            sandbox_name: &self.scope.sandbox_name,
            ims_org_id: self.scope.org.as_str(),
            state: stated.then(|| self.state.name()),
            version: stated.then(|| self.etag.as_str()),
            etag: self.etag.as_str(),
        }
    }

    pub(super) fn envelope_json(&self) -> Map<String, Value> {
        match serde_json::to_value(self.envelope()) {
            Ok(Value::Object(envelope)) => envelope,
            other => unreachable!("texts and numbers are a JSON object, not {other:?}"),
        }
    }
}

impl<K: Kind> Resource<K, &str> {
    /// The document of a resource whose body is a stored text. Fails when that is not a JSON object.
    pub fn into_document(self) -> Result<Document<K>, Error> {
        let body = self.body.trim();
        let fields = body.strip_prefix('{').and_then(|body| body.strip_suffix('}')).map(str::trim);
        let fields = fields.ok_or_else(|| Error::invalid_type(Unexpected::Other("another value"), &"a JSON object"))?;
        let mut text = serde_json::to_string(&self.envelope())?;
        // The envelope always has fields, so what follows begins with a comma.
        text.pop();
        text.reserve(fields.len() + 2);
        if !fields.is_empty() {
            text.push(',');
            text.push_str(fields);
        }
        if let Some((name, value)) = K::derived(&self.id) {
            text.push_str(&format!(",{}:{}", Value::from(name), Value::from(value)));
        }
        text.push('}');
        Ok(Document { id: self.id, etag: self.etag, json: RawValue::from_string(text)? })
    }
}

impl<K: Kind> Document<K> {
    /// Reads it as a value, or as the body of its kind: what a type does not know is left out.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Error> {
        T::deserialize(&*self.json)
    }

    /// Replaces fields, or adds them.
    pub fn set(&mut self, fields: impl IntoIterator<Item = (String, Value)>) -> Result<(), Error> {
        let mut document: Map<String, Value> = self.read()?;
        document.extend(fields);
        self.json = serde_json::value::to_raw_value(&document)?;
        Ok(())
    }

    /// The text.
    #[must_use]
    pub fn into_json(self) -> Box<RawValue> {
        self.json
    }
}
