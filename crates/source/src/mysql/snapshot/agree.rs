//! Agreement on a position in MariaDB's binary log.
//!
//! Equal positions are one moment as far as every commit moves the position. A log that leaves databases out is therefore
//! not used, nor one that leaves out what is applied from another server. Two things stay unproven: the filters of the
//! log, where the account may not see them; and transactions of a session that set `sql_log_bin = 0`, which takes a
//! privilege of its own and which nobody else can see. The first is told in a note.

use std::time::Duration;

use futures::future::try_join_all;
use headwaters_model::source_error::{SourceError, SourceErrorKind};
use tokio::time::Instant;

use super::{START, start, start_all};
use crate::mysql::wire::{Connection, TextRows};

/// How long connections try to agree.
const AGREE_MAX: Duration = Duration::from_secs(3);

/// File and offset of a snapshot in the binary log; files count up, so positions of one server can be compared.
type Position = (String, u64);

/// What the account may know of the binary log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Log {
    /// It holds every commit (but see the module).
    Whole,
    /// It leaves commits out.
    Partial,
    /// It holds what it applies, but what it filters is not shown to the account.
    Unseen,
}

/// Opens snapshots until all of them are at one position. False if the server has no positions or writes too fast.
pub(super) async fn agree(connections: &mut [Connection]) -> Result<bool, SourceError> {
    start_all(connections).await?;
    let deadline = Instant::now() + AGREE_MAX;
    loop {
        let positions = try_join_all(connections.iter_mut().map(position)).await?;
        let Some(positions) = positions.into_iter().collect::<Option<Vec<Position>>>() else { return Ok(false) };
        let Some(newest) = positions.iter().max().cloned() else { return Ok(false) };
        let behind: Vec<&mut Connection> = connections
            .iter_mut()
            .zip(&positions)
            .filter(|(_, position)| **position != newest)
            .map(|(connection, _)| connection)
            .collect();
        if behind.is_empty() {
            return Ok(true);
        }
        if Instant::now() > deadline {
            return Ok(false);
        }
        try_join_all(behind.into_iter().map(|connection| start(connection, START))).await?;
    }
}

async fn position(connection: &mut Connection) -> Result<Option<Position>, SourceError> {
    let answer = connection.query("SHOW STATUS LIKE 'binlog\\_snapshot\\_%'").await?;
    let (mut file, mut offset) = (String::new(), None);
    for row in &answer {
        match (row.text("Variable_name")?, row.text("Value")?) {
            (Some(name), Some(value)) if name.eq_ignore_ascii_case("binlog_snapshot_file") => file = value.to_owned(),
            (Some(name), Some(value)) if name.eq_ignore_ascii_case("binlog_snapshot_position") => {
                offset = value.parse().ok();
            }
            _ => {}
        }
    }
    Ok(offset.filter(|_| !file.is_empty()).map(|offset| (file, offset)))
}

/// Whether every commit moves the position. Then, and only then, equal positions are one moment. Not so where the log
/// leaves databases out, or where commits of another server are applied without being logged again.
pub(super) async fn log(connection: &mut Connection) -> Result<Log, SourceError> {
    if !logs_what_it_applies(connection).await? {
        return Ok(Log::Partial);
    }
    let filters = match connection.query("SHOW MASTER STATUS").await {
        Ok(answer) => answer,
        Err(error) if error.fault().kind == SourceErrorKind::Privilege => return Ok(Log::Unseen),
        Err(error) => return Err(error),
    };
    // Without a binary log there is no row, and later no position.
    let is_set =
        |label| filters.first().and_then(|row| row.text(label).ok().flatten()).is_some_and(|set| !set.is_empty());
    Ok(if is_set("Binlog_Do_DB") || is_set("Binlog_Ignore_DB") { Log::Partial } else { Log::Whole })
}

async fn logs_what_it_applies(connection: &mut Connection) -> Result<bool, SourceError> {
    let statement = "SHOW VARIABLES LIKE 'log_slave_updates'";
    let relogs = values(&connection.query(statement).await?)?;
    let statement = "SHOW STATUS WHERE Variable_name IN ('Slaves_running', 'Slave_running', 'wsrep_connected')";
    let applies = values(&connection.query(statement).await?)?;
    Ok(is_on(&relogs) || !is_on(&applies))
}

/// The second column of what SHOW VARIABLES and SHOW STATUS answer.
fn values(answer: &TextRows) -> Result<Vec<String>, SourceError> {
    let value = |row| crate::mysql::wire::TextRow::text(row, "Value").map(|value| value.unwrap_or_default().to_owned());
    answer.rows().iter().map(value).collect()
}

fn is_on(values: &[String]) -> bool {
    values.iter().any(|value| !matches!(value.as_str(), "" | "0" | "OFF"))
}

#[cfg(test)]
mod tests {
    use super::is_on;

    #[test]
    fn numbers_and_words_tell_what_is_on() {
        let on = |values: &[&str]| is_on(&values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>());
        assert!(on(&["0", "ON"]) && on(&["2"]));
        assert!(!on(&["0", "OFF", ""]) && !on(&[]));
    }
}
