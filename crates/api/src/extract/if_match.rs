//! The precondition of a change (flow-service.md 4).

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use headwaters_model::etag::Precondition;
use http::header::IF_MATCH;
use http::request::Parts;

/// The value of `If-Match`, as it stands; whether it must be there is the command's business.
#[derive(Debug)]
pub(crate) struct IfMatch(pub(crate) Precondition);

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let sent = parts.headers.get(IF_MATCH).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        Ok(Self(sent.map_or(Precondition::None, Precondition::IfMatch)))
    }
}
