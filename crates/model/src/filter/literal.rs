//! Values of filters, and how stored values compare with them: by the type that is stored (flow-service.md 7.2).

use std::cmp::Ordering;

use serde_json::{Number, Value};

/// A value to compare with: its text, and the number that it may be.
#[derive(Debug, Clone, PartialEq)]
pub struct Literal {
    text: String,
    number: Option<Num>,
}

/// A number as it is compared: exact where it fits 64 bits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Num {
    /// A whole number of 64 bits.
    Int(i64),
    /// Anything else.
    Real(f64),
}

impl Literal {
    pub(super) fn new(text: String) -> Self {
        let number = Num::parse(&text);
        Self { text, number }
    }

    /// Its text, without quotes.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The number that it is, if it is one.
    #[must_use]
    pub fn number(&self) -> Option<Num> {
        self.number
    }

    /// Whether a stored value is this one, compared by the stored value's type.
    pub(super) fn equals(&self, value: &Value, fold: bool) -> bool {
        self.order(value, fold) == Some(Ordering::Equal)
    }

    /// How a stored value stands to this one; none when they can not be compared.
    pub(super) fn order(&self, value: &Value, fold: bool) -> Option<Ordering> {
        match value {
            Value::String(text) if fold => Some(text.to_ascii_lowercase().cmp(&self.text.to_ascii_lowercase())),
            Value::String(text) => Some(text.as_str().cmp(&self.text)),
            Value::Bool(flag) => Some((if *flag { "true" } else { "false" }).cmp(self.text.as_str())),
            Value::Number(number) => Num::of(number).compare(self.number?),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }
}

impl Num {
    /// The number of a JSON document.
    #[must_use]
    pub fn of(number: &Number) -> Self {
        number.as_i64().map_or_else(|| Self::Real(number.as_f64().unwrap_or(f64::NAN)), Self::Int)
    }

    /// Compares exactly, also a whole number of 64 bits with a fraction.
    #[must_use]
    pub fn compare(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(left), Self::Int(right)) => Some(left.cmp(&right)),
            (Self::Real(left), Self::Real(right)) => left.partial_cmp(&right),
            (Self::Int(left), Self::Real(right)) => compare_mixed(left, right),
            (Self::Real(left), Self::Int(right)) => compare_mixed(right, left).map(Ordering::reverse),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let digits = |text: &str| text.starts_with(|c: char| c.is_ascii_digit() || c == '-');
        let int = text.parse().ok().map(Self::Int);
        int.or_else(|| text.parse().ok().filter(|real: &f64| real.is_finite()).map(Self::Real)).filter(|_| digits(text))
    }
}

/// 2^63, the first whole number beyond 64 bits.
const BEYOND_INT: f64 = 9_223_372_036_854_775_808.0;

fn compare_mixed(int: i64, real: f64) -> Option<Ordering> {
    if real.is_nan() {
        return None;
    }
    if real >= BEYOND_INT {
        return Some(Ordering::Less);
    }
    if real < -BEYOND_INT {
        return Some(Ordering::Greater);
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the bounds above leave only what fits, and the fraction is compared apart"
    )]
    let whole = real.trunc() as i64;
    Some(int.cmp(&whole).then_with(|| 0.0_f64.total_cmp(&(real.fract() + 0.0))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_and_fractions_compare_exactly() {
        let big = i64::MAX;
        assert_eq!(Num::Int(big).compare(Num::Real(BEYOND_INT)), Some(Ordering::Less));
        assert_eq!(Num::Int(3).compare(Num::Real(3.5)), Some(Ordering::Less));
        assert_eq!(Num::Int(-3).compare(Num::Real(-3.5)), Some(Ordering::Greater));
        assert_eq!(Num::Real(3.0).compare(Num::Int(3)), Some(Ordering::Equal));
        assert_eq!(Num::Real(-0.0).compare(Num::Int(0)), Some(Ordering::Equal));
    }
}
