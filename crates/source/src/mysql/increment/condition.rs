//! The rows of a window as a condition on its delta column.
//!
//! **Invariant.** The conditions of windows that meet share the bound's SQL and value, on one side `<` and on the other
//! `>=`. The server puts each value on one side of it. So each row lies in one window, however odd its value is.
//!
//! Bounds are bound as values of the column's own type, text under the column's own character set and collation: then an
//! index on the column serves (mysql-sources.md 12).

use chrono::DateTime;

use super::column::{Column, Counter, Form, Moments, Values};
use super::wall::{SECOND_US, WALL_END_US, WALL_MIN_US};
use crate::mysql::catalog::quoted;
use crate::mysql::filter::Condition;
use crate::mysql::wire::Param;

/// 1970-01-01 00:00:01, the first moment of a TIMESTAMP; before it lies only the zero value.
const TIMESTAMP_MIN_US: i64 = SECOND_US;
/// 2106-02-07 06:28:16: no TIMESTAMP of any server holds it or anything later.
const TIMESTAMP_END_US: i64 = 4_294_967_296 * SECOND_US;
/// The most digits of a DECIMAL.
const DECIMAL_DIGITS_MAX: u8 = 65;

impl Column {
    /// The rows whose wall clock lies in `[lower, upper)`, both in whole units. Without a lower bound the rows without a
    /// usable value are among them.
    pub(super) fn moments_between(&self, moments: &Moments, lower: Option<i64>, upper: Option<i64>) -> Condition {
        let (least, end) = moments.form.range();
        let lower = lower.map(|lower| lower.max(least.unwrap_or(i64::MIN)));
        let upper = upper.filter(|upper| *upper < end);
        if lower.is_some_and(|lower| lower >= upper.unwrap_or(end)) {
            return nothing();
        }
        let mut writer = Writer { column: self, moments, sql: String::from("("), params: Vec::new() };
        match lower {
            Some(lower) => {
                writer.compare(" >= ", lower);
                if let Some(upper) = upper {
                    writer.sql.push_str(" AND ");
                    writer.compare(" < ", upper);
                }
                if let Form::Text { .. } = moments.form {
                    writer.sql.push_str(" AND ");
                    writer.shape();
                }
            }
            None => {
                if let Some(upper) = upper {
                    writer.compare(" < ", upper);
                    writer.sql.push_str(" OR ");
                    writer.unreadable();
                } else {
                    writer.sql.push_str("1 = 1");
                }
            }
        }
        writer.finish()
    }

    /// The rows whose value no window can hold: null, zero, not readable. None if there can be none.
    pub(super) fn unusable(&self) -> Option<Condition> {
        let moments = match &self.values {
            Values::Counter(_) => return self.nullable.then(|| self.is_null()),
            Values::Moments(moments) => moments,
        };
        match moments.form.range().0 {
            Some(least) => {
                let mut writer = Writer { column: self, moments, sql: String::from("("), params: Vec::new() };
                writer.compare(" < ", least);
                writer.sql.push_str(" OR ");
                writer.unreadable();
                Some(writer.finish())
            }
            None => self.nullable.then(|| self.is_null()),
        }
    }

    /// The rows whose counter lies above `above` and not above `through`.
    pub(super) fn counters_between(&self, counter: Counter, above: Option<&str>, through: &str) -> Condition {
        let name = quoted(&self.name);
        let (bound, through) = counter.operand(through);
        match above {
            None => Condition { sql: format!("({name} <= {bound})"), params: vec![through] },
            Some(above) => {
                let (_, above) = counter.operand(above);
                Condition { sql: format!("({name} > {bound} AND {name} <= {bound})"), params: vec![above, through] }
            }
        }
    }

    /// The rows whose counter is not above `through`, and those without a value.
    pub(super) fn counters_from_the_beginning(&self, counter: Counter, through: &str) -> Condition {
        let (bound, through) = counter.operand(through);
        let name = quoted(&self.name);
        Condition { sql: format!("({name} <= {bound} OR {name} IS NULL)"), params: vec![through] }
    }

    fn is_null(&self) -> Condition {
        Condition { sql: format!("({} IS NULL)", quoted(&self.name)), params: Vec::new() }
    }
}

/// A condition that no row satisfies.
pub(super) fn nothing() -> Condition {
    Condition { sql: "(1 = 0)".to_owned(), params: Vec::new() }
}

impl Form {
    /// The first usable wall clock, where values before it are none, and the first that no value reaches.
    fn range(&self) -> (Option<i64>, i64) {
        match self {
            Self::Date | Self::DateTime { .. } | Self::Text { .. } | Self::Parsed { .. } => {
                (Some(WALL_MIN_US), WALL_END_US)
            }
            Self::Timestamp { .. } => (Some(TIMESTAMP_MIN_US), TIMESTAMP_END_US),
            Self::Integer { .. } | Self::Decimal { .. } | Self::Double { .. } | Self::Float { .. } => {
                (None, WALL_END_US)
            }
        }
    }

    /// A wall clock as a value to compare the column with.
    fn operand(&self, wall_us: i64) -> (String, Param) {
        match self {
            Self::Date => ("CAST(? AS DATE)".to_owned(), clock(wall_us, "%Y-%m-%d")),
            Self::DateTime { fraction_digits } | Self::Timestamp { fraction_digits } => {
                (format!("CAST(? AS DATETIME({fraction_digits}))"), clock(wall_us, "%Y-%m-%d %H:%M:%S%.6f"))
            }
            Self::Text { pattern, charset, collation } => (
                format!("CONVERT(? USING {charset}) COLLATE {collation}"),
                Param::Bytes(pattern.spell(wall_us).into_bytes()),
            ),
            Self::Parsed { .. } => ("CAST(? AS DATETIME(6))".to_owned(), clock(wall_us, "%Y-%m-%d %H:%M:%S%.6f")),
            Self::Integer { per_second, unsigned } => {
                let value = wall_us.div_euclid(SECOND_US / per_second);
                ("?".to_owned(), if *unsigned { Param::UInt(value.max(0).unsigned_abs()) } else { Param::Int(value) })
            }
            Self::Decimal { per_second } => {
                let micros = i128::from(wall_us) * i128::from(*per_second);
                let (sign, micros) = (if micros < 0 { "-" } else { "" }, micros.unsigned_abs());
                let text = format!("{sign}{}.{:06}", micros / 1_000_000, micros % 1_000_000);
                (format!("CAST(? AS DECIMAL({DECIMAL_DIGITS_MAX},6))"), Param::Bytes(text.into_bytes()))
            }
            Self::Double { per_second } => ("?".to_owned(), Param::Double(fraction(wall_us, *per_second))),
            // What the column makes of the moment: it keeps fewer digits, in the same order.
            #[expect(
                clippy::cast_possible_truncation,
                reason = "narrowing is the point: the column holds single precision"
            )]
            Self::Float { per_second } => {
                ("?".to_owned(), Param::Double(f64::from(fraction(wall_us, *per_second) as f32)))
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of the years 1 to 9999 take 58 bits; the order is kept")]
fn fraction(wall_us: i64, per_second: i64) -> f64 {
    wall_us as f64 / (SECOND_US / per_second) as f64
}

fn clock(wall_us: i64, format: &str) -> Param {
    let clock = DateTime::from_timestamp_micros(wall_us);
    Param::Bytes(clock.map(|clock| clock.format(format).to_string()).unwrap_or_default().into_bytes())
}

impl Counter {
    /// A value to compare the column with, from its digits.
    fn operand(self, digits: &str) -> (String, Param) {
        match self {
            Self::Integer { unsigned: true } => ("?".to_owned(), Param::UInt(digits.parse().unwrap_or(0))),
            Self::Integer { unsigned: false } => ("?".to_owned(), Param::Int(digits.parse().unwrap_or(i64::MIN))),
            Self::Decimal { scale } => {
                (format!("CAST(? AS DECIMAL({DECIMAL_DIGITS_MAX},{scale}))"), Param::Bytes(digits.as_bytes().to_vec()))
            }
        }
    }
}

struct Writer<'a> {
    column: &'a Column,
    moments: &'a Moments,
    sql: String,
    params: Vec<Param>,
}

impl Writer<'_> {
    /// The column as a moment.
    fn left(&mut self) {
        let name = quoted(&self.column.name);
        match &self.moments.form {
            Form::Parsed { format } => {
                self.sql.push_str(&format!("CAST(STR_TO_DATE({name}, ?) AS DATETIME(6))"));
                self.params.push(Param::Bytes(format.clone().into_bytes()));
            }
            _ => self.sql.push_str(&name),
        }
    }

    fn compare(&mut self, sign: &str, wall_us: i64) {
        let (sql, param) = self.moments.form.operand(wall_us);
        self.left();
        self.sql.push_str(sign);
        self.sql.push_str(&sql);
        self.params.push(param);
    }

    /// What a text must look like to be a moment.
    fn shape(&mut self) {
        if let Form::Text { pattern, .. } = &self.moments.form {
            let name = quoted(&self.column.name);
            self.sql.push_str(&format!("CHAR_LENGTH({name}) = {} AND {name} REGEXP ?", pattern.chars()));
            self.params.push(Param::Bytes(pattern.shape().into_bytes()));
        }
    }

    /// What is no moment, whatever the bound.
    fn unreadable(&mut self) {
        self.left();
        self.sql.push_str(" IS NULL");
        if let Form::Text { .. } = self.moments.form {
            self.sql.push_str(" OR NOT (");
            self.shape();
            self.sql.push(')');
        }
    }

    fn finish(mut self) -> Condition {
        self.sql.push(')');
        Condition { sql: self.sql, params: self.params }
    }
}

#[cfg(test)]
mod tests;
