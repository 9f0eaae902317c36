//! Reading real servers: MariaDB 10.11, a newer MariaDB and MySQL 9.

mod cancel;
mod contract;
mod corpus;
mod differential;
mod discovery;
mod failures;
mod filters;
mod fixtures;
mod increment;
mod memory;
mod neutral;
mod params;
mod reading;
mod resume;
mod rules;
mod snapshot;
mod splits;
mod wire;
