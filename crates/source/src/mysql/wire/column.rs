//! What a server says about a column of a result set.

use std::sync::Arc;

use mysql_common::constants::{ColumnFlags, ColumnType};
use mysql_common::io::ParseBuf;

/// The collation id of values that are bytes, not text.
const COLLATION_BINARY: u16 = 63;
/// Tags in MariaDB's extended metadata.
const EXTENDED_TYPE: u8 = 0;
const EXTENDED_FORMAT: u8 = 1;
/// Bytes of the fixed part of a column definition.
const FIXED_BYTES: u64 = 12;

/// The definition of one column of a result set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnDef {
    /// The schema it comes from; empty for an expression.
    pub schema: String,
    /// The table's alias.
    pub table: String,
    /// The table itself; empty for an expression.
    pub org_table: String,
    /// The column's label.
    pub name: String,
    /// The column itself; empty for an expression.
    pub org_name: String,
    /// Its type on the wire; `MYSQL_TYPE_UNKNOWN` for a number that we do not know.
    pub column_type: ColumnType,
    /// Not null, unsigned, key, …
    pub flags: ColumnFlags,
    /// The id of its collation; 63 is bytes.
    pub character_set: u16,
    /// The widest value in bytes of the connection's character set.
    pub length: u32,
    /// Digits after the point; 31 (0x1f) means as many as there are.
    pub decimals: u8,
    /// MariaDB's name of a type that looks like another one on the wire: `uuid`, `inet6`, `point`, …
    pub extended_type: Option<String>,
    /// MariaDB's name of the values' format: `json`.
    pub extended_format: Option<String>,
}

impl ColumnDef {
    /// Whether the numbers are unsigned.
    #[must_use]
    pub fn is_unsigned(&self) -> bool {
        self.flags.contains(ColumnFlags::UNSIGNED_FLAG)
    }

    /// Whether the values are bytes without a character set.
    #[must_use]
    pub fn is_binary(&self) -> bool {
        self.character_set == COLLATION_BINARY
    }

    /// Reads a column definition packet; none if it is not one. `extended` tells whether MariaDB's extended metadata
    /// was negotiated, which adds a field.
    pub(super) fn parse(packet: &[u8], extended: bool) -> Option<Self> {
        let mut buf = ParseBuf(packet);
        let _catalog = buf.checked_eat_lenenc_str()?;
        let schema = text(buf.checked_eat_lenenc_str()?);
        let table = text(buf.checked_eat_lenenc_str()?);
        let org_table = text(buf.checked_eat_lenenc_str()?);
        let name = text(buf.checked_eat_lenenc_str()?);
        let org_name = text(buf.checked_eat_lenenc_str()?);
        let (extended_type, extended_format) = match extended {
            true => extended_metadata(buf.checked_eat_lenenc_str()?)?,
            false => (None, None),
        };
        if buf.checked_eat_lenenc_int()? != FIXED_BYTES {
            return None;
        }
        Some(Self {
            schema,
            table,
            org_table,
            name,
            org_name,
            extended_type,
            extended_format,
            character_set: buf.checked_eat_u16_le()?,
            length: buf.checked_eat_u32_le()?,
            column_type: ColumnType::try_from(buf.checked_eat_u8()?).unwrap_or(ColumnType::MYSQL_TYPE_UNKNOWN),
            flags: ColumnFlags::from_bits_truncate(buf.checked_eat_u16_le()?),
            decimals: buf.checked_eat_u8()?,
        })
    }
}

/// The columns of a result set, shared by its rows.
pub(super) type Columns = Arc<[ColumnDef]>;

/// Names travel in the connection's character set, utf8mb4.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Reads pairs of a tag and a value; unknown tags are skipped.
fn extended_metadata(bytes: &[u8]) -> Option<(Option<String>, Option<String>)> {
    let mut buf = ParseBuf(bytes);
    let (mut extended_type, mut extended_format) = (None, None);
    while let Some(tag) = buf.checked_eat_u8() {
        let value = text(buf.checked_eat_lenenc_str()?);
        match tag {
            EXTENDED_TYPE => extended_type = Some(value),
            EXTENDED_FORMAT => extended_format = Some(value),
            _ => {}
        }
    }
    Some((extended_type, extended_format))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(extended: Option<&[u8]>) -> Vec<u8> {
        let mut packet = Vec::new();
        for part in [&b"def"[..], b"shop", b"o", b"orders", b"id", b"order_id"] {
            packet.push(u8::try_from(part.len()).unwrap());
            packet.extend_from_slice(part);
        }
        if let Some(extended) = extended {
            packet.push(u8::try_from(extended.len()).unwrap());
            packet.extend_from_slice(extended);
        }
        packet.extend_from_slice(&[0x0c, 63, 0, 20, 0, 0, 0, 8, 0x21, 0, 0, 0, 0]);
        packet
    }

    #[test]
    fn a_definition_is_read_field_by_field() {
        let column = ColumnDef::parse(&packet(None), false).unwrap();
        assert_eq!((column.schema.as_str(), column.org_table.as_str()), ("shop", "orders"));
        assert_eq!((column.name.as_str(), column.org_name.as_str()), ("id", "order_id"));
        assert_eq!(column.column_type, ColumnType::MYSQL_TYPE_LONGLONG);
        assert_eq!((column.length, column.decimals), (20, 0));
        assert!(column.is_unsigned() && column.is_binary());
    }

    #[test]
    fn mariadb_names_types_that_look_like_text() {
        let column = ColumnDef::parse(&packet(Some(b"\x00\x04uuid\x01\x04json\x07\x01x")), true).unwrap();
        assert_eq!(column.extended_type.as_deref(), Some("uuid"));
        assert_eq!(column.extended_format.as_deref(), Some("json"));
    }

    #[test]
    fn a_type_that_is_not_known_yet_is_kept_as_unknown() {
        let mut packet = packet(None);
        let place = packet.len() - 6;
        packet[place] = 0x99;
        assert_eq!(ColumnDef::parse(&packet, false).unwrap().column_type, ColumnType::MYSQL_TYPE_UNKNOWN);
    }

    proptest! {
        #[test]
        fn no_bytes_can_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), extended: bool) {
            let _ = ColumnDef::parse(&bytes, extended);
        }

        #[test]
        fn a_cut_definition_is_none(cut in 0_usize..54) {
            let packet = packet(Some(b"\x00\x04uuid"));
            // The last two bytes are a filler.
            prop_assume!(cut < packet.len() - 2);
            prop_assert_eq!(ColumnDef::parse(&packet[..cut], true), None);
        }
    }
}
