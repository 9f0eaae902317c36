//! Runs by a counter: up to which value one reads, and what is said of it.

use std::time::Duration;

use headwaters_model::source_error::{SourceError, SourceErrorKind};
use headwaters_model::watermark::{FirstRead, Observation, Position, Since};
use tokio_util::sync::CancellationToken;

use super::bound::{self, Replica, Situation};
use super::column::{Counter, unfit};
use super::condition::nothing;
use super::counter::{self, Reach};
use super::{Chosen, NEW_FLOW, Subject, is_from_the_beginning, say};
use crate::mysql::catalog::quoted;
use crate::mysql::wire::Connection;

/// How often the first run of a counter looks whether its largest value is safe by now.
const SAFE_POLL: Duration = Duration::from_millis(500);

/// The rows beyond the last counter up to one below which nothing can be committed any more.
pub(super) async fn counters_since(
    connection: &mut Connection,
    subject: &Subject<'_>,
    counter: Counter,
    since: &Since,
    cancel: &CancellationToken,
) -> Result<Chosen, SourceError> {
    let lag_us = since.lag_ms.saturating_mul(1_000);
    let (through, mut seen) = match since.watermark.as_ref().map(|watermark| &watermark.position) {
        Some(Position::Counter { through, seen }) => (through.as_deref(), seen.clone()),
        _ => (None, Vec::new()),
    };
    let is_first = since.watermark.is_none();
    // Without an index each look at the largest value reads the whole table.
    let pause = if subject.questions().is_indexed() { SAFE_POLL } else { Duration::MAX };
    let mut waited_until_us: Option<i64> = None;
    let (situation, max, reach) = loop {
        let max = max(connection, subject).await?;
        let situation = bound::look(connection, subject.table, subject.server).await?;
        let reach = Reach::decide(through, &seen, max.clone(), &situation, lag_us);
        let until_us = *waited_until_us.get_or_insert(situation.now_us.saturating_add(lag_us));
        let waits = is_first && max.is_some() && reach.through.is_none();
        if !waits || situation.now_us >= until_us {
            break (situation, max, reach);
        }
        seen = reach.seen;
        let left = Duration::from_micros(until_us.saturating_sub(situation.now_us).unsigned_abs());
        tokio::select! {
            () = cancel.cancelled() => return Err(cancelled(subject)),
            () = tokio::time::sleep(left.min(pause)) => {}
        }
    };
    let mut notes: Vec<String> = subject.changes(since).collect();
    notes.extend(say::guarded_by_lag(&situation, lag_us));
    notes.extend(went_back(subject, through, max.as_deref())?);
    let position = |through, seen: Vec<Observation>| Some(subject.reached(Position::Counter { through, seen }));
    let chosen = |condition, reached, notes| Ok(Chosen { condition, reached, window: None, notes });
    if let (true, FirstRead::From(_)) = (is_first, since.first) {
        let begun = max.is_none() || reach.through.is_some();
        notes.push(begins(subject, &situation, &reach, begun));
        let reached = begun.then(|| position(reach.through, reach.seen)).flatten();
        return chosen(nothing(), reached, notes);
    }
    let condition = match (through, reach.through.as_deref()) {
        (_, None) => nothing(),
        (Some(above), Some(bound)) if counter::compare(above, bound).is_ge() => nothing(),
        (None, Some(bound)) if is_from_the_beginning(since) => {
            subject.column.counters_from_the_beginning(counter, bound)
        }
        (above, Some(bound)) => subject.column.counters_between(counter, above, bound),
    };
    if !reach.seen.is_empty() {
        notes.extend(held_counter(subject, &situation, &reach));
    }
    chosen(condition, position(reach.through, reach.seen), notes)
}

/// Where a counter begins that is not read from its beginning: behind a value below which all is committed, so that what
/// is committed from then on is read. Without one (`begun` is false) the next run looks for it anew.
fn begins(subject: &Subject<'_>, situation: &Situation, reach: &Reach, begun: bool) -> String {
    let (name, now) = (&subject.column.name, say::utc(situation.now_us));
    match &reach.through {
        Some(through) => {
            format!("the flow begins behind {through}, the largest value of {name} that was safe at {now}")
        }
        None if begun => format!("the flow begins at {now}, when no row had a value in the column {name}"),
        None => format!("the flow has not begun: {}", held_counter(subject, situation, reach).unwrap_or_default()),
    }
}

/// That smaller values are there than were read: they may be new, and nothing tells them from old ones.
///
/// # Errors
///
/// If all that is left is smaller. A table without any value is told only: what is to come may well be larger.
fn went_back(subject: &Subject<'_>, through: Option<&str>, max: Option<&str>) -> Result<Option<String>, SourceError> {
    let (table, name) = (&subject.table.name, &subject.column.name);
    match (through, max) {
        (Some(through), None) => Ok(Some(format!(
            "no row has a value in the column {name} any more, and {through} was read: smaller values are not \
             read (if the table was filled anew, {NEW_FLOW})"
        ))),
        (Some(through), Some(max)) if counter::compare(max, through).is_lt() => {
            let message = format!(
                "the largest value of {name} in {table} is {max}, but {through} was read before: the counter went back, and \
                 smaller values are not read"
            );
            Err(unfit(message).with_hint(format!(
                "if the table was emptied or restored, {NEW_FLOW}; if only the newest rows were deleted, the flow goes on \
                 by itself once there are larger values"
            )))
        }
        _ => Ok(None),
    }
}

/// That larger values are there, and why they are not read.
fn held_counter(subject: &Subject<'_>, situation: &Situation, reach: &Reach) -> Option<String> {
    let newest = &reach.seen.last()?.max;
    let why = match situation.oldest() {
        Some(writer) => format!(
            "thread {} has written since {} and may still commit smaller ones",
            writer.thread,
            say::utc(writer.since_us)
        ),
        None if situation.replica == Replica::Unknown => format!(
            "whether smaller ones are still to be committed is known only after the lag, because the server may be a \
             replica ({})",
            say::SEE_REPLICATION
        ),
        None => "whether smaller ones are still to be committed is known only after the lag".to_owned(),
    };
    Some(format!("values of {} up to {newest} are left for later runs: {why}", subject.column.name))
}

/// The largest value of the column, as it is committed now.
async fn max(connection: &mut Connection, subject: &Subject<'_>) -> Result<Option<String>, SourceError> {
    // Inside a transaction the value would be as old as its snapshot.
    connection.execute("ROLLBACK").await?;
    let sql = format!("SELECT MAX({}) AS max FROM {}", quoted(&subject.column.name), subject.table.name.quoted());
    let answer = connection.query(&sql).await?;
    Ok(answer.first().map(|row| row.text("max")).transpose()?.flatten().map(str::to_owned))
}

fn cancelled(subject: &Subject<'_>) -> SourceError {
    SourceError::definite(SourceErrorKind::Cancelled, format!("reading {} was cancelled", subject.table.name))
}
