//! Flows (flow-service.md 16).

use serde_json::Value;
use utoipa::ToSchema;

use super::run::RunStatusDocument;
use super::{AnyObject, InheritedConnectionDocument, LastOperationDocument, SpecReference, StateDocument};

/// A flow: from which source into which target, when, and how.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FlowDocument {
    /// Its name; need not be unique.
    #[schema(required = false)]
    name: String,
    /// What it is for.
    #[schema(required = false)]
    description: String,
    /// The kind of flow.
    flow_spec: SpecReference,
    /// Whether it runs.
    state: StateDocument,
    /// The same as `etag`.
    version: String,
    /// What is read: exactly one, none only in a draft.
    source_connection_ids: Vec<String>,
    /// Where it lands: exactly one, none only in a draft.
    target_connection_ids: Vec<String>,
    /// What it takes over from its connections.
    inherited_attributes: FlowInheritanceDocument,
    /// Options as they were sent.
    #[schema(required = false)]
    options: FlowOptions,
    /// When it runs, as it was sent; absent only in a draft.
    #[schema(required = false)]
    schedule_params: ScheduleParams,
    /// What happens on the way, as it was sent.
    transformations: Vec<Transformation>,
    /// Where its runs are listed, relative to the base path of the service.
    runs: String,
    /// What was last done to it.
    last_operation: LastOperationDocument,
    /// Its latest run; absent before the first.
    #[schema(required = false)]
    last_run_details: LastRunDocument,
    /// Labels as they were sent.
    #[schema(required = false)]
    labels: Value,
    /// Policy as it was sent.
    #[schema(required = false)]
    policy: Value,
    /// Record types as they were sent.
    #[schema(required = false)]
    record_types: Value,
    /// Tags and folder as they were sent.
    #[schema(required = false)]
    unified_metadata: Value,
}

/// What a flow takes over from its connections.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FlowInheritanceDocument {
    /// What kind of flow it is.
    properties: FlowProperties,
    /// Its source connections with their base connections.
    source_connections: Vec<InheritedConnectionDocument>,
    /// Its target connections.
    target_connections: Vec<InheritedConnectionDocument>,
}

/// What kind of flow it is.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FlowProperties {
    /// Whether it brings data in: always.
    is_source_flow: bool,
}

/// Options of a flow. Fields that are not described here are stored and shown.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FlowOptions {
    /// Whether details of rejected rows are kept.
    #[schema(required = false)]
    error_diagnostics_enabled: bool,
    /// The share of rejected rows, in percent, below which a run still succeeds; without it any of them fails the run.
    #[schema(required = false, exclusive_minimum = 0)]
    partial_ingestion_percent: f64,
    /// What a run promises to show. Beyond the hosted service.
    #[schema(required = false)]
    consistency: ConsistencyDocument,
    /// Whether the key ranges of a table become visible one by one while the run goes on; implies `split`. Beyond the hosted
    /// service.
    #[schema(required = false)]
    commit_per_split: bool,
    /// What happens when the columns of the source have changed. Beyond the hosted service.
    #[schema(required = false)]
    schema_change: SchemaChangeDocument,
    /// Whether counts and checksums of the server and of the landed files are compared before the commit. Beyond the hosted
    /// service.
    #[schema(required = false)]
    verify: bool,
}

/// What a run promises to show: `table`, the default, is the whole table as of one moment, and an attempt that breaks starts
/// over; with `split` that holds for each key range of its own, and another attempt goes on with those that are missing.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum ConsistencyDocument {
    /// The whole table as of one moment.
    Table,
    /// Each key range as of one moment.
    Split,
}

/// What happens when the columns of the source have changed: with `evolve`, the default, what loses nothing is done and
/// noted, and anything else fails the run; with `fail` any change does.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum SchemaChangeDocument {
    /// Changes that lose nothing are done.
    Evolve,
    /// Every change fails the run.
    Fail,
}

/// When a flow runs. Each value may be a text or have the JSON type that it stands for, and is shown as it was sent; other
/// fields are stored and shown.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ScheduleParams {
    /// The first run, seconds since 1970.
    #[schema(required = false, example = "1700000100")]
    start_time: TextOrNumber,
    /// `once`, `minute`, `hour`, `day` or `week`.
    #[schema(required = false, example = "minute")]
    frequency: String,
    /// How many minutes, hours, days or weeks lie between two runs; at least 15 minutes. Not for `once`.
    #[schema(required = false, example = 15)]
    interval: TextOrNumber,
    /// Whether the first run reads what was there before; `true` when absent. Not for `once`.
    #[schema(required = false, example = true)]
    backfill: TextOrBoolean,
}

/// A whole number, or its digits as a text.
#[derive(ToSchema)]
#[serde(untagged)]
pub(crate) enum TextOrNumber {
    /// As a number.
    Number(i64),
    /// As a text.
    Text(String),
}

/// A boolean, or `true` or `false` as a text.
#[derive(ToSchema)]
#[serde(untagged)]
pub(crate) enum TextOrBoolean {
    /// As a boolean.
    Boolean(bool),
    /// As a text.
    Text(String),
}

/// A step between source and target.
#[derive(ToSchema)]
pub(crate) struct Transformation {
    /// `Copy` or `Mapping`.
    name: String,
    /// Its parameters.
    #[schema(required = false)]
    params: TransformationParams,
}

/// The parameters of a transformation. Fields that are not described here are stored and shown.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TransformationParams {
    /// Of `Copy`: the column that says what is new since the last run.
    #[schema(required = false)]
    delta_column: DeltaColumn,
    /// Of `Mapping`: the mapping set.
    #[schema(required = false)]
    mapping_id: String,
    /// Of `Mapping`: its version.
    #[schema(required = false)]
    mapping_version: TextOrNumber,
}

/// The column that says what is new since the last run.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeltaColumn {
    /// Its name at the source.
    name: String,
    /// How a text column writes its moments, in the letters of Java.
    #[schema(required = false, example = "yyyy-MM-dd HH:mm:ss")]
    date_format: String,
    /// The zone of a text column's moments.
    #[schema(required = false, example = "UTC")]
    timezone: String,
}

/// The latest run of a flow.
#[derive(ToSchema)]
pub(crate) struct LastRunDocument {
    /// The run.
    #[schema(format = "uuid")]
    id: String,
    /// How far it is.
    state: RunStatusDocument,
    /// When it began, milliseconds since 1970.
    #[schema(required = false)]
    #[serde(rename = "startedAtUTC")]
    started_at_utc: i64,
    /// When it ended, milliseconds since 1970.
    #[schema(required = false)]
    #[serde(rename = "completedAtUTC")]
    completed_at_utc: i64,
}

/// What a flow is about beside its rows: stored and shown.
#[derive(ToSchema)]
pub(crate) struct RecordType {
    /// Its name.
    r#type: String,
    /// What else is known.
    extensions: AnyObject,
}
