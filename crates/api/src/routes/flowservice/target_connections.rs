//! Target connections: where rows land (flow-service.md 15).

use axum::Json;
use axum::extract::State;
use headwaters_control::CreateTargetConnection;
use headwaters_model::target_connection::TargetConnection;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::collection::{self, Changed, Created, Item, Listed};
use super::request::{ActionParams, Mode, ModeParams, SpecName};
use crate::auth::Caller;
use crate::documents::target_connection::{TargetData, TargetParams};
use crate::error::ApiError;
use crate::extract::body::{JsonBody, PatchBody};
use crate::extract::if_match::{IfMatch, MustMatch};
use crate::extract::list::{Asked, ListParams};
use crate::extract::path::Id;
use crate::extract::query::Query;
use crate::state::ApiState;

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_target_connections, create_target_connection))
        .routes(routes!(get_target_connection, patch_target_connection, delete_target_connection))
        .routes(routes!(act_on_target_connection))
}

/// A target connection to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct NewTargetConnection {
    /// Its name; need not be unique.
    #[schema(example = "orders in the lake")]
    name: Option<String>,
    /// What it is for.
    description: Option<String>,
    /// The schema and the format, both optional.
    #[schema(required = true, value_type = Option<TargetData>)]
    data: Option<Map<String, Value>>,
    /// The kind of target: the data lake.
    #[schema(required = true)]
    connection_spec: Option<SpecName>,
    /// Where rows land: `dataSetId`.
    #[schema(required = true, value_type = Option<TargetParams>)]
    params: Option<Map<String, Value>>,
}

impl NewTargetConnection {
    fn command(self, mode: Mode) -> CreateTargetConnection {
        CreateTargetConnection {
            name: self.name,
            description: self.description,
            data: self.data,
            connection_spec: self.connection_spec.map(Into::into),
            params: self.params,
            draft: mode.draft,
        }
    }
}

/// Lists target connections.
#[utoipa::path(get, path = "/targetConnections", tag = "targetConnections", params(ListParams),
    responses((status = 200, description = "a page, or with `count=true` a number")))]
async fn list_target_connections(
    State(state): State<ApiState>,
    Caller(caller): Caller,
    asked: Asked<TargetConnection>,
) -> Result<Json<Listed>, ApiError> {
    collection::list::<TargetConnection>(&state, &caller, asked.question).await
}

/// Makes a target connection to a data set that is there.
#[utoipa::path(post, path = "/targetConnections", tag = "targetConnections", params(ModeParams), request_body = NewTargetConnection,
    responses((status = 201, description = "made; `Location` names it")))]
async fn create_target_connection(
    State(state): State<ApiState>,
    Caller(caller): Caller,
    mode: Mode,
    JsonBody(new): JsonBody<NewTargetConnection>,
) -> Result<Created, ApiError> {
    let target = state.control().create_target_connection(&caller, new.command(mode)).await?;
    Ok(Created::of(&target))
}

/// Shows a target connection.
#[utoipa::path(get, path = "/targetConnections/{target_connection_id}", tag = "targetConnections",
    params(("target_connection_id", description = "its id")),
    responses((status = 200, description = "the target connection")))]
async fn get_target_connection(
    State(state): State<ApiState>,
    Caller(caller): Caller,
    Id(id): Id,
) -> Result<Item, ApiError> {
    collection::get::<TargetConnection>(&state, &caller, &id).await
}

/// Deletes a target connection that no flow uses.
#[utoipa::path(delete, path = "/targetConnections/{target_connection_id}", tag = "targetConnections",
    params(("target_connection_id", description = "its id")), responses((status = 204, description = "gone")))]
async fn delete_target_connection(
    State(state): State<ApiState>,
    Caller(caller): Caller,
    Id(id): Id,
    IfMatch(expected): IfMatch,
) -> Result<StatusCode, ApiError> {
    state.control().delete_target_connection(&caller, &id, expected).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Changes part of a target connection.
#[utoipa::path(patch, path = "/targetConnections/{target_connection_id}", tag = "targetConnections", params(("target_connection_id", description = "its id")),
    responses((status = 200, description = "changed; `etag` is the new version")))]
async fn patch_target_connection(
    State(state): State<ApiState>,
    Caller(caller): Caller,
    Id(id): Id,
    MustMatch(expected): MustMatch,
    PatchBody(patch): PatchBody,
) -> Result<Changed, ApiError> {
    collection::patch::<TargetConnection>(&state, &caller, &id, &expected, &patch).await
}

/// Publishes a draft, which is checked like a new target connection.
#[utoipa::path(post, path = "/targetConnections/{target_connection_id}/action", tag = "targetConnections",
    params(("target_connection_id", description = "its id"), ActionParams),
    responses((status = 200, description = "done; `etag` is the new version")))]
async fn act_on_target_connection(
    State(state): State<ApiState>,
    Caller(caller): Caller,
    Id(id): Id,
    IfMatch(expected): IfMatch,
    query: Query,
) -> Result<Changed, ApiError> {
    collection::act::<TargetConnection>(&state, &caller, &id, &expected, &query).await
}
