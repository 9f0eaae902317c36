//! Who calls, and whether they may: asked once per request, before anything else of it is looked at.
//!
//! The order is the documented one (flow-service.md 2.2): token, api key, organisation, sandbox, permission. It runs
//! around every route of the platform's services, so that no handler can forget it; handlers take the [`Caller`] that
//! it leaves.

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use headwaters_control::{AccessHeaders, Caller as Identity};
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, HeaderName};
use tracing::{Span, field};

use crate::error::{ApiError, Refusal};
use crate::frame::RequestId;
use crate::permissions::{Need, needed};
use crate::state::ApiState;

/// The client id.
const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// The organisation.
const X_GW_IMS_ORG_ID: HeaderName = HeaderName::from_static("x-gw-ims-org-id");
/// The sandbox by name.
const X_SANDBOX_NAME: HeaderName = HeaderName::from_static("x-sandbox-name");
/// The sandbox by id, for service tokens.
const X_SANDBOX_ID: HeaderName = HeaderName::from_static("x-sandbox-id");

/// Lets a request through whose operation is open or whose caller may carry it out.
pub(crate) async fn admit(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match identify(&state, &parts).await {
        Ok(Some(caller)) => {
            note(&caller);
            parts.extensions.insert(Caller(caller));
        }
        Ok(None) => {}
        Err(error) => return error.into_response(),
    }
    next.run(Request::from_parts(parts, body)).await
}

async fn identify(state: &ApiState, request: &Parts) -> Result<Option<Identity>, ApiError> {
    let route = request.extensions.get::<MatchedPath>().map(MatchedPath::as_str).unwrap_or_default();
    let role = match needed(&request.method, route) {
        Some(Need::Open) => return Ok(None),
        Some(Need::Caller(role)) => role,
        None => {
            tracing::error!(method = %request.method, route, "the operation has no line in permissions.rs");
            return Err(Refusal::Panicked.into());
        }
    };
    let request_id = request.extensions.get::<RequestId>().map(RequestId::as_str).unwrap_or_default().to_owned();
    let caller = state.control().authenticate(headers_of(&request.headers), request_id).await?;
    caller.require(role)?;
    Ok(Some(caller))
}

fn headers_of(headers: &HeaderMap) -> AccessHeaders<'_> {
    // A value that is not text can't be one of ours: it counts as there and wrong.
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("\u{fffd}"));
    AccessHeaders {
        authorization: text(AUTHORIZATION),
        api_key: text(X_API_KEY),
        org: text(X_GW_IMS_ORG_ID),
        sandbox_name: text(X_SANDBOX_NAME),
        sandbox_id: text(X_SANDBOX_ID),
    }
}

/// Puts the ids that matter into the span of the request.
fn note(caller: &Identity) {
    Span::current()
        .record("org", field::display(&caller.scope.org))
        .record("sandbox", field::display(&caller.scope.sandbox_name))
        .record("client", field::display(&caller.actor.client));
}

/// On whose behalf a handler acts.
#[derive(Debug, Clone)]
pub(crate) struct Caller(pub(crate) Identity);

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        // Absent only where a handler of an open operation asks who calls: a fault of ours.
        parts.extensions.get::<Self>().cloned().ok_or_else(|| Refusal::Panicked.into())
    }
}
