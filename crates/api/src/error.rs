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
use headwaters_model::page::{InvalidLimit, InvalidToken, OrderError};

pub(crate) use self::body::{EdgeBody, ImsBody, NeighbourBody, ProblemBody, render};
pub(crate) use self::code::Code;
use self::code::{code_of_access, code_of_cause, code_of_denial, code_of_filter, code_of_order};

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

    /// What the caller is told: one sentence, and what to do where that is known.
    fn sentence(&self) -> String {
        match self {
            // The sentence of a fault of ours is for the log.
            Self::Command(CommandError::Internal(_)) => Refusal::Panicked.to_string(),
            Self::Command(error) => match error.hint() {
                Some(hint) => format!("{error}; {hint}"),
                None => error.to_string(),
            },
            _ => self.to_string(),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
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
    /// The connection broke before the body was complete.
    #[error("the body ended before it was complete")]
    BodyBroken,
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
            Self::BodyTooLarge(_) => Code::flow(1400, 413),
            Self::BodyBroken | Self::BodyEmpty | Self::BodyNotJson(_) => code_of_cause(Cause::EmptyBody),
            Self::ContentType => Code::flow(1400, 400),
            Self::UnknownParameter { .. } => Code::flow(1451, 400),
            Self::LimitWithCount => Code::flow(1401, 400),
            Self::Filter(error) => code_of_filter(error),
            Self::Order(error) => code_of_order(error),
            Self::TooManyFilters(_)
            | Self::Wildcard(_)
            | Self::Existence(_)
            | Self::Limit(_)
            | Self::Number { .. }
            | Self::Count
            | Self::Token(_) => Code::flow(1452, 400),
            Self::TimedOut(_) => Code::flow(1400, 504),
            Self::NotReady(_) => Code::flow(1400, 503),
            Self::Panicked => Code::flow(1400, 500),
        }
    }
}
