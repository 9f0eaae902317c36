//! What services report of runs (flow-service.md 17.6).
//!
//! A report replaces what is shown of a run that is over. It decides nothing: whether rows have landed is told by batches
//! and offsets, and what a run reads and repeats by its origin (`RunOrigin`), which no report touches. So none can make a
//! run read other rows, or the same a second time (`repeat.rs`).

use std::collections::HashSet;

use headwaters_model::account::Role;
use headwaters_model::etag::Precondition;
use headwaters_model::id::{FlowId, RunId};
use headwaters_model::resource::Resource;
use headwaters_model::run::{Run, RunOrigin, RunStatus};
use headwaters_store::Tx;
use serde_json::{Map, Value};

use super::commands::ReportRun;
use super::on_demand::flow_named;
use crate::Control;
use crate::access::Caller;
use crate::audit::{Deed, note};
use crate::error::{Cause, CommandError, clipped};
use crate::life_cycle::{admit, find};

/// How large a report may be, bytes of JSON.
pub const REPORT_BYTES_MAX: usize = 256 * 1024;
/// How many entries each list of a report may have.
pub const REPORT_ENTRIES_MAX: usize = 1_000;

impl Caller {
    /// Refuses whoever is no service, because only services report on runs. Causes: `RunsByUser`.
    pub fn require_reporting(&self) -> Result<(), CommandError> {
        if self.role == Role::Service {
            return Ok(());
        }
        let reason = "only services report on runs: use the account of a service";
        Err(CommandError::invalid(Cause::RunsByUser, "", reason))
    }
}

impl Control {
    /// Replaces what is reported of a run (flow-service.md 17.6): its metrics, and what else is sent; fields that are left
    /// out stay.
    ///
    /// Causes: `RunsByUser`, `IfMatchAbsent`, `Missing`, `Stale`, `NotApplicable`, `NoFlow`, `UnknownFlow`, `RunStatus`,
    /// `InvalidValue`, `UnknownPredecessorRun`, `UnknownPredecessorFlow`.
    pub async fn report_run(
        &self,
        caller: &Caller,
        id: &str,
        expected: &Precondition,
        command: ReportRun,
    ) -> Result<Resource<Run>, CommandError> {
        caller.require_reporting()?;
        if *expected == Precondition::None {
            let reason = "the header If-Match is missing: send the etag of the run";
            return Err(CommandError::invalid(Cause::IfMatchAbsent, "", reason));
        }
        let now_ms = self.clock.now_ms();
        let known = Known::among(self.store.read(&caller.scope).await?, &command).await?;
        let mut tx = self.store.write(&caller.scope).await?;
        let mut run = find::<Run>(&mut tx, id).await?;
        admit(&run, expected, self.settings.strict.matching())?;
        let flow = flow_named(&mut tx, command.flow_id.as_deref()).await?;
        if flow.id != run.body.flow_id {
            return invalid("/flowId", format!("{} is a run of the flow {}", run.reference(), run.body.flow_id));
        }
        if !run.body.status().is_final() {
            let status = run.body.status();
            let reason = format!("{} is {status}: until it is over only its worker reports on it", run.reference());
            return Err(CommandError::invalid(Cause::NotApplicable, "", reason));
        }
        let origin = tx.run_origin(run.id).await?;
        let predecessors = command.fields.get("predecessors").cloned();
        replace_fields(&mut run.body, &origin, command.fields)?;
        known.check(predecessors.as_ref())?;
        let replaced = run.touch(&caller.actor, now_ms);
        tx.replace_reported(&run, &replaced).await?;
        note(&mut tx, caller, Deed::Report, run.reference(), &run.etag, now_ms).await?;
        tx.commit().await?;
        Ok(run)
    }
}

/// Takes the fields of a report over into a run.
fn replace_fields(run: &mut Run, origin: &RunOrigin, mut fields: Map<String, Value>) -> Result<(), CommandError> {
    let bytes = serde_json::to_vec(&fields).map_or(usize::MAX, |json| json.len());
    if bytes > REPORT_BYTES_MAX {
        return invalid("", format!("the report has {bytes} bytes, {REPORT_BYTES_MAX} are the most"));
    }
    fields.retain(|_, value| !value.is_null());
    run.metrics = metrics(fields.remove("metrics"))?;
    match fields.remove("providerRefId") {
        None => {}
        Some(Value::String(name)) if !name.is_empty() => run.provider_ref_id = name,
        Some(_) => return invalid("/providerRefId", "must be a text"),
    }
    if let Some(parent) = fields.remove("parentFlowRunId") {
        run.parent_flow_run_id = Some(parent_of(run, origin, &parent)?);
    }
    match fields.remove("params") {
        None => {}
        Some(Value::Object(params)) => run.params = Some(params),
        Some(_) => return invalid("/params", "must be an object"),
    }
    if let Some(children) = list(&mut fields, "childFlowRunIds", Value::is_string, "ids of runs")? {
        run.child_flow_run_ids = Some(children.into());
    }
    if let Some(predecessors) = list(&mut fields, "predecessors", Value::is_object, "objects")? {
        run.predecessors = Some(predecessors.into());
    }
    if let Some(activities) = list(&mut fields, "activities", Value::is_object, "objects")? {
        run.activities = activities;
    }
    if let Some(types) = list(&mut fields, "recordTypes", |value| value.is_string() || value.is_object(), "texts")? {
        run.record_types = Some(types.into());
    }
    Ok(())
}

/// A run that repeats another goes on showing it. Of a run that repeats none, a service may say what it likes.
fn parent_of(run: &Run, origin: &RunOrigin, sent: &Value) -> Result<RunId, CommandError> {
    let pointer = "/parentFlowRunId";
    let Some(parent) = sent.as_str().and_then(|id| id.parse().ok()) else {
        return invalid(pointer, "is not the id of a run");
    };
    match run.parent_flow_run_id {
        Some(own) if own != parent && origin.root.is_some() => {
            invalid(pointer, format!("the run repeats {own}, which no report can change"))
        }
        _ => Ok(parent),
    }
}

/// The metrics with their status in the form that is shown. `customSummary` is read-only and left out.
fn metrics(sent: Option<Value>) -> Result<Value, CommandError> {
    let mut metrics = match sent {
        None => Map::new(),
        Some(Value::Object(metrics)) => metrics,
        Some(_) => return invalid("/metrics", "must be an object"),
    };
    metrics.remove("customSummary");
    if let Some((key, _)) = metrics.iter().find(|(_, summary)| !summary.is_object()) {
        return invalid(&format!("/metrics/{}", clipped(key)), "must be an object");
    }
    let mut metrics = Value::Object(metrics);
    let sent = metrics.pointer("/statusSummary/status").and_then(Value::as_str);
    let status = sent.and_then(final_status).ok_or_else(|| {
        let reason = match sent {
            Some(word) => format!("{} is no status of a run that is over: it can be success or failed", clipped(word)),
            None => "is missing: it can be success or failed".to_owned(),
        };
        CommandError::invalid(Cause::RunStatus, "/metrics/statusSummary/status", reason)
    })?;
    metrics["statusSummary"]["status"] = status.name().into();
    Ok(metrics)
}

/// A status of a run that is over: ours, or a word of the published vocabulary of actions (flow-service.md 10.2, 17.2).
fn final_status(word: &str) -> Option<RunStatus> {
    match word.to_ascii_uppercase().as_str() {
        "SUCCESS" | "COMPLETED" | "PARTIAL_SUCCESS" => Some(RunStatus::Success),
        "FAILED" | "PARTIAL_FAILURE" => Some(RunStatus::Failed),
        _ => None,
    }
}

/// The entries of a list of a report, each of the form that is expected.
fn list(
    fields: &mut Map<String, Value>,
    key: &str,
    fits: fn(&Value) -> bool,
    expected: &str,
) -> Result<Option<Vec<Value>>, CommandError> {
    match fields.remove(key) {
        None => Ok(None),
        Some(Value::Array(entries)) if entries.len() > REPORT_ENTRIES_MAX => {
            invalid(&format!("/{key}"), format!("has {} entries, {REPORT_ENTRIES_MAX} are the most", entries.len()))
        }
        Some(Value::Array(entries)) if entries.iter().all(fits) => Ok(Some(entries)),
        Some(_) => invalid(&format!("/{key}"), format!("must be a list of {expected}")),
    }
}

/// Those of the runs and flows which a report says its run followed from that are there. They are looked up before the
/// report is written, in one query for each kind: while a report is written, nobody else writes.
struct Known {
    runs: HashSet<RunId>,
    flows: HashSet<FlowId>,
}

impl Known {
    async fn among(mut tx: Tx, command: &ReportRun) -> Result<Self, CommandError> {
        let sent = command.fields.get("predecessors").and_then(Value::as_array);
        // A longer list is refused.
        let sent = || sent.into_iter().flatten().take(REPORT_ENTRIES_MAX);
        let (runs, flows) =
            (sent().filter_map(predecessor_run).collect(), sent().filter_map(predecessor_flow).collect());
        Ok(Self { runs: tx.runs_among(&runs).await?, flows: tx.flows_among(&flows).await? })
    }

    fn check(&self, predecessors: Option<&Value>) -> Result<(), CommandError> {
        for (at, predecessor) in predecessors.and_then(Value::as_array).into_iter().flatten().enumerate() {
            let missing = |cause, key: &str, noun: &str| {
                let id = predecessor.get(key).and_then(Value::as_str).unwrap_or_default();
                let reason = format!("there is no {noun} {} in this sandbox", clipped(id));
                Err(CommandError::invalid(cause, format!("/predecessors/{at}/{key}"), reason))
            };
            if predecessor_run(predecessor).is_none_or(|id| !self.runs.contains(&id)) {
                return missing(Cause::UnknownPredecessorRun, "flowRunId", "run");
            }
            if predecessor_flow(predecessor).is_none_or(|id| !self.flows.contains(&id)) {
                return missing(Cause::UnknownPredecessorFlow, "flowId", "flow");
            }
        }
        Ok(())
    }
}

fn predecessor_run(predecessor: &Value) -> Option<RunId> {
    predecessor.get("flowRunId")?.as_str()?.parse().ok()
}

fn predecessor_flow(predecessor: &Value) -> Option<FlowId> {
    predecessor.get("flowId")?.as_str()?.parse().ok()
}

fn invalid<T>(pointer: &str, reason: impl Into<String>) -> Result<T, CommandError> {
    Err(CommandError::invalid(Cause::InvalidValue, pointer, reason))
}
