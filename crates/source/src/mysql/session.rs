//! The session that every connection gets before anything else is sent (mysql-sources.md 6).
//!
//! **Invariant.** Whatever a server's global variables say: text arrives as utf8mb4, moments as UTC, statements are read
//! under the plain SQL mode, a table is read to its end as it is now, and nothing can be written. What would lose text or
//! rows silently is set here, or is an error here.

use std::time::Duration;

use headwaters_model::source_error::{SourceError, SourceErrorKind};

use super::wire::{ConnectOptions, Connection};

/// The server's answer to a variable that it does not have.
const UNKNOWN_VARIABLE: u16 = 1193;
/// How many characters of a comment are sent with each statement.
const COMMENT_CHARS_MAX: usize = 200;

/// Variables that every server has. The network timeouts are long because the server waits for our slow reads.
///
/// A `sql_select_limit` ends every SELECT early, with the terminator of a whole result; `sql_big_selects` overrules
/// `max_join_size`, which refuses large tables; `sql_auto_is_null` gives IS NULL another meaning.
const VARIABLES: &str = "SET SESSION time_zone = '+00:00', sql_mode = '', autocommit = 1, completion_type = 0, \
    sql_select_limit = 18446744073709551615, sql_big_selects = 1, sql_auto_is_null = 0, wait_timeout = 28800, \
    net_write_timeout = 3600, net_read_timeout = 3600, lock_wait_timeout = 30";
/// Variables of engines and flavours; a server without one answers 1193, which is fine.
const VARIABLES_SOME: &[&str] = &[
    "SET SESSION innodb_lock_wait_timeout = 30",
    // Else a global point in time would show system-versioned tables as they were then.
    "SET SESSION system_versioning_asof = DEFAULT",
    // The connection that holds a snapshot's transaction is idle while others read.
    "SET SESSION idle_transaction_timeout = 0, idle_readonly_transaction_timeout = 0",
];
/// Without REPEATABLE READ a consistent snapshot is silently none; READ ONLY guards against our own bugs.
const TRANSACTIONS: &str = "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY";

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Short statements: the server itself ends one that runs longer than the parameters allow.
    Metadata,
    /// Reading tables: no statement is too long.
    Reading,
}

/// Connects and sets the session up.
pub async fn open(options: &ConnectOptions, purpose: Purpose) -> Result<Connection, SourceError> {
    let mut connection = Connection::connect(options).await?;
    connection.execute("SET NAMES utf8mb4").await?;
    connection.execute(VARIABLES).await?;
    for statement in VARIABLES_SOME {
        tolerating_unknown_variables(connection.execute(statement).await)?;
    }
    let limit = match purpose {
        Purpose::Metadata => options.statement_timeout,
        Purpose::Reading => None,
    };
    limit_statements(&mut connection, limit).await?;
    connection.execute(TRANSACTIONS).await?;
    check(&mut connection).await?;
    Ok(connection)
}

/// Makes the server end a SELECT that runs longer; none is no limit. A server without such a variable has none to set.
pub async fn limit_statements(connection: &mut Connection, limit: Option<Duration>) -> Result<(), SourceError> {
    let limit = limit.unwrap_or_default();
    let statement = match connection.server().flavour().is_mariadb() {
        true => format!("SET SESSION max_statement_time = {}", limit.as_secs_f64()),
        false => format!("SET SESSION max_execution_time = {}", limit.as_millis()),
    };
    tolerating_unknown_variables(connection.execute(&statement).await)
}

/// A statement under a comment that the server's administrators see in its process list (mysql-sources.md 6).
#[must_use]
pub fn tagged(comment: &str, sql: &str) -> String {
    let comment: String = comment
        .chars()
        .map(|c| if c.is_control() || matches!(c, '*' | '/' | '!') { ' ' } else { c })
        .take(COMMENT_CHARS_MAX)
        .collect();
    match comment.trim() {
        "" => sql.to_owned(),
        comment => format!("/* {comment} */ {sql}"),
    }
}

async fn check(connection: &mut Connection) -> Result<(), SourceError> {
    let answer = connection.query("SELECT @@character_set_results AS charset, @@version_comment AS edition").await?;
    let Some(row) = answer.first() else {
        let message = "the server does not say in which character set it answers";
        return Err(SourceError::definite(SourceErrorKind::Protocol, message));
    };
    connection.note_version_comment(row.text("edition")?.unwrap_or_default());
    match row.text("charset")? {
        Some(charset) if charset.eq_ignore_ascii_case("utf8mb4") => Ok(()),
        charset => {
            let charset = charset.unwrap_or("no character set");
            let message = format!("the server answers in {charset} instead of utf8mb4, which would lose text");
            let hint =
                "look for SET NAMES or character_set_results in the server's init_connect, or for a proxy in between";
            Err(SourceError::definite(SourceErrorKind::Protocol, message).with_hint(hint))
        }
    }
}

fn tolerating_unknown_variables(outcome: Result<(), SourceError>) -> Result<(), SourceError> {
    match outcome {
        Err(error) if error.fault().kind == (SourceErrorKind::Server { number: UNKNOWN_VARIABLE }) => Ok(()),
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_can_not_end_itself_or_become_a_hint() {
        assert_eq!(tagged("flow 1 run 2", "SELECT 1"), "/* flow 1 run 2 */ SELECT 1");
        assert_eq!(tagged("x */ DROP TABLE t; /*! ", "SELECT 1"), "/* x    DROP TABLE t; */ SELECT 1");
        assert_eq!(tagged(" \n", "SELECT 1"), "SELECT 1");
    }
}
