//! What looking after a table in the lake is told, and what it tells.

use serde::{Deserialize, Serialize};

/// How a table is looked after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CareLimits {
    /// Now, milliseconds since 1970.
    pub now_ms: i64,
    /// Small files are put together once there are so many of them.
    pub small_files_min: usize,
    /// Files that are in no version since this moment (milliseconds since 1970) are deleted. No attempt whose commit may
    /// still come has landed a file before it.
    pub vacuum_before_ms: i64,
}

/// What was done for a table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CareReport {
    /// Small files that were put together.
    pub compacted_files: u64,
    /// The files that hold their rows now.
    pub compacted_into: u64,
    /// The bytes of the small files.
    pub compacted_bytes: u64,
    /// Files that were deleted because no version since the moment holds them.
    pub deleted_files: u64,
    /// Their bytes.
    pub deleted_bytes: u64,
    /// Entries of the log that were deleted because they had expired by the table's own rules.
    pub deleted_log_entries: u64,
}

impl CareReport {
    /// Whether there was anything to do.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        *self == Self::default()
    }
}
