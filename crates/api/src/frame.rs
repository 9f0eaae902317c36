//! What surrounds every request: an id, a span, numbers, a time limit, and the rendering of failures.
//!
//! From the outside in: the path loses one trailing slash; the request gets its id and its span; the route answers,
//! within a time limit, panics caught; a failure gets the body of its service; the numbers are counted.

use std::any::Any;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{CONNECTION, HeaderName};
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Uri};
use tracing::{Instrument, Span, field};
use uuid::Uuid;

use crate::error::{ApiError, Refusal, render};
use crate::service::Service;

/// Names a request in its answer, in its error and in the log (flow-service.md 1, "Request id").
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// A longer id of a client is replaced by one of ours.
const REQUEST_ID_BYTES_MAX: usize = 128;
/// How long a request may take, body included. Connecting to a source is bounded by its own patience well below this;
/// the rest is for listing a server with very many tables.
pub(crate) const REQUEST_SECONDS_MAX: u64 = 120;
/// What a request that no route answers is counted under, so that strange paths can't make a label grow.
const NO_ROUTE: &str = "none";

/// Drops one trailing slash of the path; no redirect (flow-service.md 1, "Trailing slash").
pub(crate) async fn strip_trailing_slash(mut request: Request) -> Request {
    if let Some(stripped) = without_trailing_slash(request.uri()) {
        *request.uri_mut() = stripped;
    }
    request
}

fn without_trailing_slash(uri: &Uri) -> Option<Uri> {
    let path = uri.path().strip_suffix('/').filter(|path| !path.is_empty())?;
    let target = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(target).ok()?);
    Uri::from_parts(parts).ok()
}

/// Gives the request its id and its span, counts it, and renders its failure.
pub(crate) async fn observe(mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = RequestId::of(&request);
    let service = Service::of(request.uri().path());
    let (method, route) = (request.method().clone(), route_of(&request));
    // `org`, `sandbox` and `client` are filled in once the caller is known (auth.rs).
    let span = tracing::info_span!(
        "request",
        request_id = %id.0, %method, route,
        org = field::Empty, sandbox = field::Empty, client = field::Empty,
    );
    request.extensions_mut().insert(id.clone());
    let response = next.run(request).instrument(span.clone()).await;
    let mut response = span.in_scope(|| render(service, &id.0, response));
    if let Ok(value) = HeaderValue::from_str(&id.0) {
        response.headers_mut().insert(X_REQUEST_ID, value);
    }
    count(&span, &method, &route, &response, started.elapsed());
    response
}

/// Answers 504 when the route takes longer than [`REQUEST_SECONDS_MAX`]; what it was doing is dropped.
pub(crate) async fn limit_time(request: Request, next: Next) -> Response {
    within(Duration::from_secs(REQUEST_SECONDS_MAX), next.run(request)).await
}

async fn within(patience: Duration, answer: impl Future<Output = Response>) -> Response {
    let late = |_| ApiError::from(Refusal::TimedOut(patience.as_secs())).into_response();
    tokio::time::timeout(patience, answer).await.unwrap_or_else(late)
}

/// Ends the connection with the answer.
pub(crate) async fn close(request: Request, next: Next) -> Response {
    last_word(next.run(request).await)
}

/// The same answer, as the last one of its connection.
pub(crate) fn last_word(mut response: Response) -> Response {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Answers 500 for a route that panicked; what it said goes to the log only.
pub(crate) fn answer_panic(panic: Box<dyn Any + Send + 'static>) -> Response {
    let said = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    tracing::error!(panic = said.unwrap_or("not a text"), "a route panicked");
    ApiError::from(Refusal::Panicked).into_response()
}

/// What names a request; taken from the client if it has a plain form.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(String);

impl RequestId {
    /// The id as it stands in the answer.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    fn of(request: &Request) -> Self {
        let plain = |text: &&str| {
            !text.is_empty() && text.len() <= REQUEST_ID_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        let sent = request.headers().get(X_REQUEST_ID).and_then(|value| value.to_str().ok()).filter(plain);
        Self(sent.map_or_else(|| Uuid::new_v4().to_string(), str::to_owned))
    }
}

fn route_of(request: &Request) -> String {
    request.extensions().get::<MatchedPath>().map_or(NO_ROUTE, MatchedPath::as_str).to_owned()
}

fn count(span: &Span, method: &Method, route: &str, response: &Response, took: Duration) {
    let status = response.status();
    let labels = [
        ("method", method_label(method).to_owned()),
        ("route", route.to_owned()),
        ("status", status.as_u16().to_string()),
    ];
    metrics::counter!("headwaters_http_requests_total", &labels).increment(1);
    metrics::histogram!("headwaters_http_request_seconds", &labels[..2]).record(took.as_secs_f64());
    span.in_scope(|| tracing::debug!(status = status.as_u16(), took_ms = took.as_millis() as u64, "answered"));
}

/// A method a client made up must not make a label grow either.
fn method_label(method: &Method) -> &str {
    match *method {
        Method::GET | Method::HEAD | Method::POST | Method::PUT | Method::PATCH | Method::DELETE | Method::OPTIONS => {
            method.as_str()
        }
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_that_takes_too_long_is_a_504() {
        let response = within(Duration::from_millis(1), std::future::pending()).await;
        let response = render(Service::Flow, "r", response);
        assert_eq!(response.status(), http::StatusCode::GATEWAY_TIMEOUT);
    }

    #[test]
    fn one_trailing_slash_goes_and_the_query_stays() {
        let strip = |text: &str| without_trailing_slash(&text.parse().unwrap()).map(|uri| uri.to_string());
        assert_eq!(strip("/flows/?a=b/").as_deref(), Some("/flows?a=b/"));
        assert_eq!(strip("/flows//").as_deref(), Some("/flows/"));
        assert_eq!(strip("/flows?a=/"), None);
        assert_eq!(strip("/"), None);
    }
}
