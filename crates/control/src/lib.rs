//! Commands, preconditions, the scheduler and the life cycle of runs.
//!
//! **Invariant.** Control knows neither HTTP nor SQL text nor Arrow nor which sources exist; it reaches them through its
//! [`ports`] (docs/architecture.md, section 2).

pub mod ports;
