//! Runs: what flows have done (flow-service.md 17).

use axum::Json;
use axum::extract::State;
use headwaters_model::run::Run;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::collection::{self, Item, ItemsBody, Listed};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::extract::list::{Asked, ListParams};
use crate::extract::path::Id;
use crate::state::ApiState;

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list_runs)).routes(routes!(get_run))
}

/// Lists runs; those of one flow with `property=flowId==…`.
#[utoipa::path(get, path = "/runs", tag = "runs", params(ListParams),
    responses((status = 200, description = "a page, or with `count=true` a number", body = Listed)))]
async fn list_runs(
    State(state): State<ApiState>,
    Caller(caller): Caller,
    asked: Asked<Run>,
) -> Result<Json<Listed>, ApiError> {
    collection::list(&state, &caller, asked).await
}

/// Shows a run with its numbers, in progress or over.
#[utoipa::path(get, path = "/runs/{run_id}", tag = "runs", params(("run_id", description = "its id")),
    responses((status = 200, description = "the run", body = ItemsBody)))]
async fn get_run(State(state): State<ApiState>, Caller(caller): Caller, Id(id): Id) -> Result<Item, ApiError> {
    collection::get::<Run>(&state, &caller, &id).await
}
