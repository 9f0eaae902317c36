//! Rows and values: how they are read into the model's types.

use std::fmt::Display;
use std::str::FromStr;

use headwaters_model::account::Actor;
use headwaters_model::limits;
use headwaters_model::resource::{Document, Kind, Resource, Stamp};
use headwaters_model::sandbox::Scope;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, Sqlite};
use tracing::error;

use crate::error::StoreError;

/// Reads one value of a row by the name of its column.
pub(crate) fn value<'r, T>(row: &'r SqliteRow, column: &str) -> Result<T, StoreError>
where
    T: sqlx::Decode<'r, Sqlite> + sqlx::Type<Sqlite>,
{
    row.try_get(column).map_err(|error| StoreError::damaged(column, error))
}

/// Reads a text and parses it.
pub(crate) fn parsed<T: FromStr<Err: ToString>>(row: &SqliteRow, column: &str) -> Result<T, StoreError> {
    let text: &str = value(row, column)?;
    text.parse().map_err(|error: T::Err| StoreError::damaged(column, error.to_string()))
}

/// Reads a time, as milliseconds.
pub(crate) fn time_ms(row: &SqliteRow, column: &str) -> Result<i64, StoreError> {
    Ok(value::<i64>(row, column)?.div_euclid(1000))
}

/// Reads a time that may be absent, as milliseconds.
pub(crate) fn time_ms_opt(row: &SqliteRow, column: &str) -> Result<Option<i64>, StoreError> {
    Ok(value::<Option<i64>>(row, column)?.map(|us| us.div_euclid(1000)))
}

/// Milliseconds as they are stored: microseconds.
pub(crate) fn us(ms: i64) -> i64 {
    ms.saturating_mul(1000)
}

/// Reads a JSON text.
pub(crate) fn json<T: DeserializeOwned>(row: &SqliteRow, column: &str) -> Result<T, StoreError> {
    let text: &str = value(row, column)?;
    serde_json::from_str(text).map_err(|error| StoreError::damaged(column, error))
}

/// Writes a JSON text, if it can be read back ([`limits::DOCUMENT_DEPTH_MAX`]).
pub(crate) fn to_json(what: &str, value: &impl Serialize) -> Result<String, StoreError> {
    let json = serde_json::to_string(value).map_err(|error| StoreError::damaged(what, error))?;
    limits::check_depth(&json)?;
    Ok(json)
}

/// Writes the body of a new resource. What clients make has a limit in length; what the service makes has not. Nor has a
/// write of what is there already: what is noted of an action or a run adds little, and must not fail for what clients have
/// written before. How far a patch may make a document grow is checked where it is carried out (control).
pub(crate) fn body_json<K: Kind>(written: &Resource<K>) -> Result<String, StoreError> {
    let json = to_json(K::COLLECTION.noun(), &written.body)?;
    if written.updated.by != Actor::scheduler() {
        limits::check_bytes(&json)?;
    }
    Ok(json)
}

/// Reads a resource from the columns that all collections share; organisation and sandbox were in the query.
pub(crate) fn resource<K: Kind>(row: &SqliteRow, scope: &Scope) -> Result<Resource<K>, StoreError> {
    let unread = unread::<K>(row, scope)?;
    let body = serde_json::from_str(unread.body).map_err(|error| damaged::<K>(&unread.id, error))?;
    Ok(unread.with_body(body))
}

/// The same as it is shown, its body not read into its type.
pub(crate) fn document<K: Kind>(row: &SqliteRow, scope: &Scope) -> Result<Document<K>, StoreError> {
    let unread = unread::<K>(row, scope)?;
    let id = unread.id.clone();
    unread.into_document().map_err(|error| damaged::<K>(id, error))
}

fn unread<'r, K: Kind>(row: &'r SqliteRow, scope: &Scope) -> Result<Resource<K, &'r str>, StoreError> {
    let id: &str = value(row, "id")?;
    Ok(Resource {
        id: id.parse().map_err(|_| damaged::<K>(id, "its id has another form"))?,
        scope: scope.clone(),
        created: stamp(row, ["created_at_us", "created_by", "created_client"])?,
        updated: stamp(row, ["updated_at_us", "updated_by", "updated_client"])?,
        etag: parsed(row, "etag")?,
        state: parsed(row, "state")?,
        body: value(row, "body")?,
    })
}

fn damaged<K: Kind>(id: impl Display, reason: impl ToString) -> StoreError {
    StoreError::damaged(format!("{} {id}", K::COLLECTION.noun()), reason)
}

/// Reads a scope from a row of a query over all of them.
pub(crate) fn scope(row: &SqliteRow) -> Result<Scope, StoreError> {
    let sandbox_name = value(row, "sandbox_name")?;
    Ok(Scope { org: parsed(row, "org")?, sandbox: parsed(row, "sandbox")?, sandbox_name })
}

/// Leaves out a row that can not be read, with a line in the log: one damaged row must not hide the others.
pub(crate) fn readable<T>(read: Result<T, StoreError>) -> Option<T> {
    read.inspect_err(|error| error!(%error, "a row of the metadata store is left out")).ok()
}

fn stamp(row: &SqliteRow, [at, user, client]: [&str; 3]) -> Result<Stamp, StoreError> {
    Ok(Stamp { at_ms: time_ms(row, at)?, by: Actor { user: parsed(row, user)?, client: parsed(row, client)? } })
}
