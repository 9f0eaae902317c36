//! The row filter of a source connection: a PQL document in JSON (flow-service.md 14.3).
//!
//! Parsing is pure: it knows neither columns nor SQL. Whether the columns exist and take the literals is decided by the
//! source, which binds every literal as a parameter.

use serde_json::{Map, Number, Value};

/// How deep functions may stand inside each other.
pub const FILTER_DEPTH_MAX: usize = 32;
/// How many functions a filter may hold.
pub const FILTER_FUNCTIONS_MAX: usize = 1_000;
/// How many literals a filter may hold, those of `in` lists counted one by one.
pub const FILTER_LITERALS_MAX: usize = 10_000;

/// Query languages that are not the one of this filter; a `type` that names none of them is a slip.
const LANGUAGES: &[&str] = &[
    "SQL", "ESQL", "SOQL", "NoSQL", "HQL", "CQL", "KQL", "JQL", "GQL", "GraphQL", "OData", "XPath", "JSONPath", "MDX",
];

/// Functions of PQL that are not of the grammar of row filters, in lower case.
#[rustfmt::skip]
const WITHOUT_NATIVE_FORM: &[&str] = &[
    // Texts.
    "startswith", "doesnotstartwith", "endswith", "doesnotendwith", "contains", "doesnotcontain", "equals",
    "notequalto", "matches", "regexgroup",
    // Nothing at all.
    "isnotnull", "coalesce",
    // Arithmetic and conditions.
    "+", "-", "*", "/", "%", "if",
    // Lists and maps.
    "notin", "intersects", "intersection", "subset", "superset", "includes", "distinct", "groupby", "filter", "map",
    "topn", "bottomn", "first", "last", "reverse", "get", "keys", "values", "exists", "forall",
    // Aggregates.
    "count", "sum", "sumof", "average", "min", "max",
    // Moments.
    "now", "occurs", "currentmonth", "getmonth", "currentyear", "getyear", "currentdayofmonth", "getdayofmonth",
];

/// A condition on the columns of a row.
#[derive(Debug, Clone, PartialEq)]
pub enum RowFilter {
    /// A column compared with a literal.
    Compare {
        /// The column as the client spelt it.
        column: String,
        /// How.
        comparison: Comparison,
        /// With what.
        literal: Literal,
    },
    /// A column that matches a pattern of `%` and `_`.
    Like {
        /// The column as the client spelt it.
        column: String,
        /// The pattern.
        pattern: String,
    },
    /// A column that equals one of several literals; never empty.
    In {
        /// The column as the client spelt it.
        column: String,
        /// The literals.
        literals: Vec<Literal>,
    },
    /// A column without a value.
    IsNull {
        /// The column as the client spelt it.
        column: String,
    },
    /// All of them; never empty.
    And(Vec<Self>),
    /// At least one of them; never empty.
    Or(Vec<Self>),
    /// Not this one, which holds a single comparison.
    Not(Box<Self>),
}

/// How a column is compared with a literal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `=`, also spelt `==`.
    Equal,
    /// `!=`; rows without a value drop out, as in SQL.
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

/// A value of the document.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    /// For text, dates and moments (UTC).
    Text(String),
    /// For numbers.
    Number(Number),
    /// For booleans.
    Boolean(bool),
}

/// What is wrong with a filter: one cause per documented code (flow-service.md 3.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilterCause {
    /// Its structure.
    Invalid,
    /// A function without a name.
    NoOperator,
    /// A function that is not in the grammar.
    UnsupportedOperator,
    /// A function of the language that has no form in the language of the source.
    NoNativeForm,
    /// `type` names another query language.
    Language,
    /// `type` is not `PQL`.
    Type,
    /// `format` is not `pql/json`.
    Format,
    /// `value` is missing.
    NoValue,
    /// A null with an operator.
    NullLiteral,
    /// `not` with more than one comparison.
    NotWithSeveral,
}

impl FilterCause {
    /// The documented number in the code space `CONNECTOR`; the status is 400.
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Self::Invalid => 1349,
            Self::NoOperator => 1350,
            Self::UnsupportedOperator => 1351,
            Self::NoNativeForm => 1352,
            Self::Language => 1354,
            Self::Type => 1355,
            Self::Format => 1356,
            Self::NoValue => 1357,
            Self::NullLiteral => 1377,
            Self::NotWithSeveral => 1390,
        }
    }
}

/// Where a filter is wrong, and how.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("row filter{}: {reason}", if .pointer.is_empty() { String::new() } else { format!(" at {}", .pointer) })]
pub struct FilterError {
    /// What kind of wrong.
    pub cause: FilterCause,
    /// The JSON pointer of the node inside the document.
    pub pointer: String,
    /// One sentence, lower case, no full stop.
    pub reason: String,
}

impl RowFilter {
    /// Reads the document `{"type":"PQL","format":"pql/json","value":…}`.
    pub fn parse(document: &Value) -> Result<Self, FilterError> {
        let at = Place::root();
        let Value::Object(envelope) = document else {
            return at.error(FilterCause::Invalid, "a filter is an object with type, format and value");
        };
        match envelope.get("type").and_then(Value::as_str) {
            Some("PQL") => {}
            Some(other) if LANGUAGES.iter().any(|language| language.eq_ignore_ascii_case(other)) => {
                return at.child("type").error(FilterCause::Language, "the query language must be PQL");
            }
            _ => return at.child("type").error(FilterCause::Type, "the type must be PQL"),
        }
        if envelope.get("format").and_then(Value::as_str) != Some("pql/json") {
            return at.child("format").error(FilterCause::Format, "the format must be pql/json");
        }
        match envelope.get("value") {
            None | Some(Value::Null) => at.child("value").error(FilterCause::NoValue, "the value is required"),
            Some(node) => Parser::default().function(node, &at.child("value"), 1),
        }
    }

    /// How many comparisons stand in it.
    #[must_use]
    pub fn comparisons(&self) -> usize {
        match self {
            Self::Compare { .. } | Self::Like { .. } | Self::In { .. } | Self::IsNull { .. } => 1,
            Self::And(nodes) | Self::Or(nodes) => nodes.iter().map(Self::comparisons).sum(),
            Self::Not(node) => node.comparisons(),
        }
    }
}

#[derive(Debug, Clone)]
struct Place(String);

impl Place {
    fn root() -> Self {
        Self(String::new())
    }

    fn child(&self, step: impl std::fmt::Display) -> Self {
        Self(format!("{}/{step}", self.0))
    }

    fn error<T>(&self, cause: FilterCause, reason: impl Into<String>) -> Result<T, FilterError> {
        Err(FilterError { cause, pointer: self.0.clone(), reason: reason.into() })
    }
}

#[derive(Default)]
struct Parser {
    functions: usize,
    literals: usize,
}

impl Parser {
    fn function(&mut self, node: &Value, at: &Place, depth: usize) -> Result<RowFilter, FilterError> {
        self.functions += 1;
        if depth > FILTER_DEPTH_MAX {
            return at.error(FilterCause::Invalid, format!("functions stand more than {FILTER_DEPTH_MAX} deep"));
        }
        if self.functions > FILTER_FUNCTIONS_MAX {
            return at.error(FilterCause::Invalid, format!("there are more than {FILTER_FUNCTIONS_MAX} functions"));
        }
        let node = object(node, "fnApply", at)?;
        let name = match node.get("fnName") {
            Some(Value::String(name)) if !name.trim().is_empty() => name.trim().to_lowercase(),
            _ => return at.error(FilterCause::NoOperator, "a function needs its name in fnName"),
        };
        let Some(operator) = Operator::named(&name) else {
            let at = at.child("fnName");
            let known = "=, !=, <, <=, >, >=, like, in, isNull, and, or, not";
            if WITHOUT_NATIVE_FORM.contains(&&*name) {
                let reason = format!("the operator has no form in the language of the source, which takes {known}");
                return at.error(FilterCause::NoNativeForm, reason);
            }
            return at.error(FilterCause::UnsupportedOperator, format!("the operator is none of {known}"));
        };
        let at = at.child("params");
        let Some(Value::Array(params)) = node.get("params") else {
            return at.error(FilterCause::Invalid, "a function needs its params as an array");
        };
        match operator {
            Operator::Compare(comparison) => self.compare(comparison, params, &at),
            Operator::Like => self.like(params, &at),
            Operator::In => self.one_of(params, &at),
            Operator::IsNull => match &**params {
                [column] => Ok(RowFilter::IsNull { column: field(column, &at.child(0))? }),
                _ => at.error(FilterCause::Invalid, "isNull takes one fieldLookup"),
            },
            Operator::And => Ok(RowFilter::And(self.functions(params, &at, depth)?)),
            Operator::Or => Ok(RowFilter::Or(self.functions(params, &at, depth)?)),
            Operator::Not => self.not(params, &at, depth),
        }
    }

    fn functions(&mut self, params: &[Value], at: &Place, depth: usize) -> Result<Vec<RowFilter>, FilterError> {
        if params.is_empty() {
            return at.error(FilterCause::Invalid, "and, or and not take at least one function");
        }
        params.iter().enumerate().map(|(index, node)| self.function(node, &at.child(index), depth + 1)).collect()
    }

    fn not(&mut self, params: &[Value], at: &Place, depth: usize) -> Result<RowFilter, FilterError> {
        let mut nodes = self.functions(params, at, depth)?;
        match (nodes.pop(), nodes.is_empty()) {
            (Some(node), true) if node.comparisons() == 1 => Ok(RowFilter::Not(Box::new(node))),
            _ => at.error(FilterCause::NotWithSeveral, "not takes a single comparison"),
        }
    }

    fn compare(&mut self, comparison: Comparison, params: &[Value], at: &Place) -> Result<RowFilter, FilterError> {
        let (column, value, at) = column_and_value(params, at)?;
        let literal = self.literal(value, &at)?;
        Ok(RowFilter::Compare { column, comparison, literal })
    }

    fn like(&mut self, params: &[Value], at: &Place) -> Result<RowFilter, FilterError> {
        let (column, value, at) = column_and_value(params, at)?;
        match self.literal(value, &at)? {
            Literal::Text(pattern) => Ok(RowFilter::Like { column, pattern }),
            _ => at.error(FilterCause::Invalid, "like takes a string literal"),
        }
    }

    fn one_of(&mut self, params: &[Value], at: &Place) -> Result<RowFilter, FilterError> {
        let (column, value, at) = column_and_value(params, at)?;
        match value {
            Value::Array(values) if !values.is_empty() => {
                let literals = values.iter().map(|value| self.literal(value, &at)).collect::<Result<_, _>>()?;
                Ok(RowFilter::In { column, literals })
            }
            Value::Null => at.error(FilterCause::NullLiteral, "null can not stand with an operator; use isNull"),
            _ => at.error(FilterCause::Invalid, "in takes a literal that is an array with at least one value"),
        }
    }

    fn literal(&mut self, value: &Value, at: &Place) -> Result<Literal, FilterError> {
        self.literals += 1;
        if self.literals > FILTER_LITERALS_MAX {
            return at.error(FilterCause::Invalid, format!("there are more than {FILTER_LITERALS_MAX} literals"));
        }
        match value {
            Value::String(text) => Ok(Literal::Text(text.clone())),
            Value::Number(number) => Ok(Literal::Number(number.clone())),
            Value::Bool(value) => Ok(Literal::Boolean(*value)),
            Value::Null => at.error(FilterCause::NullLiteral, "null can not stand with an operator; use isNull"),
            Value::Array(_) => at.error(FilterCause::Invalid, "an array can only stand with in"),
            Value::Object(_) => at.error(FilterCause::Invalid, "a literal is a string, a number or a boolean"),
        }
    }
}

enum Operator {
    Compare(Comparison),
    Like,
    In,
    IsNull,
    And,
    Or,
    Not,
}

impl Operator {
    fn named(lower: &str) -> Option<Self> {
        Some(match lower {
            "=" | "==" => Self::Compare(Comparison::Equal),
            "!=" => Self::Compare(Comparison::NotEqual),
            "<" => Self::Compare(Comparison::Less),
            "<=" => Self::Compare(Comparison::LessOrEqual),
            ">" => Self::Compare(Comparison::Greater),
            ">=" => Self::Compare(Comparison::GreaterOrEqual),
            "like" => Self::Like,
            "in" => Self::In,
            "isnull" => Self::IsNull,
            "and" => Self::And,
            "or" => Self::Or,
            "not" => Self::Not,
            _ => return None,
        })
    }
}

fn object<'a>(node: &'a Value, node_type: &str, at: &Place) -> Result<&'a Map<String, Value>, FilterError> {
    match node {
        Value::Object(map) if map.get("nodeType").and_then(Value::as_str) == Some(node_type) => Ok(map),
        _ => at.error(FilterCause::Invalid, format!("here a node of the nodeType {node_type} is needed")),
    }
}

fn field(node: &Value, at: &Place) -> Result<String, FilterError> {
    match object(node, "fieldLookup", at)?.get("fieldName") {
        Some(Value::String(name)) if !name.is_empty() => Ok(name.clone()),
        _ => at.error(FilterCause::Invalid, "a fieldLookup needs a fieldName"),
    }
}

fn column_and_value<'a>(params: &'a [Value], at: &Place) -> Result<(String, &'a Value, Place), FilterError> {
    let [column, literal] = params else {
        return at.error(FilterCause::Invalid, "a comparison takes a fieldLookup and a literal");
    };
    let column = field(column, &at.child(0))?;
    let at = at.child(1);
    match object(literal, "literal", &at)?.get("value") {
        Some(value) => Ok((column, value, at.child("value"))),
        None => at.error(FilterCause::Invalid, "a literal needs a value"),
    }
}

#[cfg(test)]
mod tests;
