//! Numbers out of digits and bits.

/// Reads `[-+]digits[.digits]` as a whole number of units of `10^-scale`; none if it is no number or does not fit.
///
/// Leading zeros (ZEROFILL) and fewer fraction digits than `scale` are fine; more are not.
pub(super) fn decimal(text: &[u8], scale: u8) -> Option<i128> {
    let (negative, digits) = match text.split_first()? {
        (b'-', rest) => (true, rest),
        (b'+', rest) => (false, rest),
        _ => (false, text),
    };
    // Digits are gathered in 64 bits and carried over in lots, which keeps 128-bit arithmetic off the common path.
    const LOT: u8 = 18;
    let (mut total, mut lot, mut in_lot) = (0_i128, 0_u64, 0_u8);
    let (mut seen, mut fraction) = (false, None::<u8>);
    for &byte in digits {
        if byte == b'.' && fraction.is_none() {
            fraction = Some(0);
            continue;
        }
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        if in_lot == LOT {
            total = carry(total, lot, in_lot)?;
            (lot, in_lot) = (0, 0);
        }
        lot = lot * 10 + u64::from(digit);
        in_lot += 1;
        seen = true;
        if let Some(digits) = &mut fraction {
            *digits = digits.checked_add(1)?;
        }
    }
    let missing = scale.checked_sub(fraction.unwrap_or(0))?;
    let total = carry(total, lot, in_lot)?;
    let units = if missing == 0 { total } else { total.checked_mul(10_i128.checked_pow(u32::from(missing))?)? };
    seen.then_some(if negative { -units } else { units })
}

fn carry(total: i128, lot: u64, digits: u8) -> Option<i128> {
    if total == 0 {
        return Some(i128::from(lot));
    }
    total.checked_mul(10_i128.pow(u32::from(digits)))?.checked_add(i128::from(lot))
}

/// Reads big-endian bytes as one number; none if there are more than eight.
pub(super) fn bits(bytes: &[u8]) -> Option<u64> {
    (bytes.len() <= 8).then(|| bytes.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)))
}

/// The digits without the leading zeros that ZEROFILL prints, so that a long decimal is the number and not its picture.
pub(super) fn without_fill(digits: &[u8]) -> &[u8] {
    let mut rest = digits;
    while let [b'0', tail @ ..] = rest
        && tail.first().is_some_and(u8::is_ascii_digit)
    {
        rest = tail;
    }
    rest
}

/// Prints units of `10^-scale` as the server does.
pub(super) fn print_decimal(units: i128, scale: u8) -> String {
    let scale = usize::from(scale);
    let digits = format!("{:0width$}", units.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if units < 0 { "-" } else { "" };
    if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn digits_become_units() {
        assert_eq!(decimal(b"-999.99", 2), Some(-99_999));
        assert_eq!(decimal(b"000001.50", 2), Some(150));
        assert_eq!(decimal(b"1.5", 4), Some(15_000));
        assert_eq!(decimal(b"0.000000000000000000000000000001", 30), Some(1));
        assert_eq!(decimal(b"99999999999999999999999999999999999999", 0), Some(10_i128.pow(38) - 1));
        assert_eq!(decimal(b"18446744073709551615", 0), Some(i128::from(u64::MAX)));
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in ["", "-", ".", "1.2.3", "1e5", " 1", "0x10", "1.234"] {
            assert_eq!(decimal(text.as_bytes(), 2), None, "{text:?}");
        }
        assert_eq!(decimal(&[b'9'; 60], 0), None, "does not fit");
    }

    #[test]
    fn bits_are_bytes_and_not_digits() {
        assert_eq!(bits(&[0x30]), Some(48));
        assert_eq!(bits(&[0x01, 0xFF]), Some(511));
        assert_eq!(bits(&[0xFF; 8]), Some(u64::MAX));
        assert_eq!(bits(&[0; 9]), None);
    }

    #[test]
    fn zeros_in_front_go_and_the_one_before_the_point_stays() {
        assert_eq!(without_fill(b"000.5"), b"0.5");
        assert_eq!(without_fill(b"0"), b"0");
        assert_eq!(without_fill(b"0012"), b"12");
    }

    proptest! {
        #[test]
        fn a_printed_decimal_is_read_back(units in -(10_i128.pow(38) - 1)..10_i128.pow(38), scale in 0_u8..=38) {
            prop_assert_eq!(decimal(print_decimal(units, scale).as_bytes(), scale), Some(units));
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80), scale in any::<u8>()) {
            let _ = decimal(&bytes, scale);
        }
    }
}
