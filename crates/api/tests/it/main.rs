//! The API through its real router, with a real store and a real control plane; only the sources and the lake are fakes.

#![expect(clippy::unwrap_used, reason = "a test that can not go on fails")]

mod access;
mod bad_input;
mod catalog;
mod coverage;
mod fakes;
mod frame;
mod habits;
mod runs;
mod tokens;
mod tutorial;
mod wire;
mod world;
