//! The description of the API as a page for people: a packaged viewer over `/openapi.json`.
//!
//! **Invariant.** The page loads nothing but what this server serves: its files are in the program, and its policy
//! forbids everything else.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, LazyLock};

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui::Config;

use crate::error::{ApiError, Refusal};
use crate::extract::path::Id;
use crate::extract::query::shown;
use crate::state::ApiState;

/// Ours: the page, and what starts the viewer on it.
const PAGE: &str = include_str!("docs/page.html");
const START: &str = include_str!("docs/start.js");
/// The files of the viewer that the page uses, by the names of its package.
const VIEWER: [&str; 3] = ["swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png"];
/// Only ourselves. The viewer sets styles on its elements, and its style sheet holds pictures.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// All files by their names; the page has none.
static FILES: LazyLock<BTreeMap<&str, File>> = LazyLock::new(|| {
    let ours =
        [("", File::plain("text/html; charset=utf-8", PAGE)), ("start.js", File::plain("text/javascript", START))];
    let packaged = VIEWER.into_iter().filter_map(|name| Some((name, File::packaged(name)?)));
    ours.into_iter().chain(packaged).collect()
});

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(show_docs)).routes(routes!(show_docs_file))
}

/// Shows this description as a page.
#[utoipa::path(get, path = "/docs", tag = "operations", security(()), responses(
    (status = 200, description = "a page for people", body = String, content_type = "text/html"),
    (status = 304, description = "it is still the one that `If-None-Match` names")))]
async fn show_docs(headers: HeaderMap) -> Result<Response, ApiError> {
    answer("", &headers)
}

/// Shows a part of the page: a style sheet, a script or a picture.
#[utoipa::path(get, path = "/docs/{file}", tag = "operations", security(()),
    params(("file" = String, Path, description = "its name", example = "swagger-ui.css")), responses(
    (status = 200, description = "the file", content(
        (String = "text/css"), (String = "text/javascript"), (Vec<u8> = "image/png"))),
    (status = 304, description = "it is still the one that `If-None-Match` names"),
    (status = 404, description = "the page has no such file", body = crate::error::ProblemBody)))]
async fn show_docs_file(Id(name): Id, headers: HeaderMap) -> Result<Response, ApiError> {
    answer(&name, &headers)
}

fn answer(name: &str, headers: &HeaderMap) -> Result<Response, ApiError> {
    let unknown = || Refusal::UnknownRoute(shown(&format!("/docs/{name}")));
    let file = FILES.get(name).ok_or_else(unknown)?;
    let known = headers.get(IF_NONE_MATCH).is_some_and(|tag| tag == file.etag);
    let mut response = if known { StatusCode::NOT_MODIFIED.into_response() } else { file.body() };
    let headers = response.headers_mut();
    headers.insert(ETAG, file.etag.clone());
    // Asked for again each time, and sent again only by another version of the program.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    Ok(response)
}

/// A file of the page.
struct File {
    content: Bytes,
    content_type: HeaderValue,
    /// Of the content, quotes included.
    etag: HeaderValue,
    /// Whether the content is packed. Every browser unpacks it, and nothing else reads these files.
    gzipped: bool,
}

impl File {
    fn plain(content_type: &'static str, text: &'static str) -> Self {
        let content = Bytes::from_static(text.as_bytes());
        Self { etag: etag(&content), content, content_type: HeaderValue::from_static(content_type), gzipped: false }
    }

    /// A file of the viewer; none when its package does not have it, which a test rules out.
    fn packaged(name: &str) -> Option<Self> {
        let file = utoipa_swagger_ui::serve(name, Arc::new(Config::from("/openapi.json"))).ok()??;
        let content_type = HeaderValue::from_str(&file.content_type).ok()?;
        let content = Bytes::from(file.bytes.into_owned());
        Some(Self { etag: etag(&content), content, content_type, gzipped: file.gzpipped })
    }

    fn body(&self) -> Response {
        let mut response = Response::new(Body::from(self.content.clone()));
        response.headers_mut().insert(CONTENT_TYPE, self.content_type.clone());
        if self.gzipped {
            response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }
}

fn etag(content: &Bytes) -> HeaderValue {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    HeaderValue::from_str(&format!("\"{:016x}\"", hasher.finish())).unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_that_the_page_names_is_there_and_comes_from_here() {
        let links = |attribute: &str| {
            let parts = PAGE.split(attribute).skip(1).filter_map(|rest| rest.split('"').next());
            parts.map(str::to_owned).collect::<Vec<_>>()
        };
        let all: Vec<_> = links("src=\"").into_iter().chain(links("href=\"")).collect();
        assert_eq!(all.len(), VIEWER.len() + 2, "{all:?}");
        for link in all {
            let known =
                link == "/openapi.json" || link.strip_prefix("/docs/").is_some_and(|name| FILES.contains_key(name));
            assert!(known, "{link}");
        }
        assert_eq!(FILES.len(), VIEWER.len() + 2);
    }

    #[test]
    fn nothing_of_ours_names_another_server() {
        for text in [PAGE, START] {
            assert!(!text.contains("//") || text.matches("//").count() == text.matches("// ").count(), "{text}");
        }
    }
}
