//! Stopping a statement from outside.

use std::sync::Arc;
use std::time::Duration;

use headwaters_model::source_error::{SourceError, SourceErrorKind};

use super::connection::Connection;
use super::options::ConnectOptions;

/// How long connecting and killing may take, each.
const KILL: Duration = Duration::from_secs(5);
/// "Unknown thread id": whoever was to be stopped is gone.
const UNKNOWN_THREAD: u16 = 1094;

/// Stops the running statement of one connection through a second one, as the same account; that needs no privilege
/// (mysql-sources.md 17).
///
/// Numbers of connections are those of one server: behind a balancer that spreads connections over several, the second
/// one must reach the same server, or it kills a query of the same account elsewhere or nothing at all.
#[derive(Debug, Clone)]
pub struct Killer {
    options: Arc<ConnectOptions>,
    connection_id: u32,
}

impl Killer {
    /// For a connection of the one host in these options.
    pub(super) fn new(options: ConnectOptions, connection_id: u32) -> Self {
        let options = ConnectOptions {
            database: None,
            compress: false,
            connect_timeout: Some(KILL),
            statement_timeout: Some(KILL),
            ..options
        };
        Self { options: Arc::new(options), connection_id }
    }

    /// Kills the statement that runs; none running is fine. The connection lives on, its statement ends in error 1317.
    pub async fn kill(&self) -> Result<(), SourceError> {
        // A killer is not killed in turn: a server that hangs would be asked forever.
        let mut connection = Connection::open(self.options.clone(), false).await?;
        let killed = connection.execute(&format!("KILL QUERY {}", self.connection_id)).await;
        connection.quit().await;
        match killed {
            Err(error) if error.fault().kind != (SourceErrorKind::Server { number: UNKNOWN_THREAD }) => Err(error),
            _ => Ok(()),
        }
    }
}
