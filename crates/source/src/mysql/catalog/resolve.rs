//! Finds the table that a path means (mysql-sources.md 10.4).

use headwaters_model::source_error::{SourceError, SourceErrorKind};

use super::{TableName, constant, quoted};
use crate::mysql::wire::Connection;

/// Longer paths name nothing: each part has at most 64 characters.
const PATH_CHARS_MAX: usize = 129;
/// Characters of a name at most.
const NAME_CHARS_MAX: usize = 64;

/// Finds the table of a path: `schema.table` or, in the connection's database, `table`.
///
/// Each dot is tried as the border, the longest schema name first, and the first pair that exists is taken; so a path
/// that [`super::list`] gave always means that table. Only then the whole path is a table of the database.
pub async fn resolve(
    connection: &mut Connection,
    database: Option<&str>,
    path: &str,
) -> Result<TableName, SourceError> {
    let candidates = candidates(database, path);
    if path.contains('.') || database.is_some() {
        let folds = folds_case(connection).await?;
        for candidate in &candidates {
            if let Some(name) = find(connection, candidate, folds).await? {
                return Ok(name);
            }
        }
    }
    for candidate in &candidates {
        hidden(connection, candidate).await?;
    }
    Err(unknown(database, path))
}

/// Every table that a path may mean, in the order in which they are tried.
fn candidates(database: Option<&str>, path: &str) -> Vec<TableName> {
    if path.chars().count() > PATH_CHARS_MAX {
        return Vec::new();
    }
    let borders = path.rmatch_indices('.').map(|(at, _)| (&path[..at], &path[at + 1..]));
    borders
        .chain(database.map(|database| (database, path)))
        .filter(|(schema, table)| is_name(schema) && is_name(table))
        .map(|(schema, table)| TableName { schema: schema.to_owned(), table: table.to_owned() })
        .collect()
}

/// Whether a server could have an object of this name.
fn is_name(name: &str) -> bool {
    // Neither server takes characters beyond U+FFFF or a blank at the end.
    !name.is_empty()
        && name.chars().count() <= NAME_CHARS_MAX
        && name.chars().all(|c| c != '\0' && u32::from(c) <= 0xFFFF)
        && !name.ends_with(' ')
}

/// Whether the server compares names of tables without regard to case.
async fn folds_case(connection: &mut Connection) -> Result<bool, SourceError> {
    let answer = connection.query("SELECT @@lower_case_table_names AS folds").await?;
    let folds = answer.first().map(|row| row.parse_as::<u8>("folds")).transpose()?.flatten();
    Ok(folds.is_some_and(|folds| folds != 0))
}

/// The object as the server spells it, if the account may see it.
///
/// MySQL 8 compares names without regard to case whatever the server's rule is, so the answers are compared again.
async fn find(connection: &mut Connection, wanted: &TableName, folds: bool) -> Result<Option<TableName>, SourceError> {
    let statement = format!(
        "SELECT TABLE_SCHEMA AS sch, TABLE_NAME AS name, TABLE_TYPE AS kind FROM information_schema.TABLES \
         WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {}",
        constant(&wanted.schema),
        constant(&wanted.table)
    );
    let mut folded = None;
    for row in connection.query(&statement).await? {
        if super::ObjectKind::of(row.required_text("kind")?).is_none() {
            continue;
        }
        let (schema, table) = (row.required_text("sch")?, row.required_text("name")?);
        let found = TableName { schema: schema.to_owned(), table: table.to_owned() };
        if found == *wanted {
            return Ok(Some(found));
        }
        let same = |a: &str, b: &str| a.to_lowercase() == b.to_lowercase();
        if folds && same(schema, &wanted.schema) && same(table, &wanted.table) {
            folded = Some(found);
        }
    }
    Ok(folded)
}

/// `information_schema` hides what the account may not see; the table itself tells whether it is there
/// (mysql-sources.md 17). Fails if it is there and forbidden.
async fn hidden(connection: &mut Connection, name: &TableName) -> Result<(), SourceError> {
    match connection.execute(&format!("SELECT 1 FROM {} LIMIT 0", name.quoted())).await {
        Err(error @ SourceError::Transient(_)) => Err(error),
        Err(error) if error.fault().kind == SourceErrorKind::Privilege => Err(forbidden(name)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The account may not read a table.
pub(super) fn forbidden(name: &TableName) -> SourceError {
    let message = format!("the account may not read {name}, or it does not exist");
    let hint = format!("GRANT SELECT ON {} TO the account", name.quoted());
    SourceError::definite(SourceErrorKind::Privilege, message).with_hint(hint)
}

fn unknown(database: Option<&str>, path: &str) -> SourceError {
    let shown: String = path.chars().take(PATH_CHARS_MAX).collect();
    let (message, hint) = match database {
        None if !path.contains('.') => (
            format!("the table {shown} can not be looked up: the connection names no database"),
            "name the table as database.table".to_owned(),
        ),
        None => (format!("there is no table {shown}"), "list the tables to see their paths".to_owned()),
        Some(database) => (
            format!("there is no table {shown}"),
            format!(
                "bare names are looked up in the database {}; list the tables to see their paths",
                quoted(database)
            ),
        ),
    };
    SourceError::definite(SourceErrorKind::UnknownTable, message).with_hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(database: Option<&str>, path: &str) -> Vec<String> {
        candidates(database, path).iter().map(TableName::quoted).collect()
    }

    #[test]
    fn each_dot_is_a_border_and_the_longest_schema_comes_first() {
        assert_eq!(shown(Some("shop"), "a.b.c"), ["`a.b`.`c`", "`a`.`b.c`", "`shop`.`a.b.c`"]);
        assert_eq!(shown(Some("shop"), "orders"), ["`shop`.`orders`"]);
        assert_eq!(shown(None, "orders"), [""; 0]);
    }

    #[test]
    fn what_can_not_be_a_name_is_never_asked_for() {
        assert_eq!(shown(Some("shop"), "🙂"), [""; 0]);
        assert_eq!(shown(Some("shop"), ".x"), ["`shop`.`.x`"]);
        assert_eq!(shown(Some("shop"), "x "), [""; 0]);
        assert_eq!(shown(Some("shop"), &"x".repeat(65)), [""; 0]);
        assert_eq!(shown(Some("shop"), &".".repeat(200)), [""; 0]);
        assert_eq!(shown(None, "a\0.b"), [""; 0]);
    }
}
