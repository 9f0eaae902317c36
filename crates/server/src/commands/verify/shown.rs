//! How a comparison is shown: to a person, and as JSON.

use comfy_table::Table;
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use headwaters_engine::verify::{Difference, KeyDifference, RangeDifference, Report, ValuePair};
use headwaters_model::checksum::{ColumnSum, SHOWN_CHARS_MAX};
use serde_json::{Map, Value, json};

/// How many columns of one row are named.
const COLUMNS_NAMED_MAX: usize = 4;

/// What a person reads.
pub(super) fn text(report: &Report) -> String {
    let mut parts = vec![headline(report)];
    let differing: Vec<_> = report.columns.iter().filter(|pair| pair.source != pair.lake).collect();
    if !report.is_equal() {
        parts.push(rows_and_columns(report));
        if differing.is_empty() && report.source.rows == report.lake.rows {
            parts.push("Every column holds the right values, but not in the rows where they belong.".to_owned());
        }
    }
    if !report.ranges.is_empty() && report.ranges.iter().any(|range| range.range.is_some()) {
        parts.push(ranges(report));
    }
    if !report.keys.is_empty() {
        parts.push(keys(report));
    }
    let mut ends: Vec<String> = report.notes.iter().map(|note| format!("note: {note}")).collect();
    ends.extend(
        report.not_compared.iter().map(|left| format!("not compared: column {}: {}", left.column, left.reason)),
    );
    if !ends.is_empty() {
        parts.push(ends.join("\n"));
    }
    parts.join("\n\n")
}

fn headline(report: &Report) -> String {
    let (table, location, version) = (&report.table, &report.location, report.version);
    let verdict = match (report.is_equal(), report.not_compared.is_empty()) {
        (true, true) => format!("equal: {} rows, {} columns", report.source.rows, report.columns.len()),
        (true, false) => format!(
            "equal: {} rows, {} columns; {} columns were not compared",
            report.source.rows,
            report.columns.len(),
            report.not_compared.len()
        ),
        (false, _) => "DIFFERENT".to_owned(),
    };
    format!("{table} against {location} (version {version}, {} files)\n{verdict}", report.files)
}

fn framed(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY).set_header(header);
    table
}

/// The counts of both sides: of rows, and of the columns that differ.
fn rows_and_columns(report: &Report) -> String {
    let mut table = framed(&["", "source", "lake", ""]);
    let (source, lake) = (&report.source, &report.lake);
    table.add_row(["rows", &source.rows.to_string(), &lake.rows.to_string(), verdict(source.rows == lake.rows)]);
    for pair in report.columns.iter().filter(|pair| pair.source != pair.lake) {
        let side = |sum: &ColumnSum| format!("{} values, checksum {}", sum.values, sum.sum);
        table.add_row([&format!("column {}", pair.name), &side(&pair.source), &side(&pair.lake), verdict(false)]);
    }
    let equal = report.columns.iter().filter(|pair| pair.source == pair.lake).count();
    if equal > 0 {
        table.add_row([&format!("other columns: {equal}"), "", "", verdict(true)]);
    }
    table.to_string()
}

fn verdict(equal: bool) -> &'static str {
    if equal { "equal" } else { "DIFFERENT" }
}

/// The key ranges that differ.
fn ranges(report: &Report) -> String {
    let first = report.key.first().map_or("key", String::as_str);
    let mut table = framed(&[first, "rows in the source", "rows in the lake"]);
    for RangeDifference { range, source_rows, lake_rows } in &report.ranges {
        let range = range.map_or_else(|| "all".to_owned(), |(lower, upper)| spelt(lower, upper));
        table.add_row([range, source_rows.to_string(), lake_rows.to_string()]);
    }
    format!("Differences are among these keys:\n{table}")
}

fn spelt(lower: i128, upper: i128) -> String {
    if upper - lower == 1 { lower.to_string() } else { format!("{lower} to {}", upper - 1) }
}

/// The rows that differ, and how many there are of each kind.
fn keys(report: &Report) -> String {
    let counts = Difference::ALL.iter().zip(report.counts).filter(|(_, count)| *count > 0);
    let counts: Vec<String> = counts.map(|(kind, count)| format!("{count} {}", kind.describe())).collect();
    let least = if report.complete { "" } else { "at least " };
    let what = if report.key.is_empty() { "row" } else { "key" };
    let mut table = framed(&[what, "what is wrong", "column", "source", "lake"]);
    for key in &report.keys {
        let name = printed_key(key);
        let wrong = match key.difference {
            Difference::Repeated => {
                format!("{} times in the lake, {} in the source", key.lake_times, key.source_times)
            }
            Difference::Missing if key.lake_times > 0 => {
                format!("{} times in the lake, {} in the source", key.lake_times, key.source_times)
            }
            other => other.describe().to_owned(),
        };
        let pairs: &[ValuePair] = match key.difference {
            Difference::Different | Difference::Repeated => &key.columns,
            Difference::Missing | Difference::Extra => &[],
        };
        if pairs.is_empty() {
            table.add_row([name.as_str(), &wrong, "", "", ""]);
        }
        for (place, pair) in pairs.iter().take(COLUMNS_NAMED_MAX).enumerate() {
            let (name, wrong) = if place == 0 { (name.as_str(), wrong.as_str()) } else { ("", "") };
            let lake = match pair.source == pair.lake {
                // Only the beginnings of values are shown.
                true => format!("begins with the same {SHOWN_CHARS_MAX} characters"),
                false => quoted(pair.lake.as_deref()),
            };
            table.add_row([name, wrong, &pair.column, &quoted(pair.source.as_deref()), &lake]);
        }
        if pairs.len() > COLUMNS_NAMED_MAX {
            let more = format!("and {} more", pairs.len() - COLUMNS_NAMED_MAX);
            table.add_row(["", "", &more, "", ""]);
        }
    }
    let all: u64 = report.counts.iter().sum();
    let shown = report.keys.len();
    let first = if (shown as u64) < all || !report.complete { format!("; the first {shown}:") } else { ":".to_owned() };
    format!("{least}{}{first}\n{table}", counts.join(", "))
}

/// `id 5`, or the parts of a longer key.
fn printed_key(key: &KeyDifference) -> String {
    let parts: Vec<String> = key.key.iter().map(|(name, value)| format!("{name} {}", value.escape_debug())).collect();
    parts.join(", ")
}

/// A value so that blanks, empty texts and NULL are told apart.
fn quoted(value: Option<&str>) -> String {
    value.map_or_else(|| "NULL".to_owned(), |value| format!("{value:?}"))
}

/// For programs; keys are only ever added.
pub(super) fn json(report: &Report) -> Value {
    let sum = |sum: &ColumnSum| json!({ "values": sum.values, "checksum": sum.sum.to_string() });
    let columns: Vec<Value> = report
        .columns
        .iter()
        .map(|pair| {
            json!({
                "column": pair.name, "equal": pair.source == pair.lake,
                "source": sum(&pair.source), "lake": sum(&pair.lake),
            })
        })
        .collect();
    let ranges: Vec<Value> = report
        .ranges
        .iter()
        .map(|range| {
            json!({
                "from": range.range.map(|(lower, _)| lower.to_string()),
                "to": range.range.map(|(_, upper)| (upper - 1).to_string()),
                "source_rows": range.source_rows, "lake_rows": range.lake_rows,
            })
        })
        .collect();
    let counts: Map<String, Value> =
        Difference::ALL.iter().zip(report.counts).map(|(kind, count)| (name(*kind).to_owned(), count.into())).collect();
    json!({
        "equal": report.is_equal(),
        "source": { "table": report.table, "rows": report.source.rows, "checksum": report.source.row_sum.to_string() },
        "lake": {
            "location": report.location, "version": report.version, "files": report.files,
            "rows": report.lake.rows, "checksum": report.lake.row_sum.to_string(),
        },
        "columns": columns,
        "not_compared": report.not_compared,
        "key": report.key,
        "ranges": ranges,
        "counts": counts,
        "complete": report.complete,
        "differences": report.keys.iter().map(difference).collect::<Vec<_>>(),
        "notes": report.notes,
    })
}

fn name(kind: Difference) -> &'static str {
    match kind {
        Difference::Missing => "missing",
        Difference::Repeated => "repeated",
        Difference::Extra => "extra",
        Difference::Different => "different",
    }
}

fn difference(key: &KeyDifference) -> Value {
    let key_of: Map<String, Value> =
        key.key.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
    let columns: Vec<Value> = key
        .columns
        .iter()
        .map(|pair| json!({ "column": pair.column, "source": pair.source, "lake": pair.lake }))
        .collect();
    json!({
        "key": key_of,
        "difference": name(key.difference),
        "source_times": key.source_times,
        "lake_times": key.lake_times,
        "columns": columns,
    })
}

#[cfg(test)]
mod tests;
