//! Connection specs and flow specs: the read-only catalogue of what can be connected and how it flows
//! (flow-service.md 12).
//!
//! A spec is a document that is shown as it stands. The types here only read it; nothing is kept twice.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::id::SpecId;

/// The data lake, the only target (flow-service.md 12.1).
pub const DATA_LAKE: SpecId = SpecId::fixed(0xc604ff05_7f1a_43c0_8e18_33bf874cb11c);
/// MySQL.
pub const MYSQL: SpecId = SpecId::fixed(0x26d738e0_8963_47ea_aadf_c60de735468a);
/// MariaDB.
pub const MARIADB: SpecId = SpecId::fixed(0x3000eb99_cd47_43f3_827c_43caf170f015);
/// The flow spec of all CRM and database sources (flow-service.md 12.2).
pub const CRM_TO_AEP: SpecId = SpecId::fixed(0x14518937_270c_4525_bdec_c2ba7cce3860);
/// The version that is stored when a client names none.
pub const VERSION_DEFAULT: &str = "1.0";
/// The provider of all batch sources.
const BATCH_PROVIDER: &str = "0ed90a81-07f4-4586-8190-b40eccef1c5a";

/// Names a spec from within a resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpecRef {
    /// The spec.
    pub id: SpecId,
    /// Its version, [`VERSION_DEFAULT`] when the client named none.
    #[serde(default = "version_default")]
    pub version: String,
}

impl SpecRef {
    /// Names a spec in the default version.
    #[must_use]
    pub fn new(id: SpecId) -> Self {
        Self { id, version: version_default() }
    }
}

fn version_default() -> String {
    VERSION_DEFAULT.to_owned()
}

/// A document that can not be a spec.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a spec: {0}")]
pub struct InvalidSpec(&'static str);

/// A connection spec.
#[derive(Debug, Clone, PartialEq)]
pub struct ConnectionSpec {
    id: SpecId,
    document: Value,
}

/// One of the ways to log in that a connection spec knows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AuthSpec<'a> {
    /// Its name, by which a connection chooses it.
    pub name: &'a str,
    /// The JSON Schema (draft 7) of its parameters.
    pub schema: &'a Value,
}

impl ConnectionSpec {
    /// Takes a document as a spec.
    pub fn new(document: Value) -> Result<Self, InvalidSpec> {
        Ok(Self { id: id_of(&document)?, document })
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> SpecId {
        self.id
    }

    /// Its name, e.g. `mysql`.
    #[must_use]
    pub fn name(&self) -> &str {
        text(&self.document, "/name")
    }

    /// What activities are labelled with, e.g. `MySQL` (flow-service.md 17.4).
    #[must_use]
    pub fn label(&self) -> &str {
        match text(&self.document, "/attributes/connectorName") {
            "" => self.name(),
            label => label,
        }
    }

    /// The document as it is shown.
    #[must_use]
    pub fn document(&self) -> &Value {
        &self.document
    }

    /// Whether this build can use it; a spec that is only listed says `attributes.isAvailable: false` (product.md).
    #[must_use]
    pub fn is_available(&self) -> bool {
        self.document.pointer("/attributes/isAvailable") != Some(&Value::Bool(false))
    }

    /// Whether it is a source.
    #[must_use]
    pub fn is_source(&self) -> bool {
        self.document.pointer("/attributes/isSource") == Some(&Value::Bool(true))
    }

    /// Whether drafts may be made of it (flow-service.md 11).
    #[must_use]
    pub fn supports_drafts(&self) -> bool {
        self.document.pointer("/attributes/isDraftModeSupported") == Some(&Value::Bool(true))
    }

    /// Whether the source filters rows itself (flow-service.md 12.1).
    #[must_use]
    pub fn filters_at_source(&self) -> bool {
        self.document.pointer("/attributes/filterAtSource/enabled") == Some(&Value::Bool(true))
    }

    /// The ways to log in.
    pub fn auth_specs(&self) -> impl Iterator<Item = AuthSpec<'_>> {
        let specs = self.document.get("authSpec").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        specs.iter().filter_map(|spec| Some(AuthSpec { name: spec.get("name")?.as_str()?, schema: spec.get("spec")? }))
    }

    /// The way to log in that has this name.
    #[must_use]
    pub fn auth_spec(&self, name: &str) -> Option<AuthSpec<'_>> {
        self.auth_specs().find(|spec| spec.name == name)
    }

    /// The JSON Schema of a source connection's `params`.
    #[must_use]
    pub fn source_schema(&self) -> Option<&Value> {
        self.document.pointer("/sourceSpec/spec")
    }

    /// The JSON Schema of a target connection's `params`.
    #[must_use]
    pub fn target_schema(&self) -> Option<&Value> {
        self.document.pointer("/targetSpec/spec")
    }
}

impl AuthSpec<'_> {
    /// Whether a parameter is a secret: `format: "password"` (flow-service.md 13.2).
    #[must_use]
    pub fn is_secret(&self, key: &str) -> bool {
        let property = self.schema.get("properties").and_then(|properties| properties.get(key));
        property.and_then(|property| property.get("format")).and_then(Value::as_str) == Some("password")
    }
}

/// A flow spec.
#[derive(Debug, Clone, PartialEq)]
pub struct FlowSpec {
    id: SpecId,
    document: Value,
}

impl FlowSpec {
    /// Takes a document as a spec.
    pub fn new(document: Value) -> Result<Self, InvalidSpec> {
        Ok(Self { id: id_of(&document)?, document })
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> SpecId {
        self.id
    }

    /// Its name, e.g. `CRMToAEP`.
    #[must_use]
    pub fn name(&self) -> &str {
        text(&self.document, "/name")
    }

    /// The document as it is shown.
    #[must_use]
    pub fn document(&self) -> &Value {
        &self.document
    }

    /// Whether this build can run flows of it.
    #[must_use]
    pub fn is_available(&self) -> bool {
        self.document.pointer("/attributes/isAvailable") != Some(&Value::Bool(false))
    }

    /// Whether drafts may be made of it (flow-service.md 11).
    #[must_use]
    pub fn supports_drafts(&self) -> bool {
        self.document.pointer("/attributes/isDraftModeSupported") == Some(&Value::Bool(true))
    }

    /// Whether runs of its flows are told to webhooks (flow-service.md 18).
    #[must_use]
    pub fn notifies_of_runs(&self) -> bool {
        self.document.pointer("/attributes/notification/flowRun/enabled") == Some(&Value::Bool(true))
    }

    /// Whether a flow of it may read such a source.
    #[must_use]
    pub fn takes_source(&self, spec: SpecId) -> bool {
        self.lists("sourceConnectionSpecIds", spec)
    }

    /// Whether a flow of it may land in such a target.
    #[must_use]
    pub fn takes_target(&self, spec: SpecId) -> bool {
        self.lists("targetConnectionSpecIds", spec)
    }

    /// The JSON Schema of `options`.
    #[must_use]
    pub fn option_schema(&self) -> Option<&Value> {
        self.document.pointer("/optionSpec/spec")
    }

    /// The JSON Schema of `scheduleParams`, which holds the native types only (flow-service.md 16.4).
    #[must_use]
    pub fn schedule_schema(&self) -> Option<&Value> {
        self.document.pointer("/scheduleSpec/spec")
    }

    /// The JSON Schema of a transformation's `params`; none for a name that the spec does not know.
    #[must_use]
    pub fn transformation_schema(&self, name: &str) -> Option<&Value> {
        let specs = self.document.get("transformationSpecs")?.as_array()?;
        specs.iter().find(|spec| spec.get("name").and_then(Value::as_str) == Some(name))?.get("spec")
    }

    fn lists(&self, key: &str, spec: SpecId) -> bool {
        let ids = self.document.get(key).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        ids.iter().any(|id| id.as_str().and_then(|id| id.parse().ok()) == Some(spec))
    }
}

/// The connection specs that belong to no source of this build: the data lake, and the hosted platform's other sources,
/// which are listed and say that they are not available here.
#[must_use]
pub fn connection_specs() -> Vec<ConnectionSpec> {
    let known: Vec<KnownSource> = parsed(include_str!("specs/known-sources.json"));
    let known = known.into_iter().map(KnownSource::into_document);
    let documents = std::iter::once(parsed(include_str!("specs/data-lake.json"))).chain(known);
    documents
        .map(|document| ConnectionSpec::new(document).unwrap_or_else(|error| unreachable!("built-in: {error}")))
        .collect()
}

/// The flow specs that this build runs.
#[must_use]
pub fn flow_specs() -> Vec<FlowSpec> {
    let mut document: Value = parsed(include_str!("specs/crm-to-aep.json"));
    // Published samples have either key; both are shown (flow-service.md 12.2).
    document["transformationSpec"] = document["transformationSpecs"].clone();
    vec![FlowSpec::new(document).unwrap_or_else(|error| unreachable!("built-in: {error}"))]
}

/// One line of the list of sources that the hosted platform has and this build has not.
#[derive(Deserialize)]
struct KnownSource {
    id: SpecId,
    name: String,
    label: String,
    category: String,
}

impl KnownSource {
    fn into_document(self) -> Value {
        let Self { id, name, label, category } = self;
        json!({
            "id": id,
            "name": name,
            "providerId": BATCH_PROVIDER,
            "version": VERSION_DEFAULT,
            "authSpec": [],
            "attributes": {
                "category": category,
                "connectorName": label,
                "isSource": true,
                "isAvailable": false,
                "isDraftModeSupported": false,
            },
        })
    }
}

fn parsed<T: for<'a> Deserialize<'a>>(file: &str) -> T {
    // The files are compiled in, and a test reads each of them.
    serde_json::from_str(file).unwrap_or_else(|error| unreachable!("a built-in spec does not parse: {error}"))
}

fn id_of(document: &Value) -> Result<SpecId, InvalidSpec> {
    text(document, "/id").parse().map_err(|_| InvalidSpec("its id is not a UUID"))
}

fn text<'a>(document: &'a Value, pointer: &str) -> &'a str {
    document.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_built_in_spec_is_read_and_has_an_id_of_its_own() {
        let specs = connection_specs();
        let ids: HashSet<_> = specs.iter().map(ConnectionSpec::id).collect();
        assert_eq!(ids.len(), specs.len());
        assert!(!ids.contains(&MYSQL) && !ids.contains(&MARIADB), "a source brings its own spec");
        assert!(specs.iter().all(|spec| !spec.name().is_empty()));
    }

    #[test]
    fn only_the_data_lake_is_available_without_a_source() {
        let available: Vec<_> = connection_specs().into_iter().filter(ConnectionSpec::is_available).collect();
        let [lake] = &available[..] else { panic!("one spec: {available:?}") };
        assert_eq!(lake.id(), DATA_LAKE);
        assert!(!lake.is_source() && lake.target_schema().is_some());
    }

    #[test]
    fn the_database_flow_takes_both_databases_and_the_lake() {
        let [spec] = &flow_specs()[..] else { panic!("one flow spec") };
        assert_eq!((spec.id(), spec.name()), (CRM_TO_AEP, "CRMToAEP"));
        assert!(spec.takes_source(MYSQL) && spec.takes_source(MARIADB) && spec.takes_target(DATA_LAKE));
        assert!(!spec.takes_source(DATA_LAKE) && !spec.takes_target(MYSQL));
        assert!(spec.transformation_schema("Copy").is_some() && spec.transformation_schema("Wash").is_none());
        assert_eq!(spec.document()["transformationSpec"], spec.document()["transformationSpecs"]);
    }

    #[test]
    fn a_secret_is_what_the_auth_spec_calls_a_password() {
        let spec = ConnectionSpec::new(json!({
            "id": "26d738e0-8963-47ea-aadf-c60de735468a",
            "authSpec": [{ "name": "Basic", "spec": { "properties": {
                "server": { "type": "string" }, "password": { "type": "string", "format": "password" } } } }],
        }))
        .unwrap();
        let basic = spec.auth_spec("Basic").unwrap();
        assert!(basic.is_secret("password") && !basic.is_secret("server") && !basic.is_secret("other"));
        assert!(spec.auth_spec("Other").is_none());
    }
}
