//! Data sets and batches (platform-services.md 2.3, 2.4). The Catalog keys them by their ids.

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::ToSchema;

use super::AnyObject;

/// Data sets by their ids.
#[derive(ToSchema)]
pub(crate) struct DataSets(BTreeMap<String, DataSetDocument>);

/// Batches by their ids.
#[derive(ToSchema)]
pub(crate) struct Batches(BTreeMap<String, BatchDocument>);

/// A data set: one table in the lake. With `properties=…` only the fields that were asked for are there.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DataSetDocument {
    /// Its name; need not be unique.
    #[schema(required = false)]
    name: String,
    /// What it is for.
    #[schema(required = false)]
    description: String,
    /// Its organisation.
    #[schema(required = false)]
    ims_org: String,
    /// Its sandbox.
    #[schema(required = false)]
    sandbox_id: String,
    /// `1.0.` and the number of its changes.
    #[schema(required = false)]
    version: String,
    /// When it was made, milliseconds since 1970.
    #[schema(required = false)]
    created: i64,
    /// When it was last changed, milliseconds since 1970.
    #[schema(required = false)]
    updated: i64,
    /// The client that made it.
    #[schema(required = false)]
    created_client: String,
    /// The user who made it.
    #[schema(required = false)]
    created_user: String,
    /// The user who last changed it.
    #[schema(required = false)]
    updated_user: String,
    /// The schema, as it was sent.
    #[schema(required = false)]
    schema_ref: Value,
    /// Tags, each a list of texts.
    #[schema(required = false)]
    tags: AnyObject,
    /// What kind of data it holds.
    #[schema(required = false)]
    classification: Value,
    /// How its files are made.
    #[schema(required = false)]
    file_description: AnyObject,
    /// The id of its only view.
    #[schema(required = false)]
    view_id: String,
    /// Where its files would be listed.
    #[schema(required = false)]
    files: String,
    /// Where its table lies.
    #[schema(required = false)]
    location: String,
    /// Whether details of rejected rows are kept.
    #[schema(required = false)]
    enable_error_diagnostics: bool,
    /// The batch that last landed in it, or tried to.
    #[schema(required = false)]
    last_batch_id: String,
    /// How that ended.
    #[schema(required = false)]
    last_batch_status: BatchStatusDocument,
    /// The batch that last landed in it.
    #[schema(required = false)]
    last_successful_batch: String,
    /// The batch that last tried to.
    #[schema(required = false)]
    last_failed_batch: String,
    /// As it was sent.
    #[schema(required = false)]
    observable_schema: Value,
    /// As it was sent.
    #[schema(required = false)]
    data_source_id: Value,
    /// As they were sent.
    #[schema(required = false)]
    unified_tags: Value,
    /// As they were sent.
    #[schema(required = false)]
    system_labels: Value,
    /// `DRAFT`.
    #[schema(required = false)]
    state: String,
    /// Empty.
    #[schema(required = false)]
    dule: AnyObject,
    /// Empty.
    #[schema(required = false)]
    stats_cache: AnyObject,
    /// `ACP`.
    #[schema(required = false)]
    namespace: String,
}

/// A batch: what one run has landed in a data set, or tried to. With `properties=…` only the fields that were asked for
/// are there.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BatchDocument {
    /// Its id.
    #[schema(required = false)]
    id: String,
    /// Its id.
    #[schema(required = false)]
    external_id: String,
    /// How it ended.
    #[schema(required = false)]
    status: BatchStatusDocument,
    /// `1.0.0`.
    #[schema(required = false)]
    version: String,
    /// Its organisation.
    #[schema(required = false)]
    ims_org: String,
    /// Its sandbox.
    #[schema(required = false)]
    sandbox_id: String,
    /// When it was written, milliseconds since 1970.
    #[schema(required = false)]
    created: i64,
    /// When its run began, milliseconds since 1970.
    #[schema(required = false)]
    started: i64,
    /// When its run ended, milliseconds since 1970.
    #[schema(required = false)]
    completed: i64,
    /// When it was written, milliseconds since 1970.
    #[schema(required = false)]
    updated: i64,
    /// The client that made it: the scheduler.
    #[schema(required = false)]
    created_client: String,
    /// The user who made it.
    #[schema(required = false)]
    created_user: String,
    /// The user who last changed it.
    #[schema(required = false)]
    updated_user: String,
    /// How its files are made.
    #[schema(required = false)]
    input_format: BatchFormat,
    /// Its data set.
    #[schema(required = false)]
    related_objects: Vec<RelatedObject>,
    /// `flowId` and `flowRunId`.
    #[schema(required = false)]
    tags: AnyObject,
    /// Rows that landed.
    #[schema(required = false)]
    record_count: u64,
    /// Rows that were rejected.
    #[schema(required = false)]
    failed_record_count: u64,
    /// Bytes that landed.
    #[schema(required = false)]
    size: u64,
    /// Its numbers once more, and some others.
    #[schema(required = false)]
    metrics: BatchMetrics,
    /// What went wrong.
    #[schema(required = false)]
    errors: Vec<BatchErrorDocument>,
}

/// How a batch ended.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum BatchStatusDocument {
    Success,
    Failed,
}

/// How the files of a batch are made.
#[derive(ToSchema)]
pub(crate) struct BatchFormat {
    /// `parquet`.
    format: String,
}

/// What a batch belongs to.
#[derive(ToSchema)]
pub(crate) struct RelatedObject {
    /// `dataSet`.
    r#type: String,
    /// Its id.
    id: String,
}

/// The numbers of a batch.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BatchMetrics {
    /// Bytes read.
    input_byte_size: u64,
    /// Rows read.
    input_record_count: u64,
    /// Bytes that landed.
    output_byte_size: u64,
    /// Rows that landed.
    output_record_count: u64,
    /// Files that landed.
    output_file_count: u64,
    /// Rows that were rejected.
    failed_record_count: u64,
}

/// What went wrong with a batch.
#[derive(ToSchema)]
pub(crate) struct BatchErrorDocument {
    /// Its code.
    code: String,
    /// One sentence.
    description: String,
}
