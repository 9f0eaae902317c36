//! What a server holds: schemas, tables, columns, keys (mysql-sources.md 10).
//!
//! Every question to `information_schema` compares schema and table with constants, because only then MySQL 5.7 and
//! MariaDB open one table instead of all; a server with 50,000 tables is walked schema by schema.
//!
//! `information_schema` hides what the account may not see. Whether a table is missing or forbidden is told apart by
//! asking for the table itself.

mod describe;
mod list;
mod resolve;

use std::fmt;

use super::types::ServerType;
pub use describe::{describe, estimates};
pub use list::list;
pub use resolve::resolve;

/// A table by its two names, which may both hold dots.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName {
    /// The schema, in MySQL's words also the database.
    pub schema: String,
    /// The table or view.
    pub table: String,
}

impl TableName {
    /// The name as it stands in statements.
    #[must_use]
    pub fn quoted(&self) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(&self.table))
    }
}

/// The path of the table as `explore` lists it.
impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.table)
    }
}

/// An identifier as it stands in statements: in backticks, those inside doubled (mysql-sources.md 10.4).
#[must_use]
pub fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A text as a constant of a statement, whatever the SQL mode makes of backslashes and quotes.
pub(super) fn constant(text: impl AsRef<[u8]>) -> String {
    let digits: String = text.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("_utf8mb4 X'{digits}'")
}

/// What kind of object it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectKind {
    /// A base table.
    Table,
    /// A system-versioned table of MariaDB; a plain SELECT gives its current rows.
    SystemVersioned,
    /// A view.
    View,
}

impl ObjectKind {
    /// Reads `TABLE_TYPE`; sequences and the views of `information_schema` are none of ours.
    fn of(table_type: &str) -> Option<Self> {
        match table_type {
            "BASE TABLE" => Some(Self::Table),
            "SYSTEM VERSIONED" => Some(Self::SystemVersioned),
            "VIEW" => Some(Self::View),
            _ => None,
        }
    }
}

/// How a column's value comes to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generated {
    /// It is stored as written.
    No,
    /// It is computed when read.
    Virtual,
    /// It is computed when written.
    Stored,
    /// It tells from when on the row of a system-versioned table is valid.
    RowStart,
    /// It tells until when the row of a system-versioned table is valid.
    RowEnd,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnDescription {
    /// Its name.
    pub name: String,
    /// Its place, from 1 on.
    pub ordinal: u32,
    /// Whether it can be null.
    pub nullable: bool,
    /// `DATA_TYPE` in lower case: `int`, `varchar`, `uuid`, …
    pub data_type: String,
    /// `COLUMN_TYPE`: the data type with width, members and sign.
    pub column_type: String,
    /// The character set of its text.
    pub charset: Option<String>,
    /// The collation of its text; boundaries of key ranges are compared under it.
    pub collation: Option<String>,
    /// Whether a check of MariaDB makes its text JSON.
    pub json_check: bool,
    /// The spatial reference system that MySQL 8 holds it to.
    pub srid: Option<u32>,
    /// Whether `SELECT *` leaves it out.
    pub invisible: bool,
    /// How its value comes to be.
    pub generated: Generated,
    /// Whether the account may read it.
    pub selectable: bool,
}

impl ColumnDescription {
    /// Its type as far as landing needs it.
    #[must_use]
    pub fn server_type(&self) -> ServerType {
        ServerType::declared(&self.data_type, &self.column_type, self.json_check)
    }
}

/// A column of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPart {
    /// The column.
    pub name: String,
    /// The server's guess of how many values the key has up to here.
    pub cardinality: Option<u64>,
}

/// An index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyDescription {
    /// Its name; `PRIMARY` for the primary key.
    pub name: String,
    /// Whether it allows each combination once.
    pub unique: bool,
    /// Whether it names each row and can be walked in order: unique, every column NOT NULL and whole, none an
    /// expression, sorted, and used by the server.
    pub row_key: bool,
    /// Its columns in their order.
    pub columns: Vec<KeyPart>,
}

impl KeyDescription {
    /// Whether it is the primary key.
    #[must_use]
    pub fn is_primary(&self) -> bool {
        self.name == "PRIMARY"
    }
}

/// A table or a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableDescription {
    /// Its name as the server spells it.
    pub name: TableName,
    /// Table or view.
    pub kind: ObjectKind,
    /// Its storage engine; a view has none.
    pub engine: Option<String>,
    /// All its columns, invisible ones too, in their order. Those of a view may have the wrong types: ask the wire.
    pub columns: Vec<ColumnDescription>,
    /// Its keys, the primary key first.
    pub keys: Vec<KeyDescription>,
}

impl TableDescription {
    /// Whether a snapshot of a transaction covers it.
    #[must_use]
    pub fn is_transactional(&self) -> bool {
        self.engine.as_deref().is_some_and(|engine| engine.eq_ignore_ascii_case("InnoDB"))
    }

    /// The keys that name each row, the primary key first.
    pub fn row_keys(&self) -> impl Iterator<Item = &KeyDescription> {
        self.keys.iter().filter(|key| key.row_key)
    }

    /// The column of a name: exactly so spelt, else without regard to case (flow-service.md 14.3).
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&ColumnDescription> {
        let exact = self.columns.iter().find(|column| column.name == name);
        exact.or_else(|| {
            let folded = name.to_lowercase();
            self.columns.iter().find(|column| column.name.to_lowercase() == folded)
        })
    }
}

/// The server's guesses of a table's size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Estimates {
    /// Rows.
    pub rows: Option<u64>,
    /// Bytes of the rows, without secondary indexes.
    pub bytes: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_can_not_end_themselves() {
        let name = TableName { schema: "a`b".to_owned(), table: "x`; DROP TABLE y; --".to_owned() };
        assert_eq!(name.quoted(), "`a``b`.`x``; DROP TABLE y; --`");
        assert_eq!(constant("a'\\é"), "_utf8mb4 X'61275cc3a9'");
        assert_eq!(constant(""), "_utf8mb4 X''");
    }
}
