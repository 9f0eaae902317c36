//! How far a run may read: what the source's clock shows, who is still writing, and how far a replica has got.
//!
//! **Order.** The clock is read first, then the statements that run are listed, then the transactions ([`look`]), all
//! before the snapshot is opened; see the module above for why. In this order a statement that ends in between leaves
//! either a commit, which the snapshot shows, or a transaction that is listed.
//!
//! The list of transactions is a copy that the server renews only when nobody has looked at it for a tenth of a second:
//! it may be old for as long as others look at it often. It is believed only if it holds a transaction that this
//! connection has begun after the clock was read. The runs of this process keep their looks apart, each in its turn.

mod replica;
mod statements;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use headwaters_model::source_error::{SourceError, SourceErrorKind};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, sleep_until};

pub(super) use self::replica::Replica;
use self::statements::{Moment, QUERY_CHARS, only_reads};
use super::wall::SECOND_US;
use crate::mysql::catalog::TableDescription;
use crate::mysql::wire::{Connection, TextRow, TextRows};

/// How often the list of transactions is asked for until it is a new one.
const LIST_TRIES_MAX: u32 = 10;
/// How long the list is left alone in between, so that the server renews it.
const LIST_PAUSE: Duration = Duration::from_millis(110);
/// Servers share a turn if their names come out alike.
const TURNS: usize = 64;
/// When this process last looked at the list of a server.
static LAST_LOOK: [Mutex<Option<Instant>>; TURNS] = [const { Mutex::const_new(None) }; TURNS];
/// By how much a transaction may be older than the list says: it counts whole seconds, and a statement takes its time
/// before its transaction begins.
const BEGIN_MARGIN_US: i64 = SECOND_US;

/// What the source was like just before a snapshot was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Situation {
    /// The clock: microseconds since 1970, UTC.
    pub(super) now_us: i64,
    /// By how many seconds its own zone is ahead of UTC; none if it does not say.
    pub(super) ahead_s: Option<i64>,
    /// Who may still commit rows with values that lie in the past.
    pub(super) writers: Writers,
    /// How far it is behind another server.
    pub(super) replica: Replica,
}

/// Who writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writers {
    /// All are known, and this is the oldest.
    Known(Option<Writer>),
    /// The table knows no transactions.
    Without,
    /// The account may not see them.
    Hidden,
    /// The server's list was old whenever it was asked for.
    Stale,
}

/// Who writes: a transaction, or a statement that has none yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Writer {
    /// The thread; 0 for a prepared transaction that nobody holds any more.
    pub(super) thread: u64,
    /// Since when at the latest: microseconds since 1970, UTC.
    pub(super) since_us: i64,
}

impl Situation {
    /// Up to where all commits are seen.
    pub(super) fn settled_us(&self, lag_us: i64) -> i64 {
        let behind_us = match self.replica {
            Replica::No | Replica::Shared | Replica::Hidden | Replica::Unknown => 0,
            Replica::Behind(seconds) => seconds.saturating_mul(SECOND_US),
        };
        let by_clock = self.now_us.saturating_sub(lag_us).saturating_sub(behind_us);
        self.oldest().map_or(by_clock, |writer| by_clock.min(writer.since_us))
    }

    /// Who has been writing longest.
    pub(super) fn oldest(&self) -> Option<Writer> {
        match self.writers {
            Writers::Known(oldest) => oldest,
            Writers::Without | Writers::Hidden | Writers::Stale => None,
        }
    }

    /// Whether it is known that nobody writes. Who writes to the server that a replica repeats is never known.
    pub(super) fn is_quiet(&self) -> bool {
        self.writers == Writers::Known(None) && self.replica == Replica::No
    }
}

/// Reads the clock, then everything else. Leaves a transaction open, which the snapshot replaces.
///
/// # Errors
///
/// A transient one where the server is a replica that stands still.
pub(super) async fn look(
    connection: &mut Connection,
    table: &TableDescription,
    server: &str,
) -> Result<Situation, SourceError> {
    let Moment { now_us, ahead_s, statements } = statements::moment(connection).await?;
    // The engine of a view is not told: its tables may well have transactions.
    let writers = if table.engine.is_none() || table.is_transactional() {
        writers(connection, server, &statements).await?
    } else {
        oldest_of(statements).map_or(Writers::Without, |writer| Writers::Known(Some(writer)))
    };
    let replica = replica::replica(connection).await?;
    Ok(Situation { now_us, ahead_s, writers, replica })
}

fn oldest_of(writers: impl IntoIterator<Item = Writer>) -> Option<Writer> {
    writers.into_iter().min_by_key(|writer| writer.since_us)
}

/// Lists the transactions that write.
///
/// `trx_started` is the wall clock of the system's zone, whatever the server's variables say. Of the two moments that it
/// names in autumn the earlier one is taken.
async fn writers(connection: &mut Connection, server: &str, statements: &[Writer]) -> Result<Writers, SourceError> {
    let utc = "CONVERT_TZ(trx_started, 'SYSTEM', '+00:00')";
    let earlier = format!("{utc} - INTERVAL 1 HOUR");
    let sql = format!(
        "SELECT trx_mysql_thread_id AS thread, trx_mysql_thread_id = CONNECTION_ID() AS own, trx_rows_modified AS modified, trx_is_read_only AS read_only, \
         IF(trx_query LIKE 'WITH%', trx_query, LEFT(trx_query, {QUERY_CHARS})) AS query, TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', \
         IF(CONVERT_TZ({earlier}, '+00:00', 'SYSTEM') = trx_started, {earlier}, {utc})) AS since_us \
         FROM information_schema.INNODB_TRX"
    );
    // A proxy gives numbers of its own: this one only spreads the looks.
    let number = connection.server().connection_id();
    connection.execute("ROLLBACK").await?;
    connection.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY").await?;
    for attempt in 0..LIST_TRIES_MAX {
        // Processes that look at the same time must not go on doing so.
        sleep(Duration::from_millis((u64::from(number) * 37 % 90) * u64::from(attempt))).await;
        let list = match in_turn(connection, server, &sql).await {
            Ok(list) => list,
            Err(error) if error.fault().kind == SourceErrorKind::Privilege => return Ok(Writers::Hidden),
            Err(error) => return Err(error),
        };
        if let Some(writers) = among(&list, statements)? {
            return Ok(writers);
        }
    }
    Ok(Writers::Stale)
}

/// Looks at a server's list, no sooner than [`LIST_PAUSE`] after this process did so before.
async fn in_turn(connection: &mut Connection, server: &str, sql: &str) -> Result<TextRows, SourceError> {
    let mut hasher = DefaultHasher::new();
    server.hash(&mut hasher);
    let place = usize::try_from(hasher.finish() % TURNS as u64).unwrap_or(0);
    let Some(turn) = LAST_LOOK.get(place) else { return connection.query(sql).await };
    let mut last = turn.lock().await;
    if let Some(last) = *last {
        sleep_until(last + LIST_PAUSE).await;
    }
    let list = connection.query(sql).await;
    *last = Some(Instant::now());
    list
}

/// The oldest writer of a list and of the statements that ran before it was made; none if the list is older than our own
/// transaction.
///
/// Who is in a transaction that can only read has ended whatever else ran before: a connection has one transaction.
fn among(list: &TextRows, statements: &[Writer]) -> Result<Option<Writers>, SourceError> {
    let mut is_new = false;
    let mut only_read: Vec<u64> = Vec::new();
    let mut found: Vec<Writer> = Vec::new();
    for row in list {
        let thread = row.parse_as("thread")?.unwrap_or(0);
        let is_own = row.text("own")?.is_some_and(|flag| flag == "1");
        is_new |= is_own;
        if row.text("read_only")?.is_some_and(|flag| flag != "0") {
            only_read.push(thread);
        } else if !is_own && writes(row, thread)? {
            let Some(since_us) = row.parse_as::<i64>("since_us")? else { return Ok(Some(Writers::Stale)) };
            found.push(Writer { thread, since_us: since_us - BEGIN_MARGIN_US });
        }
    }
    found.extend(statements.iter().filter(|statement| !only_read.contains(&statement.thread)));
    Ok(is_new.then(|| Writers::Known(oldest_of(found))))
}

/// Whether a transaction may have written, or is just about to. One that is idle and has modified nothing takes its
/// values only with its next statement.
///
/// Of a statement that calls functions or triggers the one inside is shown, which may only read; the list of statements
/// shows the outer one.
fn writes(row: &TextRow, thread: u64) -> Result<bool, SourceError> {
    let has_modified = row.text("modified")?.is_some_and(|rows| rows != "0");
    // The text of a statement may be cut in the middle of a character.
    let query = row.bytes("query")?.map(String::from_utf8_lossy);
    let runs = query.is_some_and(|query| !only_reads(&query));
    Ok(has_modified || thread == 0 || runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn situation(writers: Writers, replica: Replica) -> Situation {
        Situation { now_us: 1_000 * SECOND_US, ahead_s: Some(0), writers, replica }
    }

    #[test]
    fn what_is_furthest_behind_decides_how_far_all_is_seen() {
        let writer = |since_s: i64| Writers::Known(Some(Writer { thread: 7, since_us: since_s * SECOND_US }));
        for (writers, replica, expected_s) in [
            (Writers::Known(None), Replica::No, 940),
            (Writers::Hidden, Replica::No, 940),
            (writer(900), Replica::No, 900),
            (writer(990), Replica::No, 940),
            (writer(900), Replica::Shared, 900),
            (Writers::Known(None), Replica::Behind(30), 910),
        ] {
            let settled = situation(writers, replica).settled_us(60 * SECOND_US);
            assert_eq!(settled, expected_s * SECOND_US, "{writers:?} {replica:?}");
        }
    }

    #[test]
    fn nobody_writes_only_where_that_can_be_seen() {
        assert!(situation(Writers::Known(None), Replica::No).is_quiet());
        assert!(!situation(Writers::Hidden, Replica::No).is_quiet());
        for replica in [Replica::Behind(0), Replica::Shared, Replica::Hidden, Replica::Unknown] {
            assert!(!situation(Writers::Known(None), replica).is_quiet(), "{replica:?}");
        }
    }
}
