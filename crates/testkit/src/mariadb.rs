//! How a MariaDB is set up.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::flavour::Installation;

/// The system tables, in the order in which `mariadb-install-db` runs them; names by MariaDB 11 and by 10.11.
const BOOTSTRAP_FILES: [[&str; 2]; 5] = [
    ["mariadb_system_tables.sql", "mysql_system_tables.sql"],
    ["mariadb_performance_tables.sql", "mysql_performance_tables.sql"],
    ["mariadb_system_tables_data.sql", "mysql_system_tables_data.sql"],
    ["maria_add_gis_sp_bootstrap.sql", "maria_add_gis_sp_bootstrap.sql"],
    ["mariadb_sys_schema.sql", "mysql_sys_schema.sql"],
];

/// Fills an empty data directory: `root@localhost` without a password, nobody else.
pub(crate) fn initialise(installation: &Installation, mut command: Command) -> Result<()> {
    let mut sql = String::from("create database mysql;\nuse mysql;\nset @auth_root_socket = null;\n");
    for names in BOOTSTRAP_FILES {
        let path = names.iter().map(|name| installation.share.join(name)).find(|path| path.exists());
        let path = path.with_context(|| format!("no {} in {}", names[0], installation.share.display()))?;
        sql += &std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        sql += "\n";
    }
    // What the script does in place of `--skip-test-db`: no account without a name.
    sql += "delete from mysql.global_priv where user = '';\n";

    command.args(["--bootstrap", "--skip-networking", "--max-allowed-packet=8M", "--net-buffer-length=16K"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {}", installation.program.display()))?;
    let mut input = child.stdin.take().context("the bootstrap has no standard input")?;
    let writer = std::thread::spawn(move || input.write_all(sql.as_bytes()));
    let output = child.wait_with_output().context("waiting for the bootstrap of MariaDB")?;
    if !output.status.success() {
        bail!("the bootstrap of MariaDB failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    match writer.join() {
        Ok(written) => written.context("sending the system tables to MariaDB"),
        Err(_) => bail!("the thread that sends the system tables panicked"),
    }
}

/// Arguments that only MariaDB knows.
pub(crate) fn arguments(tls: bool) -> Vec<String> {
    let mut arguments =
        vec!["--innodb-log-file-size=16M".to_owned(), "--innodb-data-file-path=ibdata1:8M:autoextend".to_owned()];
    if !tls {
        arguments.push("--skip-ssl".to_owned());
    }
    arguments
}

/// The client program that loads SQL files; it understands `delimiter` and talks to MySQL too.
pub(crate) fn client(socket: &Path) -> Command {
    let mut command = Command::new("mariadb");
    command.arg("--no-defaults").arg("--user=root").arg("--default-character-set=utf8mb4").arg("--batch");
    command.arg(format!("--socket={}", socket.display()));
    command
}
