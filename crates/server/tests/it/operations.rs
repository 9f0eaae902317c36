//! What operators rely on: the guide names every metric, `/metrics` shows them, and the log of a run holds its ids.

use std::collections::BTreeSet;
use std::path::Path;

use headwaters_testkit::Flavour;
use headwaters_testkit::world::read;
use reqwest::Method;
use serde_json::Value;

use crate::scene::{RUN_SECONDS_MAX, Scene, text};

/// The names that stand behind one of these macros in the sources of all crates.
fn metrics_in_code(macros: &[&str]) -> BTreeSet<String> {
    fn walk(folder: &Path, found: &mut impl FnMut(&str)) {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found(&std::fs::read_to_string(&path).expect("a source"));
            }
        }
    }
    let mut names = BTreeSet::new();
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the folder of all crates");
    for member in std::fs::read_dir(crates).expect("the crates").flatten() {
        let mut note = |source: &str| {
            for name in macros {
                for call in source.split(&format!("{name}!(")).skip(1) {
                    let argument = call.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next());
                    names.extend(argument.map(str::to_owned));
                }
            }
        };
        let sources = member.path().join("src");
        if sources.is_dir() {
            walk(&sources, &mut note);
        }
    }
    names
}

#[test]
fn the_guide_names_every_metric_and_no_other() {
    let guide = include_str!("../../../../docs/operations.md");
    let named =
        |line: &str| line.strip_prefix("| `headwaters_").and_then(|rest| rest.split('`').next().map(str::to_owned));
    let documented: BTreeSet<String> =
        guide.lines().filter_map(named).map(|name| format!("headwaters_{name}")).collect();
    let described = metrics_in_code(&["describe_counter", "describe_gauge", "describe_histogram"]);
    assert!(described.len() > 20, "{described:?}");
    assert_eq!(documented, described);
    let counted = metrics_in_code(&["counter", "gauge", "histogram"]);
    let undescribed: Vec<_> = counted.difference(&described).collect();
    assert!(undescribed.is_empty(), "without a description: {undescribed:?}");
}

/// The lines of a JSON log that stand in the spans of a run.
fn lines_of_run<'a>(log: &'a [Value], run: &str) -> Vec<&'a Value> {
    let of_run = |line: &&Value| spans(line).any(|span| span["name"] == "run" && span["run"] == run);
    log.iter().filter(of_run).collect()
}

fn spans(line: &Value) -> impl Iterator<Item = &Value> {
    line["spans"].as_array().into_iter().flatten()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_a_run_holds_its_ids_at_each_step_and_metrics_count_them() {
    let filter = "info,headwaters_engine=debug,headwaters_control=debug";
    let settings = [("HEADWATERS_LOG", filter), ("HEADWATERS_LOG_FORMAT", "json")];
    let scene = Scene::set_with(Flavour::MariaDb, &settings).await;
    let connection = scene.connection().await;
    let copy = scene.world.copy_once(&connection, scene.spec_name(), &scene.table()).await.expect("a flow");
    let run = scene.world.finished_run(&copy.flow, RUN_SECONDS_MAX).await.expect("a run");

    let log = scene.world.log();
    let log: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let lines = lines_of_run(&log, &text(&run["id"]));
    for (message, span, field) in [
        ("an attempt begins", "run", "flow"),
        ("the table is cut", "attempt", "ordinal"),
        ("nothing more is read of a key range", "read", "split"),
        ("nothing more is landed of a key range", "land", "split"),
        ("the rows are landed", "attempt", "ordinal"),
        ("the commit is made", "attempt", "ordinal"),
        ("the run is over", "run", "run"),
    ] {
        let line = lines.iter().find(|line| line["fields"]["message"] == message);
        let line = line.unwrap_or_else(|| panic!("no line `{message}`: {lines:#?}"));
        assert!(spans(line).any(|known| known["name"] == "run" && known["flow"] == copy.flow.as_str()), "{line:#}");
        assert!(spans(line).any(|known| known["name"] == span && !known[field].is_null()), "{message}: {line:#}");
    }

    let shown = read(scene.world.bare_request(Method::GET, "/metrics")).await.expect("metrics");
    let shown = text(&shown.body);
    for line in [
        "headwaters_runs_total{outcome=\"success\"} 1",
        "headwaters_attempts_ended_total{outcome=\"succeeded\"} 1",
        "headwaters_rows_out_total 3",
        "headwaters_run_step_seconds_count{step=\"look\"} 1",
        "headwaters_run_step_seconds_count{step=\"plan\"} 1",
        "headwaters_run_step_seconds_count{step=\"land\"} 1",
        "headwaters_run_step_seconds_count{step=\"commit\"} 1",
        "headwaters_run_step_seconds_count{step=\"settle\"} 1",
        "headwaters_split_read_seconds_count 1",
    ] {
        assert!(shown.lines().any(|known| known == line), "no {line} in\n{shown}");
    }
    assert!(!shown.contains(&copy.flow), "an id is no label");
}
