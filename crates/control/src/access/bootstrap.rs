//! What a first start makes: an organisation, its sandbox, one technical account (product.md, "Command line").
//!
//! **Invariant.** The secret is kept by its owner before the account exists: whenever the process dies, the next start
//! finds either an account whose secret is kept, or no account. No order of crashes locks an installation out.

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
    /// Mints the credentials of the first account; none when there is an account already. Nothing is stored: the
    /// credentials must first be kept where their owner finds them, then [`Self::adopt`] makes them good.
    pub async fn prepare(&self) -> Result<Option<Credentials>, CommandError> {
        let (known, peopled) = self.founded().await?;
        if peopled {
            return Ok(None);
        }
        let account = Account::mint(known.unwrap_or_else(OrgId::mint), FIRST_ACCOUNT, Role::Manage, 0);
        Ok(Some(Credentials {
            org_id: account.org,
            client_id: account.client_id,
            client_secret: random_secret().map_err(StoreError::from)?,
            scopes: account.scopes,
            sandbox: DEFAULT_SANDBOX.to_owned(),
        }))
    }

    /// Makes organisation, sandbox and account of credentials that are kept. False, and nothing is done, when there is an
    /// account already: its own credentials are the ones.
    pub async fn adopt(&self, credentials: &Credentials) -> Result<bool, CommandError> {
        let (known, peopled) = self.founded().await?;
        if peopled {
            return Ok(false);
        }
        let now_ms = self.clock.now_ms();
        let org = credentials.org_id.clone();
        let account = Account {
            client_id: credentials.client_id.clone(),
            scopes: credentials.scopes.clone(),
            ..Account::mint(org.clone(), FIRST_ACCOUNT, Role::Manage, now_ms)
        };
        // An organisation without an account is what a crash between the two steps below leaves behind.
        if known.as_ref() != Some(&org) {
            self.store.create_organisation(&Sandbox::prod(org, account.user_id.clone(), now_ms)).await?;
        }
        self.store.create_account(NewAccount { account: &account, secret: &credentials.client_secret }).await?;
        Ok(true)
    }

    /// An organisation, if there is one, and whether it has an account: one with an account comes first.
    async fn founded(&self) -> Result<(Option<OrgId>, bool), CommandError> {
        let organisations = self.store.organisations().await?;
        for org in &organisations {
            if !self.store.accounts(org).await?.is_empty() {
                return Ok((Some(org.clone()), true));
            }
        }
        Ok((organisations.into_iter().next(), false))
    }
}
