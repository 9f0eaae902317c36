//! What can be asked of runs, as plain values (flow-service.md 17.5, 17.6).

use serde_json::{Map, Value};

/// Makes a run of a flow on demand. What is not there is checked by control, not by the caller.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CreateRun {
    /// Mandatory.
    pub flow_id: Option<String>,
    /// `startTime`, `windowStartTime`, `windowEndTime`, `deltaColumn`, as sent.
    pub params: Option<Map<String, Value>>,
}

/// Replaces what is reported of a run (service tokens only).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReportRun {
    /// Mandatory; the run's own flow.
    pub flow_id: Option<String>,
    /// The fields of the body as sent: `providerRefId`, `parentFlowRunId`, `childFlowRunIds`, `params`,
    /// `predecessors`, `metrics`, `activities`, `recordTypes`.
    pub fields: Map<String, Value>,
}
