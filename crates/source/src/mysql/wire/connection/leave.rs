//! How a connection ends: by a goodbye, by killing what nobody reads any more, or because the peer is gone.
//!
//! **Invariant.** Once the peer has closed the channel, `may_kill` is false for good. The server ends such a statement by
//! itself, and after its restart the number of this connection belongs to a stranger.

use std::io::ErrorKind;
use std::time::Duration;

use headwaters_model::source_error::SourceError;
use mysql_common::constants::Command;

use super::{Connection, command};
use crate::mysql::errors;
use crate::mysql::wire::killer::Killer;
use crate::mysql::wire::packets::PacketError;

/// How long saying goodbye may take.
const GOODBYE: Duration = Duration::from_secs(2);

impl Connection {
    /// What stops the running statement from outside.
    #[must_use]
    pub fn killer(&self) -> Killer {
        Killer::new(self.options.pinned_to(&self.server.endpoint), self.server.connection_id, self.opened_at)
    }

    /// Says goodbye. A statement that still runs is killed.
    pub async fn close(mut self) {
        match self.busy {
            true => self.abandon().await,
            false => self.quit().await,
        }
    }

    /// Tells the server that we go; whether that arrives does not matter.
    pub(in crate::mysql::wire) async fn quit(&mut self) {
        let goodbye = async {
            let _ = self.packets.command(&command(Command::COM_QUIT, &[])).await;
            let _ = self.packets.shutdown().await;
        };
        let _ = tokio::time::timeout(GOODBYE, goodbye).await;
    }

    /// Kills the running statement, waits until the server confirmed, and drops the connection without reading on.
    pub async fn abandon(mut self) {
        if std::mem::take(&mut self.may_kill) && self.busy {
            kill(self.killer()).await;
        }
    }

    /// A server that closes a connection says why; a request that could not be sent may find it waiting.
    pub(super) async fn last_words(&mut self) -> Option<SourceError> {
        let packet = tokio::time::timeout(GOODBYE, self.packets.packet()).await.ok()?.ok()?;
        let error = errors::from_packet(&self.peer, packet);
        self.may_kill = false;
        error
    }

    /// The channel broke. A peer that may still be there can be told to stop; one that closed it has nothing to stop.
    pub(in crate::mysql::wire) fn broken_by(&mut self, error: PacketError) -> SourceError {
        match error {
            PacketError::Protocol(what) => self.out_of_step(what),
            PacketError::Closed | PacketError::Io(_) => {
                self.may_kill &= !closed_by_peer(&error);
                errors::lost(&self.peer, error)
            }
        }
    }
}

impl Drop for Connection {
    /// Never drains gigabytes to be polite: the query is killed from outside, in the background.
    fn drop(&mut self) {
        if !self.busy || !self.may_kill {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(kill(self.killer()));
    }
}

async fn kill(killer: Killer) {
    if let Err(error) = killer.kill().await {
        tracing::warn!(%error, "could not kill a query that nobody reads any more");
    }
}

/// Whether the other end is gone, as opposed to a network that fell silent.
fn closed_by_peer(error: &PacketError) -> bool {
    match error {
        PacketError::Closed => true,
        PacketError::Io(error) => matches!(
            error.kind(),
            ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::BrokenPipe
                | ErrorKind::NotConnected
                | ErrorKind::UnexpectedEof
        ),
        PacketError::Protocol(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use mysql_common::constants::CapabilityFlags;
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    use super::super::super::options::Endpoint;
    use super::super::super::packets::tests::pair;
    use super::*;

    /// Long enough for a connection on this machine.
    const PATIENCE: Duration = Duration::from_millis(500);

    /// Whether a connection that is left busy is followed by another one that would kill; before that, `meanwhile`.
    async fn is_followed_by_a_killer(meanwhile: impl AsyncFnOnce(&mut Connection, tokio::io::DuplexStream)) -> bool {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (packets, peer) = pair();
        let mut connection = Connection::scripted(packets, CapabilityFlags::empty());
        connection.server.endpoint = Endpoint::Tcp { host: "127.0.0.1".to_owned(), port };
        connection.may_kill = true;
        meanwhile(&mut connection, peer).await;
        assert!(connection.busy);
        drop(connection);
        timeout(PATIENCE, listener.accept()).await.is_ok()
    }

    #[tokio::test]
    async fn a_statement_that_was_left_is_killed_while_the_channel_is_whole() {
        let left = is_followed_by_a_killer(async |connection, peer| {
            assert!(timeout(Duration::from_millis(20), connection.query("s")).await.is_err());
            drop(peer);
        });
        assert!(left.await);
    }

    #[tokio::test]
    async fn nothing_is_killed_after_the_peer_closed_the_channel() {
        let while_waiting = is_followed_by_a_killer(async |connection, peer| {
            let (answer, ()) = tokio::join!(connection.query("s"), async { drop(peer) });
            assert!(answer.is_err());
        });
        assert!(!while_waiting.await);
        let before_sending = is_followed_by_a_killer(async |connection, peer| {
            drop(peer);
            assert!(connection.query("s").await.is_err());
        });
        assert!(!before_sending.await);
    }

    #[test]
    fn a_reset_is_the_peers_and_a_timeout_is_the_networks() {
        let io = |kind: ErrorKind| PacketError::Io(kind.into());
        for kind in [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe, ErrorKind::UnexpectedEof] {
            assert!(closed_by_peer(&io(kind)), "{kind}");
        }
        assert!(closed_by_peer(&PacketError::Closed));
        assert!(!closed_by_peer(&io(ErrorKind::TimedOut)));
    }
}
