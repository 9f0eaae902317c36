//! When a flow runs (flow-service.md 16.4).
//!
//! Clients send every value as a string or as its native type; it is echoed as it was sent, so a [`Schedule`] is read
//! from `scheduleParams` and never written back. Instants are `start + k × interval × unit`, in UTC, without daylight
//! saving.

use serde_json::{Map, Value};

/// How far in the past `startTime` may lie when a flow is made, in seconds (setting `flows.start_grace_seconds`).
pub const START_GRACE_S: i64 = 300;
/// The smallest interval of a flow that counts in minutes (setting `flows.interval_minutes_min`).
pub const INTERVAL_MINUTES_MIN: i64 = 15;

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
    /// The second instant is beyond what 64 bits of seconds can name (1312).
    #[error("scheduleParams.interval is too large")]
    IntervalTooLarge,
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
            None => true,
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

/// The value of a key; an explicit null is as good as no key.
fn present<'a>(params: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    params.get(key).filter(|value| !value.is_null())
}

/// A whole number, native or as text.
fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// True or false, native or as text.
fn boolean(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn parse(params: Value) -> Result<Schedule, ScheduleError> {
        Schedule::parse(params.as_object().unwrap(), &ScheduleRules::default())
    }

    #[test]
    fn strings_and_native_values_mean_the_same() {
        let text = json!({ "startTime": "1612310466", "frequency": "minute", "interval": "15", "backfill": "true" });
        let native = json!({ "startTime": 1_612_310_466, "frequency": "minute", "interval": 15, "backfill": true });
        let every = Frequency::Every { interval: 15, unit: Unit::Minute, backfill: true };
        assert_eq!(parse(text), Ok(Schedule { start_s: 1_612_310_466, frequency: every }));
        assert_eq!(
            parse(native.clone()),
            parse(json!({ "startTime": "1612310466", "frequency": "minute", "interval": "15" }))
        );
    }

    #[test]
    fn each_bad_input_has_its_own_cause() {
        use ScheduleError::{
            Empty, IntervalNotPositive, IntervalTooLarge, IntervalTooSmall, InvalidValue, Missing, OnceWithBackfill,
            OnceWithInterval, UnknownFrequency, UnreadableStart,
        };
        let cases = [
            (json!({}), Empty),
            (json!({ "frequency": "once" }), Missing { key: "startTime" }),
            (json!({ "startTime": null, "frequency": "once" }), Missing { key: "startTime" }),
            (json!({ "startTime": "soon", "frequency": "once" }), UnreadableStart),
            (json!({ "startTime": 1.5, "frequency": "once" }), UnreadableStart),
            (json!({ "startTime": 1 }), Missing { key: "frequency" }),
            (json!({ "startTime": 1, "frequency": "Once" }), UnknownFrequency),
            (json!({ "startTime": 1, "frequency": 7 }), UnknownFrequency),
            (json!({ "startTime": 1, "frequency": "once", "interval": 1 }), OnceWithInterval),
            (json!({ "startTime": 1, "frequency": "once", "backfill": "false" }), OnceWithBackfill),
            (json!({ "startTime": 1, "frequency": "day" }), Missing { key: "interval" }),
            (
                json!({ "startTime": 1, "frequency": "day", "interval": "x" }),
                InvalidValue { key: "interval", expected: "a whole number" },
            ),
            (json!({ "startTime": 1, "frequency": "day", "interval": 0 }), IntervalNotPositive),
            (json!({ "startTime": 1, "frequency": "minute", "interval": 14 }), IntervalTooSmall { min: 15 }),
            (json!({ "startTime": 1, "frequency": "week", "interval": i64::MAX }), IntervalTooLarge),
            (
                json!({ "startTime": 1, "frequency": "day", "interval": 1, "backfill": 1 }),
                InvalidValue { key: "backfill", expected: "true or false" },
            ),
        ];
        for (params, error) in cases {
            assert_eq!(parse(params.clone()), Err(error), "{params}");
        }
    }

    #[test]
    fn a_start_within_the_grace_period_is_taken() {
        let once = parse(json!({ "startTime": 1000, "frequency": "once" })).unwrap();
        let rules = ScheduleRules::default();
        assert_eq!(once.check_start(1300, &rules), Ok(()));
        assert_eq!(once.check_start(1301, &rules), Err(ScheduleError::StartInPast { start_s: 1000, now_s: 1301 }));
    }

    #[test]
    fn once_has_a_single_instant() {
        let once = parse(json!({ "startTime": 1000, "frequency": "once" })).unwrap();
        assert_eq!((once.due_s(999), once.due_s(1000), once.due_s(i64::MAX)), (None, Some(1000), Some(1000)));
        assert_eq!((once.next_after_s(0), once.next_after_s(1000)), (Some(1000), None));
    }

    prop_compose! {
        fn recurring()(start_s in 0i64..4_000_000_000, interval in 1i64..1000, unit in 0usize..4) -> Schedule {
            let unit = [Unit::Minute, Unit::Hour, Unit::Day, Unit::Week][unit];
            Schedule { start_s, frequency: Frequency::Every { interval, unit, backfill: true } }
        }
    }

    proptest! {
        #[test]
        fn the_due_instant_is_the_last_one_that_has_come(schedule in recurring(), passed in 0i64..10_000_000_000) {
            let now = schedule.start_s + passed;
            let due = schedule.due_s(now).unwrap();
            let next = schedule.next_after_s(due).unwrap();
            prop_assert!(due <= now && now < next);
            prop_assert_eq!(next - due, schedule.period_s().unwrap());
            prop_assert_eq!((due - schedule.start_s) % schedule.period_s().unwrap(), 0);
        }

        #[test]
        fn walking_from_instant_to_instant_skips_none(schedule in recurring(), k in 0u64..10_000) {
            let instant = schedule.instant_s(k).unwrap();
            prop_assert_eq!(schedule.next_after_s(instant), schedule.instant_s(k + 1));
            prop_assert_eq!(schedule.next_after_s(instant - 1), Some(instant));
        }

        #[test]
        fn no_number_makes_the_arithmetic_overflow(start_s: i64, interval in 1i64.., now_s: i64) {
            let frequency = Frequency::Every { interval, unit: Unit::Week, backfill: false };
            let schedule = Schedule { start_s, frequency };
            let _ = (schedule.due_s(now_s), schedule.next_after_s(now_s), schedule.check_start(now_s, &ScheduleRules::default()));
        }
    }
}
