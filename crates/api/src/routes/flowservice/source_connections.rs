//! Source connections: what is read (flow-service.md 14).

use axum::Json;
use axum::extract::State;
use headwaters_control::CreateSourceConnection;
use headwaters_model::source_connection::SourceConnection;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::collection::{self, Changed, Created, Item, Listed};
use super::request::{ActionParams, Mode, ModeParams, SpecName};
use crate::auth::Caller;
use crate::documents::source_connection::{SourceFormat, SourceParams};
use crate::error::ApiError;
use crate::extract::body::{JsonBody, PatchBody};
use crate::extract::if_match::{IfMatch, MustMatch};
use crate::extract::list::{Asked, ListParams};
use crate::extract::path::Id;
use crate::extract::query::Query;
use crate::state::ApiState;

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_source_connections, create_source_connection))
        .routes(routes!(get_source_connection, patch_source_connection, delete_source_connection))
        .routes(routes!(act_on_source_connection))
}

/// A source connection to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct NewSourceConnection {
    /// Its name; need not be unique.
    #[schema(required = true, example = "shop orders")]
    name: Option<String>,
    /// What it is for.
    description: Option<String>,
    /// The base connection that it reads through.
    #[schema(required = true)]
    base_connection_id: Option<String>,
    /// In which form the data comes: `{"format": "tabular"}`.
    #[schema(required = true, value_type = Option<SourceFormat>)]
    data: Option<Map<String, Value>>,
    /// The kind of source: that of the base connection.
    #[schema(required = true)]
    connection_spec: Option<SpecName>,
    /// What is read: `tableName`, and to read less of it `columns` and `filters`.
    #[schema(required = true, value_type = Option<SourceParams>)]
    params: Option<Map<String, Value>>,
}

impl NewSourceConnection {
    fn command(self, mode: Mode) -> CreateSourceConnection {
        CreateSourceConnection {
            name: self.name,
            description: self.description,
            base_connection_id: self.base_connection_id,
            data: self.data,
            connection_spec: self.connection_spec.map(Into::into),
            params: self.params,
            draft: mode.draft,
        }
    }
}

/// Lists source connections.
#[utoipa::path(get, path = "/sourceConnections", tag = "sourceConnections", params(ListParams),
    responses((status = 200, description = "a page, or with `count=true` a number")))]
async fn list_source_connections(
    State(state): State<ApiState>,
    Caller(caller): Caller,
    asked: Asked<SourceConnection>,
) -> Result<Json<Listed>, ApiError> {
    collection::list::<SourceConnection>(&state, &caller, asked.question).await
}

/// Makes a source connection. Whether the table is there is looked up when a flow is made of it.
#[utoipa::path(post, path = "/sourceConnections", tag = "sourceConnections", params(ModeParams), request_body = NewSourceConnection,
    responses((status = 201, description = "made; `Location` names it")))]
async fn create_source_connection(
    State(state): State<ApiState>,
    Caller(caller): Caller,
    mode: Mode,
    JsonBody(new): JsonBody<NewSourceConnection>,
) -> Result<Created, ApiError> {
    let source = state.control().create_source_connection(&caller, new.command(mode)).await?;
    Ok(Created::of(&source))
}

/// Shows a source connection.
#[utoipa::path(get, path = "/sourceConnections/{source_connection_id}", tag = "sourceConnections",
    params(("source_connection_id", description = "its id")),
    responses((status = 200, description = "the source connection")))]
async fn get_source_connection(
    State(state): State<ApiState>,
    Caller(caller): Caller,
    Id(id): Id,
) -> Result<Item, ApiError> {
    collection::get::<SourceConnection>(&state, &caller, &id).await
}

/// Deletes a source connection that no flow uses.
#[utoipa::path(delete, path = "/sourceConnections/{source_connection_id}", tag = "sourceConnections",
    params(("source_connection_id", description = "its id")), responses((status = 204, description = "gone")))]
async fn delete_source_connection(
    State(state): State<ApiState>,
    Caller(caller): Caller,
    Id(id): Id,
    IfMatch(expected): IfMatch,
) -> Result<StatusCode, ApiError> {
    state.control().delete_source_connection(&caller, &id, expected).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Changes part of a source connection; a run reads it as it is when the run begins.
#[utoipa::path(patch, path = "/sourceConnections/{source_connection_id}", tag = "sourceConnections", params(("source_connection_id", description = "its id")),
    responses((status = 200, description = "changed; `etag` is the new version")))]
async fn patch_source_connection(
    State(state): State<ApiState>,
    Caller(caller): Caller,
    Id(id): Id,
    MustMatch(expected): MustMatch,
    PatchBody(patch): PatchBody,
) -> Result<Changed, ApiError> {
    collection::patch::<SourceConnection>(&state, &caller, &id, &expected, &patch).await
}

/// Publishes a draft, which is checked like a new source connection.
#[utoipa::path(post, path = "/sourceConnections/{source_connection_id}/action", tag = "sourceConnections",
    params(("source_connection_id", description = "its id"), ActionParams),
    responses((status = 200, description = "done; `etag` is the new version")))]
async fn act_on_source_connection(
    State(state): State<ApiState>,
    Caller(caller): Caller,
    Id(id): Id,
    IfMatch(expected): IfMatch,
    query: Query,
) -> Result<Changed, ApiError> {
    collection::act::<SourceConnection>(&state, &caller, &id, &expected, &query).await
}
