//! The token endpoint (platform-services.md 6).

mod tokens;

use utoipa_axum::router::OpenApiRouter;

#[cfg(test)]
pub(crate) use self::tokens::FORM_BYTES_MAX;
use crate::state::ApiState;

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    tokens::routes()
}
