//! The hours that the clocks of a zone skip, in SQL.
//!
//! A wall clock that never was is landed as the moment that it would have been without the gap, so a clock of the zone
//! shows that moment later by the length of the gap (mysql-sources.md 8.2). The server knows nothing of zones, so the gaps
//! are written into the statement.

use chrono::{NaiveDate, NaiveDateTime, Offset, TimeDelta, TimeZone};
use chrono_tz::Tz;

/// The zones' histories begin after this year, and their rules are known up to the other one.
const YEARS: (i32, i32) = (1840, 2110);

/// Wall clocks from the first up to the second never were; the third tells by how much they are moved.
struct Gap {
    start: NaiveDateTime,
    end: NaiveDateTime,
    length: TimeDelta,
}

/// A DATETIME as the clock of the zone shows the moment that it is landed as.
pub(super) fn closed(zone: Tz, name: &str, fraction_digits: u8) -> String {
    let gaps = gaps(zone);
    if gaps.is_empty() {
        return name.to_owned();
    }
    let mut cases = String::new();
    for Gap { start, end, length } in gaps {
        let (start, end, seconds) = (start.format(CLOCK), end.format(CLOCK), length.num_seconds());
        cases.push_str(&format!(
            " WHEN {name} < '{start}' THEN {name} WHEN {name} < '{end}' THEN {name} + INTERVAL {seconds} SECOND"
        ));
    }
    format!("CAST(CASE{cases} ELSE {name} END AS DATETIME({fraction_digits}))")
}

const CLOCK: &str = "%Y-%m-%d %H:%M:%S";

/// All gaps of a zone, the earliest first.
fn gaps(zone: Tz) -> Vec<Gap> {
    let offset = |at: NaiveDateTime| zone.offset_from_utc_datetime(&at).fix().local_minus_utc();
    let midnight = |year| NaiveDate::from_ymd_opt(year, 1, 1).unwrap_or_default().and_time(Default::default());
    let (mut day, last) = (midnight(YEARS.0), midnight(YEARS.1));
    let mut gaps = Vec::new();
    while day < last {
        let next = day + TimeDelta::days(1);
        let (before, after) = (offset(day), offset(next));
        if after > before {
            let change = first_second(day, next, |at| offset(at) != before);
            let start = change + TimeDelta::seconds(i64::from(before));
            let length = TimeDelta::seconds(i64::from(after - before));
            gaps.push(Gap { start, end: start + length, length });
        }
        day = next;
    }
    gaps
}

/// The first second after `from` for which the answer is yes, as it is at `to`.
fn first_second(
    mut from: NaiveDateTime,
    mut to: NaiveDateTime,
    is_past: impl Fn(NaiveDateTime) -> bool,
) -> NaiveDateTime {
    while to - from > TimeDelta::seconds(1) {
        let middle = from + TimeDelta::seconds((to - from).num_seconds() / 2);
        if is_past(middle) {
            to = middle;
        } else {
            from = middle;
        }
    }
    to
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_of_spring_is_written_out() {
        let sql = closed(chrono_tz::America::New_York, "`d`", 3);
        assert!(sql.contains(
            "WHEN `d` < '2024-03-10 02:00:00' THEN `d` WHEN `d` < '2024-03-10 03:00:00' THEN `d` + INTERVAL 3600 SECOND"
        ));
        assert!(
            closed(chrono_tz::Pacific::Apia, "`d`", 0)
                .contains("'2011-12-31 00:00:00' THEN `d` + INTERVAL 86400 SECOND")
        );
        assert_eq!(closed(chrono_tz::UTC, "`d`", 0), "`d`");
    }
}
