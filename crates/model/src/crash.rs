//! The places at which a crash is tested: the gaps between the steps of a run (docs/architecture.md, section 4).
//!
//! The points are compiled in by the feature `crash-points` of the crates that pass them, and armed by the testkit
//! through [`ENVIRONMENT`]: the process kills itself when it passes the point that is named there, or passes it for the
//! n-th time (`commit-durable@2`).

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};

/// The environment variable that names the point at which the process dies.
pub const ENVIRONMENT: &str = "HEADWATERS_CRASH_POINT";

macro_rules! crash_points {
    ($($(#[$doc:meta])* $point:ident = $name:literal;)*) => {
        /// A place between two steps of a run.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum CrashPoint {
            $($(#[$doc])* $point,)*
        }

        impl CrashPoint {
            /// Every point, in the order in which a run passes them.
            pub const ALL: &[Self] = &[$(Self::$point,)*];

            /// The name by which it is armed.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$point => $name,)*
                }
            }
        }
    };
}

crash_points! {
    /// The run is leased, no attempt has begun.
    Claimed = "claimed";
    /// The attempt has its ordinal, nothing is read.
    AttemptBegun = "attempt-begun";
    /// The table is cut, the snapshot is open.
    Planned = "planned";
    /// The plan is stored, so that another attempt can go on with it; passed only under `consistency` split.
    PlanKept = "plan-kept";
    /// At least one file is written, others are not.
    PartlyLanded = "partly-landed";
    /// A key range is landed and stored, others are not; passed only under `consistency` split.
    SplitKept = "split-kept";
    /// All files are written; the control plane does not know it yet.
    Landed = "landed";
    /// The control plane knows what was landed.
    LandedReported = "landed-reported";
    /// The pending offset is stored.
    PendingWritten = "pending-written";
    /// The commit is built, but not in the log.
    CommitPrepared = "commit-prepared";
    /// The commit is in the log, its answer is lost.
    CommitDurable = "commit-durable";
    /// The control plane knows that the commit is made, the run is not settled.
    CommitReported = "commit-reported";
    /// Some key ranges are committed and settled, others are still to come; passed only under `commitPerSplit`.
    PartSettled = "part-settled";
    /// The run is settled, the lease not yet released.
    Settled = "settled";
}

/// The point at which the process is to die, and how often it is passed before.
#[derive(Debug)]
pub struct Armed {
    point: CrashPoint,
    passages_left: AtomicU32,
}

impl Armed {
    /// Passes a point; whether the process is to die now.
    pub fn is_due(&self, at: CrashPoint) -> bool {
        self.point == at && self.passages_left.fetch_sub(1, Ordering::Relaxed) == 1
    }
}

impl FromStr for Armed {
    type Err = UnknownCrashPoint;

    /// Reads `name` or `name@passage`, the first passage being 1.
    fn from_str(text: &str) -> Result<Self, UnknownCrashPoint> {
        let (name, passage) = text.split_once('@').unwrap_or((text, "1"));
        let passages = passage.parse().map_err(|_| UnknownCrashPoint(text.to_owned()))?;
        Ok(Self { point: name.parse()?, passages_left: AtomicU32::new(passages) })
    }
}

/// A name that no crash point has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no crash point has the name: {0}")]
pub struct UnknownCrashPoint(String);

impl FromStr for CrashPoint {
    type Err = UnknownCrashPoint;

    fn from_str(name: &str) -> Result<Self, UnknownCrashPoint> {
        let found = Self::ALL.iter().find(|point| point.name() == name);
        found.copied().ok_or_else(|| UnknownCrashPoint(name.to_owned()))
    }
}

impl fmt::Display for CrashPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_is_found_by_its_name() {
        for point in CrashPoint::ALL {
            assert_eq!(point.name().parse::<CrashPoint>(), Ok(*point));
        }
        assert!("elsewhere".parse::<CrashPoint>().is_err());
    }

    #[test]
    fn a_point_is_due_at_the_passage_that_was_named() {
        let at = |armed: &Armed, times| -> Vec<bool> { (0..times).map(|_| armed.is_due(CrashPoint::Landed)).collect() };
        assert_eq!(at(&"landed".parse().unwrap(), 2), [true, false]);
        assert_eq!(at(&"landed@3".parse().unwrap(), 4), [false, false, true, false]);
        assert_eq!(at(&"planned".parse().unwrap(), 1), [false]);
        assert!("landed@often".parse::<Armed>().is_err());
    }
}
