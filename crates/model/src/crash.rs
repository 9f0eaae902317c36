//! The places at which a crash is tested: the gaps between the steps of a run (docs/architecture.md, section 4).
//!
//! The points are compiled in by the feature `crash-points` of the crates that pass them, and armed by the testkit
//! through [`ENVIRONMENT`]: the process kills itself when it passes the point that is named there.

use std::fmt;
use std::str::FromStr;

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
    /// At least one file is written, others are not.
    PartlyLanded = "partly-landed";
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
    /// The run is settled, the lease not yet released.
    Settled = "settled";
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
}
