//! Every table of the fixtures, through the program, against the expected values, read by a library that knows nothing of
//! us.

use std::fmt::Write as _;

use headwaters_testkit::{DatabaseServer, Flavour, ServerOptions, fixtures};
use serde_json::{Value, json};

use crate::land::{copied, read_back};

/// The headers of an expected file: a table's name and its columns.
fn tables(file: &str) -> Vec<(String, Vec<String>)> {
    let text = std::fs::read_to_string(fixtures::path(file)).expect("the expected file");
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let headers = lines.filter(|line| line.get("types").is_some());
    let named = headers.map(|header| {
        let columns = header["types"].as_object().expect("types").keys().cloned().collect();
        (header["table"].as_str().expect("a table").to_owned(), columns)
    });
    named.collect()
}

/// Lands every table of the files and returns what differs from them, a line per table.
fn differences(server: &DatabaseServer, files: &[&str]) -> (usize, Vec<String>) {
    let lake = tempfile::tempdir().expect("a folder");
    let source = format!("{};Database=lake_types", server.connection_string("reader"));
    let mut reported = String::new();
    let mut seen = std::collections::BTreeSet::new();
    for (table, columns) in files.iter().flat_map(|file| tables(file)) {
        if !seen.insert(table.clone()) {
            continue;
        }
        // A generated invisible key is landed only when it is named (fixtures/README.md).
        let named = columns.join(",");
        let more: &[&str] = if table == "y_gipk" { &["--columns", &named] } else { &[] };
        let folder = lake
            .path()
            .join(url::form_urlencoded::byte_serialize(table.as_bytes()).collect::<String>().replace('+', "%20"));
        let result = copied(&source, &table, &folder, more);
        writeln!(reported, "{}", json!({ "table": table, "diagnostics": result["diagnostics"] })).expect("a line");
    }
    let report = lake.path().join("reported.jsonl");
    std::fs::write(&report, reported).expect("the report");
    let paths: Vec<_> = files.iter().map(|file| fixtures::path(file)).collect();
    let mut arguments = vec!["compare".as_ref(), lake.path().as_os_str(), report.as_os_str()];
    arguments.extend(paths.iter().map(|path| path.as_os_str()));
    let compared = read_back(&arguments);
    let compared = compared.as_object().expect("a table each");
    let different =
        compared.iter().filter(|(_, differences)| differences.as_array().is_some_and(|all| !all.is_empty()));
    (compared.len(), different.map(|(table, differences)| format!("{table}: {differences}")).collect())
}

async fn every_table_is_exact(flavour: Flavour, files: &[&str], tables: usize) {
    let server = ServerOptions::new(flavour).start().await.expect("a server");
    server.load_types().await.expect("the fixtures");
    let (compared, different) = differences(&server, files);
    assert!(different.is_empty(), "{} of {compared} tables differ:\n{}", different.len(), different.join("\n"));
    assert_eq!(compared, tables);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_table_of_the_fixtures_lands_exactly_from_mariadb() {
    every_table_is_exact(Flavour::MariaDb, &["types.expected.jsonl", "types-mariadb.expected.jsonl"], 46).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_table_of_the_fixtures_lands_exactly_from_mysql() {
    every_table_is_exact(Flavour::MySql, &["types.expected.jsonl", "types-mysql.expected.jsonl"], 42).await;
}
