//! Who did what to which version of what (flow-service.md 20).
//!
//! What is done is recorded in the transaction that does it. What is refused is recorded by itself, up to
//! [`REFUSALS_PER_MINUTE_MAX`] of one client: an attempt costs its caller nothing, and must not fill the disk or keep
//! those waiting who have something to write. Records are kept for [`KEPT`], as the documentation says.

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
pub(crate) struct RefusalMeter(Mutex<HashMap<ClientId, Minute>>);

/// What was refused of a client in the minute that began at this moment.
#[derive(Debug, Clone, Copy)]
struct Minute {
    began_at_ms: i64,
    refusals: u32,
}

impl RefusalMeter {
    /// Whether another refusal of this client is to be recorded.
    fn admits(&self, client: &ClientId, now_ms: i64) -> bool {
        const MINUTE_MS: i64 = 60_000;
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let minute = clients.entry(client.clone()).or_insert(Minute { began_at_ms: now_ms, refusals: 0 });
        if now_ms.saturating_sub(minute.began_at_ms) >= MINUTE_MS {
            *minute = Minute { began_at_ms: now_ms, refusals: 0 };
        }
        minute.refusals = minute.refusals.saturating_add(1);
        if minute.refusals == REFUSALS_PER_MINUTE_MAX + 1 {
            warn!(%client, "very many attempts of this client are refused; for a while they are only counted");
        }
        if minute.refusals > REFUSALS_PER_MINUTE_MAX {
            counter!("headwaters_audit_left_out_total").increment(1);
        }
        minute.refusals <= REFUSALS_PER_MINUTE_MAX
    }
}

impl Control {
    /// Records what a caller may not do and tried. The caller is refused anyway: that it could not be recorded is for
    /// the log.
    pub async fn record_refusal(&self, caller: &Caller, action: &str, resource: ResourceRef) {
        let now_ms = self.clock.now_ms();
        if !self.refusals.admits(&caller.actor.client, now_ms) {
            return;
        }
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
        if self.refusals.admits(client, now_ms) {
            let store = self.store.clone();
            tokio::spawn(async move {
                log_failure(store.audit_refused_login(&account, request_id.as_deref(), now_ms).await);
            });
        }
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

    #[test]
    fn a_flood_of_refusals_is_recorded_in_part_and_nobody_else_pays_for_it() {
        let meter = RefusalMeter::default();
        let (loud, quiet) = (ClientId::mint(), ClientId::mint());
        let recorded = |now_ms| (0..1000).filter(|_| meter.admits(&loud, now_ms)).count();
        assert_eq!(recorded(0), REFUSALS_PER_MINUTE_MAX as usize);
        assert_eq!(recorded(59_999), 0);
        assert!(meter.admits(&quiet, 59_999));
        assert_eq!(recorded(60_000), REFUSALS_PER_MINUTE_MAX as usize);
    }
}
