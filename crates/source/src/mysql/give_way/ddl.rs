//! Which table a statement changes, as far as that can be told from its words.
//!
//! Not a parser: comments and strings are passed over, and the names are looked for where the statements that lock a
//! definition have them. What is not recognised counts as no change of ours; then whoever waits, waits.

use crate::mysql::catalog::TableName;

/// Begins every statement that changes a definition, or writes a table anew.
const VERBS: [&str; 6] = ["ALTER", "DROP", "TRUNCATE", "RENAME", "OPTIMIZE", "CREATE"];

/// A piece of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// A keyword, a bare name or a number.
    Word(String),
    /// A name in backticks.
    Quoted(String),
    Symbol(char),
}

impl Token {
    fn is_word(&self, keyword: &str) -> bool {
        matches!(self, Self::Word(word) if word.eq_ignore_ascii_case(keyword))
    }

    fn name(&self) -> Option<&str> {
        match self {
            Self::Word(name) | Self::Quoted(name) => Some(name),
            Self::Symbol(_) => None,
        }
    }
}

/// Whether a statement is one that changes definitions.
pub(super) fn changes(sql: &str) -> bool {
    tokens(sql).first().is_some_and(|first| VERBS.iter().any(|verb| first.is_word(verb)))
}

/// Whether a statement that runs inside of `database` changes this table.
///
/// Names are compared without regard to case: servers differ in it, and two tables that differ in nothing else are rare.
pub(super) fn changes_table(sql: &str, database: Option<&str>, table: &TableName) -> bool {
    if !changes(sql) {
        return false;
    }
    let tokens = tokens(sql);
    let named = names_changed(&tokens);
    named.iter().any(|(schema, name)| {
        name.eq_ignore_ascii_case(&table.table)
            && schema.or(database).is_some_and(|schema| schema.eq_ignore_ascii_case(&table.schema))
    })
}

/// The tables that a statement names as changed, each with its schema if that is named.
fn names_changed(tokens: &[Token]) -> Vec<(Option<&str>, &str)> {
    let place_of = |keyword: &str| tokens.iter().position(|token| token.is_word(keyword));
    let by_on = place_of("INDEX").or(place_of("TRIGGER")).and_then(|_| place_of("ON"));
    let by_table = place_of("TABLE").or(place_of("TABLES")).filter(|table| by_on.is_none_or(|on| *table < on));
    let Some(keyword) = by_table.or(by_on).or(place_of("TRUNCATE")) else { return Vec::new() };
    let mut rest = tokens.get(keyword + 1..).unwrap_or_default();
    while let [word, tail @ ..] = rest
        && ["IF", "NOT", "EXISTS"].iter().any(|skipped| word.is_word(skipped))
    {
        rest = tail;
    }
    let mut names = Vec::new();
    loop {
        rest = match rest {
            [schema, Token::Symbol('.'), table, tail @ ..] => {
                names.extend(table.name().map(|table| (schema.name(), table)));
                tail
            }
            [table, tail @ ..] => {
                names.extend(table.name().map(|table| (None, table)));
                tail
            }
            [] => return names,
        };
        match rest {
            [next, tail @ ..] if *next == Token::Symbol(',') || next.is_word("TO") => rest = tail,
            _ => return names,
        }
    }
}

fn tokens(sql: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        rest = match first {
            '`' => {
                let (name, tail) = quoted_name(rest.get(1..).unwrap_or_default());
                tokens.push(Token::Quoted(name));
                tail
            }
            '\'' | '"' => behind_string(rest.get(1..).unwrap_or_default(), first),
            '#' => behind(rest, "\n"),
            '-' if rest.starts_with("-- ") => behind(rest, "\n"),
            '/' if rest.starts_with("/*") => behind(rest, "*/"),
            _ if is_of_name(first) => {
                let (word, tail) = rest.split_at(rest.find(|c| !is_of_name(c)).unwrap_or(rest.len()));
                tokens.push(Token::Word(word.to_owned()));
                tail
            }
            _ => {
                if !first.is_whitespace() {
                    tokens.push(Token::Symbol(first));
                }
                rest.get(first.len_utf8()..).unwrap_or_default()
            }
        };
    }
    tokens
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '$') || !c.is_ascii()
}

fn behind<'a>(rest: &'a str, end: &str) -> &'a str {
    rest.split_once(end).map_or("", |(_, tail)| tail)
}

/// The name up to its closing backtick, and what follows; two backticks stand for one.
fn quoted_name(rest: &str) -> (String, &str) {
    let mut name = String::new();
    let mut rest = rest;
    while let Some((part, tail)) = rest.split_once('`') {
        name.push_str(part);
        match tail.strip_prefix('`') {
            Some(more) => {
                name.push('`');
                rest = more;
            }
            None => return (name, tail),
        }
    }
    (name, "")
}

/// What follows a string; a backslash guards what comes after it. A doubled quote reads as two strings.
fn behind_string(rest: &str, quote: char) -> &str {
    let mut characters = rest.char_indices();
    while let Some((place, c)) = characters.next() {
        if c == '\\' {
            characters.next();
        } else if c == quote {
            return rest.get(place + 1..).unwrap_or_default();
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn order() -> TableName {
        TableName { schema: "shop".to_owned(), table: "order".to_owned() }
    }

    #[test]
    fn changes_of_the_table_are_told_from_everything_else() {
        for sql in [
            "ALTER TABLE `order` ADD COLUMN x INT",
            "alter online table shop.`order` engine = innodb",
            "/* nightly */ ALTER /* it's */ TABLE `shop`.`order` COMMENT 'x'",
            "-- first\nTRUNCATE `order`",
            "TRUNCATE TABLE shop.order",
            "DROP TABLE IF EXISTS archive, shop.order",
            "RENAME TABLE a TO b, `order` TO old_order",
            "OPTIMIZE LOCAL TABLE shop.order",
            "CREATE UNIQUE INDEX i ON `order` (id)",
            "DROP INDEX i ON shop.order",
            "CREATE TRIGGER t BEFORE INSERT ON `order` FOR EACH ROW SET @a = 1",
        ] {
            assert!(changes_table(sql, Some("shop"), &order()), "{sql}");
        }
        for sql in [
            "ALTER TABLE order_items ADD COLUMN x INT",
            "ALTER TABLE shop.order_items COMMENT 'order'",
            "ALTER TABLE items ADD COLUMN `order` INT",
            "ALTER TABLE archive.`order` ADD COLUMN x INT",
            "LOCK TABLES `order` READ",
            "LOCK TABLES `order` WRITE",
            "SELECT * FROM `order`",
            "INSERT INTO `order` VALUES ('ALTER TABLE `order`')",
            "DELETE FROM `order`",
            "CREATE INDEX `order` ON items (id)",
            "",
            "ALTER TABLE",
        ] {
            assert!(!changes_table(sql, Some("shop"), &order()), "{sql}");
        }
        assert!(!changes_table("ALTER TABLE `order` FORCE", Some("archive"), &order()));
        assert!(!changes_table("ALTER TABLE `order` FORCE", None, &order()));
    }

    #[test]
    fn a_quoted_name_may_hold_anything() {
        let odd = TableName { schema: "s".to_owned(), table: "a`b.c d".to_owned() };
        assert!(changes_table("ALTER TABLE `s`.`a``b.c d` FORCE", None, &odd));
    }

    proptest! {
        #[test]
        fn no_statement_can_make_it_panic(sql in "(ALTER TABLE|DROP INDEX|TRUNCATE)?[`'\"a-zé./*# ,\\\\-]{0,30}") {
            changes_table(&sql, None, &order());
        }
    }
}
