//! Control over a real store, with a source and a lake in memory.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at the first surprise")]

mod access;
mod asked;
mod audit;
mod change;
mod crashes;
mod fakes;
mod late_commits;
mod on_demand;
mod repeat;
mod report;
mod resources;
mod runs;
mod world;
