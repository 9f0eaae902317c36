//! Tests of the engine: a source that makes its rows up, and real Delta tables.

mod fake;
mod memory;
mod run;
