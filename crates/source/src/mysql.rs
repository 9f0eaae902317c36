//! MySQL and MariaDB (mysql-sources.md).

pub mod catalog;
pub mod columns;
pub mod dsn;
pub mod errors;
mod explore;
pub mod filter;
mod give_way;
mod open;
mod plan;
mod probe;
mod read;
pub mod session;
mod snapshot;
mod source;
mod specs;
pub mod types;
pub mod wire;

pub use source::MySqlSource;
