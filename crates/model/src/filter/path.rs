//! Paths into documents: `params.columns[].name`.

use std::fmt;

use serde_json::Value;

use crate::filter::FilterError;
use crate::resource::Collection;

/// The most segments of a path.
pub const PATH_SEGMENTS_MAX: usize = 16;
/// Where in a document to look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path(Vec<Segment>);

/// One step into a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The key.
    pub name: String,
    /// Whether its value is an array and every element is looked at (`name[]`).
    pub each: bool,
}

impl Path {
    /// Reads a path: keys with dots between them, `[]` behind those whose elements are looked at.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let unknown = || FilterError::UnknownField { field: text.to_owned() };
        let segments = text.split('.').map(|part| {
            let (name, each) = part.strip_suffix("[]").map_or((part, false), |name| (name, true));
            // What could end a quoted key in a JSON path of the store's dialects is no part of a field's name.
            let odd = |c: char| matches!(c, '"' | '\\' | '[' | ']' | ',' | '\'') || c.is_control() || c.is_whitespace();
            if name.is_empty() || name.contains(odd) {
                Err(unknown())
            } else {
                Ok(Segment { name: name.to_owned(), each })
            }
        });
        let segments = segments.collect::<Result<Vec<_>, _>>()?;
        if segments.len() > PATH_SEGMENTS_MAX {
            return Err(FilterError::TooLarge { limit: format!("at most {PATH_SEGMENTS_MAX} segments in a path") });
        }
        Ok(Self(segments))
    }

    /// The path of one key, for callers of our own.
    #[must_use]
    pub fn single(name: &'static str) -> Self {
        Self(vec![Segment { name: name.to_owned(), each: false }])
    }

    /// The steps; at least one.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// The first key.
    #[must_use]
    pub fn root(&self) -> &str {
        self.0.first().map_or("", |segment| &segment.name)
    }

    /// Whether text there is compared without regard to case: states and statuses (flow-service.md 7.2).
    #[must_use]
    pub fn ignores_case(&self) -> bool {
        let text = self.to_string();
        matches!(text.as_str(), "state" | "metrics.statusSummary.status" | "lastRunDetails.state")
    }

    /// The same place by its real name: runs have no `state`, it means their status (flow-service.md 7.2).
    #[must_use]
    pub fn resolved_in(self, collection: Collection) -> Self {
        if collection == Collection::Runs && self.to_string() == "state" {
            let names = ["metrics", "statusSummary", "status"];
            return Self(names.map(|name| Segment { name: name.to_owned(), each: false }).into());
        }
        self
    }

    /// The value there, when the path names a single place.
    #[must_use]
    pub fn value_in<'a>(&self, document: &'a Value) -> Option<&'a Value> {
        self.0.iter().try_fold(document, |value, segment| if segment.each { None } else { value.get(&segment.name) })
    }

    /// Whether values there are milliseconds since 1970 in the envelope.
    #[must_use]
    pub fn is_envelope_time(&self) -> bool {
        matches!(self.to_string().as_str(), "createdAt" | "updatedAt")
    }

    /// Whether values there name something, so that their order means nothing.
    pub(super) fn is_name_of_something(&self) -> bool {
        let last = self.0.last().map_or("", |segment| segment.name.as_str());
        last == "id" || last.ends_with("Id") || last.ends_with("Ids")
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, segment) in self.0.iter().enumerate() {
            let dot = if place == 0 { "" } else { "." };
            write!(f, "{dot}{}{}", segment.name, if segment.each { "[]" } else { "" })?;
        }
        Ok(())
    }
}
