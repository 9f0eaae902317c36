//! All routes in one router, with what surrounds them.

use axum::extract::Request;
use axum::middleware::{from_fn, from_fn_with_state, map_request};
use axum::{Extension, Router};
use tower::Layer;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::router::OpenApiRouter;

use crate::error::{ApiError, Refusal};
use crate::extract::query::shown;
use crate::openapi::Document;
use crate::service::{CATALOG, FLOW_SERVICE, IMS};
use crate::state::ApiState;
use crate::{auth, frame, openapi, routes};

/// All routes of all services, ready to be served.
///
/// A [`crate::Server`] serves it on a socket, within the limits of the state.
pub fn router(state: ApiState) -> Router {
    let (routes, document) = described_routes().split_for_parts();
    let routes = routes
        .layer(Extension(Document::of(&document)))
        .route_layer(from_fn_with_state(state.clone(), auth::admit))
        .fallback(unknown_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn(frame::limit_time))
        .layer(CatchPanicLayer::custom(frame::answer_panic))
        .layer(from_fn(frame::observe))
        .with_state(state);
    // Layers of a router run behind its routing; what changes the path must stand in front of it.
    Router::new().fallback_service(map_request(frame::strip_trailing_slash).layer(routes))
}

/// What answers on connections beyond the limit, whatever is asked.
pub(crate) fn turning_away() -> Router {
    let answer = async || ApiError::from(Refusal::TooManyConnections);
    Router::new().fallback(answer).layer(from_fn(frame::close)).layer(from_fn(frame::observe))
}

/// The routes with their descriptions, without anything around them.
pub(crate) fn described_routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::with_openapi(openapi::frame())
        .nest(FLOW_SERVICE, routes::flowservice::routes())
        .nest(CATALOG, routes::catalog::routes())
        .nest(IMS, routes::ims::routes())
        .merge(routes::ops::routes())
        .merge(routes::docs::routes())
        .merge(routes::ui::routes())
}

async fn unknown_route(request: Request) -> ApiError {
    Refusal::UnknownRoute(shown(request.uri().path())).into()
}

async fn wrong_method(request: Request) -> ApiError {
    Refusal::WrongMethod(shown(request.method().as_str())).into()
}
