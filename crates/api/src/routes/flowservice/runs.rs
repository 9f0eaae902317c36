//! Runs: what flows have done, and what they shall do now (flow-service.md 17).

use axum::Json;
use axum::extract::State;
use headwaters_control::{CommandError, CreateRun, ReportRun};
use headwaters_model::resource::{Action, Collection};
use headwaters_model::run::Run;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::collection::{self, Bare, Created, Item, Listed, WrittenBody};
use crate::auth::Caller;
use crate::documents::run::RunParams;
use crate::error::ApiError;
use crate::extract::body::JsonBody;
use crate::extract::if_match::{IfMatch, MustMatch};
use crate::extract::list::{Asked, ListParams};
use crate::extract::path::Id;
use crate::extract::query::Query;
use crate::state::ApiState;

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_runs, create_run))
        .routes(routes!(get_run, report_run))
        .routes(routes!(retrigger_run))
}

/// A run to be made on demand.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct NewRun {
    /// The flow that shall run.
    #[schema(required = true, example = "7d0a6a1e-3a3f-4b57-8a44-1d4c2c1f8a01")]
    flow_id: Option<String>,
    /// `startTime`, `windowStartTime` and `windowEndTime` in epoch seconds, and for the first run `deltaColumn`.
    #[schema(required = true, value_type = Option<RunParams>)]
    params: Option<Map<String, Value>>,
}

/// A run that was made: its id and etag in each of the places where a published form has them (flow-service.md 17.5).
#[derive(Debug, Serialize)]
struct RunCreatedBody {
    /// The run, as the published schema has it.
    #[serde(flatten)]
    run: WrittenBody,
    /// The run once more, as the documentation has it; left out under the strict switch `run_body`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    items: Vec<WrittenBody>,
}

/// The query of an action on a run; for the description of the API.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the parameter; `retrigger_run` reads it")]
struct RunActionParams {
    /// What to do, in any case and with `_` or `-`: `re-trigger`.
    #[param(example = "re-trigger")]
    op: String,
}

/// What is reported of a run.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    flow_id: Option<String>,
    #[serde(flatten)]
    fields: Map<String, Value>,
}

/// Lists runs; those of one flow with `property=flowId==…`.
#[utoipa::path(get, path = "/runs", tag = "runs", params(ListParams),
    responses((status = 200, description = "a page, or with `count=true` a number")))]
async fn list_runs(
    State(state): State<ApiState>,
    Caller(caller): Caller,
    asked: Asked<Run>,
) -> Result<Json<Listed>, ApiError> {
    collection::list::<Run>(&state, &caller, asked.question).await
}

/// Runs a flow on demand.
#[utoipa::path(post, path = "/runs", tag = "runs", request_body = NewRun,
    responses((status = 201, description = "made; `Location` names it")))]
async fn create_run(
    State(state): State<ApiState>,
    Caller(caller): Caller,
    JsonBody(new): JsonBody<NewRun>,
) -> Result<Created<RunCreatedBody>, ApiError> {
    let command = CreateRun { flow_id: new.flow_id, params: new.params };
    let run = state.control().create_run(&caller, command).await?;
    let strict = state.control().settings().strict.run_body;
    Ok(Created::of(&run).with(|run| RunCreatedBody { items: if strict { vec![] } else { vec![run.clone()] }, run }))
}

/// Shows a run with its numbers, in progress or over.
#[utoipa::path(get, path = "/runs/{run_id}", tag = "runs", params(("run_id", description = "its id")),
    responses((status = 200, description = "the run")))]
async fn get_run(State(state): State<ApiState>, Caller(caller): Caller, Id(id): Id) -> Result<Item, ApiError> {
    collection::get::<Run>(&state, &caller, &id).await
}

/// Replaces what is reported of a run; services only.
#[utoipa::path(put, path = "/runs/{run_id}", tag = "runs", params(("run_id", description = "its id")),
    responses((status = 200, description = "the run as it is now")))]
async fn report_run(
    State(state): State<ApiState>,
    Caller(caller): Caller,
    Id(id): Id,
    MustMatch(expected): MustMatch,
    JsonBody(report): JsonBody<Report>,
) -> Result<Bare, ApiError> {
    let command = ReportRun { flow_id: report.flow_id, fields: report.fields };
    Ok(Bare::of(&state.control().report_run(&caller, &id, &expected, command).await?))
}

/// Repeats a run that failed or found nothing, as a new one with the same window.
#[utoipa::path(post, path = "/runs/{run_id}/action", tag = "runs",
    params(("run_id", description = "its id"), RunActionParams),
    responses((status = 200, description = "the new run")))]
async fn retrigger_run(
    State(state): State<ApiState>,
    Caller(caller): Caller,
    Id(id): Id,
    IfMatch(expected): IfMatch,
    query: Query,
) -> Result<Bare, ApiError> {
    // The only action of runs.
    Action::read(Collection::Runs, query.last("op"), query.last("subOp")).map_err(CommandError::from)?;
    Ok(Bare::of(&state.control().retrigger_run(&caller, &id, &expected).await?))
}
