//! Order, size and continuation of lists (flow-service.md 7.3–7.5).
//!
//! Paging is by key: a page ends at the sort values and the id of its last item, and the next one begins after them.
//! **Invariant.** The id is the last sort key of every order, so no two documents are equal in it and none is skipped
//! or shown twice while the list stands still.

use std::cmp::Ordering;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::filter::{FILTERS_MAX, Filter, Num, Path, Property};
use crate::resource::Collection;

/// The page size of a list when the client names none.
pub const LIMIT_DEFAULT: u32 = 20;
/// The largest page of a list; larger wishes are cut to it.
pub const LIMIT_MAX: u32 = 100;
/// The largest page of a search.
pub const SEARCH_LIMIT_MAX: u32 = 1000;
/// The most sort keys of one list, the id not counted.
pub const ORDER_KEYS_MAX: usize = 8;
/// The longest continuation token, in bytes.
pub const TOKEN_BYTES_MAX: usize = 16_384;

/// Which way a sort key runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Small ones first, absent ones before all.
    Ascending,
    /// Large ones first, absent ones last.
    Descending,
}

/// One sort key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SortKey {
    /// Where the value stands.
    pub path: Path,
    /// Which way it runs.
    pub direction: Direction,
}

/// The order of a list: the keys that were asked for; [`Order::keys`] adds the id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    text: String,
    keys: Vec<SortKey>,
}

/// Why `orderby` is refused (flow-service.md 3.4).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// A prefix that is neither `+` nor `-` (1432).
    #[error("orderby has an unknown prefix: {0}; use +field, -field or field")]
    UnknownPrefix(char),
    /// The documents have no such field (1433).
    #[error("orderby has an unknown field: {0}")]
    UnknownField(String),
    /// Too many keys (1452).
    #[error("orderby takes at most {ORDER_KEYS_MAX} fields")]
    TooManyKeys,
}

/// A `limit` that is not a positive whole number (1452).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("limit is not a positive whole number")]
pub struct InvalidLimit;

/// A continuation token that we did not make, or not for this list (1452).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the continuation token is not valid: take it as it stands from _links.next.href")]
pub struct InvalidToken;

/// What a list is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct ListQuery {
    /// All of them hold.
    pub filters: Vec<Filter>,
    /// In this order.
    pub order: Order,
    /// At most so many, at least one.
    pub limit: u32,
    /// How many are skipped first; the Catalog pages by offset (platform-services.md 2.2), the Flow Service never.
    pub skip: u64,
    /// After the item with these sort values, the id being the last.
    pub after: Option<Vec<Value>>,
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// The sort values of the last item when more follow.
    pub next: Option<Vec<Value>>,
}

impl Order {
    /// Reads `orderby`: fields with commas between them, each with `+`, `-` or nothing before it.
    pub fn parse(text: &str, collection: Collection) -> Result<Self, OrderError> {
        let keys = text.split(',').map(|part| SortKey::parse(part, collection)).collect::<Result<Vec<_>, _>>()?;
        if keys.len() > ORDER_KEYS_MAX {
            return Err(OrderError::TooManyKeys);
        }
        Ok(Self { text: text.to_owned(), keys })
    }

    /// The most recent first (flow-service.md 7.3).
    #[must_use]
    pub fn newest_first() -> Self {
        let path = Path::single("createdAt");
        Self { text: "-createdAt".to_owned(), keys: vec![SortKey { path, direction: Direction::Descending }] }
    }

    /// All sort keys, the last of them being the id, in the direction of the key before it.
    #[must_use]
    pub fn keys(&self) -> Vec<SortKey> {
        let direction = self.keys.last().map_or(Direction::Descending, |key| key.direction);
        let id = SortKey { path: Path::single("id"), direction };
        self.keys.iter().cloned().chain([id]).collect()
    }

    /// The sort values of a document.
    #[must_use]
    pub fn values_of(&self, document: &Value) -> Vec<Value> {
        self.keys().iter().map(|key| key.value_of(document)).collect()
    }

    /// Compares two lists of sort values.
    #[must_use]
    pub fn compare(&self, left: &[Value], right: &[Value]) -> Ordering {
        let pairs = self.keys().into_iter().zip(left.iter().zip(right));
        pairs
            .map(|(key, (left, right))| key.direction.apply(compare(left, right)))
            .fold(Ordering::Equal, Ordering::then)
    }
}

impl SortKey {
    /// A blank before the field is a `+` that was not encoded, or one behind a comma: both say nothing.
    fn parse(text: &str, collection: Collection) -> Result<Self, OrderError> {
        let text = text.trim();
        let (direction, name) = match text.chars().next() {
            Some('-') => (Direction::Descending, text.get(1..).unwrap_or_default()),
            Some('+') => (Direction::Ascending, text.get(1..).unwrap_or_default()),
            Some(c) if !(c.is_alphanumeric() || matches!(c, '_' | '@' | '$')) => {
                return Err(OrderError::UnknownPrefix(c));
            }
            _ => (Direction::Ascending, text),
        };
        let name = name.trim();
        let unknown = || OrderError::UnknownField(name.to_owned());
        let path = Path::parse(name).map_err(|_| unknown())?;
        let single = path.segments().iter().all(|segment| !segment.each);
        // The alias of a filter is one here too: a run's `state` is its status.
        let path = path.resolved_in(collection);
        if single && collection.knows_field(path.root()) { Ok(Self { path, direction }) } else { Err(unknown()) }
    }

    /// The value by which a document is sorted: a number, a text, or null for all else. True and false are sorted by
    /// their names, as they are filtered.
    fn value_of(&self, document: &Value) -> Value {
        match self.path.value_in(document) {
            Some(Value::Bool(flag)) => flag.to_string().into(),
            Some(value @ (Value::Number(_) | Value::String(_))) => value.clone(),
            _ => Value::Null,
        }
    }
}

impl Direction {
    fn apply(self, ordering: Ordering) -> Ordering {
        match self {
            Self::Ascending => ordering,
            Self::Descending => ordering.reverse(),
        }
    }
}

/// Compares sort values: absent ones before numbers, numbers before texts.
fn compare(left: &Value, right: &Value) -> Ordering {
    let rank = |value: &Value| match value {
        Value::Number(_) => 1,
        Value::String(_) => 2,
        _ => 0,
    };
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => Num::of(left).compare(Num::of(right)).unwrap_or(Ordering::Equal),
        (Value::String(left), Value::String(right)) => left.cmp(right),
        _ => rank(left).cmp(&rank(right)),
    }
}

/// Reads `limit`: 1 and more, cut to `max`.
pub fn parse_limit(text: &str, max: u32) -> Result<u32, InvalidLimit> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // A number that does not fit is larger than every maximum.
    let limit = if digits { text.parse().unwrap_or(u32::MAX) } else { 0 };
    if limit == 0 { Err(InvalidLimit) } else { Ok(limit.min(max)) }
}

/// What a token carries. Short keys, because it travels in addresses.
#[derive(Serialize, Deserialize)]
struct Token {
    #[serde(rename = "c")]
    collection: Collection,
    #[serde(rename = "f")]
    filters: Vec<String>,
    #[serde(rename = "o")]
    order: String,
    #[serde(rename = "l")]
    limit: u32,
    #[serde(rename = "k")]
    after: Vec<Value>,
}

impl ListQuery {
    /// Everything, the most recent first, in pages of the default size.
    #[must_use]
    pub fn all() -> Self {
        Self { filters: Vec::new(), order: Order::newest_first(), limit: LIMIT_DEFAULT, skip: 0, after: None }
    }

    /// Adds a filter, for callers of our own.
    #[must_use]
    pub fn with(mut self, filter: Filter) -> Self {
        self.filters.push(filter);
        self
    }

    /// The token that asks for the page after these sort values: URL-safe, without padding, so that a client may take
    /// the text after the first `=` of a link (flow-service.md 7.4).
    #[must_use]
    pub fn token(&self, collection: Collection, after: Vec<Value>) -> String {
        let filters = self.filters.iter().map(|filter| filter.text().to_owned()).collect();
        let token = Token { collection, filters, order: self.order.text.clone(), limit: self.limit, after };
        let json = serde_json::to_vec(&token);
        // Names, texts and JSON values: there is nothing in a token that can not be serialised.
        URL_SAFE_NO_PAD.encode(json.unwrap_or_else(|error| unreachable!("a token serialises: {error}")))
    }

    /// The query that a token asks for; it carries filters, order and limit itself.
    pub fn from_token(text: &str, collection: Collection) -> Result<Self, InvalidToken> {
        if text.len() > TOKEN_BYTES_MAX {
            return Err(InvalidToken);
        }
        let json = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidToken)?;
        let token: Token = serde_json::from_slice(&json).map_err(|_| InvalidToken)?;
        let order = Order::parse(&token.order, collection).map_err(|_| InvalidToken)?;
        let filters = token.filters.iter().map(|text| match Property::parse(text, collection) {
            Ok(Property::Filter(filter)) => Ok(filter),
            _ => Err(InvalidToken),
        });
        let filters = filters.collect::<Result<Vec<_>, _>>()?;
        let scalar = |value: &Value| matches!(value, Value::Null | Value::Number(_) | Value::String(_));
        let fits = token.collection == collection
            && filters.len() <= FILTERS_MAX
            && (1..=SEARCH_LIMIT_MAX).contains(&token.limit)
            && token.after.len() == order.keys().len()
            && token.after.iter().all(scalar)
            && token.after.last().is_some_and(Value::is_string);
        let query = Self { filters, order, limit: token.limit, skip: 0, after: Some(token.after) };
        if fits { Ok(query) } else { Err(InvalidToken) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn order(text: &str) -> Result<Order, OrderError> {
        Order::parse(text, Collection::Flows)
    }

    #[test]
    fn fields_are_read_with_every_documented_prefix() {
        let keys = order("-createdAt,+name, state, -updatedAt,flowSpec.id").unwrap().keys();
        let shown: Vec<_> = keys.iter().map(|key| (key.path.to_string(), key.direction)).collect();
        use Direction::{Ascending, Descending};
        let expected = [
            ("createdAt", Descending),
            ("name", Ascending),
            ("state", Ascending),
            ("updatedAt", Descending),
            ("flowSpec.id", Ascending),
            ("id", Ascending),
        ];
        assert_eq!(shown, expected.map(|(name, direction)| (name.to_owned(), direction)));
    }

    #[test]
    fn a_bad_order_is_refused_with_its_cause() {
        assert_eq!(order("*name"), Err(OrderError::UnknownPrefix('*')));
        assert_eq!(order("colour"), Err(OrderError::UnknownField("colour".into())));
        assert_eq!(order(""), Err(OrderError::UnknownField(String::new())));
        assert_eq!(order("sourceConnectionIds[]"), Err(OrderError::UnknownField("sourceConnectionIds[]".into())));
        assert_eq!(order(&["name"; 9].join(",")), Err(OrderError::TooManyKeys));
    }

    #[test]
    fn limits_are_cut_or_refused() {
        assert_eq!(parse_limit("7", LIMIT_MAX), Ok(7));
        assert_eq!(parse_limit("101", LIMIT_MAX), Ok(100));
        assert_eq!(parse_limit("99999999999", LIMIT_MAX), Ok(100));
        for text in ["0", "-1", "+5", "many", "", "1.5"] {
            assert_eq!(parse_limit(text, LIMIT_MAX), Err(InvalidLimit), "{text}");
        }
    }

    #[test]
    fn a_token_brings_the_whole_query_back() {
        let filter = Filter::parse("name==\"a, b\"", Collection::Flows).unwrap();
        let query = ListQuery { order: order("-name").unwrap(), limit: 7, ..ListQuery::all() }.with(filter);
        let after = vec![json!("ä/+"), json!("7d0a6a1e-3a3f-4b57-8a44-1d4c2c1f8a01")];
        let token = query.token(Collection::Flows, after.clone());
        assert!(!token.contains(['=', '&', '+', '/', '%', '#']), "{token}");
        let expected = ListQuery { after: Some(after), ..query };
        assert_eq!(ListQuery::from_token(&token, Collection::Flows), Ok(expected));
        assert_eq!(ListQuery::from_token(&token, Collection::Runs), Err(InvalidToken));
    }

    proptest! {
        #[test]
        fn no_text_makes_a_token_panic(text: String, bytes: Vec<u8>) {
            let _ = ListQuery::from_token(&text, Collection::Flows);
            let _ = ListQuery::from_token(&URL_SAFE_NO_PAD.encode(bytes), Collection::Flows);
        }

        #[test]
        fn the_order_of_documents_is_total(names in proptest::collection::vec((0u8..3, any::<bool>()), 3)) {
            let order = order("-name").unwrap();
            let document = |(id, (name, text)): (usize, &(u8, bool))| {
                json!({ "id": id.to_string(), "name": if *text { json!(name.to_string()) } else { json!(name) } })
            };
            let mut keys: Vec<_> = names.iter().enumerate().map(document).map(|doc| order.values_of(&doc)).collect();
            keys.sort_by(|left, right| order.compare(left, right));
            prop_assert!(keys.is_sorted_by(|left, right| order.compare(left, right) == Ordering::Less));
        }
    }
}
