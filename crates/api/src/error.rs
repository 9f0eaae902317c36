//! The one table from a failure to a documented code, and with it to a status and a title.
//!
//! A handler returns an [`ApiError`]; the frame around all routes renders it once the request's id and service are known
//! (`error/body.rs`), so that no handler needs to know either.

mod body;
mod code;

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use headwaters_control::{AccessError, Cause, CommandError, TokenDenied};
use headwaters_model::filter::FilterError;
use headwaters_model::page::{InvalidLimit, InvalidToken, OrderError, SEARCH_LIMIT_MAX};

pub(crate) use self::body::{EdgeBody, ImsBody, NeighbourBody, ProblemBody, render};
pub(crate) use self::code::Code;
use self::code::{code_of_access, code_of_cause, code_of_denial, code_of_filter, code_of_order};

/// What is reserved for others: finalizing, specs and runs of services, what a role does not include
/// (flow-service.md 3.4).
const DENIALS: [Code; 6] = [
    Code::flow(1402, 400),
    Code::flow(1426, 400),
    Code::flow(1427, 400),
    Code::flow(2118, 403),
    Code::flow(2120, 403),
    Code::flow(2121, 403),
];

/// When to try again what is refused for the moment, in seconds, when nothing better is known.
const RETRY_AFTER_S: u64 = 1;

/// Why a request is not answered with what it asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// The request itself is at fault, whatever the service holds.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The caller is not who may do that (flow-service.md 2.2).
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The token endpoint says no (platform-services.md 6).
    #[error(transparent)]
    Token(#[from] TokenDenied),
    /// The command was not carried out.
    #[error(transparent)]
    Command(#[from] CommandError),
}

impl ApiError {
    /// The documented code; a code ends in its status.
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Refused(refusal) => refusal.code(),
            Self::Access(error) => code_of_access(error),
            Self::Token(denied) => code_of_denial(denied),
            Self::Command(error) => code_of_cause(error.cause()),
        }
    }

    /// Whether the caller was told that it may not do that, not that it can't be done.
    pub(crate) fn is_denial(&self) -> bool {
        DENIALS.contains(&self.code())
    }

    /// When the same request may succeed, in seconds, where that is worth telling.
    fn retry_after_s(&self) -> Option<u64> {
        match self {
            Self::Refused(Refusal::TooManyRequests { retry_after_s }) => Some(*retry_after_s),
            Self::Command(CommandError::Store(error)) if error.retry_after_s().is_some() => error.retry_after_s(),
            _ if matches!(self.code().status().as_u16(), 429 | 503) => Some(RETRY_AFTER_S),
            _ => None,
        }
    }

    /// What the caller is told: one sentence, and what to do where that is known.
    fn sentence(&self) -> String {
        let hint = match self {
            // The sentence of a fault of ours is for the log.
            Self::Command(CommandError::Internal(_)) => return Refusal::Panicked.to_string(),
            Self::Command(error) => error.hint(),
            Self::Access(error) => error.hint(),
            Self::Token(denied) => denied.hint(),
            Self::Refused(_) => None,
        };
        match hint {
            Some(hint) => format!("{self}; {hint}"),
            None => self.to_string(),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        if let Self::Command(CommandError::NoTurn { what, .. }) = &self {
            metrics::counter!("headwaters_http_refused_total", "reason" => what.name()).increment(1);
        }
        let mut response = self.code().status().into_response();
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

/// What is wrong with a request before any command is built from it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// No route has this path.
    #[error("no resource of this service has the path {0}")]
    UnknownRoute(String),
    /// The path is there, the method is not.
    #[error("the method {0} is not offered here; the header allow names those that are")]
    WrongMethod(String),
    /// The body is longer than this many bytes.
    #[error("the body is longer than {0} bytes")]
    BodyTooLarge(usize),
    /// The body holds more than this many values.
    #[error("the body holds more than {0} values")]
    BodyTooManyValues(usize),
    /// The connection broke before the body was complete.
    #[error("the body ended before it was complete")]
    BodyBroken,
    /// The body took longer than this many seconds.
    #[error("the body did not arrive within {0} seconds")]
    BodyTooSlow(u64),
    /// There is no body.
    #[error("the body is empty, a JSON object was expected")]
    BodyEmpty,
    /// The body is not JSON.
    #[error("the body is not JSON: {0}")]
    BodyNotJson(String),
    /// Strict only: the body is announced as something else than JSON.
    #[error("A valid content-type must be specified")]
    ContentType,
    /// A list was asked for with a parameter that lists don't have.
    #[error("the query parameter {name} is not known here; known are {}", known.join(", "))]
    UnknownParameter {
        /// The parameter.
        name: String,
        /// Those that would do.
        known: Vec<&'static str>,
    },
    /// A query or a form has more parameters than this.
    #[error("there are more than {0} parameters")]
    TooManyParameters(usize),
    /// `count=true` beside `limit`.
    #[error("limit and count=true exclude each other; leave one of them away")]
    LimitWithCount,
    /// A filter that can't be used.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// More filters than a list takes.
    #[error("a list takes at most {0} filters")]
    TooManyFilters(usize),
    /// A filter of the Catalog with a wildcard, of which this build has none.
    #[error("name={0} has a wildcard, which lists don't have here: give the whole name, and write ** for a star of it")]
    Wildcard(String),
    /// A filter of the Catalog without anything to compare with.
    #[error("property={0} asks whether a field exists, which can't be asked here: compare it, as in name==orders")]
    Existence(String),
    /// An order that can't be used.
    #[error(transparent)]
    Order(#[from] OrderError),
    /// A `limit` that can't be used.
    #[error(transparent)]
    Limit(#[from] InvalidLimit),
    /// A `limit` of a search that can't be used.
    #[error("the limit of a search can be 1 to {SEARCH_LIMIT_MAX}")]
    SearchLimit,
    /// Fields to return that hold an operator.
    #[error("projectionFields takes names of fields with commas between them, as in name,state")]
    Projection,
    /// No `If-Match` where there must be one.
    #[error("the header If-Match is missing: send the etag of the version that you have read")]
    NoIfMatch,
    /// A number of the Catalog's paging that can't be used.
    #[error("the query parameter {name} takes {expected}")]
    Number {
        /// Which parameter.
        name: &'static str,
        /// What it takes.
        expected: &'static str,
    },
    /// A `count` that is neither true nor false.
    #[error("count takes true or false")]
    Count,
    /// A continuation token that is not ours.
    #[error(transparent)]
    Token(#[from] InvalidToken),
    /// The operation took too long.
    #[error("no answer was found within {0} seconds; nothing is known to be wrong, try again or ask for less")]
    TimedOut(u64),
    /// The caller asks more often than it may.
    #[error("this client sends more requests than it may: try again in {retry_after_s} s")]
    TooManyRequests {
        /// When the next one will be answered.
        retry_after_s: u64,
    },
    /// As many connections are open as may be.
    #[error(
        "the server has as many connections open as it may have, in all or from this address: close some, try again"
    )]
    TooManyConnections,
    /// The server has not finished starting, or its store does not answer.
    #[error("the server is not ready: {0}")]
    NotReady(String),
    /// A fault of ours.
    #[error("the server failed to answer; its log has more under this request id")]
    Panicked,
}

impl Refusal {
    fn code(&self) -> Code {
        match self {
            Self::UnknownRoute(_) => Code::flow(1400, 404),
            Self::WrongMethod(_) => Code::flow(1400, 405),
            Self::BodyTooLarge(_) | Self::BodyTooManyValues(_) => Code::flow(1400, 413),
            Self::BodyBroken | Self::BodyEmpty | Self::BodyNotJson(_) => code_of_cause(Cause::EmptyBody),
            Self::BodyTooSlow(_) => Code::flow(1400, 408),
            Self::ContentType => Code::flow(1400, 400),
            Self::UnknownParameter { .. } => Code::flow(1451, 400),
            Self::LimitWithCount => Code::flow(1401, 400),
            Self::Filter(error) => code_of_filter(error),
            Self::Order(error) => code_of_order(error),
            Self::NoIfMatch => code_of_cause(Cause::IfMatchAbsent),
            Self::TooManyParameters(_)
            | Self::TooManyFilters(_)
            | Self::Wildcard(_)
            | Self::Existence(_)
            | Self::Limit(_)
            | Self::SearchLimit
            | Self::Projection
            | Self::Number { .. }
            | Self::Count
            | Self::Token(_) => Code::flow(1452, 400),
            Self::TimedOut(_) => Code::flow(1400, 504),
            Self::TooManyRequests { .. } => Code::flow(1400, 429),
            Self::NotReady(_) | Self::TooManyConnections => Code::flow(1400, 503),
            Self::Panicked => Code::flow(1400, 500),
        }
    }
}
