//! What tests need around the code under test: private database servers, fixtures, a running `headwaters`, broken networks.
//!
//! Nothing here is part of the product, and nothing here installs anything: a server that is not on the machine is an
//! error that says how to get it, never a test that is skipped in silence.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use headwaters_testkit::{DatabaseServer, Flavour};
//!
//! let server = DatabaseServer::shared(Flavour::MariaDb).await?;
//! let schema = server.fresh_schema("orders").await?;
//! server.execute(&format!("create table {schema}.t (a int primary key)")).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Three kinds of server ([`Flavour`]) stand behind one type, [`DatabaseServer`]:
//!
//! - [`DatabaseServer::shared`]: one instance for all tests that run at the moment, also across test processes. Give each
//!   test a schema of its own; never change a global variable or an account there.
//! - [`ServerOptions::start`]: an instance of one's own, with arguments of one's own, to be killed and restarted at will.
//!
//! **Invariant.** No server outlives its tests, however they end: see `keeper.rs`.

pub mod accounts;
pub mod cache;
pub mod certificates;
pub mod crash;
pub mod disk;
pub mod expected;
pub mod fixtures;
pub mod flavour;
mod keeper;
mod mariadb;
mod mysql;
mod options;
pub mod proxy;
pub mod server;
mod shared;
mod sql;
mod template;
pub mod world;

pub use accounts::Account;
pub use flavour::Flavour;
pub use options::ServerOptions;
pub use server::DatabaseServer;
