//! Data sets: what they need beside the life that all resources share.

use crate::error::StoreError;
use crate::tx::Tx;

impl Tx {
    /// Whether a data set of this scope has the table name already (platform-services.md 2.3).
    pub async fn has_table_name(&mut self, name: &str) -> Result<bool, StoreError> {
        let query = sqlx::query("select 1 from data_set where org = $1 and sandbox = $2 and table_name = $3");
        let query = query.bind(self.org()).bind(self.sandbox()).bind(name);
        Ok(query.fetch_optional(self.connection()).await?.is_some())
    }
}
