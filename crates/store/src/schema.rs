//! The schema and its steps.
//!
//! **Invariant.** A step that was released is never changed. Each is applied in a transaction of its own together with the
//! note that it was: a start that is cut off leaves a step whole or not begun, and the next start goes on from there.

use std::borrow::Cow;
use std::time::Instant;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{Connection as _, SqlSafeStr as _, SqliteConnection};
use tracing::info;

use crate::error::StoreError;

/// The schema, a file per step: its version, its name and what it does.
pub(crate) const MIGRATIONS: [(i64, &str, &str); 3] = [
    (1, "tables", include_str!("../migrations/sqlite/0001_tables.sql")),
    (2, "lists", include_str!("../migrations/sqlite/0002_lists.sql")),
    (3, "recurring", include_str!("../migrations/sqlite/0003_recurring.sql")),
];
/// The version that this build works with.
const CURRENT: i64 = MIGRATIONS[MIGRATIONS.len() - 1].0;

/// Brings a database up to date, and refuses one that a later build has written.
///
/// A step over many rows takes a while, in which the server does not answer: the log says when it begins and ends.
pub(crate) async fn bring_up_to_date(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let (first, migrator) = (version_of(connection).await?, migrator());
    while version_of(connection).await? < CURRENT {
        // Of several processes that start at once one takes the step; the others wait for the lock and find it taken.
        let mut step = connection.begin_with("begin immediate").await?;
        let found = version_of(&mut step).await?;
        let Some((version, name, _)) = MIGRATIONS.into_iter().find(|(version, ..)| *version > found) else { break };
        // Nothing to tell of a new one.
        if first > 0 {
            info!(version, name, "bringing the metadata store up to date; with many rows this takes a while");
        }
        let begun = Instant::now();
        migrator.run_to(version, &mut *step).await?;
        step.commit().await?;
        if first > 0 {
            let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            info!(version, name, took_ms, "brought the metadata store up to date");
        }
    }
    // This proves that the steps are those that were applied.
    Ok(migrator.run(connection).await?)
}

/// Refuses a database that is not up to date, and changes nothing.
pub(crate) async fn require_current(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    match version_of(connection).await? {
        found if found < CURRENT => Err(StoreError::OldSchema { found, needed: CURRENT }),
        _ => Ok(migrator().run(connection).await?),
    }
}

fn migrator() -> Migrator {
    let migrations = MIGRATIONS.map(|(version, name, sql)| {
        Migration::new(version, Cow::Borrowed(name), MigrationType::Simple, sql.into_sql_str(), false)
    });
    Migrator::with_migrations(migrations.into())
}

/// The last step that was applied; 0 in a database without any.
async fn version_of(connection: &mut SqliteConnection) -> Result<i64, StoreError> {
    let is_ours = "select exists (select 1 from sqlite_schema where name = '_sqlx_migrations')";
    if !sqlx::query_scalar::<_, bool>(is_ours).fetch_one(&mut *connection).await? {
        return Ok(0);
    }
    let last = "select coalesce(max(version), 0) from _sqlx_migrations where success";
    Ok(sqlx::query_scalar(last).fetch_one(connection).await?)
}
