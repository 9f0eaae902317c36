//! What keeps the server running and understood: health, readiness, numbers, and the description of the API.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::HeaderName;
use http::header::CONTENT_TYPE;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::{ApiError, ProblemBody, Refusal};
use crate::openapi::Document;
use crate::state::ApiState;

/// The text format of Prometheus.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(show_health))
        .routes(routes!(show_readiness))
        .routes(routes!(show_metrics))
        .routes(routes!(show_description))
}

/// That a question was answered.
#[derive(Debug, Serialize, ToSchema)]
struct Health {
    /// Always `ok`.
    #[schema(example = "ok")]
    status: &'static str,
}

/// Says that the process is alive; asks nothing of anybody.
#[utoipa::path(get, path = "/healthz", tag = "operations", security(()),
    responses((status = 200, description = "the process is alive", body = Health)))]
async fn show_health() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// Says whether requests can be answered: the store answers and can be written. What a crash left behind holds nothing
/// up, each flow clears its own before its next run.
#[utoipa::path(get, path = "/readyz", tag = "operations", security(()), responses(
    (status = 200, description = "requests can be answered", body = Health),
    (status = 503, description = "not yet, or not any more", body = ProblemBody)))]
async fn show_readiness(State(state): State<ApiState>) -> Result<Json<Health>, ApiError> {
    state.control().ready().await.map_err(|error| {
        tracing::warn!(error = &error as &dyn std::error::Error, "not ready");
        let hint = error.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
        Refusal::NotReady(format!("{error}{hint}"))
    })?;
    Ok(Json(Health { status: "ok" }))
}

/// Shows the numbers of this process in the text format of Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "operations", security(()),
    responses((status = 200, description = "counters, gauges and histograms", body = String, content_type = "text/plain")))]
async fn show_metrics(State(state): State<ApiState>) -> ([(HeaderName, &'static str); 1], String) {
    ([(CONTENT_TYPE, METRICS_TYPE)], state.metrics_text())
}

/// Describes every operation of this server, as OpenAPI.
#[utoipa::path(get, path = "/openapi.json", tag = "operations", security(()),
    responses((status = 200, description = "an OpenAPI 3.1 document", body = serde_json::Value)))]
async fn show_description(Extension(document): Extension<Document>) -> Response {
    ([(CONTENT_TYPE, "application/json")], document.text()).into_response()
}
