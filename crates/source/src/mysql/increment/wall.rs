//! Wall clocks of a zone, as bounds of windows.
//!
//! A wall clock is counted in microseconds from 1970-01-01 00:00:00 on that clock. In autumn it shows an hour twice, so
//! what it shows at the end of a window says little about what it will show later. [`wall_bound`] does: it only grows, and
//! nothing that is written from a moment on shows less. Windows that are cut there lose and double nothing, and while the
//! first of the two hours passes they stand still.

use chrono::{DateTime, Offset, TimeZone};
use chrono_tz::Tz;

pub(super) const SECOND_US: i64 = 1_000_000;
pub(super) const DAY_US: i64 = 86_400 * SECOND_US;
/// 0001-01-01 00:00:00. What lies before, like a date of zeros, is no usable value.
pub(super) const WALL_MIN_US: i64 = -62_135_596_800 * SECOND_US;
/// 10000-01-01 00:00:00: no column holds it or anything later.
pub(super) const WALL_END_US: i64 = 253_402_300_800 * SECOND_US;

const HOUR_SECONDS: i64 = 3_600;
/// No clock has ever been put back by more than a day.
const PUT_BACK_HOURS_MAX: i64 = 25;

/// The smallest value that the zone's clock shows at a moment or at any later one; without a zone it is UTC.
///
/// The moment counts microseconds since 1970, UTC.
pub(super) fn wall_bound(at_us: i64, zone: Option<Tz>) -> i64 {
    let Some(zone) = zone else { return at_us };
    let second = at_us.div_euclid(SECOND_US);
    let mut bound = at_us + offset_seconds(second, zone) * SECOND_US;
    let mut from = second;
    for _ in 0..PUT_BACK_HOURS_MAX {
        let to = from + HOUR_SECONDS;
        let (before, after) = (offset_seconds(from, zone), offset_seconds(to, zone));
        if after < before {
            bound = bound.min((turn(from, to, before, zone) + after) * SECOND_US);
        }
        from = to;
    }
    bound
}

/// The second at which an offset ends that holds at `from` and no longer at `to`.
fn turn(mut from: i64, mut to: i64, before: i64, zone: Tz) -> i64 {
    while to - from > 1 {
        let middle = from + (to - from) / 2;
        match offset_seconds(middle, zone) == before {
            true => from = middle,
            false => to = middle,
        }
    }
    to
}

/// By how much the zone's clock is ahead of UTC at a second since 1970.
fn offset_seconds(second: i64, zone: Tz) -> i64 {
    let utc = DateTime::from_timestamp(second, 0);
    utc.map_or(0, |utc| zone.offset_from_utc_datetime(&utc.naive_utc()).fix().local_minus_utc().into())
}

/// A wall clock, rounded down to a multiple of a unit.
pub(super) fn floor(wall_us: i64, unit_us: i64) -> i64 {
    wall_us - wall_us.rem_euclid(unit_us)
}

/// A wall clock, rounded up to a multiple of a unit.
pub(super) fn ceil(wall_us: i64, unit_us: i64) -> i64 {
    floor(wall_us.saturating_add(unit_us - 1), unit_us)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ZONES: [Tz; 6] = [
        Tz::America__New_York,
        Tz::Asia__Kolkata,
        Tz::Europe__Zurich,
        Tz::Australia__Lord_Howe,
        Tz::America__Havana,
        Tz::Pacific__Apia,
    ];

    fn us(text: &str) -> i64 {
        text.parse::<chrono::NaiveDateTime>().unwrap().and_utc().timestamp_micros()
    }

    #[test]
    fn while_the_first_of_two_hours_passes_the_bound_waits_for_the_second() {
        let new_york = Some(Tz::America__New_York);
        for (utc, wall) in [
            ("2024-11-03T04:59:59.5", "2024-11-03T00:59:59.5"),
            ("2024-11-03T05:00:00", "2024-11-03T01:00:00"),
            ("2024-11-03T05:30:00", "2024-11-03T01:00:00"),
            ("2024-11-03T06:00:00", "2024-11-03T01:00:00"),
            ("2024-11-03T06:30:00.25", "2024-11-03T01:30:00.25"),
            ("2024-11-03T07:00:00", "2024-11-03T02:00:00"),
            // In spring an hour is left out.
            ("2024-03-10T06:59:59", "2024-03-10T01:59:59"),
            ("2024-03-10T07:00:00", "2024-03-10T03:00:00"),
        ] {
            assert_eq!(wall_bound(us(utc), new_york), us(wall), "{utc}");
        }
        assert_eq!(wall_bound(us("2024-11-03T05:30:00"), None), us("2024-11-03T05:30:00"));
    }

    #[test]
    fn rounding_keeps_whole_units() {
        assert_eq!((floor(-1, SECOND_US), ceil(-1, SECOND_US)), (-SECOND_US, 0));
        assert_eq!((floor(SECOND_US, SECOND_US), ceil(SECOND_US, SECOND_US)), (SECOND_US, SECOND_US));
        assert_eq!(ceil(1, DAY_US), DAY_US);
    }

    proptest! {
        #[test]
        fn the_bound_only_grows_and_nothing_later_shows_less(
            zone in proptest::sample::select(&ZONES[..]),
            second in 1_000_000_000_i64..2_000_000_000,
            later in 0_i64..200_000,
        ) {
            let at = second * SECOND_US;
            let then = at + later * SECOND_US;
            let bound = wall_bound(at, Some(zone));
            prop_assert!(bound <= wall_bound(then, Some(zone)));
            prop_assert!(bound <= then + offset_seconds(second + later, zone) * SECOND_US);
        }
    }
}
