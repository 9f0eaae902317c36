//! Whether the rows of a server are written elsewhere, where nobody can see who still writes.

use headwaters_model::source_error::{Retry, SourceError, SourceErrorKind};

use crate::mysql::wire::{Connection, TextRows};

/// MySQL's and MariaDB's number for a statement that they do not know.
const SYNTAX: u16 = 1064;
/// MySQL's and MariaDB's number for what takes a replica that runs.
const NOT_RUNNING: u16 = 1199;
/// What says, switched on, that a server takes no writes: one that others write to may be behind it, or below it.
const READ_ONLY: [&str; 3] = ["read_only", "super_read_only", "innodb_read_only"];
/// How the names of the channels begin that a replication group makes for itself.
const GROUP_CHANNELS: &str = "group_replication_";
/// What says, switched on or filled, that a server belongs to a cluster whose other members may take writes.
const CLUSTER: [&str; 2] = ["wsrep_on", "group_replication_group_name"];

/// Whether the server repeats what another one does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::mysql::increment) enum Replica {
    /// It does not.
    No,
    /// It does, and is so many seconds behind.
    Behind(i64),
    /// It is no replica of the ordinary kind, but others may write its rows: it is read-only, or belongs to a cluster.
    Shared,
    /// The account may not know, and the server is read-only or belongs to a cluster.
    Hidden,
    /// The account may not know, and nothing speaks for it.
    Unknown,
}

/// Asks whether the server is a replica, where the account may know.
///
/// # Errors
///
/// A transient one if it is a replica that stands still: nobody knows then up to where it shows all rows.
pub(super) async fn replica(connection: &mut Connection) -> Result<Replica, SourceError> {
    let found = status(connection).await?;
    match found {
        Some(Replica::Behind(seconds)) => Ok(Replica::Behind(seconds)),
        Some(other) if is_shared(connection).await? => {
            Ok(if other == Replica::Unknown { Replica::Hidden } else { Replica::Shared })
        }
        Some(other) => Ok(other),
        None => Err(stopped()),
    }
}

/// What the server says of its replication; none if it stands still.
async fn status(connection: &mut Connection) -> Result<Option<Replica>, SourceError> {
    let statements: &[&str] = match connection.server().flavour().is_mariadb() {
        true => &["SHOW ALL SLAVES STATUS"],
        false => &["SHOW REPLICA STATUS", "SHOW SLAVE STATUS"],
    };
    for statement in statements {
        match connection.query(statement).await {
            Ok(answer) => return furthest_behind(&answer),
            Err(error) => match error.fault().kind {
                SourceErrorKind::Server { number: SYNTAX } => {}
                SourceErrorKind::Privilege => return Ok(Some(Replica::Unknown)),
                SourceErrorKind::Server { .. } => return Ok(Some(Replica::No)),
                _ => return Err(error),
            },
        }
    }
    Ok(Some(Replica::No))
}

/// The one that is furthest behind, of a server that repeats several others; none if one of them stands still.
fn furthest_behind(answer: &TextRows) -> Result<Option<Replica>, SourceError> {
    let mut replica = Replica::No;
    for row in answer {
        // Channels of a group's own, which stand still once a member has caught up; whose rows a group's are says `is_shared`.
        if row.text("Channel_Name").ok().flatten().is_some_and(|channel| channel.starts_with(GROUP_CHANNELS)) {
            continue;
        }
        let behind =
            ["Seconds_Behind_Source", "Seconds_Behind_Master"].into_iter().find_map(|label| row.text(label).ok());
        let Some(behind) = behind.flatten() else { return Ok(None) };
        let seconds = behind.parse().unwrap_or(0).max(0);
        replica = match replica {
            Replica::Behind(most) => Replica::Behind(seconds.max(most)),
            _ => Replica::Behind(seconds),
        };
    }
    Ok(Some(replica))
}

/// Whether others may write the server's rows.
async fn is_shared(connection: &mut Connection) -> Result<bool, SourceError> {
    let names: Vec<String> = READ_ONLY.iter().chain(&CLUSTER).map(|name| format!("'{name}'")).collect();
    let sql = format!("SHOW GLOBAL VARIABLES WHERE Variable_name IN ({})", names.join(", "));
    let answer = connection.query(&sql).await?;
    for row in &answer {
        let value = row.at(1).map(String::from_utf8_lossy).unwrap_or_default();
        if !["", "0", "OFF"].iter().any(|off| value.eq_ignore_ascii_case(off)) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn stopped() -> SourceError {
    let message = "the server is a replica that has stopped applying what its source does, so what it lacks is unknown";
    SourceError::transient(SourceErrorKind::Server { number: NOT_RUNNING }, message).with_retry(Retry::Later).with_hint(
        "start the replica (START REPLICA, on MariaDB START ALL SLAVES), or if it was promoted, make it forget its source \
         (RESET REPLICA ALL, on MariaDB RESET SLAVE ALL)",
    )
}
