use serde_json::json;

use super::*;
use crate::mysql::catalog::{Generated, ObjectKind, TableName};

fn column(name: &str, data_type: &str, column_type: &str) -> ColumnDescription {
    ColumnDescription {
        name: name.to_owned(),
        ordinal: 1,
        nullable: true,
        data_type: data_type.to_owned(),
        column_type: column_type.to_owned(),
        charset: data_type.contains("char").then(|| "latin1".to_owned()),
        collation: data_type.contains("char").then(|| "latin1_bin".to_owned()),
        json_check: false,
        srid: None,
        invisible: false,
        generated: Generated::No,
        selectable: true,
    }
}

fn table() -> TableDescription {
    let columns = [
        ("id", "int", "int(11)"),
        ("Name", "varchar", "varchar(20)"),
        ("flag", "tinyint", "tinyint(1)"),
        ("total", "decimal", "decimal(10,2)"),
        ("wide", "decimal", "decimal(65,2)"),
        ("ratio", "float", "float"),
        ("big", "bigint", "bigint(20) unsigned"),
        ("born", "date", "date"),
        ("seen", "datetime", "datetime(6)"),
        ("took", "time", "time"),
        ("raw", "blob", "blob"),
        ("place", "point", "point"),
        ("doc", "json", "json"),
        ("odd`; --", "int", "int"),
    ];
    TableDescription {
        name: TableName { schema: "shop".to_owned(), table: "orders".to_owned() },
        kind: ObjectKind::Table,
        engine: Some("InnoDB".to_owned()),
        columns: columns.iter().map(|(name, data_type, full)| column(name, data_type, full)).collect(),
        keys: Vec::new(),
    }
}

fn apply(name: &str, params: Value) -> Value {
    json!({"nodeType": "fnApply", "fnName": name, "params": params})
}

fn compare(operator: &str, column: &str, value: impl Into<Value>) -> Value {
    let literal = json!({"nodeType": "literal", "value": value.into()});
    apply(operator, json!([{"nodeType": "fieldLookup", "fieldName": column}, literal]))
}

fn translate(node: Value) -> Result<Condition, SourceError> {
    condition(&json!({"type": "PQL", "format": "pql/json", "value": node}), &table(), &TypeRules::default())
}

fn sql(node: Value) -> (String, Vec<Param>) {
    let condition = translate(node).unwrap();
    (condition.sql, condition.params)
}

fn bytes(text: &str) -> Param {
    Param::Bytes(text.as_bytes().to_vec())
}

#[test]
fn every_literal_is_bound_and_every_name_quoted() {
    let node = apply(
        "and",
        json!([
            compare("=", "name", "x'; DROP TABLE t; --"),
            apply("or", json!([compare(">", "ID", 5), apply("not", json!([compare("in", "id", json!([1, 2]))]))])),
            apply("isNull", json!([{"nodeType": "fieldLookup", "fieldName": "odd`; --"}])),
        ]),
    );
    let (sql, params) = sql(node);
    assert_eq!(sql, "((`Name` = ?) AND ((`id` > ?) OR (NOT (`id` IN (?, ?)))) AND (`odd``; --` IS NULL))");
    assert_eq!(params, [bytes("x'; DROP TABLE t; --"), Param::Int(5), Param::Int(1), Param::Int(2)]);
}

#[test]
fn literals_mean_what_the_landed_column_holds() {
    for (node, expected, param) in [
        (compare("=", "flag", true), "((`flag` <> 0) = ?)", Param::Int(1)),
        (compare("=", "total", 9.95), "(`total` = CAST(? AS DECIMAL(65,2)))", bytes("9.95")),
        (
            compare("=", "wide", "123456789012345678901234567890123456789012345678.25"),
            "(`wide` = CAST(? AS DECIMAL(65,2)))",
            bytes("123456789012345678901234567890123456789012345678.25"),
        ),
        (compare("=", "ratio", 1.1), "(`ratio` = ?)", Param::Double(f64::from(1.1_f32))),
        (compare("<", "big", u64::MAX), "(`big` < ?)", Param::UInt(u64::MAX)),
        (compare("<", "id", 1e300), "(`id` < ?)", Param::Double(1e300)),
        (
            compare(">=", "born", "2020-04-22"),
            "(`born` >= CAST(? AS DATETIME(6)))",
            bytes("2020-04-22 00:00:00.000000"),
        ),
        (compare("<", "took", "-01:00:00"), "(`took` < CAST(? AS TIME(6)))", bytes("-01:00:00")),
        (compare("like", "Name", "a%"), "(`Name` LIKE ?)", bytes("a%")),
        (compare("=", "Name", "été"), "(`Name` = ?)", bytes("été")),
        (compare("!=", "Name", "Ωμέγα"), "(CONVERT(`Name` USING utf8mb4) COLLATE utf8mb4_bin <> ?)", bytes("Ωμέγα")),
        (compare("like", "doc", "%x%"), "(CAST(`doc` AS CHAR) COLLATE utf8mb4_bin LIKE ?)", bytes("%x%")),
    ] {
        assert_eq!(sql(node), (expected.to_owned(), vec![param]));
    }
}

#[test]
fn wall_clocks_follow_the_declared_zone() {
    let rules = TypeRules { source_time_zone: Some(chrono_tz::Tz::Asia__Kolkata), ..TypeRules::default() };
    let document = json!({"type": "PQL", "format": "pql/json", "value": compare("=", "seen", "2024-01-01T00:00:00Z")});
    let condition = condition(&document, &table(), &rules).unwrap();
    assert_eq!(condition.params, [bytes("2024-01-01 05:30:00.000000")]);
}

#[test]
fn columns_and_types_are_checked() {
    let kind = |node: Value| translate(node).unwrap_err().fault().kind.clone();
    assert_eq!(kind(compare("=", "nobody", 1)), SourceErrorKind::UnknownFilterColumn);
    for node in [
        compare("=", "id", "5"),
        compare("=", "id", true),
        compare("=", "flag", 1),
        compare("=", "Name", 5),
        compare("=", "born", 20_200_422),
        compare("=", "born", "soon"),
        compare("=", "took", "soon"),
        compare("=", "wide", "1e5"),
        compare("=", "place", "POINT(1 2)"),
        compare("like", "id", "5%"),
        compare("like", "born", "2020%"),
        compare("in", "id", json!([1, "2"])),
    ] {
        assert_eq!(kind(node), SourceErrorKind::FilterType);
    }
    let broken = condition(&json!({"type": "SQL"}), &table(), &TypeRules::default()).unwrap_err();
    assert_eq!(broken.fault().kind, SourceErrorKind::InvalidParameter { key: "filters".to_owned() });
}

#[test]
fn an_exact_spelling_comes_before_another_case() {
    let mut table = table();
    table.columns.push(column("NAME", "varchar", "varchar(20)"));
    assert_eq!(table.column("NAME").unwrap().name, "NAME");
    assert_eq!(table.column("name").unwrap().name, "Name");
}

#[test]
fn a_condition_can_be_spelt_out_without_letting_text_in() {
    let mut table = table();
    table.columns.push(column("why?", "varchar", "varchar(9)"));
    let node =
        apply("and", json!([compare("=", "why?", "x' OR 1=1"), compare("<", "ratio", 0.5), compare("=", "id", -7)]));
    let document = json!({"type": "PQL", "format": "pql/json", "value": node});
    let condition = condition(&document, &table, &TypeRules::default()).unwrap();
    assert_eq!(
        condition.spelt_out(),
        "((`why?` = _utf8mb4 X'7827204f5220313d31') AND (`ratio` < 5e-1) AND (`id` = -7))"
    );
}
