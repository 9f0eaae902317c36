//! What the services take and answer, as types for the description of the API (openapi.rs).
//!
//! They describe and do nothing else: what is sent are the documents of the model, as they are stored and filtered. So
//! that the two can't drift apart, every answer that the test suite sees is validated against these types, and a field
//! that is not described here fails the test that met it (tests/it/description.rs).
//!
//! A field with `required = false` is left out when there is nothing to say; `Option` is for what may be `null`.

#![expect(dead_code, reason = "types of the description: nobody makes values of them")]

pub(crate) mod catalog;
pub(crate) mod changes;
pub(crate) mod connection;
pub(crate) mod explore;
pub(crate) mod flow;
pub(crate) mod flow_spec;
pub(crate) mod run;
pub(crate) mod source_connection;
pub(crate) mod spec;
pub(crate) mod target_connection;

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::ToSchema;

/// An object whose fields are not ours to describe.
#[derive(ToSchema)]
#[schema(value_type = Object)]
pub(crate) struct AnyObject(BTreeMap<String, Value>);

/// What the documents of all collections begin with (flow-service.md 5).
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Envelope {
    /// Its id, made by the server.
    #[schema(format = "uuid")]
    id: String,
    /// When it was made, milliseconds since 1970.
    created_at: i64,
    /// When it was last changed, milliseconds since 1970.
    updated_at: i64,
    /// The user who made it; of a service token, its client.
    created_by: String,
    /// The user who last changed it.
    updated_by: String,
    /// The client that made it.
    created_client: String,
    /// The client that last changed it.
    updated_client: String,
    /// Its sandbox.
    sandbox_id: String,
    /// Its sandbox by name.
    sandbox_name: String,
    /// Its organisation.
    ims_org_id: String,
    /// Its version, the quotes being part of it: what `If-Match` names.
    etag: String,
}

/// A spec, by id and version.
#[derive(ToSchema)]
pub(crate) struct SpecReference {
    /// Its id.
    #[schema(format = "uuid")]
    id: String,
    /// Its version.
    version: String,
}

/// How far along its life a resource is (flow-service.md 10.1). This server writes `draft`, `enabled` and `disabled`.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum StateDocument {
    Draft,
    Enabled,
    Disabled,
    Initializing,
    Disabling,
    Enabling,
    Updating,
    Deleting,
    Pending,
    InProgress,
    #[serde(rename = "enabled-finalizing")]
    EnabledFinalizing,
    #[serde(rename = "delete-finalizing")]
    DeleteFinalizing,
}

/// What was last done to a resource.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LastOperationDocument {
    /// When it began, milliseconds since 1970.
    started: i64,
    /// When it ended, milliseconds since 1970; 0 after a create.
    updated: i64,
    /// 100 once an update is done.
    #[schema(required = false)]
    percent_completed: f64,
    /// How an update ended.
    #[schema(required = false)]
    status: OperationStatus,
    /// The instructions of an update, secrets masked.
    #[schema(required = false)]
    ops: Vec<changes::PatchInstruction>,
    /// `create`, `draft_create`, `update`, or the name of an action.
    operation: String,
}

/// How an operation ended.
#[derive(ToSchema)]
pub(crate) struct OperationStatus {
    /// `completed`.
    value: String,
    /// What went wrong.
    errors: Vec<ErrorEntry>,
}

/// An error inside a document.
#[derive(ToSchema)]
pub(crate) struct ErrorEntry {
    /// Its code.
    #[schema(required = false)]
    code: String,
    /// One sentence.
    #[schema(required = false)]
    message: String,
    /// What else is known.
    #[schema(required = false)]
    details: AnyObject,
}

/// A connection that another resource is made of.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InheritedConnectionDocument {
    /// Its id.
    #[schema(format = "uuid")]
    id: String,
    /// Its kind.
    connection_spec: SpecReference,
    /// The base connection below a source connection.
    #[schema(required = false)]
    base_connection: InheritedBaseConnection,
}

/// A base connection that another resource is made of.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InheritedBaseConnection {
    /// Its id.
    #[schema(format = "uuid")]
    id: String,
    /// Its kind.
    connection_spec: SpecReference,
}

/// How many documents match.
#[derive(ToSchema)]
pub(crate) struct CountDocument {
    /// Their number over all pages.
    count: u64,
}

/// The links of a page.
#[derive(ToSchema)]
pub(crate) struct PageLinks {
    /// The next page; absent on the last one.
    #[schema(required = false)]
    next: PageLink,
}

/// A link.
#[derive(ToSchema)]
pub(crate) struct PageLink {
    /// Relative to the base path of the service.
    #[schema(example = "/flows?continuationToken=eyJj")]
    href: String,
}

/// A resource that was written.
#[derive(ToSchema)]
pub(crate) struct WrittenDocument {
    /// Its id.
    #[schema(format = "uuid")]
    id: String,
    /// Its new version, the quotes being part of it.
    etag: String,
}

/// A schema of JSON Schema, draft 7.
#[derive(ToSchema)]
#[schema(value_type = Object)]
pub(crate) struct JsonSchema(BTreeMap<String, Value>);
