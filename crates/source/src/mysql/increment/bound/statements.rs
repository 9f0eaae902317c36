//! The clock of the source, and the statements that run by then.
//!
//! A statement takes its moment when it begins. It is in no transaction for as long as it waits for a lock of a table's
//! definition or of a backup, which may be hours; only the list of processes shows it. The list is made by the statement
//! that tells the time, after the time was taken, so every statement that began before that moment and goes on is in it.
//!
//! A statement is taken for one that only reads by its first word. A SELECT that calls a function which writes is taken
//! for one too: its rows are left to the lag until its transaction has modified something.

use headwaters_model::source_error::{SourceError, SourceErrorKind};

use super::super::wall::SECOND_US;
use super::Writer;
use crate::mysql::wire::{Connection, TextRow, TextRows};

/// By how much a statement may be older than its whole seconds say.
const TIME_MARGIN_US: i64 = SECOND_US;
/// Where a statement's first word is looked for.
pub(super) const QUERY_CHARS: u32 = 256;
/// Where the processes are listed; the first table is older, and gone from some servers. The other one is empty without
/// its instruments.
const PROCESSES: [&str; 2] = ["information_schema.PROCESSLIST", "performance_schema.processlist"];
/// What a process does while it runs a statement. Those of the event scheduler go on showing that they connect; those that
/// repeat another server's transactions have names of their own, or run under the accounts below.
const RUNNING: &str = "'Query', 'Execute', 'Bulk_execute', 'Long Data', 'Connect', 'Killed'";
/// Accounts of the server itself.
const INTERNAL: &str = "'system user', 'mysql.session', 'unauthenticated user', 'event_scheduler'";
/// Statements that write no row, or no other one than was there. COMMIT ends a transaction, which is in the list of transactions until it has ended.
const READING: [&str; 21] = [
    "SELECT",
    "SHOW",
    "EXPLAIN",
    "DESCRIBE",
    "DESC",
    "TABLE",
    "VALUES",
    "USE",
    "FLUSH",
    "LOCK",
    "UNLOCK",
    "KILL",
    "CHECK",
    "CHECKSUM",
    "BACKUP",
    "START",
    "COMMIT",
    "ROLLBACK",
    "SAVEPOINT",
    "OPTIMIZE",
    "REPAIR",
];

/// What a statement that begins with WITH can do beside reading.
const CHANGING: [&str; 4] = ["UPDATE", "DELETE", "INSERT", "REPLACE"];

/// What the clock showed, and who ran a statement then.
pub(super) struct Moment {
    /// Microseconds since 1970, UTC.
    pub(super) now_us: i64,
    /// By how many seconds the server's own zone is ahead of UTC; none if it does not say.
    pub(super) ahead_s: Option<i64>,
    /// The statements that may write, as far as the account may see them.
    pub(super) statements: Vec<Writer>,
}

/// Reads the clock and the statements that run.
pub(super) async fn moment(connection: &mut Connection) -> Result<Moment, SourceError> {
    let mut refused = None;
    for processes in PROCESSES {
        let sql = format!(
            "SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', UTC_TIMESTAMP(6)) AS now_us, \
             TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(), CONVERT_TZ(UTC_TIMESTAMP(), '+00:00', @@global.time_zone)) AS ahead_s, \
             process.* FROM (SELECT 1 AS one) AS one LEFT JOIN (SELECT ID AS thread, COMMAND AS command, TIME AS seconds, \
             IF(INFO LIKE 'WITH%', INFO, LEFT(INFO, {QUERY_CHARS})) AS query FROM {processes} \
             WHERE COMMAND IN ({RUNNING}) AND USER NOT IN ({INTERNAL}) AND ID <> CONNECTION_ID()) AS process ON 1 = 1"
        );
        match connection.query(&sql).await {
            Ok(answer) => return read(&answer),
            Err(error) => match error.fault().kind {
                SourceErrorKind::UnknownTable | SourceErrorKind::Server { .. } | SourceErrorKind::Privilege => {
                    refused.get_or_insert(error);
                }
                _ => return Err(error),
            },
        }
    }
    Err(refused.unwrap_or_else(no_clock))
}

fn read(answer: &TextRows) -> Result<Moment, SourceError> {
    let first = answer.first().ok_or_else(no_clock)?;
    let now_us = first.parse_as::<i64>("now_us")?.ok_or_else(no_clock)?;
    let ahead_s = first.parse_as("ahead_s")?;
    let mut statements = Vec::new();
    for row in answer {
        let Some(thread) = row.parse_as::<u64>("thread")? else { continue };
        if may_write(row)? {
            let seconds = row.parse_as::<i64>("seconds")?.unwrap_or(0);
            let since_us = now_us.saturating_sub(seconds.saturating_mul(SECOND_US)).saturating_sub(TIME_MARGIN_US);
            statements.push(Writer { thread, since_us });
        }
    }
    Ok(Moment { now_us, ahead_s, statements })
}

fn no_clock() -> SourceError {
    SourceError::definite(SourceErrorKind::Protocol, "the server does not tell the time")
}

/// Whether a process runs what may write. A client's statement is not shown in the first moment.
fn may_write(row: &TextRow) -> Result<bool, SourceError> {
    // The text of a statement may be cut in the middle of a character.
    let query = row.bytes("query")?.map(String::from_utf8_lossy);
    let is_clients = row.text("command")?.is_some_and(|command| command == "Query" || command == "Execute");
    Ok(query.map_or(is_clients, |query| !only_reads(&query)))
}

/// Whether a statement writes nothing, by its first word; one that begins with WITH, which must be whole then, by all its
/// words.
pub(super) fn only_reads(query: &str) -> bool {
    let rest = without_comments(query);
    let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
    let Some(first) = rest.get(..end) else { return false };
    if first.eq_ignore_ascii_case("WITH") {
        let mut words = rest.split(|c: char| !c.is_ascii_alphabetic());
        return !words.any(|word| CHANGING.iter().any(|changing| word.eq_ignore_ascii_case(changing)));
    }
    READING.iter().any(|reading| first.eq_ignore_ascii_case(reading))
}

/// A statement from its first word on. Comments whose text is run are none.
fn without_comments(query: &str) -> &str {
    let mut rest = query;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '(');
        let block = rest.strip_prefix("/*").filter(|text| !text.starts_with('!') && !text.starts_with("M!"));
        let after = match block {
            Some(text) => text.split_once("*/"),
            None if rest.starts_with("--") || rest.starts_with('#') => rest.split_once('\n'),
            None => return rest,
        };
        // A comment without an end: the statement was cut in its middle.
        let Some((_, after)) = after else { return "" };
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_told_by_its_first_word() {
        for query in [
            "SELECT 1",
            " ( select 1)",
            "/* a */ /*b*/show tables",
            "/*My report*/ select 1",
            "-- report\nSELECT 1",
            "# report\n (/* x */ select 1)",
            "TABLE t",
            "commit",
            "FLUSH TABLES",
            "optimize table t",
            "WITH x AS (SELECT 1) SELECT * FROM x",
        ] {
            assert!(only_reads(query), "{query}");
        }
        for query in [
            "INSERT INTO t SELECT 1",
            "/*! INSERT */ INTO",
            "/*M! INSERT */ INTO",
            "call p()",
            "begin not atomic insert into t values (1); end",
            "WITH x AS (SELECT 1) DELETE FROM t",
            "-- a comment to the end",
            "/* a comment that was cut",
            "ANALYZE UPDATE t SET a = 1",
            "",
            "selectx",
        ] {
            assert!(!only_reads(query), "{query}");
        }
    }
}
