//! Moments in the Gregorian calendar, in UTC.

/// 0001-01-01T00:00:00Z. What lies before, like a date of zeros, is no usable delta value.
pub(super) const MOMENT_MIN_MS: i64 = -62_135_596_800_000;
/// 9999-12-31T23:59:59Z: no column holds a moment that is more than a fraction of a second later.
pub(super) const MOMENT_MAX_MS: i64 = 253_402_300_799_000;
const DAY_MS: i64 = 86_400_000;

/// A moment between the years 1 and 9999 in UTC, without its milliseconds.
pub(super) fn iso(ms: i64, between: char) -> String {
    let (year, month, day) = civil(ms.div_euclid(DAY_MS));
    let second = ms.rem_euclid(DAY_MS) / 1000;
    let (hours, minutes, seconds) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}{between}{hours:02}:{minutes:02}:{seconds:02}")
}

/// Year, month and day of a number of days since 1970, in the Gregorian calendar. Counted in years that begin in March,
/// so that the day of a leap year is the last one of its year.
fn civil(days: i64) -> (i64, i64, i64) {
    const ERA_DAYS: i64 = 146_097;
    let since_march_of_0 = days + 719_468;
    let era = since_march_of_0.div_euclid(ERA_DAYS);
    let day_of_era = since_march_of_0.rem_euclid(ERA_DAYS);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (days, date) in [
            (0, (1970, 1, 1)),
            (-1, (1969, 12, 31)),
            (11_016, (2000, 2, 29)),
            (11_017, (2000, 3, 1)),
            (-719_162, (1, 1, 1)),
            (2_932_896, (9999, 12, 31)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
        ] {
            assert_eq!(civil(days), date, "{days}");
        }
    }

    proptest! {
        #[test]
        fn days_follow_each_other(day in -719_162_i64..2_932_895) {
            let ((y1, m1, d1), (y2, m2, d2)) = (civil(day), civil(day + 1));
            let follows = (y1, m1, d1 + 1) == (y2, m2, d2)
                || (y1, m1 + 1, 1) == (y2, m2, d2)
                || (y1 + 1, 1, 1) == (y2, m2, d2) && (m1, d1) == (12, 31);
            prop_assert!(follows && (28..=31).contains(&d1) | (d2 == d1 + 1));
        }
    }
}
