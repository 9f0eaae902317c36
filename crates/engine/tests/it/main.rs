//! Tests of the engine: a source that makes its rows up, and real Delta tables.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a helper of a test that breaks is a test that fails"
)]

mod fake;
mod memory;
mod resume;
mod run;
mod verify;
