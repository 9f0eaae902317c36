//! The body of a request: JSON, whatever its header says (flow-service.md 1.1).

use std::error::Error as _;

use axum::body::{Bytes, to_bytes};
use axum::extract::{FromRequest, Request};
use headwaters_control::{CommandError, shaped};
use headwaters_model::patch::Patch;
use http::header::CONTENT_TYPE;
use http_body_util::LengthLimitError;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::{ApiError, Refusal};
use crate::state::ApiState;

/// The longest body of a request. The largest that makes sense names the 10,000 columns of the widest table
/// (flow-service.md 19) with their types.
pub(crate) const BODY_BYTES_MAX: usize = 4 << 20;
/// How many values a body may hold, counted by its commas and brackets wherever they stand: read, each takes some
/// seventy bytes, however few it had. The widest table's columns with their types are half as many.
const VALUES_MAX: usize = 200_000;

/// A JSON body, read into the request type of its operation. Properties that the type does not know are ignored; one of
/// another JSON type is CONNECTOR-1312 and named (flow-service.md 3.4); what is missing is the command's business.
///
/// Empty or not JSON is code 1405; with the strict switch `content_type` the header must say JSON.
#[derive(Debug)]
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<ApiState> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, ApiError> {
        Ok(Self(shaped(json(request, state).await?)?))
    }
}

/// A JSON body that may be left out, which is as good as `{}`.
#[derive(Debug)]
pub(crate) struct OptionalBody<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<ApiState> for OptionalBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, ApiError> {
        let announced = announces_json(&request);
        let bytes = read(request, state, BODY_BYTES_MAX).await?;
        match parse(&bytes) {
            Err(Refusal::BodyEmpty) => Ok(Self(shaped(Value::Object(Map::new()))?)),
            Ok(_) if state.control().settings().strict.content_type && !announced => Err(Refusal::ContentType.into()),
            parsed => Ok(Self(shaped(parsed?)?)),
        }
    }
}

/// A JSON Patch: an array of instructions, or a single one (flow-service.md 9).
#[derive(Debug)]
pub(crate) struct PatchBody(pub(crate) Patch);

impl FromRequest<ApiState> for PatchBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, ApiError> {
        let patch = Patch::parse(json(request, state).await?);
        Ok(Self(patch.map_err(CommandError::from)?))
    }
}

/// Reads a body that must be JSON.
async fn json(request: Request, state: &ApiState) -> Result<Value, Refusal> {
    if state.control().settings().strict.content_type && !announces_json(&request) {
        return Err(Refusal::ContentType);
    }
    parse(&read(request, state, BODY_BYTES_MAX).await?)
}

/// Reads the whole body, up to so many bytes, within the time that a body has (limits.rs).
pub(crate) async fn read(request: Request, state: &ApiState, bytes_max: usize) -> Result<Bytes, Refusal> {
    let patience = state.limits().body;
    let read = tokio::time::timeout(patience, to_bytes(request.into_body(), bytes_max)).await;
    read.map_err(|_| Refusal::BodyTooSlow(patience.as_secs()))?.map_err(|error| {
        let too_large = error.source().is_some_and(|source| source.is::<LengthLimitError>());
        if too_large { Refusal::BodyTooLarge(bytes_max) } else { Refusal::BodyBroken }
    })
}

/// Parses a body; the place of a mistake is told, its text is not (it may be a password).
fn parse(bytes: &[u8]) -> Result<Value, Refusal> {
    if bytes.trim_ascii().is_empty() {
        return Err(Refusal::BodyEmpty);
    }
    if bytes.iter().filter(|byte| matches!(byte, b',' | b'[' | b'{')).count() > VALUES_MAX {
        return Err(Refusal::BodyTooManyValues(VALUES_MAX));
    }
    match serde_json::from_slice(bytes) {
        Ok(Value::Null) => Err(Refusal::BodyEmpty),
        Ok(value) => Ok(value),
        Err(error) => Err(Refusal::BodyNotJson(format!("line {}, column {}", error.line(), error.column()))),
    }
}

fn announces_json(request: &Request) -> bool {
    let Some(announced) = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let media_type = announced.split(';').next().unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case("application/json") || media_type.to_ascii_lowercase().ends_with("+json")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_body_that_is_not_json_is_told_its_place_but_not_its_text() {
        let Err(Refusal::BodyNotJson(place)) = parse(b"{\"password\": hunter2}") else { panic!("must be refused") };
        assert_eq!(place, "line 1, column 14");
    }

    #[test]
    fn nothing_is_no_body() {
        for body in ["", "  \r\n", "null"] {
            assert_eq!(parse(body.as_bytes()), Err(Refusal::BodyEmpty), "{body:?}");
        }
    }

    #[test]
    fn a_body_of_very_many_small_values_is_refused_before_it_is_read() {
        let body = format!("[{}1]", "1,".repeat(VALUES_MAX));
        assert_eq!(parse(body.as_bytes()), Err(Refusal::BodyTooManyValues(VALUES_MAX)));
        assert!(parse(format!("[{}1]", "1,".repeat(1000)).as_bytes()).is_ok());
    }

    proptest! {
        #[test]
        fn no_body_makes_the_parser_panic(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }

        #[test]
        fn deep_nesting_is_refused_not_followed(depth in 1000usize..100_000) {
            prop_assert!(parse("[".repeat(depth).as_bytes()).is_err());
        }
    }
}
