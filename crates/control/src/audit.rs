//! Who did what to which version of what (flow-service.md 20).
//!
//! What is done is recorded in the transaction that does it. What is refused is recorded by itself, up to
//! [`REFUSALS_PER_MINUTE_MAX`] of one client: an attempt costs its caller nothing, and must not fill the disk or keep
//! those waiting who have something to write. Where more follows, one record says so ([`LEFT_OUT`]): a gap is seen.
//! Logins are counted by themselves: anybody may try one under any client id, and must not use up the room for what the
//! client itself tries. Records are kept for [`KEPT`], as the documentation says.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use headwaters_model::etag::Etag;
use headwaters_model::id::ClientId;
use headwaters_model::resource::ResourceRef;
use headwaters_store::{AuditEntry, StoreError, Tx};
use metrics::counter;
use tokio::time::sleep;
use tracing::{error, warn};

use crate::Control;
use crate::access::Caller;
use crate::worker::millis;

/// How many refusals of one client are recorded in a minute; the others are only counted.
pub(crate) const REFUSALS_PER_MINUTE_MAX: u32 = 60;
/// The action of the record behind which refusals of its client and kind are only counted, for the rest of a minute.
const LEFT_OUT: &str = "left-out";
/// How long what was recorded is kept (flow-service.md 20).
const KEPT: Duration = Duration::from_secs(365 * 24 * 3600);
/// How often a worker forgets what is older.
const FORGET_EVERY: Duration = Duration::from_secs(3600);
/// How many records are forgotten in one go, so that others who write wait for moments only.
const FORGET_BATCH: u32 = 1000;

/// What a caller did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    /// Made it.
    Create,
    /// Changed part of it.
    Update,
    /// Took a draft into use.
    Publish,
    /// Took it into use again.
    Enable,
    /// Laid it to rest.
    Disable,
    /// Deleted it.
    Delete,
    /// Made a run on demand.
    RunOnDemand,
    /// Made a run that repeats another.
    ReTrigger,
    /// Replaced what is reported of a run.
    Report,
    /// Closed a run before its end.
    Cancel,
}

impl Deed {
    const fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Publish => "publish",
            Self::Enable => "enable",
            Self::Disable => "disable",
            Self::Delete => "delete",
            Self::RunOnDemand => "on-demand-run",
            Self::ReTrigger => "re-trigger",
            Self::Report => "report",
            Self::Cancel => "cancel",
        }
    }
}

/// Records what a caller does, in the transaction that does it. There is no field that could hold a secret.
pub(crate) async fn note(
    tx: &mut Tx,
    caller: &Caller,
    deed: Deed,
    resource: ResourceRef,
    etag: &Etag,
    now_ms: i64,
) -> Result<(), StoreError> {
    record(tx, caller, deed, resource, Some(etag), now_ms).await
}

/// Records what a caller does to something that has no version: a spec.
pub(crate) async fn note_unversioned(
    tx: &mut Tx,
    caller: &Caller,
    deed: Deed,
    resource: ResourceRef,
    now_ms: i64,
) -> Result<(), StoreError> {
    record(tx, caller, deed, resource, None, now_ms).await
}

async fn record(
    tx: &mut Tx,
    caller: &Caller,
    deed: Deed,
    resource: ResourceRef,
    etag: Option<&Etag>,
    now_ms: i64,
) -> Result<(), StoreError> {
    let entry = AuditEntry {
        at_ms: now_ms,
        by: &caller.actor,
        action: deed.name(),
        resource,
        etag,
        request_id: Some(caller.request_id.as_str()).filter(|id| !id.is_empty()),
        allowed: true,
    };
    tx.audit(&entry).await
}

/// Bounds how much of what is refused is recorded. Only clients that have an account are remembered.
#[derive(Debug, Default)]
pub(crate) struct RefusalMeter(Mutex<HashMap<(ClientId, Refused), Minute>>);

/// What is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Refused {
    /// Somebody who does not know the secret of the client, and may be anybody.
    Login,
    /// An act of the client itself.
    Act,
}

/// What is recorded of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Recorded {
    /// The refusal.
    Itself,
    /// That it, and others after it, are left out.
    Gap,
    /// Nothing.
    Nothing,
}

/// What was refused of a client in the minute that began at this moment.
#[derive(Debug, Clone, Copy)]
struct Minute {
    began_at_ms: i64,
    refusals: u32,
}

impl RefusalMeter {
    /// What is to be recorded of another refusal of this client.
    fn count(&self, client: &ClientId, refused: Refused, now_ms: i64) -> Recorded {
        const MINUTE_MS: i64 = 60_000;
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let minute = clients.entry((client.clone(), refused)).or_insert(Minute { began_at_ms: now_ms, refusals: 0 });
        if now_ms.saturating_sub(minute.began_at_ms) >= MINUTE_MS {
            *minute = Minute { began_at_ms: now_ms, refusals: 0 };
        }
        minute.refusals = minute.refusals.saturating_add(1);
        if minute.refusals <= REFUSALS_PER_MINUTE_MAX {
            return Recorded::Itself;
        }
        counter!("headwaters_audit_left_out_total").increment(1);
        if minute.refusals > REFUSALS_PER_MINUTE_MAX + 1 {
            return Recorded::Nothing;
        }
        warn!(%client, ?refused, "very many attempts of this client are refused; for a while they are only counted");
        Recorded::Gap
    }
}

impl Control {
    /// Records what a caller may not do and tried. The caller is refused anyway: that it could not be recorded is for
    /// the log.
    pub async fn record_refusal(&self, caller: &Caller, action: &str, resource: ResourceRef) {
        let now_ms = self.clock.now_ms();
        let (action, resource) = match self.refusals.count(&caller.actor.client, Refused::Act, now_ms) {
            Recorded::Itself => (action, resource),
            Recorded::Gap => (LEFT_OUT, ResourceRef::new(resource.collection, "")),
            Recorded::Nothing => return,
        };
        let entry = AuditEntry {
            at_ms: now_ms,
            by: &caller.actor,
            action,
            resource,
            etag: None,
            request_id: Some(caller.request_id.as_str()).filter(|id| !id.is_empty()),
            allowed: false,
        };
        let written = async {
            let mut tx = self.store.write(&caller.scope).await?;
            tx.audit(&entry).await?;
            tx.commit().await
        };
        log_failure(written.await);
    }

    /// Records that somebody did not know the secret of an account, if there is such an account.
    ///
    /// It is looked for whether it is there or not, and the record is written while the caller is answered: how long an
    /// answer takes does not tell which client ids exist.
    pub(crate) async fn record_refused_login(
        &self,
        client: &ClientId,
        request_id: Option<String>,
    ) -> Result<(), StoreError> {
        let Some(account) = self.store.account(client).await? else { return Ok(()) };
        let now_ms = self.clock.now_ms();
        let action = match self.refusals.count(client, Refused::Login, now_ms) {
            Recorded::Itself => "login",
            Recorded::Gap => LEFT_OUT,
            Recorded::Nothing => return Ok(()),
        };
        let store = self.store.clone();
        tokio::spawn(async move {
            log_failure(store.audit_refused_login(&account, action, request_id.as_deref(), now_ms).await);
        });
        Ok(())
    }

    /// Forgets at once and then every hour what is too old, until it is dropped.
    pub(crate) async fn keep_audit_short(self) {
        loop {
            if let Err(error) = self.forget_old_audit().await {
                error!(error = &error as &dyn std::error::Error, "could not forget old records of the audit");
            }
            sleep(FORGET_EVERY).await;
        }
    }

    async fn forget_old_audit(&self) -> Result<(), StoreError> {
        let before_ms = self.clock.now_ms().saturating_sub(millis(KEPT));
        while self.store.forget_audit(before_ms, FORGET_BATCH).await? == u64::from(FORGET_BATCH) {
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}

fn log_failure(written: Result<(), StoreError>) {
    if let Err(error) = written {
        error!(error = &error as &dyn std::error::Error, "could not record an attempt that was refused");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is recorded of a thousand refusals.
    fn flood(meter: &RefusalMeter, client: &ClientId, refused: Refused, now_ms: i64) -> Vec<Recorded> {
        let recorded = (0..1000).map(|_| meter.count(client, refused, now_ms));
        recorded.filter(|recorded| *recorded != Recorded::Nothing).collect()
    }

    fn full_minute() -> Vec<Recorded> {
        let mut minute = vec![Recorded::Itself; REFUSALS_PER_MINUTE_MAX as usize];
        minute.push(Recorded::Gap);
        minute
    }

    #[test]
    fn a_flood_of_refusals_is_recorded_in_part_with_its_gap_and_nobody_else_pays_for_it() {
        let meter = RefusalMeter::default();
        let (loud, quiet) = (ClientId::mint(), ClientId::mint());
        assert_eq!(flood(&meter, &loud, Refused::Act, 0), full_minute());
        assert_eq!(flood(&meter, &loud, Refused::Act, 59_999), []);
        assert_eq!(meter.count(&quiet, Refused::Act, 59_999), Recorded::Itself);
        assert_eq!(flood(&meter, &loud, Refused::Act, 60_000), full_minute());
    }

    #[test]
    fn strangers_who_guess_a_secret_do_not_hide_what_its_client_tries() {
        let (meter, client) = (RefusalMeter::default(), ClientId::mint());
        assert_eq!(flood(&meter, &client, Refused::Login, 0), full_minute());
        assert_eq!(flood(&meter, &client, Refused::Act, 0), full_minute());
    }

    #[test]
    fn the_page_about_serving_names_every_action() {
        use Deed::{Cancel, Create, Delete, Disable, Enable, Publish, ReTrigger, Report, RunOnDemand, Update};
        let page = include_str!("../../../docs/api.md");
        let audit = page.split("## Audit").nth(1).unwrap();
        let deeds = [Create, Update, Publish, Enable, Disable, Delete, RunOnDemand, ReTrigger, Report, Cancel];
        for name in deeds.map(Deed::name).into_iter().chain([LEFT_OUT, "settle", "login"]) {
            assert!(audit.contains(&format!("`{name}`")), "{name}");
        }
        assert!(audit.contains(&format!("at most {REFUSALS_PER_MINUTE_MAX} denied")));
        assert!(audit.contains(&format!("{} days", KEPT.as_secs() / (24 * 3600))));
    }
}
