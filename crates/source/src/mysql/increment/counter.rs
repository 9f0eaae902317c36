//! How far a counter may be read (mysql-sources.md 13.1 and 13.2).
//!
//! A counter has no clock. Its largest value is a bound only if nothing below it can still be committed: number 101 may be
//! seen before number 100. So the largest value is read first, then the transactions that run are listed. If nobody
//! writes, all that is to come is larger. Otherwise an earlier [`Observation`] is taken, one from before the oldest
//! transaction that writes and from longer ago than the lag.

use std::cmp::Ordering;

use headwaters_model::watermark::Observation;

use super::bound::Situation;

/// The most observations that a watermark holds. With one for each run, more of them come together only while one
/// transaction stays open for as many runs; the oldest one and the newest ones are kept.
const OBSERVATIONS_MAX: usize = 16;

/// How far a counter may be read, and what was seen beyond.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reach {
    /// The bound; none if no value is known to be safe.
    pub(super) through: Option<String>,
    /// Larger values, the oldest first.
    pub(super) seen: Vec<Observation>,
}

impl Reach {
    /// Decides by what was seen before and by the largest value now.
    pub(super) fn decide(
        through: Option<&str>,
        seen: &[Observation],
        max: Option<String>,
        situation: &Situation,
        lag_us: i64,
    ) -> Self {
        let now = max.map(|max| Observation { at_us: situation.now_us, max });
        let all: Vec<Observation> = seen.iter().cloned().chain(now).collect();
        let settled_us = situation.settled_us(lag_us);
        let is_safe = |observation: &&Observation| situation.is_quiet() || observation.at_us <= settled_us;
        let safe = all.iter().filter(is_safe).map(|observation| observation.max.as_str());
        let through = through.into_iter().chain(safe).max_by(|a, b| compare(a, b)).map(str::to_owned);
        let seen = useful(all, through.as_deref());
        Self { through, seen }
    }
}

/// What lies beyond the bound, each value from when it was first seen.
fn useful(all: Vec<Observation>, through: Option<&str>) -> Vec<Observation> {
    let mut useful: Vec<Observation> = Vec::new();
    for observation in all {
        let highest = useful.last().map(|last| last.max.as_str()).or(through);
        if highest.is_none_or(|highest| compare(&observation.max, highest) == Ordering::Greater) {
            useful.push(observation);
        }
    }
    let excess = useful.len().saturating_sub(OBSERVATIONS_MAX);
    if excess > 0 {
        useful.drain(1..=excess);
    }
    useful
}

/// Compares two numbers by their digits, as the server prints them: a sign, digits, perhaps a point and more of them.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    let (negative_a, whole_a, fraction_a) = taken_apart(a);
    let (negative_b, whole_b, fraction_b) = taken_apart(b);
    let sizes = || whole_a.len().cmp(&whole_b.len()).then(whole_a.cmp(whole_b)).then(fraction_a.cmp(fraction_b));
    match (negative_a, negative_b) {
        (false, false) => sizes(),
        (true, true) => sizes().reverse(),
        (false, true) => Ordering::Greater,
        (true, false) => Ordering::Less,
    }
}

/// Whether a number is negative, its digits before the point and those behind, without zeros that mean nothing.
fn taken_apart(number: &str) -> (bool, &str, &str) {
    let digits = number.strip_prefix('-').unwrap_or(number);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    let is_zero = whole.is_empty() && fraction.is_empty();
    (number.starts_with('-') && !is_zero, whole, fraction)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::bound::{Replica, Writer, Writers};
    use super::super::wall::SECOND_US;
    use super::*;

    const LAG_US: i64 = 60 * SECOND_US;

    fn at(now_s: i64, writers: Writers) -> Situation {
        Situation { now_us: now_s * SECOND_US, ahead_s: None, writers, replica: Replica::No }
    }

    fn seen(of: &[(i64, &str)]) -> Vec<Observation> {
        of.iter().map(|&(at_s, max)| Observation { at_us: at_s * SECOND_US, max: max.to_owned() }).collect()
    }

    fn writer(since_s: i64) -> Writers {
        Writers::Known(Some(Writer { thread: 1, since_us: since_s * SECOND_US }))
    }

    fn decide(
        through: Option<&str>,
        before: &[(i64, &str)],
        max: &str,
        situation: &Situation,
    ) -> (Option<String>, usize) {
        let reach = Reach::decide(through, &seen(before), Some(max.to_owned()), situation, LAG_US);
        (reach.through, reach.seen.len())
    }

    #[test]
    fn the_largest_value_is_safe_at_once_only_if_nobody_writes() {
        let to = |through: &str| Some(through.to_owned());
        assert_eq!(decide(None, &[], "101", &at(1_000, Writers::Known(None))), (to("101"), 0));
        assert_eq!(decide(None, &[], "101", &at(1_000, writer(990))), (None, 1));
        assert_eq!(decide(None, &[], "101", &at(1_000, Writers::Hidden)), (None, 1));
        assert_eq!(decide(Some("90"), &[(930, "95"), (950, "99")], "101", &at(1_000, Writers::Hidden)), (to("95"), 2));
        assert_eq!(decide(Some("90"), &[(930, "95")], "101", &at(1_000, writer(920))), (to("90"), 2));
        assert_eq!(decide(Some("90"), &[(930, "95")], "101", &at(1_000, writer(935))), (to("95"), 1));
        let behind = Situation { replica: Replica::Behind(30), ..at(1_000, Writers::Known(None)) };
        assert_eq!(decide(Some("90"), &[(930, "95")], "101", &behind), (to("90"), 2));
    }

    #[test]
    fn a_bound_never_moves_back() {
        assert_eq!(decide(Some("200"), &[], "101", &at(1_000, Writers::Known(None))), (Some("200".to_owned()), 0));
        let reach = Reach::decide(Some("200"), &[], None, &at(1_000, Writers::Known(None)), LAG_US);
        assert_eq!(reach, Reach { through: Some("200".to_owned()), seen: Vec::new() });
    }

    #[test]
    fn few_observations_are_kept_the_oldest_among_them() {
        let all: Vec<Observation> =
            (0..40).map(|n| Observation { at_us: n, max: (1_000 + n / 2).to_string() }).collect();
        let kept = useful(all, Some("1000"));
        assert_eq!(kept.len(), OBSERVATIONS_MAX);
        assert_eq!((kept[0].at_us, kept[0].max.as_str()), (2, "1001"), "when it was first seen");
        assert_eq!(kept.last().map(|last| last.max.as_str()), Some("1019"));
    }

    #[test]
    fn numbers_are_compared_by_value() {
        for (smaller, larger) in [
            ("-2", "-1"),
            ("-0.5", "0"),
            ("9", "10"),
            ("18446744073709551614", "18446744073709551615"),
            ("1.1", "1.11"),
            ("-1.11", "-1.1"),
            ("99999999999999999999999999999.9", "100000000000000000000000000000.0"),
        ] {
            assert_eq!(compare(smaller, larger), Ordering::Less, "{smaller} {larger}");
            assert_eq!(compare(larger, smaller), Ordering::Greater, "{smaller} {larger}");
        }
        assert_eq!(compare("-0", "0.00"), Ordering::Equal);
    }

    proptest! {
        #[test]
        fn digits_sort_like_numbers(a in any::<i64>(), b in any::<i64>()) {
            prop_assert_eq!(compare(&a.to_string(), &b.to_string()), a.cmp(&b));
        }
    }
}
