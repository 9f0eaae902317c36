//! Several connections that see one moment of a table (mysql-sources.md 11).
//!
//! **Invariant.** All connections of a [`Snapshot`] see the same rows of the table until they are closed. Each holds a
//! transaction under REPEATABLE READ that was started WITH CONSISTENT SNAPSHOT, and one of these is true:
//!
//! - there is only one;
//! - *agreement* (MariaDB): each transaction reports the position in the binary log at which it was opened. The server
//!   opens snapshots under the same lock as it orders commits, so equal positions mean that no logged transaction
//!   committed in between. Not used where the log is known to leave commits out. Where the account may not see what the
//!   log leaves out, the lock is tried first, and agreement comes with a note. No account can see a session that writes
//!   with `sql_log_bin = 0`: its commits move no position, so against those alone agreement proves nothing;
//! - *clone* (Percona Server): every transaction was started from the first one's snapshot;
//! - *lock*: a connection of its own held `LOCK TABLES … READ` from before the first transaction was started until after
//!   the last one was. The lock is granted only when no transaction that wrote to the table is open, and until it is
//!   released nobody writes.
//!
//! Each transaction then touches the table, which keeps its definition locked against ALTER TABLE for as long as the
//! transaction lives. What cannot be proven is said: without privilege, lock or position there is one reader, and a note
//! tells why.

mod agree;

use std::time::Duration;

use futures::FutureExt;
use futures::future::try_join_all;
use headwaters_model::source_error::{SourceError, SourceErrorKind};

use self::agree::Log;
use super::catalog::{TableDescription, TableName};
use super::session::{self, Purpose};
use super::wire::{ConnectOptions, Connection, Flavour};

/// How long the table lock is waited for, in seconds; writers queue up behind whoever waits for it.
const LOCK_WAIT_SECONDS: u64 = 5;
/// How long the table lock is held at most: nobody writes meanwhile.
const LOCK_HELD_MAX: Duration = Duration::from_secs(2);
/// What agreement leaves open where the account may not see the log's filters.
const UNSEEN_FILTERS: &str = "the readers share a position of the binary log; that it leaves out no commit to this table \
    (by a filter, or by sql_log_bin = 0) is not proven, because the account may not see it: GRANT BINLOG MONITOR ON *.*, \
    or LOCK TABLES on the schema";
const START: &str = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";

/// Connections that see one moment.
pub(super) struct Snapshot {
    /// At least one.
    pub(super) connections: Vec<Connection>,
    /// What a person should know about how the moment came about.
    pub(super) notes: Vec<String>,
}

/// Opens up to `readers` connections in one moment; `first` is one of them, and `options` lead to its server alone.
pub(super) async fn open(
    first: Connection,
    options: &ConnectOptions,
    table: &TableDescription,
    readers: u32,
) -> Result<Snapshot, SourceError> {
    let mut notes = notes(table);
    let mut connections = vec![first];
    if readers > 1 && table.is_transactional() {
        add_readers(&mut connections, options, readers, &mut notes).await?;
    }
    if connections.len() > 1 {
        match open_together(&mut connections, options, &table.name).await? {
            Together::Proven => {}
            Together::Assumed(note) => notes.push(note.to_owned()),
            Together::Not(why) => {
                notes.push(format!("one reader: {why}"));
                close_all_but_first(&mut connections).await;
            }
        }
    }
    if let [only] = connections.as_mut_slice() {
        start(only, START).await?;
    }
    for connection in &mut connections {
        connection.execute(&format!("SELECT 1 FROM {} LIMIT 0", table.name.quoted())).await?;
    }
    Ok(Snapshot { connections, notes })
}

/// What a person should know about the moment in which a table is read, whoever reads it.
pub(super) fn notes(table: &TableDescription) -> Vec<String> {
    let note = |engine: &String| {
        format!(
            "the table is not transactional (engine {engine}): it is read by one statement, which sees what is written meanwhile"
        )
    };
    table.engine.iter().filter(|_| !table.is_transactional()).map(note).collect()
}

impl Snapshot {
    /// Gives up all readers but one, which keeps its moment.
    pub(super) async fn narrow(&mut self) {
        close_all_but_first(&mut self.connections).await;
    }
}

async fn close_all_but_first(connections: &mut Vec<Connection>) {
    for connection in connections.drain(1..) {
        connection.close().await;
    }
}

/// Connects more readers to the same server. One that has no room for all of them is read by fewer.
async fn add_readers(
    connections: &mut Vec<Connection>,
    options: &ConnectOptions,
    readers: u32,
    notes: &mut Vec<String>,
) -> Result<(), SourceError> {
    let Some(first) = connections.first_mut() else { return Ok(()) };
    let identity = identity(first).await?;
    for _ in 1..readers {
        match session::open(options, Purpose::Reading).await {
            Ok(mut connection) => {
                if self::identity(&mut connection).await? != identity {
                    notes.push("one reader: connections reach different servers, a proxy shares them out".to_owned());
                    connection.close().await;
                    close_all_but_first(connections).await;
                    return Ok(());
                }
                connections.push(connection);
            }
            Err(error) if is_full(&error) => {
                notes.push(format!("{} instead of {readers} readers: {error}", connections.len()));
                return Ok(());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// 1040, 1203 and 1226: too many connections, of all or of this account.
fn is_full(error: &SourceError) -> bool {
    matches!(error.fault().kind, SourceErrorKind::Server { number: 1040 | 1203 | 1226 })
}

/// Who really answers: a proxy may send two connections to two servers, and after a failover a name leads to another one
/// (mysql-sources.md 16). MySQL has an id for it; MariaDB is known by its host, its `server_id` and its port.
pub(super) async fn identity(connection: &mut Connection) -> Result<String, SourceError> {
    let sql = match connection.server().flavour().is_mariadb() {
        true => "SELECT CONCAT(@@hostname, ':', @@port, '/', @@server_id) AS server",
        false => "SELECT @@server_uuid AS server",
    };
    let answer = connection.query(sql).await?;
    match answer.first().map(|row| row.text("server")).transpose()?.flatten() {
        Some(server) => Ok(server.to_owned()),
        None => Err(SourceError::definite(SourceErrorKind::Protocol, "the server does not say which one it is")),
    }
}

/// Whether several transactions see one moment.
#[derive(Debug, PartialEq, Eq)]
enum Together {
    /// They do.
    Proven,
    /// They do unless something is the case that is not seen; a person should know what.
    Assumed(&'static str),
    /// They do not, and why.
    Not(String),
}

/// Starts a transaction on every connection in one moment: by the order of mysql-sources.md 11.1.
async fn open_together(
    connections: &mut [Connection],
    options: &ConnectOptions,
    table: &TableName,
) -> Result<Together, SourceError> {
    let Some(first) = connections.first_mut() else { return Ok(Together::Proven) };
    match first.server().flavour() {
        Flavour::MariaDb => match agree::log(first).await? {
            Log::Whole if agree::agree(connections).await? => Ok(Together::Proven),
            Log::Whole | Log::Partial => lock(connections, options, table).await,
            Log::Unseen => match lock(connections, options, table).await? {
                Together::Not(_) if agree::agree(connections).await? => Ok(Together::Assumed(UNSEEN_FILTERS)),
                outcome => Ok(outcome),
            },
        },
        Flavour::Percona if clone(connections).await? => Ok(Together::Proven),
        Flavour::Percona | Flavour::MySql => lock(connections, options, table).await,
    }
}

async fn start(connection: &mut Connection, statement: &str) -> Result<(), SourceError> {
    connection.execute("ROLLBACK").await?;
    connection.execute(statement).await
}

async fn start_all(connections: &mut [Connection]) -> Result<(), SourceError> {
    try_join_all(connections.iter_mut().map(|connection| start(connection, START))).await.map(drop)
}

/// Starts every other transaction from the first one's snapshot. False if the server cannot.
async fn clone(connections: &mut [Connection]) -> Result<bool, SourceError> {
    let Some((first, others)) = connections.split_first_mut() else { return Ok(false) };
    start(first, START).await?;
    let session = first.server().connection_id();
    let statement = format!("START TRANSACTION WITH CONSISTENT SNAPSHOT FROM SESSION {session}, READ ONLY");
    for other in others {
        match start(other, &statement).await {
            Ok(()) => {}
            Err(error) if matches!(error.fault().kind, SourceErrorKind::Lost | SourceErrorKind::Protocol) => {
                return Err(error);
            }
            Err(_) => return Ok(false),
        }
    }
    Ok(true)
}

/// Opens the snapshots under a table lock that is held for as long as that takes: milliseconds.
async fn lock(
    connections: &mut [Connection],
    options: &ConnectOptions,
    table: &TableName,
) -> Result<Together, SourceError> {
    let mut holder = match session::open(options, Purpose::Reading).await {
        Ok(holder) => holder,
        Err(error) if is_full(&error) => {
            return Ok(Together::Not(format!("no connection is left for the table lock: {error}")));
        }
        Err(error) => return Err(error),
    };
    holder.execute(&format!("SET SESSION lock_wait_timeout = {LOCK_WAIT_SECONDS}")).await?;
    let locked = holder.execute(&format!("LOCK TABLES {} READ", table.quoted())).await;
    let outcome = match locked {
        Ok(()) => start_under_lock(connections, &mut holder).await,
        Err(error) => match why_not_locked(&error, table) {
            Some(why) => Ok(Together::Not(why)),
            None => Err(error),
        },
    };
    holder.close().await;
    outcome
}

/// Starts all transactions and unlocks, or unlocks when that takes too long: writers do not wait for a slow reader.
async fn start_under_lock(connections: &mut [Connection], holder: &mut Connection) -> Result<Together, SourceError> {
    let mut starting = start_all(connections).boxed();
    let in_time = tokio::time::timeout(LOCK_HELD_MAX, &mut starting).await;
    let unlocked = holder.execute("UNLOCK TABLES").await;
    match in_time {
        Ok(started) => started.and(unlocked).map(|()| Together::Proven),
        Err(_) => {
            // The connections are of use again only when they have their answers.
            starting.await.and(unlocked)?;
            let seconds = LOCK_HELD_MAX.as_secs();
            Ok(Together::Not(format!(
                "the readers did not get ready within the {seconds} s that the table lock is held"
            )))
        }
    }
}

/// What to tell when the lock was not had; none for errors that have nothing to do with it.
fn why_not_locked(error: &SourceError, table: &TableName) -> Option<String> {
    let schema = super::catalog::quoted(&table.schema);
    match &error.fault().kind {
        SourceErrorKind::Privilege => Some(format!(
            "several readers in one moment need a short table lock, and the account lacks it: GRANT LOCK TABLES ON {schema}.*"
        )),
        SourceErrorKind::Server { number: 1205 } => Some(format!(
            "the table lock was not had within {LOCK_WAIT_SECONDS} seconds, because a transaction that writes to the table is open"
        )),
        SourceErrorKind::Server { number: 1290 | 1792 | 1836 } => {
            Some(format!("the server does not allow the short table lock: {error}"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_privilege_is_named_with_its_grant() {
        let table = TableName { schema: "shop".to_owned(), table: "orders".to_owned() };
        let denied = SourceError::definite(SourceErrorKind::Privilege, "access denied");
        assert!(why_not_locked(&denied, &table).unwrap().ends_with("GRANT LOCK TABLES ON `shop`.*"));
        let waited = SourceError::transient(SourceErrorKind::Server { number: 1205 }, "lock wait timeout");
        assert!(why_not_locked(&waited, &table).unwrap().contains("within 5 seconds"));
        assert_eq!(why_not_locked(&SourceError::transient(SourceErrorKind::Lost, "gone"), &table), None);
    }
}
