//! Base connections (flow-service.md 13).

use utoipa::ToSchema;

use super::{AnyObject, LastOperationDocument, SpecReference, StateDocument};

/// A base connection: how a source is reached.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ConnectionDocument {
    /// Its name; need not be unique.
    name: String,
    /// What it is for.
    #[schema(required = false)]
    description: String,
    /// The kind of source.
    connection_spec: SpecReference,
    /// Whether it can be used.
    state: StateDocument,
    /// How to log in; absent only in a draft.
    #[schema(required = false)]
    auth: AuthDocument,
    /// The same as `etag`.
    version: String,
    /// What was last done to it.
    last_operation: LastOperationDocument,
}

/// How to log in.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AuthDocument {
    /// The name of one of the spec's ways to log in.
    spec_name: String,
    /// Its parameters, those that the spec's schema names. Secrets are shown as `*****`, and a connection string without
    /// its password.
    params: AnyObject,
}
