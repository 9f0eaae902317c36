//! The window of a run: the parameters that a client sends, and the condition on the delta column that they amount to
//! (flow-service.md 5, 16.2, 16.6, 17.5).
//!
//! **Invariant.** A window is half open: a row belongs to it if `start <= delta < end`. Two windows that meet at a moment
//! read each row on it exactly once, whatever the precision of the column: where it counts in whole seconds, both bounds
//! are rounded up, which moves no row.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value, json};

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
/// From this size on a number counts milliseconds, below it seconds (flow-service.md 5).
const MILLISECONDS_FROM: u64 = 1_000_000_000_000;
/// 0001-01-01T00:00:00Z. What lies before, like a date of zeros, is no usable delta value.
const MOMENT_MIN_MS: i64 = -62_135_596_800_000;
/// 9999-12-31T23:59:59Z: no column holds a moment that is more than a fraction of a second later.
const MOMENT_MAX_MS: i64 = 253_402_300_799_000;
const DAY_MS: i64 = 86_400_000;

/// The column that says when a row was last changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeltaColumn {
    /// Its name in the source.
    pub name: String,
    /// How a text or a number stands for a moment; without meaning for dates and date-times.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub date_format: Option<String>,
    /// The zone of a text; UTC when absent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub timezone: Option<String>,
}

/// The parameters of a run, read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunParams {
    /// When the run may begin, milliseconds since 1970; none is at once.
    pub start_ms: Option<i64>,
    /// Which rows; none is the whole table.
    pub window: Option<Window>,
    /// By which column.
    pub delta: Option<DeltaColumn>,
}

/// What is wrong with the parameters of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParamsCause {
    /// One of them is missing or has another form (1384).
    Unreadable,
    /// A moment can not be read (1340).
    UnreadableTime,
    /// The window ends before it starts (1381).
    Order,
    /// The delta column has no name (1383).
    NoName,
}

/// Which parameter is wrong, and how.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("params.{key} {reason}")]
pub struct ParamsError {
    /// What kind of wrong.
    pub cause: ParamsCause,
    /// The parameter.
    pub key: &'static str,
    /// The end of a sentence that begins with the parameter.
    pub reason: &'static str,
}

impl DeltaColumn {
    /// Reads `{name, dateFormat, timezone}`.
    pub fn read(value: &Value) -> Result<Self, ParamsError> {
        let wrong = |cause, key, reason| Err(ParamsError { cause, key, reason });
        let Value::Object(column) = value else {
            return wrong(ParamsCause::Unreadable, "deltaColumn", "must be an object with the name of a column");
        };
        let text = |key: &str| match column.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.trim().is_empty() => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(()),
        };
        let (Ok(name), Ok(date_format), Ok(timezone)) = (text("name"), text("dateFormat"), text("timezone")) else {
            return wrong(ParamsCause::Unreadable, "deltaColumn", "takes texts: name, dateFormat, timezone");
        };
        match name {
            Some(name) => Ok(Self { name, date_format, timezone }),
            None => wrong(ParamsCause::NoName, "deltaColumn", "names no column"),
        }
    }

    /// Whether both mean the same column; names of columns differ in more than case.
    #[must_use]
    pub fn is_same_column(&self, other: &Self) -> bool {
        self.name.to_lowercase() == other.name.to_lowercase()
    }

    /// The same, with what it leaves open taken from another.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let date_format = self.date_format.or(other.date_format);
        Self { name: self.name, date_format, timezone: self.timezone.or(other.timezone) }
    }
}

impl RunParams {
    /// Reads `params` of a run: `startTime`, `windowStartTime`, `windowEndTime`, `deltaColumn`. What else is there is
    /// ignored (flow-service.md 17.5).
    pub fn read(params: &Map<String, Value>) -> Result<Self, ParamsError> {
        let wrong = |cause, key, reason| Err(ParamsError { cause, key, reason });
        let start_ms = instant(params, "startTime")?;
        let from = instant(params, "windowStartTime")?;
        let to = instant(params, "windowEndTime")?;
        let window = match (from, to) {
            (None, None) => None,
            (None, Some(_)) => return wrong(ParamsCause::Unreadable, "windowStartTime", "is missing"),
            (Some(_), None) => return wrong(ParamsCause::Unreadable, "windowEndTime", "is missing"),
            (Some(start_ms), Some(end_ms)) if end_ms < start_ms => {
                return wrong(ParamsCause::Order, "windowEndTime", "lies before windowStartTime");
            }
            (Some(start_ms), Some(end_ms)) => Some(Window { start_ms, end_ms }),
        };
        let delta = present(params, "deltaColumn").map(DeltaColumn::read).transpose()?;
        Ok(Self { start_ms, window, delta })
    }
}

impl Window {
    /// Whether there is a moment in both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.start_ms.max(other.start_ms) < self.end_ms.min(other.end_ms)
    }

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

/// A moment in seconds or milliseconds, native or as text; none when it is not there.
fn instant(params: &Map<String, Value>, key: &'static str) -> Result<Option<i64>, ParamsError> {
    let Some(value) = present(params, key) else { return Ok(None) };
    let number = match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    let ms = |number: i64| if number.unsigned_abs() < MILLISECONDS_FROM { number * 1000 } else { number };
    let reason = "must be a whole number of seconds since 1970";
    number.map(|number| Some(ms(number))).ok_or(ParamsError { cause: ParamsCause::UnreadableTime, key, reason })
}

/// The value of a key; an explicit null is as good as no key.
fn present<'a>(params: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    params.get(key).filter(|value| !value.is_null())
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

/// A moment between the years 1 and 9999 in UTC, without its milliseconds.
fn iso(ms: i64, between: char) -> String {
    let (year, month, day) = civil(ms.div_euclid(DAY_MS));
    let second = ms.rem_euclid(DAY_MS) / 1000;
    let (hours, minutes, seconds) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}{between}{hours:02}:{minutes:02}:{seconds:02}")
}

/// Year, month and day of a number of days since 1970, in the Gregorian calendar. Counted in years that begin in March,
/// so that the day of a leap year is the last one of its year.
fn civil(days: i64) -> (i64, i64, i64) {
    const ERA_DAYS: i64 = 146_097;
    let since_march_of_0 = days + 719_468;
    let era = since_march_of_0.div_euclid(ERA_DAYS);
    let day_of_era = since_march_of_0.rem_euclid(ERA_DAYS);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::row_filter::RowFilter;

    /// 2023-11-14T22:13:20Z.
    const NOW_MS: i64 = 1_700_000_000_000;

    fn read(params: Value) -> Result<RunParams, ParamsError> {
        RunParams::read(params.as_object().unwrap())
    }

    fn cause(params: Value) -> (ParamsCause, &'static str) {
        let error = read(params).unwrap_err();
        (error.cause, error.key)
    }

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
    fn moments_are_seconds_or_milliseconds_in_text_or_number() {
        let window = Some(Window { start_ms: NOW_MS, end_ms: NOW_MS + 1_500 });
        for (start, end) in [
            (json!(1_700_000_000_000_i64), json!(1_700_000_001_500_i64)),
            (json!("1700000000"), json!("1700000001500")),
            (json!(1_700_000_000), json!(" 1700000001500 ")),
        ] {
            assert_eq!(read(json!({ "windowStartTime": start, "windowEndTime": end })).unwrap().window, window);
        }
        // The end of a published sample, in the year 2493.
        let far = read(json!({ "windowStartTime": 0, "windowEndTime": 16_512_937_000_i64, "status": "x" })).unwrap();
        assert_eq!(far.window, Some(Window { start_ms: 0, end_ms: 16_512_937_000_000 }));
        assert_eq!(read(json!({ "startTime": "1700000000" })).unwrap().start_ms, Some(NOW_MS));
    }

    #[test]
    fn every_wrong_parameter_is_told_apart() {
        use ParamsCause::{NoName, Order, Unreadable, UnreadableTime};
        assert_eq!(cause(json!({ "startTime": "soon" })), (UnreadableTime, "startTime"));
        assert_eq!(cause(json!({ "windowStartTime": 1 })), (Unreadable, "windowEndTime"));
        assert_eq!(cause(json!({ "windowEndTime": 1, "windowStartTime": null })), (Unreadable, "windowStartTime"));
        assert_eq!(cause(json!({ "windowStartTime": 1.5, "windowEndTime": 2 })), (UnreadableTime, "windowStartTime"));
        assert_eq!(cause(json!({ "windowStartTime": 2, "windowEndTime": 1 })), (Order, "windowEndTime"));
        assert_eq!(cause(json!({ "deltaColumn": "at" })), (Unreadable, "deltaColumn"));
        assert_eq!(cause(json!({ "deltaColumn": { "name": 7 } })), (Unreadable, "deltaColumn"));
        assert_eq!(cause(json!({ "deltaColumn": { "dateFormat": "epoch" } })), (NoName, "deltaColumn"));
        let error = read(json!({ "windowStartTime": 2, "windowEndTime": 1 })).unwrap_err();
        assert_eq!(error.to_string(), "params.windowEndTime lies before windowStartTime");
        assert!(read(json!({ "windowStartTime": 1, "windowEndTime": 1 })).is_ok(), "an empty window is one");
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

    #[test]
    fn windows_that_only_meet_do_not_overlap() {
        let window = |start_ms, end_ms| Window { start_ms, end_ms };
        assert!(window(0, 10).overlaps(&window(9, 20)));
        assert!(!window(0, 10).overlaps(&window(10, 20)));
        assert!(!window(5, 5).overlaps(&window(0, 10)), "there is nothing in an empty window");
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        for (days, date) in [
            (0, (1970, 1, 1)),
            (-1, (1969, 12, 31)),
            (11_016, (2000, 2, 29)),
            (11_017, (2000, 3, 1)),
            (-719_162, (1, 1, 1)),
            (2_932_896, (9999, 12, 31)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
        ] {
            assert_eq!(civil(days), date, "{days}");
        }
    }

    proptest! {
        #[test]
        fn days_follow_each_other(day in -719_162_i64..2_932_895) {
            let ((y1, m1, d1), (y2, m2, d2)) = (civil(day), civil(day + 1));
            let follows = (y1, m1, d1 + 1) == (y2, m2, d2)
                || (y1, m1 + 1, 1) == (y2, m2, d2)
                || (y1 + 1, 1, 1) == (y2, m2, d2) && (m1, d1) == (12, 31);
            prop_assert!(follows && (28..=31).contains(&d1) | (d2 == d1 + 1));
        }
    }
}
