//! When a flow runs (flow-service.md 16.4).
//!
//! Clients send every value as a string or as its native type; it is echoed as it was sent, so a [`Schedule`] is read
//! from `scheduleParams` and never written back. Instants are `start + k × interval × unit`, in UTC, without daylight
//! saving.

use serde_json::{Map, Value};

use crate::sent::{boolean, integer, present};

/// How far in the past `startTime` may lie when a flow is made, in seconds (setting `flows.start_grace_seconds`).
pub const START_GRACE_S: i64 = 300;
/// The smallest interval of a flow that counts in minutes (setting `flows.interval_minutes_min`).
pub const INTERVAL_MINUTES_MIN: i64 = 15;

/// Whether the first run reads what lies before the start when nobody says (flow-service.md 16.4).
const BACKFILL_DEFAULT: bool = true;

/// In which unit the interval counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// 60 seconds.
    Minute,
    /// 3,600 seconds.
    Hour,
    /// 86,400 seconds.
    Day,
    /// 604,800 seconds.
    Week,
}

/// How often a flow runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frequency {
    /// Once, at the start.
    Once,
    /// At the start and then at every interval.
    Every {
        /// How many units lie between two runs; at least 1.
        interval: i64,
        /// The unit.
        unit: Unit,
        /// Whether the first run reads what lies before the start.
        backfill: bool,
    },
}

/// A checked schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// The first instant, seconds since 1970.
    pub start_s: i64,
    /// What follows.
    pub frequency: Frequency,
}

/// What the settings leave open in the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScheduleRules {
    /// How far in the past the start may lie, in seconds.
    pub start_grace_s: i64,
    /// The smallest interval in minutes.
    pub interval_minutes_min: i64,
}

impl Default for ScheduleRules {
    fn default() -> Self {
        Self { start_grace_s: START_GRACE_S, interval_minutes_min: INTERVAL_MINUTES_MIN }
    }
}

/// Why `scheduleParams` are refused; each has a documented code (flow-service.md 3.5).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// Nothing is there (1317).
    #[error("scheduleParams is empty: send at least startTime and frequency")]
    Empty,
    /// A mandatory key lacks (1304).
    #[error("scheduleParams.{key} is missing")]
    Missing {
        /// The key.
        key: &'static str,
    },
    /// `startTime` is not a number of seconds (1340).
    #[error("scheduleParams.startTime is not a number of seconds since 1970")]
    UnreadableStart,
    /// The start lies before the grace period (1360).
    #[error("scheduleParams.startTime {start_s} lies in the past: it is {now_s} now")]
    StartInPast {
        /// The start, seconds since 1970.
        start_s: i64,
        /// Now, seconds since 1970.
        now_s: i64,
    },
    /// No such frequency (1397).
    #[error("scheduleParams.frequency is not one of once, minute, hour, day, week")]
    UnknownFrequency,
    /// `once` with an interval (1361).
    #[error("scheduleParams.interval must not be sent with frequency once")]
    OnceWithInterval,
    /// `once` with backfill (1364).
    #[error("scheduleParams.backfill must not be sent with frequency once")]
    OnceWithBackfill,
    /// A value of another type (1312).
    #[error("scheduleParams.{key} is not {expected}")]
    InvalidValue {
        /// The key.
        key: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// The interval is zero or less (1394).
    #[error("scheduleParams.interval must be positive")]
    IntervalNotPositive,
    /// The interval is below the minimum (1362).
    #[error("scheduleParams.interval must be at least {min} for frequency minute")]
    IntervalTooSmall {
        /// The minimum, in minutes.
        min: i64,
    },
    /// The second instant is beyond what 64 bits of seconds can name (1363).
    #[error("scheduleParams.interval is too large")]
    IntervalTooLarge,
    /// Another start after the start has passed (1366).
    #[error("scheduleParams.startTime {start_s} has passed, it can not change any more: make a new flow")]
    StartPassed {
        /// The start, seconds since 1970.
        start_s: i64,
    },
    /// `once` in the place of an interval after the start has passed (1403).
    #[error("scheduleParams.startTime has passed, so frequency can not become once any more: make a new flow")]
    OnceTooLate,
    /// Another backfill after the start has passed (1404).
    #[error("scheduleParams.startTime has passed, so backfill can not change any more: make a new flow")]
    BackfillTooLate,
}

impl Unit {
    /// Its length in seconds.
    #[must_use]
    pub const fn seconds(self) -> i64 {
        match self {
            Self::Minute => 60,
            Self::Hour => 3600,
            Self::Day => 86_400,
            Self::Week => 604_800,
        }
    }
}

impl Schedule {
    /// Reads and checks `scheduleParams`, all but the position of the start against now ([`Self::check_start`]).
    pub fn parse(params: &Map<String, Value>, rules: &ScheduleRules) -> Result<Self, ScheduleError> {
        if params.is_empty() {
            return Err(ScheduleError::Empty);
        }
        let start = present(params, "startTime").ok_or(ScheduleError::Missing { key: "startTime" })?;
        let start_s = integer(start).ok_or(ScheduleError::UnreadableStart)?;
        let frequency = present(params, "frequency").ok_or(ScheduleError::Missing { key: "frequency" })?;
        let unit = match frequency.as_str() {
            Some("once") => return Self::parse_once(start_s, params),
            Some("minute") => Unit::Minute,
            Some("hour") => Unit::Hour,
            Some("day") => Unit::Day,
            Some("week") => Unit::Week,
            _ => return Err(ScheduleError::UnknownFrequency),
        };
        let interval = parse_interval(start_s, unit, params, rules)?;
        let backfill = match present(params, "backfill") {
            Some(value) => {
                boolean(value).ok_or(ScheduleError::InvalidValue { key: "backfill", expected: "true or false" })?
            }
            None => BACKFILL_DEFAULT,
        };
        Ok(Self { start_s, frequency: Frequency::Every { interval, unit, backfill } })
    }

    /// Refuses a start that lies further back than the grace period.
    pub fn check_start(&self, now_s: i64, rules: &ScheduleRules) -> Result<(), ScheduleError> {
        if self.start_s < now_s.saturating_sub(rules.start_grace_s) {
            return Err(ScheduleError::StartInPast { start_s: self.start_s, now_s });
        }
        Ok(())
    }

    /// Refuses parameters in the place of this schedule that would rewrite what has begun: once the start has passed it
    /// stays, `once` can not be chosen any more, and backfill stays (flow-service.md 9). Whether a flow that runs once may
    /// recur depends on what it has landed, which is not known here. What can not be read is left to [`Self::parse`].
    pub fn check_change(&self, params: &Map<String, Value>, now_s: i64) -> Result<(), ScheduleError> {
        if self.start_s > now_s {
            return Ok(());
        }
        let start = present(params, "startTime").and_then(integer);
        if start.is_some_and(|start_s| start_s != self.start_s) {
            return Err(ScheduleError::StartPassed { start_s: self.start_s });
        }
        let Frequency::Every { backfill, .. } = self.frequency else { return Ok(()) };
        if params.get("frequency").and_then(Value::as_str) == Some("once") {
            return Err(ScheduleError::OnceTooLate);
        }
        match present(params, "backfill").map_or(Some(BACKFILL_DEFAULT), boolean) {
            Some(changed) if changed != backfill => Err(ScheduleError::BackfillTooLate),
            _ => Ok(()),
        }
    }

    /// Whether it runs just once.
    #[must_use]
    pub fn is_once(&self) -> bool {
        self.frequency == Frequency::Once
    }

    /// Seconds between two runs; none for `once`.
    #[must_use]
    pub fn period_s(&self) -> Option<i64> {
        match self.frequency {
            Frequency::Once => None,
            Frequency::Every { interval, unit, .. } => interval.checked_mul(unit.seconds()),
        }
    }

    /// The `k`th instant, the start being the 0th; none when there is no such instant.
    #[must_use]
    pub fn instant_s(&self, k: u64) -> Option<i64> {
        if k == 0 {
            return Some(self.start_s);
        }
        self.start_s.checked_add(self.period_s()?.checked_mul(i64::try_from(k).ok()?)?)
    }

    /// The latest instant at or before `now_s`. After a pause this is the one run that catches up on everything due.
    #[must_use]
    pub fn due_s(&self, now_s: i64) -> Option<i64> {
        let passed = now_s.checked_sub(self.start_s).filter(|passed| *passed >= 0)?;
        let periods = self.period_s().map_or(0, |period| passed / period);
        self.instant_s(u64::try_from(periods).ok()?)
    }

    /// The instant at which a flow goes on that comes back into use, or has got this schedule, at `now_s`: the next one,
    /// and that run covers what was missed; the only one of `once` even when it has passed (flow-service.md 10.2).
    #[must_use]
    pub fn resumes_s(&self, now_s: i64) -> Option<i64> {
        if self.is_once() { Some(self.start_s) } else { self.next_after_s(now_s.saturating_sub(1)) }
    }

    /// The first instant after `instant_s`; none when no run follows.
    #[must_use]
    pub fn next_after_s(&self, instant_s: i64) -> Option<i64> {
        if instant_s < self.start_s {
            return Some(self.start_s);
        }
        let period = self.period_s()?;
        let passed = instant_s.checked_sub(self.start_s)?;
        self.instant_s(u64::try_from(passed / period).ok()? + 1)
    }

    fn parse_once(start_s: i64, params: &Map<String, Value>) -> Result<Self, ScheduleError> {
        if present(params, "interval").is_some() {
            return Err(ScheduleError::OnceWithInterval);
        }
        if present(params, "backfill").is_some() {
            return Err(ScheduleError::OnceWithBackfill);
        }
        Ok(Self { start_s, frequency: Frequency::Once })
    }
}

fn parse_interval(
    start_s: i64,
    unit: Unit,
    params: &Map<String, Value>,
    rules: &ScheduleRules,
) -> Result<i64, ScheduleError> {
    let value = present(params, "interval").ok_or(ScheduleError::Missing { key: "interval" })?;
    let interval = integer(value).ok_or(ScheduleError::InvalidValue { key: "interval", expected: "a whole number" })?;
    if interval <= 0 {
        return Err(ScheduleError::IntervalNotPositive);
    }
    if unit == Unit::Minute && interval < rules.interval_minutes_min {
        return Err(ScheduleError::IntervalTooSmall { min: rules.interval_minutes_min });
    }
    let second = interval.checked_mul(unit.seconds()).and_then(|period| start_s.checked_add(period));
    second.map(|_| interval).ok_or(ScheduleError::IntervalTooLarge)
}

#[cfg(test)]
mod tests;
