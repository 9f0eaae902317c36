//! The literals that stand for dates, moments and durations.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use chrono_tz::Tz;

/// What the server reads as a moment, `YYYY-MM-DD HH:MM:SS.ffffff`: in UTC, or as the wall clock of a zone.
///
/// Takes a date, or a date and a time with `T` or a blank between them and perhaps an offset; without one it is UTC.
pub(super) fn moment(text: &str, zone: Option<Tz>) -> Option<String> {
    let utc = utc(text.trim())?;
    let shown = match zone {
        Some(zone) => utc.and_utc().with_timezone(&zone).naive_local(),
        None => utc,
    };
    // The servers know four digits of a year and no sign.
    let year = chrono::Datelike::year(&shown);
    (0..=9999).contains(&year).then(|| shown.format("%Y-%m-%d %H:%M:%S%.6f").to_string())
}

fn utc(text: &str) -> Option<NaiveDateTime> {
    if let Ok(date) = text.parse::<NaiveDate>() {
        return Some(date.and_time(NaiveTime::MIN));
    }
    let iso = text.replacen(' ', "T", 1);
    if let Ok(moment) = DateTime::parse_from_rfc3339(&iso) {
        return Some(moment.with_timezone(&Utc).naive_utc());
    }
    iso.parse::<NaiveDateTime>().ok()
}

/// A duration as the server reads it: `[-]H…:MM:SS[.ffffff]`.
pub(super) fn duration(text: &str) -> Option<String> {
    let text = text.trim();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut parts = whole.strip_prefix('-').unwrap_or(whole).split(':');
    let digits = |part: Option<&str>, digits_max: usize| {
        part.filter(|part| (1..=digits_max).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|part| part.parse::<u16>().ok())
    };
    let hours = digits(parts.next(), 3)?;
    let minutes = digits(parts.next(), 2)?;
    let seconds = digits(parts.next(), 2)?;
    let exact = parts.next().is_none() && fraction.len() <= 6 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    (exact && hours <= 838 && minutes < 60 && seconds < 60).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_utc_unless_they_say_otherwise() {
        for (text, expected) in [
            ("2020-04-22", "2020-04-22 00:00:00.000000"),
            ("2020-04-22T10:11:12", "2020-04-22 10:11:12.000000"),
            ("2020-04-22 10:11:12.5", "2020-04-22 10:11:12.500000"),
            ("2020-04-22T10:11:12.123456Z", "2020-04-22 10:11:12.123456"),
            ("2020-04-22T10:11:12+02:00", "2020-04-22 08:11:12.000000"),
        ] {
            assert_eq!(moment(text, None).as_deref(), Some(expected), "{text}");
        }
        for text in ["", "yesterday", "2020-13-01", "2020-02-30", "10:11:12", "12020-01-01"] {
            assert_eq!(moment(text, None), None, "{text}");
        }
    }

    #[test]
    fn wall_clocks_of_a_declared_zone_are_reached_from_utc() {
        let zone = Some(Tz::America__New_York);
        assert_eq!(moment("2024-07-01T12:00:00Z", zone).as_deref(), Some("2024-07-01 08:00:00.000000"));
    }

    #[test]
    fn durations_are_checked() {
        for text in ["00:00:00", "-838:59:59", "1:02:03.5", "24:00:00.000001"] {
            assert_eq!(duration(text).as_deref(), Some(text));
        }
        for text in ["", "1", "1:2", "839:00:00", "00:60:00", "00:00:00.1234567", "a:b:c", "1:2:3:4"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
