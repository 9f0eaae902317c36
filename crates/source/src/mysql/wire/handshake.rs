//! From a host to a connection that passed authentication: socket, greeting, TLS, authentication, compression.

use std::collections::HashMap;

use headwaters_model::source_error::{SourceError, SourceErrorKind};
use mysql_common::collations::CollationId;
use mysql_common::constants::CapabilityFlags;
use mysql_common::packets::{HandshakeResponse, SslRequest};
use mysql_common::proto::MySerialize;

use super::auth::Conversation;
use super::greeting::Greeting;
use super::options::{ConnectOptions, Endpoint, TlsMode};
use super::packets::{ERROR, PacketError, Packets};
use super::server::{Flavour, PasswordPath, Server, Tls};
use super::stream::{PlainStream, Stream};
use super::tls;
use crate::mysql::errors::{self, Peer};

/// The longest packet that we accept, the protocol's own limit; rows are limited elsewhere.
const MAX_ALLOWED_PACKET: u32 = 1 << 30;

/// Connects to one host.
pub(super) async fn establish(
    options: &ConnectOptions,
    endpoint: &Endpoint,
) -> Result<(Packets, Server, Peer), SourceError> {
    let stream = PlainStream::connect(endpoint, options.keepalive_seconds).await?;
    introduce(stream, options, endpoint).await
}

/// Everything after the socket.
pub(super) async fn introduce(
    stream: PlainStream,
    options: &ConnectOptions,
    endpoint: &Endpoint,
) -> Result<(Packets, Server, Peer), SourceError> {
    let local = stream.is_local();
    // Until the greeting is read nobody knows whose numbers they are; those that come before it are shared.
    let user = options.user.clone();
    let mut peer = Peer { flavour: Flavour::MySql, endpoint: endpoint.clone(), user, tls: false };
    let mut packets = Packets::new(Stream::Plain(stream));
    let greeting = greet(&mut packets, &peer).await?;
    peer.flavour = greeting.flavour;

    let (mut capabilities, extended) = greeting.agree(options);
    let mut protected = None;
    if wants_tls(&greeting, options.tls.mode, local, endpoint)? {
        capabilities |= CapabilityFlags::CLIENT_SSL;
        let request = SslRequest::new(capabilities, MAX_ALLOWED_PACKET, CollationId::UTF8MB4_GENERAL_CI as u8)
            .with_mariadb_capabilities(extended);
        let (inside, tls) = upgrade(packets, &serialized(&request), options, &peer).await?;
        packets = inside;
        protected = Some(tls);
        peer.tls = true;
    }

    let mut conversation =
        Conversation::new(options, &peer, &greeting, protected.as_ref().map(|tls| tls.verified), local);
    let first = conversation.first_reply()?;
    let response = HandshakeResponse::new(
        Some(first),
        (greeting.version.major, greeting.version.minor, greeting.version.patch),
        Some(options.user.as_bytes()),
        options.database.as_ref().map(|database| database.as_bytes()),
        capabilities.contains(CapabilityFlags::CLIENT_PLUGIN_AUTH).then(|| conversation.plugin()),
        capabilities,
        capabilities.contains(CapabilityFlags::CLIENT_CONNECT_ATTRS).then(|| attributes(options)),
        MAX_ALLOWED_PACKET,
    )
    .with_mariadb_ext_capabilities(extended);
    let response = serialized(&response);
    packets.send(&response).await.map_err(|error| broken(&peer, error))?;
    let (auth_plugin, password_path) = conversation.carry_on(&mut packets).await?;

    if capabilities.contains(CapabilityFlags::CLIENT_COMPRESS) {
        packets.compress();
    }
    let server = server(greeting, capabilities, extended, protected, (auth_plugin, password_path), endpoint);
    Ok((packets, server, peer))
}

fn server(
    greeting: Greeting,
    capabilities: CapabilityFlags,
    extended: mysql_common::constants::MariadbCapabilities,
    tls: Option<Tls>,
    (auth_plugin, password_path): (String, PasswordPath),
    endpoint: &Endpoint,
) -> Server {
    Server {
        flavour: greeting.flavour,
        version: greeting.version,
        version_text: greeting.version_text,
        connection_id: greeting.connection_id,
        capabilities,
        extended,
        tls,
        auth_plugin,
        password_path,
        endpoint: endpoint.clone(),
    }
}

async fn greet(packets: &mut Packets, peer: &Peer) -> Result<Greeting, SourceError> {
    const ODD: &str = "its greeting is not that of MySQL or MariaDB";
    let packet = packets.packet().await.map_err(|error| match error {
        PacketError::Protocol(_) => errors::protocol(peer, ODD),
        other => broken(peer, other),
    })?;
    if packet.first() == Some(&ERROR) {
        return Err(errors::from_packet(peer, packet).unwrap_or_else(|| errors::protocol(peer, ODD)));
    }
    Greeting::parse(packet).ok_or_else(|| errors::protocol(peer, ODD))
}

/// Preferred means: plain only if the greeting offers nothing else (mysql-sources.md 4).
fn wants_tls(greeting: &Greeting, mode: TlsMode, local: bool, endpoint: &Endpoint) -> Result<bool, SourceError> {
    let offered = greeting.capabilities.contains(CapabilityFlags::CLIENT_SSL);
    match mode {
        TlsMode::Disabled => Ok(false),
        TlsMode::Preferred => Ok(offered && !local),
        _ if offered => Ok(true),
        _ => {
            let message = format!("{endpoint} does not offer TLS, but the connection asks for it");
            Err(SourceError::definite(SourceErrorKind::Tls, message)
                .with_hint("switch TLS on at the server, or set sslMode to preferred to accept a plain connection"))
        }
    }
}

/// After the request there is no way back to a plain connection.
async fn upgrade(
    mut packets: Packets,
    request: &[u8],
    options: &ConnectOptions,
    peer: &Peer,
) -> Result<(Packets, Tls), SourceError> {
    packets.send(request).await.map_err(|error| broken(peer, error))?;
    let plain = packets.into_plain();
    let (plain, sequence) = plain.ok_or_else(|| errors::protocol(peer, "it is under TLS already"))?;
    let (stream, tls) = tls::protect(plain, &peer.endpoint, &options.tls).await?;
    Ok((Packets::resumed(Stream::Tls(Box::new(stream)), sequence), tls))
}

/// What administrators see in `performance_schema.session_connect_attrs`.
fn attributes(options: &ConnectOptions) -> HashMap<String, String> {
    [
        ("_client_name", "headwaters".to_owned()),
        ("_client_version", env!("CARGO_PKG_VERSION").to_owned()),
        ("_os", std::env::consts::OS.to_owned()),
        ("_platform", std::env::consts::ARCH.to_owned()),
        ("_pid", std::process::id().to_string()),
        ("program_name", options.program_name.clone()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

pub(super) fn serialized(packet: &impl MySerialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.serialize(&mut bytes);
    bytes
}

/// A conversation that broke before it was finished.
pub(super) fn broken(peer: &Peer, error: PacketError) -> SourceError {
    match error {
        PacketError::Protocol(what) => errors::protocol(peer, what),
        PacketError::Closed | PacketError::Io(_) => errors::lost(peer, error),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use headwaters_model::secret::Secret;
    use mysql_common::constants::StatusFlags;
    use mysql_common::packets::HandshakePacket;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::timeout;

    use super::super::options::TlsOptions;
    use super::super::packets::tests::framed;
    use super::*;

    /// An OK that would end an authentication.
    const OK: &[u8] = &[0, 0, 0, 2, 0, 0, 0];

    fn greeting(plugin: &[u8], offers_tls: bool) -> Vec<u8> {
        let mut capabilities = CapabilityFlags::CLIENT_PROTOCOL_41
            | CapabilityFlags::CLIENT_SECURE_CONNECTION
            | CapabilityFlags::CLIENT_PLUGIN_AUTH
            | CapabilityFlags::CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA;
        capabilities.set(CapabilityFlags::CLIENT_SSL, offers_tls);
        serialized(&HandshakePacket::new(
            10,
            b"11.8.0-MariaDB".to_vec(),
            1,
            *b"01234567",
            Some(b"890123456789\0".to_vec()),
            capabilities,
            45,
            StatusFlags::empty(),
            Some(plugin.to_vec()),
        ))
    }

    /// What becomes of us at a server that greets, then says these things, whatever we answer; and all that we said.
    pub(in super::super) async fn meet(
        options: &ConnectOptions,
        offers_tls: bool,
        plugin: &[u8],
        says: Vec<Vec<u8>>,
    ) -> (Result<(), SourceError>, Vec<u8>) {
        let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
        let mut bytes = framed(&greeting(plugin, offers_tls), 0);
        for (payload, sequence) in says.iter().zip((2_u8..).step_by(2)) {
            bytes.extend(framed(payload, sequence));
        }
        theirs.write_all(&bytes).await.unwrap();
        let endpoint = Endpoint::Tcp { host: "db".to_owned(), port: 3306 };
        let patience = Duration::from_millis(200);
        let met = timeout(patience, introduce(PlainStream::Memory(ours), options, &endpoint)).await;
        let nothing_more = || SourceError::transient(SourceErrorKind::Lost, "nothing more was said");
        let outcome = met.unwrap_or_else(|_| Err(nothing_more())).map(drop);
        let mut said = Vec::new();
        theirs.read_to_end(&mut said).await.unwrap();
        (outcome, said)
    }

    fn under(mode: TlsMode) -> ConnectOptions {
        ConnectOptions {
            user: "reader".to_owned(),
            password: Secret::new("hunter2"),
            tls: TlsOptions { mode, ..TlsOptions::default() },
            ..ConnectOptions::default()
        }
    }

    #[tokio::test]
    async fn what_was_injected_before_tls_is_dropped_and_there_is_no_way_back_to_plain() {
        for mode in [TlsMode::Preferred, TlsMode::Required] {
            let (outcome, said) = meet(&under(mode), true, b"mysql_native_password", vec![OK.to_vec()]).await;
            assert!(outcome.is_err(), "an OK from before TLS lets nobody in");
            assert!(!said.windows(6).any(|window| window == b"reader"), "the account is named inside TLS only");
            // A request of 32 bytes, then the first record of TLS.
            assert_eq!(said.get(36), Some(&0x16), "{mode:?}");
        }
    }

    #[tokio::test]
    async fn a_greeting_without_tls_gets_no_answer_from_those_who_demand_it() {
        for mode in [TlsMode::Required, TlsMode::VerifyCa, TlsMode::VerifyIdentity] {
            let (outcome, said) = meet(&under(mode), false, b"mysql_native_password", vec![OK.to_vec()]).await;
            assert_eq!(outcome.unwrap_err().fault().kind, SourceErrorKind::Tls);
            assert!(said.is_empty());
        }
        let (outcome, _) = meet(&under(TlsMode::Preferred), false, b"mysql_native_password", vec![OK.to_vec()]).await;
        outcome.unwrap();
    }
}
