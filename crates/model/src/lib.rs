//! Resources, ids, states and rules of Headwaters.
//!
//! **Invariant.** This crate does no IO, is not async, reads no clock and knows neither HTTP nor SQL nor Arrow
//! (docs/architecture.md, section 2). What needs the time is handed it.

pub mod account;
pub mod batch;
pub mod care;
pub mod checksum;
pub mod connection;
pub mod crash;
pub mod data_set;
pub mod diagnostic;
pub mod etag;
pub mod explore;
pub mod filter;
pub mod flow;
pub mod id;
pub mod job;
pub mod limits;
pub mod metrics;
pub mod offset;
pub mod page;
pub mod patch;
pub mod resource;
pub mod row_filter;
pub mod run;
pub mod sandbox;
pub mod schedule;
pub mod secret;
mod sent;
pub mod source_connection;
pub mod source_error;
pub mod spec;
pub mod target_connection;
pub mod verified;
pub mod watermark;
pub mod window;
