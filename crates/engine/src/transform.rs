//! What happens to a batch between reading and landing: nothing yet, the columns land as they are read.

use arrow_array::RecordBatch;

/// How batches of a run are transformed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Transform {
    /// Every column lands as it is read.
    Identity,
}

impl Transform {
    /// Transforms one batch.
    pub(crate) fn apply(self, rows: RecordBatch) -> RecordBatch {
        match self {
            Self::Identity => rows,
        }
    }
}
