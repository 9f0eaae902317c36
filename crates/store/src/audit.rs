//! Who did what to which version of what (flow-service.md 20). Never holds a secret: it has no field for one.

use headwaters_model::account::{Account, Actor};
use headwaters_model::etag::Etag;
use headwaters_model::resource::ResourceRef;
use sqlx::SqliteConnection;
use uuid::Uuid;

use crate::db::Store;
use crate::error::StoreError;
use crate::rows;
use crate::tx::Tx;

/// How many records one query gives, when it does not say.
pub const AUDIT_RECORDS: u32 = 1000;
/// The collection under which logins are recorded; they belong to no sandbox.
const ACCOUNTS: &str = "accounts";

/// The newest records of all resources: found by their age.
const AUDIT_OF_ALL: &str =
    "select at_us, org, sandbox, user_id, client_id, action, collection, resource_id, etag, request_id, allowed
     from audit where at_us >= $1 order by at_us desc, id desc limit $2";
/// The newest records of one resource: found by it. The text is another one because one for both could use neither
/// index.
const AUDIT_OF_ONE: &str =
    "select at_us, org, sandbox, user_id, client_id, action, collection, resource_id, etag, request_id, allowed
     from audit where at_us >= $1 and resource_id = $3 order by at_us desc, id desc limit $2";

/// One act to be recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEntry<'a> {
    /// When, milliseconds since 1970.
    pub at_ms: i64,
    /// Who.
    pub by: &'a Actor,
    /// What: `create`, `update`, `delete`, the name of an action, `settle` …
    pub action: &'a str,
    /// To which resource.
    pub resource: ResourceRef,
    /// The version that came of it.
    pub etag: Option<&'a Etag>,
    /// The request that asked for it, as it stands in the log; none for what the service does by itself.
    pub request_id: Option<&'a str>,
    /// Whether it was allowed; refused attempts are recorded too.
    pub allowed: bool,
}

/// One act as it was recorded.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditRecord {
    /// When, milliseconds since 1970.
    pub at_ms: i64,
    /// The organisation.
    pub org: String,
    /// The id of the sandbox; empty for logins.
    pub sandbox: String,
    /// The user.
    pub user: String,
    /// The client.
    pub client: String,
    /// What.
    pub action: String,
    /// The collection of the resource.
    pub collection: String,
    /// The id of the resource; empty where a refused attempt named none.
    pub resource_id: String,
    /// The version that came of it.
    pub etag: Option<String>,
    /// The request that asked for it.
    pub request_id: Option<String>,
    /// Whether it was allowed.
    pub allowed: bool,
}

/// Which records to read.
#[derive(Debug, Clone)]
pub struct AuditQuery {
    /// None before this moment, milliseconds since 1970.
    pub since_ms: Option<i64>,
    /// Only this resource.
    pub resource_id: Option<String>,
    /// How many at most, the newest.
    pub limit: u32,
}

impl Default for AuditQuery {
    fn default() -> Self {
        Self { since_ms: None, resource_id: None, limit: AUDIT_RECORDS }
    }
}

/// A row of the audit.
struct Line<'a> {
    at_ms: i64,
    org: &'a str,
    sandbox: &'a str,
    by: &'a Actor,
    action: &'a str,
    collection: &'a str,
    resource_id: &'a str,
    etag: Option<&'a str>,
    request_id: Option<&'a str>,
    allowed: bool,
}

impl Line<'_> {
    async fn write(self, connection: &mut SqliteConnection) -> Result<(), StoreError> {
        let query = sqlx::query(
            "insert into audit (id, org, sandbox, at_us, user_id, client_id, action, collection, resource_id, etag,
                 request_id, allowed)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        );
        let query = query
            .bind(Uuid::now_v7().to_string())
            .bind(self.org)
            .bind(self.sandbox)
            .bind(rows::us(self.at_ms))
            .bind(self.by.user.as_str())
            .bind(self.by.client.as_str())
            .bind(self.action)
            .bind(self.collection)
            .bind(self.resource_id)
            .bind(self.etag)
            .bind(self.request_id)
            .bind(self.allowed);
        query.execute(connection).await?;
        Ok(())
    }
}

impl Tx {
    /// Records an act, in the transaction that does it.
    pub async fn audit(&mut self, entry: &AuditEntry<'_>) -> Result<(), StoreError> {
        let (org, sandbox) = (self.org(), self.sandbox());
        let line = Line {
            at_ms: entry.at_ms,
            org: &org,
            sandbox: &sandbox,
            by: entry.by,
            action: entry.action,
            collection: entry.resource.collection.name(),
            resource_id: &entry.resource.id,
            etag: entry.etag.map(Etag::as_str),
            request_id: entry.request_id,
            allowed: entry.allowed,
        };
        line.write(self.connection()).await
    }
}

impl Store {
    /// Records that somebody asked for a token of an account and did not know its secret, under the name of an action.
    pub async fn audit_refused_login(
        &self,
        account: &Account,
        action: &str,
        request_id: Option<&str>,
        at_ms: i64,
    ) -> Result<(), StoreError> {
        let line = Line {
            at_ms,
            org: account.org.as_str(),
            sandbox: "",
            by: &account.actor(),
            action,
            collection: ACCOUNTS,
            resource_id: account.client_id.as_str(),
            etag: None,
            request_id,
            allowed: false,
        };
        let mut connection = self.writer().acquire().await?;
        line.write(&mut connection).await
    }

    /// Forgets the oldest of what was recorded before a moment, so many records at most, and says how many.
    pub async fn forget_audit(&self, before_ms: i64, limit: u32) -> Result<u64, StoreError> {
        let query = sqlx::query(
            "delete from audit where id in (select id from audit where at_us < $1 order by at_us, id limit $2)",
        );
        let gone = query.bind(rows::us(before_ms)).bind(i64::from(limit)).execute(self.writer()).await?;
        Ok(gone.rows_affected())
    }

    /// Reads what was recorded in every scope, the newest first.
    pub async fn audit(&self, query: &AuditQuery) -> Result<Vec<AuditRecord>, StoreError> {
        let text = if query.resource_id.is_some() { AUDIT_OF_ONE } else { AUDIT_OF_ALL };
        let text = sqlx::query(text)
            .bind(query.since_ms.map_or(i64::MIN, rows::us))
            .bind(i64::from(query.limit))
            .bind(query.resource_id.as_deref());
        let found = text.fetch_all(self.readers()).await?;
        let record = |row| {
            Ok(AuditRecord {
                at_ms: rows::time_ms(row, "at_us")?,
                org: rows::value(row, "org")?,
                sandbox: rows::value(row, "sandbox")?,
                user: rows::value(row, "user_id")?,
                client: rows::value(row, "client_id")?,
                action: rows::value(row, "action")?,
                collection: rows::value(row, "collection")?,
                resource_id: rows::value(row, "resource_id")?,
                etag: rows::value(row, "etag")?,
                request_id: rows::value(row, "request_id")?,
                allowed: rows::value(row, "allowed")?,
            })
        };
        found.iter().map(record).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::KeyRing;

    #[tokio::test]
    async fn the_audit_is_found_by_its_resource_or_by_its_age() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("headwaters.db");
        let store = Store::open(place.to_str().unwrap(), KeyRing::generate().unwrap()).await.unwrap();
        for (text, index) in [(AUDIT_OF_ONE, "audit_by_resource"), (AUDIT_OF_ALL, "audit_by_age")] {
            let query = sqlx::query(sqlx::AssertSqlSafe(format!("explain query plan {text}")));
            let plan = query.bind(0).bind(10).bind("id").fetch_all(store.readers()).await.unwrap();
            let steps: Vec<&str> = plan.iter().map(|row| rows::value(row, "detail").unwrap()).collect();
            assert!(steps[0].starts_with("SEARCH") && steps[0].contains(index), "{steps:?}");
        }
    }
}
