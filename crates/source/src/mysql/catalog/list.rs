//! Lists tables and views, schema by schema (mysql-sources.md 10.1, 10.3).

use headwaters_model::explore::{ListedTable, TableKind};
use headwaters_model::source_error::{SourceError, SourceErrorKind};

use super::{ObjectKind, TableName, quoted};
use crate::mysql::open::not_prepared;
use crate::mysql::wire::{Connection, TextRow};

/// How many tables are listed at most; one more is an error that says so.
const TABLES_MAX: usize = 1_000_000;
/// How many views are checked for being broken; further ones are taken for readable.
const VIEWS_CHECKED_MAX: usize = 2_000;

/// Schemas that hold the server's own matters.
const SYSTEM_SCHEMAS: [&str; 4] = ["mysql", "information_schema", "performance_schema", "sys"];

/// Lists the tables and views of a schema, or of every schema that the account may see, ordered by path.
pub async fn list(connection: &mut Connection, schema: Option<&str>) -> Result<Vec<ListedTable>, SourceError> {
    let schemas = match schema {
        Some(schema) => vec![schema.to_owned()],
        None => schemas(connection).await?,
    };
    let mut objects = Vec::new();
    for name in schemas {
        match objects_of(connection, &name, &mut objects).await {
            // A schema that vanished, or that the account may see but not open, does not hide the others.
            Err(error) if schema.is_none() && is_about_the_schema(&error) => {}
            outcome => outcome?,
        }
    }
    objects.sort_by_cached_key(|(name, _)| name.to_string());
    let mut views_checked = 0;
    let mut tables = Vec::with_capacity(objects.len());
    for (name, kind) in objects {
        let (kind, readable) = match kind {
            ObjectKind::Table | ObjectKind::SystemVersioned => (TableKind::Table, true),
            ObjectKind::View if views_checked == VIEWS_CHECKED_MAX => (TableKind::View, true),
            ObjectKind::View => {
                views_checked += 1;
                (TableKind::View, is_whole(connection, &name).await?)
            }
        };
        tables.push(ListedTable { path: name.to_string(), kind, readable });
    }
    Ok(tables)
}

async fn schemas(connection: &mut Connection) -> Result<Vec<String>, SourceError> {
    let mut names = Vec::new();
    for row in connection.query("SELECT SCHEMA_NAME AS name FROM information_schema.SCHEMATA").await? {
        let name = row.required_text("name")?;
        if !SYSTEM_SCHEMAS.iter().any(|system| system.eq_ignore_ascii_case(name)) && !is_broken(name) {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// `SHOW FULL TABLES` is the cheapest list on every server: MariaDB reads the head of each definition and no more.
async fn objects_of(
    connection: &mut Connection,
    schema: &str,
    objects: &mut Vec<(TableName, ObjectKind)>,
) -> Result<(), SourceError> {
    let statement = format!("SHOW FULL TABLES FROM {}", quoted(schema));
    let keep = |row: TextRow| {
        // The label of the first column holds the schema's name; places are simpler.
        let (Some(table), Some(kind)) = (text(row.at(0)), text(row.at(1))) else { return Ok(()) };
        if let Some(kind) = ObjectKind::of(kind)
            && !is_broken(table)
        {
            objects.push((TableName { schema: schema.to_owned(), table: table.to_owned() }, kind));
        }
        match objects.len() > TABLES_MAX {
            true => Err(too_many()),
            false => Ok(()),
        }
    };
    connection.query_each(&statement, keep).await.map(drop)
}

/// Names of tables that an upgrade or an ALTER left behind.
fn is_broken(name: &str) -> bool {
    name.starts_with("#mysql50#") || name.starts_with("#sql")
}

/// Whether a view's tables, columns and definer are there. Preparing resolves all of them and reads nothing.
async fn is_whole(connection: &mut Connection, view: &TableName) -> Result<bool, SourceError> {
    match connection.prepare(&format!("SELECT * FROM {}", view.quoted())).await {
        Ok(statement) => connection.close_statement(statement).await.map(|()| true),
        Err(error) if not_prepared(&error) => Ok(true),
        Err(SourceError::Definite(fault)) if fault.kind != SourceErrorKind::Protocol => Ok(false),
        Err(error) => Err(error),
    }
}

fn is_about_the_schema(error: &SourceError) -> bool {
    matches!(error.fault().kind, SourceErrorKind::UnknownTable | SourceErrorKind::Privilege | SourceErrorKind::Refused)
}

fn text(cell: Option<&[u8]>) -> Option<&str> {
    cell.and_then(|bytes| std::str::from_utf8(bytes).ok())
}

fn too_many() -> SourceError {
    let message = format!("there are more than {TABLES_MAX} tables");
    SourceError::definite(SourceErrorKind::Protocol, message).with_hint("name a database in the connection")
}
