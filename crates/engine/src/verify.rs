//! Compares what is landed with what the server holds, by checksums that both compute apart.
//!
//! ```text
//! canonical   a value of a file -> the bytes that the server makes of its own
//! sums        batches -> checksums
//!   ├── split    one key range of a run, before the commit
//!   └── table    a whole table against the source                            headwaters verify
//!         └── search   the rows that differ
//! ```

mod canonical;
mod lake_side;
mod report;
mod search;
mod split;
mod sums;
mod table;

pub use self::report::{ColumnPair, Difference, KeyDifference, RangeDifference, Report, ValuePair};
pub(crate) use self::split::{NOT_SHOWN_TWICE, check};
pub use self::table::{KEYS_SHOWN_DEFAULT, Scope};
