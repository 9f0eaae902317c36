//! What a first start makes: an organisation, its sandbox, one technical account (product.md, "Command line").

use headwaters_model::account::{Account, Role};
use headwaters_model::id::{ClientId, OrgId};
use headwaters_model::sandbox::{DEFAULT_SANDBOX, Sandbox};
use headwaters_model::secret::Secret;
use headwaters_store::{NewAccount, StoreError, random_secret};

use crate::Control;
use crate::error::CommandError;

/// The name of the first account.
const FIRST_ACCOUNT: &str = "first account";

/// What a client needs to get a token. The secret exists here and with whom it is handed to; the store has its hash.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The organisation.
    pub org_id: OrgId,
    /// The account's client id, also its api key.
    pub client_id: ClientId,
    /// The account's secret.
    pub client_secret: Secret,
    /// The scopes that its tokens may carry.
    pub scopes: Vec<String>,
    /// The sandbox that it finds.
    pub sandbox: String,
}

impl Control {
    /// Makes organisation, sandbox and account on a first start, and returns the credentials this once; none when there
    /// is an account already.
    pub async fn bootstrap(&self) -> Result<Option<Credentials>, CommandError> {
        let now_ms = self.clock.now_ms();
        let known = self.store.organisations().await?.into_iter().next();
        if let Some(org) = &known
            && !self.store.accounts(org).await?.is_empty()
        {
            return Ok(None);
        }
        // An organisation without an account is what a crash between the two steps below leaves behind.
        let org = known.clone().unwrap_or_else(OrgId::mint);
        let account = Account::mint(org.clone(), FIRST_ACCOUNT, Role::Manage, now_ms);
        if known.is_none() {
            self.store.create_organisation(&Sandbox::prod(org.clone(), account.user_id.clone(), now_ms)).await?;
        }
        let secret = random_secret().map_err(StoreError::from)?;
        self.store.create_account(NewAccount { account: &account, secret: &secret }).await?;
        Ok(Some(Credentials {
            org_id: org,
            client_id: account.client_id,
            client_secret: secret,
            scopes: account.scopes,
            sandbox: DEFAULT_SANDBOX.to_owned(),
        }))
    }
}
