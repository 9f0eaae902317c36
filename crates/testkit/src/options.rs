//! What a test server is started with.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::cache::{run_dir, unique_name, user_id};
use crate::flavour::Flavour;
use crate::keeper::Kept;
use crate::server::DatabaseServer;
use crate::template::{self, DATA, template};
use crate::{mariadb, mysql};

/// What a private server is started with.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    pub(crate) flavour: Flavour,
    pub(crate) arguments: Vec<String>,
    timezone: Option<String>,
    pub(crate) tls: bool,
}

impl ServerOptions {
    /// A server as the shared one is: TLS on, UTC, the flavour's defaults (MySQL writes a binary log, MariaDB does not).
    pub fn new(flavour: Flavour) -> Self {
        Self { flavour, arguments: Vec::new(), timezone: None, tls: true }
    }

    /// One more argument, e.g. `--log-bin` or `--sql-mode=ORACLE`.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// The zone that the server takes for the system's, e.g. `Asia/Kolkata`; needs no time zone tables.
    #[must_use]
    pub fn timezone(mut self, zone: &str) -> Self {
        self.timezone = Some(zone.to_owned());
        self
    }

    /// A server that offers no TLS.
    #[must_use]
    pub fn without_tls(mut self) -> Self {
        self.tls = false;
        self
    }

    /// Starts a private server on a copy of the flavour's template. It ends when the value is dropped.
    ///
    /// # Errors
    /// The server is not installed, or doesn't come up; the message holds the end of its log.
    pub async fn start(self) -> Result<DatabaseServer> {
        let template = template(self.flavour).await?;
        let dir = run_dir()?.join(unique_name());
        if dir.exists() {
            std::fs::remove_dir_all(&dir)
                .with_context(|| format!("removing what an earlier process left: {}", dir.display()))?;
        }
        template::copy(&template, &dir)?;
        self.start_in(dir).await
    }

    /// Starts a server on the data directory in `dir`, under a lease of its own.
    pub(crate) async fn start_in(self, dir: PathBuf) -> Result<DatabaseServer> {
        let kept = Kept::take(&dir)?;
        let mut server = DatabaseServer::at(self, dir);
        server.kept = Some(kept);
        server.start().await?;
        Ok(server)
    }

    /// Fills the data directory in `dir` with the system tables.
    pub(crate) fn initialise(&self, dir: &Path) -> Result<()> {
        let installation = self.flavour.installation()?;
        let command = self.command(dir)?;
        match self.flavour {
            Flavour::MySql => mysql::initialise(&installation, command),
            Flavour::MariaDb | Flavour::MariaDbNewer => mariadb::initialise(&installation, command),
        }
    }

    /// The server's command line, without the port.
    pub(crate) fn command(&self, dir: &Path) -> Result<Command> {
        let installation = self.flavour.installation()?;
        let mut command = installation.command()?;
        command.arg("--no-defaults");
        if user_id()? == 0 {
            command.arg("--user=root");
        }
        for (name, path) in [
            ("datadir", dir.join(DATA)),
            ("socket", dir.join("socket")),
            ("pid-file", dir.join("server.pid")),
            // A server that starts clears its temporary folder: one that is shared would lose its neighbour's tables.
            ("tmpdir", dir.to_path_buf()),
            ("plugin-dir", installation.plugins.clone()),
            ("lc-messages-dir", installation.share.clone()),
            ("character-sets-dir", installation.share.join("charsets")),
        ] {
            command.arg(format!("--{name}={}", path.display()));
        }
        command.args([
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
            "--secure-file-priv=",
            "--local-infile=1",
            "--innodb-buffer-pool-size=64M",
            "--innodb-flush-log-at-trx-commit=2",
        ]);
        command.args(match self.flavour {
            Flavour::MySql => mysql::arguments(self.tls),
            Flavour::MariaDb | Flavour::MariaDbNewer => mariadb::arguments(self.tls),
        });
        command.env("TZ", self.timezone.as_deref().unwrap_or("UTC"));
        Ok(command)
    }
}
