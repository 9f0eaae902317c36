//! Order and pages: where in the order a page begins, as SQL that an index can seek to.
//!
//! Absent values come first when ascending and last when descending, as the database has them. A comparison with one is
//! neither true nor false, so a page that reaches from rows with a value into rows without is two selections.

use std::fmt::Write as _;

use headwaters_model::filter::Num;
use headwaters_model::page::{Direction, ListQuery, SortKey};
use headwaters_model::sandbox::Scope;
use serde_json::Value;

use super::index::in_envelope;
use super::{Argument, Place, Selection, json_path, microseconds, number, scalar};
use crate::resources::Table;

/// Which rows of the order a selection is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stretch {
    /// All, from the start.
    All,
    /// Those after the last item of the page before, among those that have a value for the first key if it has one.
    After,
    /// All without a value for the first key.
    Absent,
    /// All with one.
    Present,
}

/// The stretches that a page may reach through, in their order.
pub(super) fn stretches(query: &ListQuery) -> Vec<Stretch> {
    let (Some(after), Some(key)) = (&query.after, query.order.keys().into_iter().next()) else {
        return vec![Stretch::All];
    };
    let absent = after.first().is_none_or(Value::is_null);
    match key.direction {
        _ if in_envelope(&key.path.to_string()) => vec![Stretch::After],
        Direction::Ascending if absent => vec![Stretch::After, Stretch::Present],
        Direction::Descending if !absent => vec![Stretch::After, Stretch::Absent],
        Direction::Ascending | Direction::Descending => vec![Stretch::After],
    }
}

/// One sort key as SQL.
pub(super) struct Key {
    sql: String,
    direction: Direction,
    /// Whether it is never null.
    present: bool,
    /// Whether it is stored in microseconds.
    time: bool,
}

impl Selection {
    pub(super) fn sort_key(&mut self, table: &Table, scope: &Scope, key: SortKey) -> Key {
        let present = in_envelope(&key.path.to_string());
        let place = self.column(table, scope, &key.path);
        let time = matches!(place, Some(Place::Time(_)));
        let sql = match place {
            Some(Place::Text(column) | Place::Computed(column)) => column,
            Some(Place::Time(column) | Place::Scalar(column)) => column.to_owned(),
            None => {
                let path = self.bind(Argument::Text(json_path(key.path.segments())));
                scalar(&format!("json_type(body, {path})"), &format!("json_extract(body, {path})"))
            }
        };
        Key { sql, direction: key.direction, present, time }
    }

    /// The condition of lying in a stretch, beginning with `and`; `after` are the sort values of the last item before.
    pub(super) fn stretch(&mut self, keys: &[Key], stretch: Stretch, after: &[Value]) -> String {
        let (Some(first), Some(value)) = (keys.first(), after.first()) else { return String::new() };
        match stretch {
            Stretch::All => String::new(),
            Stretch::Absent => format!(" and {} is null", first.sql),
            Stretch::Present => format!(" and {} is not null", first.sql),
            Stretch::After if value.is_null() && !first.present => {
                let (keys, after) = (keys.get(1..).unwrap_or_default(), after.get(1..).unwrap_or_default());
                format!(" and {} is null and {}", first.sql, self.after(keys, after, false))
            }
            Stretch::After => format!(" and {}", self.after(keys, after, true)),
        }
    }

    /// What follows the given sort values; `apart` says that rows without a value for the first key are another
    /// selection's.
    fn after(&mut self, keys: &[Key], values: &[Value], apart: bool) -> String {
        let bound: Vec<_> = keys.iter().zip(values).map(|(key, value)| self.bind(key.argument(value))).collect();
        let (Some((first, others)), Some(value)) = (keys.split_first(), values.first()) else {
            return "true".to_owned();
        };
        let never_null = !value.is_null() && (apart || first.present);
        if never_null && others.iter().all(|key| key.present && key.direction == first.direction) {
            let keys: Vec<_> = keys.iter().map(|key| key.sql.as_str()).collect();
            return format!("({}) {} ({})", keys.join(", "), first.later(), bound.join(", "));
        }
        // Later in the first key, or equal in it and later in the second …
        let mut equal = String::new();
        let mut chain = Vec::new();
        for ((key, bound), value) in keys.iter().zip(&bound).zip(values) {
            chain.push(format!("{equal}{}", key.follows(bound, value.is_null())));
            let _ = write!(equal, "{} is {bound} and ", key.sql);
        }
        // Redundant, but a range that an index can seek to, and without rows that have no value.
        let range = match bound.first() {
            Some(bound) if never_null => format!("{} {}= {bound} and ", first.sql, first.later()),
            _ => String::new(),
        };
        format!("{range}(({}))", chain.join(") or ("))
    }
}

impl Key {
    pub(super) fn order(&self) -> String {
        let (direction, nulls) = match self.direction {
            Direction::Ascending => ("asc", "first"),
            Direction::Descending => ("desc", "last"),
        };
        let nulls = if self.present { String::new() } else { format!(" nulls {nulls}") };
        format!("{} {direction}{nulls}", self.sql)
    }

    fn later(&self) -> char {
        match self.direction {
            Direction::Ascending => '>',
            Direction::Descending => '<',
        }
    }

    /// The condition of coming after a value; absent values are first when ascending and last when descending.
    fn follows(&self, value: &str, absent: bool) -> String {
        let Self { sql, .. } = self;
        match (self.direction, absent) {
            (Direction::Ascending, false) => format!("{sql} > {value}"),
            (Direction::Ascending, true) => format!("{sql} is not null"),
            (Direction::Descending, false) if self.present => format!("{sql} < {value}"),
            (Direction::Descending, false) => format!("({sql} < {value} or {sql} is null)"),
            (Direction::Descending, true) => "false".to_owned(),
        }
    }

    fn argument(&self, value: &Value) -> Argument {
        match value {
            Value::String(text) => Argument::Text(text.clone()),
            Value::Number(json) if self.time => microseconds(Num::of(json)),
            Value::Number(json) => number(Num::of(json)),
            _ => Argument::Null,
        }
    }
}
