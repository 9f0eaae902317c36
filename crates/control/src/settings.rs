//! The settings that control works under (product.md, "Settings without an option").

use std::str::FromStr;
use std::time::Duration;

use headwaters_model::etag::Matching;
use headwaters_model::schedule::{INTERVAL_MINUTES_MIN, START_GRACE_S};

use crate::care::CareSettings;
use crate::turns::TurnLimits;

/// What can be set, with the documented defaults.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// `api.strict`.
    pub strict: Strict,
    /// `connections.verify_on_create`: a new base connection is tried out (flow-service.md 13.1).
    pub verify_on_create: bool,
    /// `catalog.create_unknown_data_sets`: a target may name a data set that does not exist yet (flow-service.md 15).
    pub create_unknown_data_sets: bool,
    /// `flows.start_grace_seconds`: how far in the past a start may lie (flow-service.md 16.4).
    pub start_grace: Duration,
    /// `flows.interval_minutes_min`: the smallest interval of a flow that counts in minutes (flow-service.md 16.4).
    pub interval_minutes_min: i64,
    /// `flows.window_lag_seconds`: how far the end of a recurring run's window is held back from the source's own clock
    /// (mysql-sources.md 13).
    pub window_lag: Duration,
    /// `flows.failed_window`: what becomes of the window of a scheduled run that failed (flow-service.md 16.6).
    pub failed_window: FailedWindow,
    /// `runs.on_demand_for_recurring`: flows that run by themselves run on demand too (flow-service.md 17.5).
    pub on_demand_for_recurring: bool,
    /// `runs.allow_without_params`: a run on demand without a window reads the whole table (flow-service.md 17.5).
    pub allow_without_params: bool,
    /// How the tables in the lake are looked after.
    pub care: CareSettings,
    /// What callers may have under way at a time.
    pub turns: TurnLimits,
    /// How many runs this process works on at once.
    pub runs_at_once: usize,
    /// For how long a claim holds without a heartbeat.
    pub lease: Duration,
    /// How often the worker looks for due runs when nobody wakes it.
    pub poll: Duration,
    /// How often the counters of a run in progress are written to the store.
    pub progress_write: Duration,
    /// How long runs may go on after the order to shut down.
    pub drain: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            strict: Strict::default(),
            verify_on_create: true,
            create_unknown_data_sets: false,
            start_grace: Duration::from_secs(START_GRACE_S.unsigned_abs()),
            interval_minutes_min: INTERVAL_MINUTES_MIN,
            window_lag: Duration::from_secs(WINDOW_LAG_SECONDS),
            failed_window: FailedWindow::default(),
            on_demand_for_recurring: false,
            allow_without_params: false,
            care: CareSettings::default(),
            turns: TurnLimits::default(),
            runs_at_once: RUNS_AT_ONCE,
            lease: Duration::from_secs(LEASE_SECONDS),
            poll: Duration::from_secs(1),
            progress_write: Duration::from_secs(5),
            drain: Duration::from_secs(DRAIN_SECONDS),
        }
    }
}

/// How far the end of a window is held back by default.
const WINDOW_LAG_SECONDS: u64 = 60;
/// How many runs a process works on at once.
const RUNS_AT_ONCE: usize = 2;
/// For how long a claim holds without a heartbeat; a heartbeat comes every third of it.
const LEASE_SECONDS: u64 = 15;
/// How long runs may go on after the order to shut down.
const DRAIN_SECONDS: u64 = 10;

/// What becomes of the window of a scheduled run that failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FailedWindow {
    /// The next scheduled run begins where the last successful one ended, so that nothing is lost.
    #[default]
    Reread,
    /// The next scheduled run begins where the failed one would have ended, as on the hosted platform; what is in between
    /// is read by a re-trigger only.
    Skip,
}

/// A value that `flows.failed_window` does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("flows.failed_window is reread or skip, not: {0}")]
pub struct UnknownFailedWindow(String);

impl FromStr for FailedWindow {
    type Err = UnknownFailedWindow;

    fn from_str(name: &str) -> Result<Self, UnknownFailedWindow> {
        match name {
            "reread" => Ok(Self::Reread),
            "skip" => Ok(Self::Skip),
            other => Err(UnknownFailedWindow(other.to_owned())),
        }
    }
}

/// The strict switches of flow-service.md, all off by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Strict {
    /// 2.3: the sandbox header is mandatory.
    pub sandbox: bool,
    /// 4: `If-Match` is compared exactly.
    pub if_match: bool,
    /// 1.1: bodies need a content type.
    pub content_type: bool,
    /// 17.5: the answer of a new run has the published form only.
    pub run_body: bool,
    /// 16.2: unknown transformations are refused.
    pub transformations: bool,
}

/// A name that no strict switch has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("api.strict knows sandbox, if_match, content_type, run_body, transformations and all, not: {0}")]
pub struct UnknownStrictRule(String);

impl Strict {
    /// Switches on what is named; `all` names everything.
    pub fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, UnknownStrictRule> {
        let mut strict = Self::default();
        for name in names {
            match name.trim() {
                "sandbox" => strict.sandbox = true,
                "if_match" => strict.if_match = true,
                "content_type" => strict.content_type = true,
                "run_body" => strict.run_body = true,
                "transformations" => strict.transformations = true,
                "all" => strict = Self::all(),
                other => return Err(UnknownStrictRule(other.to_owned())),
            }
        }
        Ok(strict)
    }

    /// Everything on.
    #[must_use]
    pub const fn all() -> Self {
        Self { sandbox: true, if_match: true, content_type: true, run_body: true, transformations: true }
    }

    /// How `If-Match` is compared.
    #[must_use]
    pub fn matching(self) -> Matching {
        if self.if_match { Matching::Strict } else { Matching::Lenient }
    }
}

impl FromStr for Strict {
    type Err = UnknownStrictRule;

    /// Reads a comma list, as it stands in the environment.
    fn from_str(list: &str) -> Result<Self, UnknownStrictRule> {
        Self::of(list.split(',').filter(|name| !name.trim().is_empty()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strict_switches_are_named_one_by_one_or_all_at_once() {
        assert_eq!("".parse(), Ok(Strict::default()));
        assert_eq!("if_match, sandbox".parse(), Ok(Strict { if_match: true, sandbox: true, ..Strict::default() }));
        assert_eq!("all".parse(), Ok(Strict::all()));
        assert_eq!(
            "etag".parse::<Strict>().unwrap_err().to_string(),
            "api.strict knows sandbox, if_match, content_type, run_body, transformations and all, not: etag"
        );
    }

    #[test]
    fn a_failed_window_is_read_again_or_skipped() {
        assert_eq!("reread".parse(), Ok(FailedWindow::Reread));
        assert_eq!("skip".parse(), Ok(FailedWindow::Skip));
        assert_eq!("Skip".parse::<FailedWindow>(), Err(UnknownFailedWindow("Skip".to_owned())));
    }
}
