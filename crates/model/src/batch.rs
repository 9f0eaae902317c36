//! Batches of the Catalog: what a run has landed in a data set, or tried to (platform-services.md 2.4).

use serde::{Deserialize, Serialize};

use crate::id::{BatchId, DataSetId, FlowId, RunId};
use crate::job::{LandedFile, Totals};
use crate::resource::{Collection, Kind};

/// How a batch ended. Clients filter on `failed`, never on `failure`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BatchStatus {
    /// Its rows are readable.
    Success,
    /// None of its rows are.
    Failed,
}

/// What went wrong with a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchError {
    /// The code of the run's error.
    pub code: String,
    /// One sentence.
    pub description: String,
}

/// The body of a batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Batch {
    /// Where it landed.
    pub data_set_id: DataSetId,
    /// The flow that made it.
    pub flow_id: FlowId,
    /// The run that made it.
    pub run_id: RunId,
    /// How it ended.
    pub status: BatchStatus,
    /// When its run began, milliseconds since 1970.
    pub started_at_ms: i64,
    /// When it ended, milliseconds since 1970.
    pub completed_at_ms: i64,
    /// The version of the table that holds its rows.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub table_version: Option<u64>,
    /// Its counters.
    pub totals: Totals,
    /// Its files; none when it failed.
    #[serde(default)]
    pub files: Vec<LandedFile>,
    /// What went wrong.
    #[serde(default)]
    pub errors: Vec<BatchError>,
}

impl Kind for Batch {
    type Id = BatchId;
    const COLLECTION: Collection = Collection::Batches;

    fn mint() -> BatchId {
        BatchId::mint()
    }
}
