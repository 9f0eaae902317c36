//! Describes one table: its columns and keys (mysql-sources.md 10.1).

use headwaters_model::source_error::SourceError;

use super::resolve::forbidden;
use super::{
    ColumnDescription, Estimates, Generated, KeyDescription, KeyPart, ObjectKind, TableDescription, TableName,
    constant, quoted,
};
use crate::mysql::wire::{Connection, TextRow};

/// Describes a table or view; the name must be spelt as the server spells it ([`super::resolve`]).
///
/// A view's columns come from `information_schema` and may have wrong types; a broken view is an error that names what
/// it misses.
pub async fn describe(connection: &mut Connection, name: &TableName) -> Result<TableDescription, SourceError> {
    let Some((kind, engine)) = object(connection, name).await? else {
        // It was there a moment ago, or the caller never asked: the table itself says why not.
        connection.execute(&format!("SELECT 1 FROM {} LIMIT 0", name.quoted())).await?;
        return Err(forbidden(name));
    };
    let mut columns = columns(connection, name).await?;
    if columns.is_empty() {
        connection.execute(&format!("SELECT 1 FROM {} LIMIT 0", name.quoted())).await?;
        return Err(forbidden(name));
    }
    if connection.server().flavour().is_mariadb() {
        mark_json(connection, name, &mut columns).await?;
    }
    let keys = match kind {
        ObjectKind::View => Vec::new(),
        ObjectKind::Table | ObjectKind::SystemVersioned => keys(connection, name, &columns).await?,
    };
    Ok(TableDescription { name: name.clone(), kind, engine, columns, keys })
}

/// The server's guesses of a table's size; asked for on demand, because they may open the table.
pub async fn estimates(connection: &mut Connection, name: &TableName) -> Result<Estimates, SourceError> {
    let statement = format!("SELECT TABLE_ROWS AS n, DATA_LENGTH AS size {}", of("TABLES", name));
    match connection.query(&statement).await?.first() {
        Some(row) => Ok(Estimates { rows: row.parse_as("n")?, bytes: row.parse_as("size")? }),
        None => Ok(Estimates::default()),
    }
}

/// The end of a question about one table: constants only, so that the server opens this table and no other.
fn of(view: &str, name: &TableName) -> String {
    format!(
        "FROM information_schema.{view} WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {}",
        constant(&name.schema),
        constant(&name.table)
    )
}

async fn object(
    connection: &mut Connection,
    name: &TableName,
) -> Result<Option<(ObjectKind, Option<String>)>, SourceError> {
    let statement = format!("SELECT TABLE_NAME AS name, TABLE_TYPE AS kind, ENGINE AS engine {}", of("TABLES", name));
    for row in connection.query(&statement).await? {
        if row.required_text("name")? == name.table
            && let Some(kind) = ObjectKind::of(row.required_text("kind")?)
        {
            return Ok(Some((kind, row.text("engine")?.map(str::to_owned))));
        }
    }
    Ok(None)
}

async fn columns(connection: &mut Connection, name: &TableName) -> Result<Vec<ColumnDescription>, SourceError> {
    // SRS_ID exists on MySQL 8 only: all columns of the view are asked for, and taken where they are.
    let rows = connection.query(&format!("SELECT * {} ORDER BY ORDINAL_POSITION", of("COLUMNS", name))).await?;
    let mut columns = Vec::with_capacity(rows.rows().len());
    for row in &rows {
        if row.required_text("TABLE_NAME")? == name.table {
            columns.push(column(row)?);
        }
    }
    Ok(columns)
}

fn column(row: &TextRow) -> Result<ColumnDescription, SourceError> {
    let owned = |label: &str| row.text(label).map(|text| text.map(str::to_owned));
    let extra = row.text("EXTRA")?.unwrap_or_default().to_ascii_uppercase();
    let expression = row.text("GENERATION_EXPRESSION").ok().flatten().unwrap_or_default();
    let privileges = row.text("PRIVILEGES").ok().flatten().unwrap_or_default();
    Ok(ColumnDescription {
        name: row.required_text("COLUMN_NAME")?.to_owned(),
        ordinal: row.parse_as("ORDINAL_POSITION")?.unwrap_or_default(),
        nullable: row.required_text("IS_NULLABLE")? != "NO",
        data_type: row.required_text("DATA_TYPE")?.to_ascii_lowercase(),
        column_type: row.required_text("COLUMN_TYPE")?.to_owned(),
        charset: owned("CHARACTER_SET_NAME")?,
        collation: owned("COLLATION_NAME")?,
        json_check: false,
        srid: row.parse_as("SRS_ID").ok().flatten(),
        invisible: extra.contains("INVISIBLE"),
        generated: generated(&extra, expression),
        // Empty where a server or a proxy does not tell.
        selectable: privileges.is_empty() || privileges.to_ascii_lowercase().contains("select"),
    })
}

/// `DEFAULT_GENERATED` of MySQL is a default, not a generated column.
fn generated(extra: &str, expression: &str) -> Generated {
    match expression {
        "ROW START" => Generated::RowStart,
        "ROW END" => Generated::RowEnd,
        _ if extra.contains("VIRTUAL GENERATED") => Generated::Virtual,
        _ if extra.contains("STORED GENERATED") || extra.contains("PERSISTENT") => Generated::Stored,
        _ => Generated::No,
    }
}

/// MariaDB's JSON is LONGTEXT with a check that the server writes in exactly one way (mysql-sources.md 8.3).
async fn mark_json(
    connection: &mut Connection,
    name: &TableName,
    columns: &mut [ColumnDescription],
) -> Result<(), SourceError> {
    if !columns.iter().any(|column| column.data_type == "longtext") {
        return Ok(());
    }
    let statement = format!(
        "SELECT * FROM information_schema.CHECK_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = {} AND TABLE_NAME = {}",
        constant(&name.schema),
        constant(&name.table)
    );
    for row in &connection.query(&statement).await? {
        if row.required_text("TABLE_NAME")? != name.table {
            continue;
        }
        // Before 10.5.10 there is no LEVEL; the constraint of a column has the column's name.
        let of_column = row.text("LEVEL").ok().flatten().is_none_or(|level| level.eq_ignore_ascii_case("Column"));
        let clause = row.required_text("CHECK_CLAUSE")?.trim();
        let checked = columns.iter_mut().filter(|column| column.data_type == "longtext").find(|column| {
            let written = format!("json_valid({})", quoted(&column.name));
            of_column && clause.eq_ignore_ascii_case(&written)
        });
        if let Some(column) = checked {
            column.json_check = true;
        }
    }
    Ok(())
}

async fn keys(
    connection: &mut Connection,
    name: &TableName,
    columns: &[ColumnDescription],
) -> Result<Vec<KeyDescription>, SourceError> {
    let statement = format!("SELECT * {} ORDER BY INDEX_NAME, SEQ_IN_INDEX", of("STATISTICS", name));
    let mut keys: Vec<KeyDescription> = Vec::new();
    for row in &connection.query(&statement).await? {
        if row.required_text("TABLE_NAME")? == name.table {
            add_key_part(&mut keys, row, columns)?;
        }
    }
    // The sort keeps the order of equals: the primary key first, then by name.
    keys.sort_by_key(|key| !key.is_primary());
    Ok(keys)
}

fn add_key_part(
    keys: &mut Vec<KeyDescription>,
    row: &TextRow,
    columns: &[ColumnDescription],
) -> Result<(), SourceError> {
    let index = row.required_text("INDEX_NAME")?;
    // A functional part has no column; a part with SUB_PART holds a prefix of its column.
    let column = row.text("COLUMN_NAME")?;
    let whole = row.text("SUB_PART")?.is_none();
    let not_null = column.is_some_and(|name| columns.iter().any(|column| column.name == name && !column.nullable));
    // MySQL calls an index that the optimizer leaves alone invisible, MariaDB ignored.
    let flag = |label: &str| row.text(label).ok().flatten().map(str::to_ascii_uppercase);
    let used = flag("IS_VISIBLE").is_none_or(|visible| visible == "YES") && flag("IGNORED").is_none_or(|it| it == "NO");
    let sorted = row.text("INDEX_TYPE")?.is_some_and(|kind| kind.eq_ignore_ascii_case("BTREE"));
    let usable = whole && not_null && used && sorted;
    let part = KeyPart { name: column.unwrap_or_default().to_owned(), cardinality: row.parse_as("CARDINALITY")? };
    match keys.last_mut().filter(|key| key.name == index) {
        Some(key) => {
            key.row_key &= usable;
            key.columns.push(part);
        }
        None => {
            let unique = row.required_text("NON_UNIQUE")? == "0";
            keys.push(KeyDescription {
                name: index.to_owned(),
                unique,
                row_key: unique && usable,
                columns: vec![part],
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_expression_is_no_generated_column() {
        assert_eq!(generated("DEFAULT_GENERATED ON UPDATE CURRENT_TIMESTAMP", ""), Generated::No);
        assert_eq!(generated("VIRTUAL GENERATED", "`a` + 1"), Generated::Virtual);
        assert_eq!(generated("STORED GENERATED INVISIBLE", "`a` + 1"), Generated::Stored);
        assert_eq!(generated("STORED GENERATED", "ROW END"), Generated::RowEnd);
    }
}
