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
        if envelope.get("type").and_then(Value::as_str) != Some("PQL") {
            return at.child("type").error(FilterCause::Type, "the type must be PQL");
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
            let reason = "the operator is none of =, !=, <, <=, >, >=, like, in, isNull, and, or, not";
            return at.child("fnName").error(FilterCause::UnsupportedOperator, reason);
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
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn parse(value: Value) -> Result<RowFilter, FilterError> {
        RowFilter::parse(&json!({"type": "PQL", "format": "pql/json", "value": value}))
    }

    fn cause(value: Value) -> u16 {
        parse(value).unwrap_err().cause.number()
    }

    fn apply(name: &str, params: &[Value]) -> Value {
        json!({"nodeType": "fnApply", "fnName": name, "params": params})
    }

    fn column(name: &str) -> Value {
        json!({"nodeType": "fieldLookup", "fieldName": name})
    }

    fn literal(value: impl Into<Value>) -> Value {
        json!({"nodeType": "literal", "value": value.into()})
    }

    fn equals(name: &str, value: impl Into<Value>) -> Value {
        apply("=", &[column(name), literal(value)])
    }

    #[test]
    fn a_single_comparison_may_stand_at_the_root() {
        let expected = RowFilter::Compare {
            column: "city".to_owned(),
            comparison: Comparison::Equal,
            literal: Literal::Text("Basel".to_owned()),
        };
        assert_eq!(parse(equals("city", "Basel")).unwrap(), expected);
        assert_eq!(parse(apply("==", &[column("city"), literal("Basel")])).unwrap(), expected);
    }

    #[test]
    fn functions_nest_and_their_names_ignore_case() {
        let filter = parse(apply(
            "AND",
            &[
                apply("Not", &[apply("LIKE", &[column("name"), literal("a%")])]),
                apply("or", &[apply("in", &[column("n"), literal(json!([1, 2.5]))])]),
                apply("ISNULL", &[column("x")]),
            ],
        ));
        let RowFilter::And(nodes) = filter.unwrap() else { panic!("and") };
        assert!(matches!(&*nodes, [RowFilter::Not(_), RowFilter::Or(_), RowFilter::IsNull { .. }]));
    }

    #[test]
    fn every_documented_code_has_its_cause() {
        let document = |kind: &str, format: &str| RowFilter::parse(&json!({"type": kind, "format": format}));
        assert_eq!(RowFilter::parse(&json!([])).unwrap_err().cause.number(), 1349);
        assert_eq!(document("SQL", "pql/json").unwrap_err().cause.number(), 1355);
        assert_eq!(document("PQL", "json").unwrap_err().cause.number(), 1356);
        assert_eq!(document("PQL", "pql/json").unwrap_err().cause.number(), 1357);
        assert_eq!(cause(json!({"nodeType": "fnApply", "params": []})), 1350);
        assert_eq!(cause(apply("between", &[])), 1351);
        assert_eq!(cause(equals("a", Value::Null)), 1377);
        assert_eq!(cause(apply("in", &[column("a"), literal(json!([1, null]))])), 1377);
        assert_eq!(cause(apply("not", &[equals("a", 1), equals("b", 1)])), 1390);
        assert_eq!(cause(apply("not", &[apply("and", &[equals("a", 1), equals("b", 1)])])), 1390);
        assert!(parse(apply("not", &[apply("and", &[equals("a", 1)])])).is_ok());
    }

    #[test]
    fn a_wrong_structure_is_named_by_its_place() {
        for (value, pointer) in [
            (json!("a = 1"), "/value"),
            (literal(1), "/value"),
            (json!({"nodeType": "fnApply", "fnName": "="}), "/value/params"),
            (apply("=", &[column("a")]), "/value/params"),
            (apply("=", &[literal(1), column("a")]), "/value/params/0"),
            (apply("=", &[column("a"), column("b")]), "/value/params/1"),
            (apply("=", &[column(""), literal(1)]), "/value/params/0"),
            (equals("a", json!([1])), "/value/params/1/value"),
            (equals("a", json!({})), "/value/params/1/value"),
            (apply("in", &[column("a"), literal(json!([]))]), "/value/params/1/value"),
            (apply("in", &[column("a"), literal(1)]), "/value/params/1/value"),
            (apply("like", &[column("a"), literal(1)]), "/value/params/1/value"),
            (apply("and", &[]), "/value/params"),
            (apply("isNull", &[column("a"), literal(1)]), "/value/params"),
            (apply("or", &[equals("a", 1), json!(7)]), "/value/params/1"),
        ] {
            let error = parse(value).unwrap_err();
            assert_eq!((error.cause, &*error.pointer), (FilterCause::Invalid, pointer), "{error}");
        }
    }

    #[test]
    fn depth_and_size_are_bounded() {
        let mut deep = equals("a", 1);
        for _ in 0..FILTER_DEPTH_MAX {
            deep = apply("and", &[deep]);
        }
        assert_eq!(cause(deep), 1349);
        let many = vec![equals("a", 1); FILTER_FUNCTIONS_MAX];
        assert_eq!(cause(apply("or", &many)), 1349);
        let long = vec![Value::from(1); FILTER_LITERALS_MAX + 1];
        assert_eq!(cause(apply("in", &[column("a"), literal(long)])), 1349);
    }

    #[test]
    fn errors_name_the_place_and_never_a_literal() {
        let error = parse(apply("like", &[column("a"), literal(4711)])).unwrap_err();
        assert_eq!(error.to_string(), "row filter at /value/params/1/value: like takes a string literal");
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "fnApply|fieldLookup|literal|=|in|not|and|PQL|[a-z]{0,4}".prop_map(Value::from),
        ];
        leaf.prop_recursive(6, 64, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec(("nodeType|fnName|params|value|fieldName|type|format", inner), 0..5)
                    .prop_map(|entries| Value::Object(entries.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_document_makes_it_panic(value in any_json()) {
            let _ = RowFilter::parse(&value);
            let _ = parse(value);
        }
    }
}
