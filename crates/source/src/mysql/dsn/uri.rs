//! `mysql://`, `mariadb://` and `jdbc:` URIs (mysql-sources.md 1.5), translated into the keys of a connection string.
//!
//! Taken apart by hand: a list of hosts is no host for the standard grammar, and people paste passwords whose `@` or
//! `#` is not encoded. The password ends at the last `@` before the path. One with a bare `/` or `?` would end too early,
//! and its tail be taken for a database: that shows by an `@` where none can be, and is refused as a whole.
//!
//! **Invariant.** As in the grammar of connection strings, an error names keys and offsets, never a value.

use std::ops::Range;

use percent_encoding::percent_decode_str;

use super::grammar::{CONNECTION_STRING_BYTES_MAX, GrammarError};
use super::keys::{Key, KeyClass, classify};

/// Which servers the author of a URI had in mind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// `mysql:`, also behind `jdbc:`.
    MySql,
    /// `mariadb:`, also behind `jdbc:`.
    MariaDb,
}

/// A URI taken apart; every part is a range of its bytes, still percent-encoded.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Uri<'a> {
    text: &'a str,
    /// Whom it speaks of.
    pub(crate) scheme: Scheme,
    user: Option<Range<usize>>,
    password: Option<Range<usize>>,
    hosts: Range<usize>,
    database: Range<usize>,
    query: Vec<(Range<usize>, Range<usize>)>,
}

/// One setting of a URI.
pub(crate) enum Setting {
    /// A key that acts, under the name given and at that many characters from the start.
    Acts { key: Key, name: String, offset: usize, value: String },
    /// `useSSL`, `requireSSL` or `verifyServerCertificate`.
    OldTls { name: String, offset: usize, value: String },
    /// A key that means nothing here.
    Ignored { name: String },
    /// A key that would change whom we connect to or as whom.
    Refused { name: String, offset: usize, hint: &'static str },
    /// A key that no driver knows.
    Unknown { name: String, offset: usize },
}

const PREFIXES: &[(&str, Scheme)] = &[
    ("mysql://", Scheme::MySql),
    ("mariadb://", Scheme::MariaDb),
    ("jdbc:mysql://", Scheme::MySql),
    ("jdbc:mariadb://", Scheme::MariaDb),
    ("jdbc:mariadb:sequential://", Scheme::MariaDb),
];

/// The names that the drivers of these URIs give to keys of ours, in lower case.
const NAMES: &[(&str, Key)] = &[
    ("sslmode", Key::SslMode),
    ("ssl-mode", Key::SslMode),
    ("servertimezone", Key::SourceTimeZone),
    ("connectiontimezone", Key::SourceTimeZone),
    ("tinyint1isbit", Key::TreatTinyAsBoolean),
    ("connecttimeout", Key::ConnectionTimeout),
    ("connect-timeout", Key::ConnectionTimeout),
    ("serverrsapublickeyfile", Key::ServerRsaPublicKeyFile),
    ("server-public-key-path", Key::ServerRsaPublicKeyFile),
    ("get-server-public-key", Key::AllowPublicKeyRetrieval),
    ("serversslcert", Key::SslCa),
    ("enabledtlsprotocols", Key::TlsVersion),
    ("enabledsslprotocolsuites", Key::TlsVersion),
    ("tlsversions", Key::TlsVersion),
    ("tls-versions", Key::TlsVersion),
    ("tlsciphersuites", Key::TlsCipherSuites),
    ("enabledsslciphersuites", Key::TlsCipherSuites),
    ("compression", Key::UseCompression),
    ("socket", Key::Server),
    ("localsocket", Key::Server),
    ("unixsocket", Key::Server),
    ("default-auth", Key::DefaultAuthenticationPlugin),
    ("defaultauthenticationplugin", Key::DefaultAuthenticationPlugin),
];

/// Properties of the JDBC drivers that change nothing in what is read, in lower case.
const IGNORED: &[&str] = &[
    "allowmultiqueries",
    "autoreconnect",
    "cachecallablestmts",
    "cacheprepstmts",
    "cacheresultsetmetadata",
    "cacheserverconfiguration",
    "characterencoding",
    "characterset",
    "charset",
    "defaultfetchsize",
    "elidesetautocommits",
    "failoverreadonly",
    "jdbccomplianttruncation",
    "maintaintimestats",
    "maxreconnects",
    "noaccesstoprocedurebodies",
    "nullcatalogmeanscurrent",
    "nulldatabasemeanscurrent",
    "prepstmtcachesize",
    "prepstmtcachesqllimit",
    "rewritebatchedstatements",
    "sockettimeout",
    "tcpkeepalive",
    "tcpnodelay",
    "transformedbitisboolean",
    "usecursorfetch",
    "useinformationschema",
    "usejdbccomplianttimezoneshift",
    "uselegacydatetimecode",
    "uselocalsessionstate",
    "useserverprepstmts",
    "usetimezone",
    "useunicode",
    "yearisdatetype",
];

/// The scheme of a text that is a URI rather than a connection string.
pub(crate) fn scheme(text: &str) -> Option<Scheme> {
    prefix(text).map(|(_, scheme)| scheme)
}

/// Whether a text means to be a URI, also of a kind that is not read here.
pub(crate) fn is_uri(text: &str) -> bool {
    let head = text.split(['=', ';']).next().unwrap_or_default();
    scheme(text).is_some() || head.contains("://") || starts_with_ignoring_case(head, "jdbc:")
}

fn prefix(text: &str) -> Option<(usize, Scheme)> {
    let found = PREFIXES.iter().find(|(prefix, _)| starts_with_ignoring_case(text, prefix));
    found.map(|(prefix, scheme)| (prefix.len(), *scheme))
}

fn starts_with_ignoring_case(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix))
}

impl<'a> Uri<'a> {
    /// Takes a URI apart.
    pub(crate) fn parse(text: &'a str) -> Result<Self, GrammarError> {
        if text.len() > CONNECTION_STRING_BYTES_MAX {
            return Err(GrammarError { reason: "the URI is too long", offset: 0 });
        }
        let Some((start, scheme)) = prefix(text) else {
            let reason = "a URI of another kind than mysql://, mariadb://, jdbc:mysql:// or jdbc:mariadb:// stands";
            return Err(GrammarError { reason, offset: 0 });
        };
        let tail = &text[start..];
        // A password may hold anything but a slash and a question mark; the last '@' before them ends it.
        let authority = start..start + tail.find(['/', '?']).unwrap_or(tail.len());
        let (userinfo, hosts) = match text[authority.clone()].rfind('@') {
            Some(at) => (Some(authority.start..authority.start + at), authority.start + at + 1..authority.end),
            None => (None, authority.clone()),
        };
        let (user, password) = match userinfo {
            None => (None, None),
            Some(range) => match text[range.clone()].find(':') {
                Some(colon) => (Some(range.start..range.start + colon), Some(range.start + colon + 1..range.end)),
                None => (Some(range), None),
            },
        };
        let question = text[authority.end..].find('?').map(|at| authority.end + at);
        let path_end = question.unwrap_or(text.len());
        let path_start = if text[authority.end..path_end].starts_with('/') { authority.end + 1 } else { path_end };
        let query = question.map_or_else(Vec::new, |at| query(text, at + 1));
        let uri = Self { text, scheme, user, password, hosts, database: path_start..path_end, query };
        let odd = uri.parts().find(|part| percent_decode_str(&text[(*part).clone()]).decode_utf8().is_err());
        if let Some(part) = odd {
            let reason = "a percent-encoded part that is not UTF-8 begins";
            return Err(GrammarError { reason, offset: uri.offset(part.start) });
        }
        match uri.stray_at() {
            Some(at) => {
                let reason = "an '@' that ends no account (is a '/' or '?' of the password not encoded?) stands";
                Err(GrammarError { reason, offset: uri.offset(at) })
            }
            None => Ok(uri),
        }
    }

    /// An `@` in the path, or in a setting that nobody knows.
    fn stray_at(&self) -> Option<usize> {
        let unknown =
            self.query.iter().filter(|(name, value)| matches!(self.setting(name, value), Setting::Unknown { .. }));
        let unknown = unknown.map(|(name, value)| name.start..value.end);
        let mut places = std::iter::once(self.database.clone()).chain(unknown);
        places.find_map(|place| self.text[place.clone()].find('@').map(|at| place.start + at))
    }

    fn parts(&self) -> impl Iterator<Item = &Range<usize>> {
        let parts = [Some(&self.hosts), Some(&self.database), self.user.as_ref(), self.password.as_ref()];
        parts.into_iter().flatten().chain(self.query.iter().flat_map(|(name, value)| [name, value]))
    }

    /// What it sets, in the order in which it stands there.
    pub(crate) fn settings(&self) -> Vec<Setting> {
        let mut settings = Vec::new();
        let mut part = |key: Key, range: &Range<usize>| {
            let (name, offset) = (key.name().to_owned(), self.offset(range.start));
            settings.push(Setting::Acts { key, name, offset, value: self.decoded(range) });
        };
        if !self.hosts.is_empty() {
            part(Key::Server, &self.hosts);
        }
        if !self.database.is_empty() {
            part(Key::Database, &self.database);
        }
        if let Some(user) = &self.user {
            part(Key::UserId, user);
        }
        if let Some(password) = &self.password {
            part(Key::Password, password);
        }
        settings.extend(self.query.iter().map(|(name, value)| self.setting(name, value)));
        settings
    }

    /// The bytes that must not be shown: passwords, and the values of names that nobody knows.
    pub(crate) fn secret_spans(&self) -> Vec<Range<usize>> {
        // A name without '=' has no value to hide.
        let given = self.query.iter().filter(|(name, value)| value.start > name.end);
        let in_query = given.filter(|(name, value)| match self.setting(name, value) {
            Setting::Acts { key, value, .. } => key.is_secret(&value),
            Setting::OldTls { .. } | Setting::Ignored { .. } => false,
            Setting::Refused { .. } | Setting::Unknown { .. } => true,
        });
        self.password.iter().cloned().chain(in_query.map(|(_, value)| value.clone())).collect()
    }

    /// The keys that act with their values, percent-decoded, and the bytes that hold each value.
    pub(crate) fn acting_values(&self) -> Vec<(Key, String, Range<usize>)> {
        let password = self.password.iter().map(|span| (Key::Password, self.decoded(span), span.clone()));
        let given = self.query.iter().filter(|(name, value)| value.start > name.end);
        let in_query = given.filter_map(|(name, span)| match self.setting(name, span) {
            Setting::Acts { key, value, .. } => Some((key, value, span.clone())),
            _ => None,
        });
        password.chain(in_query).collect()
    }

    fn setting(&self, name: &Range<usize>, value: &Range<usize>) -> Setting {
        let (name, offset, value) = (self.decoded(name), self.offset(name.start), self.decoded(value));
        let lower = name.to_lowercase();
        if let Some((_, key)) = NAMES.iter().find(|(known, _)| *known == lower) {
            return Setting::Acts { key: *key, value: translated(&lower, *key, value), name, offset };
        }
        match &*lower {
            "usessl" | "requiressl" | "verifyservercertificate" => return Setting::OldTls { name, offset, value },
            "zerodatetimebehavior" => {
                // `round` is the driver's name for 0001-01-01; null is what happens here by default.
                let round = value.eq_ignore_ascii_case("round").to_string();
                return Setting::Acts { key: Key::ConvertZeroDateTime, name, offset, value: round };
            }
            lower if IGNORED.contains(&lower) => return Setting::Ignored { name },
            _ => {}
        }
        match classify(&name) {
            KeyClass::Acts(key) => Setting::Acts { key, name, offset, value },
            KeyClass::Ignored => Setting::Ignored { name },
            KeyClass::Refused(hint) => Setting::Refused { name, offset, hint },
            KeyClass::Unknown => Setting::Unknown { name, offset },
        }
    }

    fn decoded(&self, range: &Range<usize>) -> String {
        let text = &self.text[range.clone()];
        // Parsing has made sure that it is UTF-8: nothing is lost.
        percent_decode_str(text).decode_utf8_lossy().into_owned()
    }

    fn offset(&self, byte: usize) -> usize {
        self.text[..byte].chars().count()
    }
}

fn query(text: &str, start: usize) -> Vec<(Range<usize>, Range<usize>)> {
    let mut parameters = Vec::new();
    let mut at = start;
    for parameter in text[start..].split('&') {
        let end = at + parameter.len();
        if !parameter.is_empty() {
            let equals = at + parameter.find('=').unwrap_or(parameter.len());
            parameters.push((at..equals, (equals + 1).min(end)..end));
        }
        at = end + 1;
    }
    parameters
}

/// Values whose unit or form differs from that of a connection string.
fn translated(name: &str, key: Key, value: String) -> String {
    match (name, key) {
        // The JDBC drivers count milliseconds; none of them knows a fraction.
        ("connecttimeout" | "connect-timeout", _) => match value.parse::<u64>() {
            Ok(ms) => ms.div_ceil(1000).to_string(),
            Err(_) => value,
        },
        // `LOCAL` and `SERVER` ask for the zone of a machine that is not here.
        (_, Key::SourceTimeZone) if value.eq_ignore_ascii_case("Z") => "UTC".to_owned(),
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acts(text: &str) -> Vec<(Key, String)> {
        let settings = Uri::parse(text).unwrap().settings();
        settings
            .into_iter()
            .filter_map(|setting| match setting {
                Setting::Acts { key, value, .. } => Some((key, value)),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn the_parts_of_a_uri_are_percent_decoded() {
        assert_eq!(
            acts("mysql://us%40er:p%3B%2F%F0%9F%99%82@db.example:3307/sh%6Fp?ssl-mode=REQUIRED"),
            [
                (Key::Server, "db.example:3307".to_owned()),
                (Key::Database, "shop".to_owned()),
                (Key::UserId, "us@er".to_owned()),
                (Key::Password, "p;/🙂".to_owned()),
                (Key::SslMode, "REQUIRED".to_owned()),
            ]
        );
    }

    #[test]
    fn jdbc_forms_carry_the_account_in_the_query() {
        assert_eq!(
            acts("jdbc:mariadb://[::1]:3306,b/db?user=u&password=a=b&connectTimeout=2500&tinyInt1isBit=false"),
            [
                (Key::Server, "[::1]:3306,b".to_owned()),
                (Key::Database, "db".to_owned()),
                (Key::UserId, "u".to_owned()),
                (Key::Password, "a=b".to_owned()),
                (Key::ConnectionTimeout, "3".to_owned()),
                (Key::TreatTinyAsBoolean, "false".to_owned()),
            ]
        );
    }

    #[test]
    fn a_password_with_a_bare_at_sign_ends_at_the_last_one() {
        let found = acts("mysql://u:p@ss@h/db");
        assert_eq!(found[0].1, "h");
        assert_eq!(found[3].1, "p@ss");
    }

    #[test]
    fn the_tail_of_a_password_is_not_taken_for_a_database_or_a_setting() {
        for (text, offset) in [
            ("mysql://user:12/34@db/shop", 18),
            ("mysql://user:12?34@db/shop", 18),
            ("mysql://user:1@2/34@db/shop", 19),
            ("mysql://user:12?a=34@db/shop?ssl-mode=REQUIRED", 20),
            ("jdbc:mariadb://user:12/34?5@db/shop", 27),
        ] {
            let error = Uri::parse(text).unwrap_err();
            assert_eq!(error.offset, offset, "{text}: {error}");
        }
        assert!(acts("mysql://u:p@h/sh%40p").contains(&(Key::Database, "sh@p".to_owned())));
        assert!(acts("jdbc:mysql://h/db?user=me@x&password=a@b").contains(&(Key::Password, "a@b".to_owned())));
    }

    #[test]
    fn the_kind_of_uri_is_recognised_by_its_prefix() {
        assert_eq!(scheme("MariaDB://h"), Some(Scheme::MariaDb));
        assert_eq!(scheme("Server=mysql://h"), None);
        assert!(is_uri("jdbc:postgresql://h/db"));
        assert!(!is_uri("Server=h;Pwd=jdbc:mysql://"));
    }

    #[test]
    fn bytes_that_are_not_text_are_refused_instead_of_changed() {
        let error = Uri::parse("mysql://u:%C3%28@h/db").unwrap_err();
        assert_eq!(error.to_string(), "a percent-encoded part that is not UTF-8 begins at character 10");
    }

    #[test]
    fn a_socket_can_be_named_in_the_host_or_in_the_query() {
        assert_eq!(acts("mysql://u@%2Frun%2Fmy.sock/db")[0], (Key::Server, "/run/my.sock".to_owned()));
        assert!(
            acts("jdbc:mariadb:///db?localSocket=/run/my.sock").contains(&(Key::Server, "/run/my.sock".to_owned()))
        );
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(tail in "\\PC{0,120}") {
            if let Ok(uri) = Uri::parse(&format!("mysql://{tail}")) {
                let _ = (uri.settings(), uri.secret_spans());
            }
        }
    }
}
