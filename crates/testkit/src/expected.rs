//! What must stand in the lake: the expected files of the type fixtures, and the comparison with what was read.
//!
//! Whoever reads (our own reader, Parquet files by another library) brings its rows into one neutral form, [`Read`]:
//!
//! | landed type | JSON value |
//! |---|---|
//! | `byte`, `short`, `integer`, `long`, `float`, `double` | number |
//! | `boolean` | boolean |
//! | `decimal(p,s)` | string with `s` fraction digits |
//! | `date` | string `YYYY-MM-DD` |
//! | `timestamp` | string `YYYY-MM-DDTHH:MM:SS[.f…]Z`, any number of fraction digits |
//! | `string` | string |
//! | `binary` | string of hexadecimal digits in lower case |
//! | `array<float>` | array of numbers |

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use serde_json::{Map, Value};

use crate::{Flavour, fixtures};

mod json_text;

/// From this many characters on a string is shortened in the expected files.
const STRING_CHARS_MAX: usize = 300;
/// From this many bytes on a binary value is shortened in the expected files.
const BINARY_BYTES_MAX: usize = 64;

/// What one table must be in the lake.
#[derive(Clone, Debug)]
pub struct ExpectedTable {
    /// Its name in the database `lake_types`.
    pub name: String,
    /// Its columns in order and their Delta types.
    pub types: Vec<(String, String)>,
    json: BTreeSet<String>,
    rows: Vec<Map<String, Value>>,
    diagnostics: Vec<Diagnostic>,
}

/// One value that could not be kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Diagnostic {
    /// The column's name in the source.
    pub column: String,
    /// The reason's code, e.g. `ZERO_DATE`.
    pub reason: String,
    /// The value as the server prints it.
    pub raw: String,
}

/// What was read of a table, in the neutral form.
#[derive(Clone, Debug, Default)]
pub struct Read {
    /// Columns in order, under their source names, and their Delta types.
    pub types: Vec<(String, String)>,
    /// The rows in any order.
    pub rows: Vec<Map<String, Value>>,
    /// The diagnostics in any order; none if the reader has none, and then they are not compared.
    pub diagnostics: Option<Vec<Diagnostic>>,
}

/// The tables of a flavour: those that all servers share, and its own; a table that both describe is its own.
///
/// # Errors
/// A file is missing or not in the form that `fixtures/README.md` describes.
pub fn tables(flavour: Flavour) -> Result<Vec<ExpectedTable>> {
    let own = if flavour.is_maria_db() { "types-mariadb.expected.jsonl" } else { "types-mysql.expected.jsonl" };
    let mut tables = parse(own)?;
    for table in parse("types.expected.jsonl")? {
        if tables.iter().all(|known| known.name != table.name) {
            tables.push(table);
        }
    }
    Ok(tables)
}

fn parse(file: &str) -> Result<Vec<ExpectedTable>> {
    let text = std::fs::read_to_string(fixtures::path(file)).with_context(|| format!("reading {file}"))?;
    let mut tables: Vec<ExpectedTable> = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let line: Value = serde_json::from_str(&floats_as_text(line)).with_context(|| format!("{file}: {line}"))?;
        if let Some(types) = line["types"].as_object() {
            let types = types.iter().map(|(name, kind)| (name.clone(), text_of(kind))).collect();
            let json = line["json"].as_array().into_iter().flatten().map(text_of).collect();
            let name = text_of(&line["table"]);
            tables.push(ExpectedTable { name, types, json, rows: Vec::new(), diagnostics: Vec::new() });
            continue;
        }
        let table = tables.last_mut().filter(|table| line["table"] == table.name.as_str());
        let table = table.with_context(|| format!("{file}: a row before its table's header: {line}"))?;
        table.rows.push(line["row"].as_object().context("a line is a header or a row")?.clone());
        let diagnostics = line["diagnostics"].as_array().into_iter().flatten().map(|diagnostic| Diagnostic {
            column: text_of(&diagnostic["column"]),
            reason: text_of(&diagnostic["reason"]),
            raw: text_of(&diagnostic["raw"]),
        });
        table.diagnostics.extend(diagnostics);
    }
    Ok(tables)
}

/// The line with every number that has a fraction or an exponent in quotes: `serde_json` may read such a number with an
/// error in its last bit, the standard library does not.
fn floats_as_text(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let (mut in_text, mut escaped) = (false, false);
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        let is_number = |c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E');
        if !in_text && (c.is_ascii_digit() || c == '-') {
            let (number, tail) = rest.split_at(rest.find(|c| !is_number(c)).unwrap_or(rest.len()));
            let quote = if number.contains(['.', 'e', 'E']) { "\"" } else { "" };
            out.extend([quote, number, quote]);
            rest = tail;
            continue;
        }
        in_text ^= c == '"' && !escaped;
        escaped = in_text && c == '\\' && !escaped;
        out.push(c);
        rest = &rest[c.len_utf8()..];
    }
    out
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

impl ExpectedTable {
    /// Every difference between what must be and what was read, one sentence each; none is a table that is exact.
    #[must_use]
    pub fn differences(&self, read: &Read) -> Vec<String> {
        let mut differences = Vec::new();
        if self.types != read.types {
            differences.push(format!("types: expected {:?}, read {:?}", self.types, read.types));
        }
        let mut left: Vec<&Map<String, Value>> = read.rows.iter().collect();
        let mut missing = Vec::new();
        for expected in &self.rows {
            match left.iter().position(|row| self.same_row(expected, row)) {
                Some(place) => drop(left.swap_remove(place)),
                None => missing.push(expected),
            }
        }
        differences
            .extend(missing.into_iter().map(|row| format!("expected, not read: {}", Value::Object(row.clone()))));
        differences.extend(left.into_iter().map(|row| format!("read, not expected: {}", Value::Object(row.clone()))));
        if let Some(found) = &read.diagnostics {
            let (mut expected, mut found) = (self.diagnostics.clone(), found.clone());
            expected.sort();
            found.sort();
            if expected != found {
                differences.push(format!("diagnostics: expected {expected:?}, read {found:?}"));
            }
        }
        differences
    }

    fn same_row(&self, expected: &Map<String, Value>, read: &Map<String, Value>) -> bool {
        expected.len() == read.len()
            && self.types.iter().all(|(name, kind)| {
                let (Some(expected), Some(read)) = (expected.get(name), read.get(name)) else { return false };
                if self.json.contains(name)
                    && let (Some(expected), Some(read)) = (expected.as_str(), read.as_str())
                {
                    return json_text::same(expected, read);
                }
                same_value(kind, expected, read)
            })
    }
}

fn same_value(kind: &str, expected: &Value, read: &Value) -> bool {
    if expected.is_null() || read.is_null() {
        return expected == read;
    }
    match kind {
        "float" => number(expected).map(narrowed) == number(read).map(narrowed),
        "double" => number(expected) == number(read),
        "long" => text_of(expected) == text_of(read),
        "timestamp" => moment(expected) == moment(read),
        "binary" => read.as_str().is_some_and(|read| shortened_bytes(read) == *expected),
        "string" => read.as_str().is_some_and(|read| shortened_text(read) == *expected),
        "array<float>" => match (expected.as_array(), read.as_array()) {
            (Some(expected), Some(read)) => {
                expected.len() == read.len() && expected.iter().zip(read).all(|(a, b)| same_value("float", a, b))
            }
            _ => false,
        },
        _ => expected == read,
    }
}

/// The number, or the number in a text; minus zero counts as zero.
fn number(value: &Value) -> Option<f64> {
    let number = value.as_str().map_or_else(|| value.as_f64(), |text| text.parse().ok());
    number.map(|number| number + 0.0)
}

#[expect(clippy::cast_possible_truncation, reason = "the files say: compare after narrowing")]
fn narrowed(number: f64) -> f32 {
    number as f32
}

/// A moment with six fraction digits, however many it was written with.
fn moment(value: &Value) -> Option<String> {
    let text = value.as_str()?.strip_suffix('Z')?;
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    Some(format!("{seconds}.{fraction:0<6}"))
}

fn shortened_bytes(hex: &str) -> Value {
    let bytes = hex.len() / 2;
    if bytes <= BINARY_BYTES_MAX {
        return serde_json::json!({ "hex": hex });
    }
    serde_json::json!({ "len": bytes, "first": &hex[..16], "last": &hex[hex.len() - 16..] })
}

fn shortened_text(text: &str) -> Value {
    let chars: Vec<char> = text.chars().collect();
    if chars.len() <= STRING_CHARS_MAX {
        return Value::from(text);
    }
    let ends = |some: &[char]| some.iter().collect::<String>();
    serde_json::json!({
        "chars": chars.len(), "bytes": text.len(), "first": ends(&chars[..4]), "last": ends(&chars[chars.len() - 4..])
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn table() -> ExpectedTable {
        ExpectedTable {
            name: "t".to_owned(),
            types: vec![("id".to_owned(), "long".to_owned()), ("f".to_owned(), "float".to_owned())],
            json: BTreeSet::new(),
            rows: vec![json!({"id": "9007199254740993", "f": 0.1}).as_object().unwrap().clone()],
            diagnostics: Vec::new(),
        }
    }

    fn read(row: &Value) -> Read {
        Read { types: table().types, rows: vec![row.as_object().unwrap().clone()], diagnostics: None }
    }

    #[test]
    fn an_exact_table_has_no_differences_and_any_other_has() {
        assert_eq!(table().differences(&read(&json!({"id": 9_007_199_254_740_993_i64, "f": 0.1_f32}))), [""; 0]);
        assert_eq!(table().differences(&read(&json!({"id": 9_007_199_254_740_992_i64, "f": 0.1}))).len(), 2);
        assert_eq!(table().differences(&read(&json!({"id": 9_007_199_254_740_993_i64, "f": 0.100_001}))).len(), 2);
        assert_eq!(table().differences(&Read::default()).len(), 2);
    }

    #[test]
    fn the_files_say_how_many_tables_there_are() {
        assert_eq!(tables(Flavour::MariaDb).unwrap().len(), 46);
        assert_eq!(tables(Flavour::MySql).unwrap().len(), 42);
    }

    #[test]
    fn floats_keep_their_last_bit_and_texts_stay_as_they_are() {
        let line = r#"{"a\"1.5": -1.5, "b": [2, 1e-307], "c": "3.5 \\", "d": 7}"#;
        assert_eq!(floats_as_text(line), r#"{"a\"1.5": "-1.5", "b": [2, "1e-307"], "c": "3.5 \\", "d": 7}"#);
        assert_eq!(number(&json!("1e-307")), Some(1e-307));
    }

    #[test]
    fn fractions_are_compared_by_value() {
        assert!(same_value("timestamp", &json!("2024-01-01T00:00:00Z"), &json!("2024-01-01T00:00:00.000000Z")));
        assert!(!same_value("timestamp", &json!("2024-01-01T00:00:00.1Z"), &json!("2024-01-01T00:00:00.01Z")));
    }
}
