//! The keys of a connection string: which act, under which names; which are ignored; which are refused
//! (mysql-sources.md 1.2, 1.3).

/// A key that acts.
#[expect(clippy::enum_variant_names, reason = "the variants are the documented names")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    Server,
    Port,
    Database,
    UserId,
    Password,
    SslMode,
    SslCa,
    SslCert,
    SslKey,
    CertificateFile,
    CertificatePassword,
    TlsVersion,
    TlsCipherSuites,
    ConnectionTimeout,
    DefaultCommandTimeout,
    CharacterSet,
    AllowPublicKeyRetrieval,
    ServerRsaPublicKeyFile,
    Keepalive,
    UseCompression,
    TreatTinyAsBoolean,
    AllowZeroDateTime,
    ConvertZeroDateTime,
    GuidFormat,
    OldGuids,
    DateTimeKind,
    SourceTimeZone,
    Protocol,
    LoadBalance,
    InteractiveSession,
    ApplicationName,
    DefaultAuthenticationPlugin,
    EnableCleartextPlugin,
}

/// The canonical name of each key that acts, and its aliases in lower case.
///
/// `UseSystemTrustStore` is no key of its own: it only acts with basic authentication (mysql-sources.md 2).
const ACTING: &[(Key, &str, &[&str])] = &[
    (Key::Server, "Server", &["host", "data source", "datasource", "address", "addr", "network address"]),
    (Key::Port, "Port", &[]),
    (Key::Database, "Database", &["initial catalog"]),
    (Key::UserId, "User ID", &["userid", "uid", "username", "user name", "user"]),
    (Key::Password, "Password", &["pwd", "password1", "pwd1"]),
    (Key::SslMode, "SslMode", &["ssl mode", "ssl-mode"]),
    (Key::SslCa, "SslCa", &["ssl ca", "ssl-ca", "cacertificatefile", "ca certificate file"]),
    (Key::SslCert, "SslCert", &["ssl cert", "ssl-cert"]),
    (Key::SslKey, "SslKey", &["ssl key", "ssl-key"]),
    (Key::CertificateFile, "CertificateFile", &["certificate file"]),
    (Key::CertificatePassword, "CertificatePassword", &["certificate password", "ssl-ca-pwd"]),
    (Key::TlsVersion, "TlsVersion", &["tls version", "tls-version"]),
    (Key::TlsCipherSuites, "TlsCipherSuites", &["tls cipher suites"]),
    (Key::ConnectionTimeout, "ConnectionTimeout", &["connection timeout", "connect timeout"]),
    (Key::DefaultCommandTimeout, "DefaultCommandTimeout", &["default command timeout", "command timeout"]),
    (Key::CharacterSet, "CharacterSet", &["character set", "charset"]),
    (Key::AllowPublicKeyRetrieval, "AllowPublicKeyRetrieval", &["allow public key retrieval"]),
    (Key::ServerRsaPublicKeyFile, "ServerRsaPublicKeyFile", &["server rsa public key file"]),
    (Key::Keepalive, "Keepalive", &["keep alive"]),
    (Key::UseCompression, "UseCompression", &["use compression", "compress"]),
    (Key::TreatTinyAsBoolean, "TreatTinyAsBoolean", &["treat tiny as boolean"]),
    (Key::AllowZeroDateTime, "AllowZeroDateTime", &["allow zero datetime", "allow zero date time"]),
    (Key::ConvertZeroDateTime, "ConvertZeroDateTime", &["convert zero datetime", "convert zero date time"]),
    (Key::GuidFormat, "GuidFormat", &["guid format"]),
    (Key::OldGuids, "OldGuids", &["old guids"]),
    (Key::DateTimeKind, "DateTimeKind", &["datetime kind", "date time kind"]),
    (Key::SourceTimeZone, "SourceTimeZone", &["source time zone"]),
    (Key::Protocol, "Protocol", &["connection protocol", "connectionprotocol"]),
    (Key::LoadBalance, "LoadBalance", &["load balance"]),
    (Key::InteractiveSession, "InteractiveSession", &["interactive session", "interactive"]),
    (Key::ApplicationName, "ApplicationName", &["application name"]),
    (Key::DefaultAuthenticationPlugin, "DefaultAuthenticationPlugin", &[]),
    (Key::EnableCleartextPlugin, "EnableCleartextPlugin", &[]),
];

/// Keys that tune a .NET driver and mean nothing here, in lower case without blanks.
const IGNORED: &[&str] = &[
    "allowbatch",
    "allowloadlocalinfile",
    "allowloadlocalinfileinpath",
    "allowuservariables",
    "autoenlist",
    "blobasutf8excludepattern",
    "blobasutf8includepattern",
    "cacheserverproperties",
    "cancellationtimeout",
    "certificatestorelocation",
    "certificatethumbprint",
    "checkparameters",
    "commandinterceptors",
    "connectionidlepingtime",
    "connectionidletimeout",
    "connectionlifetime",
    "connectionreset",
    "defaulttablecacheage",
    "deferconnectionreset",
    "dnscheckinterval",
    "exceptioninterceptors",
    "forcesynchronous",
    "functionsreturnstring",
    "ignorecommandtransaction",
    "ignoreprepare",
    "includesecurityasserts",
    "logging",
    "maximumpoolsize",
    "maxpoolsize",
    "minimumpoolsize",
    "minpoolsize",
    "nobackslashescapes",
    "oldsyntax",
    "perfmon",
    "persistsecurityinfo",
    "pipe",
    "pipelining",
    "pipename",
    "pooling",
    "procedurecache",
    "procedurecachesize",
    "replication",
    "respectbinaryflags",
    "serverredirectionmode",
    "sharedmemoryname",
    "skipcertificaterevocationcheck",
    "sqlservermode",
    "tablecache",
    "tablecaching",
    "treatblobsasutf8",
    "useaffectedrows",
    "usedefaultcommandtimeoutforef",
    "useoldsyntax",
    "useperfmon",
    "useperformancemonitor",
    "usesystemtruststore",
    "useusageadvisor",
    "usexatransactions",
];

/// Keys that change whom we connect to or as whom, in lower case without blanks and hyphens, and what to do instead.
const REFUSED: &[(&str, &str)] = &[
    ("integratedsecurity", "use an account with a password"),
    ("kerberosauthmode", "use an account with a password"),
    ("serverspn", "use an account with a password"),
    ("openididentitytoken", "use an account with a password"),
    ("ociconfigfile", "use an account with a password"),
    ("ociconfigprofile", "use an account with a password"),
    ("password2", "use an account with one factor"),
    ("pwd2", "use an account with one factor"),
    ("password3", "use an account with one factor"),
    ("pwd3", "use an account with one factor"),
    ("dnssrv", "name the hosts in Server, separated by commas"),
];

/// What every kind of private key says in its first line of PEM.
const PRIVATE_KEY: &str = "PRIVATE KEY";

const SSH_HINT: &str = "open the tunnel outside and name its local end in Server and Port";

/// What is done with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyClass {
    /// It sets something.
    Acts(Key),
    /// It is known and means nothing here.
    Ignored,
    /// It would change whom we connect to or as whom; the hint says what to do instead.
    Refused(&'static str),
    /// No driver knows it.
    Unknown,
}

impl Key {
    /// The name under which the documentation lists it.
    pub(crate) fn name(self) -> &'static str {
        ACTING.iter().find(|(key, ..)| *key == self).map_or("", |(_, name, _)| name)
    }

    /// The canonical name in lower camel case: the parameter of basic authentication (mysql-sources.md 2).
    pub(crate) fn parameter(self) -> String {
        match self {
            Self::UserId => "username".to_owned(),
            key => {
                let name = key.name();
                let (first, rest) = name.split_at(1);
                first.to_ascii_lowercase() + rest
            }
        }
    }

    /// Whether this value of it must never be shown: a password or a key, also one that stands beside its certificate.
    pub(crate) fn is_secret(self, value: &str) -> bool {
        matches!(self, Self::Password | Self::CertificatePassword | Self::SslKey) || value.contains(PRIVATE_KEY)
    }
}

/// What a key of a connection string means; case does not matter.
pub(crate) fn classify(key: &str) -> KeyClass {
    let lower = key.to_lowercase();
    let found =
        ACTING.iter().find(|(_, name, aliases)| name.eq_ignore_ascii_case(&lower) || aliases.contains(&&*lower));
    if let Some((key, ..)) = found {
        return KeyClass::Acts(*key);
    }
    let squashed: String = lower.chars().filter(|c| !matches!(c, ' ' | '-')).collect();
    if IGNORED.contains(&&*squashed) {
        return KeyClass::Ignored;
    }
    if let Some((_, hint)) = REFUSED.iter().find(|(name, _)| *name == squashed) {
        return KeyClass::Refused(hint);
    }
    if squashed.starts_with("ssh") { KeyClass::Refused(SSH_HINT) } else { KeyClass::Unknown }
}

/// The key that a parameter of basic authentication stands for, if any.
pub(crate) fn parameter(name: &str) -> Option<Key> {
    ACTING.iter().map(|(key, ..)| *key).find(|key| {
        name.eq_ignore_ascii_case(&key.parameter()) || (*key == Key::UserId && name.eq_ignore_ascii_case("userId"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_alias_leads_to_its_key_in_any_case() {
        for (key, name, aliases) in ACTING {
            assert_eq!(classify(&name.to_uppercase()), KeyClass::Acts(*key), "{name}");
            for alias in *aliases {
                assert_eq!(classify(&alias.to_uppercase()), KeyClass::Acts(*key), "{alias}");
                assert_eq!(*alias, alias.to_lowercase(), "aliases are kept in lower case");
            }
        }
    }

    #[test]
    fn no_name_has_two_meanings() {
        let mut seen = std::collections::HashSet::new();
        for (_, name, aliases) in ACTING {
            for name in std::iter::once(&&*name.to_lowercase()).chain(*aliases) {
                assert!(seen.insert((*name).to_owned()), "{name} twice");
                let squashed: String = name.chars().filter(|c| !matches!(c, ' ' | '-')).collect();
                assert!(!IGNORED.contains(&&*squashed), "{name} is ignored too");
            }
        }
    }

    #[test]
    fn keys_of_other_drivers_are_told_apart() {
        assert_eq!(classify("Min Pool Size"), KeyClass::Ignored);
        assert_eq!(classify("Certificate Thumb Print"), KeyClass::Ignored);
        assert!(matches!(classify("SshHostName"), KeyClass::Refused(_)));
        assert!(matches!(classify("Dns-Srv"), KeyClass::Refused(_)));
        assert!(matches!(classify("OCI Config Profile"), KeyClass::Refused(_)));
        assert_eq!(classify("Sever"), KeyClass::Unknown);
    }

    #[test]
    fn parameters_are_the_canonical_names_in_lower_camel_case() {
        assert_eq!(parameter("sslCa"), Some(Key::SslCa));
        assert_eq!(parameter("treatTinyAsBoolean"), Some(Key::TreatTinyAsBoolean));
        assert_eq!(parameter("username"), Some(Key::UserId));
        assert_eq!(parameter("server"), Some(Key::Server));
        assert_eq!(parameter("host"), None);
    }
}
