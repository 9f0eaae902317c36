//! Puts stored secrets back in the place of the masks that a client echoed, so that a connection can be read, changed
//! and written again without knowing its secrets (flow-service.md 9).
//!
//! A text that is just what was shown is the stored one. In any other connection string or URI each mask in the place of
//! a secret stands for the stored secret of the same key, whatever the form of either text. A mask for which nothing is
//! stored stays: it is what the client wants as its secret.

use std::ops::Range;

use headwaters_model::job::SourceAccess;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

use super::keys::{self, Key, KeyClass};
use super::settings::CONNECTION_STRING;
use super::uri::{self, Uri};
use super::{MASK, grammar, masked};

/// One value of a connection string or a URI, and the bytes that hold it.
struct Held {
    key: Key,
    value: String,
    span: Range<usize>,
}

/// The parameters with the stored secrets wherever what was sent echoes what [`masked`] shows in their place.
#[must_use]
pub fn restored(sent: &Map<String, Value>, stored: &SourceAccess) -> Map<String, Value> {
    let shown = masked(stored);
    let restore = |(name, value): (&String, &Value)| {
        let value = match (clear(stored, name), value) {
            (Some(secret), value) if shown.get(name) == Some(value) => Value::from(secret),
            (Some(secret), Value::String(text)) if name == CONNECTION_STRING => Value::from(unmasked(text, secret)),
            _ => value.clone(),
        };
        (name.clone(), value)
    };
    sent.iter().map(restore).collect()
}

/// The text of a stored parameter, secret or not.
fn clear<'a>(stored: &'a SourceAccess, name: &str) -> Option<&'a str> {
    let secret = stored.secrets.iter().find(|(key, _)| key == name).map(|(_, secret)| secret.expose());
    secret.or_else(|| stored.params.get(name)?.as_str())
}

/// A text with the secrets of another one in the place of its masks.
fn unmasked(text: &str, stored: &str) -> String {
    let secrets: Vec<Held> = held(stored).into_iter().filter(|held| held.key.is_secret(&held.value)).collect();
    // The last of several counts (mysql-sources.md 1.1), so that is what every mask of the key stands for.
    let secret_of = |key: Key| secrets.iter().rev().find(|secret| secret.key == key);
    let write = if uri::is_uri(text) { encoded } else { grammar::quoted };
    let mut masks: Vec<Held> = held(text).into_iter().filter(|held| held.value == MASK).collect();
    masks.sort_by_key(|mask| mask.span.start);
    let mut restored = text.to_owned();
    // From the end, so that the places before stay where they are.
    for mask in masks.into_iter().rev() {
        if let Some(secret) = secret_of(mask.key) {
            restored.replace_range(mask.span, &write(&secret.value));
        }
    }
    restored
}

/// What a text sets; nothing when it can not be parsed.
fn held(text: &str) -> Vec<Held> {
    if uri::is_uri(text) {
        let values = Uri::parse(text).map(|uri| uri.acting_values());
        return values.into_iter().flatten().map(|(key, value, span)| Held { key, value, span }).collect();
    }
    let acting = |pair: grammar::Pair| match keys::classify(&pair.key) {
        KeyClass::Acts(key) => Some(Held { key, value: pair.value, span: pair.span }),
        KeyClass::Ignored | KeyClass::Refused(_) | KeyClass::Unknown => None,
    };
    grammar::pairs(text).into_iter().flatten().filter_map(acting).collect()
}

fn encoded(value: &str) -> String {
    utf8_percent_encode(value, NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use headwaters_model::secret::Secret;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::mysql::dsn::{BASIC_AUTH, CONNECTION_STRING_AUTH, MYSQL_SPEC, parameters};

    fn stored(text: &str) -> SourceAccess {
        SourceAccess {
            spec: MYSQL_SPEC,
            auth_spec: CONNECTION_STRING_AUTH.to_owned(),
            params: Map::new(),
            secrets: vec![(CONNECTION_STRING.to_owned(), Secret::new(text))],
        }
    }

    fn restore(sent: &str, text: &str) -> String {
        let sent = json!({ CONNECTION_STRING: sent });
        restored(sent.as_object().unwrap(), &stored(text))[CONNECTION_STRING].as_str().unwrap().to_owned()
    }

    #[test]
    fn what_is_echoed_as_a_whole_is_the_stored_text() {
        for text in [
            "server = h ;PWD = 'a;b' ; Pooling=true",
            "mysql://u:p@ss@h:3306/db?certificatePassword=x",
            "jdbc:mysql://h/db?user=u&password=p",
            "Server=h;PWD=a;PWD=b",
        ] {
            let shown = masked(&stored(text))[CONNECTION_STRING].as_str().unwrap().to_owned();
            assert_ne!(shown, text);
            assert_eq!(restore(&shown, text), text);
        }
    }

    #[test]
    fn other_parts_may_change_around_a_mask() {
        let text = "Server=old;UID=u;PWD=\"a;'b'\";SslCert=/c.pem;SslKey='k;ey'";
        assert_eq!(
            restore("Server=new;Port=3307;pwd=*****;SslCert=/c.pem;SslKey=*****", text),
            "Server=new;Port=3307;pwd=\"a;'b'\";SslCert=/c.pem;SslKey='k;ey'"
        );
        assert_eq!(restore("Password = '*****' ; Server=new", text), "Password = \"a;'b'\" ; Server=new");
        let uri = "mysql://u:p%40ss@old/db";
        assert_eq!(
            restore("mysql://u:*****@new/db?ssl-mode=REQUIRED", uri),
            "mysql://u:p%40ss@new/db?ssl-mode=REQUIRED"
        );
    }

    #[test]
    fn the_form_may_change_around_a_mask() {
        assert_eq!(restore("mysql://u:*****@h/db", "Server=h;PWD=a;PWD='b@;'"), "mysql://u:b%40%3B@h/db");
        assert_eq!(
            restore("jdbc:mariadb://h/db?user=u&password=*****", "Pwd=x y"),
            "jdbc:mariadb://h/db?user=u&password=x%20y"
        );
        assert_eq!(restore("Server=h;UID=u;PWD=*****", "mysql://u:%3B%22@h/db"), "Server=h;UID=u;PWD=';\"'");
    }

    #[test]
    fn what_is_no_mask_or_has_no_secret_stays() {
        assert_eq!(restore("Server=h;PWD=new", "Server=h;PWD=old"), "Server=h;PWD=new");
        assert_eq!(restore("Server=h;PWD=*****;SslKey=*****", "Server=h;PWD=old"), "Server=h;PWD=old;SslKey=*****");
        assert_eq!(restore("Server=*****;PWD=******", "Server=h;PWD=old"), "Server=*****;PWD=******");
        assert_eq!(restore("Server=h;tail *****", "Server=h;PWD=old"), "Server=h;tail *****");
        assert_eq!(restore("", "Server=h;PWD=old"), "");
    }

    #[test]
    fn single_parameters_are_restored_by_their_names() {
        let secrets = vec![("password".to_owned(), Secret::new("pw")), ("sslKey".to_owned(), Secret::new("k"))];
        let params = json!({ "server": "h", "port": "3306" }).as_object().cloned().unwrap();
        let stored = SourceAccess { spec: MYSQL_SPEC, auth_spec: BASIC_AUTH.to_owned(), params, secrets };
        let sent = json!({ "server": "new", "port": 3306, "password": "*****", "sslKey": "other", "sslCert": "*****" });
        assert_eq!(
            Value::Object(restored(sent.as_object().unwrap(), &stored)),
            json!({ "server": "new", "port": 3306, "password": "pw", "sslKey": "other", "sslCert": "*****" })
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(sent in "\\PC{0,100}", text in "\\PC{0,100}") {
            restore(&sent, &text);
        }

        #[test]
        fn every_password_survives_a_change_of_the_server(password in "[^\\x00]{1,40}", as_uri: bool) {
            let text = format!("Server=old;UID=u;PWD={}", grammar::quoted(&password));
            let sent = if as_uri { "mysql://u:*****@new/db" } else { "Server=new;UID=u;PWD=*****" };
            let changed = stored(&restore(sent, &text));
            let connect = parameters(&changed).unwrap().connect;
            prop_assert_eq!(connect.password.expose(), &password);
            let shown = masked(&changed)[CONNECTION_STRING].as_str().unwrap().to_owned();
            prop_assert_eq!(shown, sent);
        }
    }
}
