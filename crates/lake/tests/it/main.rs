//! Tests of the lake through its contract; read back by a reader of our own.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a helper of a test that breaks is a test that fails")]

mod care;
mod contract;
#[cfg(feature = "crash-points")]
mod crash;
mod disk;
mod drift;
mod reader;
mod rows;
mod statistics;
