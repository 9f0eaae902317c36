//! The metadata store: tables, transactions, leases and the credential vault.
//!
//! **Invariant.** Every query on a resource names organisation and sandbox: a [`Tx`] is opened for one [`Scope`] and
//! never leaves it. What serves the whole machine (claiming, accounts, sandboxes) is on [`Store`] itself.
//!
//! **Invariant.** One SQL text per query, `$n` parameters, ids as text, times as microseconds, bodies as JSON text. Only
//! the filters and orders of lists are composed at run time, in `filter.rs`, and values are bound there too.
//!
//! [`Scope`]: headwaters_model::sandbox::Scope

mod accounts;
mod audit;
mod care;
mod data_sets;
mod db;
mod error;
mod filter;
mod flows;
mod landings;
mod leases;
mod lister;
mod notifications;
mod offsets;
mod resources;
mod rows;
mod runs;
mod sandboxes;
mod schema;
mod secrets;
mod specs;
mod splits;
mod tx;
mod vault;

pub use accounts::NewAccount;
pub use audit::{AUDIT_RECORDS, AuditEntry, AuditQuery, AuditRecord};
pub use care::CareClaim;
pub use db::{Store, StoreOptions};
pub use error::{Outdated, StoreError};
pub use flows::DueFlow;
pub use landings::{Kin, LandedRun};
pub use leases::{Claim, DAMAGED_PAUSE_MS, PAUSE_MS_MAX};
pub use notifications::{NewNotification, Notification, NotificationEnd, NotificationTerms};
pub use offsets::{LeftBehind, Offset, PendingCommit, Promotion};
pub use resources::{PAGE_BODIES_BYTES_MAX, Stored, Table};
pub use runs::{Attempt, AttemptEnd, AttemptRecord, Settlement};
pub use specs::SpecName;
pub use splits::{KeptPlan, SplitsLanded};
pub use tx::Tx;
pub use vault::{KeyRing, Vault, VaultError, random_secret};
