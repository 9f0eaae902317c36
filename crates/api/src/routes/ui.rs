//! The page that says what runs here, until the web UI comes.

use axum::response::Html;
use http::header::CONTENT_SECURITY_POLICY;
use http::{HeaderName, HeaderValue};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::state::ApiState;

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(show_page))
}

/// Shows what runs here and where the documentation is.
#[utoipa::path(get, path = "/ui", tag = "operations", security(()),
    responses((status = 200, description = "a page for people", body = String, content_type = "text/html")))]
async fn show_page() -> ([(HeaderName, HeaderValue); 1], Html<&'static str>) {
    let policy = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'");
    ([(CONTENT_SECURITY_POLICY, policy)], Html(include_str!("ui/page.html")))
}
