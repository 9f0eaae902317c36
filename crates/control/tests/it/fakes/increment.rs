//! What a run reads by its delta column, by the rules of the real source: from the watermark on to the run's instant, less
//! the lag, and never back. The clock of this source shows the run's instant, and its counters count seconds.

use headwaters_model::explore::ColumnType;
use headwaters_model::job::Landed;
use headwaters_model::metrics::Window;
use headwaters_model::source_error::{SourceError, SourceErrorKind};
use headwaters_model::watermark::{Delta, FirstRead, Position, Since, Span, Watermark};

use super::COLUMNS;

/// Whether rows can be chosen by this column.
pub(super) fn check(delta: &Delta) -> Result<(), SourceError> {
    let Delta { column, span } = delta;
    let refused = |message: String| Err(SourceError::definite(SourceErrorKind::DeltaColumn, message));
    let name = &column.name;
    match (type_of(delta), &column.date_format, span) {
        (None, ..) => refused(format!("shop.orders has no column {name}")),
        (Some(ColumnType::Boolean), ..) => refused(format!("the column {name} is a boolean, which tells no time")),
        (Some(ColumnType::String), Some(format), _) if format != "yyyy-MM-dd HH:mm:ss" => {
            refused(format!("the column {name} is a text, and texts are read as yyyy-MM-dd HH:mm:ss only"))
        }
        (Some(ColumnType::Long | ColumnType::Integer), None, Span::Asked(_)) => {
            refused(format!("the column {name} is a number, which counts and tells no time"))
        }
        (.., Span::Since(Since { watermark: Some(watermark), .. })) if watermark.column != *name => {
            refused(format!("the flow has read by the column {} so far", watermark.column))
        }
        _ => Ok(()),
    }
}

/// How far a recurring run gets, and by which moments, as it is known before it reads; none for anything else.
pub(super) fn planned(delta: Option<&Delta>) -> Option<(Watermark, Option<Window>)> {
    let delta = delta?;
    let Span::Since(since) = &delta.span else { return None };
    let (start_ms, end_ms) = bounds(since);
    let (position, window) = match type_of(delta) {
        Some(ColumnType::Long | ColumnType::Integer) => {
            (Position::Counter { through: Some((end_ms / 1000).to_string()), seen: Vec::new() }, None)
        }
        _ => (Position::Moment { through_us: end_ms * 1000 }, Some(Window { start_ms, end_ms })),
    };
    Some((Watermark::at(delta.column.name.clone(), position), window))
}

/// What is landed when these rows were found: nothing where the watermark has passed the whole window.
pub(super) fn within(delta: Option<&Delta>, landed: Landed) -> Landed {
    let Some((reached, window)) = planned(delta) else { return landed };
    match delta.map(|delta| &delta.span) {
        Some(Span::Since(since)) if bounds(since).0 >= bounds(since).1 => Landed {
            notes: vec!["nothing was read: what lies before the instant of this run was read before".to_owned()],
            reached: Some(reached),
            window,
            ..Landed::default()
        },
        _ => Landed { reached: Some(reached), window, ..landed },
    }
}

fn bounds(since: &Since) -> (i64, i64) {
    let start_ms = match (&since.watermark, since.first) {
        (Some(Watermark { position: Position::Moment { through_us }, .. }), _) => through_us / 1000,
        (Some(Watermark { position: Position::Counter { through, .. }, .. }), _) => {
            through.as_ref().map_or(0, |through| through.parse::<i64>().unwrap() * 1000)
        }
        (None, FirstRead::Everything) => 0,
        (None, FirstRead::From(start_ms)) => start_ms,
    };
    (start_ms, since.instant_ms.saturating_sub(since.lag_ms).max(start_ms))
}

fn type_of(delta: &Delta) -> Option<ColumnType> {
    let named = |(name, _): &&(&str, ColumnType)| name.eq_ignore_ascii_case(&delta.column.name);
    COLUMNS.iter().find(named).map(|(_, column_type)| *column_type)
}
