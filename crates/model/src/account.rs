//! Technical accounts: who may call, and what they may do (platform-services.md 6, flow-service.md 2.2 and 20).

use serde::{Deserialize, Serialize};

use crate::id::{ClientId, OrgId, UserId};

/// The scopes of a new account, as the public clients ask for them.
pub const SCOPES: [&str; 5] =
    ["openid", "AdobeID", "read_organizations", "additional_info.projectedProductContext", "session"];
/// The name under which the scheduler acts.
pub const SCHEDULER: &str = "flow_scheduler";

/// What an account may do; each role includes the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads.
    View,
    /// Does all that is not reserved for services.
    Manage,
    /// Its tokens are service tokens: it may also what the API reserves for them.
    Service,
}

/// A technical account. The hash of its secret stays in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Account {
    /// Its client id, the value of `x-api-key`.
    pub client_id: ClientId,
    /// The user that its resources name in `createdBy`.
    pub user_id: UserId,
    /// The organisation that it belongs to.
    pub org: OrgId,
    /// What people call it.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// The scopes that its tokens may carry.
    pub scopes: Vec<String>,
    /// When it was made, milliseconds since 1970.
    pub created_at_ms: i64,
}

/// Who acts: the user and the client that a resource names as its author.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Actor {
    /// `createdBy`, `updatedBy`.
    pub user: UserId,
    /// `createdClient`, `updatedClient`.
    pub client: ClientId,
}

impl Account {
    /// Mints an account with every scope.
    #[must_use]
    pub fn mint(org: OrgId, name: impl Into<String>, role: Role, now_ms: i64) -> Self {
        Self {
            client_id: ClientId::mint(),
            user_id: UserId::mint(),
            org,
            name: name.into(),
            role,
            scopes: SCOPES.iter().map(|scope| (*scope).to_owned()).collect(),
            created_at_ms: now_ms,
        }
    }

    /// As whom it acts. A service acts in its own name: `createdBy` equals `createdClient` (flow-service.md 2.1).
    #[must_use]
    pub fn actor(&self) -> Actor {
        let user = match self.role {
            Role::View | Role::Manage => self.user_id.clone(),
            Role::Service => UserId::of_client(&self.client_id),
        };
        Actor { user, client: self.client_id.clone() }
    }
}

impl Actor {
    /// The scheduler, in whose name due runs are made and every run is settled (flow-service.md 17.4, sample).
    #[must_use]
    pub fn scheduler() -> Self {
        Self { user: UserId::service(SCHEDULER), client: ClientId::service(SCHEDULER) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_account_acts_in_the_name_of_its_client() {
        let service = Account::mint(OrgId::mint(), "loader", Role::Service, 0);
        assert_eq!(service.actor().user.as_str(), service.client_id.as_str());
        let person = Account::mint(OrgId::mint(), "analyst", Role::Manage, 0);
        assert_eq!(person.actor().user, person.user_id);
    }

    #[test]
    fn the_scheduler_is_named_as_in_the_published_records() {
        let Actor { user, client } = Actor::scheduler();
        assert_eq!((user.as_str(), client.as_str()), ("flow_scheduler@AdobeID", "flow_scheduler"));
    }

    #[test]
    fn roles_include_each_other() {
        assert!(Role::View < Role::Manage && Role::Manage < Role::Service);
    }
}
