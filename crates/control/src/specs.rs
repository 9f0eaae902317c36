//! The catalogue of connection and flow specs, and the checks against their schemas (flow-service.md 12).
//!
//! Specs of sources come from the sources themselves ([`Sources::specs`]); the data lake target, what is known but not
//! built here, and the flow specs come from the model's data files. The catalogue is read-only and made once at start,
//! its schemas compiled.

mod check;
#[cfg(test)]
pub(crate) mod fixture;

use headwaters_model::filter::Filter;
use headwaters_model::id::SpecId;
use headwaters_model::resource::{Collection, ResourceRef};
use headwaters_model::spec::{self, ConnectionSpec, FlowSpec};
use serde_json::Value;

pub(crate) use self::check::ParamsSchema;
use crate::Control;
use crate::error::{Cause, CommandError};
use crate::ports::Sources;

/// A connection spec with its schemas compiled.
#[derive(Debug)]
pub(crate) struct KnownConnection {
    pub(crate) spec: ConnectionSpec,
    auth: Vec<(String, ParamsSchema)>,
    /// The schema of a source connection's parameters, where it is a source.
    pub(crate) source: Option<ParamsSchema>,
    usable: bool,
}

/// A flow spec with its schemas compiled.
#[derive(Debug)]
pub(crate) struct KnownFlow {
    pub(crate) spec: FlowSpec,
    pub(crate) options: Option<ParamsSchema>,
    transformations: Vec<(&'static str, ParamsSchema)>,
}

/// All specs of this build.
#[derive(Debug)]
pub(crate) struct Specs {
    connections: Vec<KnownConnection>,
    flows: Vec<KnownFlow>,
}

impl Control {
    /// The documents of the connection specs that pass every filter (flow-service.md 7.2, 12).
    #[must_use]
    pub fn connection_specs(&self, filters: &[Filter]) -> Vec<Value> {
        passing(self.specs.connections.iter().map(|known| known.spec.document()), filters)
    }

    /// The documents of the flow specs that pass every filter (flow-service.md 7.2, 12).
    #[must_use]
    pub fn flow_specs(&self, filters: &[Filter]) -> Vec<Value> {
        passing(self.specs.flows.iter().map(|known| known.spec.document()), filters)
    }

    /// The document of one connection spec. Causes: `Missing`.
    pub fn connection_spec(&self, id: &str) -> Result<Value, CommandError> {
        let found = id.parse().ok().and_then(|id| self.specs.find_connection(id));
        let missing = || CommandError::Missing(ResourceRef::new(Collection::ConnectionSpecs, id));
        found.map(|known| known.spec.document().clone()).ok_or_else(missing)
    }

    /// The document of one flow spec. Causes: `Missing`.
    pub fn flow_spec(&self, id: &str) -> Result<Value, CommandError> {
        let found = id.parse().ok().and_then(|id| self.specs.find_flow(id));
        let missing = || CommandError::Missing(ResourceRef::new(Collection::FlowSpecs, id));
        found.map(|known| known.spec.document().clone()).ok_or_else(missing)
    }
}

impl Specs {
    /// Collects the specs; fails only on a spec that is itself broken, which is a fault of this build.
    pub(crate) fn load(sources: &dyn Sources) -> Result<Self, CommandError> {
        let mut specs = Vec::new();
        for document in sources.specs() {
            specs.push(ConnectionSpec::new(document).map_err(|error| CommandError::Internal(error.to_string()))?);
        }
        specs.extend(spec::connection_specs());

        let mut connections: Vec<KnownConnection> = Vec::with_capacity(specs.len());
        for spec in specs {
            // A source of this build takes the place of its entry among the known ones.
            if connections.iter().all(|known| known.spec.id() != spec.id()) {
                connections.push(KnownConnection::compile(spec, sources)?);
            }
        }
        let flows = spec::flow_specs().into_iter().map(KnownFlow::compile);
        Ok(Self { connections, flows: flows.collect::<Result<_, CommandError>>()? })
    }

    fn find_connection(&self, id: SpecId) -> Option<&KnownConnection> {
        self.connections.iter().find(|known| known.spec.id() == id)
    }

    fn find_flow(&self, id: SpecId) -> Option<&KnownFlow> {
        self.flows.iter().find(|known| known.spec.id() == id)
    }

    /// The connection spec that a body names at `pointer`, if it can be used here: `UnknownSpec` where there is none,
    /// `NotSupported` where it is only listed (flow-service.md 3.5).
    pub(crate) fn connection(&self, id: SpecId, pointer: &str) -> Result<&KnownConnection, CommandError> {
        let unknown =
            || CommandError::invalid(Cause::UnknownSpec, pointer, format!("there is no connection spec {id}"));
        let known = self.find_connection(id).ok_or_else(unknown)?;
        if known.usable {
            return Ok(known);
        }
        let label = known.spec.label();
        let reason = format!("{label} is listed but can not be used: this build has no connector for it");
        Err(CommandError::invalid(Cause::NotSupported, pointer, reason))
    }

    /// The flow spec that a body names at `pointer` (`UnknownSpec` where there is none).
    pub(crate) fn flow(&self, id: SpecId, pointer: &str) -> Result<&KnownFlow, CommandError> {
        let unknown = || CommandError::invalid(Cause::UnknownSpec, pointer, format!("there is no flow spec {id}"));
        self.find_flow(id).ok_or_else(unknown)
    }

    /// What people call a kind of source, for the names of activities.
    pub(crate) fn label(&self, id: SpecId) -> &str {
        self.find_connection(id).map_or("", |known| known.spec.label())
    }
}

impl KnownConnection {
    fn compile(spec: ConnectionSpec, sources: &dyn Sources) -> Result<Self, CommandError> {
        let auth = spec.auth_specs().map(|auth| Ok((auth.name.to_owned(), ParamsSchema::compile(auth.schema)?)));
        Ok(Self {
            auth: auth.collect::<Result<_, CommandError>>()?,
            source: spec.source_schema().map(ParamsSchema::compile).transpose()?,
            usable: spec.is_available() && (!spec.is_source() || sources.serves(spec.id())),
            spec,
        })
    }

    /// The schema of the auth spec of this name (`UnknownAuthSpec` where there is none).
    pub(crate) fn auth(&self, name: &str) -> Result<&ParamsSchema, CommandError> {
        let found = self.auth.iter().find(|(known, _)| known == name);
        found.map(|(_, schema)| schema).ok_or_else(|| {
            let names: Vec<_> = self.auth.iter().map(|(name, _)| format!("`{name}`")).collect();
            let names = if names.is_empty() { "none".to_owned() } else { names.join(" and ") };
            let reason = format!("{} has no auth spec of this name, it has {names}", self.spec.label());
            CommandError::invalid(Cause::UnknownAuthSpec, "/auth/specName", reason)
        })
    }
}

impl KnownFlow {
    fn compile(spec: FlowSpec) -> Result<Self, CommandError> {
        let named = ["Copy", "Mapping"].into_iter().filter_map(|name| Some((name, spec.transformation_schema(name)?)));
        let transformations = named.map(|(name, schema)| Ok((name, ParamsSchema::compile(schema)?)));
        Ok(Self {
            transformations: transformations.collect::<Result<_, CommandError>>()?,
            options: spec.option_schema().map(ParamsSchema::compile).transpose()?,
            spec,
        })
    }

    /// The schema of a transformation's parameters; none for a name that the spec does not know.
    pub(crate) fn transformation(&self, name: &str) -> Option<&ParamsSchema> {
        self.transformations.iter().find(|(known, _)| *known == name).map(|(_, schema)| schema)
    }
}

fn passing<'a>(documents: impl Iterator<Item = &'a Value>, filters: &[Filter]) -> Vec<Value> {
    documents.filter(|document| filters.iter().all(|filter| filter.matches(document))).cloned().collect()
}

#[cfg(test)]
mod tests {
    use headwaters_model::spec::{CRM_TO_AEP, DATA_LAKE, MYSQL};

    use super::*;

    #[test]
    fn a_spec_that_is_only_listed_can_not_be_used() {
        let specs = fixture::specs();
        let listed = specs.connections.iter().find(|known| !known.usable).unwrap();
        let refused = specs.connection(listed.spec.id(), "/connectionSpec/id").unwrap_err();
        assert_eq!(refused.cause(), Cause::NotSupported);
        assert!(specs.connection(MYSQL, "").is_ok() && specs.connection(DATA_LAKE, "").is_ok());
        assert_eq!(specs.connection(SpecId::mint(), "").unwrap_err().cause(), Cause::UnknownSpec);
    }

    #[test]
    fn specs_are_filtered_by_their_properties() {
        let specs = fixture::specs();
        let documents = || specs.connections.iter().map(|known| known.spec.document());
        let filter = Filter::parse("name==\"mysql\"", Collection::ConnectionSpecs).unwrap();
        let [found] = &passing(documents(), &[filter])[..] else { panic!("one spec") };
        assert_eq!(found["id"], MYSQL.to_string());
        assert_eq!(passing(documents(), &[]).len(), specs.connections.len());
    }

    #[test]
    fn an_unknown_auth_spec_is_answered_with_those_that_there_are() {
        let specs = fixture::specs();
        let refused = specs.connection(MYSQL, "").unwrap().auth("OAuth").unwrap_err();
        assert_eq!(refused.cause(), Cause::UnknownAuthSpec);
        assert!(refused.to_string().contains("`Basic Authentication`"), "{refused}");
    }

    #[test]
    fn the_flow_spec_knows_copy_and_mapping() {
        let specs = fixture::specs();
        let flow = specs.flow(CRM_TO_AEP, "").unwrap();
        assert!(flow.transformation("Copy").is_some() && flow.transformation("Wash").is_none());
    }
}
