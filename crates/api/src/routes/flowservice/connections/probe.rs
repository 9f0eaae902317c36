//! Trying out a base connection, and looking around in its source (flow-service.md 13.4, 13.5).

use axum::Json;
use axum::extract::State;
use headwaters_control::{ExploreRequest, Explored, TestOutcome};
use headwaters_model::connection::Connection;
use headwaters_model::explore::ListedTable;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::Caller;
use crate::error::ApiError;
use crate::extract::path::Id;
use crate::extract::query::Query;
use crate::routes::flowservice::spec_list::ConfigsBody;
use crate::state::ApiState;

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(test_connection))
        .routes(routes!(explore_connection))
        .routes(routes!(configs_of_connection))
}

/// How a test went.
#[derive(Debug, Serialize, ToSchema)]
struct TestBody {
    /// Whether the source let us in.
    result: bool,
    /// Why it did not, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    /// Whom we reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<TestDetails>,
}

/// Whom a test has reached.
#[derive(Debug, Serialize, ToSchema)]
struct TestDetails {
    /// The product.
    #[schema(example = "MariaDB")]
    server: String,
    /// Its version.
    #[schema(example = "10.11.19")]
    version: String,
    /// What was negotiated.
    #[schema(example = "TLSv1.3 / TLS_AES_256_GCM_SHA384 / verified: chain+name")]
    tls: String,
}

impl From<TestOutcome> for TestBody {
    fn from(outcome: TestOutcome) -> Self {
        match outcome {
            TestOutcome::Passed(info) => {
                let details = TestDetails { server: info.server, version: info.version, tls: info.tls };
                Self { result: true, message: None, details: Some(details) }
            }
            TestOutcome::Failed { message, hint: Some(hint) } => {
                Self { result: false, message: Some(format!("{message}; {hint}")), details: None }
            }
            TestOutcome::Failed { message, hint: None } => {
                Self { result: false, message: Some(message), details: None }
            }
        }
    }
}

/// The query of explore; for the description of the API.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the parameters; `explore_connection` reads them as they came")]
struct ExploreParams {
    /// `root` lists tables and views, `table` shows one.
    #[param(example = "table")]
    object_type: String,
    /// The path of a table, as `root` lists it.
    #[param(example = "shop.orders")]
    object: Option<String>,
    /// Whether up to 100 rows are wanted too.
    preview: Option<bool>,
    /// A row filter for the preview: base64 of a PQL document.
    filters: Option<String>,
    /// Published, and about files only: ignored.
    #[param(rename = "FileType")]
    file_type: Option<String>,
    /// Published, and about files only: ignored.
    #[param(rename = "CompressionType")]
    compression_type: Option<String>,
}

/// Opens a connection with the stored credentials and says how that went.
#[utoipa::path(get, path = "/connections/{connection_id}/test", tag = "connections", params(("connection_id", description = "its id")),
    responses((status = 200, description = "how it went", body = TestBody)))]
async fn test_connection(
    State(state): State<ApiState>,
    Caller(caller): Caller,
    Id(id): Id,
) -> Result<Json<TestBody>, ApiError> {
    Ok(Json(state.control().test_connection(&caller, &id).await?.into()))
}

/// Lists the tables of a source, or shows one of them.
#[utoipa::path(get, path = "/connections/{connection_id}/explore", tag = "connections",
    params(("connection_id", description = "its id"), ExploreParams),
    responses((status = 200, description = "an array of tables and views, or one table")))]
async fn explore_connection(
    State(state): State<ApiState>,
    Caller(caller): Caller,
    Id(id): Id,
    query: Query,
) -> Result<Json<Value>, ApiError> {
    let text = |name| query.last(name).map(str::to_owned);
    let request = ExploreRequest {
        object_type: text("objectType"),
        object: text("object"),
        preview: query.last("preview").is_some_and(|value| value.eq_ignore_ascii_case("true")),
        filters: text("filters"),
    };
    Ok(Json(match state.control().explore(&caller, &id, request).await? {
        Explored::Root(tables) => tables.iter().map(ListedTable::to_wire).collect(),
        Explored::Table(table) => table.to_wire(),
    }))
}

/// Lists the configurations of a connection: databases have none.
#[utoipa::path(get, path = "/connections/{connection_id}/configs", tag = "connections", params(("connection_id", description = "its id")),
    responses((status = 200, description = "an empty list")))]
async fn configs_of_connection(
    State(state): State<ApiState>,
    Caller(caller): Caller,
    Id(id): Id,
) -> Result<Json<ConfigsBody>, ApiError> {
    state.control().get::<Connection>(&caller, &id).await?;
    Ok(Json(ConfigsBody::default()))
}
