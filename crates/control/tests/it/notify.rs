//! What webhooks are told of runs: every fact, at least once, by nobody who is in the way of a run.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::future::BoxFuture;
use headwaters_control::ports::{Delivery, NotTaken, Webhooks};
use headwaters_control::{Control, Webhook};
use headwaters_model::etag::Precondition;
use headwaters_model::job::{JobError, Stage};
use headwaters_model::run::RunStatus;
use headwaters_model::secret::Secret;
use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::fakes::{Commit, Land, failure, lost};
use crate::world::{RunningWorker, World, status};

const GOOD: &str = "https://hooks.example/good";
const OTHER: &str = "https://hooks.example/other";
const SECRET: &str = "the secret of the webhook";
/// No test waits longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// What one webhook does with deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// It says that it is broken.
    Broken,
    /// It never answers.
    Dead,
}

/// A delivery as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Arrived {
    url: String,
    id: String,
    code: String,
    body: String,
}

impl Arrived {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn status(&self) -> String {
        self.json()["metrics"]["statusSummary"]["status"].as_str().unwrap_or_default().to_owned()
    }
}

/// Webhooks that take everything, but for those that have another manner.
#[derive(Default)]
struct FakeWebhooks {
    manners: Mutex<HashMap<String, Manner>>,
    /// What was sent, whether it was taken or not.
    tried: Mutex<Vec<Arrived>>,
    taken: Mutex<Vec<Arrived>>,
}

impl FakeWebhooks {
    fn behave(&self, url: &str, manner: Option<Manner>) {
        let mut manners = self.manners.lock().unwrap();
        match manner {
            Some(manner) => manners.insert(url.to_owned(), manner),
            None => manners.remove(url),
        };
    }

    fn taken(&self) -> Vec<Arrived> {
        self.taken.lock().unwrap().clone()
    }

    fn tried(&self) -> usize {
        self.tried.lock().unwrap().len()
    }

    /// Waits until so much was sent, taken or not.
    async fn wait_for_tries(&self, count: usize) {
        let tried = async {
            while self.tried() < count {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, tried).await.unwrap_or_else(|_| panic!("{count} tries: {}", self.tried()));
    }

    /// What was taken, once it is that much.
    async fn wait_for(&self, count: usize) -> Vec<Arrived> {
        let arrived = async {
            while self.taken().len() < count {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, arrived).await.unwrap_or_else(|_| panic!("{count} deliveries: {:#?}", self.taken()));
        self.taken()
    }
}

impl Webhooks for FakeWebhooks {
    fn post<'a>(&'a self, url: &'a str, delivery: &'a Delivery<'a>) -> BoxFuture<'a, Result<(), NotTaken>> {
        Box::pin(async move {
            let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
            let signature = STANDARD.decode(delivery.signature).unwrap();
            hmac::verify(&key, delivery.body.as_bytes(), &signature).expect("a genuine delivery");
            let arrived = Arrived {
                url: url.to_owned(),
                id: delivery.id.to_owned(),
                code: delivery.event_code.to_owned(),
                body: delivery.body.to_owned(),
            };
            self.tried.lock().unwrap().push(arrived.clone());
            let manner = self.manners.lock().unwrap().get(url).copied();
            match manner {
                Some(Manner::Dead) => std::future::pending().await,
                Some(Manner::Broken) => Err(NotTaken { reason: "answered 500".into() }),
                None => {
                    self.taken.lock().unwrap().push(arrived);
                    Ok(())
                }
            }
        })
    }
}

fn telling(control: Control, webhooks: &Arc<FakeWebhooks>, urls: &[&str]) -> Control {
    let hooks = urls.iter().map(|url| Webhook { url: (*url).to_owned(), secret: Secret::new(SECRET) }).collect();
    control.telling(hooks, webhooks.clone())
}

async fn world_telling(urls: &[&str]) -> (World, Arc<FakeWebhooks>) {
    let (mut world, webhooks) = (World::start().await, Arc::new(FakeWebhooks::default()));
    world.control = telling(world.control.clone(), &webhooks, urls);
    (world, webhooks)
}

#[tokio::test]
async fn a_run_tells_when_it_begins_and_how_it_ends() {
    let (world, webhooks) = world_telling(&[GOOD]).await;
    world.flow().await;
    let worker = world.worker();
    let run = world.finished().await;
    let mut told = webhooks.wait_for(2).await;
    worker.stop().await;

    // Nobody promises an order.
    told.sort_by_key(|arrived| arrived.status() == "success");
    let [begun, ended] = &told[..] else { panic!("two facts: {told:#?}") };
    assert_eq!((begun.status().as_str(), ended.status().as_str()), ("inProgress", "success"));
    assert_eq!((begun.code.as_str(), ended.code.as_str()), ("source_flow_run_info", "source_flow_run_info"));
    assert_ne!(begun.id, ended.id);
    let body = ended.json();
    assert_eq!((&body["id"], &body["etag"]), (&run.id.to_string().into(), &run.etag.as_str().into()));
    assert_eq!(body["flowName"], "orders to lake");
    assert_eq!(body["metrics"], run.body.metrics);
    assert_eq!(body["header"]["_adobeio"]["imsOrgId"], world.caller.scope.org.as_str());
}

#[tokio::test]
async fn a_run_that_breaks_for_good_tells_an_error() {
    let (world, webhooks) = world_telling(&[GOOD]).await;
    let refused = JobError::Definite(failure(Stage::Source, "could not log in to db:3306"));
    world.executor.on_land([Land::Breaks(refused)]);
    world.flow().await;
    let worker = world.worker();
    let told = webhooks.wait_for(2).await;
    worker.stop().await;
    let failed = told.iter().find(|arrived| arrived.status() == "failed").expect("the failure");
    assert_eq!(failed.code, "source_flow_run_error");
    let message = &failed.json()["metrics"]["statusSummary"]["errors"][0]["message"];
    assert_eq!(message, "could not log in to db:3306");
}

#[tokio::test]
async fn a_run_that_is_tried_again_begins_once() {
    let (world, webhooks) = world_telling(&[GOOD]).await;
    world.executor.on_land([Land::Breaks(lost()), Land::Rows(3, 0)]);
    world.flow().await;
    let worker = world.worker();
    assert_eq!(status(&world.finished_after_pauses().await), RunStatus::Success);
    let told = webhooks.wait_for(2).await;
    worker.stop().await;
    assert_eq!(told.iter().filter(|arrived| arrived.status() == "inProgress").count(), 1);
}

#[tokio::test]
async fn a_dead_webhook_is_in_the_way_of_no_run_and_of_no_other_webhook() {
    let (world, webhooks) = world_telling(&[GOOD, OTHER]).await;
    webhooks.behave(OTHER, Some(Manner::Dead));
    world.flow().await;
    let worker = world.worker();
    assert_eq!(status(&world.finished().await), RunStatus::Success);
    let told = webhooks.wait_for(2).await;
    assert!(told.iter().all(|arrived| arrived.url == GOOD), "{told:#?}");
    worker.stop().await;
}

#[tokio::test]
async fn what_a_webhook_did_not_take_comes_again_also_after_a_restart() {
    let (world, webhooks) = world_telling(&[GOOD]).await;
    webhooks.behave(GOOD, Some(Manner::Broken));
    world.flow().await;
    let worker = world.worker();
    world.finished().await;
    webhooks.wait_for_tries(1).await;
    worker.kill().await;
    assert!(webhooks.taken().is_empty());

    webhooks.behave(GOOD, None);
    world.let_leases_end();
    let next = RunningWorker::start(telling(world.other_process(), &webhooks, &[GOOD]));
    let told = webhooks.wait_for(2).await;
    next.stop().await;
    let tried = webhooks.tried.lock().unwrap().clone();
    assert!(
        told.iter().any(|arrived| tried.iter().filter(|tried| tried.id == arrived.id).count() > 1),
        "one of them was tried before the kill: {tried:#?}"
    );
    for arrived in &told {
        let same = tried.iter().filter(|tried| tried.id == arrived.id);
        assert!(
            same.clone().all(|tried| tried.body == arrived.body),
            "a try changes nothing: {:#?}",
            same.collect::<Vec<_>>()
        );
    }
}

#[tokio::test]
async fn what_was_on_its_way_when_the_process_died_is_delivered_by_the_next_one() {
    let (world, webhooks) = world_telling(&[GOOD]).await;
    webhooks.behave(GOOD, Some(Manner::Dead));
    world.flow().await;
    let worker = world.worker();
    world.finished().await;
    webhooks.wait_for_tries(1).await;
    worker.kill().await;
    webhooks.behave(GOOD, None);
    let next = RunningWorker::start(telling(world.other_process(), &webhooks, &[GOOD]));
    world.let_leases_end();
    let told = webhooks.wait_for(2).await;
    next.stop().await;
    assert_eq!(told.len(), 2, "{told:#?}");
}

#[tokio::test]
async fn of_several_workers_one_tells() {
    let (world, webhooks) = world_telling(&[GOOD]).await;
    let others: Vec<_> =
        (0..3).map(|_| RunningWorker::start(telling(world.other_process(), &webhooks, &[GOOD]))).collect();
    world.flow().await;
    world.finished().await;
    webhooks.wait_for(2).await;
    sleep(Duration::from_millis(200)).await;
    assert_eq!(webhooks.tried(), 2, "{:#?}", webhooks.taken());
    for worker in others {
        worker.stop().await;
    }
}

#[tokio::test]
async fn a_run_that_takes_long_is_told_once() {
    let (world, webhooks) = world_telling(&[GOOD]).await;
    world.executor.on_land([Land::UntilCancelled]);
    world.flow().await;
    let worker = world.worker();
    world.landings(1).await;
    webhooks.wait_for(1).await;
    sleep(Duration::from_millis(100)).await;
    assert_eq!(webhooks.taken().len(), 1, "two hours and a half have not passed");
    world.clock.advance(Duration::from_secs(150 * 60 + 1));
    let told = webhooks.wait_for(2).await;
    assert_eq!((told[1].code.as_str(), told[1].status().as_str()), ("source_flow_run_error", "inProgress"));
    assert_eq!(told[1].json()["metrics"]["recordSummary"]["inputRecordCount"], 2, "with the counters of this moment");
    sleep(Duration::from_millis(100)).await;
    assert_eq!(webhooks.taken().len(), 2);
    worker.kill().await;
}

#[tokio::test]
async fn a_flow_that_is_deleted_tells_that_its_run_has_failed() {
    let (world, webhooks) = world_telling(&[GOOD]).await;
    world.executor.on_land([Land::UntilCancelled]);
    let flow = world.flow().await;
    let worker = world.worker();
    world.landings(1).await;
    world.control.delete_flow(&world.caller, &flow.id.to_string(), Precondition::None).await.unwrap();
    let told = webhooks.wait_for(2).await;
    worker.stop().await;
    let failed = told.iter().find(|arrived| arrived.status() == "failed").expect("the failure");
    assert_eq!(failed.json()["flowName"], "orders to lake");
}

#[tokio::test]
async fn a_run_whose_record_is_corrected_tells_its_success_too() {
    let (world, webhooks) = world_telling(&[GOOD]).await;
    let go_on = Arc::new(Notify::new());
    let refused = JobError::Definite(failure(Stage::Lake, "no space left below file:///lake"));
    world.executor.on_commit([Commit::Stalled(go_on.clone()), Commit::Breaks(refused)]);
    world.flow().await;
    let first = world.worker();
    world.commits_begun(1).await;
    world.let_leases_end();
    let second = RunningWorker::start(telling(world.other_process(), &webhooks, &[GOOD]));
    assert_eq!(status(&world.finished().await), RunStatus::Failed);
    go_on.notify_one();
    let run = world.run_when(|run| status(run) == RunStatus::Success).await;
    let told = webhooks.wait_for(3).await;
    first.stop().await;
    second.stop().await;
    let mut statuses: Vec<String> = told.iter().map(Arrived::status).collect();
    statuses.sort();
    assert_eq!(statuses, ["failed", "inProgress", "success"]);
    let corrected = told.iter().find(|arrived| arrived.status() == "success").expect("the success");
    assert_eq!(corrected.json()["etag"], run.etag.as_str());
}

#[tokio::test]
async fn what_nobody_takes_for_a_day_is_given_up() {
    let (world, webhooks) = world_telling(&[GOOD]).await;
    webhooks.behave(GOOD, Some(Manner::Broken));
    world.flow().await;
    let worker = world.worker();
    world.finished().await;
    worker.stop().await;
    let tried = webhooks.tried();
    assert!(webhooks.taken().is_empty());
    world.clock.advance(Duration::from_secs(25 * 3600));
    let worker = world.worker();
    let key = digest::digest(&digest::SHA256, GOOD.as_bytes());
    let key: String = key.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let gone = async {
        while world.store.notifications_waiting(&key).await.unwrap() > 0 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, gone).await.expect("nothing waits any more");
    worker.stop().await;
    assert!(webhooks.tried() <= tried + 2, "at most one more try of each");
    assert!(webhooks.taken().is_empty());
}

#[tokio::test]
async fn without_webhooks_nothing_is_written_down() {
    let world = World::start().await;
    world.flow().await;
    let worker = world.worker();
    world.finished().await;
    worker.stop().await;
    assert_eq!(world.store.forget_notifications(i64::MAX / 1000).await.unwrap(), 0);
}
