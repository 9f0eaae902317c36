//! Who calls, and whether they may: asked once per request, before anything else of it is looked at.
//!
//! The order is the documented one (flow-service.md 2.2): token, api key, organisation, sandbox, permission. It runs
//! around every route of the platform's services, so that no handler can forget it; handlers take the [`Caller`] that
//! it leaves.
//!
//! Here, where the caller is known, its rate is measured too (rate.rs), and an attempt that it may not make is
//! recorded (attempt.rs), whether its role is refused before the route is entered or the command refuses it.

use std::sync::Arc;

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use headwaters_control::{AccessError, AccessHeaders, Caller as Identity};
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, HeaderName};
use tracing::{Span, field};

use crate::attempt::Attempt;
use crate::error::{ApiError, Refusal};
use crate::frame::RequestId;
use crate::limits::Peer;
use crate::permissions::{Need, needed};
use crate::rate::RateKey;
use crate::service::Service;
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
    let route = parts.extensions.get::<MatchedPath>().map(MatchedPath::as_str).unwrap_or_default().to_owned();
    let Some(need) = needed(&parts.method, &route) else {
        tracing::error!(method = %parts.method, route, "the operation has no line in permissions.rs");
        return ApiError::from(Refusal::Panicked).into_response();
    };
    if need == Need::Open {
        return match admit_unknown(&state, &parts, &route) {
            Ok(()) => next.run(Request::from_parts(parts, body)).await,
            Err(refusal) => ApiError::from(refusal).into_response(),
        };
    }
    let caller = match identify(&state, &parts).await {
        Ok(caller) => caller,
        Err(error) => return error.into_response(),
    };
    note(&caller);
    let attempt = Attempt::of(&parts, &route);
    if let Err(denied) = need.admit(&caller) {
        attempt.record_refusal(&state, &caller).await;
        return denied.into_response();
    }
    parts.extensions.insert(Caller(caller.clone()));
    let response = next.run(Request::from_parts(parts, body)).await;
    if response.extensions().get::<Arc<ApiError>>().is_some_and(|error| error.is_denial()) {
        attempt.record_refusal(&state, &caller).await;
    }
    response
}

/// An open operation asks nobody who they are; but tokens are not handed out at any rate.
fn admit_unknown(state: &ApiState, request: &Parts, route: &str) -> Result<(), Refusal> {
    match Service::of(route) {
        Service::Ims => state.rate().admit(RateKey::Peer(Peer::of(&request.extensions))),
        Service::Flow | Service::Neighbour => Ok(()),
    }
}

/// Finds out who calls, and whether they call too often: a known client by itself, all others by their address.
async fn identify(state: &ApiState, request: &Parts) -> Result<Identity, ApiError> {
    let request_id = request.extensions.get::<RequestId>().map(RequestId::as_str).unwrap_or_default().to_owned();
    match state.control().authenticate(headers_of(&request.headers), request_id).await {
        Ok(caller) => {
            state.rate().admit(RateKey::Client(caller.actor.client.clone()))?;
            Ok(caller)
        }
        Err(error @ AccessError::Store(_)) => Err(error.into()),
        Err(error) => {
            state.rate().admit(RateKey::Peer(Peer::of(&request.extensions)))?;
            Err(error.into())
        }
    }
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
