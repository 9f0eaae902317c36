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
    assert_eq!(document("SQL", "pql/json").unwrap_err().cause.number(), 1354);
    assert_eq!(document("soql", "pql/json").unwrap_err().cause.number(), 1354);
    assert_eq!(document("pql", "pql/json").unwrap_err().cause.number(), 1355);
    assert_eq!(document("", "pql/json").unwrap_err().cause.number(), 1355);
    assert_eq!(document("PQL", "json").unwrap_err().cause.number(), 1356);
    assert_eq!(document("PQL", "pql/json").unwrap_err().cause.number(), 1357);
    assert_eq!(cause(json!({"nodeType": "fnApply", "params": []})), 1350);
    assert_eq!(cause(apply("between", &[])), 1351);
    assert_eq!(cause(apply("startsWith", &[])), 1352);
    assert_eq!(cause(apply("and", &[apply("isNotNull", &[column("a")])])), 1352);
    assert_eq!(cause(equals("a", Value::Null)), 1377);
    assert_eq!(cause(apply("in", &[column("a"), literal(json!([1, null]))])), 1377);
    assert_eq!(cause(apply("not", &[equals("a", 1), equals("b", 1)])), 1390);
    assert_eq!(cause(apply("not", &[apply("and", &[equals("a", 1), equals("b", 1)])])), 1390);
    assert!(parse(apply("not", &[apply("and", &[equals("a", 1)])])).is_ok());
}

#[test]
fn no_operator_is_known_in_two_ways() {
    for name in WITHOUT_NATIVE_FORM {
        assert!(Operator::named(name).is_none() && *name == name.to_lowercase(), "{name}");
    }
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
