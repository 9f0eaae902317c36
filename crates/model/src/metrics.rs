//! The record of a run: its metrics and activities in the published shapes (flow-service.md 17.3, 17.4).
//!
//! Pure functions from what a run did to what is shown of it. A key is absent when its value is unknown, never 0.
//!
//! **Invariant.** `inputRecordCount = outputRecordCount + failedRecordCount`, `outputRecordCount = createdRecordCount`.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::diagnostic::Diagnostics;
use crate::id::{BatchId, RunId, SourceConnectionId, TargetConnectionId};
use crate::job::{Failure, Landed, Stage, Totals};
use crate::run::RunStatus;

/// The id of the copy activity, the same in every record.
pub const COPY_ACTIVITY: &str = "4f008a00-3a04-11eb-adc1-0242ac120002";
/// The id of the promotion activity, the same in every record.
pub const PROMOTION_ACTIVITY: &str = "37b34f84-1ada-11eb-adc1-0242ac120002";

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
        record.metrics["sizeSummary"] = json!({ "inputBytes": so_far.bytes_in, "outputBytes": so_far.bytes_out });
        record.metrics["recordSummary"] = json!({ "inputRecordCount": so_far.rows_in });
        record
    }

    /// A run that ended well: without a promotion when there were no rows.
    #[must_use]
    pub fn success(facts: &RunFacts, landed: &Landed, ended: Ended) -> Self {
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

    /// A run that broke. `so_far` are the counters of its last attempt, where it got so far as to read.
    #[must_use]
    pub fn failed(
        facts: &RunFacts,
        failure: &Failure,
        so_far: Option<&Totals>,
        notes: &[String],
        ended: Ended,
    ) -> Self {
        let activity = if failure.stage == Stage::Source { COPY_ACTIVITY } else { PROMOTION_ACTIVITY };
        let error = json!({ "code": failure_code(failure.stage), "message": failure.message });
        let mut summary = status(RunStatus::Failed, std::slice::from_ref(&error), activity, notes);
        summary["extensions"]["errorDetail"] = detail(failure).into();
        let mut records = json!({ "failedInfo": [&error] });
        let mut sizes = json!({});
        if let Some(totals) = so_far {
            records["inputRecordCount"] = totals.rows_in.into();
            sizes["inputBytes"] = totals.bytes_in.into();
        }
        let metrics = json!({
            "durationSummary": duration(facts.started_at_ms, ended.completed_at_ms),
            "latencySummary": {},
            "sizeSummary": sizes,
            "recordSummary": records,
            "fileSummary": { "outputFileCount": 0, "activityRefs": [activity] },
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

fn duration(started_at_ms: i64, completed_at_ms: i64) -> Value {
    json!({ "startedAtUTC": started_at_ms, "completedAtUTC": completed_at_ms })
}

fn records(totals: &Totals, diagnostics: &Diagnostics) -> Value {
    let mut records = json!({
        "inputRecordCount": totals.rows_in,
        "createdRecordCount": totals.rows_out,
        "outputRecordCount": totals.rows_out,
        "failedRecordCount": totals.rows_rejected,
    });
    if !diagnostics.is_empty() {
        // Several values of one record may be concerned: never more warnings than records.
        records["warningRecordCount"] = diagnostics.count().min(totals.rows_out).into();
        records["extensions"] = json!({ "diagnostics": diagnostics });
    }
    records
}

/// The errors of a run that succeeds although some rows were bad (flow-service.md 16.5).
fn tolerated(rows_rejected: u64) -> Vec<Value> {
    let message = format!("{rows_rejected} rows could not be ingested");
    let error = json!({ "code": failure_code(Stage::Data), "message": message });
    if rows_rejected == 0 { Vec::new() } else { vec![error] }
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
    summary["extensions"] = json!({});
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
mod tests {
    use insta::assert_json_snapshot;

    use super::*;
    use crate::diagnostic::Reason;
    use crate::job::LandedFile;

    const ENDED: Ended = Ended { landed_at_ms: 1_700_000_180_000, completed_at_ms: 1_700_000_195_000 };

    fn facts() -> RunFacts {
        RunFacts {
            run: "0c7e9a52-6a4d-4d0b-9f3e-5b1f2f6f9a10".parse().unwrap(),
            source_label: "MySQL".into(),
            source: "11111111-3a3f-4b57-8a44-1d4c2c1f8a01".parse().unwrap(),
            target: "22222222-3a3f-4b57-8a44-1d4c2c1f8a01".parse().unwrap(),
            batch: "01HF7YAT00000000000000000A".parse().unwrap(),
            once: true,
            window: None,
            started_at_ms: 1_700_000_160_000,
        }
    }

    fn landed(rows_rejected: u64) -> Landed {
        let file =
            LandedFile { path: "part-0.parquet".into(), size_bytes: 30_720, rows: 990, modified_at_ms: 1, stats: None };
        let totals =
            Totals { rows_in: 990 + rows_rejected, rows_out: 990, rows_rejected, bytes_in: 51_200, bytes_out: 30_720 };
        Landed { files: vec![file], totals, ..Landed::default() }
    }

    fn shown(record: &RunRecord) -> Value {
        json!({ "metrics": record.metrics, "activities": record.activities })
    }

    #[test]
    fn a_run_that_waits_shows_only_that() {
        assert_json_snapshot!(shown(&RunRecord::scheduled()), @r#"
        {
          "metrics": {
            "statusSummary": {
              "status": "scheduled"
            }
          },
          "activities": []
        }
        "#);
    }

    #[test]
    fn a_run_at_work_shows_when_it_began() {
        let record = RunRecord::begun(1_700_000_160_000);
        assert_json_snapshot!(shown(&record), @r#"
        {
          "metrics": {
            "durationSummary": {
              "startedAtUTC": 1700000160000
            },
            "statusSummary": {
              "status": "inProgress"
            }
          },
          "activities": []
        }
        "#);
    }

    #[test]
    fn a_run_at_work_shows_its_counters() {
        let record = RunRecord::in_progress(1_700_000_160_000, &landed(0).totals);
        assert_eq!(record.metrics["recordSummary"], json!({ "inputRecordCount": 990 }));
    }

    #[test]
    fn a_successful_run_shows_both_activities() {
        let record = RunRecord::success(&facts(), &landed(0), ENDED);
        assert_json_snapshot!("success", shown(&record));
    }

    #[test]
    fn a_recurring_run_shows_its_window_and_its_tolerated_rows() {
        let window = Window { start_ms: 1_699_999_200_000, end_ms: 1_700_000_100_000 };
        let facts = RunFacts { once: false, window: Some(window), ..facts() };
        let record = RunRecord::success(&facts, &landed(10), ENDED);
        assert_json_snapshot!("tolerated", shown(&record));
    }

    #[test]
    fn values_that_could_not_be_kept_are_listed() {
        let mut landed = landed(0);
        landed.diagnostics.record("born", Reason::ZeroDate, "null", Some("7".into()), "0000-00-00");
        landed.notes.push("read by one connection: the account lacks RELOAD".into());
        let record = RunRecord::success(&facts(), &landed, ENDED);
        assert_json_snapshot!("diagnostics", json!([record.metrics["recordSummary"], record.metrics["statusSummary"]]));
    }

    #[test]
    fn a_run_without_rows_shows_only_the_copy() {
        let record = RunRecord::success(&facts(), &Landed::default(), ENDED);
        assert_json_snapshot!("no_rows", shown(&record));
    }

    #[test]
    fn a_run_whose_source_broke_names_the_copy() {
        let failure = Failure {
            stage: Stage::Source,
            message: "could not log in to 127.0.0.1:3306 as reader".into(),
            hint: Some("check username and password".into()),
        };
        let record = RunRecord::failed(&facts(), &failure, None, &[], ENDED);
        assert_json_snapshot!("failed_source", shown(&record));
    }

    #[test]
    fn a_run_of_which_nothing_is_known_shows_neither_a_copy_nor_a_batch() {
        let shown_at = |stage| {
            let failure = Failure { stage, message: "the table was replaced".into(), hint: None };
            RunRecord::failed(&facts(), &failure, None, &[], ENDED)
        };
        let lake = shown_at(Stage::Lake);
        assert_json_snapshot!("failed_before_landing", shown(&lake));
        let data = shown_at(Stage::Data);
        assert_eq!(data.activities.len(), 1);
        assert_eq!(data.activities[0]["statusSummary"]["errors"][0]["code"], "CONNECTOR-2001-500");
        assert_eq!(data.activities[0]["targetInfo"], lake.activities[0]["targetInfo"]);
    }

    #[test]
    fn a_run_whose_lake_broke_names_the_promotion() {
        let failure = Failure { stage: Stage::Lake, message: "no space left below file:///lake".into(), hint: None };
        let notes = ["the first attempt lost its connection".to_owned()];
        let record = RunRecord::failed(&facts(), &failure, Some(&landed(0).totals), &notes, ENDED);
        assert_json_snapshot!("failed_lake", shown(&record));
    }
}
