//! Source connections (flow-service.md 14).

use serde_json::Value;
use utoipa::ToSchema;

use super::{AnyObject, InheritedBaseConnection, LastOperationDocument, SpecReference, StateDocument};

/// A source connection: what is read.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SourceConnectionDocument {
    /// Its name; need not be unique.
    name: String,
    /// What it is for.
    #[schema(required = false)]
    description: String,
    /// The base connection; absent only in a draft.
    #[schema(required = false, format = "uuid")]
    base_connection_id: String,
    /// Whether it can be used.
    state: StateDocument,
    /// The form of what is read.
    data: SourceDataDocument,
    /// The kind of source.
    connection_spec: SpecReference,
    /// What is read, as it was sent.
    params: SourceParams,
    /// The same as `etag`.
    version: String,
    /// Of which base connection it is; absent only in a draft.
    #[schema(required = false)]
    inherited_attributes: SourceInheritanceDocument,
    /// What was last done to it.
    last_operation: LastOperationDocument,
}

/// The form of what is read.
#[derive(ToSchema)]
pub(crate) struct SourceDataDocument {
    /// `tabular`.
    format: String,
    /// Always `null`: the columns stand in the parameters.
    schema: Option<Value>,
    /// Always `null`.
    properties: Option<Value>,
}

/// The form of what is read, as it is sent.
#[derive(ToSchema)]
pub(crate) struct SourceFormat {
    /// `tabular`, also when absent.
    #[schema(required = false, example = "tabular")]
    format: String,
}

/// What is read. Fields that are not described here are stored and shown.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SourceParams {
    /// The table, `database.table` or a bare name.
    #[schema(required = false, example = "shop.orders")]
    table_name: String,
    /// The columns that are read, in this order; all of them when absent or empty.
    #[schema(required = false)]
    columns: Vec<SourceColumn>,
    /// Which rows are read: a filter in PQL, `{type, format, value}`.
    #[schema(required = false)]
    filters: Option<AnyObject>,
    /// Not offered by these sources.
    #[schema(required = false)]
    cdc_enabled: bool,
}

/// A column that is read. Beside its name it holds what explore said of it, which is shown and not acted upon.
#[derive(ToSchema)]
pub(crate) struct SourceColumn {
    /// Its name at the source.
    name: String,
    /// Its type as explore shows it.
    #[schema(required = false)]
    r#type: String,
}

/// Of which base connection a source connection is.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SourceInheritanceDocument {
    /// The base connection.
    base_connection: InheritedBaseConnection,
}
