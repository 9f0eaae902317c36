//! The API through its real router, with a real store and a real control plane; only the sources and the lake are fakes.

#![expect(clippy::unwrap_used, reason = "a test that can not go on fails")]

mod abuse;
mod access;
mod answer;
mod audit;
mod bad_input;
mod catalog;
mod connections;
mod contract;
mod coverage;
mod description;
mod docs;
mod errors;
mod evidence;
mod fakes;
mod flows;
mod frame;
mod habits;
mod rates;
mod recorded;
mod runs;
mod search;
mod smuggling;
mod socket;
mod source_and_target;
mod specs;
mod steady;
mod tokens;
mod tutorial;
mod wire;
mod world;
