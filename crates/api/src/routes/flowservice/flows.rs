//! Flows: from which source into which target, when, and how (flow-service.md 16).

use axum::Json;
use axum::extract::State;
use headwaters_control::CreateFlow;
use headwaters_model::flow::Flow;
use headwaters_model::resource::Kind as _;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::collection::{self, Changed, Created, Item, Listed};
use super::request::{ActionParams, Mode, ModeParams, SpecName, SubActionParams};
use crate::auth::Caller;
use crate::documents::flow::{FlowOptions, ScheduleParams, Transformation};
use crate::error::ApiError;
use crate::extract::body::{JsonBody, OptionalBody, PatchBody};
use crate::extract::if_match::{IfMatch, MustMatch};
use crate::extract::list::{Asked, ListParams};
use crate::extract::path::Id;
use crate::extract::query::Query;
use crate::extract::search::{SearchBody, SearchParams};
use crate::state::ApiState;

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_flows, create_flow))
        .routes(routes!(get_flow, patch_flow, delete_flow))
        .routes(routes!(act_on_flow))
        .routes(routes!(search_flows))
}

/// A flow to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct NewFlow {
    /// Its name; need not be unique.
    #[schema(example = "orders to the lake")]
    name: Option<String>,
    /// What it is for.
    description: Option<String>,
    /// The kind of flow, e.g. `CRMToAEP`.
    #[schema(required = true)]
    flow_spec: Option<SpecName>,
    /// What is read: exactly one.
    #[schema(required = true)]
    source_connection_ids: Option<Vec<String>>,
    /// Where it lands: exactly one.
    #[schema(required = true)]
    target_connection_ids: Option<Vec<String>>,
    /// What happens on the way, entries `{name, params}`.
    #[schema(value_type = Option<Vec<Transformation>>)]
    transformations: Option<Vec<Value>>,
    /// When it runs: `startTime` in epoch seconds, `frequency`, and for a recurring flow `interval` and `backfill`.
    #[schema(required = true, value_type = Option<ScheduleParams>)]
    schedule_params: Option<Map<String, Value>>,
    /// `errorDiagnosticsEnabled`, `partialIngestionPercent`, and how runs read and land.
    #[schema(value_type = Option<FlowOptions>)]
    options: Option<Map<String, Value>>,
    /// Stored and shown.
    labels: Option<Value>,
    /// Stored and shown.
    policy: Option<Value>,
    /// Stored and shown.
    record_types: Option<Value>,
    /// Stored and shown.
    unified_metadata: Option<Value>,
    /// Not allowed: a new flow is enabled.
    state: Option<Value>,
}

impl NewFlow {
    fn command(self, mode: Mode) -> CreateFlow {
        CreateFlow {
            name: self.name,
            description: self.description,
            flow_spec: self.flow_spec.map(Into::into),
            source_connection_ids: self.source_connection_ids,
            target_connection_ids: self.target_connection_ids,
            transformations: self.transformations,
            schedule_params: self.schedule_params,
            options: self.options,
            labels: self.labels,
            policy: self.policy,
            record_types: self.record_types,
            unified_metadata: self.unified_metadata,
            state: self.state,
            draft: mode.draft,
        }
    }
}

/// Lists flows.
#[utoipa::path(get, path = "/flows", tag = "flows", params(ListParams),
    responses((status = 200, description = "a page, or with `count=true` a number")))]
async fn list_flows(
    State(state): State<ApiState>,
    Caller(caller): Caller,
    asked: Asked<Flow>,
) -> Result<Json<Listed>, ApiError> {
    collection::list::<Flow>(&state, &caller, asked.question).await
}

/// Makes a flow, after a look whether table and columns are there. It is enabled from then on.
#[utoipa::path(post, path = "/flows", tag = "flows", params(ModeParams), request_body = NewFlow,
    responses((status = 201, description = "made; `Location` names it")))]
async fn create_flow(
    State(state): State<ApiState>,
    Caller(caller): Caller,
    mode: Mode,
    JsonBody(new): JsonBody<NewFlow>,
) -> Result<Created, ApiError> {
    let flow = state.control().create_flow(&caller, new.command(mode)).await?;
    Ok(Created::of(&flow))
}

/// Shows a flow.
#[utoipa::path(get, path = "/flows/{flow_id}", tag = "flows", params(("flow_id", description = "its id")),
    responses((status = 200, description = "the flow")))]
async fn get_flow(State(state): State<ApiState>, Caller(caller): Caller, Id(id): Id) -> Result<Item, ApiError> {
    collection::get::<Flow>(&state, &caller, &id).await
}

/// Deletes a flow; a run in progress is cancelled, the runs stay readable.
#[utoipa::path(delete, path = "/flows/{flow_id}", tag = "flows", params(("flow_id", description = "its id")),
    responses((status = 204, description = "gone")))]
async fn delete_flow(
    State(state): State<ApiState>,
    Caller(caller): Caller,
    Id(id): Id,
    IfMatch(expected): IfMatch,
) -> Result<StatusCode, ApiError> {
    state.control().delete_flow(&caller, &id, expected).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Changes part of a flow; the whole is checked like a new one.
#[utoipa::path(patch, path = "/flows/{flow_id}", tag = "flows", params(("flow_id", description = "its id")),
    responses((status = 200, description = "changed; `etag` is the new version")))]
async fn patch_flow(
    State(state): State<ApiState>,
    Caller(caller): Caller,
    Id(id): Id,
    MustMatch(expected): MustMatch,
    PatchBody(patch): PatchBody,
) -> Result<Changed, ApiError> {
    collection::patch::<Flow>(&state, &caller, &id, &expected, &patch).await
}

/// Switches a flow on or off, or publishes a draft.
#[utoipa::path(post, path = "/flows/{flow_id}/action", tag = "flows",
    params(("flow_id", description = "its id"), ActionParams, SubActionParams),
    responses((status = 200, description = "done; `etag` is the new version")))]
async fn act_on_flow(
    State(state): State<ApiState>,
    Caller(caller): Caller,
    Id(id): Id,
    IfMatch(expected): IfMatch,
    query: Query,
) -> Result<Changed, ApiError> {
    collection::act::<Flow>(&state, &caller, &id, &expected, &query).await
}

/// Searches flows; an empty body finds all.
#[utoipa::path(post, path = "/flows/search", tag = "flows", params(SearchParams,
    ("x-active-sandbox-ids" = Option<String>, Header, description = "published for searches over several sandboxes; ignored")), request_body = SearchBody,
    responses((status = 200, description = "a page, or with `count: true` a number")))]
async fn search_flows(
    State(state): State<ApiState>,
    Caller(caller): Caller,
    query: Query,
    OptionalBody(search): OptionalBody<SearchBody>,
) -> Result<Json<Listed>, ApiError> {
    let asked = search.question(&query, Flow::COLLECTION)?;
    collection::list::<Flow>(&state, &caller, asked).await
}
