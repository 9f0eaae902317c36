//! The values of connection parameters: one reader per form (mysql-sources.md 1.2, 1.4, 2).
//!
//! **Invariant.** A reader answers with what would have been right, never with what was given.

use std::path::PathBuf;
use std::time::Duration;

use chrono_tz::Tz;

use crate::mysql::types::GuidLayout;
use crate::mysql::wire::{Endpoint, LoadBalance, TlsMode, TlsVersion, is_known_cipher_suite};

/// At most so many hosts may stand in `Server`.
pub(crate) const HOSTS_MAX: usize = 32;

/// What would have been right.
pub(crate) type Expected = &'static str;

/// A name without the blanks, hyphens and underscores that its published spellings differ in, in lower case.
pub(crate) fn folded(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, ' ' | '-' | '_')).flat_map(char::to_lowercase).collect()
}

/// `true`, `yes`, `on`, `1` and their opposites.
pub(crate) fn boolean(text: &str) -> Result<bool, Expected> {
    match &*text.to_ascii_lowercase() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err("it must be true or false"),
    }
}

/// The ladder of TLS in all its published spellings (mysql-sources.md 2, flow-service.md 13.1).
pub(crate) fn tls_mode(text: &str) -> Result<TlsMode, Expected> {
    match &*folded(text) {
        "disabled" | "disable" | "false" | "none" | "0" => Ok(TlsMode::Disabled),
        "preferred" | "prefered" | "prefer" | "allow" | "1" => Ok(TlsMode::Preferred),
        "required" | "require" | "true" | "trust" | "2" => Ok(TlsMode::Required),
        "verifyca" | "3" => Ok(TlsMode::VerifyCa),
        "verifyidentity" | "verifyfull" | "4" => Ok(TlsMode::VerifyIdentity),
        _ => Err("it must be one of Disabled, Preferred, Required, VerifyCA, VerifyFull"),
    }
}

/// A list like `TLS 1.2, Tls13` or `[Tlsv1.2]`.
pub(crate) fn tls_versions(text: &str) -> Result<Vec<TlsVersion>, Expected> {
    let inner = text.trim().trim_start_matches(['[', '(']).trim_end_matches([']', ')']);
    let versions = inner.split(',').map(str::trim).filter(|version| !version.is_empty()).map(|version| {
        let digits: String = version.chars().filter(char::is_ascii_digit).collect();
        let named = folded(version).trim_start_matches("tls").trim_start_matches('v').replace('.', "");
        match &*digits {
            "12" if named == "12" => Ok(TlsVersion::Tls12),
            "13" if named == "13" => Ok(TlsVersion::Tls13),
            _ => Err("it must list TLS 1.2, TLS 1.3 or both; older versions are not spoken"),
        }
    });
    versions.collect()
}

/// A list of cipher suites in IANA's or OpenSSL's spelling.
pub(crate) fn cipher_suites(text: &str) -> Result<Vec<String>, Expected> {
    let inner = text.trim().trim_start_matches(['[', '(']).trim_end_matches([']', ')']);
    let names =
        inner.split([',', ':']).map(str::trim).filter(|name| !name.is_empty()).map(|name| match is_known_cipher_suite(
            name,
        ) {
            true => Ok(name.to_owned()),
            false => Err("it must list cipher suites of TLS 1.2 or TLS 1.3 that this build knows"),
        });
    names.collect()
}

/// Whole seconds; 0 is no limit.
pub(crate) fn seconds(text: &str) -> Result<Option<Duration>, Expected> {
    match text.parse::<u32>() {
        Ok(0) => Ok(None),
        Ok(seconds) => Ok(Some(Duration::from_secs(seconds.into()))),
        Err(_) => Err("it must be a number of seconds; 0 is no limit"),
    }
}

/// A port.
pub(crate) fn port(text: &str) -> Result<u16, Expected> {
    match text.parse::<u16>() {
        Ok(0) | Err(_) => Err("a port is a number from 1 to 65535"),
        Ok(port) => Ok(port),
    }
}

/// The hosts of `Server`: names, addresses, `host:port` items, or the path of one Unix socket (mysql-sources.md 1.4).
pub(crate) fn endpoints(text: &str, default_port: u16) -> Result<Vec<Endpoint>, Expected> {
    if text.starts_with('/') {
        return Ok(vec![Endpoint::Socket(PathBuf::from(text))]);
    }
    let items: Vec<&str> = text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect();
    if items.is_empty() || items.len() > HOSTS_MAX {
        return Err("it must name one to 32 hosts, separated by commas");
    }
    items.into_iter().map(|item| endpoint(item, default_port)).collect()
}

fn endpoint(item: &str, default_port: u16) -> Result<Endpoint, Expected> {
    let (host, given_port) = if let Some(rest) = item.strip_prefix('[') {
        match rest.split_once(']') {
            Some((host, "")) => (host, None),
            Some((host, tail)) if tail.starts_with(':') => (host, tail.get(1..)),
            _ => return Err("an address in brackets must be closed and may be followed by a colon and a port"),
        }
    } else {
        match item.split_once(':') {
            Some((host, tail)) if !tail.contains(':') => (host, Some(tail)),
            // More than one colon: an address of IPv6 without brackets.
            _ => (item, None),
        }
    };
    let port = given_port.map_or(Ok(default_port), port)?;
    let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | '@' | '(' | ')' | '\\' | '"' | '\'');
    match host.is_empty() || host.contains(odd) {
        true => Err("a host is a name, an address, or the absolute path of a Unix socket"),
        false => Ok(Endpoint::Tcp { host: host.to_owned(), port }),
    }
}

/// The order in which several hosts are tried.
pub(crate) fn load_balance(text: &str) -> Result<LoadBalance, Expected> {
    match &*folded(text) {
        "failover" => Ok(LoadBalance::FailOver),
        "roundrobin" => Ok(LoadBalance::RoundRobin),
        "random" | "leastconnections" => Ok(LoadBalance::Random),
        _ => Err("it must be one of FailOver, RoundRobin, Random, LeastConnections"),
    }
}

/// How GUIDs are stored; none leaves `BINARY(16)` as bytes.
pub(crate) fn guid_format(text: &str) -> Result<Option<GuidLayout>, Expected> {
    match &*folded(text) {
        "default" | "none" | "char36" | "char32" => Ok(None),
        "binary16" => Ok(Some(GuidLayout::Binary16)),
        "timeswapbinary16" => Ok(Some(GuidLayout::TimeSwapBinary16)),
        "littleendianbinary16" => Ok(Some(GuidLayout::LittleEndianBinary16)),
        _ => Err("it must be one of Default, None, Char36, Char32, Binary16, TimeSwapBinary16, LittleEndianBinary16"),
    }
}

/// An IANA zone; none is UTC.
pub(crate) fn time_zone(text: &str) -> Result<Option<Tz>, Expected> {
    match text.parse::<Tz>() {
        Ok(Tz::UTC) => Ok(None),
        Ok(zone) => Ok(Some(zone)),
        Err(_) => Err("it must be the IANA name of a time zone, such as UTC or Europe/Zurich"),
    }
}

/// Whether `Protocol` asks for a Unix socket.
pub(crate) fn is_unix_socket(text: &str) -> Result<bool, Expected> {
    match &*folded(text) {
        "socket" | "tcp" | "tcpip" | "sockets" => Ok(false),
        "unix" | "unixsocket" => Ok(true),
        "pipe" | "namedpipe" | "memory" | "sharedmemory" => Err("pipes and shared memory are not spoken; use Socket"),
        _ => Err("it must be Socket or Unix"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<String> {
        endpoints(text, 3306).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_published_spelling_of_the_tls_mode_is_read() {
        for (mode, spellings) in [
            (TlsMode::Disabled, &["DISABLED", "None", "false", "disable", "0"][..]),
            (TlsMode::Preferred, &["PREFERRED", "Prefered", "prefer", "allow", "1"]),
            (TlsMode::Required, &["REQUIRED", "require", "true", "trust", "2"]),
            (TlsMode::VerifyCa, &["VERIFY_CA", "Verify-Ca", "VerifyCA", "verify-ca", "3"]),
            (TlsMode::VerifyIdentity, &["VERIFY_IDENTITY", "Verify Identity", "VerifyFull", "verify-full", "4"]),
        ] {
            for spelling in spellings {
                assert_eq!(tls_mode(spelling), Ok(mode), "{spelling}");
            }
        }
        assert!(tls_mode("5").is_err());
    }

    #[test]
    fn hosts_are_names_addresses_or_a_socket() {
        assert_eq!(shown("db"), ["db:3306"]);
        assert_eq!(shown("a, b:3307 ,c"), ["a:3306", "b:3307", "c:3306"]);
        assert_eq!(shown("::1"), ["[::1]:3306"]);
        assert_eq!(shown("[fe80::1]:3310"), ["[fe80::1]:3310"]);
        assert_eq!(shown("/run/my,sql.sock"), ["/run/my,sql.sock"]);
        for text in ["a:0", "a:70000", "a:x", "[::1", "[::1]x", "a b", "u@h", ","] {
            assert!(endpoints(text, 3306).is_err(), "{text}");
        }
    }

    #[test]
    fn tls_versions_are_read_in_their_published_forms() {
        for text in ["TLS 1.2,TLS 1.3", "[Tls12, Tls13]", "(Tlsv1.2,Tlsv1.3)", "TLSv1.2,TLSv1.3"] {
            assert_eq!(tls_versions(text), Ok(vec![TlsVersion::Tls12, TlsVersion::Tls13]), "{text}");
        }
        for text in ["TLS 1.1", "Tls", "SSL3", "1.20"] {
            assert!(tls_versions(text).is_err(), "{text}");
        }
    }
}
