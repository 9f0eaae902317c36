//! What a delta column is (flow-service.md 16.2): by its type, and by the format and the zone that the flow names.

use chrono_tz::Tz;
use headwaters_model::source_error::{SourceError, SourceErrorKind};
use headwaters_model::window::DeltaColumn;

use super::text::{DEFAULT_PATTERN, PATTERN_HINT, Pattern};
use super::wall::{DAY_US, SECOND_US};
use crate::mysql::catalog::{ColumnDescription, TableDescription};
use crate::mysql::types::{FRACTION_DIGITS_MAX, ServerType, TypeRules};

/// `dateFormat` of a number that counts seconds since 1970.
const EPOCH: &str = "epoch";
/// `dateFormat` of a number that counts milliseconds since 1970.
const EPOCH_MILLIS: &str = "epochMillis";
/// The zones that are UTC under another name.
const UTC: [&str; 6] = ["utc", "z", "gmt", "etc/utc", "+00:00", "+0000"];
/// A delta column of a table.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::mysql) struct Column {
    /// Its name as the server spells it.
    pub(super) name: String,
    /// Whether it can be null.
    pub(super) nullable: bool,
    /// What its values are.
    pub(super) values: Values,
    /// How they are read: format and zone. Without meaning for a counter.
    pub(super) reading: String,
}

/// What the values of a delta column are.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Values {
    /// Moments.
    Moments(Moments),
    /// Numbers that only grow.
    Counter(Counter),
}

/// How a column holds moments.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Moments {
    /// The zone of its wall clock; none is UTC.
    pub(super) zone: Option<Tz>,
    /// The smallest step between two of its values, in microseconds.
    pub(super) unit_us: i64,
    /// What its values look like.
    pub(super) form: Form,
}

/// What the moments of a column look like.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Form {
    Date,
    DateTime {
        fraction_digits: u8,
    },
    Timestamp {
        fraction_digits: u8,
    },
    /// A text that is compared as it stands.
    Text {
        pattern: Pattern,
        charset: String,
        collation: String,
    },
    /// A text that the server reads row by row.
    Parsed {
        format: String,
    },
    /// A number of units of time since 1970.
    Integer {
        per_second: i64,
        unsigned: bool,
    },
    Decimal {
        per_second: i64,
    },
    Double {
        per_second: i64,
    },
    Float {
        per_second: i64,
    },
}

/// How a column holds a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counter {
    Integer { unsigned: bool },
    Decimal { scale: u8 },
}

impl Column {
    /// Finds the column of a flow in its table; fails if it is not there, or holds neither moments nor a counter.
    pub(super) fn find(delta: &DeltaColumn, table: &TableDescription, rules: &TypeRules) -> Result<Self, SourceError> {
        let Some(column) = table.column(&delta.name) else {
            let message =
                format!("the table {} has no column {}, by which the flow chooses rows", table.name, delta.name);
            return Err(unfit(message).with_hint("describe the table to see its columns"));
        };
        if !column.selectable {
            let message = format!("the account may not read the column {} of {}", column.name, table.name);
            return Err(unfit(message).with_hint(format!("GRANT SELECT ON {} TO the account", table.name.quoted())));
        }
        let values = values(delta, column, rules)?;
        let reading = reading(delta, &values, &column.server_type());
        Ok(Self { name: column.name.clone(), nullable: column.nullable, values, reading })
    }

    /// Whether an index on the column can serve: not where the server has to read each text.
    pub(super) fn is_indexable(&self) -> bool {
        !matches!(&self.values, Values::Moments(Moments { form: Form::Parsed { .. }, .. }))
    }

    /// Whether its values are a wall clock whose zone nobody has declared.
    pub(super) fn is_undeclared_wall_clock(&self) -> bool {
        matches!(&self.values, Values::Moments(Moments { zone: None, form: Form::Date | Form::DateTime { .. }, .. }))
    }
}

/// An error about the delta column.
pub(super) fn unfit(message: impl Into<String>) -> SourceError {
    SourceError::definite(SourceErrorKind::DeltaColumn, message)
}

/// What the values of a column mean under a flow's format.
fn values(delta: &DeltaColumn, column: &ColumnDescription, rules: &TypeRules) -> Result<Values, SourceError> {
    let name = &column.name;
    let per_second = match delta.date_format.as_deref() {
        Some(EPOCH) => Some(1),
        Some(EPOCH_MILLIS) => Some(1_000),
        _ => None,
    };
    let wall_clock = rules.source_time_zone;
    let moments = |zone, unit_us, form| Ok(Values::Moments(Moments { zone, unit_us, form }));
    let server = column.server_type();
    let unsigned = column.column_type.to_ascii_lowercase().contains("unsigned");
    match (&server, per_second) {
        (ServerType::Date, _) => moments(wall_clock, DAY_US, Form::Date),
        (ServerType::DateTime { fraction_digits }, _) => {
            let fraction_digits = (*fraction_digits).min(FRACTION_DIGITS_MAX);
            moments(wall_clock, unit_us(fraction_digits), Form::DateTime { fraction_digits })
        }
        (ServerType::Timestamp { fraction_digits }, _) => {
            let fraction_digits = (*fraction_digits).min(FRACTION_DIGITS_MAX);
            moments(None, unit_us(fraction_digits), Form::Timestamp { fraction_digits })
        }
        (ServerType::Text, _) => text(delta, column),
        (ServerType::TinyInt { boolean: true, .. }, _) if rules.tiny_as_boolean => {
            Err(neither(name, "is a boolean, which tells no time"))
        }
        (
            ServerType::TinyInt { .. }
            | ServerType::SmallInt { .. }
            | ServerType::MediumInt { .. }
            | ServerType::Int { .. }
            | ServerType::BigInt { .. },
            per_second,
        ) => match per_second {
            None => Ok(Values::Counter(Counter::Integer { unsigned })),
            Some(per_second) => moments(None, SECOND_US / per_second, Form::Integer { per_second, unsigned }),
        },
        (ServerType::Decimal { scale, .. }, None) => Ok(Values::Counter(Counter::Decimal { scale: *scale })),
        (ServerType::Decimal { scale, .. }, Some(per_second)) => {
            let unit_us = (SECOND_US / per_second / 10_i64.pow(u32::from((*scale).min(FRACTION_DIGITS_MAX)))).max(1);
            moments(None, unit_us, Form::Decimal { per_second })
        }
        (ServerType::Double, Some(per_second)) => moments(None, 1, Form::Double { per_second }),
        (ServerType::Float, Some(per_second)) => moments(None, 1, Form::Float { per_second }),
        (ServerType::Double | ServerType::Float, None) => {
            Err(neither(name, "holds numbers with fractions, which do not count"))
        }
        _ => Err(neither(
            name,
            &format!("is of the type {}, which holds neither moments nor a counter", column.data_type),
        )),
    }
}

/// How values are read, as a watermark remembers it: what has no meaning for the column's type is left out.
fn reading(delta: &DeltaColumn, values: &Values, server: &ServerType) -> String {
    let Values::Moments(moments) = values else { return "counter".to_owned() };
    let zone = moments.zone.unwrap_or(Tz::UTC);
    match server {
        ServerType::Date | ServerType::DateTime { .. } | ServerType::Timestamp { .. } => zone.to_string(),
        _ => format!("{}, {zone}", delta.date_format.as_deref().unwrap_or(DEFAULT_PATTERN)),
    }
}

fn neither(name: &str, why: &str) -> SourceError {
    unfit(format!("rows can not be chosen by the column {name}: it {why}")).with_hint(format!(
        "name a date-time column, a text with its dateFormat, a counter, or a number with the dateFormat {EPOCH} or \
         {EPOCH_MILLIS}"
    ))
}

fn unit_us(fraction_digits: u8) -> i64 {
    SECOND_US / 10_i64.pow(u32::from(fraction_digits.min(FRACTION_DIGITS_MAX)))
}

fn text(delta: &DeltaColumn, column: &ColumnDescription) -> Result<Values, SourceError> {
    let name = &column.name;
    let format = delta.date_format.as_deref().unwrap_or(DEFAULT_PATTERN);
    let pattern = Pattern::parse(format)
        .map_err(|error| unfit(format!("the text column {name} can not be read: {error}")).with_hint(PATTERN_HINT))?;
    let zone = match delta.timezone.as_deref().map(str::trim) {
        None => None,
        Some(zone) if zone.is_empty() || UTC.contains(&zone.to_ascii_lowercase().as_str()) => None,
        Some(zone) => match zone.parse::<Tz>() {
            Ok(Tz::UTC) => None,
            Ok(zone) => Some(zone),
            Err(_) => {
                let message = format!("the timezone of the text column {name} is not known");
                return Err(unfit(message).with_hint("send a name such as Europe/Zurich, or leave it out for UTC"));
            }
        },
    };
    let unit_us = pattern.unit_us();
    let form = match (&column.charset, &column.collation) {
        (Some(charset), Some(collation)) if pattern.is_sorted() && is_name(charset) && is_name(collation) => {
            Form::Text { pattern, charset: charset.clone(), collation: collation.clone() }
        }
        _ => Form::Parsed { format: pattern.server_format() },
    };
    Ok(Values::Moments(Moments { zone, unit_us, form }))
}

/// Whether the name of a character set can stand in a statement.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
