//! Connection parameters in every form that people have: Connector/NET connection strings, `mysql://`, `mariadb://` and
//! `jdbc:` URIs, and single parameters (mysql-sources.md 1 and 2).
//!
//! **Invariant.** No error and no note of this module holds a value, whole or in part: what is misspelt may be a
//! password. Keys are named only where they look like keys.

pub(crate) mod grammar;
mod keys;
mod restore;
mod settings;
mod uri;
mod values;

use std::ops::Range;

use headwaters_model::id::SpecId;
use headwaters_model::job::SourceAccess;
use headwaters_model::secret::Secret;
use headwaters_model::source_error::{SourceError, SourceErrorKind};
use serde_json::{Map, Value};

use self::keys::KeyClass;
pub use self::restore::restored;
use self::settings::{CONNECTION_STRING, Settings};
use self::uri::{Scheme, Uri};
use super::types::TypeRules;
use super::wire::ConnectOptions;

/// The connection spec of MySQL (catalogue.json).
pub const MYSQL_SPEC: SpecId = SpecId::fixed(0x26d7_38e0_8963_47ea_aadf_c60d_e735_468a);
/// The connection spec of MariaDB (catalogue.json).
pub const MARIA_DB_SPEC: SpecId = SpecId::fixed(0x3000_eb99_cd47_43f3_827c_43ca_f170_f015);
/// The auth spec with one connection string.
pub const CONNECTION_STRING_AUTH: &str = "Connection String Based Authentication";
/// The auth spec with single parameters.
pub const BASIC_AUTH: &str = "Basic Authentication";

/// What stands in the place of a secret (flow-service.md 13.2).
const MASK: &str = "*****";
/// The parameter that holds a password beside a connection string, for the command line only.
const PASSWORD: &str = "password";

/// What connection parameters ask for.
#[derive(Debug, Clone)]
pub struct Parameters {
    /// How to connect; its database is also where bare table names are looked up.
    pub connect: ConnectOptions,
    /// How values are read.
    pub rules: TypeRules,
    /// Keys that are ignored or given twice, and settings without effect, one sentence each.
    pub notes: Vec<String>,
}

/// Reads connection parameters. Nothing is connected, no file is opened.
pub fn parameters(access: &SourceAccess) -> Result<Parameters, SourceError> {
    match &*access.auth_spec {
        CONNECTION_STRING_AUTH => {
            let Some(text) = connection_string(access) else {
                let key = CONNECTION_STRING.to_owned();
                let message = format!("the connection parameter {key} is missing");
                return Err(SourceError::definite(SourceErrorKind::MissingParameter { key }, message));
            };
            let beside = access.secrets.iter().find(|(name, _)| name == PASSWORD).map(|(_, secret)| secret);
            Settings::from_text(text)?.with_password_beside(beside).parameters()
        }
        BASIC_AUTH => Settings::from_parameters(&access.params, &access.secrets)?.parameters(),
        _ => {
            let kind = SourceErrorKind::InvalidParameter { key: "specName".to_owned() };
            let message = format!("the auth spec is neither {CONNECTION_STRING_AUTH} nor {BASIC_AUTH}");
            Err(SourceError::definite(kind, message))
        }
    }
}

/// The parameters as they may be shown: secrets as `*****`, in a connection string only its secret values
/// (mysql-sources.md 1.6).
#[must_use]
pub fn masked(access: &SourceAccess) -> Map<String, Value> {
    let mut shown = Map::new();
    for (name, value) in &access.params {
        let value = match value {
            Value::String(text) if name == CONNECTION_STRING => Value::from(masked_text(text)),
            value => {
                let text = value.as_str().unwrap_or_default();
                match keys::parameter(name).is_some_and(|key| key.is_secret(text)) {
                    true => Value::from(MASK),
                    false => value.clone(),
                }
            }
        };
        shown.insert(name.clone(), value);
    }
    for (name, secret) in &access.secrets {
        let text = if name == CONNECTION_STRING { masked_text(secret.expose()) } else { MASK.to_owned() };
        shown.insert(name.clone(), Value::from(text));
    }
    shown
}

/// How the command line reaches a source: a connection string or a URI, and a password that came another way.
///
/// The notes warn of a password inside the text, which every user of the machine can see in its process list.
pub fn access_from_text(source: &str, password: Option<Secret>) -> Result<(SourceAccess, Vec<String>), SourceError> {
    let settings = Settings::from_text(source)?;
    let mut notes = Vec::new();
    if settings.has_password() {
        let note = "the password in SOURCE can be seen in the process list; HEADWATERS_SOURCE_PASSWORD keeps it out";
        notes.push(note.to_owned());
    }
    let spec = if uri::scheme(source) == Some(Scheme::MariaDb) { MARIA_DB_SPEC } else { MYSQL_SPEC };
    let mut secrets = vec![(CONNECTION_STRING.to_owned(), Secret::new(source))];
    secrets.extend(password.map(|password| (PASSWORD.to_owned(), password)));
    let access = SourceAccess { spec, auth_spec: CONNECTION_STRING_AUTH.to_owned(), params: Map::new(), secrets };
    parameters(&access)?;
    Ok((access, notes))
}

/// Whether a connection string or a URI holds a password, an empty one too; if not, the command line asks for it.
pub fn holds_password(source: &str) -> Result<bool, SourceError> {
    Settings::from_text(source).map(|settings| settings.has_password())
}

fn connection_string(access: &SourceAccess) -> Option<&str> {
    let secret = access.secrets.iter().find(|(name, _)| name == CONNECTION_STRING).map(|(_, secret)| secret.expose());
    secret.or_else(|| access.params.get(CONNECTION_STRING)?.as_str()).filter(|text| !text.trim().is_empty())
}

/// A connection string or a URI without its secrets; what can not be parsed is hidden as a whole.
fn masked_text(text: &str) -> String {
    let spans = if uri::is_uri(text) {
        Uri::parse(text).map(|uri| uri.secret_spans())
    } else {
        grammar::pairs(text).map(|pairs| {
            let secret = pairs.into_iter().filter(|pair| match keys::classify(&pair.key) {
                KeyClass::Acts(key) => key.is_secret(&pair.value),
                KeyClass::Ignored => false,
                KeyClass::Refused(_) | KeyClass::Unknown => true,
            });
            secret.map(|pair| pair.span).collect()
        })
    };
    spans.map_or_else(|_| MASK.to_owned(), |spans| without(text, spans))
}

fn without(text: &str, mut spans: Vec<Range<usize>>) -> String {
    spans.sort_by_key(|span| span.start);
    let mut shown = String::with_capacity(text.len());
    let mut at = 0;
    for span in spans {
        shown.push_str(text.get(at..span.start).unwrap_or_default());
        shown.push_str(MASK);
        at = span.end;
    }
    shown.push_str(text.get(at..).unwrap_or_default());
    shown
}

#[cfg(test)]
mod tests;
