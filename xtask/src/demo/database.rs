//! The demonstration's private MariaDB, with the shop in it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::keeper;
use crate::environment::root;
use crate::shell::{self, output};

/// The account that the demonstration reads with.
pub(crate) const USER: &str = "flow_reader";
/// Its password; the database is thrown away.
pub(crate) const PASSWORD: &str = "demo-Pa55";
/// How long the database may take to start, in tenths of a second.
const START_TENTHS_MAX: u32 = 600;

/// A running MariaDB.
pub(crate) struct Database {
    dir: PathBuf,
    process: Child,
    pub(crate) port: u16,
}

impl Database {
    /// Starts it in `dir`, loads the shop, and makes the account.
    pub(crate) fn start(dir: &Path) -> Result<Self> {
        let data = format!("--datadir={}", dir.join("mariadb").display());
        let is_root = output(Command::new("id").arg("-u"))?.trim() == "0";
        let user: &[&str] = if is_root { &["--user=root"] } else { &[] };
        output(
            Command::new("mariadb-install-db")
                .args(["--no-defaults", "--skip-test-db", "--auth-root-authentication-method=normal", &data])
                .args(user),
        )?;
        let port = free_port()?;
        let mut command = Command::new("/usr/sbin/mariadbd");
        command.args(["--no-defaults", "--bind-address=127.0.0.1", &data]).args(user);
        command.arg(format!("--socket={}", dir.join("socket").display())).arg(format!("--port={port}"));
        let process = keeper::start(&mut command, dir, "mariadb")?;
        let mut database = Self { dir: dir.to_owned(), process, port };
        database.wait()?;
        database.load(&root().join("crates/testkit/fixtures/shop.sql"))?;
        database.rows(&format!(
            "create user {USER}@'%' identified by '{PASSWORD}'; grant select, show view, lock tables on shop.* to {USER}@'%'"
        ))?;
        Ok(database)
    }

    fn wait(&mut self) -> Result<()> {
        for _ in 0..START_TENTHS_MAX {
            if self.rows("select 1").is_ok() {
                return Ok(());
            }
            if let Some(status) = self.process.try_wait()? {
                bail!("MariaDB ended with {status}:\n{}", keeper::log(&self.dir, "mariadb"));
            }
            shell::pause(Duration::from_millis(100));
        }
        bail!("MariaDB does not answer:\n{}", keeper::log(&self.dir, "mariadb"))
    }

    fn client(&self) -> Command {
        let mut command = Command::new("mariadb");
        command.args([
            "--no-defaults",
            "--user=root",
            "--default-character-set=utf8mb4",
            "--batch",
            "--skip-column-names",
        ]);
        command.arg(format!("--socket={}", self.dir.join("socket").display()));
        command
    }

    fn load(&self, path: &Path) -> Result<()> {
        let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
        let loaded = self.client().stdin(file).stderr(Stdio::piped()).output().context("running the mariadb client")?;
        if !loaded.status.success() {
            bail!("loading {}: {}", path.display(), String::from_utf8_lossy(&loaded.stderr));
        }
        Ok(())
    }

    /// The rows of a statement as text, `NULL` for null, session in UTC.
    pub(crate) fn rows(&self, sql: &str) -> Result<Vec<Vec<String>>> {
        let text = output(self.client().arg(format!("--execute=set time_zone = '+00:00'; {sql}")))?;
        Ok(text.lines().map(|line| line.split('\t').map(unescaped).collect()).collect())
    }
}

/// A cell as it was before the client's `--batch` wrote line ends, tabs and backslashes with a backslash.
fn unescaped(cell: &str) -> String {
    let mut text = String::with_capacity(cell.len());
    let mut characters = cell.chars();
    while let Some(c) = characters.next() {
        text.push(match c {
            '\\' => match characters.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                Some('0') => '\0',
                Some(other) => other,
                None => c,
            },
            _ => c,
        });
    }
    text
}

/// A port that nobody listens on at this moment.
pub(crate) fn free_port() -> Result<u16> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").context("looking for a free port")?;
    Ok(listener.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_client_escapes_is_what_the_table_holds() {
        assert_eq!(unescaped(r"a\nb\tc\\d"), "a\nb\tc\\d");
    }
}
