//! The id in a path.

use axum::extract::{FromRequestParts, Path};
use http::request::Parts;

use super::query::shown;
use crate::error::{ApiError, Refusal};

/// What stands in the place of an id, decoded. Whether it has an id's form is found out where it is looked up: what has
/// not is not found, 404 (flow-service.md 1, "Path parameter syntax").
#[derive(Debug)]
pub(crate) struct Id(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        // Refused is only what is not text once it is decoded.
        let text = Path::<String>::from_request_parts(parts, state).await;
        let Path(text) = text.map_err(|_| Refusal::UnknownRoute(shown(parts.uri.path())))?;
        Ok(Self(text))
    }
}
