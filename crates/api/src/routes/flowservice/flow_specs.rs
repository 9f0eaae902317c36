//! Flow specs: how what is connected flows (flow-service.md 12.2). A read-only catalogue.

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
    OpenApiRouter::new().routes(routes!(list_flow_specs)).routes(routes!(get_flow_spec))
}

/// Lists the kinds of flow.
#[utoipa::path(get, path = "/flowSpecs", tag = "specs", params(SpecsParams),
    responses((status = 200, description = "all that match, in one page", body = SpecsBody)))]
async fn list_flow_specs(State(state): State<ApiState>, _: Caller, query: Query) -> Result<Json<SpecsBody>, ApiError> {
    let asked = SpecsAsked::read(&query, Collection::FlowSpecs)?;
    Ok(Json(asked.body(state.control().flow_specs(&asked.filters))))
}

/// Shows a flow spec.
#[utoipa::path(get, path = "/flowSpecs/{spec_id}", tag = "specs", params(("spec_id", description = "its id")),
    responses((status = 200, description = "the spec", body = ItemsBody)))]
async fn get_flow_spec(State(state): State<ApiState>, _: Caller, Id(id): Id) -> Result<Item, ApiError> {
    Ok(Item::unversioned(state.control().flow_spec(&id)?))
}
