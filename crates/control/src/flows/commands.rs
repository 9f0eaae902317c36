//! What can be asked of flows, as plain values (flow-service.md 16).

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::connections::SpecInput;

/// Makes a flow. What is not there is checked by control, not by the caller.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateFlow {
    /// Optional in the published schema.
    pub name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Mandatory.
    pub flow_spec: Option<SpecInput>,
    /// Exactly one, but in a draft.
    pub source_connection_ids: Option<Vec<String>>,
    /// Exactly one, but in a draft.
    pub target_connection_ids: Option<Vec<String>>,
    /// Entries `{name, params}`.
    pub transformations: Option<Vec<Value>>,
    /// Mandatory but in a draft.
    pub schedule_params: Option<Map<String, Value>>,
    /// Checked against the flow spec.
    pub options: Option<Map<String, Value>>,
    /// Stored and echoed.
    pub labels: Option<Value>,
    /// Stored and echoed.
    pub policy: Option<Value>,
    /// Stored and echoed.
    pub record_types: Option<Value>,
    /// Stored and echoed.
    pub unified_metadata: Option<Value>,
    /// `state` as sent; forbidden in a new flow.
    #[serde(skip)]
    pub state: Option<Value>,
    /// Whether it is asked for as a draft.
    pub draft: bool,
}
