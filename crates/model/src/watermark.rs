//! How far a recurring flow has got in a table, by its delta column (flow-service.md 16.6, mysql-sources.md 13).
//!
//! **Invariant.** Every row whose delta value lies below the watermark has been read, or was never to be read; no row at
//! or above it has. So what follows begins exactly there, and windows that meet neither lose nor repeat a row. A
//! watermark never moves back.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::metrics::Window;
use crate::window::DeltaColumn;

/// How far a flow has got; the source makes it, the store keeps it under the ordinal of the commit that it came with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Watermark {
    /// The delta column, as the source spells its name.
    pub column: String,
    /// How far.
    pub position: Position,
    /// Who was read, as far as the source can tell servers apart; another one next time may lack the newest commits.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub server: Option<String>,
    /// How its values were read as moments (zone, format), as the source puts it; read in another way, they would be other
    /// moments.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reading: Option<String>,
    /// The table, as the source names it in full. What has been read of one says nothing about another.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub table: Option<String>,
    /// A digest of the row filter, or of there being none: rows that one hid and the next lets through lie below.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub filter: Option<String>,
}

/// A place in the values of a delta column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Position {
    /// Everything before this moment is read.
    #[serde(rename_all = "camelCase")]
    Moment {
        /// Microseconds since 1970, UTC; a multiple of the column's precision.
        through_us: i64,
    },
    /// Everything up to and with this value is read.
    #[serde(rename_all = "camelCase")]
    Counter {
        /// The value in decimal digits; none when nothing is read yet.
        through: Option<String>,
        /// Larger values that were seen, and may become the next bound once no older writer is left; the oldest first.
        #[serde(default)]
        seen: Vec<Observation>,
    },
}

/// The largest value of a counter at a moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Observation {
    /// When it was seen, by the source's clock: microseconds since 1970, UTC.
    pub at_us: i64,
    /// The value in decimal digits.
    pub max: String,
}

/// Rows that are chosen by a delta column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delta {
    /// The column, as the flow names it.
    pub column: DeltaColumn,
    /// Which of its values.
    pub span: Span,
}

/// Which values of a delta column are read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Span {
    /// Exactly the moments that somebody asked for, rows that are still being written or not. A counter has none.
    Asked(Window),
    /// What has come since the flow's last run, as far as no row below it can still appear.
    Since(Since),
}

/// What a recurring run reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Since {
    /// How far the flow has got; none before its first successful run.
    pub watermark: Option<Watermark>,
    /// What the first run reads.
    pub first: FirstRead,
    /// The run's instant, milliseconds since 1970: moments at or beyond it are left for the next run. Without meaning for
    /// a counter.
    pub instant_ms: i64,
    /// How far the end is held back from the source's own clock (`flows.window_lag_seconds`), milliseconds.
    pub lag_ms: i64,
}

/// What a flow reads before it has a watermark (flow-service.md 16.6, `backfill`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FirstRead {
    /// Everything up to the run's end, and the rows without a usable delta value.
    Everything,
    /// Only what is at or after this moment, milliseconds since 1970; of a counter, what comes after the largest value
    /// that is there.
    From(i64),
}

impl Watermark {
    /// A place in a column's values, of which nothing else is known.
    #[must_use]
    pub fn at(column: impl Into<String>, position: Position) -> Self {
        Self { column: column.into(), position, server: None, reading: None, table: None, filter: None }
    }

    /// Reads what the store holds; none if it is something else (a whole table, nothing).
    #[must_use]
    pub fn of(offset: &Value) -> Option<Self> {
        serde_json::from_value(offset.clone()).ok()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_watermark_is_told_from_other_offsets() {
        let moment = Position::Moment { through_us: 1_700_000_000_000_000 };
        let watermark = Watermark::at("updated_at", moment);
        let stored =
            json!({ "column": "updated_at", "position": { "moment": { "throughUs": 1_700_000_000_000_000_i64 } } });
        assert_eq!(serde_json::to_value(&watermark).unwrap(), stored);
        assert_eq!(Watermark::of(&stored), Some(watermark));
        assert_eq!(Watermark::of(&json!({ "wholeTable": true })), None);
        assert_eq!(Watermark::of(&Value::Null), None);
        let counter = json!({ "column": "id", "position": { "counter": { "through": null } } });
        let Some(Watermark { position: Position::Counter { through: None, seen }, .. }) = Watermark::of(&counter)
        else {
            panic!("a counter")
        };
        assert!(seen.is_empty());
    }
}
