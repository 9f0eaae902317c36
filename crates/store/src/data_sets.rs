//! Data sets: what they need beside the life that all resources share.

use crate::error::StoreError;
use crate::rows;
use crate::tx::Tx;

impl Tx {
    /// The first name for a table that no data set of this scope has: `plain`, else `plain_1`, `plain_2`, …
    /// (platform-services.md 2.3).
    pub async fn free_table_name(&mut self, plain: &str) -> Result<String, StoreError> {
        let query = sqlx::query("select 1 from data_set where org = $1 and sandbox = $2 and table_name = $3");
        let query = query.bind(self.org()).bind(self.sandbox()).bind(plain);
        if query.fetch_optional(self.connection()).await?.is_none() {
            return Ok(plain.to_owned());
        }
        // The first free number is 1 or follows one that is taken. `char(96)` follows the underscore: the range
        // holds exactly the names that begin with the prefix.
        let query = sqlx::query(
            "select min(number) as number from (
                 select 1 as number union all
                 select cast(substr(table_name, length($3) + 2) as integer) + 1 from data_set
                 where org = $1 and sandbox = $2 and table_name > $3 || '_' and table_name < $3 || char(96)
                 and substr(table_name, length($3) + 2) not glob '*[^0-9]*' and length(table_name) <= length($3) + 10
             ) where not exists (
                 select 1 from data_set where org = $1 and sandbox = $2 and table_name = $3 || '_' || number)",
        );
        let query = query.bind(self.org()).bind(self.sandbox()).bind(plain);
        let number: i64 = rows::value(&query.fetch_one(self.connection()).await?, "number")?;
        Ok(format!("{plain}_{number}"))
    }
}
