//! What a list is asked for (flow-service.md 7).

use std::marker::PhantomData;

use axum::extract::FromRequestParts;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use headwaters_model::filter::{FILTERS_MAX, Filter, Property};
use headwaters_model::page::{InvalidToken, LIMIT_MAX, ListQuery, Order, parse_limit};
use headwaters_model::resource::{Collection, Kind};
use http::request::Parts;
use serde_json::Value;
use utoipa::IntoParams;

use super::query::Query;
use crate::error::{ApiError, Refusal};

/// The parameters of every list.
pub(crate) const PARAMETERS: [&str; 5] = ["property", "limit", "orderby", "continuationToken", "count"];

/// The query of a list; for the description of the API.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the parameters; `Asked` reads them, because their pairs need care")]
pub(crate) struct ListParams {
    /// A filter, e.g. `name==orders` or `createdAt>1700000000000`; repeated ones all hold. Without an operator: the
    /// top-level fields to return, e.g. `name,state`.
    #[param(example = "state==enabled")]
    property: Option<Vec<String>>,
    /// The page size: 1 to 100, 20 when absent; larger ones are cut to 100.
    #[param(example = 20)]
    limit: Option<u32>,
    /// Fields with `,` between them, `-` before one that descends; the most recent first when absent.
    #[param(example = "-createdAt")]
    orderby: Option<String>,
    /// Where the next page begins: taken as it stands from `_links.next.href`.
    #[param(rename = "continuationToken")]
    continuation_token: Option<String>,
    /// Whether only the number of matches is wanted; not together with `limit`.
    count: Option<bool>,
}

/// What a list or a search is asked for.
#[derive(Debug)]
pub(crate) struct Question {
    /// Which documents, in which order, how many.
    pub(crate) query: ListQuery,
    /// Which top-level fields of them.
    pub(crate) fields: Fields,
    /// Whether only their number is wanted.
    pub(crate) count: bool,
    /// Where it is asked: the end of the path of its pages.
    pub(super) place: Place,
}

/// Whether the pages of an answer lie with the list or with the search of a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// `GET /flows`
    List,
    /// `POST /flows/search`
    Search,
}

impl Question {
    /// The link to the page after these sort values: relative to the base path, the token its only parameter, and no
    /// character in it that a client could stumble over (flow-service.md 7.4).
    pub(crate) fn link(&self, collection: Collection, after: Vec<Value>) -> String {
        let mut token = self.query.token(collection, after);
        if let Fields::Only(names) = &self.fields {
            token.push(FIELDS_MARK);
            token.push_str(&URL_SAFE_NO_PAD.encode(names.join(",")));
        }
        let place = match self.place {
            Place::List => "",
            Place::Search => "/search",
        };
        format!("/{}{place}?continuationToken={token}", collection.name())
    }
}

/// What the list of one collection is asked for.
#[derive(Debug)]
pub(crate) struct Asked<K> {
    /// What for.
    pub(crate) question: Question,
    of: PhantomData<fn() -> K>,
}

impl<S: Sync, K: Kind> FromRequestParts<S> for Asked<K> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let query = Query::of(parts)?;
        Ok(Self::read(&query)?)
    }
}

impl<K: Kind> Asked<K> {
    fn read(query: &Query) -> Result<Self, Refusal> {
        query.only(&PARAMETERS)?;
        let count = is_count(query)?;
        // A token carries the whole query itself; what is repeated beside it says nothing new.
        let (mut query, fields) = match query.last("continuationToken") {
            Some(token) => from_token(token, K::COLLECTION)?,
            None => from_parameters(query, K::COLLECTION)?,
        };
        // That of a search may carry more.
        query.limit = query.limit.min(LIMIT_MAX);
        Ok(Self { question: Question { query, fields, count, place: Place::List }, of: PhantomData })
    }
}

/// Stands between the query and the fields in a token; not a character of base64.
const FIELDS_MARK: char = '.';

/// Reads a token: the query and the fields of the page before.
pub(super) fn from_token(token: &str, collection: Collection) -> Result<(ListQuery, Fields), Refusal> {
    let (query, names) = match token.split_once(FIELDS_MARK) {
        Some((query, names)) => (query, Some(names)),
        None => (token, None),
    };
    let query = ListQuery::from_token(query, collection)?;
    let fields = match names {
        None => Fields::All,
        Some(names) => {
            let bytes = URL_SAFE_NO_PAD.decode(names).map_err(|_| InvalidToken)?;
            let names = String::from_utf8(bytes).map_err(|_| InvalidToken)?;
            match Property::parse(&names, collection) {
                Ok(Property::Projection(names)) => Fields::Only(names),
                _ => return Err(InvalidToken.into()),
            }
        }
    };
    Ok((query, fields))
}

fn from_parameters(query: &Query, collection: Collection) -> Result<(ListQuery, Fields), Refusal> {
    let (filters, fields) = properties(query.all("property"), collection)?;
    let mut list = ListQuery { filters, ..ListQuery::all() };
    if let Some(limit) = query.last("limit") {
        list.limit = parse_limit(limit, LIMIT_MAX)?;
    }
    if let Some(order) = query.last("orderby") {
        list.order = Order::parse(order, collection)?;
    }
    Ok((list, fields))
}

/// Reads the `property` parameters: filters, which all hold, and the fields to return.
pub(crate) fn properties<'a>(
    texts: impl Iterator<Item = &'a str>,
    collection: Collection,
) -> Result<(Vec<Filter>, Fields), Refusal> {
    let mut filters = Vec::new();
    let mut fields = Fields::All;
    for text in texts {
        match Property::parse(text, collection)? {
            Property::Filter(filter) => filters.push(filter),
            Property::Projection(names) => fields.add(names),
        }
    }
    if filters.len() > FILTERS_MAX {
        return Err(Refusal::TooManyFilters(FILTERS_MAX));
    }
    Ok((filters, fields))
}

/// Whether only the number of matches is asked for; then nothing else says how many to show (flow-service.md 7.5).
pub(crate) fn is_count(query: &Query) -> Result<bool, Refusal> {
    let count = match query.last("count") {
        Some(text) if text.eq_ignore_ascii_case("true") => true,
        Some(text) if text.is_empty() || text.eq_ignore_ascii_case("false") => false,
        None => false,
        Some(_) => return Err(Refusal::Count),
    };
    if count && query.last("limit").is_some() {
        return Err(Refusal::LimitWithCount);
    }
    Ok(count)
}

/// Which top-level fields of a document are returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fields {
    /// The whole document.
    All,
    /// These, and the id.
    Only(Vec<String>),
}

impl Fields {
    /// Asks for more fields.
    pub(super) fn add(&mut self, more: Vec<String>) {
        match self {
            Self::All => *self = Self::Only(more),
            Self::Only(names) => names.extend(more),
        }
    }

    /// The document with the fields that were asked for.
    pub(crate) fn of(&self, document: Value) -> Value {
        match (self, document) {
            (Self::Only(names), Value::Object(mut document)) => {
                document.retain(|key, _| key == "id" || names.iter().any(|name| name == key));
                Value::Object(document)
            }
            (_, document) => document,
        }
    }
}

#[cfg(test)]
mod tests {
    use headwaters_model::flow::Flow;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(query: &str) -> Result<Question, Refusal> {
        Asked::<Flow>::read(&Query::parse(query.as_bytes())?).map(|asked| asked.question)
    }

    #[test]
    fn what_clients_send_on_every_list_is_taken() {
        let asked = read("count=false&limit=20").unwrap();
        assert_eq!((asked.query.limit, asked.count), (20, false));
        assert_eq!(read("").unwrap().query, ListQuery::all());
        assert_eq!(read("limit=1000").unwrap().query.limit, 100);
    }

    #[test]
    fn each_bad_parameter_has_its_own_code() {
        for (query, code) in [
            ("colour=red", "FLOW-1451-400"),
            ("count=true&limit=5", "FLOW-1401-400"),
            ("limit=0", "FLOW-1452-400"),
            ("limit=-1", "FLOW-1452-400"),
            ("limit=many", "FLOW-1452-400"),
            ("count=maybe", "FLOW-1452-400"),
            ("continuationToken=x", "FLOW-1452-400"),
            ("orderby=*name", "FLOW-1432-400"),
            ("orderby=colour", "FLOW-1433-400"),
            ("property=name~x", "FLOW-1440-400"),
            ("property=name>=a,b", "FLOW-1443-400"),
            ("property=id>=a", "FLOW-1448-400"),
            ("property=colour==red", "FLOW-1449-400"),
            ("property=id!>5", "FLOW-1450-400"),
            ("property=createdAt==1,2", "FLOW-1452-400"),
            ("property=createdAt==", "FLOW-1453-400"),
        ] {
            assert_eq!(ApiError::from(read(query).unwrap_err()).code().to_string(), code, "{query}");
        }
    }

    #[test]
    fn a_link_brings_the_whole_question_back_even_beside_the_parameters_it_came_from() {
        let query = "property=name==%22a%2C%20b%22&property=name,state&orderby=-name&limit=2";
        let asked = read(query).unwrap();
        let link = asked.link(Collection::Flows, vec![json!("b"), json!("7d0a6a1e-3a3f-4b57-8a44-1d4c2c1f8a01")]);
        let (path, token) = link.split_once('=').unwrap();
        assert_eq!(path, "/flows?continuationToken");
        assert!(!token.contains(['=', '&', '+', '/', '%', '#']), "{token}");
        for next in [format!("continuationToken={token}"), format!("{query}&count=false&continuationToken={token}")] {
            let next = read(&next).unwrap();
            assert_eq!((&next.query.filters, next.query.limit), (&asked.query.filters, 2));
            assert_eq!(next.fields, Fields::Only(vec!["name".into(), "state".into()]));
            assert!(next.query.after.is_some());
        }
    }

    #[test]
    fn a_projection_keeps_the_id() {
        let fields = read("property=name").unwrap().fields;
        assert_eq!(fields.of(json!({ "id": 1, "name": 2, "state": 3 })), json!({ "id": 1, "name": 2 }));
    }

    proptest! {
        #[test]
        fn no_query_makes_the_reader_panic(text: String) {
            let _ = read(&text);
            let _ = read(&format!("property={text}"));
            let _ = read(&format!("continuationToken={text}"));
        }
    }
}
