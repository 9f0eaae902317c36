//! The kinds of server that tests run on, and where each one's files are.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cache::servers_dir;

/// One kind of server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flavour {
    /// MariaDB as Debian stable has it (10.11).
    MariaDb,
    /// A newer MariaDB (11.8 or later), for what 10.11 lacks: parsec, `VECTOR`, newer type codes.
    MariaDbNewer,
    /// MySQL 9.
    MySql,
}

impl Flavour {
    /// Every flavour, the quickest to start first.
    pub const ALL: [Self; 3] = [Self::MariaDb, Self::MariaDbNewer, Self::MySql];

    /// Whether this is a MariaDB of any age.
    pub fn is_maria_db(self) -> bool {
        self != Self::MySql
    }

    /// A short name that is fit for a folder.
    pub fn name(self) -> &'static str {
        match self {
            Self::MariaDb => "mariadb",
            Self::MariaDbNewer => "mariadb-newer",
            Self::MySql => "mysql",
        }
    }

    /// Finds the server on this machine.
    ///
    /// # Errors
    /// It is not there; the message names the command that brings it.
    pub(crate) fn installation(self) -> Result<Installation> {
        let servers = servers_dir()?;
        let installation = match self {
            Self::MariaDb => Installation {
                program: PathBuf::from("/usr/sbin/mariadbd"),
                share: PathBuf::from("/usr/share/mysql"),
                plugins: PathBuf::from("/usr/lib/mysql/plugin"),
                libraries: None,
            },
            Self::MariaDbNewer => Installation {
                program: servers.join("mariadb/usr/sbin/mariadbd"),
                share: servers.join("mariadb/usr/share/mariadb"),
                plugins: servers.join("mariadb/usr/lib/mysql/plugin"),
                libraries: Some(servers.join("libraries")),
            },
            Self::MySql => Installation {
                program: servers.join("mysql/usr/sbin/mysqld"),
                share: servers.join("mysql/usr/share/mysql"),
                plugins: servers.join("mysql/usr/lib/mysql/plugin"),
                libraries: Some(servers.join("libraries")),
            },
        };
        if !installation.program.exists() {
            bail!(
                "the test server {self} is not installed (no {}): run `cargo xtask test`, which installs what is missing",
                installation.program.display()
            );
        }
        Ok(installation)
    }
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MariaDb => "MariaDB",
            Self::MariaDbNewer => "newer MariaDB",
            Self::MySql => "MySQL",
        })
    }
}

/// The files of one server.
#[derive(Debug)]
pub(crate) struct Installation {
    pub(crate) program: PathBuf,
    /// Messages, character sets and, for MariaDB, the SQL files of the system tables.
    pub(crate) share: PathBuf,
    pub(crate) plugins: PathBuf,
    /// The C library and all that the program links to, if they are not the machine's own.
    libraries: Option<PathBuf>,
}

impl Installation {
    /// A command that runs the server with its own libraries, by their own dynamic linker: so a server of a newer Debian
    /// runs on an older one without a chroot, and so without being root.
    pub(crate) fn command(&self) -> Result<Command> {
        let Some(libraries) = &self.libraries else {
            return Ok(Command::new(&self.program));
        };
        let linker =
            find(libraries, &["usr/lib64", "usr/lib"], |name| name.starts_with("ld-linux")).with_context(|| {
                format!(
                    "no dynamic linker below {}: remove that folder's parent and run `cargo xtask test`",
                    libraries.display()
                )
            })?;
        let multiarch = find(libraries, &["usr/lib"], |name| name.contains("-linux-gnu")).with_context(|| {
            format!(
                "no libraries below {}: remove that folder's parent and run `cargo xtask test`",
                libraries.display()
            )
        })?;
        let mut command = Command::new(linker);
        command.arg("--library-path").arg(multiarch).arg(&self.program);
        Ok(command)
    }

    /// What `--version` says: part of the template's name, so that an upgraded server gets a new template.
    pub(crate) fn version(&self) -> Result<String> {
        let output =
            self.command()?.arg("--version").output().with_context(|| format!("running {}", self.program.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let version = text.split("Ver ").nth(1).and_then(|rest| rest.split_whitespace().next());
        Ok(version.with_context(|| format!("{} --version says: {text}", self.program.display()))?.to_owned())
    }
}

fn find(root: &Path, folders: &[&str], wanted: impl Fn(&str) -> bool) -> Option<PathBuf> {
    folders.iter().filter_map(|folder| std::fs::read_dir(root.join(folder)).ok()).flatten().flatten().find_map(
        |entry| {
            let name = entry.file_name();
            name.to_str().is_some_and(&wanted).then(|| entry.path())
        },
    )
}
