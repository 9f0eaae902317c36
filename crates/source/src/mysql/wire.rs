//! The client side of the MySQL protocol: a connection, and the rows that come out of it.
//!
//! Packets, scrambles and constants come from `mysql_common`; the socket, the read buffer, TLS and the order of things
//! are ours (docs/dependencies.md, section A). What is promised here:
//!
//! - A row that lies whole in the read buffer is lent out, not copied, and costs no allocation ([`Rows::next_buffered`]).
//! - A result set is complete only when its terminator arrived. A killed query, a closed socket or bytes that are not
//!   the protocol end in an error, never in a short table (mysql-sources.md 7).
//! - A connection that was left inside a result set answers nothing any more; dropping it kills its query on the server.
//! - Nothing that a peer sends can make us panic or reserve more than a named limit.
//! - A password leaves this module only as the reply of an authentication plugin, in clear only where
//!   mysql-sources.md 3.2 and 3.5 allow it.

mod auth;
mod column;
mod compression;
mod connection;
mod files;
mod greeting;
mod handshake;
mod hosts;
mod killer;
mod options;
mod packets;
mod rows;
mod server;
mod statement;
mod stream;
mod text;
mod tls;

pub use column::ColumnDef;
pub use connection::Connection;
pub use killer::Killer;
pub use mysql_common::constants::{ColumnFlags, ColumnType};
pub use options::{
    ClientCertificate, ConnectOptions, Endpoint, LoadBalance, Pem, TlsMode, TlsOptions, TlsVersion,
    is_known_cipher_suite,
};
pub use packets::ROW_BYTES_MAX;
pub use rows::{RowFormat, Rows};
pub use server::{Flavour, PasswordPath, Server, Tls, Verified, Version};
pub use statement::{Param, Statement};
pub use text::{QUERY_BYTES_MAX, QUERY_ROWS_MAX, TextRow, TextRows};
