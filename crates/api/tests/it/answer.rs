//! What comes back, and its comparison with a snapshot.

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use serde_json::{Value, json};

use crate::world::{CATALOG, FLOW};

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    /// What was asked, without what differs from test to test: `GET /connections/{}`.
    pub(crate) request: String,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The documented code at the end of a problem's `type`.
    pub(crate) fn code(&self) -> String {
        let body = self.json();
        body["type"].as_str().unwrap_or_default().rsplit('/').next().unwrap_or_default().to_owned()
    }

    /// The items of a list, or the wrapped single document.
    pub(crate) fn items(&self) -> Vec<Value> {
        self.json()["items"].as_array().unwrap_or_else(|| panic!("{self:?}")).clone()
    }

    /// Status, telling headers and body, for a snapshot.
    pub(crate) fn shown(&self) -> Value {
        let telling = ["allow", "location", "etag", "cache-control", "content-type", "retry-after"];
        let headers = telling.iter().filter_map(|name| Some(((*name).to_owned(), json!(self.header(name)?))));
        let body = if self.body.is_empty() { Value::Null } else { self.json() };
        let headers = Value::Object(headers.collect());
        json!({ "request": self.request, "status": self.status.as_u16(), "headers": headers, "body": body })
    }

    /// One line of a table of refusals: what the problem says, once its shape is checked.
    fn refusal(&self, case: &str) -> Value {
        let body = self.json();
        let sentence = &body["report"]["detailed-message"];
        assert!(!self.status.is_success() && body["status"] == self.status.as_u16(), "{case}: {self:?}");
        assert!(body["errorMessage"] == *sentence && body["errorDetails"] == *sentence, "{case}: {self:?}");
        assert_eq!(body["report"]["request-id"], self.header("x-request-id").unwrap(), "{case}");
        let (id, kind) = (body["report"].get("id"), body["report"].get("type"));
        assert_eq!((id.is_some(), kind.is_some()), (self.status == 404, self.status == 404), "{case}: {self:?}");
        json!({ "case": case, "code": self.code(), "title": body["title"], "sentence": sentence })
    }
}

/// The operation of a request: its method, and its path with `{}` in the place of an id.
pub(crate) fn operation(request: &Request<Vec<u8>>) -> String {
    let path = request.uri().path().trim_end_matches('/');
    let Some(path) = path.strip_prefix(FLOW).or_else(|| path.strip_prefix(CATALOG)) else {
        return format!("{} {path}", request.method());
    };
    let plain = path.split('/').enumerate();
    let plain = plain.map(|(at, segment)| if at == 2 && segment != "search" { "{}" } else { segment });
    format!("{} {}", request.method(), plain.collect::<Vec<_>>().join("/"))
}

/// Compares an answer with its snapshot, ids and times left out.
pub(crate) fn assert_answer(name: &str, answer: &Answer) {
    assert_snapshot(name, &answer.shown());
}

/// Compares what one operation refuses with its snapshot, a line for each case.
pub(crate) fn assert_refusals(name: &str, answers: &[(&str, Answer)]) {
    let request = &answers.first().unwrap().1.request;
    assert!(answers.iter().all(|(_, answer)| answer.request == *request), "one operation: {answers:?}");
    let refusals: Vec<_> = answers.iter().map(|(case, answer)| answer.refusal(case)).collect();
    assert_snapshot(name, &json!({ "request": request, "refusals": refusals }));
}

fn assert_snapshot(name: &str, value: &Value) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    for (pattern, label) in CHANGING {
        settings.add_filter(pattern, *label);
    }
    settings.bind(|| insta::assert_json_snapshot!(name, value));
}

/// What differs from run to run, and what stands in its place.
pub(crate) const CHANGING: &[(&str, &str)] = &[
    (r#"\\?"[0-9a-f]{8}-0000-0200-0000-[0-9a-f]{12}\\?""#, "[etag]"),
    (r"M-[0-9a-f-]{36}-incremental-0:[0-9a-f-]{36}", "[provider ref]"),
    // Minted ids are of version 7; those of the catalogue are not, and stay.
    (r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", "[id]"),
    (r"[0-9A-F]{24}@AdobeOrg", "[org]"),
    (r"[0-9A-F]{24}@AdobeID", "[user]"),
    (r"lake/[0-9A-F]{24}/", "lake/[org]/"),
    (r"\b[0-9a-f]{32}\b", "[client]"),
    (r"\b[0-9a-f]{24}\b", "[data set]"),
    (r"\b[0-9A-HJKMNP-TV-Z]{26}\b", "[batch]"),
    // A number by itself first, so that what comes of it is JSON.
    (r": 17000\d{8}\b", r#": "[time]""#),
    (r"\b17000\d{8}\b", "[time]"),
];
