//! Who did what to which version of what (flow-service.md 20).

use headwaters_model::etag::Etag;
use headwaters_model::resource::ResourceRef;
use headwaters_store::{AuditEntry, StoreError, Tx};

use crate::access::Caller;

/// What a caller did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    /// Made it.
    Create,
    /// Deleted it.
    Delete,
    /// Closed a run before its end.
    Cancel,
}

impl Deed {
    const fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Delete => "delete",
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
    let entry = AuditEntry {
        at_ms: now_ms,
        by: &caller.actor,
        action: deed.name(),
        resource,
        etag: Some(etag),
        request_id: Some(caller.request_id.as_str()).filter(|id| !id.is_empty()),
        allowed: true,
    };
    tx.audit(&entry).await
}
