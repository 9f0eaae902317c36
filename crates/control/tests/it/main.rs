//! Control over a real store, with a source and a lake in memory.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at the first surprise")]

mod access;
mod asked;
mod attempts;
mod audit;
mod change;
mod clock;
mod crashes;
mod doubt;
mod failures;
mod fakes;
mod late_commits;
mod notify;
mod on_demand;
mod recurring;
mod repeat;
mod report;
mod resources;
mod resume;
mod runs;
mod texts;
mod world;
