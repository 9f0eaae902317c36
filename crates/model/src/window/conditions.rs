//! A window as a condition on its delta column, spelt for the column's type (flow-service.md 14.3, 16.6).

use serde_json::{Number, Value, json};

use super::DeltaColumn;
use super::calendar::{MOMENT_MAX_MS, MOMENT_MIN_MS, iso};
use crate::explore::ColumnType;
use crate::metrics::Window;

/// The form in which texts hold moments, in the letters of the published samples; the only one that can be windowed.
pub const TEXT_FORMAT: &str = "yyyy-MM-dd HH:mm:ss";
/// `dateFormat` of a number that counts seconds since 1970.
const EPOCH: &str = "epoch";
/// `dateFormat` of a number that counts milliseconds since 1970.
const EPOCH_MILLIS: &str = "epochMillis";
/// The zones that are UTC under another name.
const UTC: [&str; 6] = ["utc", "z", "gmt", "etc/utc", "+00:00", "+0000"];

impl Window {
    /// The window as nodes of a row filter on the delta column, which are to be joined by `and` (flow-service.md 14.3).
    /// Fails with a sentence when a column of this type has no moments in it.
    pub fn conditions(&self, delta: &DeltaColumn, column: ColumnType) -> Result<Vec<Value>, String> {
        let name = &delta.name;
        let format = delta.date_format.as_deref();
        let number = |by: fn(i64) -> Number| {
            Ok(vec![compare(name, ">=", by(self.start_ms).into()), compare(name, "<", by(self.end_ms).into())])
        };
        match (column, format) {
            (ColumnType::DateTime, _) => {
                Ok(self.moments(name, |ms| format!("{}.{:03}Z", iso(ms, 'T'), ms.rem_euclid(1000))))
            }
            (ColumnType::String, None | Some(TEXT_FORMAT)) => match &delta.timezone {
                Some(zone) if !UTC.contains(&zone.to_lowercase().as_str()) => Err(format!(
                    "the column {name} is a text, and texts are read as UTC only: leave timezone out or send UTC"
                )),
                _ => Ok(self.moments(name, |ms| iso(whole_seconds(ms).saturating_mul(1000), ' '))),
            },
            (ColumnType::String, Some(_)) => Err(format!(
                "the column {name} is a text, and texts are read in the format {TEXT_FORMAT} only: \
                 leave dateFormat out or send that"
            )),
            (ColumnType::Integer | ColumnType::Long, Some(EPOCH)) => number(|ms| whole_seconds(ms).into()),
            (ColumnType::Double, Some(EPOCH)) => number(seconds),
            (ColumnType::Integer | ColumnType::Long | ColumnType::Double, Some(EPOCH_MILLIS)) => number(Number::from),
            (ColumnType::Integer | ColumnType::Long | ColumnType::Double, _) => Err(format!(
                "the column {name} is a number, which counts and tells no time: name a date-time column, or say with \
                 dateFormat {EPOCH} or {EPOCH_MILLIS} that it holds seconds or milliseconds since 1970"
            )),
            (ColumnType::Boolean, _) => Err(format!("the column {name} is a boolean, which tells no time")),
        }
    }

    /// Both bounds in a form that ends with the year 9999. A window that goes on beyond has no upper bound.
    fn moments(&self, column: &str, form: impl Fn(i64) -> String) -> Vec<Value> {
        let literal = |ms: i64| form(ms.clamp(MOMENT_MIN_MS, MOMENT_MAX_MS)).into();
        let mut conditions = vec![compare(column, ">=", literal(self.start_ms))];
        if self.end_ms <= MOMENT_MAX_MS || self.start_ms > MOMENT_MAX_MS {
            conditions.push(compare(column, "<", literal(self.end_ms)));
        }
        conditions
    }
}

/// A row filter that lets through what `filter` does and what satisfies all of the conditions.
#[must_use]
pub fn narrowed(filter: Option<&Value>, conditions: Vec<Value>) -> Value {
    let own = filter.and_then(|document| document.get("value")).cloned();
    let is_and = |node: &Value| node["fnName"].as_str().is_some_and(|name| name.trim().eq_ignore_ascii_case("and"));
    let mut params = match own {
        // Conditions stand beside those of an `and`, so that a filter does not get deeper than it was.
        Some(mut node) if is_and(&node) => match node["params"].take() {
            Value::Array(nodes) => nodes,
            other => vec![other],
        },
        Some(node) => vec![node],
        None => Vec::new(),
    };
    params.extend(conditions);
    json!({ "type": "PQL", "format": "pql/json", "value": { "nodeType": "fnApply", "fnName": "and", "params": params } })
}

fn compare(column: &str, operator: &str, literal: Value) -> Value {
    json!({
        "nodeType": "fnApply", "fnName": operator,
        "params": [
            { "nodeType": "fieldLookup", "fieldName": column },
            { "nodeType": "literal", "value": literal },
        ],
    })
}

/// Seconds, rounded up.
fn whole_seconds(ms: i64) -> i64 {
    ms.div_euclid(1000) + i64::from(ms.rem_euclid(1000) > 0)
}

/// Seconds with their fraction, as few digits as it takes.
fn seconds(ms: i64) -> Number {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of every year that a column holds fit 53 bits")]
    let fraction = Number::from_f64(ms as f64 / 1000.0);
    if ms % 1000 == 0 { (ms / 1000).into() } else { fraction.unwrap_or_else(|| whole_seconds(ms).into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row_filter::RowFilter;

    /// 2023-11-14T22:13:20Z.
    const NOW_MS: i64 = 1_700_000_000_000;

    fn delta(date_format: Option<&str>) -> DeltaColumn {
        DeltaColumn { name: "at".into(), date_format: date_format.map(Into::into), timezone: None }
    }

    /// The literals of the conditions, with their comparisons.
    fn bounds(window: Window, date_format: Option<&str>, column: ColumnType) -> Vec<String> {
        let conditions = window.conditions(&delta(date_format), column).unwrap();
        conditions
            .iter()
            .map(|node| format!("{} {}", node["fnName"].as_str().unwrap(), node["params"][1]["value"]))
            .collect()
    }

    #[test]
    fn a_window_is_spelt_as_its_column_counts() {
        let window = Window { start_ms: NOW_MS, end_ms: NOW_MS + 1_500 };
        assert_eq!(
            bounds(window, Some("YYYY-MM-DD"), ColumnType::DateTime),
            [r#">= "2023-11-14T22:13:20.000Z""#, r#"< "2023-11-14T22:13:21.500Z""#]
        );
        assert_eq!(
            bounds(window, None, ColumnType::String),
            [r#">= "2023-11-14 22:13:20""#, r#"< "2023-11-14 22:13:22""#]
        );
        assert_eq!(bounds(window, Some("epoch"), ColumnType::Long), [">= 1700000000", "< 1700000002"]);
        assert_eq!(bounds(window, Some("epoch"), ColumnType::Double), [">= 1700000000", "< 1700000001.5"]);
        assert_eq!(bounds(window, Some("epochMillis"), ColumnType::Long), [">= 1700000000000", "< 1700000001500"]);
    }

    #[test]
    fn a_column_without_moments_is_refused_with_the_way_out() {
        let refused =
            |format, column| Window { start_ms: 0, end_ms: 1 }.conditions(&delta(format), column).unwrap_err();
        assert!(refused(None, ColumnType::Long).contains("dateFormat epoch or epochMillis"));
        assert!(refused(Some(TEXT_FORMAT), ColumnType::Double).contains("counts"));
        assert!(refused(Some("dd.MM.yyyy"), ColumnType::String).contains(TEXT_FORMAT));
        assert!(refused(None, ColumnType::Boolean).contains("boolean"));
        let local = DeltaColumn { timezone: Some("Europe/Zurich".into()), ..delta(None) };
        let window = Window { start_ms: 0, end_ms: 1 };
        assert!(window.conditions(&local, ColumnType::String).unwrap_err().contains("UTC"));
        assert!(window.conditions(&local, ColumnType::DateTime).is_ok(), "of no meaning for a date-time");
    }

    #[test]
    fn moments_that_no_column_holds_bound_nothing() {
        let far = i64::MAX;
        let to_the_end = Window { start_ms: i64::MIN, end_ms: far };
        assert_eq!(bounds(to_the_end, None, ColumnType::DateTime), [r#">= "0001-01-01T00:00:00.000Z""#]);
        let beyond = Window { start_ms: far - 1, end_ms: far };
        let moment = r#""9999-12-31T23:59:59.000Z""#;
        assert_eq!(bounds(beyond, None, ColumnType::DateTime), [format!(">= {moment}"), format!("< {moment}")]);
        assert_eq!(bounds(to_the_end, None, ColumnType::String), [r#">= "0001-01-01 00:00:00""#]);
    }

    #[test]
    fn the_filter_of_the_source_stays_and_gets_no_deeper() {
        let one = compare("city", "=", "Basel".into());
        let document = |value: &Value| json!({ "type": "PQL", "format": "pql/json", "value": value });
        let conditions = Window { start_ms: 0, end_ms: 1000 }.conditions(&delta(None), ColumnType::DateTime).unwrap();
        let alone = narrowed(None, conditions.clone());
        assert_eq!(alone["value"]["params"].as_array().unwrap().len(), 2);
        let joined = narrowed(Some(&document(&one)), conditions.clone());
        assert_eq!(joined["value"]["params"], json!([one, conditions[0], conditions[1]]));
        let both = json!({ "nodeType": "fnApply", "fnName": "AND", "params": [one, one] });
        let joined = narrowed(Some(&document(&both)), conditions.clone());
        assert_eq!(joined["value"]["params"], json!([one, one, conditions[0], conditions[1]]));
        assert!(RowFilter::parse(&joined).is_ok());
    }
}
