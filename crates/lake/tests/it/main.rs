//! Tests of the lake through its contract; read back by a reader of our own.

mod contract;
mod disk;
mod reader;
mod rows;
mod statistics;
