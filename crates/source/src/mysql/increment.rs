//! Rows that are chosen by a delta column: a window that somebody asked for, or what has come since the flow's watermark
//! (flow-service.md 16.2, 16.6; mysql-sources.md 13).
//!
//! **Invariant.** Windows are half open and meet where the watermark stands; both sides spell that bound alike
//! ([`condition`]). So over all runs each value is read once, if no row appears below a watermark after it was read.
//!
//! **Why none does.** A delta value is taken when its statement runs and seen when its transaction commits. The order
//! is: the clock of the source is read, then the transactions that run are listed, then the snapshot is opened. A row that
//! the snapshot does not show is committed later, by a transaction that either was listed, and the end of the window is
//! held back to before it began; or wrote nothing before the list was made, and then its values are not below the clock.
//! A statement that has no transaction yet is listed like one ([`bound`]). Clocks of applications, and everything where
//! transactions can not be listed, are left to the lag.
//!
//! A window that was asked for is read as it is: who asks knows what is still being written.

mod bound;
mod column;
mod condition;
mod counter;
mod counting;
mod say;
pub mod text;
mod wall;

use headwaters_model::metrics::Window;
use headwaters_model::source_error::SourceError;
use headwaters_model::watermark::{Delta, FirstRead, Position, Since, Span, Watermark};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use self::bound::Situation;
pub(super) use self::column::Column;
use self::column::{Moments, Values, unfit};
use self::condition::nothing;
use self::counting::counters_since;
use self::say::Asked;
use self::wall::{WALL_MIN_US, ceil, floor, wall_bound};
use super::catalog::{Estimates, TableDescription};
use super::filter::Condition;
use super::types::TypeRules;
use super::wire::Connection;

/// The unit in which windows are told.
const MILLISECOND_US: i64 = 1_000;
/// 0001-01-01T00:00:00Z, before which nothing is asked for.
const MOMENT_MIN_MS: i64 = WALL_MIN_US / 1_000;
/// 9999-12-31T23:59:59Z: no column holds a moment that is more than a fraction of a second later.
const MOMENT_MAX_MS: i64 = 253_402_300_799_000;
/// What to do when a flow is to read in another way than so far.
const NEW_FLOW: &str = "make a new flow, which reads the table from its beginning";
/// How much of a row filter's digest a watermark keeps.
const FILTER_DIGEST_BYTES: usize = 8;

/// What a run reads by its delta column.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Chosen {
    /// Which rows.
    pub(super) condition: Condition,
    /// How far the flow has got when they are in the table; none for a window that was asked for.
    pub(super) reached: Option<Watermark>,
    /// Which moments; none for a counter.
    pub(super) window: Option<Window>,
    /// What people should know.
    pub(super) notes: Vec<String>,
}

/// Finds the delta column of a request, and refuses what can not be read by it.
pub(super) fn find(delta: &Delta, table: &TableDescription, rules: &TypeRules) -> Result<Column, SourceError> {
    let column = Column::find(&delta.column, table, rules)?;
    match (&column.values, &delta.span) {
        (Values::Counter(_), Span::Asked(_)) => Err(without_moments(&column)),
        (_, Span::Since(since)) => fits(&column, table, since).map(|()| column),
        _ => Ok(column),
    }
}

fn without_moments(column: &Column) -> SourceError {
    let message = format!(
        "the column {} is a number, which counts and tells no time, so a window can not be read by it",
        column.name
    );
    unfit(message).with_hint(
        "name a date-time column, or say with dateFormat epoch or epochMillis that the number holds seconds or \
         milliseconds since 1970",
    )
}

/// Whether the flow has got so far in this table, by this column and by values of this kind.
fn fits(column: &Column, table: &TableDescription, since: &Since) -> Result<(), SourceError> {
    let Some(watermark) = &since.watermark else { return Ok(()) };
    let table = table.name.to_string();
    if let Some(before) = watermark.table.as_ref().filter(|before| **before != table) {
        let message = format!("the flow has read the table {before} so far, and not {table}");
        return Err(unfit(message).with_hint(format!("change it back, or {NEW_FLOW}")));
    }
    let other_kind = matches!(
        (&watermark.position, &column.values),
        (Position::Moment { .. }, Values::Counter(_)) | (Position::Counter { .. }, Values::Moments(_))
    );
    let name = &column.name;
    if watermark.column.to_lowercase() != name.to_lowercase() {
        let message = format!("the flow has read by the column {} so far, and not by {name}", watermark.column);
        return Err(unfit(message).with_hint(NEW_FLOW));
    }
    if other_kind {
        let message = format!("the flow has read by the column {name} so far, but its values are of another kind now");
        return Err(unfit(message).with_hint(NEW_FLOW));
    }
    match watermark.reading.as_deref().filter(|reading| *reading != column.reading) {
        None => Ok(()),
        Some(before) => {
            let message = format!(
                "the values of the column {name} would be read in another way than so far ({} instead of {before}), which \
                 makes them other moments",
                column.reading
            );
            Err(unfit(message).with_hint(format!("change it back, or {NEW_FLOW}")))
        }
    }
}

/// A condition of the form that a run will have, to be prepared by the server.
pub(super) fn sample(column: &Column) -> Condition {
    match &column.values {
        Values::Moments(moments) => column.moments_between(moments, Some(0), Some(wall::DAY_US)),
        Values::Counter(counter) => column.counters_between(*counter, Some("0"), "1"),
    }
}

/// What is read by a delta column.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    /// The table.
    pub(super) table: &'a TableDescription,
    /// Its delta column.
    pub(super) column: &'a Column,
    /// The server's guesses of the table's size.
    pub(super) estimates: Estimates,
    /// The row filter.
    pub(super) filter: Option<&'a Condition>,
    /// The row filter as the flow gives it.
    pub(super) asked_filter: Option<&'a Value>,
    /// Who answers.
    pub(super) server: &'a str,
}

impl Subject<'_> {
    fn questions(&self) -> Asked<'_> {
        let Self { table, column, estimates, filter, .. } = *self;
        Asked { table, column, estimates, filter }
    }

    fn reached(&self, position: Position) -> Watermark {
        Watermark {
            column: self.column.name.clone(),
            position,
            server: Some(self.server.to_owned()),
            reading: Some(self.column.reading.clone()),
            table: Some(self.table.name.to_string()),
            filter: Some(self.filter_digest()),
        }
    }

    /// The row filter in a few characters. The members of its objects are sorted, so equal filters are spelt alike.
    fn filter_digest(&self) -> String {
        let text = self.asked_filter.map(Value::to_string).unwrap_or_default();
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
        digest.as_ref().iter().take(FILTER_DIGEST_BYTES).map(|byte| format!("{byte:02x}")).collect()
    }

    /// What differs from the last time, and can cost rows.
    fn changes(&self, since: &Since) -> impl Iterator<Item = String> {
        self.other_server(since).into_iter().chain(self.other_filter(since))
    }

    /// That the row filter is another one than the last time.
    fn other_filter(&self, since: &Since) -> Option<String> {
        let watermark = since.watermark.as_ref()?;
        watermark.filter.as_ref().filter(|before| **before != self.filter_digest())?;
        let reached = match &watermark.position {
            Position::Moment { through_us } => format!("before {}", say::utc(*through_us)),
            Position::Counter { through, .. } => format!("up to {}", through.as_deref()?),
        };
        Some(format!(
            "the row filter was changed: rows {reached} by {} that the old one hid are not read",
            self.column.name
        ))
    }

    /// That another server answered than the last time.
    fn other_server(&self, since: &Since) -> Option<String> {
        let before = since.watermark.as_ref()?.server.as_deref().filter(|before| *before != self.server)?;
        Some(format!(
            "another server answers than last time ({} instead of {before}): what it had not applied by then is missed",
            self.server
        ))
    }
}

/// Decides which rows a run reads. What is not visible yet is left for the next run: so this comes before the snapshot.
///
/// None if nothing is chosen by the column. The token ends the wait of a counter's first run.
pub(super) async fn choose(
    connection: &mut Connection,
    subject: &Subject<'_>,
    delta: Option<&Delta>,
    cancel: &CancellationToken,
) -> Result<Option<Chosen>, SourceError> {
    let Some(Delta { span, .. }) = delta else { return Ok(None) };
    let mut chosen = match (&subject.column.values, span) {
        (Values::Moments(moments), Span::Asked(window)) => asked(subject.column, moments, *window),
        (Values::Moments(moments), Span::Since(since)) => moments_since(connection, subject, moments, since).await?,
        (Values::Counter(counter), Span::Since(since)) => {
            counters_since(connection, subject, *counter, since, cancel).await?
        }
        (Values::Counter(_), Span::Asked(_)) => return Err(without_moments(subject.column)),
    };
    let questions = subject.questions();
    chosen.notes.extend(questions.index());
    let takes_unusable = matches!(span, Span::Since(since) if is_from_the_beginning(since));
    if matches!(span, Span::Since(_)) && !takes_unusable {
        chosen.notes.extend(questions.unusable(connection).await?);
    }
    chosen.notes.extend(questions.empty(connection, &chosen.condition).await?);
    Ok(Some(chosen))
}

/// Whether nothing was read before, so that the rows without a usable value are read with the rest.
fn is_from_the_beginning(since: &Since) -> bool {
    let has_read = match since.watermark.as_ref().map(|watermark| &watermark.position) {
        None | Some(Position::Counter { through: None, .. }) => false,
        Some(Position::Moment { .. } | Position::Counter { through: Some(_), .. }) => true,
    };
    !has_read && since.first == FirstRead::Everything
}

/// The rows of a window, both of whose bounds are rounded up: that moves no row.
fn asked(column: &Column, moments: &Moments, window: Window) -> Chosen {
    let wall = |ms: i64| {
        let ms = ms.clamp(MOMENT_MIN_MS, MOMENT_MAX_MS);
        ceil(wall_bound(ms.saturating_mul(1_000), moments.zone), moments.unit_us)
    };
    // A window that goes on beyond the last year has no upper bound.
    let is_bounded = window.end_ms <= MOMENT_MAX_MS || window.start_ms > MOMENT_MAX_MS;
    let upper = is_bounded.then(|| wall(window.end_ms));
    let condition = column.moments_between(moments, Some(wall(window.start_ms)), upper);
    Chosen { condition, reached: None, window: Some(window), notes: Vec::new() }
}

/// Where a window begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Start {
    /// The moment, microseconds since 1970, UTC.
    at_us: i64,
    /// What the column's clock shows then, in whole units; none is from the beginning, with the unusable values.
    wall_us: Option<i64>,
}

impl Start {
    fn of(moments: &Moments, since: &Since) -> Self {
        let reached = since.watermark.as_ref().map(|watermark| &watermark.position);
        match (reached, since.first) {
            (Some(Position::Moment { through_us }), _) => {
                let wall_us = floor(wall_bound(*through_us, moments.zone), moments.unit_us);
                Self { at_us: *through_us, wall_us: Some(wall_us) }
            }
            (_, FirstRead::Everything) => Self { at_us: 0, wall_us: None },
            (_, FirstRead::From(start_ms)) => {
                let at_us = start_ms.clamp(MOMENT_MIN_MS, MOMENT_MAX_MS).saturating_mul(1_000);
                let wall_us = ceil(wall_bound(at_us, moments.zone), moments.unit_us);
                Self { at_us, wall_us: Some(wall_us) }
            }
        }
    }
}

/// The moment and the wall clock at which a window ends that may go on until `at_us`: whole units of the column.
fn whole_units(moments: &Moments, at_us: i64) -> (i64, i64) {
    let bound = wall_bound(at_us, moments.zone);
    let wall_us = floor(bound, moments.unit_us);
    let rounded_us = at_us - (bound - wall_us);
    // Where the clock was put forward or back since, rounding in UTC would lead to another wall clock.
    let is_same = floor(wall_bound(rounded_us, moments.zone), moments.unit_us) == wall_us;
    (if is_same { rounded_us } else { at_us }, wall_us)
}

/// The rows from the watermark up to what no running transaction can still write.
async fn moments_since(
    connection: &mut Connection,
    subject: &Subject<'_>,
    moments: &Moments,
    since: &Since,
) -> Result<Chosen, SourceError> {
    let lag_us = since.lag_ms.saturating_mul(1_000);
    let situation = bound::look(connection, subject.table, subject.server).await?;
    let start = Start::of(moments, since);
    let mut notes: Vec<String> = subject.changes(since).collect();
    notes.extend(say::guarded_by_lag(&situation, lag_us));
    notes.extend(say::zone(subject.column, &situation));
    let instant_us = since.instant_ms.saturating_mul(1_000);
    notes.extend(say::held_back(&situation, instant_us.min(situation.now_us.saturating_sub(lag_us))));
    // A window is told in milliseconds: what it names and what the watermark says shall be one moment.
    let end = whole_units(moments, floor(situation.settled_us(lag_us).min(instant_us), MILLISECOND_US));
    let window = |end_us: i64| Window { start_ms: start.at_us.div_euclid(1_000), end_ms: end_us.div_euclid(1_000) };
    let (end_us, wall_us) = end;
    if start.wall_us.is_some_and(|start_us| start_us >= wall_us) {
        notes.push(why_still(&situation, &start));
        // Before the first window there is no watermark.
        let reached = since.watermark.as_ref();
        let reached = reached.map(|_| subject.reached(Position::Moment { through_us: start.at_us }));
        return Ok(Chosen { condition: nothing(), reached, window: Some(window(start.at_us)), notes });
    }
    let condition = subject.column.moments_between(moments, start.wall_us, Some(wall_us));
    let reached = Some(subject.reached(Position::Moment { through_us: end_us }));
    Ok(Chosen { condition, reached, window: Some(window(end_us)), notes })
}

/// Why a window does not move.
fn why_still(situation: &Situation, start: &Start) -> String {
    if situation.now_us < start.at_us {
        return format!(
            "the window does not move: the source's clock shows {}, and all before {} is read already",
            say::utc(situation.now_us),
            say::utc(start.at_us)
        );
    }
    "the window is empty: all that may be read by now was read before".to_owned()
}
