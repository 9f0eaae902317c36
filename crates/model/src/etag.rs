//! Versions of resources as clients see them, and what `If-Match` says about them (flow-service.md 4).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The version of a resource: `"xxxxxxxx-0000-0200-0000-xxxxxxxx0000"`, the double quotes being part of the value.
///
/// The first group is random at creation and grows by one with each write, so that the value changes with every write
/// and never comes back; the last group shows `updatedAt` in seconds. Clients treat it as opaque.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Etag(String);

/// A text that does not have the form of a version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid etag")]
pub struct InvalidEtag;

/// What a caller demands of the version of a resource before it is changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precondition {
    /// The caller sent no `If-Match`.
    None,
    /// The caller sent this header value, as it stood.
    IfMatch(String),
}

/// How exactly `If-Match` is compared; the strict switch `if_match` of `api.strict`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Matching {
    /// The unquoted value and `*` are taken as well.
    #[default]
    Lenient,
    /// Nothing but the value with its quotes.
    Strict,
}

impl Precondition {
    /// Whether any version will do: there is no header, or it is `*` where that is taken.
    #[must_use]
    pub fn is_any(&self, matching: Matching) -> bool {
        match self {
            Self::None => true,
            Self::IfMatch(header) => matching == Matching::Lenient && named(header) == "*",
        }
    }
}

/// What a header names, without its weak mark.
fn named(header: &str) -> &str {
    let value = header.trim();
    value.strip_prefix("W/").unwrap_or(value)
}

impl Etag {
    /// The first version of a resource.
    #[must_use]
    pub fn first(updated_at_ms: i64) -> Self {
        let (random, ..) = Uuid::new_v4().as_fields();
        Self::of(random, updated_at_ms)
    }

    /// The version after this one.
    #[must_use]
    pub fn next(&self, updated_at_ms: i64) -> Self {
        Self::of(self.counter().wrapping_add(1), updated_at_ms)
    }

    /// The value with its quotes, as it travels.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the value of an `If-Match` header names this version. A weak mark `W/` is dropped before comparing.
    #[must_use]
    pub fn matches(&self, header: &str, matching: Matching) -> bool {
        let value = named(header);
        value == self.0 || (matching == Matching::Lenient && (value == "*" || value == self.0.trim_matches('"')))
    }

    /// Whether a change may go on; without a header it may.
    #[must_use]
    pub fn admits(&self, precondition: &Precondition, matching: Matching) -> bool {
        match precondition {
            Precondition::None => true,
            Precondition::IfMatch(header) => self.matches(header, matching),
        }
    }

    fn of(counter: u32, updated_at_ms: i64) -> Self {
        let seconds = updated_at_ms.div_euclid(1000) & 0xffff_ffff;
        Self(format!("\"{counter:08x}-0000-0200-0000-{seconds:08x}0000\""))
    }

    fn counter(&self) -> u32 {
        self.0.get(1..9).and_then(|digits| u32::from_str_radix(digits, 16).ok()).unwrap_or_default()
    }
}

impl FromStr for Etag {
    type Err = InvalidEtag;

    fn from_str(text: &str) -> Result<Self, InvalidEtag> {
        let inner = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).ok_or(InvalidEtag)?;
        let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let dashes = [8, 13, 18, 23];
        let fits = |(place, byte): (usize, u8)| if dashes.contains(&place) { byte == b'-' } else { hex(byte) };
        if inner.len() == 36 && inner.bytes().enumerate().all(fits) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidEtag)
        }
    }
}

impl TryFrom<String> for Etag {
    type Error = InvalidEtag;

    fn try_from(text: String) -> Result<Self, InvalidEtag> {
        text.parse()
    }
}

impl From<Etag> for String {
    fn from(etag: Etag) -> Self {
        etag.0
    }
}

impl fmt::Display for Etag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Etag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Etag({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_last_group_shows_the_second_of_the_last_write() {
        let etag = Etag::of(0x7e05_f181, 1_670_284_443_413);
        assert_eq!(etag.as_str(), "\"7e05f181-0000-0200-0000-638e849b0000\"");
    }

    #[test]
    fn a_lenient_comparison_takes_what_clients_really_send() {
        let etag = Etag::of(1, 0);
        let unquoted = etag.as_str().trim_matches('"').to_owned();
        let weak = format!("W/{etag}");
        for (header, lenient, strict) in [
            (etag.as_str(), true, true),
            (&weak, true, true),
            (&unquoted, true, false),
            ("*", true, false),
            ("", false, false),
        ] {
            assert_eq!(etag.matches(header, Matching::Lenient), lenient, "{header}");
            assert_eq!(etag.matches(header, Matching::Strict), strict, "{header}");
        }
    }

    #[test]
    fn a_missing_header_admits_every_version() {
        assert!(Etag::first(0).admits(&Precondition::None, Matching::Strict));
        assert!(!Etag::first(0).admits(&Precondition::IfMatch("\"x\"".into()), Matching::Lenient));
    }

    #[test]
    fn a_star_and_no_header_name_no_version() {
        let header = |value: &str| Precondition::IfMatch(value.to_owned());
        assert!(Precondition::None.is_any(Matching::Strict) && header(" * ").is_any(Matching::Lenient));
        assert!(!header("*").is_any(Matching::Strict), "it is taken for a version that is not there");
        assert!(!header(Etag::first(0).as_str()).is_any(Matching::Lenient));
    }

    proptest! {
        #[test]
        fn every_version_parses_and_differs_from_the_one_before(counter: u32, before in 0i64..1 << 45, after in 0i64..1 << 45) {
            let etag = Etag::of(counter, before);
            prop_assert_eq!(etag.as_str().parse::<Etag>(), Ok(etag.clone()));
            prop_assert_ne!(etag.next(after), etag);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text: String) {
            let _ = text.parse::<Etag>();
        }
    }
}
