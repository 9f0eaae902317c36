//! `DIR/credentials.json`: what the first account needs (product.md, "Command line").

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use headwaters_control::Credentials;
use headwaters_model::secret::Secret;
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

    /// What it says, understood.
    pub(crate) fn credentials(&self, data: &Path) -> Result<Credentials, CliError> {
        let wrong = |field: &str| {
            let path = Self::path(data);
            CliError::other(format!("{} is not a credentials file: its {field} has another form", path.display()))
        };
        Ok(Credentials {
            org_id: self.org_id.parse().map_err(|_| wrong("org_id"))?,
            client_id: self.client_id.parse().map_err(|_| wrong("client_id"))?,
            client_secret: Secret::new(self.client_secret.as_str()),
            scopes: self.scopes.clone(),
            sandbox: self.sandbox.clone(),
        })
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

    /// Writes it with mode 0600, whole or not at all, and durably.
    pub(crate) fn write(&self, data: &Path) -> Result<(), CliError> {
        let partial = self.write_beside(data).map_err(|error| failed(data, &error))?;
        fs::rename(partial, Self::path(data)).and_then(|()| sync(data)).map_err(|error| failed(data, &error))
    }

    /// The same where there is no such file yet. Returns the file that stands then: another process may have been faster,
    /// and a secret that somebody may have read already is never replaced.
    pub(crate) fn write_first(&self, data: &Path) -> Result<Self, CliError> {
        let partial = self.write_beside(data).map_err(|error| failed(data, &error))?;
        // Unlike a rename, a link never takes the place of a file that is there.
        let linked = fs::hard_link(&partial, Self::path(data));
        fs::remove_file(&partial).and_then(|()| sync(data)).map_err(|error| failed(data, &error))?;
        match linked {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(failed(data, &error)),
            _ => Self::require(data),
        }
    }

    fn write_beside(&self, data: &Path) -> std::io::Result<PathBuf> {
        let partial = data.join(format!("{FILE}.partial.{}", std::process::id()));
        // What a process of the same number left behind when it died.
        match fs::remove_file(&partial) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial)?;
        file.write_all(serde_json::to_string_pretty(self)?.as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        Ok(partial)
    }
}

fn failed(data: &Path, error: &std::io::Error) -> CliError {
    CliError::other(format!("could not write {}: {error}", CredentialsFile::path(data).display()))
}

/// Makes the name of a new file survive a power cut.
fn sync(data: &Path) -> std::io::Result<()> {
    fs::File::open(data)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn file(secret: &str) -> CredentialsFile {
        CredentialsFile {
            base_url: "http://127.0.0.1:8480".into(),
            org_id: "o".into(),
            client_id: "c".into(),
            client_secret: secret.into(),
            scopes: vec!["openid".into()],
            sandbox: "prod".into(),
        }
    }

    #[test]
    fn a_file_that_is_there_is_never_replaced_by_a_first_one() {
        let data = tempfile::tempdir().unwrap();
        assert_eq!(file("first").write_first(data.path()).unwrap().client_secret, "first");
        assert_eq!(file("second").write_first(data.path()).unwrap().client_secret, "first");
        assert_eq!(fs::read_dir(data.path()).unwrap().count(), 1, "nothing is left beside it");
        let mode = fs::metadata(CredentialsFile::path(data.path())).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn only_its_owner_can_read_it() {
        let data = tempfile::tempdir().unwrap();
        file("s").write(data.path()).unwrap();
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
