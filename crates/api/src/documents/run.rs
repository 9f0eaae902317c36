//! Runs (flow-service.md 17).

use utoipa::ToSchema;

use super::flow::{DeltaColumn, TextOrNumber};
use super::{AnyObject, ErrorEntry, SpecReference};

/// A run: what a flow has done, or is doing.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RunDocument {
    /// Its flow.
    #[schema(format = "uuid")]
    flow_id: String,
    /// The kind of its flow.
    flow_spec: SpecReference,
    /// An opaque name.
    provider_ref_id: String,
    /// The run that it repeats.
    #[schema(required = false)]
    parent_flow_run_id: String,
    /// Runs that it has begun; as they were reported.
    #[schema(required = false)]
    child_flow_run_ids: Vec<String>,
    /// The window: as it was sent, or what the run has read of its own, once that is known.
    #[schema(required = false)]
    params: RunParams,
    /// Runs that it waited for; as they were reported.
    #[schema(required = false)]
    predecessors: Vec<Predecessor>,
    /// Counters, durations and status.
    metrics: MetricsDocument,
    /// Copy and promotion.
    activities: Vec<ActivityDocument>,
    /// As they were reported.
    #[schema(required = false)]
    record_types: Vec<String>,
}

/// The window of a run. Fields that are not described here are stored and shown.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RunParams {
    /// When it begins, seconds since 1970; now when absent or past.
    #[schema(required = false)]
    start_time: TextOrNumber,
    /// The first moment that it reads, seconds since 1970.
    #[schema(required = false)]
    window_start_time: TextOrNumber,
    /// The first moment that it does not read, seconds since 1970.
    #[schema(required = false)]
    window_end_time: TextOrNumber,
    /// The column that the window is about; needed on the first such run of a flow.
    #[schema(required = false)]
    delta_column: DeltaColumn,
}

/// A run that another one waited for.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Predecessor {
    /// Its flow.
    #[schema(required = false)]
    flow_id: String,
    /// Itself.
    #[schema(required = false)]
    flow_run_id: String,
    /// The kind of its flow.
    #[schema(required = false)]
    flow_spec: SpecReference,
}

/// How far a run is.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum RunStatusDocument {
    Scheduled,
    InProgress,
    Success,
    Failed,
}

/// The numbers of a run. A number that is not known is left out.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MetricsDocument {
    /// When it began and ended.
    #[schema(required = false)]
    duration_summary: DurationSummary,
    /// Empty.
    #[schema(required = false)]
    latency_summary: LatencySummary,
    /// Bytes.
    #[schema(required = false)]
    size_summary: SizeSummary,
    /// Rows.
    #[schema(required = false)]
    record_summary: RecordSummary,
    /// Files.
    #[schema(required = false)]
    file_summary: FileSummary,
    /// How far it is.
    status_summary: StatusSummary,
    /// Of the provider; read only.
    #[schema(required = false, read_only)]
    custom_summary: AnyObject,
}

/// When something began and ended.
#[derive(ToSchema)]
pub(crate) struct DurationSummary {
    /// Milliseconds since 1970.
    #[schema(required = false)]
    #[serde(rename = "startedAtUTC")]
    started_at_utc: i64,
    /// Milliseconds since 1970; absent while it goes on.
    #[schema(required = false)]
    #[serde(rename = "completedAtUTC")]
    completed_at_utc: i64,
    /// Of the copy of a recurring flow: `windowStart` and `windowEnd`, milliseconds since 1970.
    #[schema(required = false)]
    extensions: AnyObject,
}

/// How long single records took; not measured.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LatencySummary {
    /// The shortest, milliseconds.
    #[schema(required = false)]
    min_ms: i64,
    /// The longest, milliseconds.
    #[schema(required = false)]
    max_ms: i64,
    /// The mean, milliseconds.
    #[schema(required = false)]
    avg_ms: i64,
    /// What else is known.
    #[schema(required = false)]
    extensions: AnyObject,
}

/// Bytes.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SizeSummary {
    /// Read from the source.
    #[schema(required = false)]
    input_bytes: i64,
    /// Written to the lake.
    #[schema(required = false)]
    output_bytes: i64,
}

/// Rows. What came in is what went out, failed or was skipped.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RecordSummary {
    /// Read from the source.
    #[schema(required = false)]
    input_record_count: i64,
    /// Landed as new rows.
    #[schema(required = false)]
    created_record_count: i64,
    /// Landed over older rows.
    #[schema(required = false)]
    updated_record_count: i64,
    /// Landed at all.
    #[schema(required = false)]
    output_record_count: i64,
    /// Left out on purpose.
    #[schema(required = false)]
    skipped_record_count: i64,
    /// Rejected.
    #[schema(required = false)]
    failed_record_count: i64,
    /// Taken away.
    #[schema(required = false)]
    deleted_record_count: i64,
    /// Landed with a value that could not be kept as it was.
    #[schema(required = false)]
    warning_record_count: i64,
    /// Why rows were left out.
    #[schema(required = false)]
    skipped_info: Vec<ErrorEntry>,
    /// Why rows were rejected, or the run failed.
    #[schema(required = false)]
    failed_info: Vec<ErrorEntry>,
    /// `diagnostics`: the values that could not be kept as they were, by column and reason.
    #[schema(required = false)]
    extensions: AnyObject,
}

/// Files.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FileSummary {
    /// Read from the source; a table counts as one.
    #[schema(required = false)]
    input_file_count: i64,
    /// Written to the lake.
    #[schema(required = false)]
    output_file_count: i64,
    /// Left out.
    #[schema(required = false)]
    skipped_file_count: i64,
    /// Rejected.
    #[schema(required = false)]
    failed_file_count: i64,
    /// What else is known.
    #[schema(required = false)]
    extensions: AnyObject,
    /// The files by name.
    #[schema(required = false)]
    manifest: FileManifest,
    /// The activities that this is about.
    #[schema(required = false)]
    activity_refs: Vec<String>,
}

/// The files of a run.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FileManifest {
    /// One entry per file.
    #[schema(required = false)]
    file_info: Vec<FileInfo>,
}

/// A file of a run.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FileInfo {
    /// Its path.
    #[schema(required = false)]
    path: String,
    /// What the path begins with.
    #[schema(required = false)]
    path_prefix: String,
    /// Its size.
    #[schema(required = false)]
    output_bytes: i64,
}

/// How far a run or an activity is.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StatusSummary {
    /// How far it is.
    status: RunStatusDocument,
    /// What went wrong, of a success too: rows that were tolerated.
    #[schema(required = false)]
    errors: Vec<ErrorEntry>,
    /// `errorDetail`: the whole story of a failure; `notes`: what a person should know; `attempts`: the tries of the run,
    /// where one of them broke; `type`: `one-time`.
    #[schema(required = false)]
    extensions: AnyObject,
    /// The activities that this is about.
    #[schema(required = false)]
    activity_refs: Vec<String>,
}

/// A part of a run: the copy out of the source, or the promotion into the lake.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ActivityDocument {
    /// The same for each copy, and for each promotion.
    id: String,
    /// Its name.
    name: String,
    /// Always 0.
    #[schema(required = false)]
    #[serde(rename = "updatedAtUTC")]
    updated_at_utc: i64,
    /// When it began and ended.
    #[schema(required = false)]
    duration_summary: DurationSummary,
    /// Empty.
    #[schema(required = false)]
    latency_summary: LatencySummary,
    /// Bytes.
    #[schema(required = false)]
    size_summary: SizeSummary,
    /// Rows.
    #[schema(required = false)]
    record_summary: RecordSummary,
    /// Files.
    #[schema(required = false)]
    file_summary: FileSummary,
    /// How it ended.
    #[schema(required = false)]
    status_summary: StatusSummary,
    /// Of the copy: what it read.
    #[schema(required = false)]
    source_info: Vec<ActivityReference>,
    /// Of the promotion: where it landed.
    #[schema(required = false)]
    target_info: Vec<ActivityReference>,
}

/// The connection of an activity, and the job behind it.
#[derive(ToSchema)]
pub(crate) struct ActivityReference {
    /// The connection.
    id: String,
    /// `SourceConnection` or `TargetConnection`.
    r#type: String,
    /// The run, or the batch that its rows landed in.
    #[schema(required = false)]
    reference: JobReference,
}

/// The job behind an activity.
#[derive(ToSchema)]
pub(crate) struct JobReference {
    /// `RunId` or `Batch`.
    r#type: String,
    /// Its ids.
    ids: Vec<String>,
}

/// A run that was made on demand: in the forms that different clients read (flow-service.md 17.5).
#[derive(ToSchema)]
pub(crate) struct CreatedRunDocument {
    /// Its id.
    #[schema(format = "uuid")]
    id: String,
    /// Its version, the quotes being part of it.
    etag: String,
    /// The same once more; not under the strict switch.
    #[schema(required = false)]
    items: Vec<super::WrittenDocument>,
}

/// What a provider reports of a run; it replaces what was reported before.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RunReport {
    /// The flow of the run.
    #[schema(format = "uuid")]
    flow_id: String,
    /// The kind of its flow; ignored, the flow has one.
    #[schema(required = false)]
    flow_spec: SpecReference,
    /// An opaque name.
    #[schema(required = false)]
    provider_ref_id: String,
    /// The run that it repeats.
    #[schema(required = false)]
    parent_flow_run_id: String,
    /// Runs that it has begun.
    #[schema(required = false)]
    child_flow_run_ids: Vec<String>,
    /// Its window.
    #[schema(required = false)]
    params: RunParams,
    /// Runs that it waited for.
    #[schema(required = false)]
    predecessors: Vec<Predecessor>,
    /// Counters, durations and status.
    #[schema(required = false)]
    metrics: MetricsDocument,
    /// Its parts.
    #[schema(required = false)]
    activities: Vec<ActivityDocument>,
    /// What it was about.
    #[schema(required = false)]
    record_types: Vec<String>,
}
