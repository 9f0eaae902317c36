//! Target connections (flow-service.md 15).

use utoipa::ToSchema;

use super::{AnyObject, LastOperationDocument, SpecReference, StateDocument};

/// A target connection: where rows land.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TargetConnectionDocument {
    /// Its name; need not be unique.
    #[schema(required = false)]
    name: String,
    /// What it is for.
    #[schema(required = false)]
    description: String,
    /// Whether it can be used.
    state: StateDocument,
    /// The schema and the form of what lands, as they were sent.
    data: TargetData,
    /// The kind of target: the data lake.
    connection_spec: SpecReference,
    /// Where rows land.
    params: TargetParams,
    /// The same as `etag`.
    version: String,
    /// Empty: a target has no base connection.
    inherited_attributes: AnyObject,
    /// What was last done to it.
    last_operation: LastOperationDocument,
}

/// The schema and the form of what lands. Fields that are not described here are stored and shown.
#[derive(ToSchema)]
pub(crate) struct TargetData {
    /// The form, e.g. `parquet_xdm`; shown and not acted upon.
    #[schema(required = false)]
    format: String,
    /// The schema of the data set.
    #[schema(required = false)]
    schema: Option<TargetSchema>,
}

/// A schema of the schema registry.
#[derive(ToSchema)]
pub(crate) struct TargetSchema {
    /// Its URI.
    #[schema(required = false, example = "https://ns.adobe.com/acme/schemas/5f1c")]
    id: String,
    /// Its version, as a media type.
    #[schema(required = false, example = "application/vnd.adobe.xed-full+json;version=1")]
    version: String,
}

/// Where rows land. Fields that are not described here are stored and shown.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TargetParams {
    /// The data set, whose table they land in; absent only in a draft.
    #[schema(required = false, example = "65a0c3d2e1f0b9a897867564")]
    data_set_id: String,
}
