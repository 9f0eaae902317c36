//! Dates, moments and durations.

use std::fmt;

use chrono::offset::LocalResult;
use chrono::{DateTime, NaiveDateTime, Offset, TimeDelta, TimeZone};
use chrono_tz::Tz;
use headwaters_model::diagnostic::Reason;

use crate::mysql::types::FRACTION_DIGITS_MAX;

/// Microseconds of a day.
const DAY_MICROS: i64 = 86_400_000_000;
/// 0001-01-01 as days since 1970.
pub(super) const FIRST_DAY: i32 = -719_162;

/// A date and a time of day as the server sends them, existing or not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct WallClock {
    pub(super) year: u16,
    pub(super) month: u8,
    pub(super) day: u8,
    pub(super) hour: u8,
    pub(super) minute: u8,
    pub(super) second: u8,
    pub(super) micros: u32,
}

impl WallClock {
    /// Reads `YYYY-MM-DD[ HH:MM:SS[.ffffff]]`.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let mut rest = text;
        let mut clock = Self {
            year: u16::try_from(number(&mut rest, 4)?).ok()?,
            month: part(&mut rest, b'-')?,
            day: part(&mut rest, b'-')?,
            ..Self::default()
        };
        if !rest.is_empty() {
            clock.hour = part(&mut rest, b' ')?;
            clock.minute = part(&mut rest, b':')?;
            clock.second = part(&mut rest, b':')?;
            clock.micros = fraction(rest)?;
        }
        Some(clock)
    }

    /// Days since 1970 in the proleptic Gregorian calendar, or why the date cannot be kept (mysql-sources.md 9).
    #[inline]
    pub(super) fn days(self) -> Result<i32, Reason> {
        let (year, month, day) = (self.year, self.month, self.day);
        if month == 0 || day == 0 || month > 12 || day > days_of_month(year, month) {
            let zero = year == 0 && month == 0 && day == 0;
            return Err(if zero { Reason::ZeroDate } else { Reason::InvalidDate });
        }
        if year == 0 {
            return Err(Reason::DateOutOfRange);
        }
        Ok(days_since_1970(year, month, day))
    }

    /// Microseconds since 1970, the wall clock taken as UTC.
    #[inline]
    pub(super) fn micros_since_1970(self) -> Result<i64, Reason> {
        let days = self.days()?;
        if self.hour > 23 || self.minute > 59 || self.second > 59 || self.micros > 999_999 {
            return Err(Reason::InvalidDate);
        }
        let seconds = (i64::from(self.hour) * 60 + i64::from(self.minute)) * 60 + i64::from(self.second);
        Ok(i64::from(days) * DAY_MICROS + seconds * 1_000_000 + i64::from(self.micros))
    }

    /// The date as the server prints it.
    pub(super) fn print_date(self) -> String {
        format!("{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }

    /// Date and time as the server prints them, with so many fraction digits.
    pub(super) fn print(self, fraction_digits: u8) -> String {
        let mut text = format!("{} {:02}:{:02}:{:02}", self.print_date(), self.hour, self.minute, self.second);
        let _ = write_fraction(&mut text, self.micros, fraction_digits);
        text
    }
}

/// A duration as the server sends it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Duration {
    pub(super) negative: bool,
    pub(super) hours: u32,
    pub(super) minutes: u8,
    pub(super) seconds: u8,
    pub(super) micros: u32,
}

impl Duration {
    /// Reads `[-]H…H:MM:SS[.ffffff]`.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let (negative, mut rest) = match text.split_first()? {
            (b'-', rest) => (true, rest),
            _ => (false, text),
        };
        let hour_digits = rest.iter().position(|&byte| byte == b':')?;
        Some(Self {
            negative,
            hours: number(&mut rest, hour_digits)?,
            minutes: part(&mut rest, b':')?,
            seconds: part(&mut rest, b':')?,
            micros: fraction(rest)?,
        })
    }

    /// Writes `[-]HH:MM:SS[.ffffff]` with so many fraction digits (mysql-sources.md 8.2).
    pub(super) fn write(self, out: &mut impl fmt::Write, fraction_digits: u8) -> fmt::Result {
        let sign = if self.negative { "-" } else { "" };
        write!(out, "{sign}{:02}:{:02}:{:02}", self.hours, self.minutes, self.seconds)?;
        write_fraction(out, self.micros, fraction_digits)
    }
}

fn write_fraction(out: &mut impl fmt::Write, micros: u32, digits: u8) -> fmt::Result {
    if digits == 0 {
        return Ok(());
    }
    let digits = digits.min(FRACTION_DIGITS_MAX);
    let kept = micros / 10_u32.pow(u32::from(FRACTION_DIGITS_MAX - digits));
    write!(out, ".{kept:0width$}", width = usize::from(digits))
}

/// Takes so many decimal digits off the front; at most nine, so that they fit.
fn number(rest: &mut &[u8], digits: usize) -> Option<u32> {
    if digits == 0 || digits > 9 {
        return None;
    }
    let (head, tail) = rest.split_at_checked(digits)?;
    *rest = tail;
    head.iter().try_fold(0_u32, |number, byte| byte.is_ascii_digit().then(|| number * 10 + u32::from(byte - b'0')))
}

/// Takes a separator and two digits.
fn part(rest: &mut &[u8], separator: u8) -> Option<u8> {
    let (&first, tail) = rest.split_first()?;
    *rest = tail;
    (first == separator).then(|| number(rest, 2)).flatten().and_then(|number| u8::try_from(number).ok())
}

/// Reads what is left as `[.f…]`, in microseconds.
fn fraction(rest: &[u8]) -> Option<u32> {
    let Some((&point, mut digits)) = rest.split_first() else { return Some(0) };
    let count = digits.len();
    if point != b'.' || count > usize::from(FRACTION_DIGITS_MAX) {
        return None;
    }
    Some(number(&mut digits, count)? * 10_u32.pow(u32::from(FRACTION_DIGITS_MAX) - u32::try_from(count).ok()?))
}

fn is_leap(year: u16) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

#[inline]
fn days_of_month(year: u16, month: u8) -> u8 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970 of a date that exists, year at least 1; counted in years that begin in March.
#[inline]
fn days_since_1970(year: u16, month: u8, day: u8) -> i32 {
    let (year, month, day) = (i32::from(year), i32::from(month), i32::from(day));
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The inverse of [`days_since_1970`]: year, month, day. For keys in diagnostics, so clarity goes before speed.
pub(super) fn print_days(days: i32) -> String {
    chrono::NaiveDate::from_ymd_opt(1970, 1, 1)
        .and_then(|epoch| epoch.checked_add_signed(TimeDelta::days(i64::from(days))))
        .map_or_else(String::new, |date| date.format("%Y-%m-%d").to_string())
}

/// Microseconds since 1970 as the server prints them with session zone UTC.
pub(super) fn print_micros(micros: i64, fraction_digits: u8) -> String {
    let Some(moment) = DateTime::from_timestamp_micros(micros) else { return String::new() };
    let mut text = moment.format("%Y-%m-%d %H:%M:%S").to_string();
    let _ = write_fraction(&mut text, moment.timestamp_subsec_micros(), fraction_digits);
    text
}

/// Turns wall clocks of one zone into moments (mysql-sources.md 8.2).
///
/// Neighbouring rows mostly lie in the same hour, so the last hour that has one offset from end to end is kept.
#[derive(Debug, Clone)]
pub(super) struct Zone {
    zone: Tz,
    last_hour: Option<(i64, i64)>,
}

/// Where a wall clock of a zone leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// To one moment.
    Once(i64),
    /// To two; this is the first.
    Twice(i64),
    /// To none; moved forward by the length of the gap, this one.
    Never(i64),
}

impl Zone {
    const HOUR_MICROS: i64 = 3_600_000_000;
    const SECOND_MICROS: i64 = 1_000_000;
    /// The longest gap known is a whole day, when islands changed the side of the date line.
    const GAP_HOURS_MAX: i64 = 48;

    pub(super) fn new(zone: Tz) -> Self {
        Self { zone, last_hour: None }
    }

    /// `wall` and the answer are microseconds since 1970.
    pub(super) fn moment(&mut self, wall: i64) -> Moment {
        let hour = wall.div_euclid(Self::HOUR_MICROS);
        if let Some((last, offset)) = self.last_hour
            && last == hour
        {
            return Moment::Once(wall - offset);
        }
        let moment = self.look_up(wall);
        let (first, last) = (hour * Self::HOUR_MICROS, (hour + 1) * Self::HOUR_MICROS - Self::SECOND_MICROS);
        if let (Moment::Once(start), Moment::Once(end)) = (self.look_up(first), self.look_up(last))
            && first - start == last - end
        {
            self.last_hour = Some((hour, first - start));
        }
        moment
    }

    fn look_up(&self, wall: i64) -> Moment {
        match self.offsets(wall) {
            LocalResult::Single(offset) => Moment::Once(wall - offset),
            LocalResult::Ambiguous(a, b) => Moment::Twice(wall - a.max(b)),
            LocalResult::None => Moment::Never(wall - self.offset_before_gap(wall)),
        }
    }

    fn offset_before_gap(&self, wall: i64) -> i64 {
        (1..=2 * Self::GAP_HOURS_MAX)
            .find_map(|step| match self.offsets(wall - step * Self::HOUR_MICROS / 2) {
                LocalResult::Single(offset) => Some(offset),
                LocalResult::Ambiguous(a, b) => Some(a.min(b)),
                LocalResult::None => None,
            })
            .unwrap_or(0)
    }

    fn offsets(&self, wall: i64) -> LocalResult<i64> {
        let Some(naive) = naive(wall) else { return LocalResult::None };
        self.zone
            .offset_from_local_datetime(&naive)
            .map(|offset| i64::from(offset.fix().local_minus_utc()) * Self::SECOND_MICROS)
    }
}

fn naive(micros: i64) -> Option<NaiveDateTime> {
    DateTime::from_timestamp_micros(micros).map(|moment| moment.naive_utc())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn clock(text: &str) -> WallClock {
        WallClock::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn known_days() {
        for (text, days) in [
            ("1970-01-01", 0),
            ("1969-12-31", -1),
            ("1582-10-10", -141_432),
            ("0001-01-01", FIRST_DAY),
            ("9999-12-31", 2_932_896),
            ("2024-02-29", 19_782),
        ] {
            assert_eq!(clock(text).days(), Ok(days), "{text}");
            assert_eq!(print_days(days), text);
        }
    }

    #[test]
    fn dates_that_do_not_exist_say_why() {
        for (text, reason) in [
            ("0000-00-00", Reason::ZeroDate),
            ("2024-00-15", Reason::InvalidDate),
            ("2023-02-29", Reason::InvalidDate),
            ("2023-04-31", Reason::InvalidDate),
            ("0000-01-01", Reason::DateOutOfRange),
            ("0000-01-00", Reason::InvalidDate),
        ] {
            assert_eq!(clock(text).days(), Err(reason), "{text}");
        }
    }

    #[test]
    fn text_is_printed_as_it_was_read() {
        for (text, digits) in
            [("2024-00-10 12:00:00", 0), ("0000-00-00 00:00:00.000", 3), ("2023-02-30 12:00:00.000001", 6)]
        {
            assert_eq!(clock(text).print(digits), text);
        }
        for (text, digits) in [("-00:00:00.000001", 6), ("838:59:59", 0), ("00:00:00.5", 1)] {
            let mut printed = String::new();
            Duration::parse(text.as_bytes()).unwrap().write(&mut printed, digits).unwrap();
            assert_eq!(printed, text);
        }
    }

    fn moment(zone: Tz, text: &str) -> (String, Moment) {
        let moment = Zone::new(zone).moment(clock(text).micros_since_1970().unwrap());
        let (Moment::Once(micros) | Moment::Twice(micros) | Moment::Never(micros)) = moment;
        (print_micros(micros, 0), moment)
    }

    #[test]
    fn a_gap_moves_forward_and_an_overlap_takes_the_first() {
        let new_york = chrono_tz::America::New_York;
        let (printed, kind) = moment(new_york, "2024-03-10 02:30:00");
        assert_eq!((printed.as_str(), matches!(kind, Moment::Never(_))), ("2024-03-10 07:30:00", true));
        let (printed, kind) = moment(new_york, "2024-11-03 01:30:00");
        assert_eq!((printed.as_str(), matches!(kind, Moment::Twice(_))), ("2024-11-03 05:30:00", true));
        let (printed, kind) = moment(chrono_tz::Asia::Kolkata, "2024-06-01 05:30:00");
        assert_eq!((printed.as_str(), matches!(kind, Moment::Once(_))), ("2024-06-01 00:00:00", true));
        let (printed, _) = moment(chrono_tz::Pacific::Apia, "2011-12-30 12:00:00");
        assert_eq!(printed, "2011-12-30 22:00:00", "a whole day was skipped");
    }

    #[test]
    fn a_zone_remembers_its_hour_without_changing_an_answer() {
        let mut zone = Zone::new(chrono_tz::America::New_York);
        let start = clock("2024-03-09 20:00:00").micros_since_1970().unwrap();
        for step in 0..3000 {
            let wall = start + step * 17_000_000;
            let fresh = Zone::new(chrono_tz::America::New_York).moment(wall);
            assert_eq!(zone.moment(wall), fresh, "at {}", print_micros(wall, 0));
        }
    }

    proptest! {
        #[test]
        fn every_day_agrees_with_another_calendar(days in FIRST_DAY..=2_932_896) {
            prop_assert_eq!(clock(&print_days(days)).days(), Ok(days));
        }

        #[test]
        fn no_text_panics(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = WallClock::parse(&bytes);
            let _ = Duration::parse(&bytes);
        }
    }
}
