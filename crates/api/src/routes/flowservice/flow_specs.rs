//! Flow specs: how what is connected flows (flow-service.md 12.2).

use axum::Json;
use axum::extract::State;
use headwaters_model::resource::Collection;
use http::StatusCode;
use serde_json::{Map, Value};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::collection::{Bare, Item, Listed};
use super::spec_list::{SpecsAsked, SpecsParams};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::extract::body::{JsonBody, OptionalBody};
use crate::extract::path::Id;
use crate::extract::query::Query;
use crate::extract::search::SearchBody;
use crate::state::ApiState;

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_flow_specs, create_flow_spec))
        .routes(routes!(get_flow_spec, replace_flow_spec))
        .routes(routes!(search_flow_specs))
}

/// Lists the kinds of flow.
#[utoipa::path(get, path = "/flowSpecs", tag = "specs", params(SpecsParams),
    responses((status = 200, description = "all that match in one page, or with `count=true` a number")))]
async fn list_flow_specs(
    State(state): State<ApiState>,
    Caller(caller): Caller,
    query: Query,
) -> Result<Json<Listed>, ApiError> {
    let asked = SpecsAsked::read(&query, Collection::FlowSpecs)?;
    Ok(Json(asked.answer(state.control().flow_specs(&caller, &asked.filters).await?)))
}

/// Adds a flow spec to the catalogue; services only. It is listed, and can not be used.
#[utoipa::path(post, path = "/flowSpecs", tag = "specs",
    responses((status = 201, description = "added; `Location` names it")))]
async fn create_flow_spec(
    State(state): State<ApiState>,
    Caller(caller): Caller,
    JsonBody(fields): JsonBody<Map<String, Value>>,
) -> Result<Bare, ApiError> {
    let of = Collection::FlowSpecs;
    Ok(Bare::unversioned(StatusCode::CREATED, of, state.control().create_spec(&caller, of, &fields).await?))
}

/// Shows a flow spec.
#[utoipa::path(get, path = "/flowSpecs/{spec_id}", tag = "specs", params(("spec_id", description = "its id")),
    responses((status = 200, description = "the spec")))]
async fn get_flow_spec(State(state): State<ApiState>, Caller(caller): Caller, Id(id): Id) -> Result<Item, ApiError> {
    Ok(Item::unversioned(state.control().flow_spec(&caller, &id).await?))
}

/// Replaces a flow spec that was added; services only.
#[utoipa::path(put, path = "/flowSpecs/{spec_id}", tag = "specs", params(("spec_id", description = "its id")),
    responses((status = 200, description = "the spec as it is now")))]
async fn replace_flow_spec(
    State(state): State<ApiState>,
    Caller(caller): Caller,
    Id(id): Id,
    JsonBody(fields): JsonBody<Map<String, Value>>,
) -> Result<Bare, ApiError> {
    let of = Collection::FlowSpecs;
    Ok(Bare::unversioned(StatusCode::OK, of, state.control().replace_spec(&caller, of, &id, &fields).await?))
}

/// Searches flow specs; an empty body finds all.
#[utoipa::path(post, path = "/flowSpecs/search", tag = "specs", request_body = SearchBody,
    responses((status = 200, description = "a page, or with `count: true` a number")))]
async fn search_flow_specs(
    State(state): State<ApiState>,
    Caller(caller): Caller,
    query: Query,
    OptionalBody(search): OptionalBody<SearchBody>,
) -> Result<Json<Listed>, ApiError> {
    let asked = search.question(&query, Collection::FlowSpecs)?;
    if asked.count {
        let found = state.control().flow_specs(&caller, &asked.query.filters).await?;
        return Ok(Json(Listed::number(found.len() as u64)));
    }
    let page = state.control().flow_spec_page(&caller, &asked.query).await?;
    Ok(Json(Listed::page(&asked, Collection::FlowSpecs, page)))
}
