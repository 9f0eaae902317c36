//! Filters, order and pages of lists as SQL: the one place where a text is composed at run time.
//!
//! **Invariant.** Whatever a caller wrote reaches the database as a bound value, never as part of the text. The text is
//! made of constants, parameter numbers and names from [`Table`].
//!
//! **Invariant.** What is selected is what [`Filter::matches`] selects on the documents, in the order of
//! [`Order::compare`](headwaters_model::page::Order::compare). The property test of the suite compares them.

use std::fmt::Write as _;

use headwaters_model::filter::{Filter, Literal, Num, Operator, Path, Segment};
use headwaters_model::page::{Direction, ListQuery, SortKey};
use headwaters_model::sandbox::Scope;
use serde_json::Value;
use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, Sqlite};

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
    /// A text column; it may be null.
    Text(String),
    /// A time column in microseconds, compared with milliseconds.
    Time(&'static str),
    /// A value in a JSON text: its type and itself.
    Json { kind: String, value: String },
}

impl Selection {
    /// One page, and one row more.
    pub(crate) fn page(table: &Table, scope: &Scope, query: &ListQuery) -> Self {
        let mut selection = Self::of(columns!(), table, scope, &query.filters);
        let keys: Vec<_> = query.order.keys().into_iter().map(|key| selection.sort_key(table, scope, key)).collect();
        if let Some(after) = &query.after {
            selection.after(&keys, after);
        }
        let order: Vec<_> = keys.iter().map(Key::order).collect();
        let limit = selection.bind(Argument::Int(i64::from(query.limit) + 1));
        let skip = selection.bind(Argument::Int(i64::try_from(query.skip).unwrap_or(i64::MAX)));
        selection.push(&format!(" order by {} limit {limit} offset {skip}", order.join(", ")));
        selection
    }

    /// How many there are.
    pub(crate) fn count(table: &Table, scope: &Scope, filters: &[Filter]) -> Self {
        Self::of("count(*)", table, scope, filters)
    }

    fn of(what: &str, table: &Table, scope: &Scope, filters: &[Filter]) -> Self {
        let mut selection = Self { sql: String::new(), arguments: Vec::new() };
        let org = selection.bind(Argument::Text(scope.org.as_str().to_owned()));
        let sandbox = selection.bind(Argument::Text(scope.sandbox.to_string()));
        selection.push(&format!("select {what} from {} where org = {org} and sandbox = {sandbox}", table.name));
        for filter in filters {
            let condition = selection.condition(table, scope, filter);
            // Bare where it can be: an index is found only so.
            let negation = if filter.operator() == Operator::NotEqual { " is not true" } else { "" };
            selection.push(&format!(" and ({condition}){negation}"));
        }
        selection
    }

    fn push(&mut self, sql: &str) {
        self.sql.push_str(sql);
    }

    /// Binds a value and gives the name of its parameter.
    fn bind(&mut self, argument: Argument) -> String {
        self.arguments.push(argument);
        format!("${}", self.arguments.len())
    }

    fn condition(&mut self, table: &Table, scope: &Scope, filter: &Filter) -> String {
        match self.column(table, scope, filter.path()) {
            Some(place) => self.comparison(&place, filter),
            None => self.within("body", filter.path().segments(), 0, filter),
        }
    }

    /// The column that holds the value of a path, if one does.
    fn column(&mut self, table: &Table, scope: &Scope, path: &Path) -> Option<Place> {
        let path = path.to_string();
        if let Some((_, column)) = table.indexed.iter().find(|(indexed, _)| *indexed == path) {
            return Some(Place::Text((*column).to_owned()));
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
    fn within(&mut self, json: &str, segments: &[Segment], depth: usize, filter: &Filter) -> String {
        let until = segments.iter().position(|segment| segment.each);
        let (here, rest) = match until {
            Some(array) => segments.split_at(array + 1),
            None => (segments, &[][..]),
        };
        let path = self.bind(Argument::Text(json_path(here)));
        if until.is_none() {
            let place = Place::Json {
                kind: format!("json_type({json}, {path})"),
                value: format!("json_extract({json}, {path})"),
            };
            return self.comparison(&place, filter);
        }
        let element = format!("e{depth}");
        let inner = if rest.is_empty() {
            let place = Place::Json { kind: format!("{element}.type"), value: format!("{element}.value") };
            self.comparison(&place, filter)
        } else {
            // An element that is a plain text must not be read as JSON.
            let object = format!("case when {element}.type = 'object' then {element}.value end");
            self.within(&object, rest, depth + 1, filter)
        };
        format!(
            "json_type({json}, {path}) = 'array' and exists (select 1 from json_each({json}, {path}) {element} where {inner})"
        )
    }

    /// Compares the value at a place; for `!=` this is `==`, turned around by the caller.
    fn comparison(&mut self, place: &Place, filter: &Filter) -> String {
        let fold = filter.path().ignores_case();
        match place {
            Place::Text(column) => self.text_comparison(column, filter, fold),
            Place::Time(column) => {
                let literals = filter.values().iter().filter_map(Literal::number).map(microseconds);
                self.list(column, filter.operator(), literals.collect())
            }
            Place::Json { kind, value } => {
                let text = self.text_comparison(value, filter, fold);
                let numbers = filter.values().iter().filter_map(Literal::number).map(number);
                let numbers = self.list(value, filter.operator(), numbers.collect());
                let mut condition =
                    format!("(({kind} = 'text' and {text}) or ({kind} in ('integer', 'real') and {numbers})");
                for (flag, sql) in [("true", "'true'"), ("false", "'false'")] {
                    if flag_matches(flag, filter) {
                        let _ = write!(condition, " or {kind} = {sql}");
                    }
                }
                condition + ")"
            }
        }
    }

    fn text_comparison(&mut self, column: &str, filter: &Filter, fold: bool) -> String {
        let lowered = |text: &str| if fold { text.to_ascii_lowercase() } else { text.to_owned() };
        let values = filter.values().iter().map(|literal| Argument::Text(lowered(literal.text())));
        let column = if fold { format!("lower({column})") } else { column.to_owned() };
        self.list(&column, filter.operator(), values.collect())
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

    fn sort_key(&mut self, table: &Table, scope: &Scope, key: SortKey) -> Key {
        let direction = key.direction;
        match self.column(table, scope, &key.path) {
            Some(Place::Time(column)) => Key { sql: column.to_owned(), direction, present: true, time: true },
            Some(Place::Text(column)) => {
                let indexed = table.indexed.iter().any(|(_, name)| *name == column);
                Key { sql: column, direction, present: !indexed, time: false }
            }
            _ => {
                let path = self.bind(Argument::Text(json_path(key.path.segments())));
                let sql = format!(
                    "case when json_type(body, {path}) not in ('object', 'array') then json_extract(body, {path}) end"
                );
                Key { sql, direction, present: false, time: false }
            }
        }
    }

    /// Only what follows the given sort values: later in the first key, or equal in it and later in the second …
    fn after(&mut self, keys: &[Key], values: &[Value]) {
        let mut equal = String::new();
        let mut chain = Vec::new();
        for (place, (key, value)) in keys.iter().zip(values).enumerate() {
            let argument = key.argument(value);
            let absent = argument == Argument::Null;
            let value = self.bind(argument);
            if place == 0 && key.present {
                // Redundant, but a range that an index can seek to.
                self.push(&format!(" and {} {}= {value}", key.sql, key.later()));
            }
            chain.push(format!("{equal}{}", key.follows(&value, absent)));
            let _ = write!(equal, "{} is {value} and ", key.sql);
        }
        self.push(&format!(" and (({}))", chain.join(") or (")));
    }
}

/// One sort key as SQL.
struct Key {
    sql: String,
    direction: Direction,
    /// Whether it is never null.
    present: bool,
    /// Whether it is stored in microseconds.
    time: bool,
}

impl Key {
    fn order(&self) -> String {
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

/// Whether a boolean compares as asked: it does so by its name.
fn flag_matches(flag: &str, filter: &Filter) -> bool {
    filter.values().iter().any(|literal| {
        let order = flag.cmp(literal.text());
        match filter.operator() {
            Operator::Equal | Operator::NotEqual => order.is_eq(),
            Operator::Greater => order.is_gt(),
            Operator::GreaterOrEqual => order.is_ge(),
            Operator::Less => order.is_lt(),
            Operator::LessOrEqual => order.is_le(),
        }
    })
}

/// A path in the form of the database's JSON functions; names hold no quotes (`Path::parse`).
fn json_path(segments: &[Segment]) -> String {
    segments.iter().fold("$".to_owned(), |path, segment| format!("{path}.\"{}\"", segment.name))
}

#[cfg(test)]
mod tests {
    use headwaters_model::account::{Account, Role};
    use headwaters_model::id::OrgId;
    use headwaters_model::page::Order;
    use headwaters_model::resource::{Collection, Kind};
    use headwaters_model::run::Run;
    use headwaters_model::sandbox::Sandbox;
    use serde_json::json;
    use sqlx::{Connection as _, Row as _, SqliteConnection};

    use super::*;
    use crate::resources::Stored;

    fn scope() -> Scope {
        let account = Account::mint(OrgId::mint(), "tests", Role::Manage, 0);
        Sandbox::prod(account.org, account.user_id, 0).scope()
    }

    fn query(filters: &[&str], order: Option<&str>, collection: Collection) -> ListQuery {
        let filters = filters.iter().map(|text| Filter::parse(text, collection).unwrap()).collect();
        let order = order.map_or_else(Order::newest_first, |text| Order::parse(text, collection).unwrap());
        ListQuery { filters, order, ..ListQuery::all() }
    }

    /// How the database would carry a selection out, on an empty schema.
    async fn plan(mut selection: Selection) -> Vec<String> {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let schema = include_str!("../migrations/sqlite/0001_tables.sql");
        sqlx::raw_sql(schema).execute(&mut connection).await.unwrap();
        selection.sql.insert_str(0, "explain query plan ");
        let steps = bind_all(selection).fetch_all(&mut connection).await.unwrap();
        steps.iter().map(|step| step.get("detail")).collect()
    }

    #[tokio::test]
    async fn the_common_lists_walk_an_index_and_sort_nothing() {
        let newest = query(&[], None, Collection::Runs);
        let next = ListQuery { after: Some(vec![json!(1_700_000_000_000_i64), json!("x")]), ..newest.clone() };
        let of_a_flow = query(&["flowId==x"], Some("-createdAt"), Collection::Runs);
        for (query, index) in [(newest, "run_by_age"), (next, "run_by_age"), (of_a_flow, "run_by_flow")] {
            let steps = plan(Selection::page(Run::TABLE, &scope(), &query)).await;
            let [step] = &steps[..] else { panic!("one step: {steps:?}") };
            assert!(step.contains(&format!("SEARCH run USING INDEX {index}")), "{step}");
        }
    }

    #[tokio::test]
    async fn the_next_page_begins_inside_the_index() {
        let mut query = query(&[], None, Collection::Runs);
        query.after = Some(vec![json!(1_700_000_000_000_i64), json!("x")]);
        let steps = plan(Selection::page(Run::TABLE, &scope(), &query)).await;
        assert!(steps[0].contains("created_at_us<?"), "{steps:?}");
    }

    #[test]
    fn what_a_caller_writes_is_never_part_of_the_text() {
        let evil = "x'; drop table run; --";
        let filters =
            [format!("flowId=={evil}"), format!("params.a==\"{evil}\""), format!("activities[].name!={evil}")];
        let filters: Vec<_> = filters.iter().map(String::as_str).collect();
        let mut query = query(&filters, Some("-params.drop"), Run::COLLECTION);
        query.after = Some(vec![json!(evil), json!(evil)]);
        let selection = Selection::page(Run::TABLE, &scope(), &query);
        assert!(!selection.sql.contains("drop") && !selection.sql.contains("--"), "{}", selection.sql);
        assert_eq!(selection.arguments.iter().filter(|bound| **bound == Argument::Text(evil.to_owned())).count(), 5);
    }
}
