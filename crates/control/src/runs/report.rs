//! What services report of runs (flow-service.md 17.6).
//!
//! A report replaces what is shown of a run that is over. It decides nothing: whether rows have landed is told by batches
//! and offsets, so that no report can make a run read rows a second time (`repeat.rs`).

use headwaters_model::account::Role;
use headwaters_model::etag::Precondition;
use headwaters_model::flow::Flow;
use headwaters_model::id::RunId;
use headwaters_model::resource::Resource;
use headwaters_model::run::{Run, RunStatus};
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
        if caller.role != Role::Service {
            let reason = "only services report on runs: use the account of a service";
            return Err(CommandError::invalid(Cause::RunsByUser, "", reason));
        }
        if *expected == Precondition::None {
            let reason = "the header If-Match is missing: send the etag of the run";
            return Err(CommandError::invalid(Cause::IfMatchAbsent, "", reason));
        }
        let now_ms = self.clock.now_ms();
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
        let predecessors = command.fields.get("predecessors").cloned();
        replace_fields(&mut run.body, command.fields)?;
        known_predecessors(&mut tx, predecessors.as_ref()).await?;
        let replaced = run.touch(&caller.actor, now_ms);
        tx.replace_reported(&run, &replaced).await?;
        note(&mut tx, caller, Deed::Report, run.reference(), &run.etag, now_ms).await?;
        tx.commit().await?;
        Ok(run)
    }
}

/// Takes the fields of a report over into a run.
fn replace_fields(run: &mut Run, mut fields: Map<String, Value>) -> Result<(), CommandError> {
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
        run.parent_flow_run_id = Some(parent_of(run, &parent)?);
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

/// A run that repeats another goes on doing so: who repeats whom decides what may be read again.
fn parent_of(run: &Run, sent: &Value) -> Result<RunId, CommandError> {
    let pointer = "/parentFlowRunId";
    let Some(parent) = sent.as_str().and_then(|id| id.parse().ok()) else {
        return invalid(pointer, "is not the id of a run");
    };
    match run.parent_flow_run_id {
        Some(own) if own != parent => invalid(pointer, format!("the run repeats {own}, which no report can change")),
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

/// The runs and flows that a run followed from must be there.
async fn known_predecessors(tx: &mut Tx, predecessors: Option<&Value>) -> Result<(), CommandError> {
    for (at, predecessor) in predecessors.and_then(Value::as_array).into_iter().flatten().enumerate() {
        let named = |key: &str| predecessor.get(key).and_then(Value::as_str);
        let missing = |cause, key: &str, noun: &str| {
            let id = named(key).unwrap_or_default();
            let reason = format!("there is no {noun} {} in this sandbox", clipped(id));
            Err(CommandError::invalid(cause, format!("/predecessors/{at}/{key}"), reason))
        };
        let run = match named("flowRunId").and_then(|id| id.parse().ok()) {
            Some(id) => tx.get::<Run>(&id).await?,
            None => None,
        };
        if run.is_none() {
            return missing(Cause::UnknownPredecessorRun, "flowRunId", "run");
        }
        let flow = match named("flowId").and_then(|id| id.parse().ok()) {
            Some(id) => tx.get::<Flow>(&id).await?,
            None => None,
        };
        if flow.is_none() {
            return missing(Cause::UnknownPredecessorFlow, "flowId", "flow");
        }
    }
    Ok(())
}

fn invalid<T>(pointer: &str, reason: impl Into<String>) -> Result<T, CommandError> {
    Err(CommandError::invalid(Cause::InvalidValue, pointer, reason))
}
