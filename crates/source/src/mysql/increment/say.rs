//! What people should know about rows that are chosen by a delta column.
//!
//! Nothing here decides what is read. Each question looks at no more than an index tells, or at a small table, and the
//! server itself ends one that takes longer than [`QUESTION_DURATION_MAX`]: then its note is left out.

use std::time::Duration;

use chrono::DateTime;
use headwaters_model::source_error::{SourceError, SourceErrorKind};

use super::bound::{Replica, Situation, Writers};
use super::column::{Column, Values};
use super::wall::SECOND_US;
use crate::mysql::catalog::{Estimates, ObjectKind, TableDescription, quoted};
use crate::mysql::filter::Condition;
use crate::mysql::wire::{Connection, TextRows};

/// How long the server may work for one note.
const QUESTION_DURATION_MAX: Duration = Duration::from_secs(1);
/// Up to so many rows, by the server's guess, a table is looked through without an index.
const SMALL_TABLE_ROWS_MAX: u64 = 10_000;
/// Rows without a usable value are counted up to here.
const UNUSABLE_COUNTED_MAX: u64 = 10_000;
/// A transaction that holds a window back by less is not worth a note.
const HELD_BACK_NOTED_US: i64 = 60 * SECOND_US;
/// What lets an account see whether a server is a replica.
pub(super) const SEE_REPLICATION: &str =
    "GRANT REPLICATION CLIENT ON *.* TO the account, on MariaDB GRANT SLAVE MONITOR";
/// How many characters of a text index are enough for a moment.
const TEXT_INDEX_CHARS: u32 = 32;

/// A table under questions.
pub(super) struct Asked<'a> {
    pub(super) table: &'a TableDescription,
    pub(super) column: &'a Column,
    pub(super) estimates: Estimates,
    pub(super) filter: Option<&'a Condition>,
}

impl Asked<'_> {
    /// Whether an index leads to the values of the column.
    pub(super) fn is_indexed(&self) -> bool {
        let begins = |columns: &[crate::mysql::catalog::KeyPart]| {
            columns.first().is_some_and(|part| part.name == self.column.name)
        };
        self.column.is_indexable() && self.table.keys.iter().any(|key| begins(&key.columns))
    }

    /// Whether questions about the column's values are cheap. What a view hides is not known.
    fn is_cheap(&self) -> bool {
        let is_small = self.estimates.rows.is_some_and(|rows| rows <= SMALL_TABLE_ROWS_MAX);
        self.table.kind != ObjectKind::View && (self.is_indexed() || is_small)
    }

    /// That each run reads the whole table, with the statement that mends it.
    pub(super) fn index(&self) -> Option<String> {
        let name = &self.column.name;
        if self.table.kind == ObjectKind::View || self.is_indexed() {
            return None;
        }
        if !self.column.is_indexable() {
            return Some(format!(
                "the dateFormat of {name} does not sort like time, so no index serves and each run reads the whole table"
            ));
        }
        let is_long = self.table.column(name).is_some_and(|column| column.data_type.ends_with("text"));
        let (column, table) = (quoted(name), self.table.name.quoted());
        let length = if is_long { format!("({TEXT_INDEX_CHARS})") } else { String::new() };
        Some(format!(
            "no index begins with the column {name}, so each run reads the whole table: \
             CREATE INDEX {column} ON {table} ({column}{length})"
        ))
    }

    /// How many rows no run but a first one reads.
    pub(super) async fn unusable(&self, connection: &mut Connection) -> Result<Option<String>, SourceError> {
        let Some(unusable) = self.column.unusable().filter(|_| self.is_cheap()) else { return Ok(None) };
        let condition = Condition::all([self.filter.cloned(), Some(unusable)]);
        let limit = UNUSABLE_COUNTED_MAX + 1;
        let sql =
            format!("COUNT(*) AS n FROM (SELECT 1 FROM {} LIMIT {limit}) AS unusable", self.from(condition.as_ref()));
        let Some(answer) = ask(connection, &sql).await? else { return Ok(None) };
        let n = answer.first().map(|row| row.parse_as::<u64>("n")).transpose()?.flatten().unwrap_or(0);
        let n = match n {
            0 => return Ok(None),
            1 => "1 row has".to_owned(),
            n if n > UNUSABLE_COUNTED_MAX => format!("more than {UNUSABLE_COUNTED_MAX} rows have"),
            n => format!("{n} rows have"),
        };
        Ok(Some(format!("{n} no usable value in column {}, and are read by no window", self.column.name)))
    }

    /// Why a window holds no row; none if it holds some.
    pub(super) async fn empty(
        &self,
        connection: &mut Connection,
        window: &Condition,
    ) -> Result<Option<String>, SourceError> {
        let name = &self.column.name;
        if !self.is_cheap() {
            return Ok(None);
        }
        let both = Condition::all([self.filter.cloned(), Some(window.clone())]);
        if self.has_rows(connection, both.as_ref()).await? != Some(false) {
            return Ok(None);
        }
        if self.filter.is_some() && self.has_rows(connection, Some(window)).await? == Some(true) {
            return Ok(Some("no rows: the row filter lets none of those in the window through".to_owned()));
        }
        let shown = match &self.column.values {
            // A text that is read row by row sorts in another way.
            Values::Moments(_) if !self.column.is_indexable() => None,
            _ => {
                let sql = format!("MAX({}) AS newest FROM {}", quoted(name), self.table.name.quoted());
                ask(connection, &sql).await?
            }
        };
        let newest = shown.as_ref().and_then(|answer| answer.first()).map(|row| row.text("newest")).transpose()?;
        Ok(match newest {
            None => None,
            Some(Some(newest)) => Some(format!("no rows: the newest value in the column {name} is {newest}")),
            Some(None) if self.has_rows(connection, None).await? == Some(false) => {
                Some("no rows: the table is empty".to_owned())
            }
            Some(None) => Some(format!("no rows: no row has a value in the column {name}")),
        })
    }

    async fn has_rows(
        &self,
        connection: &mut Connection,
        condition: Option<&Condition>,
    ) -> Result<Option<bool>, SourceError> {
        let answer = ask(connection, &format!("1 FROM {} LIMIT 1", self.from(condition))).await?;
        Ok(answer.map(|answer| answer.first().is_some()))
    }

    fn from(&self, condition: Option<&Condition>) -> String {
        let table = self.table.name.quoted();
        condition.map_or(table.clone(), |condition| format!("{table} WHERE {}", condition.spelt_out()))
    }
}

/// Asks a question that begins behind SELECT; none if the server refuses to work for so long, or to answer at all.
async fn ask(connection: &mut Connection, question: &str) -> Result<Option<TextRows>, SourceError> {
    let sql = match connection.server().flavour().is_mariadb() {
        true => {
            format!("SET STATEMENT max_statement_time = {} FOR SELECT {question}", QUESTION_DURATION_MAX.as_secs_f64())
        }
        false => format!("SELECT /*+ MAX_EXECUTION_TIME({}) */ {question}", QUESTION_DURATION_MAX.as_millis()),
    };
    match connection.query(&sql).await {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if matches!(error.fault().kind, SourceErrorKind::Server { .. } | SourceErrorKind::Privilege) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// That less is known than it takes to miss no late commit.
pub(super) fn guarded_by_lag(situation: &Situation, lag_us: i64) -> Option<String> {
    let lag = format!("only the lag of {} s guards against late commits", lag_us / SECOND_US);
    match (situation.replica, situation.writers) {
        (Replica::Behind(_), _) => Some(format!("{lag}: a replica does not show who still writes to its source")),
        (Replica::Shared, _) => Some(format!(
            "{lag}: the server is read-only or belongs to a cluster, and does not show who still writes elsewhere"
        )),
        (Replica::Hidden, _) => Some(format!("{lag}, and the server may be a replica: {SEE_REPLICATION}")),
        (Replica::No | Replica::Unknown, Writers::Hidden) => {
            Some(format!("{lag}: GRANT PROCESS ON *.* TO the account"))
        }
        (Replica::No | Replica::Unknown, Writers::Stale) => {
            Some(format!("{lag}: the server's list of transactions is asked for too often to be new"))
        }
        (Replica::No | Replica::Unknown, Writers::Known(_) | Writers::Without) => None,
    }
}

/// That a transaction holds the end of a window back, which could be at `wished_us` without it.
pub(super) fn held_back(situation: &Situation, wished_us: i64) -> Option<String> {
    let writer = situation.oldest()?;
    let held_us = wished_us.saturating_sub(writer.since_us);
    (held_us > HELD_BACK_NOTED_US).then(|| {
        let who = match writer.thread {
            0 => "a prepared transaction that nobody holds".to_owned(),
            thread => format!("a transaction or statement of thread {thread}"),
        };
        format!("the window ends {} s early: {who} is open since {}", held_us / SECOND_US, utc(writer.since_us))
    })
}

/// That the values of a column may be local time, though they are taken for UTC.
pub(super) fn zone(column: &Column, situation: &Situation) -> Option<String> {
    let ahead_s = situation.ahead_s.filter(|ahead_s| *ahead_s != 0)?;
    column.is_undeclared_wall_clock().then(|| {
        let sign = if ahead_s < 0 { '-' } else { '+' };
        let (hours, minutes) = (ahead_s.abs() / 3_600, ahead_s.abs() / 60 % 60);
        format!(
            "the column {} is taken for UTC, but the server's zone is {sign}{hours:02}:{minutes:02}: \
             set SourceTimeZone in the connection string if local time is written",
            column.name
        )
    })
}

/// A moment for people.
pub(super) fn utc(at_us: i64) -> String {
    let at = DateTime::from_timestamp_micros(at_us);
    at.map(|at| at.format("%Y-%m-%dT%H:%M:%SZ").to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::bound::Writer;
    use super::*;

    #[test]
    fn a_transaction_is_told_when_it_holds_a_window_back_by_more_than_a_minute() {
        let held = |thread, since_s: i64| {
            let writers = Writers::Known(Some(Writer { thread, since_us: since_s * SECOND_US }));
            let situation = Situation { now_us: 1_000 * SECOND_US, ahead_s: None, writers, replica: Replica::No };
            held_back(&situation, 940 * SECOND_US)
        };
        assert_eq!(held(7, 880), None);
        let note = held(7, 0).unwrap();
        assert_eq!(
            note,
            "the window ends 940 s early: a transaction or statement of thread 7 is open since 1970-01-01T00:00:00Z"
        );
        assert!(held(0, 0).unwrap().contains("prepared transaction"));
    }
}
