//! The canonical form of what files hold (see [`headwaters_model::checksum`]).
//!
//! A column of the lake may have a wider type than the source's: where tables evolve, an INT stands beside older DECIMALs.
//! So a form is made of every type that can hold its values, and a value that the source's type can't hold simply becomes
//! bytes that the source never answers with.

use std::io::Write as _;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, TimeUnit};
use chrono::{DateTime, Datelike, NaiveDateTime, Offset, TimeDelta, TimeZone, Timelike};
use chrono_tz::Tz;
use headwaters_model::checksum::{Form, REPLACED_MARK, SCALE, SMALL_NUMBER};

/// Appends the canonical form of the value in a row that is not null.
pub(super) type Write<'a> = Box<dyn Fn(usize, &mut Vec<u8>) + 'a>;

/// Whether a form can be made of a type.
pub(super) fn reads(form: &Form, data_type: &DataType) -> bool {
    use DataType as T;
    let is_number = matches!(data_type, T::Int8 | T::Int16 | T::Int32 | T::Int64 | T::Decimal128(..));
    match form {
        Form::Integer => is_number || matches!(data_type, T::Boolean | T::Float64),
        Form::Decimal { .. } => is_number || *data_type == T::Utf8,
        Form::Number => matches!(data_type, T::Float32 | T::Float64),
        Form::Date => *data_type == T::Date32,
        Form::Moment { .. } => matches!(data_type, T::Timestamp(TimeUnit::Microsecond, _)),
        Form::Text { .. } | Form::Guid { .. } => *data_type == T::Utf8,
        Form::Bytes | Form::Geometry => *data_type == T::Binary,
        Form::Floats => matches!(data_type, T::List(element) if *element.data_type() == T::Float32),
    }
}

/// How the values of a column are written; none if the form can not be made of their type.
pub(super) fn writer<'a>(form: &'a Form, array: &'a ArrayRef) -> Option<Write<'a>> {
    if !reads(form, array.data_type()) {
        return None;
    }
    Some(match (form, array.data_type()) {
        (Form::Integer, DataType::Boolean) => {
            let values = array.as_boolean();
            Box::new(move |row, out| out.push(b'0' + u8::from(values.value(row))))
        }
        (Form::Integer | Form::Number, DataType::Float64) => {
            let (values, whole) = (array.as_primitive::<Float64Type>(), *form == Form::Integer);
            Box::new(move |row, out| match values.value(row) {
                value if whole && value.fract() == 0.0 && value.abs() < 1e15 => say(out, format_args!("{value:.0}")),
                value => number(value, out),
            })
        }
        (Form::Number, _) => {
            let values = array.as_primitive::<Float32Type>();
            Box::new(move |row, out| number(f64::from(values.value(row)), out))
        }
        (Form::Decimal { .. } | Form::Text { .. }, DataType::Utf8) => {
            let (values, lossy) = (array.as_string::<i32>(), *form == Form::Text { lossy: true });
            Box::new(move |row, out| match values.value(row) {
                text if lossy && text.contains('\u{FFFD}') => out.extend_from_slice(REPLACED_MARK.as_bytes()),
                text => out.extend_from_slice(text.as_bytes()),
            })
        }
        (Form::Integer | Form::Decimal { .. }, _) => {
            let scale = if let Form::Decimal { scale } = form { *scale } else { 0 };
            let (units, held) = units(array)?;
            Box::new(move |row, out| decimal(units(row), held, scale, out))
        }
        (Form::Date, _) => {
            let values = array.as_primitive::<Date32Type>();
            Box::new(move |row, out| date(values.value(row), out))
        }
        (Form::Moment { fraction_digits, zone }, _) => {
            let values = array.as_primitive::<TimestampMicrosecondType>();
            let zone: Option<Tz> = zone.as_ref().and_then(|name| name.parse().ok());
            Box::new(move |row, out| moment(values.value(row), zone, *fraction_digits, out))
        }
        (Form::Guid { order }, _) => {
            let values = array.as_string::<i32>();
            Box::new(move |row, out| guid(values.value(row), order, out))
        }
        (Form::Bytes, _) => {
            let values = array.as_binary::<i32>();
            Box::new(move |row, out| out.extend_from_slice(values.value(row)))
        }
        (Form::Geometry, _) => {
            let values = array.as_binary::<i32>();
            Box::new(move |row, out| geometry(values.value(row), out))
        }
        (Form::Floats, _) => {
            let values = array.as_list::<i32>();
            Box::new(move |row, out| {
                for float in values.value(row).as_primitive::<Float32Type>().values() {
                    out.extend_from_slice(&float.to_le_bytes());
                }
            })
        }
        (Form::Text { .. }, _) => return None,
    })
}

/// Reads a value as a whole number of units.
pub(super) type Units<'a> = Box<dyn Fn(usize) -> i128 + 'a>;

/// The values as whole numbers of units of `10^-scale`, and that scale; none if they are not exact numbers.
pub(super) fn units(array: &ArrayRef) -> Option<(Units<'_>, u8)> {
    macro_rules! integers {
        ($type:ty) => {{
            let values = array.as_primitive::<$type>();
            (Box::new(move |row| i128::from(values.value(row))), 0)
        }};
    }
    Some(match array.data_type() {
        DataType::Int8 => integers!(Int8Type),
        DataType::Int16 => integers!(Int16Type),
        DataType::Int32 => integers!(Int32Type),
        DataType::Int64 => integers!(Int64Type),
        DataType::Decimal128(_, scale) => {
            let values = array.as_primitive::<Decimal128Type>();
            (Box::new(move |row| values.value(row)), u8::try_from(*scale).ok()?)
        }
        _ => return None,
    })
}

/// Appending to a vector never fails.
fn say(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

/// Units of `10^-held` with `scale` digits behind the point; with more, if they are not zero.
fn decimal(mut units: i128, mut held: u8, scale: u8, out: &mut Vec<u8>) {
    while held > scale && units % 10 == 0 {
        units /= 10;
        held -= 1;
    }
    let size = units.unsigned_abs();
    if units < 0 {
        out.push(b'-');
    }
    if held == 0 {
        say(out, format_args!("{size}"));
    } else {
        let one = 10_u128.pow(u32::from(held));
        say(out, format_args!("{}.{:0width$}", size / one, size % one, width = usize::from(held)));
    }
    if held < scale {
        if held == 0 {
            out.push(b'.');
        }
        out.extend(std::iter::repeat_n(b'0', usize::from(scale - held)));
    }
}

/// See [`Form::Number`].
fn number(value: f64, out: &mut Vec<u8>) {
    if value == 0.0 {
        return out.push(b'0');
    }
    if value < 0.0 {
        out.push(b'-');
    }
    let mut size = value.abs();
    while size < SMALL_NUMBER {
        size *= SCALE;
        out.push(b's');
    }
    shortest(size, out);
}

/// From this power of ten on the servers write an exponent.
const PLAIN_DIGITS_MAX: i32 = 15;

/// The shortest digits of a number of at least [`SMALL_NUMBER`], as both servers print them.
fn shortest(size: f64, out: &mut Vec<u8>) {
    let printed = to_even(size, format!("{size:e}"));
    let Some((digits, exponent)) = printed.split_once('e') else { return out.extend_from_slice(printed.as_bytes()) };
    let (printed, Ok(exponent)) = (digits, exponent.parse::<i32>()) else { return };
    let digits = printed.replace('.', "");
    // What has digits behind the point is written without an exponent, however large.
    if exponent >= PLAIN_DIGITS_MAX && usize::try_from(exponent).is_ok_and(|exponent| digits.len() <= exponent + 1) {
        return say(out, format_args!("{printed}e{exponent}"));
    }
    match usize::try_from(exponent) {
        Err(_) => {
            let zeros = usize::try_from(-1 - exponent).unwrap_or(0);
            say(out, format_args!("0.{:0<zeros$}{digits}", ""));
        }
        Ok(exponent) => match digits.split_at_checked(exponent + 1) {
            Some((whole, "")) => say(out, format_args!("{whole}")),
            Some((whole, fraction)) => say(out, format_args!("{whole}.{fraction}")),
            None => say(out, format_args!("{digits:0<0$}", exponent + 1)),
        },
    }
}

/// Where a number lies half-way between two shortest texts, the servers take the one that ends in an even digit.
fn to_even(size: f64, shortest: String) -> String {
    /// No number is that near to half-way and not on it.
    const DIGITS_BEHIND: usize = 40;
    let behind_point = shortest.split_once('e').map_or(0, |(digits, _)| digits.len().saturating_sub(2));
    // Only texts of the most digits leave such a choice.
    if behind_point < 15 {
        return shortest;
    }
    let exact = format!("{size:.0$e}", behind_point + DIGITS_BEHIND);
    let rest = exact.get(behind_point + 2..behind_point + 2 + DIGITS_BEHIND).unwrap_or_default();
    let half = rest.strip_prefix('5').is_some_and(|rest| rest.bytes().all(|digit| digit == b'0'));
    // With a number of digits Rust rounds to even; a shorter text that comes of it names another number.
    let even = format!("{size:.behind_point$e}");
    if half && even.parse() == Ok(size) { even } else { shortest }
}

/// The number that a canonical form stands for, as a person reads it.
pub(super) fn shown_number(form: &str) -> String {
    let (sign, rest) = form.strip_prefix('-').map_or(("", form), |rest| ("-", rest));
    let digits = rest.trim_start_matches('s');
    let Ok(mut size) = digits.parse::<f64>() else { return form.to_owned() };
    for _ in 0..rest.len() - digits.len() {
        size /= SCALE;
    }
    format!("{sign}{size:?}")
}

/// 1970-01-01 as days since the first day of the year 1 of chrono's count.
const DAYS_BEFORE_1970: i32 = 719_163;

fn date(days: i32, out: &mut Vec<u8>) {
    match days.checked_add(DAYS_BEFORE_1970).and_then(chrono::NaiveDate::from_num_days_from_ce_opt) {
        Some(date) => say(out, format_args!("{:04}-{:02}-{:02}", date.year(), date.month(), date.day())),
        None => say(out, format_args!("day {days}")),
    }
}

/// 0001-01-01 in microseconds: what a date that does not exist is landed as where the connection wants so, in any zone.
const FIRST_MICROS: i64 = -62_135_596_800_000_000;

fn moment(micros: i64, zone: Option<Tz>, fraction_digits: u8, out: &mut Vec<u8>) {
    let Some(utc) = DateTime::from_timestamp_micros(micros).map(|moment| moment.naive_utc()) else {
        return say(out, format_args!("microsecond {micros}"));
    };
    let clock = zone.filter(|_| micros != FIRST_MICROS).map_or(utc, |zone| local(zone, utc));
    say(out, format_args!("{:04}-{:02}-{:02}", clock.year(), clock.month(), clock.day()));
    say(out, format_args!(" {:02}:{:02}:{:02}", clock.hour(), clock.minute(), clock.second()));
    let (micros, digits) = (clock.nanosecond() / 1000, usize::from(fraction_digits.min(6)));
    let fraction = format!("{micros:06}");
    let (kept, rest) = fraction.split_at(digits);
    // Digits that the column does not have are told, so that they are a difference.
    let rest = rest.trim_end_matches('0');
    if !kept.is_empty() || !rest.is_empty() {
        say(out, format_args!(".{kept}{rest}"));
    }
}

fn local(zone: Tz, utc: NaiveDateTime) -> NaiveDateTime {
    let offset = zone.offset_from_utc_datetime(&utc).fix().local_minus_utc();
    utc.checked_add_signed(TimeDelta::seconds(i64::from(offset))).unwrap_or(utc)
}

/// The bytes that a GUID is stored as; what is none is left as it is.
fn guid(text: &str, order: &[u8; 16], out: &mut Vec<u8>) {
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    let byte = |place: &u8| {
        let start = 2 * usize::from(*place);
        u8::from_str_radix(digits.get(start..start + 2)?, 16).ok()
    };
    match order.iter().map(byte).collect::<Option<Vec<u8>>>() {
        Some(stored) if digits.len() == 32 => out.extend(stored),
        _ => out.extend_from_slice(text.as_bytes()),
    }
}

/// Set in a geometry's type number when a SRID follows it (EWKB).
const SRID_FLAG: u32 = 0x2000_0000;

/// EWKB as the servers store it: four bytes of SRID, then WKB.
fn geometry(ewkb: &[u8], out: &mut Vec<u8>) {
    let with_srid = || {
        let (&order, rest) = ewkb.split_first()?;
        let (kind, rest) = rest.split_first_chunk::<4>()?;
        let (srid, body) = rest.split_first_chunk::<4>()?;
        let read = |bytes: &[u8; 4]| if order == 0 { u32::from_be_bytes(*bytes) } else { u32::from_le_bytes(*bytes) };
        let (kind, srid) = (read(kind), read(srid));
        let plain = kind & !SRID_FLAG;
        let plain = if order == 0 { plain.to_be_bytes() } else { plain.to_le_bytes() };
        (kind & SRID_FLAG != 0).then_some((order, plain, srid, body))
    };
    match with_srid() {
        Some((order, kind, srid, body)) => {
            out.extend(srid.to_le_bytes());
            out.push(order);
            out.extend(kind);
            out.extend_from_slice(body);
        }
        None => {
            out.extend([0; 4]);
            out.extend_from_slice(ewkb);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_written_as_the_servers_print_them() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "0"),
            (0.1, "0.1"),
            (-1.5, "-1.5"),
            (1e14, "100000000000000"),
            (999_999_999_999_999.0, "999999999999999"),
            (1e15, "1e15"),
            (-f64::MAX, "-1.7976931348623157e308"),
            (0.001, "0.001"),
            (f64::from_bits(1), "ss64"),
            (1234.5, "1234.5"),
            (4_503_599_627_370_495.5, "4503599627370495.5"),
            (4_503_599_627_370_495.0, "4.503599627370495e15"),
            (0.0123, "0.0123"),
            (f64::from(155.917_39_f32), "155.91738891601562"),
        ] {
            assert_eq!(written(|out| number(value, out)), text);
            assert_eq!(shown_number(text).parse::<f64>(), Ok(value));
        }
    }

    #[test]
    fn decimals_have_the_digits_of_the_source_whatever_the_lake_holds() {
        for (units, held, scale, text) in [
            (15_000, 4, 2, "1.50"),
            (15_001, 4, 2, "1.5001"),
            (-5, 0, 2, "-5.00"),
            (-5, 2, 2, "-0.05"),
            (7, 0, 0, "7"),
            (50, 1, 3, "5.000"),
        ] {
            assert_eq!(written(|out| decimal(units, held, scale, out)), text);
        }
    }

    #[test]
    fn moments_are_shown_by_the_clock_of_their_zone() {
        let zone = Some(chrono_tz::America::New_York);
        // 2024-03-10 02:30 never was in New York: it was landed as 07:30 UTC, which is 03:30 there.
        assert_eq!(written(|out| moment(1_710_055_800_000_000, zone, 3, out)), "2024-03-10 03:30:00.000");
        assert_eq!(written(|out| moment(1_500_001, None, 1, out)), "1970-01-01 00:00:01.500001");
        assert_eq!(written(|out| moment(FIRST_MICROS, zone, 0, out)), "0001-01-01 00:00:00");
    }
}
