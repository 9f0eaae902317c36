//! Giving way to whoever wants to change the table (mysql-sources.md 11).
//!
//! An open snapshot holds the table's definition. An ALTER TABLE then waits, and every later query on the table waits
//! behind the ALTER: the extract looks like an outage. So a long read is watched from a connection of its own, and ends
//! with a transient error within seconds once somebody waits.
//!
//! Only a change of this very table counts: a statement of DDL that names it. Who waits for a lock of the table, or to
//! write to it, waits for others than us. MySQL shows each lock that is waited for with its object; elsewhere the
//! statements of those who wait are read ([`ddl`]).
//!
//! An account without PROCESS sees its own sessions only; then nobody is seen waiting, and nothing is lost but courtesy.

mod ddl;

use std::time::Duration;

use headwaters_model::source_error::{Retry, SourceError, SourceErrorKind};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::catalog::{TableName, constant};
use super::session::{self, Purpose};
use super::wire::{ConnectOptions, Connection, TextRow};

/// Reads that end sooner are not watched.
const WATCH_AFTER: Duration = Duration::from_secs(3);
/// How often the process list is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long nobody watches after looking has failed.
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(10);
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
            until_seen(&table, || look(&table, &options), PAUSE_AFTER_ERROR).await;
            told.cancel();
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
        .with_hint("read the table again once the change is through")
        .with_retry(Retry::Later)
}

/// Looks until somebody waits: over a new connection each time that looking has failed.
async fn until_seen<F>(table: &TableName, mut look: impl FnMut() -> F, pause_after_error: Duration)
where
    F: Future<Output = Result<(), SourceError>>,
{
    let mut warned = false;
    while let Err(error) = look().await {
        // Once is enough for a person; a server that lets nobody in for an hour would fill the log.
        if !warned {
            tracing::warn!(%error, %table, "could not see whether somebody waits to change the table; it is tried again");
        }
        warned = true;
        tokio::time::sleep(pause_after_error).await;
    }
}

/// Looks over one connection until somebody waits.
async fn look(table: &TableName, options: &ConnectOptions) -> Result<(), SourceError> {
    let mut connection = session::open(options, Purpose::Metadata).await?;
    let sees_locks = sees_locks(&mut connection).await?;
    loop {
        let awaited = match sees_locks {
            true => is_lock_awaited(&mut connection, table).await?,
            false => is_change_waiting(&mut connection, table).await?,
        };
        if awaited {
            break;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    connection.close().await;
    Ok(())
}

/// Whether the server keeps a list of metadata locks that this account may read.
async fn sees_locks(connection: &mut Connection) -> Result<bool, SourceError> {
    if connection.server().flavour().is_mariadb() {
        return Ok(false);
    }
    let kept = "SELECT 1 FROM performance_schema.setup_instruments i JOIN performance_schema.setup_consumers c \
        WHERE i.NAME = 'wait/lock/metadata/sql/mdl' AND i.ENABLED = 'YES' \
        AND c.NAME = 'global_instrumentation' AND c.ENABLED = 'YES'";
    // The other tables are asked too: a grant may name each by itself.
    for sql in [kept, "SELECT 1 FROM performance_schema.metadata_locks m, performance_schema.threads t LIMIT 1"] {
        match connection.query(sql).await {
            Ok(answer) if answer.first().is_some() => {}
            Ok(_) => return Ok(false),
            Err(error) if matches!(error.fault().kind, SourceErrorKind::Lost | SourceErrorKind::Protocol) => {
                return Err(error);
            }
            Err(_) => return Ok(false),
        }
    }
    Ok(true)
}

/// Whether a statement of DDL waits for a lock that our snapshot is in the way of.
async fn is_lock_awaited(connection: &mut Connection, table: &TableName) -> Result<bool, SourceError> {
    let (schema, name) = (constant(&table.schema), constant(&table.table));
    let waiting = format!(
        "SELECT t.PROCESSLIST_INFO AS statement FROM performance_schema.metadata_locks m \
         JOIN performance_schema.threads t ON t.THREAD_ID = m.OWNER_THREAD_ID \
         WHERE m.OBJECT_TYPE = 'TABLE' AND m.OBJECT_SCHEMA = {schema} AND m.OBJECT_NAME = {name} \
         AND m.LOCK_STATUS = 'PENDING' AND m.LOCK_TYPE IN ('EXCLUSIVE', 'SHARED_NO_READ_WRITE')"
    );
    let answer = connection.query(&waiting).await?;
    Ok(answer.rows().iter().filter_map(|row| row.at(0)).any(|sql| ddl::changes(&String::from_utf8_lossy(sql))))
}

/// Whether a statement of DDL that names the table waits for a metadata lock.
async fn is_change_waiting(connection: &mut Connection, table: &TableName) -> Result<bool, SourceError> {
    let waiting = "SELECT DB, INFO FROM information_schema.PROCESSLIST WHERE STATE = 'Waiting for table metadata lock'";
    let answer = connection.query(waiting).await?;
    let changes = |row: &TextRow| {
        let text = |place| row.at(place).map(String::from_utf8_lossy);
        text(1).is_some_and(|sql| ddl::changes_table(&sql, text(0).as_deref(), table))
    };
    Ok(answer.rows().iter().any(changes))
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;

    #[tokio::test]
    async fn whoever_could_not_look_looks_again_until_somebody_is_seen() {
        let table = TableName { schema: "d".into(), table: "t".into() };
        let mut looks = 0;
        let look = || {
            looks += 1;
            ready(match looks {
                1..=3 => Err(SourceError::transient(SourceErrorKind::Lost, "the connection was lost")),
                _ => Ok(()),
            })
        };
        until_seen(&table, look, Duration::from_millis(1)).await;
        assert_eq!(looks, 4);
    }
}
