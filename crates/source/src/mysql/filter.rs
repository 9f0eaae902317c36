//! A row filter as a condition of SQL (flow-service.md 14.3).
//!
//! **Invariant.** Every literal is bound as a parameter and every column is one that the server named, in backticks: no
//! text of a client becomes a part of the statement.
//!
//! A literal means what `explore` shows: booleans are those that are landed, floats are compared as the column keeps
//! them, date-times are UTC. Text is compared under the column's collation.

mod collations;
mod moments;

use headwaters_model::row_filter::{Comparison, Literal, RowFilter};
use headwaters_model::source_error::{SourceError, SourceErrorKind};
use serde_json::{Number, Value};

use self::collations::{holds, wide_collation};
use self::moments::{duration, moment};
use super::catalog::{ColumnDescription, TableDescription, constant, quoted};
use super::types::{ServerType, TypeRules};
use super::wire::Param;

/// The most digits that a DECIMAL of either server holds, and of these the most after the point.
const DECIMAL_DIGITS_MAX: usize = 65;
const DECIMAL_FRACTION_DIGITS_MAX: usize = 30;

/// What stands behind WHERE, in parentheses, and the values of its question marks in their order.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// The SQL.
    pub sql: String,
    /// The values.
    pub params: Vec<Param>,
}

impl Condition {
    /// What satisfies all of them; none if there are none.
    #[must_use]
    pub fn all<const N: usize>(conditions: [Option<Self>; N]) -> Option<Self> {
        conditions.into_iter().flatten().reduce(|all, next| Self {
            sql: format!("{} AND {}", all.sql, next.sql),
            params: [all.params, next.params].concat(),
        })
    }

    /// The same with the values in their places as constants, for statements that can not be prepared.
    ///
    /// Text stands there in hexadecimal, so none of it can end a constant.
    #[must_use]
    pub fn spelt_out(&self) -> String {
        let mut sql = String::with_capacity(self.sql.len());
        let mut params = self.params.iter();
        let mut quoted = false;
        for c in self.sql.chars() {
            // A question mark inside backticks belongs to the name of a column.
            quoted ^= c == '`';
            match c {
                '?' if !quoted => sql.push_str(&params.next().map_or_else(|| "NULL".to_owned(), spelt)),
                c => sql.push(c),
            }
        }
        sql
    }
}

fn spelt(param: &Param) -> String {
    match param {
        Param::Null => "NULL".to_owned(),
        Param::Int(value) => value.to_string(),
        Param::UInt(value) => value.to_string(),
        Param::Double(value) => format!("{value:e}"),
        Param::Bytes(bytes) => constant(bytes),
    }
}

/// Reads a PQL document and translates it for a table.
pub fn condition(document: &Value, table: &TableDescription, rules: &TypeRules) -> Result<Condition, SourceError> {
    let filter = RowFilter::parse(document).map_err(|error| {
        let kind = SourceErrorKind::InvalidParameter { key: "filters".to_owned() };
        SourceError::definite(kind, error.to_string())
    })?;
    to_sql(&filter, table, rules)
}

/// Translates a filter for a table; fails if a column does not exist or does not take a literal of its type.
pub fn to_sql(filter: &RowFilter, table: &TableDescription, rules: &TypeRules) -> Result<Condition, SourceError> {
    let mut writer = Writer { table, rules, sql: String::new(), params: Vec::new() };
    writer.node(filter)?;
    Ok(Condition { sql: writer.sql, params: writer.params })
}

struct Writer<'a> {
    table: &'a TableDescription,
    rules: &'a TypeRules,
    sql: String,
    params: Vec<Param>,
}

impl Writer<'_> {
    fn node(&mut self, filter: &RowFilter) -> Result<(), SourceError> {
        self.sql.push('(');
        match filter {
            RowFilter::Compare { column, comparison, literal } => {
                let operand = self.operand(column, std::slice::from_ref(literal))?;
                self.sql.push_str(&operand.left);
                self.sql.push_str(sign(*comparison));
                self.value(&operand, literal)?;
            }
            RowFilter::Like { column, pattern } => self.like(column, pattern)?,
            RowFilter::In { column, literals } => {
                let operand = self.operand(column, literals)?;
                self.sql.push_str(&operand.left);
                self.sql.push_str(" IN (");
                for (place, literal) in literals.iter().enumerate() {
                    if place > 0 {
                        self.sql.push_str(", ");
                    }
                    self.value(&operand, literal)?;
                }
                self.sql.push(')');
            }
            RowFilter::IsNull { column } => {
                let column = self.column(column)?;
                self.sql.push_str(&quoted(&column.name));
                self.sql.push_str(" IS NULL");
            }
            RowFilter::And(nodes) => self.joined(nodes, " AND ")?,
            RowFilter::Or(nodes) => self.joined(nodes, " OR ")?,
            RowFilter::Not(node) => {
                self.sql.push_str("NOT ");
                self.node(node)?;
            }
        }
        self.sql.push(')');
        Ok(())
    }

    fn joined(&mut self, nodes: &[RowFilter], between: &str) -> Result<(), SourceError> {
        for (place, node) in nodes.iter().enumerate() {
            if place > 0 {
                self.sql.push_str(between);
            }
            self.node(node)?;
        }
        Ok(())
    }

    fn like(&mut self, name: &str, pattern: &str) -> Result<(), SourceError> {
        let operand = self.operand(name, &[Literal::Text(pattern.to_owned())])?;
        if !matches!(operand.domain, Domain::Text | Domain::Bytes) {
            return Err(mismatch(&operand.name, "like takes a column of text"));
        }
        self.sql.push_str(&operand.left);
        self.sql.push_str(" LIKE ?");
        self.params.push(Param::Bytes(pattern.as_bytes().to_vec()));
        Ok(())
    }

    fn column(&self, name: &str) -> Result<&ColumnDescription, SourceError> {
        self.table.column(name).ok_or_else(|| {
            let message = format!("the row filter names the column {name}, which {} does not have", self.table.name);
            SourceError::definite(SourceErrorKind::UnknownFilterColumn, message)
                .with_hint("describe the table to see its columns")
        })
    }

    fn operand(&self, name: &str, literals: &[Literal]) -> Result<Operand, SourceError> {
        let column = self.column(name)?;
        let server = column.server_type();
        let domain = Domain::of(&server, self.rules);
        let identifier = quoted(&column.name);
        let left = match domain {
            // A boolean lands as true for every value but 0.
            Domain::Boolean => format!("({identifier} <> 0)"),
            // MySQL compares JSON by its values, never with a text; MariaDB's JSON is text under a binary collation.
            Domain::Text if column.data_type == "json" => format!("CAST({identifier} AS CHAR) COLLATE utf8mb4_bin"),
            // A literal that the column's character set does not hold would be an error instead of no match.
            Domain::Text if !literals.iter().all(|literal| is_held(column, literal)) => {
                let collation = wide_collation(column.collation.as_deref().unwrap_or_default());
                format!("CONVERT({identifier} USING utf8mb4) COLLATE {collation}")
            }
            _ => identifier,
        };
        Ok(Operand { name: column.name.clone(), left, domain })
    }

    fn value(&mut self, operand: &Operand, literal: &Literal) -> Result<(), SourceError> {
        let wrong = |expected: &str| mismatch(&operand.name, expected);
        let (sql, param) = match (operand.domain, literal) {
            (Domain::Boolean, Literal::Boolean(value)) => bound(Param::Int((*value).into())),
            (Domain::Boolean, _) => return Err(wrong("the column is a boolean, and the literal is none")),
            (Domain::Float, Literal::Number(number)) => bound(single_precision(number)),
            (Domain::Double, Literal::Number(number)) => bound(double_precision(number)),
            (Domain::Exact, Literal::Number(number)) => exact(number),
            (Domain::LongDecimal, Literal::Number(number)) => exact(number),
            (Domain::LongDecimal, Literal::Text(text)) => {
                decimal(text).ok_or_else(|| wrong("the column is a decimal, and the literal has other characters"))?
            }
            (Domain::Float | Domain::Double | Domain::Exact | Domain::LongDecimal, _) => {
                return Err(wrong("the column is a number, and the literal is none"));
            }
            (Domain::Moment { wall_clock }, Literal::Text(text)) => {
                let zone = self.rules.source_time_zone.filter(|_| wall_clock);
                let text = moment(text, zone).ok_or_else(|| {
                    wrong("the column is a date-time, and the literal is not in the form 2020-04-22T10:00:00Z")
                })?;
                ("CAST(? AS DATETIME(6))".to_owned(), Param::Bytes(text.into_bytes()))
            }
            (Domain::Duration, Literal::Text(text)) => {
                let text = duration(text).ok_or_else(|| wrong("the column is a time in the form [-]HH:MM:SS"))?;
                ("CAST(? AS TIME(6))".to_owned(), Param::Bytes(text.into_bytes()))
            }
            (Domain::Text | Domain::Bytes, Literal::Text(text)) => bound(Param::Bytes(text.as_bytes().to_vec())),
            (Domain::Moment { .. } | Domain::Duration | Domain::Text | Domain::Bytes, _) => {
                return Err(wrong("the column takes a string literal"));
            }
            (Domain::Opaque, _) => return Err(wrong("columns of this type can only be compared with isNull")),
        };
        self.sql.push_str(&sql);
        self.params.push(param);
        Ok(())
    }
}

struct Operand {
    name: String,
    left: String,
    domain: Domain,
}

/// What a column is compared as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Domain {
    Boolean,
    /// An integer or a decimal.
    Exact,
    /// A decimal that lands as text.
    LongDecimal,
    Float,
    Double,
    /// A date or a moment; a wall clock follows the declared zone.
    Moment {
        wall_clock: bool,
    },
    Duration,
    Text,
    /// Bytes, compared with those of the literal in UTF-8.
    Bytes,
    /// Nothing that a literal could mean.
    Opaque,
}

impl Domain {
    fn of(server: &ServerType, rules: &TypeRules) -> Self {
        match server {
            ServerType::TinyInt { boolean: true, .. } if rules.tiny_as_boolean => Self::Boolean,
            ServerType::Bit { bits: 0 | 1 } => Self::Boolean,
            ServerType::TinyInt { .. }
            | ServerType::SmallInt { .. }
            | ServerType::MediumInt { .. }
            | ServerType::Int { .. }
            | ServerType::BigInt { .. }
            | ServerType::Bit { .. }
            | ServerType::Year => Self::Exact,
            ServerType::Decimal { precision, .. } if *precision <= super::types::DECIMAL_DIGITS_MAX => Self::Exact,
            ServerType::Decimal { .. } => Self::LongDecimal,
            ServerType::Float => Self::Float,
            ServerType::Double => Self::Double,
            ServerType::DateTime { .. } => Self::Moment { wall_clock: true },
            ServerType::Date | ServerType::Timestamp { .. } => Self::Moment { wall_clock: false },
            ServerType::Time { .. } => Self::Duration,
            ServerType::Binary { length: 16, fixed: true } if rules.guids.is_some() => Self::Opaque,
            ServerType::Binary { .. } => Self::Bytes,
            ServerType::Geometry | ServerType::Vector => Self::Opaque,
            ServerType::Text
            | ServerType::Enum { .. }
            | ServerType::Set
            | ServerType::Json
            | ServerType::Printed(_)
            | ServerType::Null
            | ServerType::Unknown { .. } => Self::Text,
        }
    }
}

fn sign(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Equal => " = ",
        Comparison::NotEqual => " <> ",
        Comparison::Less => " < ",
        Comparison::LessOrEqual => " <= ",
        Comparison::Greater => " > ",
        Comparison::GreaterOrEqual => " >= ",
    }
}

/// Whether the server can compare a literal in the column's own character set.
fn is_held(column: &ColumnDescription, literal: &Literal) -> bool {
    match (&column.charset, literal) {
        (Some(charset), Literal::Text(text)) => holds(charset, text),
        _ => true,
    }
}

fn bound(param: Param) -> (String, Param) {
    ("?".to_owned(), param)
}

/// The literal as a FLOAT keeps it: 1.1 in the document means the float 1.1, not the double.
#[expect(clippy::cast_possible_truncation, reason = "narrowing is the point: the column holds single precision")]
fn single_precision(number: &Number) -> Param {
    Param::Double(f64::from(number.as_f64().unwrap_or_default() as f32))
}

fn double_precision(number: &Number) -> Param {
    Param::Double(number.as_f64().unwrap_or_default())
}

/// A number compared digit by digit: a fraction as a decimal, because a double would make 0.1 another value.
fn exact(number: &Number) -> (String, Param) {
    if let Some(value) = number.as_i64() {
        return bound(Param::Int(value));
    }
    if let Some(value) = number.as_u64() {
        return bound(Param::UInt(value));
    }
    // Rust prints a double without an exponent, with the fewest digits that name it.
    let value = number.as_f64().unwrap_or_default();
    decimal(&value.to_string()).unwrap_or_else(|| bound(Param::Double(value)))
}

/// Digits as a DECIMAL; none if they are none, or too many.
fn decimal(text: &str) -> Option<(String, Param)> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = !whole.is_empty() && (whole.bytes().chain(fraction.bytes())).all(|byte| byte.is_ascii_digit());
    if !all_digits || fraction.len() > DECIMAL_FRACTION_DIGITS_MAX || whole.len() + fraction.len() > DECIMAL_DIGITS_MAX
    {
        return None;
    }
    let sql = format!("CAST(? AS DECIMAL({DECIMAL_DIGITS_MAX},{}))", fraction.len());
    Some((sql, Param::Bytes(text.as_bytes().to_vec())))
}

fn mismatch(column: &str, expected: &str) -> SourceError {
    let message = format!("the row filter compares the column {column} with a literal of another type: {expected}");
    SourceError::definite(SourceErrorKind::FilterType, message)
}

#[cfg(test)]
mod tests;
