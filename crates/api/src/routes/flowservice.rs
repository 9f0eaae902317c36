//! The Flow Service (flow-service.md 6): one file per collection over what all of them share.

mod collection;
mod connection_specs;
mod connections;
mod flow_specs;
mod flows;
mod request;
mod runs;
mod source_connections;
mod spec_list;
mod target_connections;

use utoipa_axum::router::OpenApiRouter;

use crate::state::ApiState;

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .merge(connections::routes())
        .merge(connection_specs::routes())
        .merge(flow_specs::routes())
        .merge(source_connections::routes())
        .merge(target_connections::routes())
        .merge(flows::routes())
        .merge(runs::routes())
}
