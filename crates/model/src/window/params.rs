//! The parameters of a run as a client sends them (flow-service.md 5, 17.5).

use serde_json::{Map, Value, json};

use super::{DeltaColumn, Windowed};
use crate::metrics::Window;
use crate::sent::{integer, present};

/// From this size on a number counts milliseconds, below it seconds (flow-service.md 5).
const MILLISECONDS_FROM: u64 = 1_000_000_000_000;

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

impl Windowed {
    /// The parameters that ask for it.
    #[must_use]
    pub fn params(&self) -> Map<String, Value> {
        let mut params = self.window.params();
        params.insert("deltaColumn".to_owned(), json!(self.delta));
        params
    }
}

impl Window {
    /// The parameters that name it.
    #[must_use]
    pub fn params(&self) -> Map<String, Value> {
        let bounds = [("windowStartTime", self.start_ms), ("windowEndTime", self.end_ms)];
        bounds.into_iter().map(|(key, ms)| (key.to_owned(), sent_as(ms).into())).collect()
    }
}

/// A moment as [`instant`] reads it: in seconds wherever these are no milliseconds.
const fn sent_as(ms: i64) -> i64 {
    if ms % 1000 == 0 && (ms / 1000).unsigned_abs() < MILLISECONDS_FROM { ms / 1000 } else { ms }
}

/// A moment in seconds or milliseconds, native or as text; none when it is not there.
fn instant(params: &Map<String, Value>, key: &'static str) -> Result<Option<i64>, ParamsError> {
    let Some(value) = present(params, key) else { return Ok(None) };
    let ms = |number: i64| if number.unsigned_abs() < MILLISECONDS_FROM { number * 1000 } else { number };
    let reason = "must be a whole number of seconds since 1970";
    integer(value).map(|number| Some(ms(number))).ok_or(ParamsError { cause: ParamsCause::UnreadableTime, key, reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2023-11-14T22:13:20Z.
    const NOW_MS: i64 = 1_700_000_000_000;

    fn read(params: Value) -> Result<RunParams, ParamsError> {
        RunParams::read(params.as_object().unwrap())
    }

    fn cause(params: Value) -> (ParamsCause, &'static str) {
        let error = read(params).unwrap_err();
        (error.cause, error.key)
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
    fn parameters_that_are_written_anew_ask_for_the_same() {
        let delta = json!({ "name": "at", "dateFormat": "epoch" });
        for (start, end) in [
            (json!(0), json!(1)),
            (json!(-86_400), json!("999999999999")),
            (json!("1700000000500"), json!(1_700_000_001_000_i64)),
            (json!(999_999_999_999_000_i64), json!(1_000_000_000_000_000_i64)),
        ] {
            let sent = read(json!({ "windowStartTime": start, "windowEndTime": end, "deltaColumn": delta })).unwrap();
            let windowed = Windowed { window: sent.window.unwrap(), delta: sent.delta.clone().unwrap() };
            let again = RunParams::read(&windowed.params()).unwrap();
            assert_eq!((again.window, again.delta), (sent.window, sent.delta), "{start} {end}");
        }
        let window = Window { start_ms: 1_700_000_000_000, end_ms: 1_700_000_000_500 };
        let params = Windowed { window, delta: DeltaColumn { name: "at".into(), date_format: None, timezone: None } };
        let written = json!({
            "windowStartTime": 1_700_000_000, "windowEndTime": 1_700_000_000_500_i64, "deltaColumn": { "name": "at" } });
        assert_eq!(Value::Object(params.params()), written);
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
}
