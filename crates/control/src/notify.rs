//! The one place that hears facts about runs (flow-service.md 18): it writes down what is to be told, and tells it
//! (`deliver.rs`).
//!
//! **Invariant.** What is to be told is written in the transaction that makes it true, once for each webhook, and deleted
//! when the webhook has taken it: no fact is lost by a crash. One may be told twice, when the process dies between the
//! answer of the webhook and the deletion; the id of the delivery and the etag of the run in it tell that it is the same.
//!
//! | Fact | Written by | Event |
//! |---|---|---|
//! | a run begins | its first attempt | `source_flow_run_info` |
//! | a run has succeeded | `settle.rs`; once more, under another etag, where the record of a run is corrected | `source_flow_run_info` |
//! | a run has failed | `settle.rs`; for what a deleted flow leaves behind, the deletion | `source_flow_run_error` |
//! | a run takes long | `deliver.rs`, once a run | `source_flow_run_error` |
//!
//! A re-trigger is a run of its own and tells its own facts. What services report of a run is theirs, and is not told.

mod deliver;

use std::sync::Arc;

use aws_lc_rs::digest;
use headwaters_model::flow::Flow;
use headwaters_model::resource::Resource;
use headwaters_model::run::{Run, RunStatus};
use headwaters_model::secret::Secret;
use headwaters_store::{NewNotification, StoreError, Tx};
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram};
use serde_json::{Value, json};
use tracing::warn;

use crate::Control;
use crate::ports::Webhooks;

/// How many webhooks there may be.
pub const WEBHOOKS_MAX: usize = 16;
/// How many notifications may wait for one webhook; beyond that the oldest gives way.
pub const NOTIFICATIONS_WAITING_MAX: u32 = 10_000;
/// How large the body of a notification may be, bytes; a larger record is told without what makes it large.
pub const NOTIFICATION_BYTES_MAX: usize = 256 * 1024;
/// How many errors a record shows that is told in short.
const ERRORS_IN_SHORT_MAX: usize = 8;
/// How long each text of them may be, in characters.
const TEXT_IN_SHORT_MAX: usize = 2_000;
/// What is told of a run whose record is too large in short too: what tells which one it is, and how it stands.
const ALWAYS_TOLD: [&str; 9] =
    ["id", "etag", "flowId", "imsOrgId", "sandboxId", "sandboxName", "createdAt", "updatedAt", "header"];
/// What all events about runs are attributed to.
const PROVIDER: &str = "aep_observability_catalog_events";

/// One that is told of runs.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// Where it listens, an absolute URL. Never logged: a part of it may be what keeps others out.
    pub url: String,
    /// What its deliveries are signed with.
    pub secret: Secret,
}

/// What is worth telling of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fact {
    /// It has begun.
    Begun,
    /// It is over, and well.
    Succeeded,
    /// It is over, and not well.
    Failed,
    /// It takes long.
    Late,
}

impl Fact {
    /// What the end of a run is.
    pub(crate) fn of_end(status: RunStatus) -> Self {
        if status == RunStatus::Failed { Self::Failed } else { Self::Succeeded }
    }

    /// The published code of its event.
    const fn event_code(self) -> &'static str {
        match self {
            Self::Begun | Self::Succeeded => "source_flow_run_info",
            Self::Failed | Self::Late => "source_flow_run_error",
        }
    }
}

/// The webhooks of this process, and the way to them.
#[derive(Clone, Default)]
pub(crate) struct Notifier {
    webhooks: Arc<[Known]>,
    post: Option<Arc<dyn Webhooks>>,
}

/// A webhook as it is known.
struct Known {
    /// Its number in the settings, from 1: what it is called in logs and metrics.
    number: usize,
    /// Under which name its notifications wait: the digest of its URL, so that it finds them again after a restart.
    key: String,
    webhook: Webhook,
}

impl Notifier {
    pub(crate) fn new(webhooks: Vec<Webhook>, post: Arc<dyn Webhooks>) -> Self {
        let known = webhooks.into_iter().take(WEBHOOKS_MAX).enumerate().map(|(at, webhook)| Known {
            number: at + 1,
            key: hex(digest::digest(&digest::SHA256, webhook.url.as_bytes()).as_ref()),
            webhook,
        });
        Self { webhooks: known.collect(), post: Some(post) }
    }
}

impl Control {
    /// The same control, telling these webhooks of the runs of its flows.
    #[must_use]
    pub fn telling(self, webhooks: Vec<Webhook>, post: Arc<dyn Webhooks>) -> Self {
        Self { notifier: Notifier::new(webhooks, post), ..self }
    }

    /// Writes down a fact about a run, to be told to every webhook: in the transaction that makes it true.
    pub(crate) async fn tell(&self, tx: &mut Tx, fact: Fact, run: &Resource<Run>) -> Result<(), StoreError> {
        let webhooks = &self.notifier.webhooks;
        if webhooks.is_empty() || !self.specs.notifies_of_runs(run.body.flow_spec.id) {
            return Ok(());
        }
        let flow = tx.get::<Flow>(&run.body.flow_id).await?;
        let payload = payload(fact, run, flow.and_then(|flow| flow.body.name).as_deref());
        for known in webhooks.iter() {
            let new = NewNotification {
                webhook: &known.key,
                run: run.id,
                event_code: fact.event_code(),
                payload: &payload,
                at_ms: self.clock.now_ms(),
            };
            let gave_way = tx.put_notification(&new, NOTIFICATIONS_WAITING_MAX).await?;
            if gave_way > 0 {
                counter!("headwaters_notifications_total", "outcome" => "gave_way").increment(gave_way);
                warn!(webhook = known.number, "too many notifications wait for a webhook: the oldest is not told");
            }
        }
        Ok(())
    }
}

/// What is sent: the record of the run as it is shown, the name of its flow, and the header of the event.
fn payload(fact: Fact, run: &Resource<Run>, flow_name: Option<&str>) -> String {
    let mut body = run.shown();
    if let Some(name) = flow_name {
        body["flowName"] = name.into();
    }
    body["header"] = json!({ "_adobeio": {
        "imsOrgId": run.scope.org.as_str(), "providerMetadata": PROVIDER, "eventCode": fact.event_code(),
    } });
    let fits = |told: &String| told.len() <= NOTIFICATION_BYTES_MAX;
    let whole = body.to_string();
    if fits(&whole) {
        return whole;
    }
    let body = in_short(body);
    Some(body.to_string()).filter(fits).unwrap_or_else(|| bare(body).to_string())
}

/// The same with how long the run took, how it ended and why it failed, without what has no bound.
fn in_short(mut body: Value) -> Value {
    let ended = &body["metrics"]["statusSummary"];
    let mut summary = json!({ "status": ended["status"] });
    if let Some(errors) = ended["errors"].as_array() {
        let clipped = |error: &Value| json!({ "code": clipped(&error["code"]), "message": clipped(&error["message"]) });
        summary["errors"] = errors.iter().take(ERRORS_IN_SHORT_MAX).map(clipped).collect();
    }
    if ended["extensions"]["errorDetail"].is_string() {
        summary["extensions"] = json!({ "errorDetail": clipped(&ended["extensions"]["errorDetail"]) });
    }
    let metrics = json!({ "durationSummary": body["metrics"]["durationSummary"], "statusSummary": summary });
    for (key, value) in [("metrics", metrics), ("activities", json!([]))] {
        body[key] = value;
    }
    for key in ["params", "childFlowRunIds", "predecessors", "recordTypes"] {
        body.as_object_mut().and_then(|fields| fields.remove(key));
    }
    body
}

/// What is left of a record in short that is too large all the same: a service may have reported anything of a run.
fn bare(mut body: Value) -> Value {
    let status = json!({ "statusSummary": { "status": clipped(&body["metrics"]["statusSummary"]["status"]) } });
    if let Some(fields) = body.as_object_mut() {
        fields.retain(|key, _| ALWAYS_TOLD.contains(&key.as_str()));
        fields.insert("metrics".to_owned(), status);
    }
    body
}

/// The beginning of a text; null of what is none.
fn clipped(text: &Value) -> Value {
    text.as_str().map(|text| text.chars().take(TEXT_IN_SHORT_MAX).collect::<String>()).into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Describes what is counted of notifications.
pub(crate) fn describe_metrics() {
    describe_counter!(
        "headwaters_notifications_total",
        "notifications by what became of them: delivered, failed (tried again later), given_up, gave_way (to newer ones)"
    );
    describe_gauge!("headwaters_notifications_waiting", "notifications that wait, by the number of the webhook");
    describe_histogram!("headwaters_notification_seconds", Unit::Seconds, "how long a webhook took to answer");
}

#[cfg(test)]
mod tests {
    use headwaters_model::account::Actor;
    use headwaters_model::id::{FlowId, OrgId, UserId};
    use headwaters_model::resource::State;
    use headwaters_model::sandbox::Sandbox;
    use headwaters_model::spec::{CRM_TO_AEP, SpecRef};

    use super::*;

    fn run() -> Resource<Run> {
        let scope = Sandbox::prod(OrgId::mint(), UserId::mint(), 7).scope();
        let body = Run::scheduled(FlowId::mint(), SpecRef::new(CRM_TO_AEP), None);
        Resource::new(scope, State::Enabled, body, &Actor::scheduler(), 7)
    }

    #[test]
    fn a_notification_is_the_record_with_the_name_of_the_flow_and_a_header() {
        let run = run();
        let told: Value = serde_json::from_str(&payload(Fact::Late, &run, Some("orders"))).unwrap();
        assert_eq!((&told["id"], &told["etag"]), (&json!(run.id), &json!(run.etag)));
        assert_eq!(told["metrics"]["statusSummary"]["status"], "scheduled");
        assert_eq!(told["flowName"], "orders");
        let header =
            json!({ "imsOrgId": run.scope.org, "providerMetadata": PROVIDER, "eventCode": "source_flow_run_error" });
        assert_eq!(told["header"]["_adobeio"], header);
    }

    #[test]
    fn a_record_that_is_too_large_is_told_in_short() {
        let mut run = run();
        let notes = "x".repeat(NOTIFICATION_BYTES_MAX);
        run.body.metrics = json!({ "statusSummary": { "status": "success", "extensions": { "notes": [notes] } } });
        let told = payload(Fact::Succeeded, &run, None);
        assert!(told.len() < 10_000, "{}", told.len());
        let told: Value = serde_json::from_str(&told).unwrap();
        assert_eq!(told["metrics"]["statusSummary"], json!({ "status": "success" }));
        assert_eq!(told["etag"], json!(run.etag));
    }

    #[test]
    fn a_failure_that_is_told_in_short_says_why() {
        let mut run = run();
        let long = "x".repeat(NOTIFICATION_BYTES_MAX);
        run.body.metrics = json!({ "statusSummary": {
            "status": "failed",
            "errors": vec![json!({ "code": "CONNECTOR-1001-500", "message": format!("no table: {long}") }); 100],
            "extensions": { "errorDetail": format!("no table; name another: {long}"), "notes": [long] },
        } });
        let told = payload(Fact::Failed, &run, None);
        assert!(told.len() < 50_000, "{}", told.len());
        let told: Value = serde_json::from_str(&told).unwrap();
        let ended = &told["metrics"]["statusSummary"];
        assert_eq!(ended["errors"].as_array().map(Vec::len), Some(ERRORS_IN_SHORT_MAX));
        assert_eq!(ended["errors"][0]["code"], "CONNECTOR-1001-500");
        assert!(ended["errors"][0]["message"].as_str().unwrap().starts_with("no table: x"));
        assert!(ended["extensions"]["errorDetail"].as_str().unwrap().starts_with("no table; name another: x"));
    }

    #[test]
    fn a_record_that_is_too_large_in_short_too_tells_which_run_it_is() {
        let run = run();
        let told = payload(Fact::Failed, &run, Some(&"x".repeat(NOTIFICATION_BYTES_MAX)));
        assert!(told.len() < 10_000, "{}", told.len());
        let told: Value = serde_json::from_str(&told).unwrap();
        assert_eq!((&told["id"], &told["etag"]), (&json!(run.id), &json!(run.etag)));
        assert_eq!(told["metrics"]["statusSummary"]["status"], "scheduled");
        assert_eq!(told["header"]["_adobeio"]["eventCode"], "source_flow_run_error");
    }
}
