//! Base connections (flow-service.md 13).

mod probe;

use std::fmt;

use axum::Json;
use axum::extract::State;
use headwaters_control::{AuthInput, CreateConnection};
use headwaters_model::connection::Connection;
use headwaters_model::resource::Kind as _;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::collection::{self, Changed, Created, Item, Listed};
use super::request::{ActionParams, Mode, ModeParams, SpecName, SubActionParams};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::extract::body::{JsonBody, OptionalBody, PatchBody};
use crate::extract::if_match::{IfMatch, MustMatch};
use crate::extract::list::{Asked, ListParams};
use crate::extract::path::Id;
use crate::extract::query::Query;
use crate::extract::search::{SearchBody, SearchParams};
use crate::state::ApiState;

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_connections, create_connection))
        .routes(routes!(get_connection, patch_connection, delete_connection))
        .routes(routes!(act_on_connection))
        .routes(routes!(search_connections))
        .merge(probe::routes())
}

/// A base connection to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct NewConnection {
    /// Its name; need not be unique.
    #[schema(required = true, example = "shop")]
    name: Option<String>,
    /// What it is for.
    description: Option<String>,
    /// How to log in; absent only in a draft.
    #[schema(required = true)]
    auth: Option<NewAuth>,
    /// The kind of source.
    #[schema(required = true)]
    connection_spec: Option<SpecName>,
    /// Ignored, if it is a state at all.
    #[schema(example = "enabled")]
    state: Option<String>,
}

/// How to log in.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct NewAuth {
    /// The name of one of the spec's ways to log in.
    #[schema(required = true, example = "Basic Authentication")]
    spec_name: Option<String>,
    /// Its parameters.
    #[schema(required = true, value_type = Option<Object>)]
    params: Option<Map<String, Value>>,
}

impl fmt::Debug for NewAuth {
    /// Parameters may hold secrets: they are not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewAuth").field("spec_name", &self.spec_name).finish_non_exhaustive()
    }
}

impl NewConnection {
    fn command(self, mode: Mode) -> CreateConnection {
        CreateConnection {
            name: self.name,
            description: self.description,
            auth: self.auth.map(|auth| AuthInput { spec_name: auth.spec_name, params: auth.params }),
            connection_spec: self.connection_spec.map(Into::into),
            state: self.state,
            draft: mode.draft,
        }
    }
}

/// Lists base connections.
#[utoipa::path(get, path = "/connections", tag = "connections", params(ListParams),
    responses((status = 200, description = "a page, or with `count=true` a number")))]
async fn list_connections(
    State(state): State<ApiState>,
    Caller(caller): Caller,
    asked: Asked<Connection>,
) -> Result<Json<Listed>, ApiError> {
    collection::list::<Connection>(&state, &caller, asked.question).await
}

/// Makes a base connection, after a try whether the source lets us in.
#[utoipa::path(post, path = "/connections", tag = "connections", params(ModeParams), request_body = NewConnection,
    responses((status = 201, description = "made; `Location` names it")))]
async fn create_connection(
    State(state): State<ApiState>,
    Caller(caller): Caller,
    mode: Mode,
    JsonBody(new): JsonBody<NewConnection>,
) -> Result<Created, ApiError> {
    let connection = state.control().create_connection(&caller, new.command(mode)).await?;
    Ok(Created::of(&connection))
}

/// Shows a base connection; secrets are masked.
#[utoipa::path(get, path = "/connections/{connection_id}", tag = "connections", params(("connection_id", description = "its id")),
    responses((status = 200, description = "the connection")))]
async fn get_connection(State(state): State<ApiState>, Caller(caller): Caller, Id(id): Id) -> Result<Item, ApiError> {
    collection::get::<Connection>(&state, &caller, &id).await
}

/// Deletes a base connection that no flow uses, and the source connections on it.
#[utoipa::path(delete, path = "/connections/{connection_id}", tag = "connections", params(("connection_id", description = "its id")),
    responses((status = 204, description = "gone")))]
async fn delete_connection(
    State(state): State<ApiState>,
    Caller(caller): Caller,
    Id(id): Id,
    IfMatch(expected): IfMatch,
) -> Result<StatusCode, ApiError> {
    state.control().delete_connection(&caller, &id, expected).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Changes part of a base connection; new credentials hold for all flows on it from their next run.
#[utoipa::path(patch, path = "/connections/{connection_id}", tag = "connections", params(("connection_id", description = "its id")),
    responses((status = 200, description = "changed; `etag` is the new version")))]
async fn patch_connection(
    State(state): State<ApiState>,
    Caller(caller): Caller,
    Id(id): Id,
    MustMatch(expected): MustMatch,
    PatchBody(patch): PatchBody,
) -> Result<Changed, ApiError> {
    collection::patch::<Connection>(&state, &caller, &id, &expected, &patch).await
}

/// Publishes a draft, which is checked like a new base connection.
#[utoipa::path(post, path = "/connections/{connection_id}/action", tag = "connections",
    params(("connection_id", description = "its id"), ActionParams, SubActionParams),
    responses((status = 200, description = "done; `etag` is the new version")))]
async fn act_on_connection(
    State(state): State<ApiState>,
    Caller(caller): Caller,
    Id(id): Id,
    IfMatch(expected): IfMatch,
    query: Query,
) -> Result<Changed, ApiError> {
    collection::act::<Connection>(&state, &caller, &id, &expected, &query).await
}

/// Searches base connections; an empty body finds all.
#[utoipa::path(post, path = "/connections/search", tag = "connections", params(SearchParams), request_body = SearchBody,
    responses((status = 200, description = "a page, or with `count: true` a number")))]
async fn search_connections(
    State(state): State<ApiState>,
    Caller(caller): Caller,
    query: Query,
    OptionalBody(search): OptionalBody<SearchBody>,
) -> Result<Json<Listed>, ApiError> {
    let asked = search.question(&query, Connection::COLLECTION)?;
    collection::list::<Connection>(&state, &caller, asked).await
}
