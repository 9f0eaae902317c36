//! The body of a request: JSON, whatever its header says (flow-service.md 1.1).

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, FailedToBufferBody};
use axum::extract::{FromRequest, Request};
use headwaters_control::{Cause, CommandError};
use http::header::CONTENT_TYPE;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

use crate::error::{ApiError, Refusal};
use crate::state::ApiState;

/// The longest body of a request. The largest that makes sense names the 10,000 columns of the widest table
/// (flow-service.md 19) with their types.
pub(crate) const BODY_BYTES_MAX: usize = 4 << 20;

/// A JSON body, read into the request type of its operation. Properties that the type does not know are ignored; one of
/// another JSON type is CONNECTOR-1312 and named (flow-service.md 3.4); what is missing is the command's business.
///
/// Empty or not JSON is code 1405; with the strict switch `content_type` the header must say JSON.
#[derive(Debug)]
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<ApiState> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, ApiError> {
        if state.control().settings().strict.content_type && !announces_json(&request) {
            return Err(Refusal::ContentType.into());
        }
        let value = parse(&read(request, state).await?)?;
        Ok(Self(shaped(value)?))
    }
}

/// Reads the whole body, up to [`BODY_BYTES_MAX`] (set on the router).
pub(crate) async fn read(request: Request, state: &ApiState) -> Result<Bytes, Refusal> {
    Bytes::from_request(request, state).await.map_err(|rejection| match rejection {
        BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)) => {
            Refusal::BodyTooLarge(BODY_BYTES_MAX)
        }
        _ => Refusal::BodyBroken,
    })
}

/// Parses a body; the place of a mistake is told, its text is not (it may be a password).
fn parse(bytes: &[u8]) -> Result<Value, Refusal> {
    if bytes.trim_ascii().is_empty() {
        return Err(Refusal::BodyEmpty);
    }
    match serde_json::from_slice(bytes) {
        Ok(Value::Null) => Err(Refusal::BodyEmpty),
        Ok(value) => Ok(value),
        Err(error) => Err(Refusal::BodyNotJson(format!("line {}, column {}", error.line(), error.column()))),
    }
}

/// Reads a JSON value into a request type.
fn shaped<T: DeserializeOwned>(value: Value) -> Result<T, CommandError> {
    if !value.is_object() {
        return Err(CommandError::invalid(Cause::InvalidValue, "", "a JSON object was expected"));
    }
    serde_path_to_error::deserialize(value).map_err(|error| {
        let pointer = pointer(error.path());
        // The library's sentence echoes the value that it found; only what it wanted instead is told.
        let sentence = error.inner().to_string();
        let reason = match sentence.rsplit_once(", expected ") {
            Some((_, expected)) => format!("has the wrong JSON type, expected {expected}"),
            None => "has the wrong JSON type".to_owned(),
        };
        CommandError::invalid(Cause::InvalidValue, pointer, reason)
    })
}

/// The JSON pointer of a place in the body.
fn pointer(path: &Path) -> String {
    let step = |segment: &Segment| match segment {
        Segment::Map { key } => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
        Segment::Seq { index } => format!("/{index}"),
        Segment::Enum { .. } | Segment::Unknown => String::new(),
    };
    path.iter().map(step).collect()
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
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Outer {
        #[expect(dead_code, reason = "only read into")]
        name: Option<String>,
        inner_parts: Option<Vec<Inner>>,
    }

    #[derive(Debug, Deserialize)]
    struct Inner {
        #[expect(dead_code, reason = "only read into")]
        port: Option<u16>,
    }

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
    fn a_field_of_another_type_is_named_and_its_value_is_not() {
        let shape = |body| shaped::<Outer>(body).unwrap_err().to_string();
        assert_eq!(shape(json!({ "name": 4711 })), "/name: has the wrong JSON type, expected a string");
        assert_eq!(
            shape(json!({ "innerParts": [{}, { "port": "hunter2, expected x" }] })),
            "/innerParts/1/port: has the wrong JSON type, expected u16"
        );
        assert_eq!(shape(json!([])), "a JSON object was expected");
    }

    #[test]
    fn nulls_and_unknown_properties_are_as_good_as_absent() {
        let read: Outer = shaped(json!({ "name": null, "providerId": "x" })).unwrap();
        assert!(read.inner_parts.is_none());
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
