//! What webhooks are told of runs: over real sockets, through failures, a restart and `kill -9`.

mod receiver;

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use headwaters_testkit::Flavour;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use self::receiver::{Delivered, Manner, Receiver};
use crate::land::{complaint, headwaters, output};
use crate::scene::{RUN_SECONDS_MAX, Scene, text};

const SECRET: &str = "hunter2-of-the-webhook";
/// How long a delivery may take that has to be tried again.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where webhooks listen whose log is looked at: a part of a URL may be what keeps others out.
const HIDDEN: &str = "/hunter2-of-the-path?key=hunter2-of-the-query";

fn setting(urls: &[String]) -> String {
    urls.iter().map(|url| json!({ "url": url, "secret": SECRET })).collect::<Value>().to_string()
}

async fn scene_telling(urls: &[String]) -> Scene {
    Scene::set_with(Flavour::MariaDb, &[("HEADWATERS_WEBHOOKS", &setting(urls))]).await
}

/// Copies the table of the scene, and waits for the end of the run.
async fn copy(scene: &Scene) -> Value {
    let connection = scene.connection().await;
    let copy = scene.world.copy_once(&connection, scene.spec_name(), &scene.table()).await.expect("a flow");
    scene.world.finished_run(&copy.flow, RUN_SECONDS_MAX).await.expect("a run")
}

/// Waits until the program has logged that a webhook did not take something, for a reason with this word in it.
async fn complained(scene: &Scene, reason: &str) {
    let said = |line: &str| line.contains("a webhook did not take a notification") && line.contains(reason);
    let complained = async {
        while !scene.world.log().lines().any(said) {
            sleep(Duration::from_millis(50)).await;
        }
    };
    let told = tokio::time::timeout(PATIENCE, complained).await;
    assert!(told.is_ok(), "no '{reason}' in {}", scene.world.log());
}

/// Nothing in the log gives a webhook away.
fn assert_hidden(scene: &Scene) {
    let log = scene.world.log();
    assert!(!log.contains("hunter2"), "{log}");
}

fn status(delivered: &Delivered) -> String {
    text(&delivered.json()["metrics"]["statusSummary"]["status"])
}

/// The function of the documentation, run on a delivery.
fn is_genuine(body: &str, signature: &str, secret: &str) -> bool {
    let guide = include_str!("../../../../docs/operations.md");
    let example = guide.split("```python\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let call = "import sys\nprint(is_genuine(sys.stdin.buffer.read(), sys.argv[1], sys.argv[2]))\n";
    let mut python = Command::new("python3");
    python.args(["-c", &format!("{example}\n{call}"), signature, secret]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut python = python.spawn().expect("python3");
    python.stdin.take().expect("its input").write_all(body.as_bytes()).expect("the body");
    let said = python.wait_with_output().expect("its answer");
    assert!(said.status.success());
    String::from_utf8_lossy(&said.stdout).trim() == "True"
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_told_with_a_signature_that_the_documentation_s_example_accepts() {
    let receiver = Receiver::start(Manner::Takes).await;
    let scene = scene_telling(&[receiver.url("/runs?key=1")]).await;
    let run = copy(&scene).await;
    let told = receiver.wait_for(2, PATIENCE).await;
    for delivered in &told {
        assert_eq!((delivered.method.as_str(), delivered.path.as_str()), ("POST", "/runs?key=1"));
        assert_eq!(delivered.header("content-type"), "application/json");
        assert_eq!(delivered.header("x-adobe-event-code"), "source_flow_run_info");
        let signature = delivered.header("x-adobe-signature");
        assert!(is_genuine(&delivered.body, signature, SECRET));
        assert!(!is_genuine(&delivered.body, signature, "another secret"));
        assert!(!is_genuine(&delivered.body.replace("prod", "dev"), signature, SECRET));
    }
    let ended = told.iter().find(|delivered| status(delivered) == "success").expect("the end").json();
    assert_eq!(ended["header"]["_adobeio"]["eventCode"], "source_flow_run_info");
    assert_eq!(ended["header"]["_adobeio"]["imsOrgId"], run["imsOrgId"]);
    assert!(ended["flowName"].is_string());
    for field in ["id", "etag", "flowId", "metrics", "activities"] {
        assert_eq!(ended[field], run[field], "the record as it is read");
    }
    let log = scene.world.log();
    assert!(!log.contains(SECRET) && !log.contains("/runs?key"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_fails_redirects_or_is_down_is_told_later() {
    let elsewhere = Receiver::start(Manner::Takes).await;
    let receiver = Receiver::start(Manner::Answers(500)).await;
    let redirecting = Receiver::start(Manner::Redirects(elsewhere.url("/stolen"))).await;
    let scene = scene_telling(&[receiver.url(HIDDEN), redirecting.url(HIDDEN)]).await;
    let run = copy(&scene).await;
    assert_eq!(text(&run["metrics"]["statusSummary"]["status"]), "success");
    receiver.wait_for_tries(1, PATIENCE).await;
    redirecting.wait_for_tries(1, PATIENCE).await;
    assert!(elsewhere.taken().is_empty(), "a redirect is not followed");

    // Down for a while, then back on the same port.
    let port = receiver.port();
    let before = receiver.tries();
    receiver.stop().await;
    complained(&scene, "onnect").await;
    assert_hidden(&scene);
    let receiver = Receiver::at(port, Manner::Takes).await;
    let told = receiver.wait_for(2, PATIENCE).await;
    let ids = |delivered: &[Delivered]| {
        let mut ids: Vec<String> = delivered.iter().map(|one| one.header("x-adobe-delivery-id").to_owned()).collect();
        ids.sort();
        ids.dedup();
        ids
    };
    assert_eq!(ids(&told).len(), 2, "each fact has an id of its own");
    assert!(ids(&before).iter().all(|id| ids(&told).contains(id)), "a delivery keeps its id through all tries");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_never_answers_holds_up_neither_runs_nor_others() {
    let slow = Receiver::start(Manner::NeverAnswers).await;
    let quick = Receiver::start(Manner::Takes).await;
    let scene = scene_telling(&[slow.url("/"), quick.url("/")]).await;
    let begun = Instant::now();
    let run = copy(&scene).await;
    assert_eq!(text(&run["metrics"]["statusSummary"]["status"]), "success");
    quick.wait_for(2, PATIENCE).await;
    assert!(begun.elapsed() < Duration::from_secs(10), "nobody waited until the slow one was given up");
    slow.wait_for_tries(1, PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_committed_and_not_delivered_survives_a_kill() {
    let receiver = Receiver::start(Manner::NeverAnswers).await;
    let mut scene = scene_telling(&[receiver.url("/")]).await;
    let run = copy(&scene).await;
    receiver.wait_for_tries(1, PATIENCE).await;
    scene.world.kill().await.expect("a dead server");
    receiver.behave(Manner::Takes);
    scene.world.restart().await.expect("a server");
    let told = receiver.wait_for(2, PATIENCE).await;
    let mut statuses: Vec<String> = told.iter().map(status).collect();
    statuses.sort();
    assert_eq!(statuses, ["inProgress", "success"]);
    let ended = told.iter().find(|delivered| status(delivered) == "success").expect("the end");
    assert_eq!(ended.json()["etag"], run["etag"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn over_https_the_certificate_of_the_webhook_must_be_trusted() {
    let database = headwaters_testkit::DatabaseServer::shared(Flavour::MariaDb).await.expect("a database");
    let certificates = database.certificates();
    for (authority, trusted) in [(certificates.ca(), true), (certificates.wrong_ca(), false)] {
        let receiver = Receiver::start_tls(Manner::Takes, &certificates).await;
        let authority = authority.to_string_lossy().into_owned();
        let webhooks = setting(&[receiver.url(HIDDEN)]);
        let settings = [("HEADWATERS_WEBHOOKS", webhooks.as_str()), ("SSL_CERT_FILE", &authority)];
        let scene = Scene::set_with(Flavour::MariaDb, &settings).await;
        copy(&scene).await;
        if trusted {
            receiver.wait_for(2, PATIENCE).await;
            continue;
        }
        complained(&scene, "certificate").await;
        assert_hidden(&scene);
        assert!(receiver.taken().is_empty());
    }
}

#[test]
fn a_wrong_setting_is_refused_before_anything_is_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    for (name, value, said) in [
        ("HEADWATERS_WEBHOOKS", "[{\"url\": \"ftp://hunter2\", \"secret\": \"hunter2\"}]", "webhook 1"),
        ("HEADWATERS_WEBHOOKS", "hunter2", "HEADWATERS_WEBHOOKS"),
        ("HEADWATERS_API_RATE_LIMIT_PER_SECOND", "-1", "a rate is a number from 1, or off"),
        ("HEADWATERS_RUNS_CONCURRENT_MAX", "0", "HEADWATERS_RUNS_CONCURRENT_MAX"),
        ("HEADWATERS_ENGINE_MEMORY_BYTES", "much", "HEADWATERS_ENGINE_MEMORY_BYTES"),
        ("HEADWATERS_API_STRICT", "sandbux", "sandbux"),
    ] {
        let output = output(headwaters().env(name, value).args(["serve", "--data"]).arg(&data));
        let complaint = complaint(&output);
        assert_eq!(output.status.code(), Some(2), "{name}: {complaint}");
        assert!(complaint.contains(said) && !complaint.contains("hunter2"), "{name}: {complaint}");
        assert!(!data.exists(), "{name}: something was made");
    }
}
