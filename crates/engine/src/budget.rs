//! Divides one memory figure among the readers of a run.
//!
//! Per reader there are at most [`BATCHES`] batches (one being filled, one waiting, one being encoded), two row groups
//! (one being built, one on its way into parts) and the parts that are being uploaded. The number of readers follows
//! from the figure, never the other way round (docs/architecture.md, section 8).

use headwaters_lake::contract::WriteLimits;

/// What a run may use by default, beside the 40 MB or so of the process itself.
const MEMORY_BYTES_DEFAULT: usize = 128 << 20;
/// A reader with less than this would write row groups too small to be read well.
const SHARE_BYTES_MIN: usize = 24 << 20;
/// Readers by default, where the machine has the cores.
const READERS_DEFAULT: usize = 4;
/// Readers at most, whatever is asked for.
const READERS_MAX: usize = 8;
/// Batches that a reader's pipeline holds at a time.
const BATCHES: usize = 3;
/// Batches that wait between reader and encoder.
pub(crate) const CHANNEL_BATCHES: usize = 1;
/// Rows of a batch at most; narrow rows gain nothing beyond this.
const BATCH_ROWS_MAX: usize = 65_536;
/// The size of an uploaded part (object stores take no smaller ones).
const PART_BYTES: usize = 5 << 20;
/// The size at which a new file begins.
const FILE_BYTES_TARGET: usize = 256 << 20;

/// What each part of a run may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Connections, each with its pipeline.
    pub readers_max: usize,
    /// Rows of a batch.
    pub batch_rows_max: usize,
    /// Bytes of a batch; one row may exceed it.
    pub batch_bytes_max: usize,
    /// Limits of each writer.
    pub write: WriteLimits,
}

impl Budget {
    /// The budget for a machine with so many cores and the default memory.
    #[must_use]
    pub fn for_cores(cores: usize) -> Self {
        Self::divide(MEMORY_BYTES_DEFAULT, cores.min(READERS_DEFAULT))
    }

    /// Divides so many bytes among at most so many readers; fewer where the shares would be too small.
    #[must_use]
    pub fn divide(memory_bytes: usize, readers: usize) -> Self {
        let readers_max = readers.clamp(1, READERS_MAX).min((memory_bytes / SHARE_BYTES_MIN).max(1));
        let share = memory_bytes / readers_max;
        // A quarter for batches and one for uploads; an eighth for row groups, as small ones are also quicker to encode
        // (measured: 4 MiB against 8 MiB); the rest is slack of the allocator.
        let quarter = share / 4;
        Self {
            readers_max,
            batch_rows_max: BATCH_ROWS_MAX,
            batch_bytes_max: (quarter / BATCHES).clamp(1 << 20, 8 << 20),
            write: WriteLimits {
                row_group_bytes_max: (quarter / 4).clamp(2 << 20, 128 << 20),
                upload_parts_max: (quarter / PART_BYTES).clamp(1, 8),
                file_bytes_target: FILE_BYTES_TARGET,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_follow_from_the_memory() {
        assert_eq!(Budget::divide(128 << 20, 4).readers_max, 4);
        assert_eq!(Budget::divide(50 << 20, 4).readers_max, 2);
        assert_eq!(Budget::divide(1 << 20, 4).readers_max, 1);
        assert_eq!(Budget::divide(1 << 30, 99).readers_max, READERS_MAX);
        assert_eq!(Budget::for_cores(2).readers_max, 2);
        assert_eq!(Budget::for_cores(64).readers_max, READERS_DEFAULT);
    }

    #[test]
    fn the_parts_never_add_up_to_more_than_the_figure() {
        for memory in [64, 128, 256, 1024] {
            for readers in 1..=READERS_MAX {
                let budget = Budget::divide(memory << 20, readers);
                let one = BATCHES * budget.batch_bytes_max
                    + 2 * budget.write.row_group_bytes_max
                    + budget.write.upload_parts_max * PART_BYTES;
                assert!(one * budget.readers_max <= memory << 20, "{memory} MiB, {readers} readers: {budget:?}");
            }
        }
    }
}
