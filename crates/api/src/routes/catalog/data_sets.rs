//! Data sets: each is one table in the lake (platform-services.md 2.3).

use axum::Json;
use axum::extract::State;
use headwaters_control::CreateDataSet;
use headwaters_model::data_set::DataSet;
use headwaters_model::resource::Resource;
use http::header::LOCATION;
use http::{HeaderName, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::listing::{self, Asked, ListParams, Shelf};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::extract::body::JsonBody;
use crate::extract::path::Id;
use crate::service::CATALOG;
use crate::state::ApiState;
use crate::views;

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list_data_sets, create_data_set)).routes(routes!(get_data_sets))
}

impl Shelf for DataSet {
    const FIELDS: &'static [(&'static str, &'static str)] = &[
        ("name", "name"),
        ("description", "description"),
        ("location", "location"),
        ("enableErrorDiagnostics", "enableErrorDiagnostics"),
    ];

    fn view(resource: &Resource<Self>) -> Map<String, Value> {
        views::data_sets::view(resource)
    }
}

/// A data set to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct NewDataSet {
    /// Its name; need not be unique.
    #[schema(required = true, example = "orders")]
    name: Option<String>,
    /// What it is for.
    description: Option<String>,
    /// The schema, `{id, contentType}`; without one the table takes the source's columns.
    schema_ref: Option<Value>,
    /// Tags, each a list of texts.
    #[schema(value_type = Option<Object>)]
    tags: Option<Map<String, Value>>,
    /// Whether details of rejected rows are kept.
    enable_error_diagnostics: Option<bool>,
    /// Stored and shown.
    file_description: Option<Value>,
    /// Stored and shown.
    observable_schema: Option<Value>,
    /// Stored and shown.
    data_source_id: Option<Value>,
    /// Stored and shown.
    unified_tags: Option<Value>,
    /// Stored and shown.
    system_labels: Option<Value>,
    /// Stored and shown.
    classification: Option<Value>,
}

impl NewDataSet {
    fn command(self) -> CreateDataSet {
        let as_sent = [
            ("fileDescription", self.file_description),
            ("observableSchema", self.observable_schema),
            ("dataSourceId", self.data_source_id),
            ("unifiedTags", self.unified_tags),
            ("systemLabels", self.system_labels),
            ("classification", self.classification),
        ];
        CreateDataSet {
            name: self.name,
            description: self.description,
            schema_ref: self.schema_ref,
            tags: self.tags,
            enable_error_diagnostics: self.enable_error_diagnostics,
            as_sent: as_sent.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect(),
        }
    }
}

type CreatedDataSet = (StatusCode, [(HeaderName, String); 1], Json<[String; 1]>);

/// Lists data sets.
#[utoipa::path(get, path = "/dataSets", tag = "catalog", params(ListParams),
    responses((status = 200, description = "an object keyed by id")))]
async fn list_data_sets(
    State(state): State<ApiState>,
    Caller(caller): Caller,
    asked: Asked<DataSet>,
) -> Result<Json<Map<String, Value>>, ApiError> {
    listing::list(&state, &caller, asked).await
}

/// Makes a data set; its table is made by the first run that lands in it.
#[utoipa::path(post, path = "/dataSets", tag = "catalog", request_body = NewDataSet,
    responses((status = 201, description = "made; one text, `@/dataSets/` and its id", body = Vec<String>)))]
async fn create_data_set(
    State(state): State<ApiState>,
    Caller(caller): Caller,
    JsonBody(new): JsonBody<NewDataSet>,
) -> Result<CreatedDataSet, ApiError> {
    let data_set = state.control().create_data_set(&caller, new.command()).await?;
    let location = format!("{CATALOG}/dataSets/{}", data_set.id);
    Ok((StatusCode::CREATED, [(LOCATION, location)], Json([format!("@/dataSets/{}", data_set.id)])))
}

/// Shows a data set, or several.
#[utoipa::path(get, path = "/dataSets/{data_set_ids}", tag = "catalog",
    params(("data_set_ids", description = "an id, or several with `,` between them")),
    responses((status = 200, description = "an object keyed by id")))]
async fn get_data_sets(
    State(state): State<ApiState>,
    Caller(caller): Caller,
    Id(ids): Id,
) -> Result<Json<Map<String, Value>>, ApiError> {
    listing::get::<DataSet>(&state, &caller, &ids).await
}
