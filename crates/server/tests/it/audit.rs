//! `headwaters audit` on the store of a server, running or not.

use std::path::Path;
use std::time::Duration;

use headwaters_testkit::world::{CATALOG, FLOW_SERVICE, World, read};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::land::{complaint, headwaters, output};

const MYSQL: &str = "26d738e0-8963-47ea-aadf-c60de735468a";
const PASSWORD: &str = "hunter2-of-the-source";
const GUESS: &str = "hunter2-of-the-guesser";
/// No test waits longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server that makes connections without asking their source.
async fn world() -> World {
    let options = World::options(env!("CARGO_BIN_EXE_headwaters"));
    options.env("HEADWATERS_CONNECTIONS_VERIFY_ON_CREATE", "false").start().await.expect("a server")
}

fn connection() -> Value {
    json!({
        "name": "shop",
        "auth": {
            "specName": "Basic Authentication",
            "params": { "server": "db.test", "database": "shop", "username": "reader", "password": PASSWORD },
        },
        "connectionSpec": { "id": MYSQL, "version": "1.0" },
    })
}

/// What the command says on standard output and standard error, and its exit code.
fn audit(data: &Path, arguments: &[&str]) -> (String, String, Option<i32>) {
    let output = output(headwaters().arg("audit").arg("--data").arg(data).args(arguments));
    (String::from_utf8(output.stdout.clone()).expect("text"), complaint(&output), output.status.code())
}

fn records(data: &Path, arguments: &[&str]) -> Vec<Value> {
    let arguments: Vec<&str> = ["--output", "json"].into_iter().chain(arguments.iter().copied()).collect();
    let (shown, complaint, code) = audit(data, &arguments);
    assert_eq!(code, Some(0), "{complaint}");
    serde_json::from_str(&shown).expect("a JSON list")
}

fn actions(records: &[Value]) -> Vec<(&str, &str)> {
    fn text<'a>(record: &'a Value, key: &str) -> &'a str {
        record[key].as_str().expect("a text")
    }
    records.iter().map(|record| (text(record, "action"), text(record, "status"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_who_did_what_to_which_version_while_the_server_runs_and_after() {
    let mut world = world().await;
    let connections = format!("{FLOW_SERVICE}/connections");
    let create = world.request(Method::POST, &connections).header("x-request-id", "make-1").json(&connection());
    let made = read(create).await.expect("an answer");
    assert_eq!(made.status, 201, "{}", made.body);
    let id = made.body["id"].as_str().expect("an id").to_owned();
    let etag = made.body["etag"].as_str().expect("an etag").to_owned();
    let patch = json!([{ "op": "replace", "path": "/name", "value": "renamed" }]);
    let patch = world.request(Method::PATCH, &format!("{connections}/{id}")).header("if-match", &etag).json(&patch);
    let patched = read(patch).await.expect("an answer");
    assert_eq!(patched.status, 200, "{}", patched.body);
    let data_set = world.post(&format!("{CATALOG}/dataSets"), &json!({ "name": "Orders" })).await.expect("an answer");
    assert_eq!(data_set.status, 201, "{}", data_set.body);
    assert_eq!(world.delete(&format!("{connections}/{id}")).await.expect("an answer").status, 204);

    let data = world.data_dir();
    let all = records(&data, &[]);
    let done = [("create", "allowed"), ("update", "allowed"), ("create", "allowed"), ("delete", "allowed")];
    assert_eq!(actions(&all), done, "the newest comes last");
    let of_connection = records(&data, &["--resource", &id, "--since", "1h"]);
    assert_eq!(of_connection.len(), 3);
    let credentials = world.credentials().expect("credentials");
    let first = &of_connection[0];
    assert_eq!((&first["client"], &first["org"]), (&credentials["client_id"], &credentials["org_id"]));
    assert_eq!((&first["collection"], &first["etag"]), (&json!("connections"), &json!(etag)));
    assert_eq!(first["requestId"], "make-1");
    let shown = serde_json::to_string(&all).expect("text") + &audit(&data, &[]).0;
    assert!(!shown.contains(PASSWORD), "{shown}");

    world.terminate().await.expect("an end");
    assert_eq!(records(&data, &[]), all, "nobody need be running");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_secret_is_seen_and_not_told() {
    let world = world().await;
    let credentials = world.credentials().expect("credentials");
    let client = credentials["client_id"].as_str().expect("a client");
    let form = [("grant_type", "client_credentials"), ("client_id", client), ("client_secret", GUESS)];
    let refused = read(world.bare_request(Method::POST, "/ims/token/v3").form(&form)).await.expect("an answer");
    assert_eq!(refused.status, 401, "{}", refused.body);
    let started = Instant::now();
    let lines = loop {
        let lines = records(&world.data_dir(), &["--resource", client]);
        if !lines.is_empty() {
            break lines;
        }
        assert!(started.elapsed() < PATIENCE, "it was not recorded");
        sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(actions(&lines), [("login", "denied")]);
    assert!(!lines[0].to_string().contains(GUESS), "{}", lines[0]);
    let (table, _, _) = audit(&world.data_dir(), &[]);
    assert!(table.contains("denied") && table.contains(client), "{table}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_was_asked_for_is_shown_and_what_is_left_out_is_said() {
    let world = world().await;
    for name in ["a", "b", "c"] {
        world.post(&format!("{CATALOG}/dataSets"), &json!({ "name": name })).await.expect("an answer");
    }
    let data = world.data_dir();
    let all = records(&data, &[]);
    assert_eq!(all.len(), 3);
    let (shown, said, _) = audit(&data, &["--output", "json", "--limit", "2"]);
    assert_eq!(serde_json::from_str::<Vec<Value>>(&shown).expect("JSON"), all[1..], "the newest ones");
    assert!(said.contains("only the newest 2 records"), "{said}");
    let (_, said, _) = audit(&data, &["--limit", "3"]);
    assert_eq!(said, "", "nothing is left out");
    assert!(records(&data, &["--since", "2999-01-01T00:00:00Z"]).is_empty());
    assert_eq!(records(&data, &["--since", all[0]["time"].as_str().expect("a time")]).len(), 3);
}

#[test]
fn a_time_that_is_none_and_a_directory_that_is_not_there_are_wrong_usage() {
    let folder = tempfile::tempdir().expect("a folder");
    for (data, arguments, said) in [
        (folder.path(), ["--since", "yesterday"], "RFC 3339"),
        (folder.path(), ["--limit", "0"], "1..=100000"),
        (Path::new("/nonexistent/headwaters"), ["--limit", "1"], "/nonexistent/headwaters"),
    ] {
        let (_, complaint, code) = audit(data, &arguments);
        assert_eq!(code, Some(2), "{complaint}");
        assert!(complaint.contains(said), "{complaint}");
    }
}
