//! Who answered, and how we came in.

use std::fmt;

use mysql_common::constants::{CapabilityFlags, MariadbCapabilities};

use super::options::Endpoint;

/// What MariaDB up to 10.x puts before its version so that old replicas accept it.
const REPLICATION_PREFIX: &str = "5.5.5-";

/// Whose server it is; features are probed all the same (mysql-sources.md 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flavour {
    /// MariaDB.
    MariaDb,
    /// MySQL, or something that speaks like it.
    MySql,
    /// Percona Server, MySQL's grammar and error numbers.
    Percona,
}

impl Flavour {
    /// Whether MariaDB's grammar, variables and error numbers apply instead of MySQL's.
    #[must_use]
    pub fn is_mariadb(self) -> bool {
        self == Self::MariaDb
    }
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MariaDb => "MariaDB",
            Self::MySql => "MySQL",
            Self::Percona => "Percona Server",
        })
    }
}

/// A version, compared as numbers: 5.7, 8.4, 9.7, 10.11 and 26.1 are in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Version {
    /// The first number.
    pub major: u16,
    /// The second.
    pub minor: u16,
    /// The third.
    pub patch: u16,
}

impl Version {
    /// A version to compare with.
    #[must_use]
    pub const fn new(major: u16, minor: u16, patch: u16) -> Self {
        Self { major, minor, patch }
    }

    /// Reads the numbers at the head of a version's text; what is missing or too big is zero.
    fn parse(text: &str) -> Self {
        let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(|digits| digits.parse().unwrap_or(0));
        let mut next = || numbers.next().unwrap_or(0);
        Self { major: next(), minor: next(), patch: next() }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// How far the server's certificate was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verified {
    /// Not at all.
    No,
    /// The chain leads to a trusted authority.
    Chain,
    /// The chain, and the host's name.
    ChainAndName,
}

/// What was negotiated; its `Display` is the wording of mysql-sources.md 4.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// IANA's name of the cipher suite.
    pub cipher_suite: String,
    /// How far the certificate was checked.
    pub verified: Verified,
}

impl fmt::Display for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verified = match self.verified {
            Verified::No => "no",
            Verified::Chain => "chain",
            Verified::ChainAndName => "chain+name",
        };
        write!(f, "{} / {} / verified: {verified}", self.version, self.cipher_suite)
    }
}

/// Which way a password took that the server may have cached (mysql-sources.md 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswordPath {
    /// By the plugin's only way, or without a password.
    Only,
    /// By the server's cache: the same connection may need the full way when the cache is cold.
    Fast,
    /// By the full way inside a protected channel.
    FullProtected,
    /// By the full way, encrypted with the server's RSA key.
    FullRsa,
}

/// The server at the other end of a connection.
#[derive(Debug, Clone)]
pub struct Server {
    pub(super) flavour: Flavour,
    pub(super) version: Version,
    pub(super) version_text: String,
    pub(super) connection_id: u32,
    pub(super) capabilities: CapabilityFlags,
    pub(super) extended: MariadbCapabilities,
    pub(super) tls: Option<Tls>,
    pub(super) auth_plugin: String,
    pub(super) password_path: PasswordPath,
    pub(super) endpoint: Endpoint,
}

impl Server {
    /// The server of a test.
    #[cfg(test)]
    pub(super) fn scripted(capabilities: CapabilityFlags, endpoint: Endpoint) -> Self {
        Self {
            flavour: Flavour::MySql,
            version: Version::default(),
            version_text: String::new(),
            connection_id: 1,
            capabilities,
            extended: MariadbCapabilities::empty(),
            tls: None,
            auth_plugin: String::new(),
            password_path: PasswordPath::Only,
            endpoint,
        }
    }

    /// Reads flavour and version from the text of a greeting.
    pub(super) fn recognise(text: &str) -> (Flavour, Version, String) {
        if !text.contains("MariaDB") {
            return (Flavour::MySql, Version::parse(text), text.to_owned());
        }
        let text = text.strip_prefix(REPLICATION_PREFIX).unwrap_or(text);
        (Flavour::MariaDb, Version::parse(text), text.to_owned())
    }

    /// Whose server it is.
    #[must_use]
    pub fn flavour(&self) -> Flavour {
        self.flavour
    }

    /// Its version as numbers.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Its version as it names it, e.g. `10.11.19-MariaDB`, without the prefix for old replicas.
    #[must_use]
    pub fn version_text(&self) -> &str {
        &self.version_text
    }

    /// The number of this connection in the server's process list.
    #[must_use]
    pub fn connection_id(&self) -> u32 {
        self.connection_id
    }

    /// What both sides agreed on.
    #[must_use]
    pub fn capabilities(&self) -> CapabilityFlags {
        self.capabilities
    }

    /// How the channel is protected; none is a plain one. `Display` gives the documented wording.
    #[must_use]
    pub fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    /// The authentication plugin that let us in.
    #[must_use]
    pub fn auth_plugin(&self) -> &str {
        &self.auth_plugin
    }

    /// Which way the password took.
    #[must_use]
    pub fn password_path(&self) -> PasswordPath {
        self.password_path
    }

    /// Where it listens.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_all_schemes_are_recognised() {
        for (text, flavour, version, shown) in [
            (
                "5.5.5-10.11.19-MariaDB-0+deb12u1",
                Flavour::MariaDb,
                Version::new(10, 11, 19),
                "10.11.19-MariaDB-0+deb12u1",
            ),
            ("11.8.2-MariaDB", Flavour::MariaDb, Version::new(11, 8, 2), "11.8.2-MariaDB"),
            ("8.0.36-28", Flavour::MySql, Version::new(8, 0, 36), "8.0.36-28"),
            ("26.1.0", Flavour::MySql, Version::new(26, 1, 0), "26.1.0"),
            ("8.4", Flavour::MySql, Version::new(8, 4, 0), "8.4"),
            ("", Flavour::MySql, Version::new(0, 0, 0), ""),
            ("99999999.1", Flavour::MySql, Version::new(0, 1, 0), "99999999.1"),
        ] {
            assert_eq!(Server::recognise(text), (flavour, version, shown.to_owned()), "{text}");
        }
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(Version::new(26, 1, 0) > Version::new(9, 7, 4));
        assert!(Version::new(8, 0, 11) > Version::new(5, 7, 44));
    }

    #[test]
    fn tls_is_described_in_the_documented_words() {
        let tls = Tls {
            version: "TLSv1.3",
            cipher_suite: "TLS_AES_256_GCM_SHA384".to_owned(),
            verified: Verified::ChainAndName,
        };
        assert_eq!(tls.to_string(), "TLSv1.3 / TLS_AES_256_GCM_SHA384 / verified: chain+name");
    }
}
