//! Organisations and their sandboxes. They are no resources of a scope, they are the scopes.

use headwaters_model::id::OrgId;
use headwaters_model::sandbox::Sandbox;

use crate::db::Store;
use crate::error::StoreError;
use crate::rows;

impl Store {
    /// All organisations, the oldest first.
    pub async fn organisations(&self) -> Result<Vec<OrgId>, StoreError> {
        let query = sqlx::query("select id from organisation order by created_at_us, id");
        query.fetch_all(self.readers()).await?.iter().map(|row| rows::parsed(row, "id")).collect()
    }

    /// The sandbox of this name, whatever its state.
    pub async fn sandbox(&self, org: &OrgId, name: &str) -> Result<Option<Sandbox>, StoreError> {
        let query = sqlx::query("select body from sandbox where org = $1 and name = $2").bind(org.as_str()).bind(name);
        let row = query.fetch_optional(self.lookups()).await?;
        row.map(|row| rows::json(&row, "body")).transpose()
    }

    /// All sandboxes of an organisation by name.
    pub async fn sandboxes(&self, org: &OrgId) -> Result<Vec<Sandbox>, StoreError> {
        let query = sqlx::query("select body from sandbox where org = $1 order by name").bind(org.as_str());
        query.fetch_all(self.readers()).await?.iter().map(|row| rows::json(row, "body")).collect()
    }

    /// Makes an organisation with its first sandbox.
    pub async fn create_organisation(&self, sandbox: &Sandbox) -> Result<(), StoreError> {
        let mut tx = self.writer().begin_with("begin immediate").await?;
        let query = sqlx::query("insert into organisation (id, created_at_us) values ($1, $2)");
        query.bind(sandbox.org.as_str()).bind(rows::us(sandbox.created_at_ms)).execute(&mut *tx).await?;
        let query = sqlx::query("insert into sandbox (id, org, name, is_default, body) values ($1, $2, $3, $4, $5)");
        let query = query
            .bind(sandbox.id.to_string())
            .bind(sandbox.org.as_str())
            .bind(sandbox.name.as_str())
            .bind(sandbox.is_default)
            .bind(rows::to_json("a sandbox", sandbox)?);
        query.execute(&mut *tx).await?;
        Ok(tx.commit().await?)
    }
}
