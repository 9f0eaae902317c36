//! Secrets of resources: sealed by the vault, never in a body.

use headwaters_model::secret::Secret;

use crate::error::StoreError;
use crate::rows;
use crate::tx::Tx;
use crate::vault::Sealed;

impl Tx {
    /// Stores a secret of a resource, in the place of one that is there.
    pub async fn put_secret(&mut self, owner_id: &str, field: &str, secret: &Secret) -> Result<(), StoreError> {
        let sealed = self.vault.seal(owner_id, field, secret)?;
        let query = sqlx::query(
            "insert into secret (owner_id, field, org, sandbox, key_id, nonce, ciphertext)
             values ($1, $2, $3, $4, $5, $6, $7)
             on conflict (owner_id, field) do update
             set key_id = excluded.key_id, nonce = excluded.nonce, ciphertext = excluded.ciphertext",
        );
        let query = query
            .bind(owner_id)
            .bind(field)
            .bind(self.org())
            .bind(self.sandbox())
            .bind(sealed.key_id)
            .bind(sealed.nonce)
            .bind(sealed.ciphertext);
        query.execute(self.connection()).await?;
        Ok(())
    }

    /// The secrets of a resource under their fields.
    pub async fn secrets(&mut self, owner_id: &str) -> Result<Vec<(String, Secret)>, StoreError> {
        let query = sqlx::query(
            "select field, key_id, nonce, ciphertext from secret
             where owner_id = $1 and org = $2 and sandbox = $3 order by field",
        );
        let query = query.bind(owner_id).bind(self.org()).bind(self.sandbox());
        let found = query.fetch_all(self.connection()).await?;
        let opened = found.iter().map(|row| {
            let field: String = rows::value(row, "field")?;
            let sealed = Sealed {
                key_id: rows::value(row, "key_id")?,
                nonce: rows::value(row, "nonce")?,
                ciphertext: rows::value(row, "ciphertext")?,
            };
            let secret = self.vault.open(owner_id, &field, &sealed)?;
            Ok((field, secret))
        });
        opened.collect()
    }

    /// Forgets the secrets of a resource.
    pub async fn delete_secrets(&mut self, owner_id: &str) -> Result<(), StoreError> {
        let query = sqlx::query("delete from secret where owner_id = $1 and org = $2 and sandbox = $3");
        let query = query.bind(owner_id).bind(self.org()).bind(self.sandbox());
        query.execute(self.connection()).await?;
        Ok(())
    }
}
