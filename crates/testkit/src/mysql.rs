//! How a MySQL is set up.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::flavour::Installation;

/// Fills an empty data directory: `root@localhost` without a password, nobody else.
pub(crate) fn initialise(installation: &Installation, mut command: Command) -> Result<()> {
    let output = command
        .arg("--initialize-insecure")
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("starting {}", installation.program.display()))?;
    if !output.status.success() {
        bail!("mysqld --initialize-insecure failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// Arguments that only MySQL knows.
pub(crate) fn arguments(tls: bool) -> Vec<String> {
    let mut arguments = vec!["--innodb-redo-log-capacity=64M".to_owned(), "--mysqlx=OFF".to_owned()];
    if !tls {
        // MySQL 8.4 dropped `--skip-ssl`; a server that offers no version offers no TLS.
        arguments.push("--tls-version=".to_owned());
    }
    arguments
}
