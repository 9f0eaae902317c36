//! The `property` filters of lists (flow-service.md 7.2).
//!
//! [`Filter::matches`] on a document is the reference; the store's SQL must select the same rows, which a property test
//! over both holds it to.

mod literal;
mod path;

use std::cmp::Ordering;

use serde_json::Value;

use crate::resource::Collection;

pub use literal::{Literal, Num};
pub use path::{PATH_SEGMENTS_MAX, Path, Segment};

/// The longest text of one filter, in bytes.
pub const FILTER_BYTES_MAX: usize = 4096;
/// The most values of one filter.
pub const FILTER_VALUES_MAX: usize = 100;
/// The most filters of one list.
pub const FILTERS_MAX: usize = 20;

/// Root fields that documents are shown with and that are stored nowhere: they can be returned, not filtered by.
const SHOWN_ONLY: [(Collection, &str); 1] = [(Collection::Flows, "runs")];

/// What a `property` parameter says: with an operator it selects documents, without one it selects fields.
#[derive(Debug, Clone, PartialEq)]
pub enum Property {
    /// Which documents.
    Filter(Filter),
    /// Which top-level fields of them, `id` always being one.
    Projection(Vec<String>),
}

/// One condition on a document.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    text: String,
    path: Path,
    operator: Operator,
    values: Vec<Literal>,
}

/// How the value at the path stands to the values of the filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// Any of them; written `==` or `=`.
    Equal,
    /// None of them, or there is no value.
    NotEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
}

/// Why a `property` parameter is refused; each has a documented code (flow-service.md 3.4).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// Nothing stands right of the operator (1453).
    #[error("filter on {field} has no value right of its operator")]
    MissingValue {
        /// The path.
        field: String,
    },
    /// No such operator (1450).
    #[error("filter has an unknown operator: {operator}")]
    UnknownOperator {
        /// What stands in its place.
        operator: String,
    },
    /// The documents have no such field, or the path is not one (1449).
    #[error("unknown field: {field}")]
    UnknownField {
        /// The path.
        field: String,
    },
    /// The operator `~` (1440).
    #[error("operator ~ is not implemented; use == with the whole value")]
    ContainsNotImplemented,
    /// A range operator with several values (1443).
    #[error("operator {operator} on {field} takes a single value")]
    RangeWithList {
        /// The path.
        field: String,
        /// The operator.
        operator: &'static str,
    },
    /// A range operator on a field that names something (1448).
    #[error("operator {operator} is not possible on {field}; use == or !=")]
    RangeNotPossible {
        /// The path.
        field: String,
        /// The operator.
        operator: &'static str,
    },
    /// A value that the field can not have (1452).
    #[error("invalid value for {field}: {expected}")]
    InvalidValue {
        /// The path.
        field: String,
        /// What would be valid.
        expected: &'static str,
    },
    /// A limit of ours is passed (1452).
    #[error("the filter is too large: {limit}")]
    TooLarge {
        /// The limit.
        limit: String,
    },
}

impl Property {
    /// Reads one `property` parameter of a list of this collection, percent-decoded.
    pub fn parse(text: &str, collection: Collection) -> Result<Self, FilterError> {
        if text.len() > FILTER_BYTES_MAX {
            return Err(FilterError::TooLarge { limit: format!("at most {FILTER_BYTES_MAX} bytes") });
        }
        let text = text.trim();
        let is_operator = |c: char| matches!(c, '=' | '!' | '<' | '>' | '~');
        match text.find(is_operator) {
            Some(at) => Filter::parse_at(text, at, collection).map(Self::Filter),
            None => projection(text, collection).map(Self::Projection),
        }
    }
}

impl Filter {
    /// Reads a filter; a projection is refused as a filter without an operator.
    pub fn parse(text: &str, collection: Collection) -> Result<Self, FilterError> {
        match Property::parse(text, collection)? {
            Property::Filter(filter) => Ok(filter),
            Property::Projection(_) => Err(FilterError::UnknownOperator { operator: String::new() }),
        }
    }

    fn parse_at(text: &str, at: usize, collection: Collection) -> Result<Self, FilterError> {
        let (field, rest) = text.split_at(at);
        let field = field.trim();
        let (operator, length) = operator_at(rest)?;
        let path = Path::parse(field)?.resolved_in(collection);
        if !collection.knows_field(path.root()) {
            return Err(FilterError::UnknownField { field: field.to_owned() });
        }
        let texts = split_values(field, rest.get(length..).unwrap_or_default().trim())?;
        let values: Vec<Literal> = texts.into_iter().map(Literal::new).collect();
        check_values(field, &path, operator, &values)?;
        Ok(Self { text: text.to_owned(), path, operator, values })
    }

    /// The filter as it was written; a page token repeats it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Where it looks.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How it compares.
    #[must_use]
    pub fn operator(&self) -> Operator {
        self.operator
    }

    /// What it compares with; a range has exactly one.
    #[must_use]
    pub fn values(&self) -> &[Literal] {
        &self.values
    }

    /// Whether a document is selected.
    ///
    /// `!=` is exactly the opposite of `==`: an absent value matches it, and of an array no element may be equal.
    #[must_use]
    pub fn matches(&self, document: &Value) -> bool {
        let any = any_at(document, self.path.segments(), &|value| self.compares(value));
        any != (self.operator == Operator::NotEqual)
    }

    fn compares(&self, value: &Value) -> bool {
        let fold = self.path.ignores_case();
        self.values.iter().any(|literal| match self.operator {
            Operator::Equal | Operator::NotEqual => literal.equals(value, fold),
            Operator::Greater => literal.order(value, fold).is_some_and(Ordering::is_gt),
            Operator::GreaterOrEqual => literal.order(value, fold).is_some_and(Ordering::is_ge),
            Operator::Less => literal.order(value, fold).is_some_and(Ordering::is_lt),
            Operator::LessOrEqual => literal.order(value, fold).is_some_and(Ordering::is_le),
        })
    }
}

impl Operator {
    /// How it is written.
    #[must_use]
    pub const fn sign(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
        }
    }

    const fn is_range(self) -> bool {
        !matches!(self, Self::Equal | Self::NotEqual)
    }
}

fn any_at(value: &Value, path: &[Segment], test: &dyn Fn(&Value) -> bool) -> bool {
    let Some((segment, rest)) = path.split_first() else { return test(value) };
    match value.get(&segment.name) {
        None => false,
        Some(Value::Array(elements)) if segment.each => elements.iter().any(|element| any_at(element, rest, test)),
        Some(_) if segment.each => false,
        Some(inner) => any_at(inner, rest, test),
    }
}

/// The operator at the start of a text, longest match first, and its length.
fn operator_at(rest: &str) -> Result<(Operator, usize), FilterError> {
    const SIGNS: [(&str, Operator); 7] = [
        ("==", Operator::Equal),
        ("!=", Operator::NotEqual),
        (">=", Operator::GreaterOrEqual),
        ("<=", Operator::LessOrEqual),
        (">", Operator::Greater),
        ("<", Operator::Less),
        ("=", Operator::Equal),
    ];
    if rest.starts_with('~') {
        return Err(FilterError::ContainsNotImplemented);
    }
    let found = SIGNS.iter().find(|(sign, _)| rest.starts_with(sign));
    let length = found.map_or(0, |(sign, _)| sign.len());
    let glued = rest.get(length..).is_some_and(|value| value.starts_with(['=', '!', '<', '>', '~']));
    match found {
        Some((_, operator)) if !glued => Ok((*operator, length)),
        _ => {
            let operator = rest.chars().take_while(|c| matches!(c, '=' | '!' | '<' | '>' | '~')).take(8).collect();
            Err(FilterError::UnknownOperator { operator })
        }
    }
}

fn split_values(field: &str, text: &str) -> Result<Vec<String>, FilterError> {
    let mut values = Vec::new();
    let mut rest = text;
    loop {
        let (value, after) = next_value(field, rest)?;
        values.push(value);
        if values.len() > FILTER_VALUES_MAX {
            return Err(FilterError::TooLarge { limit: format!("at most {FILTER_VALUES_MAX} values") });
        }
        match after.strip_prefix(',') {
            Some(more) => rest = more.trim_start(),
            None if after.is_empty() => return Ok(values),
            None => return Err(invalid(field, "a comma or nothing after a closing quote")),
        }
    }
}

/// The value at the start of a text, without its quotes, and what follows it.
fn next_value<'a>(field: &str, text: &'a str) -> Result<(String, &'a str), FilterError> {
    if let Some(quoted) = text.strip_prefix('"') {
        let (inner, after) = unquoted(quoted).ok_or_else(|| invalid(field, "a closing quote"))?;
        return Ok((inner, after.trim_start()));
    }
    let end = text.find(',').unwrap_or(text.len());
    let (bare, after) = text.split_at(end);
    if bare.trim().is_empty() {
        return Err(FilterError::MissingValue { field: field.to_owned() });
    }
    Ok((bare.trim().to_owned(), after))
}

/// The text before the closing quote, and what follows that quote. `\"` is a quote and `\\` a backslash of the text; a
/// backslash before anything else stands for itself, as clients send it.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut inner = String::new();
    let mut characters = text.chars();
    loop {
        match characters.next()? {
            '"' => return Some((inner, characters.as_str())),
            '\\' if characters.as_str().starts_with(['"', '\\']) => inner.extend(characters.next()),
            character => inner.push(character),
        }
    }
}

/// A text as a value of a filter: in quotes, so that nothing in it is taken for anything else.
#[must_use]
pub fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', r"\\").replace('"', "\\\""))
}

fn check_values(field: &str, path: &Path, operator: Operator, values: &[Literal]) -> Result<(), FilterError> {
    let sign = operator.sign();
    if path.is_envelope_time() {
        let [value] = values else { return Err(invalid(field, "a single number of milliseconds")) };
        return value.number().map(|_| ()).ok_or_else(|| invalid(field, "a number of milliseconds"));
    }
    if operator.is_range() && path.is_name_of_something() {
        return Err(FilterError::RangeNotPossible { field: field.to_owned(), operator: sign });
    }
    if operator.is_range() && values.len() > 1 {
        return Err(FilterError::RangeWithList { field: field.to_owned(), operator: sign });
    }
    Ok(())
}

/// The fields to return. An alias is the field that its place is in.
fn projection(text: &str, collection: Collection) -> Result<Vec<String>, FilterError> {
    let field = |name: &str| {
        let name = name.trim();
        let root = Path::parse(name)?.resolved_in(collection).root().to_owned();
        let single = !name.contains(['.', '[']);
        let known = collection.knows_field(&root) || SHOWN_ONLY.contains(&(collection, name));
        if single && known { Ok(root) } else { Err(FilterError::UnknownField { field: name.to_owned() }) }
    };
    text.split(',').map(field).collect()
}

fn invalid(field: &str, expected: &'static str) -> FilterError {
    FilterError::InvalidValue { field: field.to_owned(), expected }
}

#[cfg(test)]
mod tests;
