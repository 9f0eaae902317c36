//! Row filters, against real servers: which rows they pass.
#![expect(clippy::unwrap_used, reason = "what these tests set up works, or the test fails")]

use headwaters_source::contract::{Preview, Source};
use headwaters_source::mysql::session::{self, Purpose};
use headwaters_source::mysql::types::TypeRules;
use headwaters_source::mysql::{MySqlSource, dsn, filter as filters};
use headwaters_testkit::{DatabaseServer, Flavour};
use serde_json::{Value, json};

use super::discovery::{discovered, of_schema};
use super::params::account;

const FLAVOURS: [Flavour; 3] = Flavour::ALL;

pub(crate) fn filter(name: &str, column: &str, value: impl Into<Value>) -> Value {
    json!({"nodeType": "fnApply", "fnName": name, "params": [
        {"nodeType": "fieldLookup", "fieldName": column}, {"nodeType": "literal", "value": value.into()}]})
}

#[tokio::test]
async fn filters_pass_the_rows_that_they_describe() {
    for flavour in FLAVOURS {
        let server = DatabaseServer::shared(flavour).await.unwrap();
        let schema = server.fresh_schema("filters").await.unwrap();
        for statement in [
            "create table {s}.t (id int primary key, flag tinyint(1), bit1 bit(1), ratio float, total decimal(30,10), \
             big bigint unsigned, born date, seen datetime(6), at timestamp(6) null, took time(1), \
             word varchar(20) character set latin1, e enum('x','y'), doc json, raw varbinary(9))",
            "insert into {s}.t values (1, 1, b'1', 1.1, 0.1, 18446744073709551615, '2024-01-01', '2024-01-01 10:00:00', \
             '2024-01-01 10:00:00', '-100:00:00.5', 'été', 'x', '\"w\"', 'abc')",
            "insert into {s}.t values (2, 2, b'0', 2.5, 9007199254740993.5, 7, '2024-06-01', '2024-06-01 10:00:00.000001', \
             '2024-06-01 10:00:00', '01:00:00', 'hello', 'y', '[1]', 'abd')",
            "insert into {s}.t (id) values (3)",
        ] {
            let statement = statement.replace("{s}", &schema);
            server.execute(&statement).await.unwrap();
        }
        let access = of_schema(server, "reader", &schema);
        for (node, expected) in [
            (filter("=", "flag", true), vec![1, 2]),
            (filter("=", "bit1", false), vec![2]),
            (filter("=", "ratio", 1.1), vec![1]),
            (filter("=", "total", 0.1), vec![1]),
            (filter(">", "total", 9_007_199_254_740_992_u64), vec![2]),
            (filter("=", "big", u64::MAX), vec![1]),
            (filter("in", "id", json!([1, 3, 9])), vec![1, 3]),
            (filter("=", "born", "2024-01-01"), vec![1]),
            (filter(">=", "born", "2024-01-01T00:00:00Z"), vec![1, 2]),
            (filter("=", "seen", "2024-06-01T12:00:00.000001+02:00"), vec![2]),
            (filter("<", "at", "2024-02-01"), vec![1]),
            (filter("=", "took", "-100:00:00.5"), vec![1]),
            (filter("=", "word", "été"), vec![1]),
            (filter("=", "word", "日本"), vec![]),
            (filter("like", "WORD", "h%"), vec![2]),
            (filter("!=", "word", "hello"), vec![1]),
            (filter("=", "e", "y"), vec![2]),
            (filter("=", "doc", "[1]"), vec![2]),
            (filter("=", "raw", "abc"), vec![1]),
            (json!({"nodeType": "fnApply", "fnName": "not", "params": [filter("=", "flag", true)]}), vec![]),
            (
                json!({"nodeType": "fnApply", "fnName": "isNull", "params": [
                {"nodeType": "fieldLookup", "fieldName": "doc"}]}),
                vec![3],
            ),
        ] {
            let document = json!({"type": "PQL", "format": "pql/json", "value": node});
            let preview = Some(Preview { rows: 10, filter: Some(document.clone()) });
            let explored = MySqlSource::default().describe(&access, "t", preview).await;
            let explored = explored.unwrap_or_else(|error| panic!("{flavour} {document}: {error:?}"));
            let mut ids: Vec<i64> = explored.preview.unwrap().iter().filter_map(|row| row["id"].as_i64()).collect();
            ids.sort_unstable();
            assert_eq!(ids, expected, "{flavour} {document}");
        }
    }
}

/// The ids of the rows of `t` that a filter passes, with its values bound and with its values spelt out.
async fn passed(server: &DatabaseServer, schema: &str, node: Value) -> [Vec<String>; 2] {
    let table = discovered(server, schema, "t").await;
    let document = json!({"type": "PQL", "format": "pql/json", "value": node});
    let condition = filters::condition(&document, &table, &TypeRules::default()).unwrap();
    let parameters = dsn::parameters(&account(server, "reader", "")).unwrap();
    let mut connection = session::open(&parameters.connect, Purpose::Reading).await.unwrap();
    // As text, so that both protocols show an id in the same bytes.
    let select = format!("select cast(id as char) as id from {schema}.t where");
    let statement = connection.prepare(&format!("{select} {} order by t.id", condition.sql)).await.unwrap();
    let mut rows = connection.stream(&statement, &condition.params).await.unwrap();
    let mut bound = Vec::new();
    while rows.fill().await.unwrap() {
        while let Some(row) = rows.next_buffered().unwrap() {
            bound.push(String::from_utf8(row[3..].to_vec()).unwrap());
        }
    }
    let answer = connection.query(&format!("{select} {} order by t.id", condition.spelt_out())).await.unwrap();
    let spelt_out = answer.rows().iter().map(|row| row.required_text("id").unwrap().to_owned()).collect();
    connection.close().await;
    [bound, spelt_out]
}

#[tokio::test]
async fn text_is_compared_under_the_collation_of_its_column() {
    for flavour in FLAVOURS {
        let server = DatabaseServer::shared(flavour).await.unwrap();
        let schema = server.fresh_schema("collations").await.unwrap();
        for statement in [
            "create table {s}.t (id int primary key, doc json, \
             exact varchar(9) character set latin1 collate latin1_bin, \
             loose varchar(9) character set latin1 collate latin1_swedish_ci, \
             three varchar(9) character set utf8mb3 collate utf8mb3_bin, \
             greek varchar(9) character set greek collate greek_bin)",
            "insert into {s}.t values (1, '\"a\"', 'É', 'É', 'É', 'Ω'), (2, '\"A\"', 'é', 'é', 'é', 'ω'), \
             (3, '\"b\"', 'E', 'E', 'E', 'O'), (4, '\"B\"', 'e', 'ä', 'e', 'o')",
        ] {
            server.execute(&statement.replace("{s}", &schema)).await.unwrap();
        }
        for (node, expected) in [
            (filter("=", "exact", "É"), &["1"][..]),
            (filter("in", "exact", json!(["É", "e"])), &["1", "4"]),
            (filter("in", "exact", json!(["日", "e", "é"])), &["2", "4"]),
            (filter("!=", "exact", "日"), &["1", "2", "3", "4"]),
            (filter("like", "exact", "É%"), &["1"]),
            (filter("=", "loose", "É"), &["1", "2", "3"]),
            (filter("in", "loose", json!(["日", "E"])), &["1", "2", "3"]),
            (filter("=", "three", "É"), &["1"]),
            (filter("in", "three", json!(["🔑", "é"])), &["2"]),
            (filter("=", "greek", "ω"), &["2"]),
            (filter("like", "greek", "Ω"), &["1"]),
            (filter("=", "doc", "\"a\""), &["1"]),
            (filter("in", "doc", json!(["\"A\"", "\"b\""])), &["2", "3"]),
            (filter("like", "doc", "%B%"), &["4"]),
        ] {
            let shown = node.to_string();
            assert_eq!(passed(server, &schema, node).await, [expected, expected], "{flavour} {shown}");
        }
    }
}
