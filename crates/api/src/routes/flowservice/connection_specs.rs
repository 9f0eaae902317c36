//! Connection specs: what can be connected (flow-service.md 12.1).

use axum::Json;
use axum::extract::State;
use headwaters_model::resource::Collection;
use http::StatusCode;
use serde_json::{Map, Value};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::collection::{Bare, Item, Listed};
use super::spec_list::{ConfigsBody, SpecsAsked, SpecsParams};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::extract::body::JsonBody;
use crate::extract::path::Id;
use crate::extract::query::Query;
use crate::state::ApiState;

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_connection_specs, create_connection_spec))
        .routes(routes!(get_connection_spec, replace_connection_spec))
        .routes(routes!(explore_connection_spec))
        .routes(routes!(configs_of_connection_spec))
}

/// Lists the kinds of source and target; those that this build can not use say so.
#[utoipa::path(get, path = "/connectionSpecs", tag = "specs", params(SpecsParams),
    responses((status = 200, description = "all that match in one page, or with `count=true` a number")))]
async fn list_connection_specs(
    State(state): State<ApiState>,
    Caller(caller): Caller,
    query: Query,
) -> Result<Json<Listed>, ApiError> {
    let asked = SpecsAsked::read(&query, Collection::ConnectionSpecs)?;
    Ok(Json(asked.answer(state.control().connection_specs(&caller, &asked.filters).await?)))
}

/// Adds a connection spec to the catalogue; services only. It is listed, and can not be used.
#[utoipa::path(post, path = "/connectionSpecs", tag = "specs",
    responses((status = 201, description = "added; `Location` names it")))]
async fn create_connection_spec(
    State(state): State<ApiState>,
    Caller(caller): Caller,
    JsonBody(fields): JsonBody<Map<String, Value>>,
) -> Result<Bare, ApiError> {
    let of = Collection::ConnectionSpecs;
    Ok(Bare::unversioned(StatusCode::CREATED, of, state.control().create_spec(&caller, of, &fields).await?))
}

/// Shows a connection spec.
#[utoipa::path(get, path = "/connectionSpecs/{spec_id}", tag = "specs", params(("spec_id", description = "its id")),
    responses((status = 200, description = "the spec")))]
async fn get_connection_spec(
    State(state): State<ApiState>,
    Caller(caller): Caller,
    Id(id): Id,
) -> Result<Item, ApiError> {
    Ok(Item::unversioned(state.control().connection_spec(&caller, &id).await?))
}

/// Replaces a connection spec that was added; services only.
#[utoipa::path(put, path = "/connectionSpecs/{spec_id}", tag = "specs", params(("spec_id", description = "its id")),
    responses((status = 200, description = "the spec as it is now")))]
async fn replace_connection_spec(
    State(state): State<ApiState>,
    Caller(caller): Caller,
    Id(id): Id,
    JsonBody(fields): JsonBody<Map<String, Value>>,
) -> Result<Bare, ApiError> {
    let of = Collection::ConnectionSpecs;
    Ok(Bare::unversioned(StatusCode::OK, of, state.control().replace_spec(&caller, of, &id, &fields).await?))
}

/// Explores by a spec alone, which no source of this build offers.
#[utoipa::path(get, path = "/connectionSpecs/{spec_id}/explore", tag = "specs", params(("spec_id", description = "its id")),
    responses((status = 200, description = "what there is to see")))]
async fn explore_connection_spec(
    State(state): State<ApiState>,
    Caller(caller): Caller,
    Id(id): Id,
) -> Result<Json<Vec<Value>>, ApiError> {
    Ok(Json(state.control().explore_by_spec(&caller, &id).await?))
}

/// Lists the configurations of a kind of source: databases have none.
#[utoipa::path(get, path = "/connectionSpecs/{spec_id}/configs", tag = "specs", params(("spec_id", description = "its id")),
    responses((status = 200, description = "an empty list")))]
async fn configs_of_connection_spec(
    State(state): State<ApiState>,
    Caller(caller): Caller,
    Id(id): Id,
) -> Result<Json<ConfigsBody>, ApiError> {
    state.control().connection_spec(&caller, &id).await?;
    Ok(Json(ConfigsBody::default()))
}
