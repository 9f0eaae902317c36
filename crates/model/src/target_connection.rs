//! Target connections: where rows land (flow-service.md 15).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::id::TargetConnectionId;
use crate::resource::{Collection, Kind, LastOperation};
use crate::spec::SpecRef;

/// The body of a target connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetConnection {
    /// Its name; need not be unique, the schema does not require one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub name: Option<String>,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub description: Option<String>,
    /// Schema and format as sent.
    #[serde(default)]
    pub data: Map<String, Value>,
    /// The kind of target: the data lake.
    pub connection_spec: SpecRef,
    /// The parameters as sent: `dataSetId`.
    #[serde(default)]
    pub params: Map<String, Value>,
    /// Nothing is inherited by a target; the key is part of the published shape.
    #[serde(default)]
    pub inherited_attributes: Map<String, Value>,
    /// What was last done to it.
    pub last_operation: LastOperation,
}

impl TargetConnection {
    /// The data set that rows land in.
    #[must_use]
    pub fn data_set_id(&self) -> Option<&str> {
        self.params.get("dataSetId")?.as_str()
    }

    /// The schema that the target names, as sent: `(id, version)`.
    #[must_use]
    pub fn schema(&self) -> Option<(&str, Option<&str>)> {
        let schema = self.data.get("schema")?;
        Some((schema.get("id")?.as_str()?, schema.get("version").and_then(Value::as_str)))
    }
}

impl Kind for TargetConnection {
    type Id = TargetConnectionId;
    const COLLECTION: Collection = Collection::TargetConnections;

    fn mint() -> TargetConnectionId {
        TargetConnectionId::mint()
    }
}
