//! The query of a request, read the way clients of the hosted platform write it (flow-service.md 1, "Query parsing").

use axum::extract::FromRequestParts;
use http::request::Parts;
use url::form_urlencoded;

use crate::error::{ApiError, Refusal};

/// How many pairs a query or a form may have: more than all filters of a list together, and few enough that reading
/// them costs next to nothing.
pub(crate) const PAIRS_MAX: usize = 256;

/// The decoded pairs of a query or of a form, in their order; [`PAIRS_MAX`] at most.
///
/// Each pair is split at its first `=` only, so that `property=state==enabled` is a filter; `+` and `%20` are a blank;
/// a `%` that begins no escape stands for itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Parses the text behind `?`, or a form. One that has too many pairs is refused, not read in part: what is left out
    /// might be a filter.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, Refusal> {
        let pairs = form_urlencoded::parse(text).map(|(key, value)| (key.into(), value.into()));
        let pairs: Vec<_> = pairs.take(PAIRS_MAX + 1).collect();
        if pairs.len() > PAIRS_MAX { Err(Refusal::TooManyParameters(PAIRS_MAX)) } else { Ok(Self(pairs)) }
    }

    /// The query of a request.
    pub(crate) fn of(request: &Parts) -> Result<Self, Refusal> {
        Self::parse(request.uri.query().unwrap_or_default().as_bytes())
    }

    /// The last value of a parameter: the last one wins (flow-service.md 7.4).
    pub(crate) fn last(&self, key: &str) -> Option<&str> {
        self.0.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// The last value of a parameter whose name may be written in any case.
    pub(crate) fn last_ignoring_case(&self, key: &str) -> Option<&str> {
        self.0.iter().rev().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| value.as_str())
    }

    /// All values of a parameter that may be repeated.
    pub(crate) fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// Refuses parameters other than these (code 1451).
    pub(crate) fn only(&self, known: &[&'static str]) -> Result<(), Refusal> {
        match self.0.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            Some((name, _)) => Err(Refusal::UnknownParameter { name: shown(name), known: known.to_vec() }),
            None => Ok(()),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Ok(Self::of(parts)?)
    }
}

/// A client's text as it may stand in a sentence.
pub(crate) fn shown(text: &str) -> String {
    const CHARS_MAX: usize = 64;
    text.chars().filter(|character| !character.is_control()).take(CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Query {
        Query::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_query_of_very_many_pairs_is_refused_and_not_read_in_part() {
        assert_eq!(Query::parse("a&".repeat(PAIRS_MAX).as_bytes()).unwrap().0.len(), PAIRS_MAX);
        for pairs in [PAIRS_MAX + 1, 1_000_000] {
            assert_eq!(Query::parse("a&".repeat(pairs).as_bytes()), Err(Refusal::TooManyParameters(PAIRS_MAX)));
        }
    }

    #[test]
    fn a_pair_is_split_at_its_first_equals_sign() {
        for text in ["property=name==\"my sql\"", "property=name==%22my%20sql%22", "property=name%3D%3D%22my+sql%22"] {
            assert_eq!(parse(text).last("property"), Some("name==\"my sql\""), "{text}");
        }
    }

    #[test]
    fn repeated_parameters_keep_their_order_and_the_last_one_wins() {
        let query = parse("property=a==1&limit=2&property=b>3&limit=5&count");
        assert_eq!(query.all("property").collect::<Vec<_>>(), ["a==1", "b>3"]);
        assert_eq!(query.last("limit"), Some("5"));
        assert_eq!(query.last("count"), Some(""));
    }

    #[test]
    fn a_percent_sign_that_begins_no_escape_stands_for_itself() {
        assert_eq!(parse("a=5%&b=%zz").last("a"), Some("5%"));
        assert_eq!(parse("a=5%&b=%zz").last("b"), Some("%zz"));
    }

    proptest! {
        #[test]
        fn no_query_makes_the_parser_panic(bytes: Vec<u8>) {
            let _ = Query::parse(&bytes).and_then(|query| query.only(&["limit"]));
        }

        #[test]
        fn what_was_encoded_comes_back(key in "[a-z]{1,8}", value: String) {
            let text = form_urlencoded::Serializer::new(String::new()).append_pair(&key, &value).finish();
            let query = parse(&text);
            prop_assert_eq!(query.last(&key), Some(value.as_str()));
        }
    }
}
