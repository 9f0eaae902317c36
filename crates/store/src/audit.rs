//! Who did what to which version of what (flow-service.md 20). Never holds a secret: it has no field for one.

use headwaters_model::account::Actor;
use headwaters_model::etag::Etag;
use headwaters_model::resource::ResourceRef;
use uuid::Uuid;

use crate::db::Store;
use crate::error::StoreError;
use crate::rows;
use crate::tx::Tx;

/// How many records one query gives at most.
pub const AUDIT_RECORDS_MAX: u32 = 1000;

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
    /// The user.
    pub user: String,
    /// The client.
    pub client: String,
    /// What.
    pub action: String,
    /// The collection of the resource.
    pub collection: String,
    /// The id of the resource.
    pub resource_id: String,
    /// The version that came of it.
    pub etag: Option<String>,
    /// The request that asked for it.
    pub request_id: Option<String>,
    /// Whether it was allowed.
    pub allowed: bool,
}

/// Which records to read.
#[derive(Debug, Clone, Default)]
pub struct AuditQuery {
    /// None before this moment, milliseconds since 1970.
    pub since_ms: Option<i64>,
    /// Only this resource.
    pub resource_id: Option<String>,
}

impl Tx {
    /// Records an act, in the transaction that does it.
    pub async fn audit(&mut self, entry: &AuditEntry<'_>) -> Result<(), StoreError> {
        let query = sqlx::query(
            "insert into audit (id, org, sandbox, at_us, user_id, client_id, action, collection, resource_id, etag,
                 request_id, allowed)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        );
        let query = query
            .bind(Uuid::now_v7().to_string())
            .bind(self.org())
            .bind(self.sandbox())
            .bind(rows::us(entry.at_ms))
            .bind(entry.by.user.as_str())
            .bind(entry.by.client.as_str())
            .bind(entry.action)
            .bind(entry.resource.collection.name())
            .bind(entry.resource.id.as_str())
            .bind(entry.etag.map(Etag::as_str))
            .bind(entry.request_id)
            .bind(entry.allowed);
        query.execute(self.connection()).await?;
        Ok(())
    }
}

impl Store {
    /// Reads what was recorded in every scope, the newest first, [`AUDIT_RECORDS_MAX`] records at most.
    pub async fn audit(&self, query: &AuditQuery) -> Result<Vec<AuditRecord>, StoreError> {
        let text = sqlx::query(
            "select at_us, user_id, client_id, action, collection, resource_id, etag, request_id, allowed
             from audit
             where at_us >= $1 and ($2 is null or resource_id = $2) order by at_us desc, id desc limit $3",
        );
        let text = text
            .bind(query.since_ms.map_or(i64::MIN, rows::us))
            .bind(query.resource_id.as_deref())
            .bind(i64::from(AUDIT_RECORDS_MAX));
        let found = text.fetch_all(self.readers()).await?;
        let record = |row| {
            Ok(AuditRecord {
                at_ms: rows::time_ms(row, "at_us")?,
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
