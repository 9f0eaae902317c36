//! Stopping a statement from outside.
//!
//! **Invariant.** A number of a connection means something only while the server runs that gave it: after a restart they
//! begin at 1 again. So nothing is killed unless the server has been up for as long as the connection.

use std::sync::Arc;
use std::time::{Duration, Instant};

use headwaters_model::source_error::{SourceError, SourceErrorKind};

use super::connection::Connection;
use super::options::ConnectOptions;

/// How long connecting and killing may take, each.
const KILL: Duration = Duration::from_secs(5);
/// "Unknown thread id": whoever was to be stopped is gone.
const UNKNOWN_THREAD: u16 = 1094;
/// By how much a server's whole seconds may fall short of ours.
const UPTIME_SLACK: Duration = Duration::from_secs(2);
/// How long the server has been up, in seconds.
const UPTIME: &str = "SHOW GLOBAL STATUS LIKE 'Uptime'";

/// Stops the running statement of one connection through a second one, as the same account; that needs no privilege
/// (mysql-sources.md 17).
///
/// Numbers of connections are those of one server: behind a balancer that spreads connections over several, the second
/// one must reach the same server, or it kills a query of the same account elsewhere or nothing at all.
#[derive(Debug, Clone)]
pub struct Killer {
    options: Arc<ConnectOptions>,
    connection_id: u32,
    opened_at: Instant,
}

impl Killer {
    /// For a connection of the one host in these options, which let us in at `opened_at`.
    pub(super) fn new(options: ConnectOptions, connection_id: u32, opened_at: Instant) -> Self {
        let options = ConnectOptions {
            database: None,
            compress: false,
            connect_timeout: Some(KILL),
            statement_timeout: Some(KILL),
            ..options
        };
        Self { options: Arc::new(options), connection_id, opened_at }
    }

    /// Kills the statement that runs; none running is fine, and so is a server that was restarted since. The connection
    /// lives on, its statement ends in error 1317.
    pub async fn kill(&self) -> Result<(), SourceError> {
        // A killer is not killed in turn: a server that hangs would be asked forever.
        let mut connection = Connection::open(self.options.clone(), false).await?;
        let killed = self.kill_through(&mut connection).await;
        connection.quit().await;
        killed
    }

    async fn kill_through(&self, connection: &mut Connection) -> Result<(), SourceError> {
        // Numbers only grow: one behind ours was given by a server that began anew.
        if connection.server().connection_id() <= self.connection_id {
            return Ok(());
        }
        let rows = connection.query(UPTIME).await?;
        let uptime_seconds = rows.first().map(|row| row.parse_as("Value")).transpose()?.flatten();
        if !uptime_seconds.is_some_and(|seconds| is_same_run(seconds, self.opened_at.elapsed())) {
            return Ok(());
        }
        match connection.execute(&format!("KILL QUERY {}", self.connection_id)).await {
            Err(error) if error.fault().kind != (SourceErrorKind::Server { number: UNKNOWN_THREAD }) => Err(error),
            _ => Ok(()),
        }
    }
}

/// Whether a server that has been up for so long was up when a connection of this age was opened.
fn is_same_run(uptime_seconds: u64, age: Duration) -> bool {
    Duration::from_secs(uptime_seconds) + UPTIME_SLACK >= age
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_younger_than_the_connection_was_restarted() {
        let age = Duration::from_millis;
        assert!(is_same_run(0, age(900)), "whole seconds are rounded down");
        assert!(is_same_run(3600, age(3_600_900)));
        assert!(is_same_run(86_400, age(5)));
        assert!(!is_same_run(3, age(60_000)));
        assert!(!is_same_run(0, age(2_100)));
    }
}
