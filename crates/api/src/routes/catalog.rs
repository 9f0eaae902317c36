//! The Catalog (platform-services.md 2): data sets and the batches that landed in them.

mod batches;
mod data_sets;
mod listing;

use utoipa_axum::router::OpenApiRouter;

use crate::state::ApiState;

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().merge(data_sets::routes()).merge(batches::routes())
}
