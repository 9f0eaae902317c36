//! What was set: the same list whether it came as a connection string, as a URI or as single parameters, and what it
//! makes of the connection.

use std::fmt;

use headwaters_model::secret::Secret;
use headwaters_model::source_error::{SourceError, SourceErrorKind};
use serde_json::{Map, Value};

use super::Parameters;
use super::grammar::{self, GrammarError};
use super::keys::{self, Key, KeyClass};
use super::uri::{self, Uri};
use super::values::{self, Expected};
use crate::mysql::types::{GuidLayout, TypeRules, ZeroDates};
use crate::mysql::wire::{ClientCertificate, ConnectOptions, Endpoint, Pem, TlsMode, TlsOptions};

const PORT: u16 = 3306;
/// Names of keys longer than this are not shown: they are hardly names.
const SHOWN_NAME_CHARS_MAX: usize = 40;

/// The parameter of a whole connection string.
pub(crate) const CONNECTION_STRING: &str = "connectionString";
/// The parameter of basic authentication that chooses the system's roots (mysql-sources.md 2).
const USE_SYSTEM_TRUST_STORE: &str = "useSystemTrustStore";

/// In which form parameters were given; errors speak of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    ConnectionString,
    Uri,
    Basic,
}

/// One setting that acts.
struct Given {
    key: Key,
    name: String,
    /// Characters before it; none for a parameter of its own.
    offset: Option<usize>,
    value: Secret,
}

/// Everything that was set; the last of several wins (mysql-sources.md 1.1).
pub(crate) struct Settings {
    form: Form,
    given: Vec<Given>,
    notes: Vec<String>,
    system_roots: bool,
}

impl Settings {
    /// Reads a connection string or a URI.
    pub(crate) fn from_text(text: &str) -> Result<Self, SourceError> {
        if uri::is_uri(text) { Self::from_uri(text) } else { Self::from_connection_string(text) }
    }

    fn new(form: Form) -> Self {
        Self { form, given: Vec::new(), notes: Vec::new(), system_roots: false }
    }

    fn from_connection_string(text: &str) -> Result<Self, SourceError> {
        let mut settings = Self::new(Form::ConnectionString);
        for pair in grammar::pairs(text).map_err(|error| settings.unparsable(error))? {
            match keys::classify(&pair.key) {
                KeyClass::Acts(key) => settings.set(key, pair.key, Some(pair.offset), pair.value),
                KeyClass::Ignored => settings.ignore(&pair.key),
                KeyClass::Refused(hint) => return Err(settings.refused(&pair.key, pair.offset).with_hint(hint)),
                KeyClass::Unknown => return Err(settings.unknown(&pair.key, pair.offset)),
            }
        }
        Ok(settings)
    }

    fn from_uri(text: &str) -> Result<Self, SourceError> {
        let mut settings = Self::new(Form::Uri);
        let uri = Uri::parse(text).map_err(|error| settings.unparsable(error))?;
        let mut old_tls = OldTls::default();
        for setting in uri.settings() {
            match setting {
                uri::Setting::Acts { key, name, offset, value } => settings.set(key, name, Some(offset), value),
                uri::Setting::Ignored { name } => settings.ignore(&name),
                uri::Setting::Refused { name, offset, hint } => {
                    return Err(settings.refused(&name, offset).with_hint(hint));
                }
                uri::Setting::Unknown { name, offset } => return Err(settings.unknown(&name, offset)),
                uri::Setting::OldTls { name, offset, value } => {
                    let on = values::boolean(&value)
                        .map_err(|expected| settings.invalid_at(&name, Some(offset), expected))?;
                    old_tls.set(&name, on);
                }
            }
        }
        if settings.find(Key::SslMode).is_none()
            && let Some(mode) = old_tls.mode(uri.scheme)
        {
            settings.set(Key::SslMode, "sslMode".to_owned(), None, mode.to_owned());
        }
        Ok(settings)
    }

    /// Reads the parameters of basic authentication; keys that mean nothing here are kept by their owner and ignored.
    pub(crate) fn from_parameters(
        params: &Map<String, Value>,
        secrets: &[(String, Secret)],
    ) -> Result<Self, SourceError> {
        let mut settings = Self::new(Form::Basic);
        for (name, value) in params {
            let text = match value {
                Value::Null => continue,
                Value::String(text) => Some(text.clone()),
                Value::Number(number) => Some(number.to_string()),
                Value::Bool(value) => Some(value.to_string()),
                Value::Array(_) | Value::Object(_) => None,
            };
            let key = keys::parameter(name);
            let roots = name.eq_ignore_ascii_case(USE_SYSTEM_TRUST_STORE);
            match (key, text) {
                (None, _) if !roots => {}
                (_, None) => return Err(settings.invalid_at(name, None, "it must be a text, a number or a boolean")),
                (Some(key), Some(text)) => settings.set(key, name.clone(), None, text),
                (None, Some(text)) => {
                    settings.system_roots =
                        values::boolean(text.trim()).map_err(|expected| settings.invalid_at(name, None, expected))?;
                }
            }
        }
        for (name, secret) in secrets {
            if let Some(key) = keys::parameter(name) {
                settings.set(key, name.clone(), None, secret.expose().to_owned());
            }
        }
        for key in [Key::Server, Key::UserId] {
            if settings.find(key).is_none() {
                let key = key.parameter();
                let message = format!("the connection parameter {key} is missing");
                return Err(SourceError::definite(SourceErrorKind::MissingParameter { key }, message));
            }
        }
        Ok(settings)
    }

    /// Takes a password that was handed over beside the text; one in the text wins.
    pub(crate) fn with_password_beside(mut self, password: Option<&Secret>) -> Self {
        if let Some(password) = password
            && !self.has_password()
        {
            self.set(Key::Password, Key::Password.name().to_owned(), None, password.expose().to_owned());
        }
        self
    }

    /// Whether a password is set, an empty one too.
    pub(crate) fn has_password(&self) -> bool {
        self.given.iter().any(|given| given.key == Key::Password)
    }

    fn set(&mut self, key: Key, name: String, offset: Option<usize>, value: String) {
        if let Some(place) = self.given.iter().position(|given| given.key == key) {
            self.given.remove(place);
            self.notes
                .push(format!("CONNSTR_DUPLICATE_KEY: {} is given more than once; the last one counts", key.name()));
        }
        self.given.push(Given { key, name, offset, value: Secret::new(value) });
    }

    fn ignore(&mut self, name: &str) {
        self.notes.push(format!("{} is ignored: it means nothing here", shown(name)));
    }

    /// A setting that is not empty; an empty one is as good as none.
    fn find(&self, key: Key) -> Option<&Given> {
        self.given.iter().find(|given| given.key == key && !given.value.is_empty())
    }

    fn text(&self, key: Key) -> Option<&str> {
        self.find(key).map(|given| given.value.expose())
    }

    fn secret(&self, key: Key) -> Option<Secret> {
        self.find(key).map(|given| given.value.clone())
    }

    fn read<T>(&self, key: Key, default: T, reader: fn(&str) -> Result<T, Expected>) -> Result<T, SourceError> {
        let Some(given) = self.find(key) else { return Ok(default) };
        reader(given.value.expose().trim()).map_err(|expected| self.invalid(given, expected))
    }

    /// What was set, as the connection and the readers need it.
    pub(crate) fn parameters(mut self) -> Result<Parameters, SourceError> {
        if let Some(given) = self.given.iter().find(|given| given.value.expose().contains('\0')) {
            return Err(self.invalid(given, "it must not hold a NUL character"));
        }
        let defaults = ConnectOptions::default();
        let connect = ConnectOptions {
            hosts: self.hosts()?,
            user: self.text(Key::UserId).unwrap_or_default().to_owned(),
            password: self.secret(Key::Password).unwrap_or_default(),
            database: self.text(Key::Database).map(str::to_owned),
            tls: self.tls()?,
            connect_timeout: self.read(Key::ConnectionTimeout, defaults.connect_timeout, values::seconds)?,
            statement_timeout: self.read(Key::DefaultCommandTimeout, defaults.statement_timeout, values::seconds)?,
            keepalive_seconds: self.read(Key::Keepalive, defaults.keepalive_seconds, keepalive)?,
            compress: self.read(Key::UseCompression, false, values::boolean)?,
            allow_public_key_retrieval: self.read(Key::AllowPublicKeyRetrieval, false, values::boolean)?,
            server_public_key: self.text(Key::ServerRsaPublicKeyFile).map(Pem::new),
            enable_cleartext_plugin: self.read(Key::EnableCleartextPlugin, false, values::boolean)?,
            default_auth_plugin: self.text(Key::DefaultAuthenticationPlugin).map(str::to_owned),
            interactive: self.read(Key::InteractiveSession, false, values::boolean)?,
            program_name: self.text(Key::ApplicationName).map_or(defaults.program_name, str::to_owned),
            load_balance: self.read(Key::LoadBalance, defaults.load_balance, values::load_balance)?,
            row_bytes_max: defaults.row_bytes_max,
        };
        let rules = self.rules()?;
        self.note_what_has_no_effect(&connect.tls);
        Ok(Parameters { connect, rules, notes: self.notes })
    }

    fn hosts(&self) -> Result<Vec<Endpoint>, SourceError> {
        let port = self.read(Key::Port, PORT, values::port)?;
        let unix = self.read(Key::Protocol, false, values::is_unix_socket)?;
        let Some(server) = self.find(Key::Server) else {
            if unix {
                return Err(self.invalid_at(Key::Protocol.name(), None, "name the path of the Unix socket in Server"));
            }
            return Ok(vec![Endpoint::Tcp { host: "localhost".to_owned(), port }]);
        };
        let hosts =
            values::endpoints(server.value.expose().trim(), port).map_err(|expected| self.invalid(server, expected))?;
        if unix && !matches!(&*hosts, [Endpoint::Socket(_)]) {
            return Err(self.invalid(server, "with Protocol=Unix it must be the absolute path of a Unix socket"));
        }
        Ok(hosts)
    }

    fn tls(&self) -> Result<TlsOptions, SourceError> {
        let ca = self.text(Key::SslCa).filter(|_| !self.system_roots).map(Pem::new);
        let client = match (self.find(Key::CertificateFile), self.find(Key::SslCert), self.find(Key::SslKey)) {
            (None, None, None) => None,
            (Some(file), None, None) => Some(ClientCertificate::Pkcs12 {
                path: file.value.expose().into(),
                password: self.secret(Key::CertificatePassword).unwrap_or_default(),
            }),
            (None, Some(certificate), Some(key)) => Some(ClientCertificate::Pem {
                certificate: Pem::new(certificate.value.expose()),
                key: key.value.clone(),
            }),
            (None, Some(given), None) | (None, None, Some(given)) => {
                return Err(self.invalid(given, "SslCert and SslKey go together: give both or neither"));
            }
            (Some(given), ..) => {
                return Err(self.invalid(given, "give either CertificateFile or SslCert and SslKey"));
            }
        };
        Ok(TlsOptions {
            mode: self.read(Key::SslMode, TlsMode::default(), values::tls_mode)?,
            ca,
            client,
            versions: self.read(Key::TlsVersion, Vec::new(), values::tls_versions)?,
            cipher_suites: self.read(Key::TlsCipherSuites, Vec::new(), values::cipher_suites)?,
        })
    }

    fn rules(&self) -> Result<TypeRules, SourceError> {
        let keeps_raw = self.read(Key::AllowZeroDateTime, false, values::boolean)?;
        let converts = self.read(Key::ConvertZeroDateTime, false, values::boolean)?;
        let zero_dates = match (keeps_raw, converts) {
            // Both: the one that loses nothing.
            (true, _) => ZeroDates::Raw,
            (false, true) => ZeroDates::FirstDay,
            (false, false) => ZeroDates::Null,
        };
        let old_guids = self.read(Key::OldGuids, false, values::boolean)?;
        let guids = self.read(Key::GuidFormat, None, values::guid_format)?;
        if let Some(given) = self.find(Key::DateTimeKind) {
            match &*values::folded(given.value.expose()) {
                "unspecified" | "utc" => {}
                "local" if self.find(Key::SourceTimeZone).is_some() => {}
                "local" => return Err(self.invalid(given, "Local needs the zone's name in SourceTimeZone")),
                _ => return Err(self.invalid(given, "it must be one of Unspecified, Utc, Local")),
            }
        }
        Ok(TypeRules {
            tiny_as_boolean: self.read(Key::TreatTinyAsBoolean, true, values::boolean)?,
            zero_dates,
            source_time_zone: self.read(Key::SourceTimeZone, None, values::time_zone)?,
            guids: guids.or(old_guids.then_some(GuidLayout::LittleEndianBinary16)),
        })
    }

    fn note_what_has_no_effect(&mut self, tls: &TlsOptions) {
        if self.text(Key::CharacterSet).is_some_and(|name| !name.trim().eq_ignore_ascii_case("utf8mb4")) {
            self.notes.push("CharacterSet is ignored: the session always speaks utf8mb4".to_owned());
        }
        if tls.ca.is_some() && tls.mode < TlsMode::VerifyCa {
            let note =
                "SslCa has no effect: SslMode does not ask to check the certificate (VerifyCA or VerifyFull would)";
            self.notes.push(note.to_owned());
        }
        if tls.client.is_some() && tls.mode == TlsMode::Disabled {
            self.notes.push("the client certificate has no effect: SslMode is Disabled".to_owned());
        }
    }

    fn unparsable(&self, error: GrammarError) -> SourceError {
        let kind = SourceErrorKind::InvalidParameter { key: CONNECTION_STRING.to_owned() };
        SourceError::definite(kind, format!("{}: {error}", self.form)).with_hint(match self.form {
            Form::Uri => "percent-encode the password: %2F is a slash, %3F a question mark, %23 a hash, %40 an at sign",
            _ => "put values that hold a semicolon or begin with a quote into quotes",
        })
    }

    fn refused(&self, name: &str, offset: usize) -> SourceError {
        self.invalid_at(name, Some(offset), "it is not supported, and leaving it out would change who connects where")
    }

    fn unknown(&self, name: &str, offset: usize) -> SourceError {
        self.invalid_at(name, Some(offset), "no such key is known")
            .with_hint("check its spelling; a value that holds a semicolon must stand in quotes")
    }

    fn invalid(&self, given: &Given, expected: Expected) -> SourceError {
        self.invalid_at(&given.name, given.offset, expected)
    }

    fn invalid_at(&self, name: &str, offset: Option<usize>, expected: Expected) -> SourceError {
        let name = shown(name);
        let place = offset.map_or_else(String::new, |offset| format!(" at character {offset}"));
        let message = format!("{}: {name}{place}: {expected}", self.form);
        SourceError::definite(SourceErrorKind::InvalidParameter { key: name.to_owned() }, message)
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ConnectionString => "connection string",
            Self::Uri => "connection URI",
            Self::Basic => "connection parameters",
        })
    }
}

/// A key as errors may show it. What does not look like the name of a key may be the tail of a password.
fn shown(name: &str) -> &str {
    let named = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        && name.len() <= SHOWN_NAME_CHARS_MAX;
    if named { name } else { "a key" }
}

/// 0 leaves the system's own keepalive alone.
fn keepalive(text: &str) -> Result<Option<u32>, Expected> {
    match text.parse::<u32>() {
        Ok(0) => Ok(None),
        Ok(seconds) => Ok(Some(seconds)),
        Err(_) => Err("it must be a number of seconds; 0 is off"),
    }
}

/// The TLS switches of older JDBC drivers.
#[derive(Default)]
struct OldTls {
    wanted: Option<bool>,
    required: bool,
    verified: bool,
}

impl OldTls {
    fn set(&mut self, name: &str, on: bool) {
        match &*name.to_ascii_lowercase() {
            "usessl" => self.wanted = Some(on),
            "requiressl" => self.required = on,
            _ => self.verified = on,
        }
    }

    /// The rung that the drivers themselves derive; MariaDB's `useSsl` always insists.
    fn mode(&self, scheme: uri::Scheme) -> Option<&'static str> {
        match (self.wanted, self.required, self.verified) {
            (Some(false), ..) => Some("DISABLED"),
            (_, _, true) => Some("VERIFY_CA"),
            (_, true, false) => Some("REQUIRED"),
            (Some(true), false, false) if scheme == uri::Scheme::MariaDb => Some("REQUIRED"),
            (Some(true), false, false) => Some("PREFERRED"),
            (None, false, false) => None,
        }
    }
}
