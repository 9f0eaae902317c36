//! What all collections of the Flow Service share: how lists, single resources and what was just written are answered
//! (flow-service.md 5, 7).

use axum::Json;
use axum::response::{IntoResponse, Response};
use headwaters_control::{Caller, Changeable, CommandError, Control, Stored};
use headwaters_model::connection::Connection;
use headwaters_model::etag::{Etag, Precondition};
use headwaters_model::flow::Flow;
use headwaters_model::page::{ListQuery, Page};
use headwaters_model::patch::Patch;
use headwaters_model::resource::{Action, Collection, Document, Kind, Resource};
use headwaters_model::run::Run;
use headwaters_model::source_connection::SourceConnection;
use headwaters_model::target_connection::TargetConnection;
use http::header::{ETAG, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::{Deserialize as _, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::ApiError;
use crate::extract::list::{Fields, Question};
use crate::extract::query::Query;
use crate::service::FLOW_SERVICE;
use crate::state::ApiState;

/// How the resources of a collection are read.
///
/// The document of a resource is what is stored, filtered and shown alike, and holds no secret: in a connection's
/// parameters the masks stand where the secrets would (flow-service.md 13.2).
pub(crate) trait Served: Stored {
    /// Reads one.
    fn read(
        control: &Control,
        caller: &Caller,
        id: &str,
    ) -> impl Future<Output = Result<Document<Self>, CommandError>> + Send {
        control.document::<Self>(caller, id)
    }

    /// Reads a page.
    fn read_page(
        control: &Control,
        caller: &Caller,
        query: &ListQuery,
    ) -> impl Future<Output = Result<Page<Document<Self>>, CommandError>> + Send {
        control.documents::<Self>(caller, query)
    }
}

impl Served for Connection {}
impl Served for SourceConnection {}
impl Served for TargetConnection {}
impl Served for Flow {}

/// With the latest numbers of those in progress.
impl Served for Run {
    async fn read(control: &Control, caller: &Caller, id: &str) -> Result<Document<Self>, CommandError> {
        control.run(caller, id).await
    }

    async fn read_page(
        control: &Control,
        caller: &Caller,
        query: &ListQuery,
    ) -> Result<Page<Document<Self>>, CommandError> {
        control.runs(caller, query).await
    }
}

/// A document on its way out.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Shown {
    /// Put together from what is stored, and sent as it is.
    Text(Box<RawValue>),
    /// Made here.
    Value(Value),
}

impl From<Value> for Shown {
    fn from(document: Value) -> Self {
        Self::Value(document)
    }
}

impl<K: Kind> From<Document<K>> for Shown {
    fn from(document: Document<K>) -> Self {
        Self::Text(document.into_json())
    }
}

impl Shown {
    /// With the fields that were asked for.
    fn only(self, fields: &Fields) -> Self {
        match (fields, self) {
            (Fields::Only(_), Self::Value(document)) => Self::Value(fields.of(document)),
            // What is nested too deep to be read here is shown whole.
            (Fields::Only(_), Self::Text(text)) => match Value::deserialize(&*text) {
                Ok(document) => Self::Value(fields.of(document)),
                Err(_) => Self::Text(text),
            },
            (Fields::All, document) => document,
        }
    }
}

/// One page of a list.
#[derive(Debug, Serialize)]
pub(crate) struct ListBody {
    /// Whole documents, as the single `GET` shows them.
    items: Vec<Shown>,
    /// Where it goes on; empty on the last page.
    #[serde(rename = "_links")]
    links: Links,
}

/// The links of a page.
#[derive(Debug, Default, Serialize)]
struct Links {
    /// The next page, when there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<Link>,
}

/// A link, relative to the base path.
#[derive(Debug, Serialize)]
struct Link {
    href: String,
}

/// How many documents match, when only that was asked for.
#[derive(Debug, Serialize)]
pub(crate) struct CountBody {
    count: u64,
}

/// The answer of a list: a page, or with `count=true` the number alone (flow-service.md 7.5).
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Listed {
    /// A page.
    Page(ListBody),
    /// A number.
    Count(CountBody),
}

/// A single resource, wrapped as every collection wraps it (flow-service.md 5).
#[derive(Debug, Serialize)]
pub(crate) struct ItemsBody {
    /// Exactly one document.
    items: [Shown; 1],
}

/// A resource that was written.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct WrittenBody {
    /// Its id.
    id: String,
    /// Its version, the quotes being part of it.
    etag: String,
}

/// Lists or searches a collection.
pub(crate) async fn list<K: Served>(
    state: &ApiState,
    caller: &Caller,
    asked: Question,
) -> Result<Json<Listed>, ApiError> {
    if asked.count {
        let count = state.control().count::<K>(caller, &asked.query.filters).await?;
        return Ok(Json(Listed::number(count)));
    }
    let page = K::read_page(state.control(), caller, &asked.query).await?;
    Ok(Json(Listed::page(&asked, K::COLLECTION, page)))
}

impl Listed {
    /// A page of whole documents, of which the question may have asked for some fields only.
    pub(crate) fn page(asked: &Question, collection: Collection, page: Page<impl Into<Shown>>) -> Self {
        let items = page.items.into_iter().map(|document| document.into().only(&asked.fields)).collect();
        let next = page.next.map(|after| Link { href: asked.link(collection, after) });
        Self::Page(ListBody { items, links: Links { next } })
    }

    /// The only page, whose documents show these fields.
    pub(crate) fn only(documents: Vec<Value>, fields: &Fields) -> Self {
        let items = documents.into_iter().map(|document| Shown::from(document).only(fields)).collect();
        Self::Page(ListBody { items, links: Links::default() })
    }

    /// The number of matches.
    pub(crate) fn number(count: u64) -> Self {
        Self::Count(CountBody { count })
    }
}

/// Changes part of a resource.
pub(crate) async fn patch<K: Changeable>(
    state: &ApiState,
    caller: &Caller,
    id: &str,
    expected: &Precondition,
    patch: &Patch,
) -> Result<Changed, ApiError> {
    Ok(Changed::of(&state.control().patch::<K>(caller, id, expected, patch).await?))
}

/// Does to a resource what the query names: `op`, and `subOp`, which means nothing for what can be done here.
pub(crate) async fn act<K: Changeable>(
    state: &ApiState,
    caller: &Caller,
    id: &str,
    expected: &Precondition,
    query: &Query,
) -> Result<Changed, ApiError> {
    let action = Action::read(K::COLLECTION, query.last("op"), query.last("subOp")).map_err(CommandError::from)?;
    Ok(Changed::of(&state.control().act::<K>(caller, id, expected, action).await?))
}

/// Shows one resource of a collection.
pub(crate) async fn get<K: Served>(state: &ApiState, caller: &Caller, id: &str) -> Result<Item, ApiError> {
    let document = K::read(state.control(), caller, id).await?;
    Ok(Item { etag: Some(document.etag.clone()), document: document.into() })
}

/// The answer that shows one document.
#[derive(Debug)]
pub(crate) struct Item {
    document: Shown,
    etag: Option<Etag>,
}

impl Item {
    /// A document that has no version: a spec.
    pub(crate) fn unversioned(document: Value) -> Self {
        Self { document: document.into(), etag: None }
    }
}

impl IntoResponse for Item {
    fn into_response(self) -> Response {
        let mut headers = HeaderMap::new();
        if let Some(etag) = &self.etag {
            set(&mut headers, ETAG, etag.as_str());
        }
        (headers, Json(ItemsBody { items: [self.document] })).into_response()
    }
}

/// The answer to a create: 201, id and etag, and where the resource is from now on (flow-service.md 2.4).
#[derive(Debug)]
pub(crate) struct Created<B = WrittenBody> {
    body: B,
    etag: Etag,
    location: String,
}

impl Created {
    /// Of a resource that was just made.
    pub(crate) fn of<K: Kind>(resource: &Resource<K>) -> Self {
        let (id, etag) = (resource.id.to_string(), resource.etag.clone());
        let location = format!("{FLOW_SERVICE}/{}/{id}", K::COLLECTION.name());
        Self { body: WrittenBody { id, etag: etag.to_string() }, etag, location }
    }

    /// With a body that has more.
    pub(crate) fn with<B>(self, body: impl FnOnce(WrittenBody) -> B) -> Created<B> {
        Created { body: body(self.body), etag: self.etag, location: self.location }
    }
}

impl<B: Serialize> IntoResponse for Created<B> {
    fn into_response(self) -> Response {
        let mut headers = HeaderMap::new();
        set(&mut headers, LOCATION, &self.location);
        set(&mut headers, ETAG, self.etag.as_str());
        (StatusCode::CREATED, headers, Json(self.body)).into_response()
    }
}

/// The answer to a change: 200, id and the new etag (flow-service.md 4).
#[derive(Debug)]
pub(crate) struct Changed(WrittenBody);

impl Changed {
    /// Of a resource that was just changed.
    pub(crate) fn of<K: Kind>(resource: &Resource<K>) -> Self {
        Self(WrittenBody { id: resource.id.to_string(), etag: resource.etag.to_string() })
    }
}

impl IntoResponse for Changed {
    fn into_response(self) -> Response {
        let mut headers = HeaderMap::new();
        set(&mut headers, ETAG, &self.0.etag);
        (headers, Json(self.0)).into_response()
    }
}

/// A document that was written, as it is now, not wrapped: specs and runs (flow-service.md 12.4, 17.6).
#[derive(Debug)]
pub(crate) struct Bare {
    status: StatusCode,
    location: String,
    etag: Option<Etag>,
    document: Value,
}

impl Bare {
    /// Of a resource that was changed, or that something made.
    pub(crate) fn of<K: Kind>(resource: &Resource<K>) -> Self {
        let etag = Some(resource.etag.clone());
        Self { etag, ..Self::unversioned(StatusCode::OK, K::COLLECTION, resource.shown()) }
    }

    /// Of a document without a version: a spec.
    pub(crate) fn unversioned(status: StatusCode, collection: Collection, document: Value) -> Self {
        let id = document["id"].as_str().unwrap_or_default();
        let location = format!("{FLOW_SERVICE}/{}/{id}", collection.name());
        Self { status, location, etag: None, document }
    }
}

impl IntoResponse for Bare {
    fn into_response(self) -> Response {
        let mut headers = HeaderMap::new();
        set(&mut headers, LOCATION, &self.location);
        if let Some(etag) = &self.etag {
            set(&mut headers, ETAG, etag.as_str());
        }
        (self.status, headers, Json(self.document)).into_response()
    }
}

/// Sets a header to a text of ours; ids and etags hold nothing that a header could not.
fn set(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}
