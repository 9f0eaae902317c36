//! Connects, looks around and disconnects: what a connection test and `check` show (flow-service.md 13.4).

mod grants;

use std::time::Duration;

use headwaters_model::explore::ServerInfo;
use headwaters_model::source_error::{SourceError, SourceErrorKind};

use self::grants::Grants;
use super::catalog::quoted;
use super::dsn::Parameters;
use super::session::{self, Purpose};
use super::wire::{ConnectOptions, Connection, Endpoint, Flavour, PasswordPath};

/// Roles that are asked for their grants at most; a longer list of them is left out of the note.
const ROLES_BYTES_MAX: usize = 4_096;

/// Connects, looks around and disconnects; at most `patience` in all.
pub(super) async fn probe(parameters: &Parameters, patience: Duration) -> Result<ServerInfo, SourceError> {
    let limit = parameters.connect.connect_timeout.map_or(patience, |given| given.min(patience));
    let connect = ConnectOptions { connect_timeout: Some(limit), ..parameters.connect.clone() };
    let looking = async {
        let mut connection = session::open(&connect, Purpose::Metadata).await?;
        let info = look_around(&mut connection, parameters).await?;
        connection.close().await;
        Ok(info)
    };
    tokio::time::timeout(patience, looking).await.unwrap_or_else(|_| Err(overdue(parameters, patience)))
}

async fn look_around(connection: &mut Connection, parameters: &Parameters) -> Result<ServerInfo, SourceError> {
    let answer = connection.query("SELECT CURRENT_USER() AS account, @@log_bin AS log_bin").await?;
    let row = answer.first();
    let account = row.map(|row| row.required_text("account")).transpose()?.unwrap_or_default().to_owned();
    let log_bin = row.map(|row| row.text("log_bin")).transpose()?.flatten().is_some_and(|on| on == "1" || on == "ON");
    let mut notes = parameters.notes.clone();
    notes.extend(cold_cache(connection, &parameters.connect));
    if let Some(grants) = grants(connection).await? {
        let needs_lock = match connection.server().flavour() {
            Flavour::MariaDb => !log_bin,
            Flavour::MySql => true,
            Flavour::Percona => false,
        };
        notes.extend(lacking(&grants, parameters.connect.database.as_deref(), needs_lock, &account));
    }
    let server = connection.server();
    Ok(ServerInfo {
        server: server.flavour().to_string(),
        version: server.version().to_string(),
        tls: server.tls().map_or_else(|| "none".to_owned(), ToString::to_string),
        account,
        notes,
    })
}

/// The trap of caching_sha2_password: the fast way works only while the server remembers (mysql-sources.md 3.2).
fn cold_cache(connection: &Connection, connect: &ConnectOptions) -> Option<String> {
    let server = connection.server();
    let plain = server.tls().is_none() && matches!(server.endpoint(), Endpoint::Tcp { .. });
    let has_key = connect.allow_public_key_retrieval || connect.server_public_key.is_some();
    (plain && !has_key && server.password_path() == PasswordPath::Fast).then(|| {
        let plugin = server.auth_plugin();
        format!(
            "plain TCP with {plugin}: this connection will fail whenever the server's password cache is cold (restart, \
             FLUSH PRIVILEGES, a changed password); use TLS, or ServerRsaPublicKeyFile, or AllowPublicKeyRetrieval"
        )
    })
}

/// What the account may do; none if the server does not tell.
async fn grants(connection: &mut Connection) -> Result<Option<Grants>, SourceError> {
    // MySQL lists what comes through a role only when the role is named; MariaDB lists it by itself.
    let mut statement = "SHOW GRANTS".to_owned();
    if !connection.server().flavour().is_mariadb() {
        let roles = tolerated(connection.query("SELECT CURRENT_ROLE() AS roles").await)?;
        let roles = roles.as_ref().and_then(|rows| rows.first()).map(|row| row.text("roles")).transpose()?.flatten();
        if let Some(roles) = roles.filter(|roles| *roles != "NONE" && roles.len() <= ROLES_BYTES_MAX) {
            statement = format!("SHOW GRANTS FOR CURRENT_USER() USING {roles}");
        }
    }
    let Some(rows) = tolerated(connection.query(&statement).await)? else { return Ok(None) };
    let lines = rows.rows().iter().filter_map(|row| std::str::from_utf8(row.at(0)?).ok());
    Ok(Some(Grants::parse(lines)))
}

/// A proxy that does not know a statement costs a note, not the test.
fn tolerated<T>(outcome: Result<T, SourceError>) -> Result<Option<T>, SourceError> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(SourceError::Definite(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Which privileges lack, and what that costs (mysql-sources.md 17).
fn lacking(grants: &Grants, database: Option<&str>, needs_lock: bool, account: &str) -> Vec<String> {
    let scope = database.map_or_else(|| "*.*".to_owned(), |database| format!("{}.*", quoted(database)));
    let account = quoted_account(account);
    let mut notes = Vec::new();
    if !grants.allows_somewhere("SELECT", database) {
        notes.push(format!("SELECT is missing: no table can be read; GRANT SELECT ON {scope} TO {account}"));
    } else if needs_lock && !grants.allows("LOCK TABLES", database) {
        notes.push(format!(
            "LOCK TABLES is missing: each table is read by one connection instead of several; \
             GRANT LOCK TABLES ON {scope} TO {account}"
        ));
    }
    notes
}

/// `reader@localhost` as statements name it.
fn quoted_account(account: &str) -> String {
    let (user, host) = account.rsplit_once('@').unwrap_or((account, "%"));
    format!("'{}'@'{}'", user.replace('\'', "''"), host.replace('\'', "''"))
}

fn overdue(parameters: &Parameters, patience: Duration) -> SourceError {
    let hosts: Vec<String> = parameters.connect.hosts.iter().map(ToString::to_string).collect();
    let message = format!("{} did not answer within {} s", hosts.join(", "), patience.as_secs_f32());
    SourceError::transient(SourceErrorKind::Unreachable, message)
        .with_hint("check host and port, and whether a firewall drops packets")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notes(grants: &[&str], database: Option<&str>, needs_lock: bool) -> Vec<String> {
        lacking(&Grants::parse(grants.iter().copied()), database, needs_lock, "re'ader@10.0.0.%")
    }

    #[test]
    fn a_note_names_the_grant_that_is_missing_and_its_price() {
        assert_eq!(
            notes(&["GRANT USAGE ON *.* TO `r`@`%`"], Some("shop"), true),
            ["SELECT is missing: no table can be read; GRANT SELECT ON `shop`.* TO 're''ader'@'10.0.0.%'"]
        );
        let readable = ["GRANT SELECT ON `shop`.* TO `r`@`%`"];
        let [note] = notes(&readable, Some("shop"), true).try_into().unwrap();
        assert!(note.contains("one connection") && note.contains("GRANT LOCK TABLES ON `shop`.*"), "{note}");
        assert_eq!(notes(&readable, Some("shop"), false), [""; 0]);
        assert_eq!(notes(&["GRANT ALL PRIVILEGES ON *.* TO `r`@`%`"], None, true), [""; 0]);
    }
}
