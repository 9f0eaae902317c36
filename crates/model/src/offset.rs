//! Ordinals: how an attempt and what it committed are told apart from every other.
//!
//! **Invariant** (docs/architecture.md, section 4). Attempt, ordinal and offset are one to one. Ordinals of a flow only
//! grow and are never reused. A commit is tried only while the table's last ordinal of the flow is the attempt's base.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The number of an attempt of a flow, starting at 1; the `version` of the Delta transaction that its commit carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ordinal(pub i64);

impl Ordinal {
    /// The ordinal of a flow's first attempt.
    pub const FIRST: Self = Self(1);

    /// The ordinal after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Ordinal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a commit says about itself in the table: who made it, as which attempt, following which.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitMark {
    /// The application id in the Delta log: the flow's id, or a fresh UUID for a copy without a flow.
    pub app_id: String,
    /// The ordinal from which this attempt's offset came; none before the first commit.
    pub base: Option<Ordinal>,
    /// This attempt's ordinal.
    pub ordinal: Ordinal,
}

/// How the table stands to an attempt, read from its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The table's last ordinal is the base: the attempt may go on.
    AtBase,
    /// The table's last ordinal is our own: the commit was made, only its answer got lost.
    Applied,
    /// Anything else: another attempt was faster, or the mark is gone.
    Overtaken {
        /// The table's last ordinal of the flow.
        found: Option<Ordinal>,
    },
}

impl CommitMark {
    /// Compares the mark with the last ordinal that the table knows of this application.
    #[must_use]
    pub fn standing(&self, last: Option<Ordinal>) -> Standing {
        if last == Some(self.ordinal) {
            Standing::Applied
        } else if last == self.base {
            Standing::AtBase
        } else {
            Standing::Overtaken { found: last }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_may_commit_only_from_its_base() {
        let mark = CommitMark { app_id: "flow".into(), base: Some(Ordinal(3)), ordinal: Ordinal(5) };
        assert_eq!(mark.standing(Some(Ordinal(3))), Standing::AtBase);
        assert_eq!(mark.standing(Some(Ordinal(5))), Standing::Applied);
        assert_eq!(mark.standing(Some(Ordinal(4))), Standing::Overtaken { found: Some(Ordinal(4)) });
        assert_eq!(mark.standing(None), Standing::Overtaken { found: None });
    }
}
