//! How one job becomes landed, committed data.
//!
//! ```text
//! run ── plan -> [ read -> transform -> land ] x splits -> landed        the only place where all steps meet
//!  ├── pipe        one reader task and one encoder task per connection, splits from one queue
//!  ├── transform   batch -> batch
//!  ├── verify      what the server and the written files say of the same rows
//!  ├── events      what is told while it runs
//!  ├── budget      one memory figure, divided
//!  └── errors      from a source's or a lake's failure to a job's
//! ```
//!
//! **Invariant.** The engine knows neither stores nor HTTP nor schedules (docs/architecture.md, section 2).

mod budget;
mod errors;
mod events;
mod parts;
mod pipe;
mod run;
mod transform;
pub mod verify;
mod watched;

pub use budget::Budget;
pub use run::Engine;
