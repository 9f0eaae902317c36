//! Connection specs: what can be connected (flow-service.md 12.1). A read-only catalogue.

use axum::Json;
use axum::extract::State;
use headwaters_model::resource::Collection;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::collection::{Item, ItemsBody};
use super::spec_list::{SpecsAsked, SpecsBody, SpecsParams};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::extract::path::Id;
use crate::extract::query::Query;
use crate::state::ApiState;

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list_connection_specs)).routes(routes!(get_connection_spec))
}

/// Lists the kinds of source and target; those that this build can not use say so.
#[utoipa::path(get, path = "/connectionSpecs", tag = "specs", params(SpecsParams),
    responses((status = 200, description = "all that match, in one page", body = SpecsBody)))]
async fn list_connection_specs(
    State(state): State<ApiState>,
    _: Caller,
    query: Query,
) -> Result<Json<SpecsBody>, ApiError> {
    let asked = SpecsAsked::read(&query, Collection::ConnectionSpecs)?;
    Ok(Json(asked.body(state.control().connection_specs(&asked.filters))))
}

/// Shows a connection spec.
#[utoipa::path(get, path = "/connectionSpecs/{spec_id}", tag = "specs", params(("spec_id", description = "its id")),
    responses((status = 200, description = "the spec", body = ItemsBody)))]
async fn get_connection_spec(State(state): State<ApiState>, _: Caller, Id(id): Id) -> Result<Item, ApiError> {
    Ok(Item::unversioned(state.control().connection_spec(&id)?))
}
