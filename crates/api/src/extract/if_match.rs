//! The precondition of a change (flow-service.md 4).

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use headwaters_model::etag::Precondition;
use http::header::IF_MATCH;
use http::request::Parts;

use super::query::Query;
use crate::error::{ApiError, Refusal};

/// The value of `If-Match`, as it stands; for what may be done without.
#[derive(Debug)]
pub(crate) struct IfMatch(pub(crate) Precondition);

/// The value of `If-Match` where it must be there (code 1403): asked for before the body is read.
///
/// A query parameter of that name will do when the header is absent: the published request collection sends it so.
#[derive(Debug)]
pub(crate) struct MustMatch(pub(crate) Precondition);

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(header(parts).map_or(Precondition::None, Precondition::IfMatch)))
    }
}

impl<S: Sync> FromRequestParts<S> for MustMatch {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let sent = match header(parts) {
            Some(sent) => Some(sent),
            None => Query::of(parts)?.last_ignoring_case(IF_MATCH.as_str()).map(str::to_owned),
        };
        Ok(Self(Precondition::IfMatch(sent.ok_or(Refusal::NoIfMatch)?)))
    }
}

fn header(parts: &Parts) -> Option<String> {
    parts.headers.get(IF_MATCH).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}
