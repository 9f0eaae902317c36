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
    let record = RunRecord::failed(&facts(), &failure, None, &Landed::default(), &[], ENDED);
    assert_json_snapshot!("failed_source", shown(&record));
}

#[test]
fn a_run_of_which_nothing_is_known_shows_neither_a_copy_nor_a_batch() {
    let shown_at = |stage| {
        let failure = Failure { stage, message: "the table was replaced".into(), hint: None };
        RunRecord::failed(&facts(), &failure, None, &Landed::default(), &[], ENDED)
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
    let record = RunRecord::failed(&facts(), &failure, Some(&landed(0).totals), &Landed::default(), &notes, ENDED);
    assert_json_snapshot!("failed_lake", shown(&record));
}

#[test]
fn a_run_that_broke_after_some_of_its_commits_shows_what_is_visible() {
    let failure = Failure { stage: Stage::Source, message: "the table is gone".into(), hint: None };
    let (read, visible) = (Totals { rows_in: 2_000, ..Totals::default() }, landed(0));
    let metrics = RunRecord::failed(&facts(), &failure, Some(&read), &visible, &[], ENDED).metrics;
    let records = &metrics["recordSummary"];
    assert_eq!((&records["inputRecordCount"], &records["outputRecordCount"]), (&json!(2_000), &json!(990)));
    assert_eq!(records["createdRecordCount"], records["outputRecordCount"]);
    assert_eq!(
        (&metrics["fileSummary"]["outputFileCount"], &metrics["sizeSummary"]["outputBytes"]),
        (&json!(1), &json!(30_720))
    );
}

#[test]
fn counters_of_a_run_at_work_leave_its_attempts_alone() {
    let mut metrics = RunRecord::begun(1_700_000_160_000).metrics;
    let broken = ShownAttempt {
        ordinal: Ordinal(4),
        started_at_ms: 1_700_000_160_000,
        ended_at_ms: Some(1_700_000_170_000),
        error: Some("the connection to db:3306 was lost".into()),
    };
    let second = ShownAttempt { ordinal: Ordinal(5), started_at_ms: 1_700_000_171_000, ended_at_ms: None, error: None };
    show_attempts(&mut metrics, &[broken, second]);
    show_counters(&mut metrics, &landed(0).totals);
    assert_json_snapshot!("in_progress_again", metrics);
}

#[test]
fn one_attempt_that_broke_is_shown_and_one_that_did_not_is_not() {
    let attempt = |error: Option<&str>| ShownAttempt {
        ordinal: Ordinal(1),
        started_at_ms: 1,
        ended_at_ms: Some(2),
        error: error.map(str::to_owned),
    };
    let shown = |attempts: &[ShownAttempt]| {
        let mut metrics = RunRecord::success(&facts(), &landed(0), ENDED).metrics;
        show_attempts(&mut metrics, attempts);
        metrics["statusSummary"]["extensions"]["attempts"].as_array().map(Vec::len)
    };
    assert_eq!(shown(&[attempt(None)]), None);
    assert_eq!(shown(&[attempt(Some("the lake is full"))]), Some(1));
    assert_eq!(shown(&vec![attempt(None); 2]), Some(2));
    assert_eq!(shown(&vec![attempt(None); 300]), Some(ATTEMPTS_SHOWN_MAX));
}

#[test]
fn every_row_that_was_read_is_landed_or_rejected() {
    for rejected in [0, 10] {
        let records = RunRecord::success(&facts(), &landed(rejected), ENDED).metrics["recordSummary"].clone();
        let count = |key: &str| records[key].as_u64().unwrap();
        assert_eq!(count("inputRecordCount"), count("outputRecordCount") + count("failedRecordCount"));
        assert_eq!(count("outputRecordCount"), count("createdRecordCount"));
        assert_eq!(records.get("failedInfo").is_some(), rejected > 0);
    }
}

#[test]
fn a_run_with_too_many_bad_rows_tells_how_many() {
    let message = "10 of 1000 rows could not be ingested, so nothing was landed".to_owned();
    let failure = Failure { stage: Stage::Data, message, hint: Some("tolerate them".into()) };
    let record = RunRecord::failed(&facts(), &failure, Some(&landed(10).totals), &Landed::default(), &[], ENDED);
    assert_json_snapshot!("failed_data", shown(&record));
}

#[test]
fn a_clock_that_was_set_back_makes_no_negative_time() {
    let ended = Ended { landed_at_ms: 5, completed_at_ms: 7 };
    let record = RunRecord::success(&facts(), &landed(0), ended);
    for lasted in [&record.metrics, &record.activities[0]].map(|part| &part["durationSummary"]) {
        assert_eq!(lasted["completedAtUTC"], lasted["startedAtUTC"]);
    }
}
