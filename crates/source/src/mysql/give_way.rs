//! Giving way to whoever wants to change the table (mysql-sources.md 11).
//!
//! An open snapshot holds the table's definition. An ALTER TABLE then waits, and every later query on the table waits
//! behind the ALTER: the extract looks like an outage. So a long read is watched from a connection of its own, and ends
//! with a transient error within seconds once somebody waits; another attempt starts over when the change is through.
//!
//! An account without PROCESS sees its own sessions only; then nobody is seen waiting, and nothing is lost but courtesy.

use std::time::Duration;

use headwaters_model::source_error::{SourceError, SourceErrorKind};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::catalog::{TableName, constant};
use super::session::{self, Purpose};
use super::wire::{ConnectOptions, Connection};

/// Reads that end sooner are not watched.
const WATCH_AFTER: Duration = Duration::from_secs(3);
/// How often the process list is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// 1205, "lock wait timeout exceeded": what whoever waits would get from us in the end.
const LOCK_WAIT: u16 = 1205;

/// Watches over the readers of one table for as long as it lives.
#[derive(Debug)]
pub(super) struct Watch {
    somebody_waits: CancellationToken,
    looking: JoinHandle<()>,
}

impl Watch {
    /// Begins to watch in the background.
    pub(super) fn over(table: TableName, options: ConnectOptions) -> Self {
        let somebody_waits = CancellationToken::new();
        let told = somebody_waits.clone();
        let looking = tokio::spawn(async move {
            tokio::time::sleep(WATCH_AFTER).await;
            match look(&table, &options).await {
                Ok(()) => told.cancel(),
                Err(error) => tracing::debug!(%error, %table, "nobody watches over the metadata lock any more"),
            }
        });
        Self { somebody_waits, looking }
    }

    /// Returns once somebody waits for the table.
    pub(super) async fn somebody_waits(&self) {
        self.somebody_waits.cancelled().await;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.looking.abort();
    }
}

/// What a reader that gave way ends with.
pub(super) fn gave_way(table: &str) -> SourceError {
    let message = format!("reading {table} gave way: another session waits to change the table");
    SourceError::transient(SourceErrorKind::Server { number: LOCK_WAIT }, message)
        .with_hint("another attempt starts over once the change is through")
}

/// Looks until somebody waits.
async fn look(table: &TableName, options: &ConnectOptions) -> Result<(), SourceError> {
    let mut connection = session::open(options, Purpose::Metadata).await?;
    while !is_awaited(&mut connection, table).await? {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    connection.close().await;
    Ok(())
}

async fn is_awaited(connection: &mut Connection, table: &TableName) -> Result<bool, SourceError> {
    let (schema, name) = (constant(&table.schema), constant(&table.table));
    // A statement names the schema, or it runs inside of it.
    let waiting = format!(
        "SELECT 1 FROM information_schema.PROCESSLIST WHERE STATE = 'Waiting for table metadata lock' \
         AND INSTR(INFO, {name}) > 0 AND (DB = {schema} OR INSTR(INFO, {schema}) > 0) LIMIT 1"
    );
    Ok(connection.query(&waiting).await?.first().is_some())
}
