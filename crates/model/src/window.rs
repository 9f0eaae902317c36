//! The window of a run, and the parameters that a client sends for it (`params.rs`; flow-service.md 5, 16.2, 16.6, 17.5).
//!
//! **Invariant.** A window is half open: a row belongs to it if `start <= delta < end`. Two windows that meet at a moment
//! read each row on it exactly once, whatever the precision of the column. How that is said to a database is the
//! source's matter, which knows the column's type.

mod params;

use serde::{Deserialize, Serialize};

pub use self::params::{ParamsCause, ParamsError, RunParams};
use crate::metrics::Window;

/// The column that says when a row was last changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeltaColumn {
    /// Its name in the source.
    pub name: String,
    /// How a text or a number stands for a moment; without meaning for dates and date-times.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub date_format: Option<String>,
    /// The zone of a text; UTC when absent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub timezone: Option<String>,
}

/// Rows of a table: those whose delta value lies in a window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Windowed {
    /// Which moments.
    pub window: Window,
    /// By which column.
    pub delta: DeltaColumn,
}

impl DeltaColumn {
    /// Whether both mean the same column; names of columns differ in more than case.
    #[must_use]
    pub fn is_same_column(&self, other: &Self) -> bool {
        self.name.to_lowercase() == other.name.to_lowercase()
    }

    /// The same, with what it leaves open taken from another.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let date_format = self.date_format.or(other.date_format);
        Self { name: self.name, date_format, timezone: self.timezone.or(other.timezone) }
    }
}
