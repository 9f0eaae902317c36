//! Filters, order and pages of lists as SQL: the one place where a text is composed at run time.
//!
//! **Invariant.** Whatever a caller wrote reaches the database as a bound value, never as part of the text. The text is
//! made of constants, parameter numbers and names from [`Table`].
//!
//! **Invariant.** What is selected is what [`Filter::matches`] selects on the documents, in the order of
//! [`Order::compare`](headwaters_model::page::Order::compare). The property test of the suite compares them for flows, runs
//! and source connections, which between them have every form of column; the other kinds only name other columns.

pub(crate) mod index;
mod keys;

use headwaters_model::filter::{Filter, Literal, Num, Operator, Path, Segment};
use headwaters_model::page::ListQuery;
use headwaters_model::sandbox::Scope;
use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, Sqlite};

use self::index::{Holds, RANGE_ROWS_MAX, Range, Way};
use self::keys::{Stretch, stretches};
use crate::resources::{Table, columns};
use crate::rows;

/// A value to bind.
#[derive(Debug, Clone, PartialEq)]
enum Argument {
    Null,
    Text(String),
    Int(i64),
    Real(f64),
}

/// A composed query with its values.
pub(crate) struct Selection {
    sql: String,
    arguments: Vec<Argument>,
}

/// Makes a query of a selection.
pub(crate) fn bind_all(selection: Selection) -> Query<'static, Sqlite, SqliteArguments> {
    let query = sqlx::query(AssertSqlSafe(selection.sql));
    selection.arguments.into_iter().fold(query, |query, argument| match argument {
        Argument::Null => query.bind(None::<String>),
        Argument::Text(text) => query.bind(text),
        Argument::Int(int) => query.bind(int),
        Argument::Real(real) => query.bind(real),
    })
}

/// Where the value of a path is in a row.
enum Place {
    /// A column with a text; it may be null.
    Text(String),
    /// A column with a time in microseconds, compared with milliseconds.
    Time(&'static str),
    /// A column with what [`scalar`] makes of a value.
    Scalar(&'static str),
    /// The same, not kept in a column.
    Computed(String),
}

impl Selection {
    /// One page, and one row more: several selections when the rows do not lie in one stretch of the order, to be read
    /// one after the other until there are enough.
    ///
    /// `rare` is a range that few rows lie in.
    pub(crate) fn pages(table: &Table, scope: &Scope, query: &ListQuery, rare: Option<Range>) -> Vec<Self> {
        let way = Way::of_page(table, query, rare);
        let page = |stretch| Self::page(table, scope, query, &way, stretch);
        stretches(query).into_iter().map(page).collect()
    }

    fn page(table: &Table, scope: &Scope, query: &ListQuery, way: &Way, stretch: Stretch) -> Self {
        let mut selection = Self { sql: String::new(), arguments: Vec::new() };
        let mut conditions = selection.scoped(scope);
        for (place, filter) in query.filters.iter().enumerate() {
            if way.value_by_value != Some(place) {
                conditions.push_str(" and ");
                conditions.push_str(&selection.condition(table, scope, filter));
            }
        }
        let keys: Vec<_> = query.order.keys().into_iter().map(|key| selection.sort_key(table, scope, key)).collect();
        conditions.push_str(&selection.stretch(&keys, stretch, query.after.as_deref().unwrap_or_default()));
        let order = keys.iter().map(keys::Key::order).collect::<Vec<_>>().join(", ");
        let source = source(table, way.index.as_deref());
        let limit = i64::from(query.limit) + 1;
        let skip = i64::try_from(query.skip).unwrap_or(i64::MAX);
        let page = format!(
            "order by {order} limit {} offset {}",
            selection.bind(Argument::Int(limit)),
            selection.bind(Argument::Int(skip))
        );
        let columns = columns!();
        selection.sql = match way.value_by_value.and_then(|place| query.filters.get(place)) {
            None => format!("select {columns} from {source} where {conditions} {page}"),
            Some(filter) => {
                // Of each value the first rows, found in order; of these the first ones.
                let enough = selection.bind(Argument::Int(limit.saturating_add(skip)));
                let of_value = |value| {
                    let condition = selection.condition_on(table, scope, filter, std::slice::from_ref(value));
                    format!(
                        "select rowid from (select rowid from {source} where {conditions} and {condition} \
                         order by {order} limit {enough})"
                    )
                };
                let found = filter.values().iter().map(of_value).collect::<Vec<_>>().join(" union all ");
                format!("select {columns} from {} where rowid in ({found}) {page}", table.name)
            }
        };
        selection
    }

    /// How many there are.
    pub(crate) fn count(table: &Table, scope: &Scope, filters: &[Filter]) -> Self {
        let mut selection = Self { sql: String::new(), arguments: Vec::new() };
        let mut conditions = selection.scoped(scope);
        for filter in filters {
            conditions.push_str(" and ");
            conditions.push_str(&selection.condition(table, scope, filter));
        }
        let source = source(table, Way::of_count(table, filters).index.as_deref());
        selection.sql = format!("select count(*) from {source} where {conditions}");
        selection
    }

    /// How many rows lie in a range of a list, counted no further than one beyond [`RANGE_ROWS_MAX`].
    pub(crate) fn probe(table: &Table, scope: &Scope, query: &ListQuery, range: &Range) -> Self {
        let mut selection = Self { sql: String::new(), arguments: Vec::new() };
        let mut conditions = selection.scoped(scope);
        if let Some(filter) = query.filters.get(range.filter) {
            conditions.push_str(" and ");
            conditions.push_str(&selection.condition(table, scope, filter));
        }
        let source = source(table, Some(&range.index));
        selection.sql = format!(
            "select count(*) from (select 1 from {source} where {conditions} limit {})",
            RANGE_ROWS_MAX.saturating_add(1)
        );
        selection
    }

    /// Binds a value and gives the name of its parameter.
    fn bind(&mut self, argument: Argument) -> String {
        self.arguments.push(argument);
        format!("${}", self.arguments.len())
    }

    fn scoped(&mut self, scope: &Scope) -> String {
        let org = self.bind(Argument::Text(scope.org.as_str().to_owned()));
        let sandbox = self.bind(Argument::Text(scope.sandbox.to_string()));
        format!("org = {org} and sandbox = {sandbox}")
    }

    fn condition(&mut self, table: &Table, scope: &Scope, filter: &Filter) -> String {
        self.condition_on(table, scope, filter, filter.values())
    }

    /// A filter, asked with these values of its own.
    fn condition_on(&mut self, table: &Table, scope: &Scope, filter: &Filter, values: &[Literal]) -> String {
        let asked = Asked { filter, values };
        let condition = match self.column(table, scope, filter.path()) {
            Some(place) => self.comparison(&place, asked),
            None => self.within("body", filter.path().segments(), 0, asked),
        };
        // Bare where it can be: an index is found only so.
        let negation = if filter.operator() == Operator::NotEqual { " is not true" } else { "" };
        format!("({condition}){negation}")
    }

    /// The column that holds the value of a path, if one does.
    fn column(&mut self, table: &Table, scope: &Scope, path: &Path) -> Option<Place> {
        let path = path.to_string();
        if let Some(indexed) = table.indexed.iter().find(|indexed| indexed.path == path) {
            return Some(match indexed.holds {
                Holds::Text => Place::Text(indexed.column.to_owned()),
                Holds::Scalar => Place::Scalar(indexed.column),
            });
        }
        let text = |column: &str| Some(Place::Text(column.to_owned()));
        match path.as_str() {
            "id" | "state" | "etag" => text(&path),
            "version" => text("etag"),
            "createdAt" => Some(Place::Time("created_at_us")),
            "updatedAt" => Some(Place::Time("updated_at_us")),
            "createdBy" => text("created_by"),
            "updatedBy" => text("updated_by"),
            "createdClient" => text("created_client"),
            "updatedClient" => text("updated_client"),
            "sandboxId" => text("sandbox"),
            "imsOrgId" => text("org"),
            "sandboxName" => text(&self.bind(Argument::Text(scope.sandbox_name.clone()))),
            _ => None,
        }
    }

    /// A condition on a value inside a JSON text: one `exists` per array on the way.
    fn within(&mut self, json: &str, segments: &[Segment], depth: usize, asked: Asked<'_>) -> String {
        let until = segments.iter().position(|segment| segment.each);
        let (here, rest) = match until {
            Some(array) => segments.split_at(array + 1),
            None => (segments, &[][..]),
        };
        let path = self.bind(Argument::Text(json_path(here)));
        let kind = format!("json_type({json}, {path})");
        if until.is_none() {
            let value = scalar(&kind, &format!("json_extract({json}, {path})"));
            return self.comparison(&Place::Computed(value), asked);
        }
        let element = format!("e{depth}");
        let inner = if rest.is_empty() {
            let value = scalar(&format!("{element}.type"), &format!("{element}.value"));
            self.comparison(&Place::Computed(value), asked)
        } else {
            // An element that is a plain text must not be read as JSON.
            let object = format!("case when {element}.type = 'object' then {element}.value end");
            self.within(&object, rest, depth + 1, asked)
        };
        format!("{kind} = 'array' and exists (select 1 from json_each({json}, {path}) {element} where {inner})")
    }

    /// Compares the value at a place; for `!=` this is `==`, turned around by the caller.
    fn comparison(&mut self, place: &Place, asked: Asked<'_>) -> String {
        let Asked { filter, values } = asked;
        match place {
            Place::Text(column) if filter.path().ignores_case() => {
                let texts = values.iter().map(|value| Argument::Text(value.text().to_ascii_lowercase()));
                self.list(&format!("lower({column})"), filter.operator(), texts.collect())
            }
            Place::Text(column) => self.list(column, filter.operator(), values.iter().map(text).collect()),
            Place::Time(column) => {
                let times = values.iter().filter_map(Literal::number).map(microseconds);
                self.list(column, filter.operator(), times.collect())
            }
            Place::Scalar(column) => self.scalar_comparison(column, true, asked),
            Place::Computed(value) => self.scalar_comparison(value, false, asked),
        }
    }

    /// Compares a value of any type: a text with texts, a number with those values that are numbers.
    fn scalar_comparison(&mut self, value: &str, in_column: bool, Asked { filter, values }: Asked<'_>) -> String {
        let texts: Vec<_> = values.iter().map(text).collect();
        let numbers: Vec<_> = values.iter().filter_map(Literal::number).map(number).collect();
        let operator = filter.operator();
        if matches!(operator, Operator::Equal | Operator::NotEqual) {
            return self.list(value, operator, texts.into_iter().chain(numbers).collect());
        }
        // The database orders numbers before texts, so a lower bound for numbers is one for texts too, and an upper bound
        // for texts is one for numbers: redundant, but a range that an index can seek to.
        let upward = matches!(operator, Operator::Greater | Operator::GreaterOrEqual);
        let widest = if upward { numbers.first().or(texts.first()) } else { texts.first() };
        let bound = match widest.cloned() {
            Some(bound) if in_column => format!("{} and ", self.list(value, operator, vec![bound])),
            _ => String::new(),
        };
        let of_texts = self.list(value, operator, texts);
        let of_numbers = self.list(value, operator, numbers);
        format!(
            "{bound}((typeof({value}) = 'text' and {of_texts}) or (typeof({value}) in ('integer', 'real') and {of_numbers}))"
        )
    }

    /// Compares with one value or any of several; with none of a fitting type nothing compares.
    fn list(&mut self, column: &str, operator: Operator, values: Vec<Argument>) -> String {
        let Some(first) = values.first().cloned() else { return "false".to_owned() };
        match operator {
            Operator::Equal | Operator::NotEqual => {
                let values: Vec<_> = values.into_iter().map(|value| self.bind(value)).collect();
                format!("{column} in ({})", values.join(", "))
            }
            range => format!("{column} {} {}", range.sign(), self.bind(first)),
        }
    }
}

/// A filter, and those of its values that are asked for.
#[derive(Clone, Copy)]
struct Asked<'a> {
    filter: &'a Filter,
    values: &'a [Literal],
}

/// The table, with the index to walk. Every index begins with the scope, so it can always be used.
fn source(table: &Table, index: Option<&str>) -> String {
    match index {
        Some(index) => format!("{} indexed by {index}", table.name),
        None => table.name.to_owned(),
    }
}

/// A JSON value as it is compared and sorted: true and false by their names, arrays and objects not at all. The generated
/// columns that a caller's own values stand in say the same.
fn scalar(kind: &str, value: &str) -> String {
    format!(
        "case {kind} when 'true' then 'true' when 'false' then 'false' when 'object' then null when 'array' then null \
         else {value} end"
    )
}

fn text(literal: &Literal) -> Argument {
    Argument::Text(literal.text().to_owned())
}

fn number(number: Num) -> Argument {
    match number {
        Num::Int(int) => Argument::Int(int),
        Num::Real(real) => Argument::Real(real),
    }
}

fn microseconds(ms: Num) -> Argument {
    match ms {
        Num::Int(ms) => Argument::Int(rows::us(ms)),
        Num::Real(ms) => Argument::Real(ms * 1000.0),
    }
}

/// A path in the form of the database's JSON functions; names hold no quotes (`Path::parse`).
fn json_path(segments: &[Segment]) -> String {
    segments.iter().fold("$".to_owned(), |path, segment| format!("{path}.\"{}\"", segment.name))
}

#[cfg(test)]
mod tests;
