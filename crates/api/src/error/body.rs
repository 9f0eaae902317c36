//! The shapes of errors, one per service, and where they are made.

use std::error::Error;
use std::sync::Arc;

use axum::Json;
use axum::response::{IntoResponse, Response};
use headwaters_control::{AccessError, CommandError, TokenDenied};
use http::header::{CACHE_CONTROL, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use super::{ApiError, Refusal};
use crate::service::Service;

/// What the `type` of a Flow Service error begins with.
const TYPE_PREFIX: &str = "https://ns.adobe.com/aep/errors/";
/// The `type` of a neighbour's error: no list of their codes is published.
const NEIGHBOUR_TYPE: &str = "/placeholder/type/uri";

/// An error of the Flow Service (flow-service.md 3.1).
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProblemBody {
    /// A fixed prefix and the documented code.
    #[serde(rename = "type")]
    #[schema(example = "https://ns.adobe.com/aep/errors/FLOW-1439-404")]
    kind: String,
    /// The code's title.
    #[schema(example = "Resource not found")]
    title: &'static str,
    /// The status of the answer.
    #[schema(example = 404)]
    status: u16,
    /// What is known about the failure.
    report: Report,
    /// The sentence of `report`, for older clients.
    #[serde(rename = "errorMessage")]
    error_message: String,
    /// The sentence of `report`, for older clients.
    #[serde(rename = "errorDetails")]
    error_details: String,
}

/// The details of an error.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Report {
    /// One sentence: what was tried, on what, what to do.
    #[serde(rename = "detailed-message")]
    detailed_message: String,
    /// The id that was not found.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// The collection that it was not found in.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    /// The id of the request, also in the header `x-request-id` and in the server's log.
    #[serde(rename = "request-id")]
    request_id: String,
}

/// An error of the platform's edge (flow-service.md 3.2).
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EdgeBody {
    /// Six digits that begin with the status.
    #[schema(example = "403010")]
    error_code: &'static str,
    /// The fixed sentence of the code.
    #[schema(example = "Oauth token is missing.")]
    message: String,
}

/// An error of Catalog and of the other services beside the Flow Service (platform-services.md 0.4).
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NeighbourBody {
    /// Always the same: no list of codes is published.
    #[serde(rename = "type")]
    #[schema(example = "/placeholder/type/uri")]
    kind: &'static str,
    /// The status by name.
    #[schema(example = "NotFoundError")]
    title: &'static str,
    /// The status of the answer.
    #[schema(example = 404)]
    status: u16,
    /// One sentence: what was tried, on what, what to do.
    detail: String,
    /// The id of the request.
    report: RequestReport,
}

/// What names the request of an error.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RequestReport {
    /// The id of the request, also in the header `x-request-id` and in the server's log.
    #[serde(rename = "request-id")]
    request_id: String,
}

/// An error of the token endpoint (platform-services.md 6).
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ImsBody {
    /// The kind of failure, e.g. `invalid_client`.
    #[schema(example = "invalid_client")]
    error: &'static str,
    /// One sentence.
    error_description: String,
}

/// Gives an answer that carries an [`ApiError`] the body that its service speaks; other answers pass as they are.
pub(crate) fn render(service: Service, request_id: &str, response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let Some(error) = parts.extensions.remove::<Arc<ApiError>>() else {
        return Response::from_parts(parts, body);
    };
    if parts.status == StatusCode::SERVICE_UNAVAILABLE {
        tracing::warn!(error = &*error as &dyn Error, "request could not be answered now");
    } else if parts.status.is_server_error() {
        tracing::error!(error = &*error as &dyn Error, "request failed");
    }
    let rendered = body_of(&error, service, request_id);
    let mut response = (parts.status, rendered).into_response();
    // What the failing route had set stays, e.g. `allow`; the old body's length and type don't.
    parts.headers.remove(http::header::CONTENT_LENGTH);
    parts.headers.remove(http::header::CONTENT_TYPE);
    response.headers_mut().extend(parts.headers);
    if let Some(seconds) = error.retry_after_s() {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.extensions_mut().extend(parts.extensions);
    response
}

fn body_of(error: &ApiError, service: Service, request_id: &str) -> Response {
    match error {
        ApiError::Access(access) if let Some(edge) = edge(access) => return Json(edge).into_response(),
        // Published for the whole platform in this shape.
        ApiError::Refused(Refusal::ContentType) => return Json(neighbour(error, request_id)).into_response(),
        _ => {}
    }
    match service {
        Service::Flow => Json(problem(error, request_id)).into_response(),
        Service::Neighbour => Json(neighbour(error, request_id)).into_response(),
        Service::Ims => Json(ims(error)).into_response(),
    }
}

/// The bodies of the platform's edge (flow-service.md 2.2, first six rows); the sentences are those of the error.
fn edge(error: &AccessError) -> Option<EdgeBody> {
    let error_code = match error {
        AccessError::NoToken => "403010",
        AccessError::BadToken => "401013",
        AccessError::NoApiKey => "403000",
        AccessError::UnknownApiKey => "403003",
        AccessError::NoOrg => "400003",
        AccessError::WrongOrg => "403025",
        _ => return None,
    };
    Some(EdgeBody { error_code, message: error.to_string() })
}

fn ims(error: &ApiError) -> ImsBody {
    let kind = match error {
        ApiError::Token(TokenDenied::GrantType) => "unsupported_grant_type",
        ApiError::Token(TokenDenied::Scope(_)) => "invalid_scope",
        ApiError::Token(TokenDenied::Client) => "invalid_client",
        _ if error.code().status() == StatusCode::TOO_MANY_REQUESTS => "temporarily_unavailable",
        _ if error.code().status().is_server_error() => "server_error",
        _ => "invalid_request",
    };
    ImsBody { error: kind, error_description: error.sentence() }
}

fn problem(error: &ApiError, request_id: &str) -> ProblemBody {
    let code = error.code();
    let sentence = error.sentence();
    let missing = match error {
        ApiError::Command(CommandError::Missing(resource)) => Some(resource),
        _ => None,
    };
    ProblemBody {
        kind: format!("{TYPE_PREFIX}{code}"),
        title: code.title(),
        status: code.status().as_u16(),
        report: Report {
            detailed_message: sentence.clone(),
            id: missing.map(|resource| resource.id.clone()),
            kind: missing.map(|resource| resource.collection.name().to_owned()),
            request_id: request_id.to_owned(),
        },
        error_message: sentence.clone(),
        error_details: sentence,
    }
}

fn neighbour(error: &ApiError, request_id: &str) -> NeighbourBody {
    let status = error.code().status();
    NeighbourBody {
        kind: NEIGHBOUR_TYPE,
        title: neighbour_title(status),
        status: status.as_u16(),
        detail: error.sentence(),
        report: RequestReport { request_id: request_id.to_owned() },
    }
}

/// Titles in the manner of the one that is published, `BadRequestError`.
fn neighbour_title(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "UnauthorizedError",
        403 => "ForbiddenError",
        404 => "NotFoundError",
        405 => "MethodNotAllowedError",
        408 => "RequestTimeoutError",
        412 => "PreconditionFailedError",
        413 => "PayloadTooLargeError",
        429 => "TooManyRequestsError",
        503 => "ServiceUnavailableError",
        504 => "GatewayTimeoutError",
        500..=599 => "InternalServerError",
        _ => "BadRequestError",
    }
}
