//! Filters: how they are read, and which documents pass them.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn flow() -> Value {
    json!({
        "id": "7d0a6a1e-3a3f-4b57-8a44-1d4c2c1f8a01", "name": "orders, EU", "state": "enabled", "createdAt": 1_700_000_000_000_i64,
        "sourceConnectionIds": ["a", "b"],
        "options": { "errorDiagnosticsEnabled": true, "partialIngestionPercent": 5 },
        "scheduleParams": { "interval": "15" },
        "inheritedAttributes": { "sourceConnections": [
            { "id": "a", "baseConnection": { "id": "x" } }, { "id": "b", "baseConnection": { "id": "y" } } ] },
    })
}

fn selects(text: &str) -> bool {
    Filter::parse(text, Collection::Flows).unwrap().matches(&flow())
}

#[test]
fn documented_filters_select_what_they_say() {
    for text in [
        "name==\"orders, EU\"",
        "name==x,\"orders, EU\"",
        "state==Enabled",
        "state=enabled",
        "sourceConnectionIds[]==b",
        "inheritedAttributes.sourceConnections[].baseConnection.id==x,z",
        "options.errorDiagnosticsEnabled==true",
        "options.partialIngestionPercent==5.0",
        "options.partialIngestionPercent>=5",
        "options.partialIngestionPercent<9.5",
        "createdAt>1699999999999",
        "scheduleParams.interval==15",
        "description!=x",
        "name!=x,y",
    ] {
        assert!(selects(text), "{text}");
    }
}

#[test]
fn elements_of_arrays_are_looked_at_at_any_depth() {
    let source = json!({ "params": { "tableName": "shop.orders", "columns": [
        { "name": "id", "meta": { "tags": ["key", 1] } }, { "name": "a=b, c" }, "total" ] } });
    let selects = |text| Filter::parse(text, Collection::SourceConnections).unwrap().matches(&source);
    for text in [
        "params.columns[].name==id",
        "params.columns[].name==x,\"a=b, c\"",
        "params.columns[]==total",
        "params.columns[].meta.tags[]==key",
        "params.columns[].meta.tags[]>=1",
        "params.columns[].name!=total",
        "params.tableName=\"shop.orders\"",
        "params.missing[].name!=x",
    ] {
        assert!(selects(text), "{text}");
    }
    for text in ["params.columns.name==id", "params.columns[].meta.tags==key", "params.columns[].name!=id"] {
        assert!(!selects(text), "{text}");
    }
}

#[test]
fn states_and_statuses_are_compared_without_regard_to_case() {
    let flow = json!({ "state": "enabled", "name": "Orders", "lastRunDetails": { "state": "failed" } });
    let selects = |text| Filter::parse(text, Collection::Flows).unwrap().matches(&flow);
    assert!(selects("state==ENABLED") && selects("lastRunDetails.state==Failed") && !selects("name==orders"));
}

#[test]
fn what_does_not_compare_does_not_match() {
    for text in [
        "name==Orders",
        "scheduleParams.interval==15.0",
        "sourceConnectionIds==a",
        "sourceConnectionIds[]!=a",
        "name[]==x",
        "description==x",
        "description<zzz",
        "options.partialIngestionPercent==five",
        "options.partialIngestionPercent>5",
        "options==x",
    ] {
        assert!(!selects(text), "{text}");
    }
}

#[test]
fn each_bad_filter_has_its_own_cause() {
    let cause = |text| Property::parse(text, Collection::Flows).unwrap_err();
    let field = |name: &str| name.to_owned();
    assert_eq!(cause("name=="), FilterError::MissingValue { field: field("name") });
    assert_eq!(cause("name==a,,b"), FilterError::MissingValue { field: field("name") });
    assert_eq!(cause("id!>5"), FilterError::UnknownOperator { operator: "!>".into() });
    assert_eq!(cause("name===a"), FilterError::UnknownOperator { operator: "===".into() });
    assert_eq!(cause("colour==red"), FilterError::UnknownField { field: field("colour") });
    assert_eq!(cause("name..x==red"), FilterError::UnknownField { field: field("name..x") });
    assert_eq!(cause("name~a"), FilterError::ContainsNotImplemented);
    assert_eq!(cause("name>=a,b"), FilterError::RangeWithList { field: field("name"), operator: ">=" });
    assert_eq!(cause("id>=a"), FilterError::RangeNotPossible { field: field("id"), operator: ">=" });
    assert!(matches!(cause("createdAt==1,2"), FilterError::InvalidValue { .. }));
    assert!(matches!(cause("createdAt>soon"), FilterError::InvalidValue { .. }));
    assert!(matches!(cause("name==\"a"), FilterError::InvalidValue { .. }));
    assert!(matches!(cause("name==\"a\"b"), FilterError::InvalidValue { .. }));
    assert!(matches!(cause(&format!("name=={}", "x".repeat(FILTER_BYTES_MAX))), FilterError::TooLarge { .. }));
}

#[test]
fn quotes_and_backslashes_of_a_text_are_escaped_within_quotes() {
    let values = |text: &str| -> Vec<String> {
        let filter = Filter::parse(text, Collection::Flows).unwrap();
        filter.values().iter().map(|literal| literal.text().to_owned()).collect()
    };
    assert_eq!(values(r#"etag=="\"7e05\"""#), [r#""7e05""#]);
    assert_eq!(values(r#"name=="a\\","b\c""#), [r"a\", r"b\c"]);
    assert!(Filter::parse(r#"name=="a\""#, Collection::Flows).is_err());
}

#[test]
fn without_an_operator_it_is_a_projection() {
    let fields = Property::parse("name,state", Collection::Flows);
    assert_eq!(fields, Ok(Property::Projection(vec!["name".into(), "state".into()])));
    assert!(Property::parse("name,colour", Collection::Flows).is_err());
    assert!(Property::parse("name,flowSpec.id", Collection::Flows).is_err());
}

#[test]
fn what_is_only_shown_can_be_returned_but_not_filtered_by() {
    let fields = |text, collection| match Property::parse(text, collection) {
        Ok(Property::Projection(fields)) => fields,
        other => panic!("{other:?}"),
    };
    assert_eq!(fields("name,runs", Collection::Flows), ["name", "runs"]);
    assert_eq!(fields("flowId,state", Collection::Runs), ["flowId", "metrics"]);
    assert!(Property::parse("runs==x", Collection::Flows).is_err());
    assert!(Property::parse("runs", Collection::Runs).is_err());
}

#[test]
fn the_state_of_a_run_is_its_status() {
    let filter = Filter::parse("state==inprogress", Collection::Runs).unwrap();
    assert!(filter.matches(&json!({ "metrics": { "statusSummary": { "status": "inProgress" } } })));
    assert_eq!(filter.text(), "state==inprogress");
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text: String) {
        let _ = Property::parse(&text, Collection::Flows);
    }

    #[test]
    fn a_filter_reads_its_own_text_again(value in "[a-z \"]{0,8}", sign in "==|!=|>|<=") {
        if let Ok(filter) = Filter::parse(&format!("name{sign}{value}"), Collection::Flows) {
            prop_assert_eq!(Filter::parse(filter.text(), Collection::Flows), Ok(filter));
        }
    }

    #[test]
    fn a_quoted_text_is_read_as_it_was(value: String) {
        if let Ok(filter) = Filter::parse(&format!("name=={}", quoted(&value)), Collection::Flows) {
            prop_assert_eq!(filter.values()[0].text(), value);
        } else {
            prop_assert!(value.len() > FILTER_BYTES_MAX / 2);
        }
    }

    #[test]
    fn unequal_is_the_opposite_of_equal(name in "[ab]{0,2}", value in "[ab]{1,2}") {
        let document = json!({ "name": name });
        let matches = |text: String| Filter::parse(&text, Collection::Flows).unwrap().matches(&document);
        prop_assert_ne!(matches(format!("name=={value}")), matches(format!("name!={value}")));
    }
}
