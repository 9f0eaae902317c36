//! Resources, ids, states and rules of Headwaters.
//!
//! **Invariant.** This crate does no IO, is not async, reads no clock and knows neither HTTP nor SQL nor Arrow
//! (docs/architecture.md, section 2). What needs the time is handed it.

pub mod diagnostic;
pub mod explore;
pub mod id;
pub mod job;
pub mod offset;
pub mod secret;
pub mod source_error;
