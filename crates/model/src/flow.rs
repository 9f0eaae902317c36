//! Flows: from which source into which target, when, and how (flow-service.md 16).

mod options;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub use self::options::{COMMIT_PER_SPLIT, CONSISTENCY, Consistency, RunOptions, SCHEMA_CHANGE, SchemaChange, VERIFY};
use crate::id::{FlowId, RunId, SourceConnectionId, TargetConnectionId};
use crate::resource::{Collection, Kind, LastOperation};
use crate::run::RunStatus;
use crate::source_connection::InheritedConnection;
use crate::spec::SpecRef;
use crate::window::DeltaColumn;

/// The transformation that names the delta column (flow-service.md 16.2).
const COPY: &str = "Copy";

/// The body of a flow. What the API echoes verbatim is kept as it was sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Flow {
    /// Its name; need not be unique.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub name: Option<String>,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub description: Option<String>,
    /// The kind of flow.
    pub flow_spec: SpecRef,
    /// Exactly one, none only in a draft.
    #[serde(default)]
    pub source_connection_ids: Vec<SourceConnectionId>,
    /// Exactly one, none only in a draft.
    #[serde(default)]
    pub target_connection_ids: Vec<TargetConnectionId>,
    /// What is taken over from its connections.
    pub inherited_attributes: FlowInheritance,
    /// Options as sent (flow-service.md 16.5).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub options: Option<Map<String, Value>>,
    /// The schedule as sent (flow-service.md 16.4); absent only in a draft.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub schedule_params: Option<Map<String, Value>>,
    /// The transformations as sent (flow-service.md 16.2).
    #[serde(default)]
    pub transformations: Vec<Value>,
    /// Labels as sent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub labels: Option<Value>,
    /// Policy as sent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub policy: Option<Value>,
    /// Record types as sent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub record_types: Option<Value>,
    /// Tags and folder as sent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub unified_metadata: Option<Value>,
    /// What was last done to it.
    pub last_operation: LastOperation,
    /// Its latest run; absent before the first. Written by runs, without a new version (flow-service.md 4).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_run_details: Option<LastRunDetails>,
}

/// What a flow takes over from its connections (flow-service.md 16.3).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FlowInheritance {
    /// `isSourceFlow: true`.
    pub properties: Value,
    /// Its source connections with their base connections.
    pub source_connections: Vec<InheritedConnection>,
    /// Its target connections.
    pub target_connections: Vec<InheritedConnection>,
}

impl FlowInheritance {
    /// The inheritance of a flow that reads a source.
    #[must_use]
    pub fn new(sources: Vec<InheritedConnection>, targets: Vec<InheritedConnection>) -> Self {
        Self { properties: json!({ "isSourceFlow": true }), source_connections: sources, target_connections: targets }
    }
}

/// The latest run of a flow (flow-service.md 16.3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastRunDetails {
    /// The run.
    pub id: RunId,
    /// Its status.
    pub state: RunStatus,
    /// When it began, milliseconds since 1970; absent while it waits.
    #[serde(rename = "startedAtUTC", skip_serializing_if = "Option::is_none", default)]
    pub started_at_ms: Option<i64>,
    /// When it ended, milliseconds since 1970; absent while it runs.
    #[serde(rename = "completedAtUTC", skip_serializing_if = "Option::is_none", default)]
    pub completed_at_ms: Option<i64>,
}

impl Flow {
    /// The parameters of the first transformation of this name.
    #[must_use]
    pub fn transformation(&self, name: &str) -> Option<&Value> {
        let named = |entry: &&Value| entry.get("name").and_then(Value::as_str) == Some(name);
        self.transformations.iter().find(named).map(|entry| entry.get("params").unwrap_or(&Value::Null))
    }

    /// The column by which windows are read; a flow that runs just once has one from its first run on demand on
    /// (flow-service.md 16.2, 17.5).
    #[must_use]
    pub fn delta_column(&self) -> Option<DeltaColumn> {
        DeltaColumn::read(self.transformation(COPY)?.get("deltaColumn")?).ok()
    }

    /// Names the delta column, as a client sent it. Returns the instruction of a patch that does the same.
    pub fn set_delta_column(&mut self, sent: &Value) -> Value {
        let named = |entry: &Value| entry.get("name").and_then(Value::as_str) == Some(COPY);
        let entry = json!({ "name": COPY, "params": { "deltaColumn": sent } });
        match self.transformations.iter().position(named) {
            Some(at) => {
                if let Some(place) = self.transformations.get_mut(at) {
                    place.clone_from(&entry);
                }
                json!({ "op": "replace", "path": format!("/transformations/{at}"), "value": entry })
            }
            None => {
                self.transformations.push(entry.clone());
                json!({ "op": "add", "path": "/transformations/-", "value": entry })
            }
        }
    }

    /// How its runs read and land.
    #[must_use]
    pub fn run_options(&self) -> RunOptions {
        RunOptions::of(self.options.as_ref())
    }

    /// The share of bad rows, in percent, below which a run still succeeds (flow-service.md 16.5).
    #[must_use]
    pub fn partial_ingestion_percent(&self) -> Option<f64> {
        self.options.as_ref()?.get("partialIngestionPercent")?.as_f64()
    }
}

impl Kind for Flow {
    type Id = FlowId;
    const COLLECTION: Collection = Collection::Flows;

    fn mint() -> FlowId {
        FlowId::mint()
    }

    /// The link to its runs (flow-service.md 16.3).
    fn derived(id: &FlowId) -> Option<(&'static str, String)> {
        Some(("runs", format!("/runs?property=flowId=={id}")))
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_json_snapshot;

    use super::*;
    use crate::account::{Account, Role};
    use crate::id::{ConnectionId, OrgId};
    use crate::resource::{Resource, State};
    use crate::sandbox::Sandbox;
    use crate::spec;

    fn flow(as_sent: Value) -> Flow {
        let connection =
            |id: String, spec| InheritedConnection { id, connection_spec: SpecRef::new(spec), base_connection: None };
        let base = connection(ConnectionId::fixed(1).to_string(), spec::MYSQL);
        let source = connection(SourceConnectionId::fixed(2).to_string(), spec::MYSQL);
        let source = InheritedConnection { base_connection: Some(Box::new(base)), ..source };
        let target = connection(TargetConnectionId::fixed(3).to_string(), spec::DATA_LAKE);
        let mut body = as_sent;
        body["flowSpec"] = json!({ "id": spec::CRM_TO_AEP });
        body["sourceConnectionIds"] = json!([SourceConnectionId::fixed(2)]);
        body["targetConnectionIds"] = json!([TargetConnectionId::fixed(3)]);
        body["inheritedAttributes"] = json!(FlowInheritance::new(vec![source], vec![target]));
        body["lastOperation"] = json!(LastOperation::create(State::Enabled, 1_700_000_000_000));
        serde_json::from_value(body).unwrap()
    }

    fn recurring() -> Value {
        json!({
            "name": "orders", "colour": "unknown fields are ignored",
            "scheduleParams": { "startTime": "1612310466", "interval": 15, "frequency": "minute", "endTime": null },
            "options": { "partialIngestionPercent": 5, "errorDiagnosticsEnabled": true, "isSampleDataflow": "kept" },
            "transformations": [
                { "name": "Mapping", "params": { "mappingVersion": "0", "mappingId": "m" } },
                { "name": "Copy", "params": { "deltaColumn": { "name": "updated", "dateFormat": "YYYY-MM-DD" } }, "x": 1 },
            ],
            "labels": [],
        })
    }

    #[test]
    fn a_flow_is_shown_with_everything_as_it_was_sent() {
        let account = Account::mint(OrgId::mint(), "tests", Role::Manage, 0);
        let scope = Sandbox::prod(account.org.clone(), account.user_id.clone(), 0).scope();
        let mut flow = Resource::new(scope, State::Enabled, flow(recurring()), &account.actor(), 1_700_000_000_000);
        flow.id = FlowId::fixed(4);
        assert_json_snapshot!(flow.shown(), {
            ".createdBy" => "[user]", ".updatedBy" => "[user]", ".createdClient" => "[client]",
            ".updatedClient" => "[client]", ".sandboxId" => "[sandbox]", ".imsOrgId" => "[org]",
            ".version" => "[etag]", ".etag" => "[etag]",
        });
        assert_eq!(flow.shown()["version"], flow.shown()["etag"]);
    }

    #[test]
    fn transformations_are_found_by_their_names() {
        let flow = flow(recurring());
        assert_eq!(flow.transformation("Mapping"), Some(&json!({ "mappingVersion": "0", "mappingId": "m" })));
        assert_eq!(flow.transformation("Wash"), None);
        assert_eq!(flow.transformation("Copy").unwrap()["deltaColumn"]["name"], "updated");
        assert_eq!(flow.partial_ingestion_percent(), Some(5.0));
        assert_eq!(flow.delta_column().unwrap().name, "updated");
    }

    #[test]
    fn a_flow_gets_a_delta_column_in_place_of_a_copy_that_names_none() {
        let mut flow = flow(json!({ "transformations": [{ "name": "Copy", "params": {} }] }));
        assert_eq!(flow.delta_column(), None);
        let copy = json!({ "name": "Copy", "params": { "deltaColumn": { "name": "at" } } });
        let op = flow.set_delta_column(&json!({ "name": "at" }));
        assert_eq!(op, json!({ "op": "replace", "path": "/transformations/0", "value": copy }));
        assert_eq!(flow.transformation("Copy"), Some(&copy["params"]));
        flow.transformations.clear();
        assert_eq!(flow.set_delta_column(&json!({ "name": "at" }))["path"], "/transformations/-");
        assert_eq!((flow.transformations.clone(), flow.delta_column().unwrap().name), (vec![copy], "at".to_owned()));
    }
}
