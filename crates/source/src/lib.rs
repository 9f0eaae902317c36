//! Sources of rows. One folder per source, all behind [`contract`].
//!
//! **Invariant.** A source knows neither stores nor lakes nor runs nor HTTP (docs/architecture.md, section 2).

pub mod contract;
pub mod mysql;
pub mod registry;
