//! `DIR/credentials.json`: what the first account needs (product.md, "Command line").

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use headwaters_control::Credentials;
use serde::{Deserialize, Serialize};

use crate::exit::CliError;

/// The file's name in the data directory.
const FILE: &str = "credentials.json";

/// The file's content. It holds a secret, so it has no `Debug`.
#[derive(Serialize, Deserialize)]
pub(crate) struct CredentialsFile {
    pub(crate) base_url: String,
    pub(crate) org_id: String,
    pub(crate) client_id: String,
    pub(crate) client_secret: String,
    pub(crate) scopes: Vec<String>,
    pub(crate) sandbox: String,
}

impl CredentialsFile {
    /// What a first start has made, reachable at `base_url`.
    pub(crate) fn of(credentials: &Credentials, base_url: String) -> Self {
        Self {
            base_url,
            org_id: credentials.org_id.to_string(),
            client_id: credentials.client_id.to_string(),
            client_secret: credentials.client_secret.expose().to_owned(),
            scopes: credentials.scopes.clone(),
            sandbox: credentials.sandbox.clone(),
        }
    }

    /// Where it stands.
    pub(crate) fn path(data: &Path) -> PathBuf {
        data.join(FILE)
    }

    /// Reads it; none where there is no such file.
    pub(crate) fn read(data: &Path) -> Result<Option<Self>, CliError> {
        let path = Self::path(data);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(CliError::other(format!("could not read {}: {error}", path.display()))),
        };
        // The parser's message may quote the secret.
        let parsed = serde_json::from_str(&text);
        parsed.map(Some).map_err(|_| CliError::other(format!("{} is not a credentials file", path.display())))
    }

    /// Reads it, or says how it comes to be.
    pub(crate) fn require(data: &Path) -> Result<Self, CliError> {
        Self::read(data)?.ok_or_else(|| {
            CliError::usage(format!("there is no {}", Self::path(data).display()))
                .with_hint("the first `headwaters serve` makes it; name its data directory with --data")
        })
    }

    /// Writes it with mode 0600, whole or not at all.
    pub(crate) fn write(&self, data: &Path) -> Result<(), CliError> {
        let path = Self::path(data);
        let failed = |error: std::io::Error| CliError::other(format!("could not write {}: {error}", path.display()));
        let text = serde_json::to_string_pretty(self).map_err(|error| failed(error.into()))?;
        let partial = data.join(format!("{FILE}.partial"));
        let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial);
        let mut file = opened.map_err(failed)?;
        file.write_all(text.as_bytes()).and_then(|()| file.write_all(b"\n")).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        fs::rename(&partial, &path).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn only_its_owner_can_read_it() {
        let data = tempfile::tempdir().unwrap();
        let file = CredentialsFile {
            base_url: "http://127.0.0.1:8480".into(),
            org_id: "o".into(),
            client_id: "c".into(),
            client_secret: "s".into(),
            scopes: vec!["openid".into()],
            sandbox: "prod".into(),
        };
        file.write(data.path()).unwrap();
        let mode = fs::metadata(CredentialsFile::path(data.path())).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(CredentialsFile::read(data.path()).unwrap().unwrap().client_secret, "s");
    }

    #[test]
    fn a_broken_file_is_not_quoted() {
        let data = tempfile::tempdir().unwrap();
        fs::write(CredentialsFile::path(data.path()), "{\"client_secret\": hunter2").unwrap();
        let error = CredentialsFile::read(data.path()).err().unwrap();
        assert!(!error.to_string().contains("hunter2"));
    }
}
