//! What a search is asked for (flow-service.md 8): the question of a list, written into a body.

use headwaters_model::filter::{FILTERS_MAX, Property};
use headwaters_model::page::{LIMIT_DEFAULT, ListQuery, Order, SEARCH_LIMIT_MAX};
use headwaters_model::resource::Collection;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::list::{Fields, Place, Question, from_token, properties};
use super::query::Query;
use crate::error::Refusal;

/// The query of a search; for the description of the API.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the parameter; `SearchBody::question` reads it")]
pub(crate) struct SearchParams {
    /// Where the next page begins: taken as it stands from `_links.next.href`.
    #[param(rename = "continuationToken")]
    continuation_token: Option<String>,
}

/// What is searched for; all of it may be left out.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SearchBody {
    /// Filters as lists take them, with `&` between them; `property=` may stand before each.
    #[schema(example = "state==enabled&name==\"orders to the lake\"")]
    query_string: Option<String>,
    /// The page size: 1 to 1000, 20 when absent.
    #[schema(example = 20)]
    limit: Option<i64>,
    /// Fields with `,` between them, `-` before one that descends.
    #[schema(example = "-createdAt")]
    orderby: Option<String>,
    /// Whether only the number of matches is wanted; not together with `limit`.
    count: Option<bool>,
    /// The top-level fields to return, with `,` between them.
    #[schema(example = "name,state")]
    projection_fields: Option<String>,
    /// Published, and without a meaning here.
    #[expect(dead_code, reason = "a list is returned whatever it says")]
    group_by_property: Option<String>,
}

impl SearchBody {
    /// The question that the body and the query ask together.
    pub(crate) fn question(self, query: &Query, collection: Collection) -> Result<Question, Refusal> {
        let count = self.count.unwrap_or_default();
        if count && self.limit.is_some() {
            return Err(Refusal::LimitWithCount);
        }
        // A token carries the whole question itself; what is repeated beside it says nothing new.
        let (query, fields) = match query.last("continuationToken") {
            Some(token) => from_token(token, collection)?,
            None => self.read(collection)?,
        };
        Ok(Question { query, fields, count, place: Place::Search })
    }

    fn read(self, collection: Collection) -> Result<(ListQuery, Fields), Refusal> {
        let texts = expressions(self.query_string.as_deref().unwrap_or_default());
        if texts.len() > FILTERS_MAX {
            return Err(Refusal::TooManyFilters(FILTERS_MAX));
        }
        let (filters, mut fields) = properties(texts.iter().map(String::as_str), collection)?;
        match self.projection_fields.as_deref().filter(|names| !names.trim().is_empty()) {
            None => {}
            Some(names) => match Property::parse(names, collection)? {
                Property::Projection(names) => fields.add(names),
                Property::Filter(_) => return Err(Refusal::Projection),
            },
        }
        let order = match self.orderby.as_deref().filter(|order| !order.is_empty()) {
            Some(order) => Order::parse(order, collection)?,
            None if collection.knows_field("createdAt") => Order::newest_first(),
            None => Order::parse("name", collection)?,
        };
        let limit = match self.limit {
            None => LIMIT_DEFAULT,
            Some(limit) => u32::try_from(limit).map_err(|_| Refusal::SearchLimit)?,
        };
        if !(1..=SEARCH_LIMIT_MAX).contains(&limit) {
            return Err(Refusal::SearchLimit);
        }
        Ok((ListQuery { filters, order, limit, ..ListQuery::all() }, fields))
    }
}

/// The expressions of a `queryString`: separated by `&`, but for one within quotes; `property=` before them is dropped.
/// Percent escapes are read, as in the query of a list.
fn expressions(text: &str) -> Vec<String> {
    let plain = |part: &str| {
        let part = part.trim();
        let part = part.strip_prefix("property=").unwrap_or(part);
        percent_decode_str(part).decode_utf8_lossy().trim().to_owned()
    };
    parts(text).into_iter().map(plain).filter(|part| !part.is_empty()).collect()
}

/// Splits at every `&` outside quotes. A quote opens only where a value may begin, so that one within a bare word, as in
/// `5"`, is part of the word; within quotes a backslash keeps the next quote or backslash from meaning anything.
fn parts(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut quoted, mut before) = (0, false, ' ');
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' if quoted && characters.as_str().starts_with(['"', '\\']) => drop(characters.next()),
            '"' if quoted => quoted = false,
            '"' => quoted = matches!(before, '=' | '<' | '>' | '!' | '~' | ',' | ' '),
            '&' if !quoted => {
                parts.push(text.get(start..at).unwrap_or_default());
                start = at + 1;
            }
            _ => {}
        }
        before = character;
    }
    parts.push(text.get(start..).unwrap_or_default());
    parts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::error::ApiError;

    fn ask(body: serde_json::Value, query: &str) -> Result<Question, Refusal> {
        let body: SearchBody = serde_json::from_value(body).unwrap();
        body.question(&Query::parse(query.as_bytes())?, Collection::Flows)
    }

    #[test]
    fn an_ampersand_within_quotes_separates_nothing() {
        for (text, expected) in [
            ("", &[][..]),
            ("state==enabled", &["state==enabled"]),
            ("property=state==enabled&property=name==x", &["state==enabled", "name==x"]),
            ("name==\"a & b\"&state==enabled", &["name==\"a & b\"", "state==enabled"]),
            (r#"name=="a \" & b","c&d"&id==1"#, &[r#"name=="a \" & b","c&d""#, "id==1"]),
            (r#"name==5"&id==1"#, &["name==5\"", "id==1"]),
            ("name==%22a%20b%22&&id==50%", &["name==\"a b\"", "id==50%"]),
        ] {
            assert_eq!(expressions(text), expected, "{text}");
        }
    }

    #[test]
    fn an_empty_body_asks_for_everything() {
        let question = ask(json!({}), "").unwrap();
        assert_eq!((question.query, question.fields, question.count), (ListQuery::all(), Fields::All, false));
    }

    #[test]
    fn each_bad_part_has_its_own_code() {
        for (body, code) in [
            (json!({ "limit": 1001 }), "FLOW-1452-400"),
            (json!({ "limit": 0 }), "FLOW-1452-400"),
            (json!({ "limit": -1 }), "FLOW-1452-400"),
            (json!({ "limit": 5, "count": true }), "FLOW-1401-400"),
            (json!({ "orderby": "*name" }), "FLOW-1432-400"),
            (json!({ "orderby": "colour" }), "FLOW-1433-400"),
            (json!({ "queryString": "colour==red" }), "FLOW-1449-400"),
            (json!({ "queryString": "name==x&id>5" }), "FLOW-1448-400"),
            (json!({ "queryString": "name==x&".repeat(FILTERS_MAX + 1) }), "FLOW-1452-400"),
            (json!({ "projectionFields": "colour" }), "FLOW-1449-400"),
            (json!({ "projectionFields": "name==x" }), "FLOW-1452-400"),
        ] {
            assert_eq!(ApiError::from(ask(body.clone(), "").unwrap_err()).code().to_string(), code, "{body}");
        }
    }

    #[test]
    fn a_link_brings_the_whole_question_back_without_the_body() {
        let body = json!({ "queryString": "name==x", "limit": 1000, "orderby": "name", "projectionFields": "name" });
        let asked = ask(body, "").unwrap();
        let link = asked.link(Collection::Flows, vec![json!("x"), json!("7d0a6a1e-3a3f-4b57-8a44-1d4c2c1f8a01")]);
        let (path, token) = link.split_once('=').unwrap();
        assert_eq!(path, "/flows/search?continuationToken");
        let next = ask(json!({}), &format!("continuationToken={token}")).unwrap();
        assert_eq!((next.query.filters, next.query.limit), (asked.query.filters, 1000));
        assert_eq!(next.fields, Fields::Only(vec!["name".into()]));
    }

    #[test]
    fn flow_specs_have_no_age_and_are_ordered_by_name() {
        let question = SearchBody::default().question(&Query::default(), Collection::FlowSpecs).unwrap();
        assert_eq!(Ok(question.query.order), Order::parse("name", Collection::FlowSpecs));
    }

    proptest! {
        #[test]
        fn no_query_string_makes_the_reader_panic(text: String) {
            let _ = ask(json!({ "queryString": text }), "");
        }
    }
}
