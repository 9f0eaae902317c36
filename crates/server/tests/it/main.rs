//! The whole program on real servers: the command line, the API, and what a crash leaves behind.

#[cfg(test)]
mod abuse;
#[cfg(test)]
mod arguments;
#[cfg(test)]
mod audit;
#[cfg(test)]
mod care;
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
mod drain;
#[cfg(test)]
mod drift;
#[cfg(test)]
mod failures;
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod land;
#[cfg(test)]
mod lists;
#[cfg(test)]
mod on_demand;
#[cfg(test)]
mod operations;
#[cfg(test)]
mod races;
#[cfg(test)]
mod recurring;
#[cfg(test)]
mod resume;
#[cfg(test)]
mod scene;
#[cfg(test)]
mod schemathesis;
#[cfg(test)]
mod store_file;
#[cfg(test)]
mod store_trouble;
#[cfg(test)]
mod torture;
#[cfg(test)]
mod tutorial;
#[cfg(test)]
mod verify;
#[cfg(test)]
mod walk;
#[cfg(test)]
mod webhooks;
#[cfg(test)]
mod windows;
#[cfg(test)]
mod workers;
