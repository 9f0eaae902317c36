//! Who did what to which version of what (flow-service.md 20).

use headwaters_model::resource::{Kind, Resource};
use headwaters_store::{AuditEntry, StoreError, Tx};

use crate::access::Caller;

/// What a caller did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    /// Made it.
    Create,
    /// Deleted it.
    Delete,
}

impl Deed {
    const fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Delete => "delete",
        }
    }
}

/// Records what a caller does, in the transaction that does it. There is no field that could hold a secret.
pub(crate) async fn note<K: Kind>(
    tx: &mut Tx,
    caller: &Caller,
    deed: Deed,
    resource: &Resource<K>,
    now_ms: i64,
) -> Result<(), StoreError> {
    let entry = AuditEntry {
        at_ms: now_ms,
        by: &caller.actor,
        action: deed.name(),
        resource: resource.reference(),
        etag: Some(&resource.etag),
        allowed: true,
    };
    tx.audit(&entry).await
}
