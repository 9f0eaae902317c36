//! Lake formats. One folder per format, all behind [`contract`].
//!
//! **Invariant.** A lake knows neither sources nor runs nor HTTP (docs/architecture.md, section 2).

pub mod contract;
pub mod crash;
mod delta;
pub mod registry;
