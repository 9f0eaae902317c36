//! Runs of flows (flow-service.md 17).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::flow::LastRunDetails;
use crate::id::{FlowId, RunId};
use crate::metrics::{RunRecord, Window};
use crate::resource::{Collection, Kind, Resource, UnknownName};
use crate::spec::SpecRef;
use crate::window::Windowed;

/// How far a run is; only these four values are ever shown (flow-service.md 17.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RunStatus {
    /// Made, not yet claimed by a worker.
    Scheduled,
    /// Claimed; its attempts follow each other.
    InProgress,
    /// Over, with every row landed that had to.
    Success,
    /// Over, without any row landed.
    Failed,
}

/// The body of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// The flow that it is a run of.
    pub flow_id: FlowId,
    /// The kind of flow.
    pub flow_spec: SpecRef,
    /// An opaque name, in the form of the published samples.
    pub provider_ref_id: String,
    /// The run that a re-trigger repeats. Shown only: the family of a run is in its [`RunOrigin`].
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub parent_flow_run_id: Option<RunId>,
    /// The runs that followed from it, as reported.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub child_flow_run_ids: Option<Value>,
    /// The runs `{flowId, flowRunId, flowSpec}` that it followed from, as reported.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub predecessors: Option<Value>,
    /// The window, for an on-demand run as sent. Shown only, and reports replace it: what a run reads is in its
    /// [`RunOrigin`].
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub params: Option<Map<String, Value>>,
    /// Counters, durations and status (flow-service.md 17.3).
    pub metrics: Value,
    /// Copy and promotion (flow-service.md 17.4).
    #[serde(default)]
    pub activities: Vec<Value>,
    /// The kinds of records that it carried, as reported.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub record_types: Option<Value>,
}

/// What the service itself knows of a run, and decides by: what it reads, and whether it repeats another.
///
/// It is stored beside the run, written once when the run is made, and never shown. Whatever is shown of a run a service
/// may replace (flow-service.md 17.6), so that nothing of that can decide what is read or landed again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunOrigin {
    /// The window that it was asked to read. It names its column itself, so that a later change of the flow changes
    /// nothing of what it reads.
    pub windowed: Option<Windowed>,
    /// It reads what has come since the flow's watermark, up to this instant of its schedule (milliseconds since 1970), and
    /// moves the watermark. With neither this nor a window it reads the whole table; with both, the window.
    pub instant_ms: Option<i64>,
    /// The run that its chain of re-triggers began with; none for a run that repeats no other.
    pub root: Option<RunId>,
}

impl RunOrigin {
    /// Whether it reads on from its flow's watermark, and moves it.
    #[must_use]
    pub const fn reads_on(&self) -> bool {
        self.instant_ms.is_some() && self.windowed.is_none()
    }

    /// That of a run that repeats the run `id`, which has this one: it reads the same, and is of the same family.
    #[must_use]
    pub fn repeated(&self, id: RunId) -> Self {
        Self { root: Some(self.root.unwrap_or(id)), ..self.clone() }
    }
}

impl RunStatus {
    /// The value on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::InProgress => "inProgress",
            Self::Success => "success",
            Self::Failed => "failed",
        }
    }

    /// Whether nothing more will happen to the run.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Success | Self::Failed)
    }
}

impl fmt::Display for RunStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for RunStatus {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        let all = [Self::Scheduled, Self::InProgress, Self::Success, Self::Failed];
        all.into_iter().find(|status| status.name() == name).ok_or_else(|| UnknownName(name.to_owned()))
    }
}

impl Run {
    /// A run that waits for a worker.
    #[must_use]
    pub fn scheduled(flow_id: FlowId, flow_spec: SpecRef, params: Option<Map<String, Value>>) -> Self {
        let provider_ref_id = format!("M-{flow_id}-incremental-0:{}", RunId::mint());
        let RunRecord { metrics, activities } = RunRecord::scheduled();
        Self {
            flow_id,
            flow_spec,
            provider_ref_id,
            parent_flow_run_id: None,
            child_flow_run_ids: None,
            predecessors: None,
            params,
            metrics,
            activities,
            record_types: None,
        }
    }

    /// Takes over what there is to say about how far it is.
    pub fn record(&mut self, record: RunRecord) {
        self.metrics = record.metrics;
        self.activities = record.activities;
    }

    /// Adds to what a person should know, one sentence each. A record without a status (a report may replace it) gets none.
    pub fn add_notes(&mut self, notes: impl IntoIterator<Item = String>) {
        let Some(Value::Object(summary)) = self.metrics.pointer_mut("/statusSummary") else { return };
        let extensions = summary.entry("extensions").or_insert_with(|| Value::Object(Map::new()));
        let Value::Object(extensions) = extensions else { return };
        let noted = extensions.entry("notes").or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(noted) = noted {
            noted.extend(notes.into_iter().map(Value::from));
        }
    }

    /// Shows which moments it covers, where its parameters do not say so (flow-service.md 17.1).
    pub fn show_window(&mut self, window: Option<Window>) {
        if let (None, Some(window)) = (&self.params, window) {
            self.params = Some(window.params());
        }
    }

    /// How far it is. A record that names no known status counts as failed: nothing is waited for.
    #[must_use]
    pub fn status(&self) -> RunStatus {
        let name = self.metrics.pointer("/statusSummary/status").and_then(Value::as_str);
        name.and_then(|name| name.parse().ok()).unwrap_or(RunStatus::Failed)
    }

    /// When it began, milliseconds since 1970.
    #[must_use]
    pub fn started_at_ms(&self) -> Option<i64> {
        self.metrics.pointer("/durationSummary/startedAtUTC")?.as_i64()
    }

    /// When it ended, milliseconds since 1970.
    #[must_use]
    pub fn completed_at_ms(&self) -> Option<i64> {
        self.metrics.pointer("/durationSummary/completedAtUTC")?.as_i64()
    }
}

impl Resource<Run> {
    /// The run as its flow shows it.
    #[must_use]
    pub fn last_run_details(&self) -> LastRunDetails {
        LastRunDetails {
            id: self.id,
            state: self.body.status(),
            started_at_ms: self.body.started_at_ms(),
            completed_at_ms: self.body.completed_at_ms(),
        }
    }
}

impl Kind for Run {
    type Id = RunId;
    const COLLECTION: Collection = Collection::Runs;

    fn mint() -> RunId {
        RunId::mint()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::spec;
    use crate::window::DeltaColumn;

    #[test]
    fn a_run_is_as_far_as_its_record_says() {
        let mut run = Run::scheduled(FlowId::mint(), SpecRef::new(spec::CRM_TO_AEP), None);
        assert_eq!((run.status(), run.started_at_ms()), (RunStatus::Scheduled, None));
        assert!(run.provider_ref_id.starts_with(&format!("M-{}-incremental-0:", run.flow_id)));
        run.record(RunRecord::begun(7));
        assert_eq!((run.status(), run.started_at_ms(), run.completed_at_ms()), (RunStatus::InProgress, Some(7), None));
        assert!(!run.status().is_final());
    }

    #[test]
    fn repeats_of_repeats_go_back_to_the_same_run_and_read_the_same() {
        let delta = DeltaColumn { name: "at".into(), date_format: None, timezone: None };
        let windowed = Some(Windowed { window: Window { start_ms: 0, end_ms: 1 }, delta });
        let first = RunOrigin { windowed, ..RunOrigin::default() };
        let (root, second) = (RunId::mint(), RunId::mint());
        let repeat = first.repeated(root);
        assert_eq!((repeat.root, &repeat.windowed), (Some(root), &first.windowed));
        assert_eq!(repeat.repeated(second), repeat);
    }

    #[test]
    fn a_record_that_names_no_known_status_is_waited_for_by_nobody() {
        let mut run = Run::scheduled(FlowId::mint(), SpecRef::new(spec::CRM_TO_AEP), None);
        run.metrics = json!({ "statusSummary": { "status": "PARTIAL_SUCCESS" } });
        assert!(run.status().is_final());
    }
}
