//! The query of a request, read the way clients of the hosted platform write it (flow-service.md 1, "Query parsing").

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::request::Parts;
use url::form_urlencoded;

use crate::error::Refusal;

/// The decoded pairs of a query or of a form, in their order.
///
/// Each pair is split at its first `=` only, so that `property=state==enabled` is a filter; `+` and `%20` are a blank;
/// a `%` that begins no escape stands for itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Parses the text behind `?`, or a form.
    pub(crate) fn parse(text: &[u8]) -> Self {
        Self(form_urlencoded::parse(text).map(|(key, value)| (key.into(), value.into())).collect())
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
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::parse(parts.uri.query().unwrap_or_default().as_bytes()))
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

    #[test]
    fn a_pair_is_split_at_its_first_equals_sign() {
        for text in ["property=name==\"my sql\"", "property=name==%22my%20sql%22", "property=name%3D%3D%22my+sql%22"] {
            assert_eq!(Query::parse(text.as_bytes()).last("property"), Some("name==\"my sql\""), "{text}");
        }
    }

    #[test]
    fn repeated_parameters_keep_their_order_and_the_last_one_wins() {
        let query = Query::parse(b"property=a==1&limit=2&property=b>3&limit=5&count");
        assert_eq!(query.all("property").collect::<Vec<_>>(), ["a==1", "b>3"]);
        assert_eq!(query.last("limit"), Some("5"));
        assert_eq!(query.last("count"), Some(""));
    }

    #[test]
    fn a_percent_sign_that_begins_no_escape_stands_for_itself() {
        assert_eq!(Query::parse(b"a=5%&b=%zz").last("a"), Some("5%"));
        assert_eq!(Query::parse(b"a=5%&b=%zz").last("b"), Some("%zz"));
    }

    proptest! {
        #[test]
        fn no_query_makes_the_parser_panic(bytes: Vec<u8>) {
            let query = Query::parse(&bytes);
            let _ = query.only(&["limit"]);
        }

        #[test]
        fn what_was_encoded_comes_back(key in "[a-z]{1,8}", value: String) {
            let text = form_urlencoded::Serializer::new(String::new()).append_pair(&key, &value).finish();
            let query = Query::parse(text.as_bytes());
            prop_assert_eq!(query.last(&key), Some(value.as_str()));
        }
    }
}
