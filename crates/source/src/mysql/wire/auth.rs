//! Proving who we are: the plugins of mysql-sources.md 3, and what each may do on which channel.
//!
//! The first reply never carries more than a scramble. Plugins that hand over more, or need a longer nonce than the
//! greeting has, wait until the server asks for them by an *auth switch*.

use aws_lc_rs::rsa::{OAEP_SHA1_MGF1SHA1, OaepPublicEncryptingKey, PublicEncryptingKey};
use headwaters_model::source_error::{SourceError, SourceErrorKind};
use mysql_common::auth::plugins::{AuthProc, ChallengeResponsePlugin, Context, Response};
use mysql_common::io::ParseBuf;
use mysql_common::packets::{AuthPlugin, AuthSwitchRequest};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;

use super::files;
use super::greeting::Greeting;
use super::handshake::broken;
use super::options::{ConnectOptions, Endpoint};
use super::packets::{ERROR, Packets};
use super::server::{PasswordPath, Verified};
use crate::mysql::errors::{self, Peer};

/// Packets that a server may send before it decides.
const ROUNDS_MAX: usize = 32;
/// First bytes of what a server sends meanwhile.
const OK: u8 = 0x00;
const MORE_DATA: u8 = 0x01;
const NEXT_FACTOR: u8 = 0x02;
const SWITCH: u8 = 0xFE;
/// The plugin by which PAM asks questions.
const DIALOG: &[u8] = b"dialog";
/// How much work parsec may ask for: a server that wants more could keep us busy for minutes (mysql-sources.md 3.4).
const PARSEC_FACTOR_MAX: u8 = 3;
/// Algorithm, factor and salt of parsec.
const PARSEC_SALT_BYTES: usize = 20;
/// What caching_sha2_password answers: the cache knew the password, or it wants it whole.
const FAST: &[u8] = &[0x03];
const FULL: &[u8] = &[0x04];

/// The exchange after our first reply.
pub(super) struct Conversation<'a> {
    options: &'a ConnectOptions,
    peer: &'a Peer,
    verified: Option<Verified>,
    local: bool,
    plugin: AuthPlugin<'static>,
    procedure: AuthProc,
    nonce: Vec<u8>,
    awaits_key: bool,
    needs_pinned_key: bool,
    path: PasswordPath,
}

/// What a plugin may know.
struct Known<'a> {
    password: &'a [u8],
    nonce: &'a [u8],
    tls: bool,
    local: bool,
}

impl Context for Known<'_> {
    fn pass(&self) -> &[u8] {
        self.password
    }

    fn is_ipc_transport(&self) -> bool {
        self.local
    }

    fn is_tls_transport(&self) -> bool {
        self.tls
    }

    fn scramble(&self) -> &[u8] {
        self.nonce
    }

    /// Never told: whether and with which key the password may be encrypted is decided here, and done by a library that
    /// withstands any key (`mysql_common` panics on a short one).
    fn server_key_pem(&self) -> Option<&[u8]> {
        None
    }
}

impl<'a> Conversation<'a> {
    /// Begins with the plugin that the options or the server name, if its reply is a mere scramble.
    pub(super) fn new(
        options: &'a ConnectOptions,
        peer: &'a Peer,
        greeting: &Greeting,
        verified: Option<Verified>,
        local: bool,
    ) -> Self {
        let wanted = options.default_auth_plugin.as_ref().map_or(greeting.plugin.as_slice(), |name| name.as_bytes());
        let (plugin, procedure) = match AuthPlugin::from_bytes(wanted) {
            AuthPlugin::CachingSha2Password => {
                (AuthPlugin::CachingSha2Password, AuthProc::CachingSha2Password(Default::default()))
            }
            _ => (AuthPlugin::MysqlNativePassword, AuthProc::MysqlNativePassword(Default::default())),
        };
        let nonce = greeting.nonce.clone();
        let path = PasswordPath::Only;
        let (awaits_key, needs_pinned_key) = (false, false);
        Self { options, peer, verified, local, plugin, procedure, nonce, awaits_key, needs_pinned_key, path }
    }

    /// The plugin whose reply comes first.
    pub(super) fn plugin(&self) -> AuthPlugin<'static> {
        self.plugin.clone()
    }

    /// What the first packet says beside the account's name.
    pub(super) fn first_reply(&mut self) -> Result<Vec<u8>, SourceError> {
        let nonce = self.nonce.clone();
        self.reply(&nonce).map(Option::unwrap_or_default)
    }

    /// Answers the server until it lets us in or refuses. Returns the plugin's name and the password's way.
    pub(super) async fn carry_on(mut self, packets: &mut Packets) -> Result<(String, PasswordPath), SourceError> {
        for _ in 0..ROUNDS_MAX {
            let packet = packets.packet().await.map_err(|error| broken(self.peer, error))?;
            let mut reply = match packet.first() {
                Some(&OK) => return Ok((String::from_utf8_lossy(self.plugin.as_bytes()).into_owned(), self.path)),
                Some(&ERROR) => {
                    let error = errors::from_packet(self.peer, packet);
                    return Err(error.unwrap_or_else(|| errors::protocol(self.peer, "an error can not be read")));
                }
                Some(&SWITCH) => self.switch(packet)?,
                Some(&NEXT_FACTOR) => return Err(self.refuse("the account needs a second factor")),
                Some(&MORE_DATA) => self.reply(&packet[1..])?,
                // MariaDB marks only those packets of a plugin that could be taken for something else.
                _ if matches!(self.plugin, AuthPlugin::Parsec) => self.reply(packet)?,
                _ => return Err(errors::protocol(self.peer, "its answer to the authentication can not be read")),
            };
            if std::mem::take(&mut self.needs_pinned_key) {
                reply = Some(self.encrypted_for_pinned_key().await?);
            }
            if let Some(reply) = reply {
                packets.send(&reply).await.map_err(|error| broken(self.peer, error))?;
            }
        }
        Err(errors::protocol(self.peer, "the authentication does not come to an end"))
    }

    /// The server wants another plugin, with a nonce of its own.
    fn switch(&mut self, packet: &[u8]) -> Result<Option<Vec<u8>>, SourceError> {
        if packet.len() == 1 {
            self.plugin = AuthPlugin::MysqlOldPassword;
            return Err(self.refuse("its password hash is broken by design"));
        }
        let Ok(request) = ParseBuf(packet).parse::<AuthSwitchRequest<'_>>(()) else {
            return Err(errors::protocol(self.peer, "its request for another plugin can not be read"));
        };
        self.plugin = request.auth_plugin().into_owned();
        self.nonce = request.plugin_data().to_vec();
        self.awaits_key = false;
        self.path = PasswordPath::Only;
        self.procedure = match &self.plugin {
            AuthPlugin::MysqlOldPassword => return Err(self.refuse("its password hash is broken by design")),
            AuthPlugin::MysqlClearPassword => self.in_clear()?,
            AuthPlugin::Other(name) if name.as_ref() == DIALOG => self.in_clear()?,
            AuthPlugin::Other(_) => return Err(self.refuse("this client does not know it")),
            known => AuthProc::init(known).map_err(|_| self.refuse("this client does not know it"))?,
        };
        let sha2 = matches!(self.plugin, AuthPlugin::CachingSha2Password | AuthPlugin::Sha256Password);
        if sha2 && self.options.password.is_empty() {
            return Ok(Some(vec![0]));
        }
        let nonce = self.nonce.clone();
        self.reply(&nonce)
    }

    /// Runs one step of the plugin.
    fn reply(&mut self, challenge: &[u8]) -> Result<Option<Vec<u8>>, SourceError> {
        if std::mem::take(&mut self.awaits_key) {
            return self.encrypted(challenge).map(Some);
        }
        if self.plugin == AuthPlugin::Parsec && parsec_factor(challenge) > Some(PARSEC_FACTOR_MAX) {
            return Err(self.refuse("the server asks for more rounds of hashing than are known"));
        }
        let known = Known {
            password: self.options.password.expose().as_bytes(),
            nonce: &self.nonce,
            tls: self.verified.is_some(),
            local: self.local,
        };
        let response = self.procedure.run(known, challenge).map_err(|error| {
            let plugin = String::from_utf8_lossy(self.plugin.as_bytes());
            errors::protocol(self.peer, &format!("the authentication by {plugin} failed: {error}"))
        })?;
        if self.plugin == AuthPlugin::CachingSha2Password && challenge == FAST {
            self.path = PasswordPath::Fast;
        }
        match (&self.plugin, response) {
            (AuthPlugin::CachingSha2Password, Response::Next { packet: Some(request) }) if challenge == FULL => {
                self.encrypt_or_ask(request)
            }
            (AuthPlugin::Sha256Password, Response::Next { packet: Some(request) }) => self.encrypt_or_ask(request),
            (AuthPlugin::CachingSha2Password, Response::Last { packet }) if challenge == FULL => {
                self.path = PasswordPath::FullProtected;
                Ok(packet)
            }
            (AuthPlugin::Sha256Password, Response::Last { packet }) => {
                self.path = PasswordPath::FullProtected;
                Ok(packet)
            }
            (_, Response::Next { packet } | Response::Last { packet }) => Ok(packet),
        }
    }

    /// The server wants the whole password over a channel that does not protect it (mysql-sources.md 3.2).
    fn encrypt_or_ask(&mut self, key_request: Vec<u8>) -> Result<Option<Vec<u8>>, SourceError> {
        if self.options.server_public_key.is_some() {
            self.needs_pinned_key = true;
            return Ok(None);
        }
        // On this machine's own socket nobody stands in between.
        if self.options.allow_public_key_retrieval || self.local {
            self.awaits_key = true;
            return Ok(Some(key_request));
        }
        let plugin = String::from_utf8_lossy(self.plugin.as_bytes());
        let Peer { endpoint, user, .. } = self.peer;
        let message = format!(
            "{endpoint} wants the whole password of the account '{user}' ({plugin}), which a plain connection would betray"
        );
        Err(SourceError::definite(SourceErrorKind::Refused, message)
            .with_hint("use TLS, or a pinned server RSA key, or AllowPublicKeyRetrieval"))
    }

    async fn encrypted_for_pinned_key(&mut self) -> Result<Vec<u8>, SourceError> {
        let pinned = self.options.server_public_key.clone();
        let pem = files::blocking(move || {
            pinned.map_or(Ok(Vec::new()), |pem| files::read_pem(&pem, "serverRsaPublicKeyFile"))
        });
        let pem = pem.await?;
        self.encrypted(&pem)
    }

    /// Password and NUL, covered by the nonce, encrypted with the server's RSA key.
    fn encrypted(&mut self, pem: &[u8]) -> Result<Vec<u8>, SourceError> {
        let mut covered = [self.options.password.expose().as_bytes(), &[0]].concat();
        for (byte, cover) in covered.iter_mut().zip(self.nonce.iter().cycle()) {
            *byte ^= cover;
        }
        self.path = PasswordPath::FullRsa;
        encrypt(pem, &covered).ok_or_else(|| self.refuse("the server's RSA key is not usable for the password"))
    }

    /// The password in clear, only for those who asked for it, and only inside a verified channel (3.5).
    fn in_clear(&self) -> Result<AuthProc, SourceError> {
        let verified = matches!(self.verified, Some(Verified::Chain | Verified::ChainAndName));
        if !self.options.enable_cleartext_plugin {
            return Err(self.refuse("it hands the password to the server; EnableCleartextPlugin is not set"));
        }
        if !verified && !matches!(self.peer.endpoint, Endpoint::Socket(_)) {
            return Err(self
                .refuse("it hands the password to the server, and nobody checked who that is")
                .with_hint("set sslMode to verify_ca or verify_identity"));
        }
        Ok(AuthProc::MysqlClearPassword(Default::default()))
    }

    fn refuse(&self, why: &str) -> SourceError {
        let Peer { endpoint, user, .. } = self.peer;
        let plugin = String::from_utf8_lossy(self.plugin.as_bytes());
        let message = format!("can not authenticate the account '{user}' at {endpoint} by {plugin}: {why}");
        SourceError::definite(SourceErrorKind::Refused, message)
    }
}

/// The factor in parsec's second challenge; its first one, the nonce, is longer.
fn parsec_factor(challenge: &[u8]) -> Option<u8> {
    match challenge {
        [b'P', factor, ..] if challenge.len() == PARSEC_SALT_BYTES => Some(*factor),
        _ => None,
    }
}

/// RSA-OAEP with SHA-1, as both servers want it; none if the key or the length does not fit.
fn encrypt(pem: &[u8], plain: &[u8]) -> Option<Vec<u8>> {
    let der = SubjectPublicKeyInfoDer::from_pem_slice(pem).ok()?;
    let key = OaepPublicEncryptingKey::new(PublicEncryptingKey::from_der(&der).ok()?).ok()?;
    let mut out = vec![0; key.ciphertext_size()];
    let length = key.encrypt(&OAEP_SHA1_MGF1SHA1, plain, &mut out, None).ok()?.len();
    out.truncate(length);
    Some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::handshake::tests::meet;
    use super::*;

    const PLAIN: bool = false;

    fn options() -> ConnectOptions {
        ConnectOptions {
            user: "reader".to_owned(),
            password: headwaters_model::secret::Secret::new("hunter2"),
            enable_cleartext_plugin: true,
            ..ConnectOptions::default()
        }
    }

    fn switch(plugin: &str, nonce: &[u8]) -> Vec<u8> {
        [&[SWITCH][..], plugin.as_bytes(), &[0], nonce].concat()
    }

    #[tokio::test]
    async fn a_plain_server_never_gets_the_password_whatever_it_asks_for() {
        let nonce = b"abcdefghijklmnopqrst\0";
        for (says, reason) in [
            (vec![switch("mysql_clear_password", b"")], "nobody checked"),
            (vec![switch("dialog", b"\x04Password: ")], "nobody checked"),
            (vec![switch("mysql_old_password", b"12345678")], "broken by design"),
            (vec![vec![SWITCH]], "broken by design"),
            (vec![switch("auth_gssapi_client", b"x")], "does not know it"),
            (vec![switch("caching_sha2_password", nonce), vec![MORE_DATA, 4]], "plain connection would betray"),
            (vec![switch("sha256_password", nonce)], "plain connection would betray"),
            (vec![vec![NEXT_FACTOR, b'x', 0]], "second factor"),
        ] {
            let (outcome, said) = meet(&options(), PLAIN, b"mysql_native_password", says).await;
            let error = outcome.unwrap_err();
            assert_eq!(error.fault().kind, SourceErrorKind::Refused, "{error}");
            assert!(error.fault().message.contains(reason), "{error}");
            assert!(error.fault().message.contains("'reader'"), "{error}");
            assert!(!said.windows(7).any(|window| window == b"hunter2"));
        }
    }

    #[tokio::test]
    async fn the_first_reply_is_a_scramble_even_if_the_server_names_a_plugin_that_wants_more() {
        for plugin in [&b"mysql_clear_password"[..], b"sha256_password", b"dialog", b"client_ed25519", b"parsec", b""] {
            let (outcome, said) = meet(&options(), PLAIN, plugin, vec![b"\x00\x00\x00\x02\x00\x00\x00".to_vec()]).await;
            outcome.unwrap();
            assert!(!said.windows(7).any(|window| window == b"hunter2"));
            assert!(said.windows(21).any(|window| window == b"mysql_native_password"));
        }
    }

    #[tokio::test]
    async fn a_key_from_the_server_is_not_trusted_to_be_one() {
        let nonce = b"abcdefghijklmnopqrst\0";
        let allowed = ConnectOptions { allow_public_key_retrieval: true, ..options() };
        for key in ["", "no PEM", "-----BEGIN PUBLIC KEY-----\nMA==\n-----END PUBLIC KEY-----\n"] {
            let sent = [&[MORE_DATA][..], key.as_bytes()].concat();
            let says = vec![switch("caching_sha2_password", nonce), vec![MORE_DATA, 4], sent];
            let (outcome, _) = meet(&allowed, PLAIN, b"caching_sha2_password", says).await;
            assert!(outcome.unwrap_err().fault().message.contains("RSA key"), "{key}");
        }
    }

    #[tokio::test]
    async fn parsec_does_no_more_work_than_is_known() {
        let salt = [&[b'P', 20][..], &[7; 18]].concat();
        let says = vec![switch("parsec", &[1; 32]), salt];
        let (outcome, _) = meet(&options(), PLAIN, b"mysql_native_password", says).await;
        assert!(outcome.unwrap_err().fault().message.contains("rounds of hashing"));
    }

    #[test]
    fn a_password_that_does_not_fit_the_key_is_refused_and_not_cut() {
        assert_eq!(encrypt(b"no key", b"hunter2"), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn nothing_that_a_server_says_can_make_us_panic(
            plugin in "mysql_native_password|caching_sha2_password|parsec|client_ed25519|sha256_password|[a-z]{0,8}",
            nonce in proptest::collection::vec(any::<u8>(), 0..40),
            says in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..24), 0..4),
            more: bool,
        ) {
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
                let mark = |packet: Vec<u8>| if more { [vec![MORE_DATA], packet].concat() } else { packet };
                let says = [vec![switch(&plugin, &nonce)], says.into_iter().map(mark).collect()].concat();
                let _ = meet(&options(), PLAIN, b"mysql_native_password", says).await;
            });
        }
    }
}
