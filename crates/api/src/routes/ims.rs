//! The token endpoint (platform-services.md 6).

mod tokens;

use utoipa_axum::router::OpenApiRouter;

use crate::state::ApiState;

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    tokens::routes()
}
