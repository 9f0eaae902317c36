//! Walking over the cells of one row, in the binary and in the text protocol.
//!
//! The bytes come from outside: every read is checked, nothing is indexed, and a length is compared with what is there
//! before it is used.

use super::temporal::{Duration, WallClock};
use super::{Malformed, numbers};

/// The cells of one row from left to right.
///
/// For each cell `take_null` is asked first; when it answers false exactly one of the other methods reads the cell.
pub(super) trait Cells<'a> {
    /// Whether the next cell is NULL, which then counts as read.
    fn take_null(&mut self) -> Result<bool, Malformed>;
    fn int8(&mut self) -> Result<i8, Malformed>;
    fn uint8(&mut self) -> Result<u8, Malformed>;
    fn int16(&mut self) -> Result<i16, Malformed>;
    fn uint16(&mut self) -> Result<u16, Malformed>;
    fn int32(&mut self) -> Result<i32, Malformed>;
    fn uint32(&mut self) -> Result<u32, Malformed>;
    fn int64(&mut self) -> Result<i64, Malformed>;
    fn uint64(&mut self) -> Result<u64, Malformed>;
    fn float32(&mut self) -> Result<f32, Malformed>;
    fn float64(&mut self) -> Result<f64, Malformed>;
    /// Text, digits and bytes, which both protocols send with their length.
    fn bytes(&mut self) -> Result<&'a [u8], Malformed>;
    fn date(&mut self) -> Result<WallClock, Malformed>;
    fn date_time(&mut self) -> Result<WallClock, Malformed>;
    fn time(&mut self) -> Result<Duration, Malformed>;
    /// Checks that the row ends here.
    fn end(&self) -> Result<(), Malformed>;
}

/// Takes `N` bytes off the front.
fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Malformed> {
    let (head, tail) = rest.split_first_chunk::<N>().ok_or(Malformed::Short)?;
    *rest = tail;
    Ok(*head)
}

/// Takes bytes with their length in front.
fn take_bytes<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let [first] = take::<1>(rest)?;
    let length = match first {
        0..=0xFA => u64::from(first),
        0xFC => u64::from(u16::from_le_bytes(take(rest)?)),
        0xFD => {
            let [a, b, c] = take::<3>(rest)?;
            u64::from(u32::from_le_bytes([a, b, c, 0]))
        }
        0xFE => u64::from_le_bytes(take(rest)?),
        0xFB | 0xFF => return Err(Malformed::Length),
    };
    let length = usize::try_from(length).map_err(|_| Malformed::Length)?;
    let (head, tail) = rest.split_at_checked(length).ok_or(Malformed::Short)?;
    *rest = tail;
    Ok(head)
}

/// A row of a prepared statement: a zero byte, a bitmap of NULLs with an offset of two, then the cells.
pub(super) struct BinaryRow<'a> {
    nulls: &'a [u8],
    next: usize,
    rest: &'a [u8],
}

impl<'a> BinaryRow<'a> {
    const NULLS_OFFSET: usize = 2;

    pub(super) fn of(row: &'a [u8], columns: usize) -> Result<Self, Malformed> {
        let (&header, rest) = row.split_first().ok_or(Malformed::Short)?;
        if header != 0 {
            return Err(Malformed::Header);
        }
        let (nulls, rest) = rest.split_at_checked((columns + 7 + Self::NULLS_OFFSET) / 8).ok_or(Malformed::Short)?;
        Ok(Self { nulls, next: Self::NULLS_OFFSET, rest })
    }
}

impl<'a> Cells<'a> for BinaryRow<'a> {
    #[inline]
    fn take_null(&mut self) -> Result<bool, Malformed> {
        let byte = self.nulls.get(self.next / 8).ok_or(Malformed::Short)?;
        let null = byte >> (self.next % 8) & 1 == 1;
        self.next += 1;
        Ok(null)
    }

    #[inline]
    fn int8(&mut self) -> Result<i8, Malformed> {
        take(&mut self.rest).map(i8::from_le_bytes)
    }

    #[inline]
    fn uint8(&mut self) -> Result<u8, Malformed> {
        take(&mut self.rest).map(u8::from_le_bytes)
    }

    #[inline]
    fn int16(&mut self) -> Result<i16, Malformed> {
        take(&mut self.rest).map(i16::from_le_bytes)
    }

    #[inline]
    fn uint16(&mut self) -> Result<u16, Malformed> {
        take(&mut self.rest).map(u16::from_le_bytes)
    }

    #[inline]
    fn int32(&mut self) -> Result<i32, Malformed> {
        take(&mut self.rest).map(i32::from_le_bytes)
    }

    #[inline]
    fn uint32(&mut self) -> Result<u32, Malformed> {
        take(&mut self.rest).map(u32::from_le_bytes)
    }

    #[inline]
    fn int64(&mut self) -> Result<i64, Malformed> {
        take(&mut self.rest).map(i64::from_le_bytes)
    }

    #[inline]
    fn uint64(&mut self) -> Result<u64, Malformed> {
        take(&mut self.rest).map(u64::from_le_bytes)
    }

    #[inline]
    fn float32(&mut self) -> Result<f32, Malformed> {
        take(&mut self.rest).map(f32::from_le_bytes)
    }

    #[inline]
    fn float64(&mut self) -> Result<f64, Malformed> {
        take(&mut self.rest).map(f64::from_le_bytes)
    }

    #[inline]
    fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        take_bytes(&mut self.rest)
    }

    #[inline]
    fn date(&mut self) -> Result<WallClock, Malformed> {
        self.date_time()
    }

    #[inline]
    fn date_time(&mut self) -> Result<WallClock, Malformed> {
        let rest = &mut self.rest;
        let [length] = take::<1>(rest)?;
        let mut clock = WallClock::default();
        if length >= 4 {
            clock.year = u16::from_le_bytes(take(rest)?);
            [clock.month, clock.day] = take(rest)?;
        }
        if length >= 7 {
            [clock.hour, clock.minute, clock.second] = take(rest)?;
        }
        if length == 11 {
            clock.micros = u32::from_le_bytes(take(rest)?);
        }
        match length {
            0 | 4 | 7 | 11 => Ok(clock),
            _ => Err(Malformed::Length),
        }
    }

    fn time(&mut self) -> Result<Duration, Malformed> {
        let rest = &mut self.rest;
        let [length] = take::<1>(rest)?;
        let mut time = Duration::default();
        if length >= 8 {
            let [sign] = take::<1>(rest)?;
            time.negative = sign != 0;
            let days = u32::from_le_bytes(take(rest)?);
            let [hour, minute, second] = take(rest)?;
            time.hours = days.checked_mul(24).ok_or(Malformed::Length)?.saturating_add(u32::from(hour));
            (time.minutes, time.seconds) = (minute, second);
        }
        if length == 12 {
            time.micros = u32::from_le_bytes(take(rest)?);
        }
        match length {
            0 | 8 | 12 => Ok(time),
            _ => Err(Malformed::Length),
        }
    }

    fn end(&self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed::LeftOver) }
    }
}

/// A row of a plain statement: every cell printed, with its length in front; NULL is one byte.
pub(super) struct TextRow<'a> {
    rest: &'a [u8],
}

impl<'a> TextRow<'a> {
    const NULL: u8 = 0xFB;

    pub(super) fn of(row: &'a [u8]) -> Self {
        Self { rest: row }
    }

    fn number<T: TryFrom<i128>>(&mut self) -> Result<T, Malformed> {
        let digits = take_bytes(&mut self.rest)?;
        numbers::decimal(digits, 0).and_then(|number| T::try_from(number).ok()).ok_or(Malformed::Number)
    }
}

impl<'a> Cells<'a> for TextRow<'a> {
    fn take_null(&mut self) -> Result<bool, Malformed> {
        match self.rest.split_first() {
            Some((&Self::NULL, tail)) => {
                self.rest = tail;
                Ok(true)
            }
            Some(_) => Ok(false),
            None => Err(Malformed::Short),
        }
    }

    fn int8(&mut self) -> Result<i8, Malformed> {
        self.number()
    }

    fn uint8(&mut self) -> Result<u8, Malformed> {
        self.number()
    }

    fn int16(&mut self) -> Result<i16, Malformed> {
        self.number()
    }

    fn uint16(&mut self) -> Result<u16, Malformed> {
        self.number()
    }

    fn int32(&mut self) -> Result<i32, Malformed> {
        self.number()
    }

    fn uint32(&mut self) -> Result<u32, Malformed> {
        self.number()
    }

    fn int64(&mut self) -> Result<i64, Malformed> {
        self.number()
    }

    fn uint64(&mut self) -> Result<u64, Malformed> {
        self.number()
    }

    /// The select list asks for the double that the float is (`f + 0e0`), so narrowing gives back the float.
    #[expect(clippy::cast_possible_truncation, reason = "the double was widened from a float by the server")]
    fn float32(&mut self) -> Result<f32, Malformed> {
        self.float64().map(|double| double as f32)
    }

    fn float64(&mut self) -> Result<f64, Malformed> {
        let digits = take_bytes(&mut self.rest)?;
        std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).ok_or(Malformed::Number)
    }

    fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        take_bytes(&mut self.rest)
    }

    fn date(&mut self) -> Result<WallClock, Malformed> {
        self.date_time()
    }

    fn date_time(&mut self) -> Result<WallClock, Malformed> {
        WallClock::parse(take_bytes(&mut self.rest)?).ok_or(Malformed::Date)
    }

    fn time(&mut self) -> Result<Duration, Malformed> {
        Duration::parse(take_bytes(&mut self.rest)?).ok_or(Malformed::Date)
    }

    fn end(&self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed::LeftOver) }
    }
}
