//! The whole program on real servers: the command line, the API, and what a crash leaves behind.

mod arguments;
mod copy;
mod crash;
mod fixtures;
mod land;
mod tutorial;
