//! Takes out of answers what differs from run to run, and leaves them answers: an id is replaced by an id.

use std::collections::HashMap;
use std::sync::LazyLock;

use regex::{Captures, Regex};
use serde_json::{Map, Value};

use crate::fakes::PASSWORD;
use crate::world::START_MS;

/// Gives what differs from run to run a name that does not, in the order of its first appearance.
#[derive(Default)]
pub(crate) struct Steady(HashMap<String, String>, HashMap<&'static str, usize>);

/// What differs, by kind. Minted ids are of version 7; those of the catalogue are not, and stay.
static CHANGING: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(concat!(
        r"(?P<token>eyJ[\w-]+\.[\w-]+\.[\w-]+)|(?P<page>continuationToken=[\w.-]+)",
        r"|(?P<etag>[0-9a-f]{8}-0000-0200-0000-[0-9a-f]{12})",
        r"|(?P<id>[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12})",
        r"|(?P<org>[0-9A-F]{24}@AdobeOrg)|(?P<user>[0-9A-F]{24}@AdobeID)|(?P<folder>\b[0-9A-F]{24}\b)",
        r"|(?P<client>\b[0-9a-f]{32}\b)|(?P<set>\b[0-9a-f]{24}\b)|(?P<batch>\b[0-9A-HJKMNP-TV-Z]{26}\b)",
    ))
    .unwrap()
});

impl Steady {
    /// A JSON value with all that differs replaced.
    pub(crate) fn of(&mut self, value: &Value) -> Value {
        match value {
            Value::Object(fields) => {
                fields.iter().map(|(name, value)| (self.text(name), self.of(value))).collect::<Map<_, _>>().into()
            }
            Value::Array(values) => values.iter().map(|value| self.of(value)).collect(),
            Value::String(text) => self.text(text).into(),
            Value::Number(number) => match number.as_i64() {
                // The clock of the tests goes on with every look, and a worker in the background looks as well.
                Some(time) if (START_MS..START_MS + 100_000_000).contains(&time) => self.time(time).into(),
                _ => value.clone(),
            },
            _ => value.clone(),
        }
    }

    fn time(&mut self, time: i64) -> i64 {
        let Self(known, counts) = self;
        let count = counts.entry("time").or_default();
        let steady = known.entry(time.to_string()).or_insert_with(|| {
            *count += 1;
            (START_MS + i64::try_from(*count).unwrap() * 1000).to_string()
        });
        steady.parse().unwrap()
    }

    /// A text with all that differs replaced.
    pub(crate) fn text(&mut self, text: &str) -> String {
        let text = text.replace(PASSWORD, "<password>");
        CHANGING.replace_all(&text, |found: &Captures<'_>| self.steady(found)).into_owned()
    }

    fn steady(&mut self, found: &Captures<'_>) -> String {
        let kinds = ["token", "page", "etag", "id", "org", "user", "folder", "client", "set", "batch"];
        let kind = kinds.into_iter().find(|kind| found.name(kind).is_some()).unwrap();
        let Self(known, counts) = self;
        let count = counts.entry(kind).or_default();
        let new = || {
            *count += 1;
            let n = *count;
            match kind {
                "token" => "<token>".to_owned(),
                "page" => "continuationToken=eyJj".to_owned(),
                "etag" => format!("{:08x}-0000-0200-0000-6553f1000000", 0x7e05_f180 + n),
                "id" => format!("0190b7a2-6c1e-7c3a-9d2f-5b1f2f6f{n:04x}"),
                "org" => "0123456789ABCDEF01234567@AdobeOrg".to_owned(),
                "folder" => "0123456789ABCDEF01234567".to_owned(),
                "user" => format!("89ABCDEF0123456789ABCD{n:02X}@AdobeID"),
                "client" => format!("00112233445566778899aabbccddee{n:02x}"),
                "set" => format!("65a0c3d2e1f0b9a8978675{n:02x}"),
                _ => format!("01HF7YAT0000000000000000{n:02}"),
            }
        };
        known.entry(found[0].to_owned()).or_insert_with(new).clone()
    }
}
