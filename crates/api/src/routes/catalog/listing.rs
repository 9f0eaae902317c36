//! What the Catalog's collections share: lists and single resources are objects keyed by id (platform-services.md 2.1),
//! and lists have parameters of their own (2.2).

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::FromRequestParts;
use headwaters_control::{Caller, CommandError, Stored};
use headwaters_model::filter::{FILTERS_MAX, Filter, quoted};
use headwaters_model::page::{LIMIT_DEFAULT, LIMIT_MAX, ListQuery, Order};
use headwaters_model::resource::{Resource, ResourceRef};
use http::request::Parts;
use serde_json::{Map, Value};
use utoipa::IntoParams;

use crate::error::{ApiError, Refusal};
use crate::extract::query::{Query, shown};
use crate::state::ApiState;

/// The parameters that every collection has, beside the names of its fields.
const PARAMETERS: [&str; 9] =
    ["limit", "start", "offset", "orderBy", "sort", "properties", "property", "createdAfter", "createdBefore"];
/// What every collection calls otherwise than the stored document does.
const ENVELOPE: [(&str, &str); 6] = [
    ("id", "id"),
    ("created", "createdAt"),
    ("updated", "updatedAt"),
    ("createdUser", "createdBy"),
    ("updatedUser", "updatedBy"),
    ("createdClient", "createdClient"),
];

/// A collection of the Catalog.
pub(crate) trait Shelf: Stored {
    /// Fields that can be filtered and sorted by: the Catalog's name, the stored document's path.
    const FIELDS: &'static [(&'static str, &'static str)];
    /// The document that stands under the id.
    fn view(resource: &Resource<Self>) -> Map<String, Value>;
}

/// The query of a list; for the description of the API.
#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the parameters; `Asked` reads them, because their pairs need care")]
pub(crate) struct ListParams {
    /// The page size: 1 to 100, 20 when absent.
    #[param(example = 20)]
    limit: Option<u32>,
    /// How many are skipped first.
    #[param(example = 0)]
    start: Option<u64>,
    /// `asc:` or `desc:` and fields with `,` between them.
    #[param(example = "desc:created")]
    order_by: Option<String>,
    /// The top-level fields to return, `,` between them.
    properties: Option<String>,
    /// A filter, e.g. `name==orders`; repeated ones all hold. A field's name works as a parameter too: `name=orders`,
    /// where `**` is a star.
    property: Option<Vec<String>>,
    /// Only what was made after this moment, milliseconds since 1970.
    created_after: Option<i64>,
    /// Only what was made before this moment, milliseconds since 1970.
    created_before: Option<i64>,
}

/// What a list of the Catalog is asked for.
#[derive(Debug)]
pub(crate) struct Asked<K> {
    query: ListQuery,
    /// The top-level fields to return, when not all.
    properties: Option<BTreeSet<String>>,
    of: std::marker::PhantomData<fn() -> K>,
}

impl<S: Sync, K: Shelf> FromRequestParts<S> for Asked<K> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Ok(Self::read(&Query::of(parts)?)?)
    }
}

impl<K: Shelf> Asked<K> {
    fn read(query: &Query) -> Result<Self, Refusal> {
        let known: Vec<_> = PARAMETERS.into_iter().chain(fields_of::<K>().map(|(name, _)| name)).collect();
        query.only(&known)?;
        let list = ListQuery {
            filters: filters_of::<K>(query)?,
            order: order_of::<K>(query)?,
            limit: limit_of(query)?,
            skip: number(query, "start")?.or(number(query, "offset")?).unwrap_or_default(),
            after: None,
        };
        let properties =
            query.last("properties").map(|names| names.split(',').map(|name| name.trim().to_owned()).collect());
        Ok(Self { query: list, properties, of: std::marker::PhantomData })
    }
}

/// Lists a collection.
pub(crate) async fn list<K: Shelf>(
    state: &ApiState,
    caller: &Caller,
    asked: Asked<K>,
) -> Result<Json<Map<String, Value>>, ApiError> {
    let page = state.control().list::<K>(caller, &asked.query).await?;
    Ok(Json(keyed(&page.items, asked.properties.as_ref())))
}

/// Shows the resources whose ids stand in a path, `,` between them; those that are not there are left out, none at all
/// is not found.
pub(crate) async fn get<K: Shelf>(
    state: &ApiState,
    caller: &Caller,
    ids: &str,
) -> Result<Json<Map<String, Value>>, ApiError> {
    let missing = || CommandError::Missing(ResourceRef::new(K::COLLECTION, shown(ids)));
    let valid: Vec<String> =
        ids.split(',').filter_map(|id| id.parse::<K::Id>().ok()).map(|id| id.to_string()).collect();
    if valid.is_empty() {
        return Err(missing().into());
    }
    let filter = Filter::parse(&format!("id=={}", valid.join(",")), K::COLLECTION).map_err(Refusal::from)?;
    let query = ListQuery { limit: LIMIT_MAX, ..ListQuery::all() }.with(filter);
    let page = state.control().list::<K>(caller, &query).await?;
    if page.items.is_empty() { Err(missing().into()) } else { Ok(Json(keyed(&page.items, None))) }
}

fn keyed<K: Shelf>(items: &[Resource<K>], properties: Option<&BTreeSet<String>>) -> Map<String, Value> {
    let entry = |resource: &Resource<K>| {
        let mut document = K::view(resource);
        if let Some(properties) = properties {
            document.retain(|name, _| properties.contains(name));
        }
        (resource.id.to_string(), Value::Object(document))
    };
    items.iter().map(entry).collect()
}

fn fields_of<K: Shelf>() -> impl Iterator<Item = (&'static str, &'static str)> {
    ENVELOPE.iter().chain(K::FIELDS).copied()
}

/// The stored path of a field, by the name that the Catalog gives it.
fn path_of<K: Shelf>(name: &str) -> &str {
    fields_of::<K>().find(|(known, _)| *known == name).map_or(name, |(_, path)| path)
}

fn filters_of<K: Shelf>(query: &Query) -> Result<Vec<Filter>, Refusal> {
    let mut texts = query.all("property").map(comparison::<K>).collect::<Result<Vec<_>, _>>()?;
    for (name, path) in fields_of::<K>() {
        for value in query.all(name) {
            let (operator, value) = value.strip_prefix('!').map_or(("==", value), |value| ("!=", value));
            let meant = |value: &str| if name == "name" { whole_name(value) } else { Ok(value.to_owned()) };
            let values = value.split(',').map(|value| Ok(quoted(&meant(value)?)));
            let values = values.collect::<Result<Vec<_>, Refusal>>()?;
            texts.push(format!("{path}{operator}{}", values.join(",")));
        }
    }
    for (name, operator) in [("createdAfter", ">"), ("createdBefore", "<")] {
        texts.extend(number(query, name)?.map(|at_ms| format!("createdAt{operator}{at_ms}")));
    }
    if texts.len() > FILTERS_MAX {
        return Err(Refusal::TooManyFilters(FILTERS_MAX));
    }
    texts.iter().map(|text| Ok(Filter::parse(text, K::COLLECTION)?)).collect()
}

/// A `property` under the name of the stored document. Whether a field exists (`field`, `!field`) can't be asked.
fn comparison<K: Shelf>(text: &str) -> Result<String, Refusal> {
    let (field, rest) = text.split_at(text.find(['=', '!', '<', '>', '~']).unwrap_or(text.len()));
    if rest.is_empty() || field.trim().is_empty() {
        return Err(Refusal::Existence(shown(text)));
    }
    Ok(format!("{}{rest}", path_of::<K>(field.trim())))
}

/// The name that `name=…` asks for: `**` is a star of it; a single one would be a wildcard, which lists don't have.
fn whole_name(value: &str) -> Result<String, Refusal> {
    let parts: Vec<&str> = value.split("**").collect();
    if parts.iter().any(|part| part.contains('*')) { Err(Refusal::Wildcard(shown(value))) } else { Ok(parts.join("*")) }
}

/// Reads `orderBy` (old name `sort`): a direction holds for the fields behind it, ascending to begin with.
fn order_of<K: Shelf>(query: &Query) -> Result<Order, Refusal> {
    let Some(text) = query.last("orderBy").or_else(|| query.last("sort")) else { return Ok(Order::newest_first()) };
    let mut prefix = '+';
    let mut keys = Vec::new();
    for part in text.split(',') {
        let field = match part.split_once(':') {
            Some(("asc", field)) => {
                prefix = '+';
                field
            }
            Some(("desc", field)) => {
                prefix = '-';
                field
            }
            _ => part,
        };
        keys.push(format!("{prefix}{}", path_of::<K>(field.trim())));
    }
    Ok(Order::parse(&keys.join(","), K::COLLECTION)?)
}

/// Unlike in the Flow Service, a page larger than the largest is refused.
fn limit_of(query: &Query) -> Result<u32, Refusal> {
    let refused = Refusal::Number { name: "limit", expected: "a whole number from 1 to 100" };
    match query.last("limit").map(str::parse::<u32>) {
        None => Ok(LIMIT_DEFAULT),
        Some(Ok(limit)) if (1..=LIMIT_MAX).contains(&limit) => Ok(limit),
        Some(_) => Err(refused),
    }
}

fn number(query: &Query, name: &'static str) -> Result<Option<u64>, Refusal> {
    let refused = |_| Refusal::Number { name, expected: "a whole number that is not negative" };
    query.last(name).map(|text| text.parse().map_err(refused)).transpose()
}

#[cfg(test)]
mod tests {
    use headwaters_model::data_set::DataSet;
    use headwaters_model::resource::Kind;
    use proptest::prelude::*;

    use super::*;

    fn read(query: &str) -> Result<Asked<DataSet>, Refusal> {
        Asked::read(&Query::parse(query.as_bytes())?)
    }

    #[test]
    fn the_names_of_the_catalog_become_those_of_the_document() {
        let asked =
            read("property=created>5&name=a,b&createdUser=!x&orderBy=desc:created,name&start=3&limit=7").unwrap();
        let filters: Vec<_> = asked.query.filters.iter().map(Filter::text).collect();
        assert_eq!(filters, ["createdAt>5", "createdBy!=\"x\"", "name==\"a\",\"b\""]);
        assert_eq!((asked.query.skip, asked.query.limit), (3, 7));
        assert_eq!(asked.query.order, Order::parse("-createdAt,-name", DataSet::COLLECTION).unwrap());
    }

    #[test]
    fn a_parameter_that_can_not_be_used_is_refused() {
        for query in ["limit=0", "limit=101", "limit=x", "start=-1", "createdAfter=now", "colour=red", "orderBy=colour"]
        {
            assert!(read(query).is_err(), "{query}");
        }
    }

    #[test]
    fn a_name_is_asked_for_whole_and_its_stars_are_doubled() {
        let filters = |query| -> Vec<String> {
            read(query).unwrap().query.filters.iter().map(|filter| filter.text().to_owned()).collect()
        };
        assert_eq!(filters("name=5**"), ["name==\"5*\""]);
        assert_eq!(filters("name=a%22b&description=*"), ["name==\"a\\\"b\"", "description==\"*\""]);
        for query in ["name=ord*", "name=!*", "name=a,b*c", "name=***"] {
            assert!(matches!(read(query), Err(Refusal::Wildcard(_))), "{query}");
        }
    }

    #[test]
    fn whether_a_field_exists_can_not_be_asked() {
        for query in ["property=name", "property=!name", "property="] {
            assert!(matches!(read(query), Err(Refusal::Existence(_))), "{query}");
        }
    }

    proptest! {
        #[test]
        fn no_query_makes_the_reader_panic(text: String) {
            for name in ["property", "name", "orderBy", "start", "properties"] {
                let _ = read(&format!("{name}={text}"));
            }
        }
    }
}
