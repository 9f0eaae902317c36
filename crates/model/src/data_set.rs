//! Data sets of the Catalog: each is one table in the lake (platform-services.md 2.3).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::id::{BatchId, DataSetId};
use crate::resource::{Collection, Kind};

/// The tag that holds the name of the table for SQL clients.
pub const TAG_TABLE: &str = "adobe/pqs/table";
/// The tag that holds the format of the table.
pub const TAG_FORMAT: &str = "adobe/siphon/table/format";

/// The body of a data set, in the Catalog's field names; what the Catalog derives (owner, times, files) is not in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DataSet {
    /// Its name; need not be unique.
    pub name: String,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub description: Option<String>,
    /// The absolute URI of its table (product.md, "In the lake").
    pub location: String,
    /// The schema as sent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub schema_ref: Option<Value>,
    /// Tags: those that were sent, with the table's name and format.
    pub tags: Map<String, Value>,
    /// Whether details of rejected rows are kept.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub enable_error_diagnostics: Option<bool>,
    /// Fields that are stored and shown as sent: `unifiedTags`, `systemLabels`, `observableSchema`, `dataSourceId` …
    #[serde(default)]
    pub as_sent: Map<String, Value>,
    /// How often it was changed; the last number of its version.
    #[serde(default)]
    pub changes: u32,
    /// Its latest batch. Written by runs, without a new version.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_batch: Option<LastBatch>,
    /// Its latest batch that succeeded.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_successful_batch: Option<BatchId>,
    /// Its latest batch that failed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_failed_batch: Option<BatchId>,
}

/// The latest batch of a data set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastBatch {
    /// The batch.
    pub id: BatchId,
    /// How it ended.
    pub status: crate::batch::BatchStatus,
}

impl DataSet {
    /// The version that the Catalog shows: the last number grows with each change.
    #[must_use]
    pub fn version(&self) -> String {
        format!("1.0.{}", self.changes)
    }

    /// The name of the table for SQL clients.
    #[must_use]
    pub fn table(&self) -> Option<&str> {
        self.tags.get(TAG_TABLE)?.get(0)?.as_str()
    }

    /// Adds the tags that every data set has to those that were sent.
    pub fn tag(&mut self, table: &str) {
        self.tags.insert(TAG_TABLE.to_owned(), json!([table]));
        self.tags.insert(TAG_FORMAT.to_owned(), json!(["delta"]));
    }
}

/// The name of the table for SQL clients: the data set's name in lower case, everything but `a-z0-9` as `_`
/// (platform-services.md 2.3). The caller puts a number behind it where it is taken.
#[must_use]
pub fn table_name(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    name.chars().map(plain).collect()
}

impl Kind for DataSet {
    type Id = DataSetId;
    const COLLECTION: Collection = Collection::DataSets;

    fn mint() -> DataSetId {
        DataSetId::mint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_named_after_its_data_set() {
        assert_eq!(table_name("Orders – EU (2026)"), "orders___eu__2026_");
    }
}
