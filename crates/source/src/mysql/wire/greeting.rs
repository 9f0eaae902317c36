//! The first packet of a server, and what of it both sides agree on.
//!
//! All of it is untrusted: it came in clear. Only version, nonce and capabilities are taken from it.

use mysql_common::constants::{CapabilityFlags, MariadbCapabilities};
use mysql_common::io::ParseBuf;
use mysql_common::packets::HandshakePacket;

use super::options::ConnectOptions;
use super::server::{Flavour, Server, Version};

/// The only version of the protocol that is alive.
const PROTOCOL_VERSION: u8 = 10;
/// Bytes between the end of the version's text and the length of the nonce.
const BYTES_BEFORE_NONCE_LENGTH: usize = 20;

/// What a server says of itself before anything else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Greeting {
    pub(super) flavour: Flavour,
    pub(super) version: Version,
    pub(super) version_text: String,
    pub(super) connection_id: u32,
    pub(super) nonce: Vec<u8>,
    pub(super) plugin: Vec<u8>,
    pub(super) capabilities: CapabilityFlags,
    pub(super) extended: MariadbCapabilities,
}

impl Greeting {
    /// Reads a greeting; none if it is not one that we understand.
    pub(super) fn parse(packet: &[u8]) -> Option<Self> {
        if packet.first() != Some(&PROTOCOL_VERSION) || !nonce_length_is_sane(packet) {
            return None;
        }
        let handshake: HandshakePacket<'_> = ParseBuf(packet).parse(()).ok()?;
        let (flavour, version, version_text) = Server::recognise(&handshake.server_version_str());
        let capabilities = handshake.capabilities();
        // MySQL keeps those bytes for itself; MariaDB tells by the missing bit that they hold its capabilities.
        let extended = match capabilities.contains(CapabilityFlags::CLIENT_LONG_PASSWORD) {
            true => MariadbCapabilities::empty(),
            false => handshake.mariadb_ext_capabilities(),
        };
        Some(Self {
            flavour,
            version,
            version_text,
            connection_id: handshake.connection_id(),
            nonce: handshake.nonce(),
            plugin: handshake.auth_plugin_name_ref().unwrap_or_default().to_vec(),
            capabilities,
            extended,
        })
    }

    /// What we want of what the server offers; TLS is decided elsewhere.
    pub(super) fn agree(&self, options: &ConnectOptions) -> (CapabilityFlags, MariadbCapabilities) {
        let mut wanted = CapabilityFlags::CLIENT_PROTOCOL_41
            | CapabilityFlags::CLIENT_SECURE_CONNECTION
            | CapabilityFlags::CLIENT_LONG_FLAG
            | CapabilityFlags::CLIENT_TRANSACTIONS
            | CapabilityFlags::CLIENT_PLUGIN_AUTH
            | CapabilityFlags::CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA
            | CapabilityFlags::CLIENT_CONNECT_ATTRS
            | CapabilityFlags::CLIENT_DEPRECATE_EOF;
        // MariaDB reads our extended capabilities only if this bit, which it calls CLIENT_MYSQL, is missing.
        wanted.set(CapabilityFlags::CLIENT_LONG_PASSWORD, self.extended.is_empty());
        wanted.set(CapabilityFlags::CLIENT_CONNECT_WITH_DB, options.database.is_some());
        wanted.set(CapabilityFlags::CLIENT_COMPRESS, options.compress);
        let extended = self.extended & MariadbCapabilities::MARIADB_CLIENT_EXTENDED_METADATA;
        let mut agreed = wanted & self.capabilities;
        // Not a thing to agree on: how long a session may idle is the client's word alone.
        agreed.set(CapabilityFlags::CLIENT_INTERACTIVE, options.interactive);
        (agreed, extended)
    }
}

/// Guards `mysql_common`, whose arithmetic on this byte is signed and overflows from 128 on.
fn nonce_length_is_sane(packet: &[u8]) -> bool {
    let Some(version_end) = packet.iter().position(|byte| *byte == 0) else { return false };
    packet.get(version_end + 1 + BYTES_BEFORE_NONCE_LENGTH).is_some_and(|length| *length < 128)
}

#[cfg(test)]
mod tests {
    use mysql_common::constants::StatusFlags;
    use mysql_common::proto::MySerialize;
    use proptest::prelude::*;

    use super::*;

    fn greeting(version: &[u8], capabilities: CapabilityFlags, extended: MariadbCapabilities) -> Vec<u8> {
        let packet = HandshakePacket::new(
            PROTOCOL_VERSION,
            version.to_vec(),
            42,
            *b"01234567",
            Some(b"890123456789\0".to_vec()),
            capabilities,
            45,
            StatusFlags::empty(),
            Some(b"mysql_native_password".to_vec()),
        )
        .with_mariadb_ext_capabilities(extended);
        let mut bytes = Vec::new();
        packet.serialize(&mut bytes);
        bytes
    }

    const OFFERED: CapabilityFlags = CapabilityFlags::CLIENT_PROTOCOL_41
        .union(CapabilityFlags::CLIENT_SECURE_CONNECTION)
        .union(CapabilityFlags::CLIENT_PLUGIN_AUTH)
        .union(CapabilityFlags::CLIENT_COMPRESS)
        .union(CapabilityFlags::CLIENT_LOCAL_FILES)
        .union(CapabilityFlags::CLIENT_DEPRECATE_EOF);

    #[test]
    fn mariadb_is_offered_its_extended_metadata() {
        let all = MariadbCapabilities::all();
        let greeting = Greeting::parse(&greeting(b"5.5.5-10.11.19-MariaDB\0", OFFERED, all)).unwrap();
        assert_eq!((greeting.flavour, greeting.connection_id), (Flavour::MariaDb, 42));
        assert_eq!(greeting.nonce, b"01234567890123456789");
        assert_eq!(greeting.plugin, b"mysql_native_password");
        let (agreed, extended) = greeting.agree(&ConnectOptions::default());
        assert_eq!(extended, MariadbCapabilities::MARIADB_CLIENT_EXTENDED_METADATA);
        assert!(!agreed.contains(CapabilityFlags::CLIENT_LONG_PASSWORD));
    }

    #[test]
    fn mysql_gets_no_extended_capabilities() {
        let offered = OFFERED | CapabilityFlags::CLIENT_LONG_PASSWORD;
        let greeting = Greeting::parse(&greeting(b"9.7.4\0", offered, MariadbCapabilities::all())).unwrap();
        let (agreed, extended) = greeting.agree(&ConnectOptions::default());
        assert!(extended.is_empty());
        assert!(agreed.contains(CapabilityFlags::CLIENT_LONG_PASSWORD));
    }

    #[test]
    fn files_are_never_offered_and_compression_only_when_asked_for() {
        let greeting = Greeting::parse(&greeting(b"9.7.4\0", OFFERED, MariadbCapabilities::empty())).unwrap();
        let (agreed, _) = greeting.agree(&ConnectOptions::default());
        assert!(!agreed.intersects(CapabilityFlags::CLIENT_LOCAL_FILES | CapabilityFlags::CLIENT_COMPRESS));
        let (agreed, _) = greeting.agree(&ConnectOptions { compress: true, ..ConnectOptions::default() });
        assert!(agreed.contains(CapabilityFlags::CLIENT_COMPRESS));
    }

    proptest! {
        #[test]
        fn no_bytes_can_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _ = Greeting::parse(&bytes);
        }

        #[test]
        fn no_change_of_a_byte_can_make_the_reader_panic(place in 0_usize..90, byte: u8) {
            let mut bytes = greeting(b"5.5.5-10.11.19-MariaDB\0", OFFERED, MariadbCapabilities::all());
            if let Some(target) = bytes.get_mut(place) {
                *target = byte;
            }
            let _ = Greeting::parse(&bytes);
        }
    }
}
