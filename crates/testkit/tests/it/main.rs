//! The test kit on real servers.

#[cfg(test)]
mod proxy;
#[cfg(test)]
mod servers;
