//! Batches: what runs have landed, or tried to (platform-services.md 2.4).

use axum::Json;
use axum::extract::State;
use headwaters_model::batch::Batch;
use headwaters_model::resource::Resource;
use serde_json::{Map, Value};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::listing::{self, Asked, ListParams, Shelf};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::extract::path::Id;
use crate::state::ApiState;
use crate::views;

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list_batches)).routes(routes!(get_batches))
}

impl Shelf for Batch {
    const FIELDS: &'static [(&'static str, &'static str)] =
        &[("status", "status"), ("dataSet", "dataSetId"), ("batch", "id"), ("externalId", "id")];

    fn view(resource: &Resource<Self>) -> Map<String, Value> {
        views::batches::view(resource)
    }
}

/// Lists batches; those of one data set with `dataSet=…`.
#[utoipa::path(get, path = "/batches", tag = "catalog", params(ListParams),
    responses((status = 200, description = "an object keyed by id")))]
async fn list_batches(
    State(state): State<ApiState>,
    Caller(caller): Caller,
    asked: Asked<Batch>,
) -> Result<Json<Map<String, Value>>, ApiError> {
    listing::list(&state, &caller, asked).await
}

/// Shows a batch, or several.
#[utoipa::path(get, path = "/batches/{batch_ids}", tag = "catalog",
    params(("batch_ids", description = "an id, or several with `,` between them")),
    responses((status = 200, description = "an object keyed by id")))]
async fn get_batches(
    State(state): State<ApiState>,
    Caller(caller): Caller,
    Id(ids): Id,
) -> Result<Json<Map<String, Value>>, ApiError> {
    listing::get::<Batch>(&state, &caller, &ids).await
}
