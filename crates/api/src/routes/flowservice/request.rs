//! What the requests of several collections have in common: how a body names a spec, how a resource is made, what an
//! action is told by.

use axum::extract::FromRequestParts;
use headwaters_control::{Cause, CommandError, SpecInput};
use http::request::Parts;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::error::ApiError;
use crate::extract::query::{Query, shown};

/// A spec as a body names it.
#[derive(Debug, Clone, Deserialize, ToSchema)]
pub(crate) struct SpecName {
    /// Its id.
    #[schema(required = true, example = "26d738e0-8963-47ea-aadf-c60de735468a")]
    id: Option<String>,
    /// Its version; `1.0` when absent.
    #[serde(default, deserialize_with = "text_or_number")]
    #[schema(example = "1.0")]
    version: Option<String>,
}

impl From<SpecName> for SpecInput {
    fn from(name: SpecName) -> Self {
        Self { id: name.id, version: name.version }
    }
}

/// Reads a text that clients also send as a number.
fn text_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    match Option::<Value>::deserialize(deserializer)? {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        Some(_) => Err(serde::de::Error::custom("another type, expected a string")),
    }
}

/// The query of an action; for the description of the API.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the parameter; `act` reads it")]
pub(crate) struct ActionParams {
    /// What to do, in any case and with `_` or `-`: `publish`, for flows also `enable` and `disable`.
    #[param(example = "publish")]
    op: String,
}

/// The rest of the query of some actions; for the description of the API.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the parameter; `act` reads it")]
pub(crate) struct SubActionParams {
    /// Published, and without a meaning here.
    #[param(rename = "subOp", example = "apply")]
    sub_op: Option<String>,
}

/// The query of a create; for the description of the API.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the parameter; `Mode` reads it")]
pub(crate) struct ModeParams {
    /// `draft` stores what is not complete yet; it is not used until it is published.
    #[param(example = "draft")]
    mode: Option<String>,
}

/// How a resource is made (flow-service.md 11).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mode {
    /// Whether as a draft.
    pub(crate) draft: bool,
}

impl<S: Sync> FromRequestParts<S> for Mode {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let query = Query::of(parts)?;
        match query.last("mode") {
            None => Ok(Self { draft: false }),
            Some("draft") => Ok(Self { draft: true }),
            Some(other) => {
                let reason = format!("the query parameter mode can only be draft, not: {}", shown(other));
                Err(CommandError::invalid(Cause::InvalidValue, "", reason).into())
            }
        }
    }
}
