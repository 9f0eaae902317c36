//! `headwaters verify` and `options.verify` on real servers: what is equal is said to be, and every kind of damage is found
//! and named.

mod random;
mod runs;

use std::path::Path;
use std::process::Output;

use headwaters_testkit::{DatabaseServer, Flavour, ServerOptions, fixtures};
use serde_json::{Value, json};

use crate::land::{complaint, copied, headwaters, output};

const SERVERS: [Flavour; 2] = [Flavour::MariaDb, Flavour::MySql];

fn verify(source: &str, table: &str, against: &Path, more: &[&str]) -> Output {
    output(headwaters().args(["verify", source, "--table", table, "--against"]).arg(against).args(more))
}

/// The report as JSON, and the exit code.
fn report(source: &str, table: &str, against: &Path, more: &[&str]) -> (Value, Option<i32>) {
    let output = verify(source, table, against, &[&["--output", "json"], more].concat());
    let report = serde_json::from_slice(&output.stdout);
    (report.unwrap_or_else(|error| panic!("{table}: {error}: {}", complaint(&output))), output.status.code())
}

/// A table that was copied, to be damaged.
struct Copied {
    server: &'static DatabaseServer,
    schema: String,
    source: String,
    folder: tempfile::TempDir,
}

impl Copied {
    /// A table of `rows` rows with a value of each kind that is easily changed a little.
    async fn of(flavour: Flavour, rows: u32) -> Self {
        let server = DatabaseServer::shared(flavour).await.expect("a server");
        let schema = server.fresh_schema("verify").await.expect("a schema");
        let copied = Self {
            server,
            source: server.connection_string("reader"),
            folder: tempfile::tempdir().expect("a folder"),
            schema,
        };
        copied
            .execute(
                "create table @.t (id bigint primary key, n int, price decimal(12,2), at datetime(6), \
                 word varchar(100) character set utf8mb4 collate utf8mb4_bin, note text, ratio double)",
            )
            .await;
        let digits = "(select 0 d union select 1 union select 2 union select 3 union select 4 union select 5 union select 6 \
                      union select 7 union select 8 union select 9)";
        let ids = format!(
            "select 1 + a.d + 10 * b.d + 100 * c.d + 1000 * e.d as id from {digits} a, {digits} b, {digits} c, {digits} e"
        );
        let fill = format!(
            "insert into @.t select id, id * 7, id / 4, '2024-01-01 00:00:00.000001' + interval id second, concat('word ', id), \
             concat('Note ', id), id / 3 from ({ids}) ids where id <= {rows}"
        );
        copied.execute(&fill).await;
        copied.copy();
        copied
    }

    async fn execute(&self, sql: &str) {
        self.server.execute(&sql.replace('@', &self.schema)).await.expect("a statement");
    }

    fn copy(&self) {
        copied(&self.source, &format!("{}.t", self.schema), self.folder.path(), &[]);
    }

    fn report(&self) -> (Value, Option<i32>) {
        report(&self.source, &format!("{}.t", self.schema), self.folder.path(), &[])
    }
}

/// The tables of an expected file with their columns.
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

fn files(flavour: Flavour) -> [&'static str; 2] {
    let own = if flavour == Flavour::MySql { "types-mysql.expected.jsonl" } else { "types-mariadb.expected.jsonl" };
    ["types.expected.jsonl", own]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_table_of_the_fixtures_is_equal_after_a_copy() {
    for flavour in SERVERS {
        let server = ServerOptions::new(flavour).start().await.expect("a server");
        server.load_types().await.expect("the fixtures");
        let source = format!("{};Database=lake_types", server.connection_string("reader"));
        let mut different = Vec::new();
        for (table, columns) in files(flavour).iter().flat_map(|file| tables(file)) {
            let folder = tempfile::tempdir().expect("a folder");
            let named = columns.join(",");
            let more: &[&str] = if table == "y_gipk" { &["--columns", &named] } else { &[] };
            copied(&source, &table, folder.path(), more);
            let (report, code) = report(&source, &table, folder.path(), more);
            let compared = report["not_compared"].as_array().is_some_and(Vec::is_empty);
            if code != Some(0) || report["equal"] != true || !compared {
                different.push(format!("{flavour} {table}: {report:#}"));
            }
        }
        assert!(different.is_empty(), "{}", different.join("\n"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rule_of_the_connection_is_known_to_the_comparison() {
    let server = ServerOptions::new(Flavour::MariaDb).start().await.expect("a server");
    server.load_types().await.expect("the fixtures");
    let rules = [
        "TreatTinyAsBoolean=false",
        "ConvertZeroDateTime=true",
        "SourceTimeZone=America/New_York",
        "SourceTimeZone=Pacific/Apia;ConvertZeroDateTime=true",
        "AllowZeroDateTime=true",
        "GuidFormat=Binary16",
        "GuidFormat=TimeSwapBinary16",
        "GuidFormat=LittleEndianBinary16",
    ];
    let mut different = Vec::new();
    for rule in rules {
        let source = format!("{};Database=lake_types;{rule}", server.connection_string("reader"));
        for (table, _) in tables("types.expected.jsonl") {
            let folder = tempfile::tempdir().expect("a folder");
            copied(&source, &table, folder.path(), &[]);
            let (report, code) = report(&source, &table, folder.path(), &[]);
            if code != Some(0) {
                different.push(format!("{rule} {table}: {report:#}"));
            }
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_changes_after_the_copy_is_different_in_the_rows_that_changed() {
    // Of each change: the row, the column, and what stands on both sides.
    let changes = [
        ("update @.t set n = n + 1 where id = 17", "17", "n", json!("120"), json!("119")),
        ("update @.t set price = price + 0.01 where id = 1234", "1234", "price", json!("308.51"), json!("308.50")),
        (
            "update @.t set at = at + interval 1 microsecond where id = 3",
            "3",
            "at",
            json!("2024-01-01 00:00:03.000002"),
            json!("2024-01-01 00:00:03.000001"),
        ),
        ("update @.t set word = 'word 3O' where id = 30", "30", "word", json!("word 3O"), json!("word 30")),
        ("update @.t set word = concat(word, ' ') where id = 31", "31", "word", json!("word 31 "), json!("word 31")),
        ("update @.t set note = lower(note) where id = 32", "32", "note", json!("note 32"), json!("Note 32")),
        ("update @.t set note = concat(note, '😀') where id = 33", "33", "note", json!("Note 33😀"), json!("Note 33")),
        ("update @.t set note = '' where id = 34", "34", "note", json!(""), json!("Note 34")),
        ("update @.t set note = null where id = 35", "35", "note", Value::Null, json!("Note 35")),
        (
            "update @.t set ratio = ratio + 2e-15 where id = 36",
            "36",
            "ratio",
            json!("12.000000000000002"),
            json!("12.0"),
        ),
    ];
    for flavour in SERVERS {
        let table = Copied::of(flavour, 3000).await;
        assert_eq!(table.report().1, Some(0), "{flavour}");
        for (change, id, column, source, lake) in &changes {
            table.execute(change).await;
            let (report, code) = table.report();
            assert_eq!(code, Some(5), "{flavour} {change}: {report:#}");
            let differences = report["differences"].as_array().expect("a list");
            assert_eq!(differences.len(), 1, "{flavour} {change}: {report:#}");
            assert_eq!(differences[0]["difference"], "different");
            assert_eq!(differences[0]["key"]["id"], *id, "{flavour} {change}");
            assert_eq!(
                differences[0]["columns"],
                json!([{"column": column, "source": source, "lake": lake}]),
                "{flavour} {change}"
            );
            table.copy();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_missing_only_in_the_lake_or_exchanged_are_told_apart() {
    for flavour in SERVERS {
        let table = Copied::of(flavour, 3000).await;
        table.execute("insert into @.t (id, n) values (500000, 1)").await;
        table.execute("delete from @.t where id = 77").await;
        let swap =
            "update @.t a join @.t b on a.id + b.id = 401 set a.word = concat('word ', b.id) where a.id in (200, 201)";
        table.execute(swap).await;
        let (report, code) = table.report();
        assert_eq!(
            (code, &report["counts"]),
            (Some(5), &json!({"missing": 1, "repeated": 0, "extra": 1, "different": 2}))
        );
        let found: Vec<(&str, &str)> = report["differences"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|found| (found["key"]["id"].as_str().expect("a key"), found["difference"].as_str().expect("a kind")))
            .collect();
        assert_eq!(
            found,
            [("77", "extra"), ("200", "different"), ("201", "different"), ("500000", "missing")],
            "{flavour}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_changed_places_are_found_though_every_column_is_equal() {
    let table = Copied::of(Flavour::MariaDb, 1500).await;
    table.execute("update @.t set word = if(id = 1, 'word 2', 'word 1') where id in (1, 2)").await;
    let (report, code) = table.report();
    assert_eq!(code, Some(5));
    let columns = report["columns"].as_array().expect("a list");
    assert!(columns.iter().all(|column| column["equal"] == true), "{report:#}");
    assert_eq!(report["counts"]["different"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_was_appended_to_twice_says_so() {
    let table = Copied::of(Flavour::MariaDb, 400).await;
    copied(&table.source, &format!("{}.t", table.schema), table.folder.path(), &["--mode", "append"]);
    let output = verify(&table.source, &format!("{}.t", table.schema), table.folder.path(), &["--keys", "3"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(5));
    assert!(text.contains("400 more than once in the lake; the first 3:"), "{text}");
    assert!(
        text.contains("the lake has 400 rows more than the source: a table that recurring runs append to"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_without_a_number_for_a_key_are_searched_too() {
    for flavour in SERVERS {
        let table = Copied::of(flavour, 2500).await;
        for (name, key) in
            [("by_word", "primary key (word)"), ("by_both", "primary key (word, at)"), ("keyless", "key (n)")]
        {
            table
                .execute(&format!(
                    "create table @.{name} (word varchar(60) not null, at datetime(3) not null, n int, {key})"
                ))
                .await;
            table
                .execute(&format!(
                    "insert into @.{name} select concat(left(sha2(id, 256), 20), ' ', id), at, n from @.t"
                ))
                .await;
            let folder = tempfile::tempdir().expect("a folder");
            let path = format!("{}.{name}", table.schema);
            copied(&table.source, &path, folder.path(), &[]);
            assert_eq!(report(&table.source, &path, folder.path(), &[]).1, Some(0), "{flavour} {name}");
            table.execute(&format!("update @.{name} set n = 0 where n = 70")).await;
            table.execute(&format!("delete from @.{name} where n = 700")).await;
            let (report, code) = report(&table.source, &path, folder.path(), &[]);
            assert_eq!(code, Some(5));
            let counts = if name == "keyless" {
                json!({"missing": 1, "repeated": 0, "extra": 2, "different": 0})
            } else {
                json!({"missing": 0, "repeated": 0, "extra": 1, "different": 1})
            };
            assert_eq!(report["counts"], counts, "{flavour} {name}: {report:#}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_or_missing_file_is_an_error_of_the_lake_that_names_it() {
    let table = Copied::of(Flavour::MariaDb, 3000).await;
    let file = std::fs::read_dir(table.folder.path())
        .expect("the table")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|end| end == "parquet"))
        .expect("a file");
    let name = file.file_name().expect("a name").to_string_lossy().into_owned();
    let whole = std::fs::read(&file).expect("bytes");
    let path = format!("{}.t", table.schema);
    // Wherever a bit flips, it is noticed: the file can't be read any more, or what is read differs.
    for at in (200..whole.len() - 100).step_by(whole.len() / 7) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        std::fs::write(&file, damaged).expect("bytes");
        let output = verify(&table.source, &path, table.folder.path(), &[]);
        assert!(matches!(output.status.code(), Some(4 | 5)), "byte {at}: {}", complaint(&output));
        assert!(output.status.code() == Some(5) || complaint(&output).contains(&name), "{}", complaint(&output));
    }
    std::fs::remove_file(&file).expect("gone");
    let output = verify(&table.source, &path, table.folder.path(), &[]);
    assert_eq!(output.status.code(), Some(4));
    assert!(complaint(&output).contains(&name), "{}", complaint(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_rows_are_explained_and_what_is_not_there_has_its_exit_code() {
    let table = Copied::of(Flavour::MariaDb, 10).await;
    let (path, folder) = (format!("{}.t", table.schema), table.folder.path());
    let nowhere = tempfile::tempdir().expect("a folder");
    let output = verify(&table.source, &path, nowhere.path(), &[]);
    assert_eq!(output.status.code(), Some(4));
    assert!(complaint(&output).contains("there is no Delta table at"), "{}", complaint(&output));
    assert_eq!(verify(&table.source, &format!("{}.none", table.schema), folder, &[]).status.code(), Some(3));
    assert_eq!(verify(&table.source, &path, folder, &["--columns", "nothing"]).status.code(), Some(3));
    assert_eq!(verify(&table.source, &path, folder, &["--keys", "0"]).status.code(), Some(2));

    table.execute("delete from @.t").await;
    let (emptied, code) = table.report();
    assert_eq!(code, Some(5));
    assert!(emptied["notes"][0].as_str().is_some_and(|note| note.starts_with("0 rows in the source")), "{emptied:#}");
    table.copy();
    let (both, code) = table.report();
    assert_eq!(code, Some(0));
    assert!(both["notes"][0].as_str().is_some_and(|note| note.starts_with("both are empty")), "{both:#}");
    table.execute("insert into @.t (id) values (1)").await;
    let (unlanded, code) = table.report();
    assert_eq!(code, Some(5));
    assert!(unlanded["notes"][0].as_str().is_some_and(|note| note.starts_with("0 rows in the lake")), "{unlanded:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_that_only_one_side_has_are_named_and_the_rest_is_compared() {
    let table = Copied::of(Flavour::MariaDb, 10).await;
    table.execute("alter table @.t drop column ratio, add column fresh int").await;
    let (report, code) = table.report();
    assert_eq!((code, &report["equal"]), (Some(0), &Value::Bool(true)));
    assert_eq!(
        report["not_compared"],
        json!([
            {"column": "fresh", "reason": "the lake has no such column"},
            {"column": "ratio", "reason": "it is only in the lake"},
        ])
    );
}

/// A table whose texts hold what is no text: half a character of UCS-2 stands for nothing in UTF-8.
async fn with_broken_text(server: &DatabaseServer, table: &str) {
    let create = format!("create table {table} (id int primary key, note varchar(20) character set ucs2)");
    server.execute(&create).await.expect("a table");
    let fill =
        format!("insert into {table} values (1, _ucs2 X'0041D83D'), (2, 'whole'), (3, null), (4, _ucs2 X'FFFD')");
    server.execute(&fill).await.expect("rows");
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_that_landed_with_a_replacement_are_counted_and_all_others_compared() {
    for flavour in SERVERS {
        let server = DatabaseServer::shared(flavour).await.expect("a server");
        let table = format!("{}.t", server.fresh_schema("broken").await.expect("a schema"));
        with_broken_text(server, &table).await;
        let (source, folder) = (server.connection_string("reader"), tempfile::tempdir().expect("a folder"));
        copied(&source, &table, folder.path(), &[]);
        let (equal, code) = report(&source, &table, folder.path(), &[]);
        assert_eq!(code, Some(0), "{flavour}: {equal:#}");
        let noted = equal["notes"][0].as_str().expect("a note");
        assert!(noted.starts_with("column note: texts with a U+FFFD are only counted"), "{flavour}: {noted}");

        server.execute(&format!("update {table} set note = 'Whole' where id = 2")).await.expect("a change");
        let (different, code) = report(&source, &table, folder.path(), &[]);
        assert_eq!(code, Some(5), "{flavour}: {different:#}");
        let found = &different["differences"];
        assert_eq!(found.as_array().map(Vec::len), Some(1), "{flavour}: {different:#}");
        assert_eq!(found[0]["columns"], json!([{"column": "note", "source": "Whole", "lake": "whole"}]), "{flavour}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_can_not_be_landed_is_shown_as_null() {
    for flavour in SERVERS {
        let server = DatabaseServer::shared(flavour).await.expect("a server");
        let table = format!("{}.t", server.fresh_schema("nokey").await.expect("a schema"));
        server.execute(&format!("create table {table} (day date primary key, n int)")).await.expect("a table");
        let fill = format!("insert ignore into {table} values ('0000-00-00', 1), ('2024-01-01', 2)");
        server.execute(&fill).await.expect("rows");
        let (source, folder) = (server.connection_string("reader"), tempfile::tempdir().expect("a folder"));
        copied(&source, &table, folder.path(), &[]);
        server.execute(&format!("update {table} set n = 3 where n = 1")).await.expect("a change");
        let (report, code) = report(&source, &table, folder.path(), &[]);
        assert_eq!(code, Some(5), "{flavour}: {report:#}");
        assert_eq!(report["differences"][0]["key"]["day"], "NULL", "{flavour}: {report:#}");
        assert_eq!(
            report["differences"][0]["columns"],
            json!([{"column": "n", "source": "3", "lake": "1"}]),
            "{flavour}: {report:#}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comparison_takes_longer_than_a_statement_about_the_table_may() {
    let table = Copied::of(Flavour::MariaDb, 9000).await;
    // A view of 9000 rows that takes 2 seconds to be read, where any other statement has one.
    table.execute("create view @.slow as select id, n from @.t where id <> 5 or sleep(2) = 0").await;
    let source = format!("{};DefaultCommandTimeout=1", table.source);
    let (path, folder) = (format!("{}.slow", table.schema), tempfile::tempdir().expect("a folder"));
    copied(&source, &path, folder.path(), &[]);
    let (report, code) = report(&source, &path, folder.path(), &[]);
    assert_eq!(code, Some(0), "{report:#}");
    assert_eq!(report["source"]["rows"], 9000);
}

#[test]
fn the_help_says_what_it_costs_and_how_it_ends() {
    let help = output(headwaters().args(["verify", "--help"]));
    insta::assert_snapshot!(String::from_utf8_lossy(&help.stdout));
}
