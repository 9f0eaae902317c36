//! The collections of the API, and which fields their documents have.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A kind of thing that the API serves as a list of documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Collection {
    /// Base connections: how a source is reached.
    Connections,
    /// Source connections: what is read.
    SourceConnections,
    /// Target connections: where it lands.
    TargetConnections,
    /// Flows.
    Flows,
    /// Runs of flows.
    Runs,
    /// Connection specs, read-only.
    ConnectionSpecs,
    /// Flow specs, read-only.
    FlowSpecs,
    /// Data sets of the Catalog.
    DataSets,
    /// Batches of the Catalog.
    Batches,
}

/// The root fields that every resource of the Flow Service has (flow-service.md 5).
const ENVELOPE_FIELDS: [&str; 11] = [
    "id",
    "createdAt",
    "updatedAt",
    "createdBy",
    "updatedBy",
    "createdClient",
    "updatedClient",
    "sandboxId",
    "sandboxName",
    "imsOrgId",
    "etag",
];

// The root fields of each collection's documents beside the envelope.
const CONNECTION_FIELDS: &[&str] = &["name", "description", "connectionSpec", "auth", "lastOperation"];
const SOURCE_CONNECTION_FIELDS: &[&str] = &[
    "name",
    "description",
    "baseConnectionId",
    "connectionSpec",
    "data",
    "params",
    "providerRefId",
    "inheritedAttributes",
    "lastOperation",
];
const TARGET_CONNECTION_FIELDS: &[&str] = &[
    "name",
    "description",
    "connectionSpec",
    "data",
    "params",
    "providerRefId",
    "inheritedAttributes",
    "lastOperation",
];
const FLOW_FIELDS: &[&str] = &[
    "name",
    "description",
    "flowSpec",
    "sourceConnectionIds",
    "targetConnectionIds",
    "inheritedAttributes",
    "transformations",
    "scheduleParams",
    "options",
    "labels",
    "policy",
    "recordTypes",
    "unifiedMetadata",
    "lastOperation",
    "lastRunDetails",
];
const RUN_FIELDS: &[&str] = &[
    "flowId",
    "flowSpec",
    "providerRefId",
    "parentFlowRunId",
    "childFlowRunIds",
    "predecessors",
    "params",
    "metrics",
    "activities",
    "recordTypes",
];
const CONNECTION_SPEC_FIELDS: &[&str] = &[
    "id",
    "name",
    "providerId",
    "version",
    "type",
    "authSpec",
    "sourceSpec",
    "targetSpec",
    "exploreSpec",
    "encryptionSpecs",
    "attributes",
    "settings",
    "permissionsInfo",
    "entitlementInfo",
    "policy",
];
const FLOW_SPEC_FIELDS: &[&str] = &[
    "id",
    "name",
    "providerId",
    "version",
    "type",
    "sourceConnectionSpecIds",
    "targetConnectionSpecIds",
    "optionSpec",
    "transformationSpecs",
    "transformationSpec",
    "scheduleSpec",
    "runSpec",
    "attributes",
    "permissionsInfo",
    "entitlementInfo",
    "policy",
];
const DATA_SET_FIELDS: &[&str] = &["name", "description", "schemaRef", "tags", "location", "enableErrorDiagnostics"];
const BATCH_FIELDS: &[&str] = &["status", "dataSetId", "flowId", "runId"];

impl Collection {
    /// The name in paths and in errors.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::SourceConnections => "sourceConnections",
            Self::TargetConnections => "targetConnections",
            Self::Flows => "flows",
            Self::Runs => "runs",
            Self::ConnectionSpecs => "connectionSpecs",
            Self::FlowSpecs => "flowSpecs",
            Self::DataSets => "dataSets",
            Self::Batches => "batches",
        }
    }

    /// What one of them is called in a sentence.
    #[must_use]
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Connections => "connection",
            Self::SourceConnections => "source connection",
            Self::TargetConnections => "target connection",
            Self::Flows => "flow",
            Self::Runs => "run",
            Self::ConnectionSpecs => "connection spec",
            Self::FlowSpecs => "flow spec",
            Self::DataSets => "data set",
            Self::Batches => "batch",
        }
    }

    /// Whether its resources have `state` and `version`; runs, specs and the Catalog's have neither (flow-service.md 17.1).
    #[must_use]
    pub const fn has_state(self) -> bool {
        matches!(self, Self::Connections | Self::SourceConnections | Self::TargetConnections | Self::Flows)
    }

    /// Whether its lists are paged by offset: the Catalog's (platform-services.md 2.2).
    #[must_use]
    pub const fn is_paged_by_offset(self) -> bool {
        matches!(self, Self::DataSets | Self::Batches)
    }

    /// Whether the root field of a path exists in documents of this collection (error 1449 otherwise).
    #[must_use]
    pub fn knows_field(self, root: &str) -> bool {
        let enveloped = !matches!(self, Self::ConnectionSpecs | Self::FlowSpecs);
        (enveloped && ENVELOPE_FIELDS.contains(&root))
            || (self.has_state() && matches!(root, "state" | "version"))
            || self.body_fields().contains(&root)
    }

    /// The root fields beside the envelope.
    const fn body_fields(self) -> &'static [&'static str] {
        match self {
            Self::Connections => CONNECTION_FIELDS,
            Self::SourceConnections => SOURCE_CONNECTION_FIELDS,
            Self::TargetConnections => TARGET_CONNECTION_FIELDS,
            Self::Flows => FLOW_FIELDS,
            Self::Runs => RUN_FIELDS,
            Self::ConnectionSpecs => CONNECTION_SPEC_FIELDS,
            Self::FlowSpecs => FLOW_SPEC_FIELDS,
            Self::DataSets => DATA_SET_FIELDS,
            Self::Batches => BATCH_FIELDS,
        }
    }
}

impl fmt::Display for Collection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Names one resource in an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceRef {
    /// Its collection.
    pub collection: Collection,
    /// Its id, as the caller wrote it.
    pub id: String,
}

impl ResourceRef {
    /// Names a resource.
    #[must_use]
    pub fn new(collection: Collection, id: impl fmt::Display) -> Self {
        Self { collection, id: id.to_string() }
    }
}

impl fmt::Display for ResourceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.collection.noun(), self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_is_named_in_a_sentence() {
        let reference = ResourceRef::new(Collection::SourceConnections, "x");
        assert_eq!(
            (reference.to_string(), reference.collection.to_string()),
            ("source connection x".into(), "sourceConnections".into())
        );
    }

    #[test]
    fn each_collection_knows_its_own_fields_only() {
        assert!(Collection::Flows.knows_field("scheduleParams") && Collection::Flows.knows_field("version"));
        assert!(!Collection::Runs.knows_field("version") && !Collection::Runs.knows_field("state"));
        assert!(
            Collection::ConnectionSpecs.knows_field("attributes") && !Collection::ConnectionSpecs.knows_field("etag")
        );
        assert!(!Collection::Connections.knows_field("scheduleParams"));
    }
}
