//! The whole program on real servers: the command line, the API, and what a crash leaves behind.

#[cfg(test)]
mod abuse;
#[cfg(test)]
mod arguments;
#[cfg(test)]
mod audit;
#[cfg(test)]
mod changes;
#[cfg(test)]
mod clients;
#[cfg(test)]
mod copy;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod credentials;
#[cfg(test)]
mod drafts;
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod land;
#[cfg(test)]
mod lists;
#[cfg(test)]
mod on_demand;
#[cfg(test)]
mod races;
#[cfg(test)]
mod scene;
#[cfg(test)]
mod schemathesis;
#[cfg(test)]
mod tutorial;
#[cfg(test)]
mod walk;
#[cfg(test)]
mod windows;
