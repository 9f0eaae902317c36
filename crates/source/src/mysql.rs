//! MySQL and MariaDB (mysql-sources.md).

pub mod catalog;
mod checksum;
pub mod columns;
pub mod dsn;
pub mod errors;
mod explore;
pub mod filter;
mod frozen;
mod give_way;
pub mod increment;
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
