//! How to reach a server and as whom; made from the connection parameters (mysql-sources.md 1 and 2).

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use headwaters_model::secret::Secret;

use super::packets::ROW_BYTES_MAX;

/// The port of MySQL and MariaDB.
const PORT: u16 = 3306;

/// Everything that opening a connection needs. Copies are cheap enough to make one per connection.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// Where to connect, tried in the order that `load_balance` gives; at least one (mysql-sources.md 1.4).
    pub hosts: Vec<Endpoint>,
    /// The account's name; case-sensitive, may be empty.
    pub user: String,
    /// The account's password; may be empty.
    pub password: Secret,
    /// The default schema.
    pub database: Option<String>,
    /// Whether and how the channel is protected.
    pub tls: TlsOptions,
    /// The whole of TCP, TLS and authentication, for each host; none is no limit.
    pub connect_timeout: Option<Duration>,
    /// How long a metadata statement may take ([`super::Connection::query`] and its like); never limits a table read.
    pub statement_timeout: Option<Duration>,
    /// TCP keepalive in seconds; none leaves it off.
    pub keepalive_seconds: Option<u32>,
    /// zlib compression of the protocol, if the server offers it.
    pub compress: bool,
    /// Whether an RSA key may be asked from the server over an unprotected channel (mysql-sources.md 3.2).
    pub allow_public_key_retrieval: bool,
    /// The server's RSA key, pinned.
    pub server_public_key: Option<Pem>,
    /// Whether the password may be handed to the server in clear inside a verified channel (mysql-sources.md 3.5).
    pub enable_cleartext_plugin: bool,
    /// The plugin to begin with instead of the server's choice.
    pub default_auth_plugin: Option<String>,
    /// Whether the session counts as interactive, with `interactive_timeout` instead of `wait_timeout`.
    pub interactive: bool,
    /// The connection attribute `program_name`.
    pub program_name: String,
    /// In which order hosts are tried.
    pub load_balance: LoadBalance,
    /// A row above so many bytes is left out and counted; less than [`ROW_BYTES_MAX`] counts as [`ROW_BYTES_MAX`].
    pub row_bytes_max: usize,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            hosts: vec![Endpoint::Tcp { host: "localhost".to_owned(), port: PORT }],
            user: String::new(),
            password: Secret::default(),
            database: None,
            tls: TlsOptions::default(),
            connect_timeout: Some(Duration::from_secs(15)),
            statement_timeout: Some(Duration::from_secs(30)),
            keepalive_seconds: Some(60),
            compress: false,
            allow_public_key_retrieval: false,
            server_public_key: None,
            enable_cleartext_plugin: false,
            default_auth_plugin: None,
            interactive: false,
            program_name: concat!("headwaters/", env!("CARGO_PKG_VERSION")).to_owned(),
            load_balance: LoadBalance::FailOver,
            row_bytes_max: ROW_BYTES_MAX,
        }
    }
}

impl ConnectOptions {
    /// The same account on one host: all connections of one read must meet the same server (mysql-sources.md 1.4).
    #[must_use]
    pub fn pinned_to(&self, endpoint: &Endpoint) -> Self {
        Self { hosts: vec![endpoint.clone()], ..self.clone() }
    }
}

/// One place where a server listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A host name or an address, without brackets.
    Tcp {
        /// The name or the address.
        host: String,
        /// The port.
        port: u16,
    },
    /// A Unix socket.
    Socket(PathBuf),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Socket(path) => write!(f, "{}", path.display()),
        }
    }
}

/// In which order several hosts are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LoadBalance {
    /// As written, the first one that answers.
    #[default]
    FailOver,
    /// As written, but each connection of this process begins one further.
    RoundRobin,
    /// From an arbitrary one on. `LeastConnections` means this too: nothing is pooled here, so all have none.
    Random,
}

/// The ladder of `sslMode` (mysql-sources.md 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum TlsMode {
    /// Never.
    Disabled,
    /// If the server offers it; over a Unix socket not.
    #[default]
    Preferred,
    /// TLS or fail; the certificate is not checked.
    Required,
    /// The chain must lead to a trusted authority; the name is not checked.
    VerifyCa,
    /// The chain and the host's name.
    VerifyIdentity,
}

/// A version of TLS that we speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    /// 1.2
    Tls12,
    /// 1.3
    Tls13,
}

/// Whether and how the channel is protected (mysql-sources.md 4).
#[derive(Debug, Clone, Default)]
pub struct TlsOptions {
    /// The rung of the ladder.
    pub mode: TlsMode,
    /// The authorities to trust instead of the platform's.
    pub ca: Option<Pem>,
    /// What we show of ourselves.
    pub client: Option<ClientCertificate>,
    /// The versions to offer; empty means all.
    pub versions: Vec<TlsVersion>,
    /// The cipher suites to offer, in IANA's or OpenSSL's spelling; empty means the library's choice.
    pub cipher_suites: Vec<String>,
}

/// Public PEM text, or where it lies on the machine that connects.
#[derive(Clone, PartialEq, Eq)]
pub enum Pem {
    /// A file.
    Path(PathBuf),
    /// The text itself.
    Text(String),
}

/// The text stays hidden: people put a key into the file of its certificate.
impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => f.debug_tuple("Path").field(path).finish(),
            Self::Text(_) => f.debug_tuple("Text").finish_non_exhaustive(),
        }
    }
}

impl Pem {
    /// Reads a parameter: what begins like PEM is the text, anything else a path (mysql-sources.md 1.2).
    #[must_use]
    pub fn new(parameter: &str) -> Self {
        match parameter.trim_start().starts_with("-----BEGIN") {
            true => Self::Text(parameter.to_owned()),
            false => Self::Path(PathBuf::from(parameter)),
        }
    }
}

/// The certificate and key that an account with `REQUIRE X509` asks for.
#[derive(Debug, Clone)]
pub enum ClientCertificate {
    /// A certificate chain and its key in PEM; each the text or a path.
    Pem {
        /// The chain, the client's own certificate first.
        certificate: Pem,
        /// The private key, as text or path; secret.
        key: Secret,
    },
    /// A PKCS#12 file (`.pfx`).
    Pkcs12 {
        /// Where it lies.
        path: PathBuf,
        /// What opens it.
        password: Secret,
    },
}

/// Whether a cipher suite's name is one that we can offer.
#[must_use]
pub fn is_known_cipher_suite(name: &str) -> bool {
    super::tls::cipher_suite(name).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_ipv6_is_shown_in_brackets() {
        let endpoint = Endpoint::Tcp { host: "::1".to_owned(), port: 3306 };
        assert_eq!(endpoint.to_string(), "[::1]:3306");
    }

    #[test]
    fn a_parameter_that_begins_like_pem_is_the_text_itself() {
        assert_eq!(Pem::new("/etc/ca.pem"), Pem::Path(PathBuf::from("/etc/ca.pem")));
        assert!(matches!(Pem::new(" -----BEGIN CERTIFICATE-----\n"), Pem::Text(_)));
    }

    #[test]
    fn options_can_be_shown_without_the_password() {
        let ca = Some(Pem::Text("-----BEGIN PRIVATE KEY-----\nhunter2".to_owned()));
        let tls = TlsOptions { ca, ..TlsOptions::default() };
        let options = ConnectOptions { password: Secret::new("hunter2"), tls, ..ConnectOptions::default() };
        assert!(!format!("{options:?}").contains("hunter2"));
    }
}
