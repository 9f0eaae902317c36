//! Technical accounts and their secrets, of which only the hash is kept.

use headwaters_model::account::Account;
use headwaters_model::id::{ClientId, OrgId};
use headwaters_model::secret::Secret;

use crate::db::Store;
use crate::error::StoreError;
use crate::rows;
use crate::vault::{same, sha256_hex};

/// An account to make, with the secret that only its owner will know.
#[derive(Debug)]
pub struct NewAccount<'a> {
    /// The account.
    pub account: &'a Account,
    /// Its secret; the store keeps its SHA-256.
    pub secret: &'a Secret,
}

impl Store {
    /// Makes an account.
    pub async fn create_account(&self, new: NewAccount<'_>) -> Result<(), StoreError> {
        let NewAccount { account, secret } = new;
        let query = sqlx::query(
            "insert into account (client_id, org, secret_sha256, created_at_us, body) values ($1, $2, $3, $4, $5)",
        );
        let query = query
            .bind(account.client_id.as_str())
            .bind(account.org.as_str())
            .bind(sha256_hex(secret.expose()))
            .bind(rows::us(account.created_at_ms))
            .bind(rows::to_json("an account", account)?);
        query.execute(self.writer()).await?;
        Ok(())
    }

    /// The account of a client id.
    pub async fn account(&self, client: &ClientId) -> Result<Option<Account>, StoreError> {
        let query = sqlx::query("select body from account where client_id = $1").bind(client.as_str());
        let row = query.fetch_optional(self.lookups()).await?;
        row.map(|row| rows::json(&row, "body")).transpose()
    }

    /// The account of a client id if the secret is its own; an unknown client takes the same time.
    pub async fn authenticate(&self, client: &ClientId, secret: &Secret) -> Result<Option<Account>, StoreError> {
        let query = sqlx::query("select secret_sha256, body from account where client_id = $1").bind(client.as_str());
        let row = query.fetch_optional(self.lookups()).await?;
        let hash = sha256_hex(secret.expose());
        let Some(row) = row else { return Ok(None) };
        let stored: &str = rows::value(&row, "secret_sha256")?;
        if same(stored, &hash) { rows::json(&row, "body").map(Some) } else { Ok(None) }
    }

    /// The accounts of an organisation, the oldest first.
    pub async fn accounts(&self, org: &OrgId) -> Result<Vec<Account>, StoreError> {
        let query = sqlx::query("select body from account where org = $1 order by created_at_us, client_id");
        let found = query.bind(org.as_str()).fetch_all(self.readers()).await?;
        found.iter().map(|row| rows::json(row, "body")).collect()
    }
}
