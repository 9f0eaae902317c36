//! One column of a batch: from cells to an Arrow array.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType,
};
use headwaters_model::diagnostic::Reason;

use super::cells::Cells;
use super::misfits::{Misfit, clipped};
use super::storage::{Booleans, Bytes, Fixed, Floats};
use super::temporal::{FIRST_DAY, Moment, WallClock, Zone};
use super::{Malformed, bytes, numbers};
use crate::mysql::types::{Decode, GuidLayout, ZeroDates};

/// What a push says: most values are kept, and then nothing is allocated.
pub(super) type Pushed = Result<Option<Box<Misfit>>, Malformed>;

fn misfit(reason: Reason, action: &'static str, raw: String) -> Option<Box<Misfit>> {
    Some(Box::new(Misfit { reason, action, raw }))
}

/// A column being filled. One variant per [`Decode`]; variants that share a store share its arms.
#[derive(Debug)]
pub(super) enum Column {
    Int8(Fixed<i8>),
    Int16FromU8(Fixed<i16>),
    Int16(Fixed<i16>),
    Int32FromU16(Fixed<i32>),
    Int32(Fixed<i32>),
    Int64FromU32(Fixed<i64>),
    Int64(Fixed<i64>),
    Int64FromBits(Fixed<i64>),
    DecimalFromU64(Fixed<i128>),
    DecimalFromBits(Fixed<i128>),
    Decimal { values: Fixed<i128>, precision: u8, scale: u8 },
    Float32(Fixed<f32>),
    Float64(Fixed<f64>),
    BooleanFromTiny(Booleans),
    BooleanFromBit(Booleans),
    Date(Dates<i32>),
    DateTime { dates: Dates<i64>, fraction_digits: u8, zone: Option<Zone> },
    Time { text: Bytes, fraction_digits: u8 },
    Text(Bytes),
    LongDecimal(Bytes),
    Enum { text: Bytes, empty_member: bool },
    Null(Bytes),
    Guid(Bytes, GuidLayout),
    Binary(Bytes),
    Geometry(Bytes),
    Vector(Floats),
}

impl Column {
    pub(super) fn new(decode: Decode) -> Self {
        match decode {
            Decode::Int8 => Self::Int8(Fixed::new()),
            Decode::Int16FromU8 => Self::Int16FromU8(Fixed::new()),
            Decode::Int16 => Self::Int16(Fixed::new()),
            Decode::Int32FromU16 => Self::Int32FromU16(Fixed::new()),
            Decode::Int32 => Self::Int32(Fixed::new()),
            Decode::Int64FromU32 => Self::Int64FromU32(Fixed::new()),
            Decode::Int64 => Self::Int64(Fixed::new()),
            Decode::Int64FromBits => Self::Int64FromBits(Fixed::new()),
            Decode::DecimalFromU64 => Self::DecimalFromU64(Fixed::new()),
            Decode::DecimalFromBits => Self::DecimalFromBits(Fixed::new()),
            Decode::Decimal { precision, scale } => Self::Decimal { values: Fixed::new(), precision, scale },
            Decode::Float32 => Self::Float32(Fixed::new()),
            Decode::Float64 => Self::Float64(Fixed::new()),
            Decode::BooleanFromTiny => Self::BooleanFromTiny(Booleans::new()),
            Decode::BooleanFromBit => Self::BooleanFromBit(Booleans::new()),
            Decode::Date { zero_dates } => Self::Date(Dates::new(zero_dates)),
            Decode::DateTime { fraction_digits, zone, zero_dates } => {
                Self::DateTime { dates: Dates::new(zero_dates), fraction_digits, zone: zone.map(Zone::new) }
            }
            Decode::Time { fraction_digits } => Self::Time { text: Bytes::new(), fraction_digits },
            Decode::Text => Self::Text(Bytes::new()),
            Decode::LongDecimal => Self::LongDecimal(Bytes::new()),
            Decode::Enum { empty_member } => Self::Enum { text: Bytes::new(), empty_member },
            Decode::Null => Self::Null(Bytes::new()),
            Decode::Guid(layout) => Self::Guid(Bytes::new(), layout),
            Decode::Binary => Self::Binary(Bytes::new()),
            Decode::Geometry => Self::Geometry(Bytes::new()),
            Decode::Vector => Self::Vector(Floats::new()),
        }
    }

    /// Reads the next cell into the column.
    #[inline]
    pub(super) fn push<'a>(&mut self, cells: &mut impl Cells<'a>) -> Pushed {
        if cells.take_null()? {
            self.push_null()?;
            return Ok(None);
        }
        match self {
            Self::Int8(values) => values.push(cells.int8()?),
            Self::Int16FromU8(values) => values.push(i16::from(cells.uint8()?)),
            Self::Int16(values) => values.push(cells.int16()?),
            Self::Int32FromU16(values) => values.push(i32::from(cells.uint16()?)),
            Self::Int32(values) => values.push(cells.int32()?),
            Self::Int64FromU32(values) => values.push(i64::from(cells.uint32()?)),
            Self::Int64(values) => values.push(cells.int64()?),
            Self::Int64FromBits(values) => {
                let bits = numbers::bits(cells.bytes()?).ok_or(Malformed::Number)?;
                values.push(i64::try_from(bits).map_err(|_| Malformed::Number)?);
            }
            Self::DecimalFromU64(values) => values.push(i128::from(cells.uint64()?)),
            Self::DecimalFromBits(values) => {
                values.push(i128::from(numbers::bits(cells.bytes()?).ok_or(Malformed::Number)?));
            }
            Self::Decimal { values, scale, .. } => {
                values.push(numbers::decimal(cells.bytes()?, *scale).ok_or(Malformed::Number)?);
            }
            Self::Float32(values) => values.push(cells.float32()?),
            Self::Float64(values) => values.push(cells.float64()?),
            Self::BooleanFromTiny(values) => return Ok(push_tiny(values, cells.int8()?)),
            Self::BooleanFromBit(values) => {
                values.push(numbers::bits(cells.bytes()?).ok_or(Malformed::Number)? != 0);
            }
            Self::Date(dates) => return push_date(dates, cells.date()?),
            Self::DateTime { dates, fraction_digits, zone } => {
                return push_date_time(dates, *fraction_digits, zone.as_mut(), cells.date_time()?);
            }
            Self::Time { text, fraction_digits } => {
                let time = cells.time()?;
                text.push_with(|out| bytes::write_time(out, time, *fraction_digits))?;
            }
            Self::Text(text) => text.push(cells.bytes()?)?,
            Self::LongDecimal(text) => {
                let digits = cells.bytes()?;
                let (sign, digits) = digits.split_at(usize::from(digits.starts_with(b"-")));
                text.push_with(|out| out.extend([sign, numbers::without_fill(digits)].into_iter().flatten()))?;
            }
            Self::Enum { text, empty_member } => {
                let member = cells.bytes()?;
                text.push(member)?;
                if member.is_empty() && !*empty_member {
                    return Ok(misfit(Reason::EnumErrorValue, "empty text", String::new()));
                }
            }
            Self::Null(text) => text.push(cells.bytes()?)?,
            Self::Guid(text, layout) => {
                let guid = <&[u8; 16]>::try_from(cells.bytes()?).map_err(|_| Malformed::Length)?;
                text.push_with(|out| bytes::write_guid(out, guid, *layout))?;
            }
            Self::Binary(values) => values.push(cells.bytes()?)?,
            Self::Geometry(values) => {
                let geometry = cells.bytes()?;
                values.push_with(|out| bytes::write_ewkb(out, geometry))?;
            }
            Self::Vector(values) => return push_vector(values, cells.bytes()?),
        }
        Ok(None)
    }

    fn push_null(&mut self) -> Result<(), Malformed> {
        match self {
            Self::Int8(values) => values.push_null(),
            Self::Int16FromU8(values) | Self::Int16(values) => values.push_null(),
            Self::Int32FromU16(values) | Self::Int32(values) => values.push_null(),
            Self::Int64FromU32(values) | Self::Int64(values) | Self::Int64FromBits(values) => values.push_null(),
            Self::DecimalFromU64(values) | Self::DecimalFromBits(values) | Self::Decimal { values, .. } => {
                values.push_null();
            }
            Self::Float32(values) => values.push_null(),
            Self::Float64(values) => values.push_null(),
            Self::BooleanFromTiny(values) | Self::BooleanFromBit(values) => values.push_null(),
            Self::Date(dates) => dates.push(None, None)?,
            Self::DateTime { dates, .. } => dates.push(None, None)?,
            Self::Time { text: values, .. }
            | Self::Text(values)
            | Self::LongDecimal(values)
            | Self::Enum { text: values, .. }
            | Self::Null(values)
            | Self::Guid(values, _)
            | Self::Binary(values)
            | Self::Geometry(values) => values.push_null(),
            Self::Vector(values) => values.push_null(),
        }
        Ok(())
    }

    /// Hands on what was gathered and starts again; a column of raw texts follows its dates.
    pub(super) fn finish(
        &mut self,
        out: &mut Vec<ArrayRef>,
        repaired: &mut dyn FnMut(usize, &[u8]),
    ) -> Result<(), Malformed> {
        let array: ArrayRef = match self {
            Self::Int8(values) => Arc::new(values.finish::<Int8Type>()),
            Self::Int16FromU8(values) | Self::Int16(values) => Arc::new(values.finish::<Int16Type>()),
            Self::Int32FromU16(values) | Self::Int32(values) => Arc::new(values.finish::<Int32Type>()),
            Self::Int64FromU32(values) | Self::Int64(values) | Self::Int64FromBits(values) => {
                Arc::new(values.finish::<Int64Type>())
            }
            Self::DecimalFromU64(values) | Self::DecimalFromBits(values) => finish_decimal(values, 20, 0)?,
            Self::Decimal { values, precision, scale } => finish_decimal(values, *precision, *scale)?,
            Self::Float32(values) => Arc::new(values.finish::<Float32Type>()),
            Self::Float64(values) => Arc::new(values.finish::<Float64Type>()),
            Self::BooleanFromTiny(values) | Self::BooleanFromBit(values) => Arc::new(values.finish()),
            Self::Date(dates) => {
                out.push(Arc::new(dates.values.finish::<Date32Type>()));
                return dates.finish_raw(out);
            }
            Self::DateTime { dates, .. } => {
                out.push(Arc::new(dates.values.finish::<TimestampMicrosecondType>().with_timezone("UTC")));
                return dates.finish_raw(out);
            }
            Self::Time { text, .. }
            | Self::Text(text)
            | Self::LongDecimal(text)
            | Self::Enum { text, .. }
            | Self::Null(text)
            | Self::Guid(text, _) => Arc::new(text.finish_text(repaired)?),
            Self::Binary(values) | Self::Geometry(values) => Arc::new(values.finish_binary()),
            Self::Vector(values) => Arc::new(values.finish()),
        };
        out.push(array);
        Ok(())
    }

    /// How many bytes a row takes in this column beyond what its cell takes on the wire, at most.
    pub(super) fn row_bytes_beyond_wire(&self) -> usize {
        const OFFSET: usize = 4;
        match self {
            Self::Int8(_) | Self::BooleanFromTiny(_) | Self::BooleanFromBit(_) => 1,
            Self::Int16FromU8(_) | Self::Int16(_) => 2,
            Self::Int32FromU16(_) | Self::Int32(_) | Self::Float32(_) => 4,
            Self::Int64FromU32(_) | Self::Int64(_) | Self::Int64FromBits(_) | Self::Float64(_) => 8,
            Self::DecimalFromU64(_) | Self::DecimalFromBits(_) | Self::Decimal { .. } => 16,
            Self::Date(_) => 4,
            Self::DateTime { .. } => 8,
            // The longest text of a TIME is -838:59:59.999999, of a GUID 36 characters.
            Self::Time { .. } => OFFSET + 17,
            Self::Guid(..) => OFFSET + 36,
            Self::Text(_)
            | Self::LongDecimal(_)
            | Self::Enum { .. }
            | Self::Null(_)
            | Self::Binary(_)
            | Self::Geometry(_)
            | Self::Vector(_) => OFFSET,
        }
    }
}

/// Dates or moments, with the raw texts of those that do not exist where the connection asks for them.
#[derive(Debug)]
pub(super) struct Dates<T> {
    values: Fixed<T>,
    zero_dates: ZeroDates,
    raw: Option<Bytes>,
}

impl<T: arrow_buffer::ArrowNativeType> Dates<T> {
    fn new(zero_dates: ZeroDates) -> Self {
        Self { values: Fixed::new(), zero_dates, raw: (zero_dates == ZeroDates::Raw).then(Bytes::new) }
    }

    #[inline]
    fn push(&mut self, value: Option<T>, raw: Option<&str>) -> Result<(), Malformed> {
        match value {
            Some(value) => self.values.push(value),
            None => self.values.push_null(),
        }
        match (&mut self.raw, raw) {
            (None, _) => Ok(()),
            (Some(texts), Some(text)) => texts.push(text.as_bytes()),
            (Some(texts), None) => {
                texts.push_null();
                Ok(())
            }
        }
    }

    /// Takes what the connection wants for a date that does not exist.
    fn push_misfit(&mut self, reason: Reason, first_day: T, raw: String) -> Pushed {
        let replaced = self.zero_dates == ZeroDates::FirstDay && reason != Reason::DateOutOfRange;
        self.push(replaced.then_some(first_day), Some(&raw))?;
        Ok(misfit(reason, if replaced { "0001-01-01" } else { "null" }, raw))
    }

    fn finish_raw(&mut self, out: &mut Vec<ArrayRef>) -> Result<(), Malformed> {
        if let Some(raw) = &mut self.raw {
            out.push(Arc::new(raw.finish_text(&mut |_, _| {})?));
        }
        Ok(())
    }
}

fn push_tiny(values: &mut Booleans, value: i8) -> Option<Box<Misfit>> {
    values.push(value != 0);
    if matches!(value, 0 | 1) { None } else { misfit(Reason::BoolNot01, "true", value.to_string()) }
}

fn push_vector(values: &mut Floats, floats: &[u8]) -> Pushed {
    if values.push(floats)? {
        return Ok(None);
    }
    values.push_null();
    Ok(misfit(Reason::VectorLength, "null", bytes::hex(clipped(floats))))
}

fn push_date(dates: &mut Dates<i32>, clock: WallClock) -> Pushed {
    match clock.days() {
        Ok(days) => dates.push(Some(days), None).map(|()| None),
        Err(reason) => dates.push_misfit(reason, FIRST_DAY, clock.print_date()),
    }
}

#[inline]
fn push_date_time(dates: &mut Dates<i64>, digits: u8, zone: Option<&mut Zone>, clock: WallClock) -> Pushed {
    const FIRST_MICROS: i64 = FIRST_DAY as i64 * 86_400_000_000;
    let wall = match clock.micros_since_1970() {
        Ok(wall) => wall,
        Err(reason) => return dates.push_misfit(reason, FIRST_MICROS, clock.print(digits)),
    };
    let Some(zone) = zone else { return dates.push(Some(wall), None).map(|()| None) };
    let (micros, odd) = match zone.moment(wall) {
        Moment::Once(micros) => (micros, None),
        Moment::Twice(micros) => (micros, misfit(Reason::TimeZoneOverlap, "the first", clock.print(digits))),
        Moment::Never(micros) => (micros, misfit(Reason::TimeZoneGap, "moved forward", clock.print(digits))),
    };
    dates.push(Some(micros), None).map(|()| odd)
}

fn finish_decimal(values: &mut Fixed<i128>, precision: u8, scale: u8) -> Result<ArrayRef, Malformed> {
    let array = values.finish::<Decimal128Type>();
    let array = array.with_precision_and_scale(precision, scale.cast_signed()).map_err(|_| Malformed::Number)?;
    Ok(Arc::new(array))
}
