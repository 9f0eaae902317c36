//! The wire client against real servers.
#![expect(clippy::unwrap_used, reason = "what these tests set up works, or the test fails")]

mod auth;
mod rows;
mod tls;

use headwaters_model::secret::Secret;
use headwaters_source::mysql::wire::{ConnectOptions, Connection, Endpoint, TlsMode, TlsOptions};
use headwaters_testkit::DatabaseServer;

/// An account of a test server over TCP, without TLS.
fn plain(server: &DatabaseServer, account: &str) -> ConnectOptions {
    let account = server.account(account);
    ConnectOptions {
        hosts: vec![Endpoint::Tcp { host: server.host().to_owned(), port: server.port() }],
        user: account.name.to_owned(),
        password: Secret::new(account.password),
        tls: TlsOptions { mode: TlsMode::Disabled, ..TlsOptions::default() },
        ..ConnectOptions::default()
    }
}

/// The same under TLS that nobody verifies.
fn protected(server: &DatabaseServer, account: &str) -> ConnectOptions {
    let tls = TlsOptions { mode: TlsMode::Required, ..TlsOptions::default() };
    ConnectOptions { tls, ..plain(server, account) }
}

/// An account over the server's socket.
fn local(server: &DatabaseServer, account: &str) -> ConnectOptions {
    ConnectOptions { hosts: vec![Endpoint::Socket(server.socket())], ..plain(server, account) }
}

/// The only cell of a statement's only row.
async fn cell(connection: &mut Connection, sql: &str) -> String {
    let rows = connection.query(sql).await.unwrap();
    let cell = rows.first().and_then(|row| row.at(0)).unwrap();
    String::from_utf8(cell.to_vec()).unwrap()
}
