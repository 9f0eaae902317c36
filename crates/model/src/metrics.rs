//! The record of a run: its metrics and activities in the published shapes (flow-service.md 17.3, 17.4).
//!
//! Pure functions from what a run did to what is shown of it. A key is absent when its value is unknown, never 0.
//!
//! **Invariant.** Of a run that ended well `inputRecordCount = outputRecordCount + failedRecordCount`, and
//! `outputRecordCount = createdRecordCount`: rows are only ever added, and a row that was read is landed or rejected.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::diagnostic::Diagnostics;
use crate::id::{BatchId, RunId, SourceConnectionId, TargetConnectionId};
use crate::job::{Failure, Landed, Stage, Totals};
use crate::offset::Ordinal;
use crate::run::RunStatus;

/// The id of the copy activity, the same in every record.
pub const COPY_ACTIVITY: &str = "4f008a00-3a04-11eb-adc1-0242ac120002";
/// The id of the promotion activity, the same in every record.
pub const PROMOTION_ACTIVITY: &str = "37b34f84-1ada-11eb-adc1-0242ac120002";

/// The code of rows that could not be ingested, within the errors of a promotion (flow-service.md 17.4).
const BAD_ROWS: &str = "INGEST-1212-400";
/// How many attempts a record shows: the latest.
pub const ATTEMPTS_SHOWN_MAX: usize = 20;

/// What a run shows of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRecord {
    /// Section 17.3.
    pub metrics: Value,
    /// Section 17.4.
    pub activities: Vec<Value>,
}

/// The moments of the source that a run covers, milliseconds since 1970, half open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// The first moment.
    pub start_ms: i64,
    /// The first moment that is not covered.
    pub end_ms: i64,
}

/// What a run is about: the same for every shape of its record. It is stored with a pending offset, so that a run can
/// tell its story even when its flow is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunFacts {
    /// The run.
    pub run: RunId,
    /// What the source is called, e.g. `MySQL`.
    pub source_label: String,
    /// What it reads.
    pub source: SourceConnectionId,
    /// Where it lands.
    pub target: TargetConnectionId,
    /// The batch that its rows belong to.
    pub batch: BatchId,
    /// Whether its flow runs just once.
    pub once: bool,
    /// What it covers; none for a whole table.
    pub window: Option<Window>,
    /// When it began, milliseconds since 1970.
    pub started_at_ms: i64,
}

/// When the two activities of a run ended, milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// When the last file was written.
    pub landed_at_ms: i64,
    /// When it was over.
    pub completed_at_ms: i64,
}

impl Ended {
    /// The same for a run that began then: a clock that was set back meanwhile makes no run end before it began.
    fn after(self, started_at_ms: i64) -> Self {
        let landed_at_ms = self.landed_at_ms.max(started_at_ms);
        Self { landed_at_ms, completed_at_ms: self.completed_at_ms.max(landed_at_ms) }
    }
}

/// One attempt of a run, as its record shows it (product.md, "Additions to the wire").
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShownAttempt {
    /// Its number in the flow.
    pub ordinal: Ordinal,
    /// When it began, milliseconds since 1970.
    #[serde(rename = "startedAtUTC")]
    pub started_at_ms: i64,
    /// When it ended, milliseconds since 1970; none while it is at work, and of one that died with its process.
    #[serde(rename = "completedAtUTC", skip_serializing_if = "Option::is_none")]
    pub ended_at_ms: Option<i64>,
    /// Why it broke.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Shows in the metrics of a run how far it has got, and leaves all else as it is.
pub fn show_counters(metrics: &mut Value, so_far: &Totals) {
    let Some(metrics) = metrics.as_object_mut() else { return };
    let sizes = json!({ "inputBytes": so_far.bytes_in, "outputBytes": so_far.bytes_out });
    metrics.insert("sizeSummary".to_owned(), sizes);
    metrics.insert("recordSummary".to_owned(), json!({ "inputRecordCount": so_far.rows_in }));
}

/// Shows the attempts of a run, the oldest first, where they tell something: more than one, or one that broke.
pub fn show_attempts(metrics: &mut Value, attempts: &[ShownAttempt]) {
    if attempts.len() < 2 && attempts.iter().all(|attempt| attempt.error.is_none()) {
        return;
    }
    let Some(summary) = metrics.get_mut("statusSummary").and_then(Value::as_object_mut) else { return };
    let extensions = summary.entry("extensions").or_insert_with(|| json!({}));
    if let Some(extensions) = extensions.as_object_mut() {
        let latest = &attempts[attempts.len().saturating_sub(ATTEMPTS_SHOWN_MAX)..];
        extensions.insert("attempts".to_owned(), json!(latest));
    }
}

/// The code of a run's error (flow-service.md 17.4).
#[must_use]
pub const fn failure_code(stage: Stage) -> &'static str {
    match stage {
        Stage::Source => "CONNECTOR-1001-500",
        Stage::Data => "CONNECTOR-2001-500",
        Stage::Lake => "CONNECTOR-3001-500",
    }
}

impl RunRecord {
    /// A run that waits.
    #[must_use]
    pub fn scheduled() -> Self {
        Self { metrics: json!({ "statusSummary": { "status": RunStatus::Scheduled } }), activities: Vec::new() }
    }

    /// A run that was just claimed.
    #[must_use]
    pub fn begun(started_at_ms: i64) -> Self {
        let metrics = json!({
            "durationSummary": { "startedAtUTC": started_at_ms },
            "statusSummary": { "status": RunStatus::InProgress },
        });
        Self { metrics, activities: Vec::new() }
    }

    /// A run at work, with its counters so far.
    #[must_use]
    pub fn in_progress(started_at_ms: i64, so_far: &Totals) -> Self {
        let mut record = Self::begun(started_at_ms);
        show_counters(&mut record.metrics, so_far);
        record
    }

    /// A run that ended well: without a promotion when there were no rows.
    #[must_use]
    pub fn success(facts: &RunFacts, landed: &Landed, ended: Ended) -> Self {
        let ended = ended.after(facts.started_at_ms);
        if landed.totals.rows_in == 0 {
            return Self::no_rows(facts, &landed.notes, ended);
        }
        let Totals { rows_rejected, bytes_in, bytes_out, .. } = landed.totals;
        let errors = tolerated(rows_rejected);
        let metrics = json!({
            "durationSummary": duration(facts.started_at_ms, ended.completed_at_ms),
            "latencySummary": {},
            "sizeSummary": { "inputBytes": bytes_in, "outputBytes": bytes_out },
            "recordSummary": records(&landed.totals, &landed.diagnostics),
            "fileSummary": {
                "inputFileCount": 1,
                "outputFileCount": landed.files.len(),
                "activityRefs": [PROMOTION_ACTIVITY],
            },
            "statusSummary": status(RunStatus::Success, &errors, PROMOTION_ACTIVITY, &landed.notes),
        });
        let copied = copy_succeeded(facts, &landed.totals, ended.landed_at_ms);
        Self { metrics, activities: vec![copied, promotion_succeeded(facts, landed, &errors, ended)] }
    }

    /// A run that broke. `so_far` are the counters of its last attempt, where it got so far as to read; `visible` is what
    /// earlier commits of it have made visible all the same.
    #[must_use]
    pub fn failed(
        facts: &RunFacts,
        failure: &Failure,
        so_far: Option<&Totals>,
        visible: &Landed,
        notes: &[String],
        ended: Ended,
    ) -> Self {
        let ended = ended.after(facts.started_at_ms);
        let activity = if failure.stage == Stage::Source { COPY_ACTIVITY } else { PROMOTION_ACTIVITY };
        let error = json!({ "code": failure_code(failure.stage), "message": failure.message });
        let mut summary = status(RunStatus::Failed, std::slice::from_ref(&error), activity, notes);
        summary["extensions"]["errorDetail"] = detail(failure).into();
        let mut records = json!({ "failedInfo": [&error] });
        let mut sizes = json!({});
        if let Some(totals) = so_far {
            records["inputRecordCount"] = totals.rows_in.into();
            if totals.rows_rejected > 0 {
                records["failedRecordCount"] = totals.rows_rejected.into();
            }
            sizes["inputBytes"] = totals.bytes_in.into();
        }
        if visible.totals.rows_out > 0 {
            records["createdRecordCount"] = visible.totals.rows_out.into();
            records["outputRecordCount"] = visible.totals.rows_out.into();
            sizes["outputBytes"] = visible.totals.bytes_out.into();
        }
        let metrics = json!({
            "durationSummary": duration(facts.started_at_ms, ended.completed_at_ms),
            "latencySummary": {},
            "sizeSummary": sizes,
            "recordSummary": records,
            "fileSummary": { "outputFileCount": visible.files.len(), "activityRefs": [activity] },
            "statusSummary": summary,
        });
        Self { metrics, activities: failed_activities(facts, failure, &error, so_far, ended) }
    }

    fn no_rows(facts: &RunFacts, notes: &[String], ended: Ended) -> Self {
        let mut summary = json!({ "status": RunStatus::Success });
        note(&mut summary, notes);
        let metrics = json!({
            "durationSummary": duration(facts.started_at_ms, ended.completed_at_ms),
            "sizeSummary": { "inputBytes": 0 },
            "recordSummary": { "inputRecordCount": 0 },
            "statusSummary": summary,
        });
        let mut copy = copy(facts, ended.completed_at_ms, &json!({ "status": RunStatus::Success }));
        copy["sizeSummary"] = json!({ "inputBytes": 0 });
        copy["recordSummary"] = json!({ "inputRecordCount": 0 });
        Self { metrics, activities: vec![copy] }
    }
}

/// A clock that was set back meanwhile makes no time that is negative.
fn duration(started_at_ms: i64, completed_at_ms: i64) -> Value {
    json!({ "startedAtUTC": started_at_ms, "completedAtUTC": completed_at_ms.max(started_at_ms) })
}

fn records(totals: &Totals, diagnostics: &Diagnostics) -> Value {
    let mut records = json!({
        "inputRecordCount": totals.rows_in,
        "createdRecordCount": totals.rows_out,
        "outputRecordCount": totals.rows_out,
        "failedRecordCount": totals.rows_rejected,
    });
    if totals.rows_rejected > 0 {
        records["failedInfo"] = json!([{ "code": BAD_ROWS, "message": bad_rows(totals.rows_rejected) }]);
    }
    if !diagnostics.is_empty() {
        // Several values of one record may be concerned: never more warnings than records.
        records["warningRecordCount"] = diagnostics.count().min(totals.rows_out).into();
        records["extensions"] = json!({ "diagnostics": diagnostics });
    }
    records
}

/// The errors of a run that succeeds although some rows were bad (flow-service.md 16.5).
fn tolerated(rows_rejected: u64) -> Vec<Value> {
    let error = json!({ "code": failure_code(Stage::Data), "message": bad_rows(rows_rejected) });
    if rows_rejected == 0 { Vec::new() } else { vec![error] }
}

fn bad_rows(count: u64) -> String {
    format!("{count} rows could not be ingested")
}

fn status(status: RunStatus, errors: &[Value], activity: &str, notes: &[String]) -> Value {
    let mut summary = json!({ "status": status });
    if !errors.is_empty() {
        summary["errors"] = errors.into();
        summary["activityRefs"] = json!([activity]);
    }
    note(&mut summary, notes);
    summary
}

/// Adds what a person should know about how it was read.
fn note(summary: &mut Value, notes: &[String]) {
    if !notes.is_empty() {
        summary["extensions"] = json!({ "notes": notes });
    }
}

fn copy_succeeded(facts: &RunFacts, totals: &Totals, landed_at_ms: i64) -> Value {
    let mut copy = copy(facts, landed_at_ms, &json!({ "status": RunStatus::Success }));
    copy["sizeSummary"] = json!({ "inputBytes": totals.bytes_in, "outputBytes": totals.bytes_in });
    copy["recordSummary"] = json!({ "inputRecordCount": totals.rows_in, "outputRecordCount": totals.rows_in });
    copy["fileSummary"] = json!({ "inputFileCount": 1, "outputFileCount": 1 });
    copy
}

fn copy(facts: &RunFacts, completed_at_ms: i64, summary: &Value) -> Value {
    let mut lasted = duration(facts.started_at_ms, completed_at_ms);
    if let Some(Window { start_ms, end_ms }) = facts.window {
        lasted["extensions"] = json!({ "windowStart": start_ms, "windowEnd": end_ms });
    }
    let mut summary = summary.clone();
    summary["extensions"] = if facts.once { json!({ "type": "one-time" }) } else { json!({}) };
    json!({
        "id": COPY_ACTIVITY,
        "name": format!("{} Copy Activity", in_activities(&facts.source_label)),
        "updatedAtUTC": 0,
        "durationSummary": lasted,
        "latencySummary": {},
        "sizeSummary": {},
        "recordSummary": {},
        "fileSummary": {},
        "statusSummary": summary,
        "sourceInfo": [reference(facts.source, "SourceConnection", "RunId", &facts.run.to_string())],
    })
}

fn promotion_succeeded(facts: &RunFacts, landed: &Landed, errors: &[Value], ended: Ended) -> Value {
    let Totals { rows_in, rows_out, rows_rejected, bytes_in, bytes_out } = landed.totals;
    let mut summary = json!({ "status": RunStatus::Success });
    if !errors.is_empty() {
        summary["errors"] = errors.into();
    }
    summary["extensions"] = match rows_rejected {
        0 => json!({}),
        count => json!({ "errors": [{ "code": BAD_ROWS, "recordCount": count, "message": bad_rows(count) }] }),
    };
    let mut promotion = promotion(facts, ended, &summary);
    promotion["sizeSummary"] = json!({ "inputBytes": bytes_in, "outputBytes": bytes_out });
    promotion["recordSummary"] =
        json!({ "inputRecordCount": rows_in, "outputRecordCount": rows_out, "failedRecordCount": rows_rejected });
    promotion["fileSummary"] = json!({ "inputFileCount": 1, "outputFileCount": landed.files.len(), "extensions": {} });
    promotion
}

fn promotion(facts: &RunFacts, ended: Ended, summary: &Value) -> Value {
    json!({
        "id": PROMOTION_ACTIVITY,
        "name": "Promotion Activity",
        "updatedAtUTC": 0,
        "durationSummary": duration(ended.landed_at_ms, ended.completed_at_ms),
        "latencySummary": {},
        "sizeSummary": {},
        "recordSummary": {},
        "fileSummary": {},
        "statusSummary": summary,
        "targetInfo": [reference(facts.target, "TargetConnection", "Batch", facts.batch.as_str())],
    })
}

/// The activities up to the one that broke, as far as they are known.
fn failed_activities(
    facts: &RunFacts,
    failure: &Failure,
    error: &Value,
    so_far: Option<&Totals>,
    ended: Ended,
) -> Vec<Value> {
    let summary =
        json!({ "status": RunStatus::Failed, "errors": [error], "extensions": { "errorDetail": detail(failure) } });
    if failure.stage == Stage::Source {
        let mut copy = copy(facts, ended.completed_at_ms, &summary);
        copy["statusSummary"]["extensions"]["errorDetail"] = detail(failure).into();
        return vec![copy];
    }
    let mut promotion = promotion(facts, ended, &summary);
    let Some(totals) = so_far else {
        // Nothing is known of a copy, and there is no batch to refer to.
        promotion["targetInfo"] = json!([connection(facts.target, "TargetConnection")]);
        return vec![promotion];
    };
    vec![copy_succeeded(facts, totals, ended.landed_at_ms), promotion]
}

/// The whole story of a failure: what went wrong, and what to do.
fn detail(failure: &Failure) -> String {
    match &failure.hint {
        Some(hint) => format!("{}; {hint}", failure.message),
        None => failure.message.clone(),
    }
}

/// Names the connection of an activity, and the job behind it.
fn reference(id: impl Serialize, kind: &str, job: &str, job_id: &str) -> Value {
    let mut named = connection(id, kind);
    named["reference"] = json!({ "type": job, "ids": [job_id] });
    named
}

fn connection(id: impl Serialize, kind: &str) -> Value {
    json!({ "id": id, "type": kind })
}

/// A source's label as activities spell it: the published records write MariaDB with a blank (flow-service.md 17.4).
fn in_activities(label: &str) -> &str {
    if label == "MariaDB" { "Maria DB" } else { label }
}

#[cfg(test)]
mod tests;
