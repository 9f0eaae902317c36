//! The codes of filters at the source (flow-service.md 14.3).

use headwaters_model::spec::MARIADB;
use serde_json::{Value, json};

use super::{Produced, post, with};
use crate::world::{FLOW, World, new_connection, new_flow, new_source};

fn pql(value: &Value) -> Value {
    json!({ "type": "PQL", "format": "pql/json", "value": value })
}

fn apply(function: &str, column: &str, value: &Value) -> Value {
    let column = json!({ "nodeType": "fieldLookup", "fieldName": column });
    json!({ "nodeType": "fnApply", "fnName": function, "params": [column, { "nodeType": "literal", "value": value }] })
}

pub(super) async fn filters(produced: &mut Produced) {
    let world = World::start().await;
    let connection = world.make_connection().await;
    let total = |function: &str| apply(function, "total", &json!(5));
    let not_both = json!({ "nodeType": "fnApply", "fnName": "not", "params": [
        { "nodeType": "fnApply", "fnName": "and", "params": [total(">"), total("<")] }] });
    for (code, cause, filters) in [
        ("CONNECTOR-1349-400", "a node of no kind", pql(&json!({ "nodeType": "wave" }))),
        ("CONNECTOR-1350-400", "no operator", pql(&json!({ "nodeType": "fnApply", "params": [] }))),
        ("CONNECTOR-1351-400", "an operator that there is not", pql(&total("sideways"))),
        ("CONNECTOR-1352-400", "an operator that SQL has not", pql(&apply("startsWith", "note", &json!("a")))),
        ("CONNECTOR-1354-400", "SQL", json!({ "type": "SQL", "format": "pql/json", "value": "total > 5" })),
        ("CONNECTOR-1355-400", "a type that there is not", json!({ "type": "rain" })),
        ("CONNECTOR-1356-400", "another format", json!({ "type": "PQL", "format": "text" })),
        ("CONNECTOR-1357-400", "no value", json!({ "type": "PQL", "format": "pql/json" })),
        ("CONNECTOR-1390-400", "not over two comparisons", pql(&not_both)),
    ] {
        let body = with(new_source(&connection), "/params/filters", &filters);
        produced.ask(code, cause, post(&world, "sourceConnections", &body)).await;
    }
    let format = with(new_source(&connection), "/data/format", &json!("parquet"));
    produced.ask("CONNECTOR-1327-400", "files", post(&world, "sourceConnections", &format)).await;
    let maria = with(new_connection(), "/connectionSpec/id", &json!(MARIADB));
    let maria = world.make(&format!("{FLOW}/connections"), &maria).await;
    let source = with(new_source(&maria), "/connectionSpec/id", &json!(MARIADB));
    let source = with(source, "/params/filters", &pql(&total(">")));
    produced
        .ask("CONNECTOR-1353-400", "a source that does not filter", post(&world, "sourceConnections", &source))
        .await;
    // Columns are looked up when a flow is made.
    let target = world.make_target(&world.make_data_set().await).await;
    for (code, cause, filter) in [
        ("CONNECTOR-1378-400", "an unknown column", apply(">", "colour", &json!(5))),
        ("CONNECTOR-1379-400", "a text for a number", apply(">", "total", &json!("five"))),
    ] {
        let source = with(new_source(&connection), "/params/filters", &pql(&filter));
        let source = world.make(&format!("{FLOW}/sourceConnections"), &source).await;
        produced.ask(code, cause, post(&world, "flows", &new_flow(&source, &target))).await;
    }
}
