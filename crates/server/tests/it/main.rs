//! The whole program on real servers: the command line, the API, and what a crash leaves behind.

#[cfg(test)]
mod arguments;
#[cfg(test)]
mod copy;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod land;
#[cfg(test)]
mod tutorial;
