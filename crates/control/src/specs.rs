//! The catalogue of connection and flow specs, and the checks against their schemas (flow-service.md 12).
//!
//! Specs of sources come from the sources themselves ([`Sources::specs`]); the data lake target, what is known but not
//! built here, and the flow specs come from the model's data files. These are made once at start, their schemas
//! compiled. Beside them each organisation has those that its services have described ([`written`]).
//!
//! **Invariant.** Only a built-in spec is ever used: what a service describes is listed and says that it is not
//! available.

mod check;
#[cfg(test)]
pub(crate) mod fixture;
mod shown;
mod written;

use std::sync::Arc;

use headwaters_model::id::SpecId;
use headwaters_model::resource::Collection;
use headwaters_model::spec::{self, ConnectionSpec, FlowSpec};
use headwaters_store::SpecName;
use serde_json::Value;

pub(crate) use self::check::ParamsSchema;
pub use self::written::{SPEC_BYTES_MAX, WRITTEN_SPECS_MAX};
use crate::Control;
use crate::access::Caller;
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

/// The specs of this build.
#[derive(Debug)]
struct BuiltIn {
    connections: Vec<KnownConnection>,
    flows: Vec<KnownFlow>,
}

/// The specs that a body may name. A clone shares what is built in.
#[derive(Debug, Clone)]
pub(crate) struct Specs {
    built_in: Arc<BuiltIn>,
    /// Those that services have described: known, so that naming one is told apart from a slip.
    written: Vec<SpecName>,
}

impl Control {
    /// The specs as the caller's organisation knows them.
    pub(crate) async fn specs_of(&self, caller: &Caller) -> Result<Specs, CommandError> {
        let written = self.store.read(&caller.scope).await?.spec_names().await?;
        Ok(Specs { written, ..self.specs.clone() })
    }
}

impl Specs {
    /// Collects the specs of this build; fails only on one that is itself broken, which is a fault of this build.
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
        let built_in = BuiltIn { connections, flows: flows.collect::<Result<_, CommandError>>()? };
        Ok(Self { built_in: Arc::new(built_in), written: Vec::new() })
    }

    fn find_connection(&self, id: SpecId) -> Option<&KnownConnection> {
        self.built_in.connections.iter().find(|known| known.spec.id() == id)
    }

    fn find_flow(&self, id: SpecId) -> Option<&KnownFlow> {
        self.built_in.flows.iter().find(|known| known.spec.id() == id)
    }

    /// The connection spec that a body names at `pointer`, if it can be used here: `UnknownSpec` where there is none,
    /// `NotSupported` where it is only listed (flow-service.md 3.5).
    pub(crate) fn connection(&self, id: SpecId, pointer: &str) -> Result<&KnownConnection, CommandError> {
        let known = self.find_connection(id).ok_or_else(|| self.unknown(Collection::ConnectionSpecs, id, pointer))?;
        if known.usable { Ok(known) } else { Err(only_listed(known.spec.label(), pointer)) }
    }

    /// The flow spec that a body names at `pointer`, if it can be used here; causes as for a connection spec.
    pub(crate) fn flow(&self, id: SpecId, pointer: &str) -> Result<&KnownFlow, CommandError> {
        self.find_flow(id).ok_or_else(|| self.unknown(Collection::FlowSpecs, id, pointer))
    }

    /// Why a spec that is not built in can not be used.
    fn unknown(&self, collection: Collection, id: SpecId, pointer: &str) -> CommandError {
        let written = self.written.iter().find(|spec| spec.collection == collection && spec.id == id);
        match written {
            Some(spec) => only_listed(&spec.name, pointer),
            None => {
                let reason = format!("there is no {} {id}", collection.noun());
                CommandError::invalid(Cause::UnknownSpec, pointer, reason)
            }
        }
    }

    /// Whether runs of flows of this spec are told to webhooks.
    pub(crate) fn notifies_of_runs(&self, id: SpecId) -> bool {
        self.find_flow(id).is_some_and(|known| known.spec.notifies_of_runs())
    }

    /// What people call a kind of source, for the names of activities.
    pub(crate) fn label(&self, id: SpecId) -> &str {
        self.find_connection(id).map_or("", |known| known.spec.label())
    }

    /// The documents of the built-in specs of a collection.
    fn documents(&self, of: Collection) -> Vec<&Value> {
        match of {
            Collection::FlowSpecs => self.built_in.flows.iter().map(|known| known.spec.document()).collect(),
            _ => self.built_in.connections.iter().map(|known| known.spec.document()).collect(),
        }
    }
}

fn only_listed(label: &str, pointer: &str) -> CommandError {
    let reason = format!("{label} is listed but can not be used: this build has no connector for it");
    CommandError::invalid(Cause::NotSupported, pointer, reason)
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

#[cfg(test)]
mod tests {
    use headwaters_model::spec::{CRM_TO_AEP, DATA_LAKE, MYSQL};

    use super::*;

    #[test]
    fn a_spec_that_is_only_listed_can_not_be_used() {
        let specs = fixture::specs();
        let listed = specs.built_in.connections.iter().find(|known| !known.usable).unwrap();
        let refused = specs.connection(listed.spec.id(), "/connectionSpec/id").unwrap_err();
        assert_eq!(refused.cause(), Cause::NotSupported);
        assert!(specs.connection(MYSQL, "").is_ok() && specs.connection(DATA_LAKE, "").is_ok());
        assert_eq!(specs.connection(SpecId::mint(), "").unwrap_err().cause(), Cause::UnknownSpec);
    }

    #[test]
    fn a_spec_that_a_service_described_can_not_be_used_either() {
        let id = SpecId::mint();
        let name = |collection| SpecName { collection, id, name: "erp".into() };
        let cause_with = |written: Vec<SpecName>| {
            let specs = Specs { written, ..fixture::specs() };
            (specs.connection(id, "").unwrap_err().cause(), specs.flow(id, "").unwrap_err().cause())
        };
        assert_eq!(cause_with(Vec::new()), (Cause::UnknownSpec, Cause::UnknownSpec));
        let connection = vec![name(Collection::ConnectionSpecs)];
        assert_eq!(cause_with(connection), (Cause::NotSupported, Cause::UnknownSpec));
        assert_eq!(cause_with(vec![name(Collection::FlowSpecs)]), (Cause::UnknownSpec, Cause::NotSupported));
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
