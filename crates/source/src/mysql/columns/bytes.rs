//! Values whose bytes are rewritten on their way: durations, GUIDs, geometries.

use std::fmt;

use super::temporal::Duration;
use crate::mysql::types::GuidLayout;

/// Lets `write!` append to bytes.
struct Utf8<'a>(&'a mut Vec<u8>);

impl fmt::Write for Utf8<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// Appends a duration as text.
pub(super) fn write_time(out: &mut Vec<u8>, time: Duration, fraction_digits: u8) {
    // Appending to a vector never fails.
    let _ = time.write(&mut Utf8(out), fraction_digits);
}

/// Appends a GUID as its 36 characters in lower case.
pub(super) fn write_guid(out: &mut Vec<u8>, stored: &[u8; 16], layout: GuidLayout) {
    let [a, b, c, d, e, f, g, h, tail @ ..] = *stored;
    let head = match layout {
        GuidLayout::Binary16 => [a, b, c, d, e, f, g, h],
        GuidLayout::TimeSwapBinary16 => [e, f, g, h, c, d, a, b],
        GuidLayout::LittleEndianBinary16 => [d, c, b, a, f, e, h, g],
    };
    for (index, byte) in head.into_iter().chain(tail).enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        push_hex(out, byte);
    }
}

/// Bytes in hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    let mut out = Vec::with_capacity(bytes.len() * 2);
    bytes.iter().for_each(|&byte| push_hex(&mut out, byte));
    String::from_utf8(out).unwrap_or_default()
}

fn push_hex(out: &mut Vec<u8>, byte: u8) {
    const fn digit(nibble: u8) -> u8 {
        if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }
    }
    out.extend([digit(byte >> 4), digit(byte & 15)]);
}

/// Set in a geometry's type number when a SRID follows it (EWKB).
const SRID_FLAG: u32 = 0x2000_0000;

/// Appends a geometry of the server, four bytes of SRID and WKB, as EWKB: plain WKB when the SRID is 0
/// (mysql-sources.md 8.4). What is too short to be one is appended as it is.
pub(super) fn write_ewkb(out: &mut Vec<u8>, geometry: &[u8]) {
    let Some((srid, wkb)) = geometry.split_first_chunk::<4>() else { return out.extend_from_slice(geometry) };
    let (Some((&order, rest)), true) = (wkb.split_first(), *srid != [0; 4]) else {
        return out.extend_from_slice(wkb);
    };
    let Some((kind, body)) = rest.split_first_chunk::<4>() else { return out.extend_from_slice(wkb) };
    let srid = u32::from_le_bytes(*srid);
    out.push(order);
    if order == 0 {
        out.extend((u32::from_be_bytes(*kind) | SRID_FLAG).to_be_bytes());
        out.extend(srid.to_be_bytes());
    } else {
        out.extend((u32::from_le_bytes(*kind) | SRID_FLAG).to_le_bytes());
        out.extend(srid.to_le_bytes());
    }
    out.extend_from_slice(body);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn guid(layout: GuidLayout) -> String {
        let stored: [u8; 16] = std::array::from_fn(|index| u8::try_from(index * 17).unwrap());
        let mut out = Vec::new();
        write_guid(&mut out, &stored, layout);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn guids_are_put_back_into_their_printed_order() {
        assert_eq!(guid(GuidLayout::Binary16), "00112233-4455-6677-8899-aabbccddeeff");
        assert_eq!(guid(GuidLayout::TimeSwapBinary16), "44556677-2233-0011-8899-aabbccddeeff");
        assert_eq!(guid(GuidLayout::LittleEndianBinary16), "33221100-5544-7766-8899-aabbccddeeff");
    }

    #[test]
    fn a_srid_is_written_where_ewkb_wants_it() {
        let point = [1, 1, 0, 0, 0, 9, 9];
        let mut plain = Vec::new();
        write_ewkb(&mut plain, &[&[0, 0, 0, 0][..], &point].concat());
        assert_eq!(plain, point);
        let mut mercator = Vec::new();
        write_ewkb(&mut mercator, &[&3857_u32.to_le_bytes()[..], &point].concat());
        assert_eq!(hex(&mercator), "0101000020110f00000909");
    }

    proptest! {
        #[test]
        fn no_geometry_panics(bytes in proptest::collection::vec(any::<u8>(), 0..20)) {
            let mut out = Vec::new();
            write_ewkb(&mut out, &bytes);
        }
    }
}
