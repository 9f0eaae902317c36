//! Sandboxes: the rooms of an organisation, in which every resource lives (platform-services.md 5).

use serde::{Deserialize, Serialize};

use crate::id::{OrgId, SandboxId, UserId};

/// The sandbox that is meant when a caller names none (flow-service.md 2.3).
pub const DEFAULT_SANDBOX: &str = "prod";

/// Where a resource lives: no query ever leaves it, an id from another scope is not found.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Scope {
    /// The organisation.
    pub org: OrgId,
    /// The sandbox.
    pub sandbox: SandboxId,
    /// The sandbox's name, as every resource shows it.
    pub sandbox_name: String,
}

/// What a sandbox is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SandboxType {
    /// For the real thing.
    Production,
    /// For trying out.
    Development,
}

/// In which phase of its life a sandbox is; only an active one can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SandboxState {
    /// Usable.
    Active,
    /// Being emptied.
    Resetting,
    /// Gone, still readable.
    Deleted,
}

/// A sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sandbox {
    /// Its id.
    pub id: SandboxId,
    /// Whose it is.
    pub org: OrgId,
    /// Its name, unique in the organisation: lower-case letters, digits, hyphen, starting with a letter.
    pub name: String,
    /// What people read.
    pub title: String,
    /// What it is for.
    #[serde(rename = "type")]
    pub kind: SandboxType,
    /// Whether it can be used.
    pub state: SandboxState,
    /// Whether it is meant when none is named.
    pub is_default: bool,
    /// Its version, an integer that grows by one with each change.
    pub version: i64,
    /// When it was made, milliseconds since 1970.
    pub created_at_ms: i64,
    /// When it was last changed, milliseconds since 1970.
    pub updated_at_ms: i64,
    /// Who made it.
    pub created_by: UserId,
    /// Who changed it last.
    pub updated_by: UserId,
}

impl Sandbox {
    /// The default sandbox of a new organisation.
    #[must_use]
    pub fn prod(org: OrgId, by: UserId, now_ms: i64) -> Self {
        Self {
            id: SandboxId::mint(),
            org,
            name: DEFAULT_SANDBOX.to_owned(),
            title: "Production".to_owned(),
            kind: SandboxType::Production,
            state: SandboxState::Active,
            is_default: true,
            version: 1,
            created_at_ms: now_ms,
            updated_at_ms: now_ms,
            created_by: by.clone(),
            updated_by: by,
        }
    }

    /// The scope of the resources in it.
    #[must_use]
    pub fn scope(&self) -> Scope {
        Scope { org: self.org.clone(), sandbox: self.id, sandbox_name: self.name.clone() }
    }
}
