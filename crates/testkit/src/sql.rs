//! Talking to a test server, by another driver than ours.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result, bail};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder, Row, Value};

use crate::cache::unique_name;
use crate::server::DatabaseServer;
use crate::{fixtures, keeper, mariadb};

impl DatabaseServer {
    /// A connection of `root` over the socket, made by another driver than ours.
    ///
    /// # Errors
    /// The server does not answer.
    pub async fn connect(&self) -> Result<Conn> {
        let options = OptsBuilder::default().socket(Some(self.socket().display().to_string())).user(Some("root"));
        Conn::new(options).await.with_context(|| format!("connecting to {} as root over its socket", self.flavour()))
    }

    /// Runs one statement and drops its result.
    ///
    /// # Errors
    /// The server's.
    pub async fn execute(&self, sql: &str) -> Result<()> {
        let mut connection = self.connect().await?;
        connection.query_drop(sql).await.with_context(|| format!("running: {sql}"))?;
        drop(connection.disconnect().await);
        Ok(())
    }

    /// Runs one statement and returns its rows as text, `None` for null (bytes that are not UTF-8 are replaced).
    ///
    /// # Errors
    /// The server's.
    pub async fn query(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
        let mut connection = self.connect().await?;
        let rows: Vec<Row> = connection.query(sql).await.with_context(|| format!("running: {sql}"))?;
        drop(connection.disconnect().await);
        Ok(rows
            .into_iter()
            .map(|row| row.unwrap_raw().into_iter().map(|value| value.and_then(text)).collect())
            .collect())
    }

    /// Makes an empty schema whose name no other test has and that begins with `prefix`; returns the name.
    ///
    /// # Errors
    /// The server's.
    pub async fn fresh_schema(&self, prefix: &str) -> Result<String> {
        let name = format!("{prefix}_{}", unique_name());
        self.execute(&format!("create database `{name}` default character set utf8mb4")).await?;
        Ok(name)
    }

    /// Loads a fixture such as `shop.sql`. On the shared server each file is loaded once, by whoever asks first; tests
    /// that change its tables take a server of their own.
    ///
    /// # Errors
    /// The file does not load; the message is the client's.
    pub async fn load(&self, fixture: &str) -> Result<()> {
        if self.share.is_none() {
            return self.run_file(&fixtures::path(fixture));
        }
        let lock = keeper::lease(&self.dir.join(format!("{fixture}.lock")))?;
        lock.lock().context("waiting for another process that loads the same fixture")?;
        let loaded = self.dir.join(format!("{fixture}.loaded"));
        if !loaded.exists() {
            self.run_file(&fixtures::path(fixture))?;
            std::fs::write(&loaded, "").context("noting that a fixture is loaded")?;
        }
        Ok(())
    }

    /// Loads the tables with every type of this flavour (database `lake_types`).
    ///
    /// # Errors
    /// As [`Self::load`].
    pub async fn load_types(&self) -> Result<()> {
        for file in fixtures::type_files(self.flavour()) {
            self.load(file).await?;
        }
        Ok(())
    }

    /// Runs an SQL file by the `mariadb` client, as a person would.
    ///
    /// # Errors
    /// The file does not load; the message is the client's.
    pub fn run_file(&self, path: &Path) -> Result<()> {
        let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
        let output = mariadb::client(&self.socket())
            .stdin(file)
            .output()
            .context("running the `mariadb` client: `cargo xtask test` installs it")?;
        if !output.status.success() {
            bail!("loading {} into {}: {}", path.display(), self.flavour(), String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }
}

/// A value as the text protocol shows it.
fn text(value: Value) -> Option<String> {
    match value {
        Value::NULL => None,
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        other => Some(other.as_sql(true).trim_matches('\'').to_owned()),
    }
}
