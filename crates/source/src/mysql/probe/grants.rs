//! What `SHOW GRANTS` says, as far as reading needs it (mysql-sources.md 17).

use std::collections::BTreeSet;

/// Privileges in upper case.
type Privileges = BTreeSet<String>;

/// What an account may do, and where.
#[derive(Debug, Default)]
pub(super) struct Grants {
    global: Privileges,
    /// Patterns of schema names with `%` and `_`, as the grant tables hold them.
    schemas: Vec<(String, Privileges)>,
    /// Schemas of tables on which something is granted.
    tables: Vec<(String, Privileges)>,
}

impl Grants {
    /// Reads the lines of `SHOW GRANTS`; lines about roles, routines and proxies mean nothing here.
    pub(super) fn parse<'a>(lines: impl Iterator<Item = &'a str>) -> Self {
        let mut grants = Self::default();
        for line in lines {
            let Some((privileges, object)) = split(line) else { continue };
            let privileges = names(privileges);
            match object {
                Object::Everything => grants.global.extend(privileges),
                Object::Schema(pattern) => grants.schemas.push((pattern, privileges)),
                Object::Table { schema } => grants.tables.push((schema, privileges)),
            }
        }
        grants
    }

    /// Whether a privilege holds for a whole schema; without a name, for any schema.
    pub(super) fn allows(&self, privilege: &str, schema: Option<&str>) -> bool {
        holds(&self.global, privilege)
            || self.schemas.iter().any(|(pattern, privileges)| {
                holds(privileges, privilege) && schema.is_none_or(|schema| matches(pattern, schema))
            })
    }

    /// Whether a privilege holds for a schema or for some table in it.
    pub(super) fn allows_somewhere(&self, privilege: &str, schema: Option<&str>) -> bool {
        self.allows(privilege, schema)
            || self.tables.iter().any(|(of, privileges)| {
                holds(privileges, privilege) && schema.is_none_or(|schema| schema.eq_ignore_ascii_case(of))
            })
    }
}

enum Object {
    Everything,
    Schema(String),
    Table { schema: String },
}

/// Takes `GRANT … ON … TO …` apart.
fn split(line: &str) -> Option<(&str, Object)> {
    let rest = line.strip_prefix("GRANT ")?;
    let on = outside_quotes(rest, " ON ")?;
    let object = &rest[on + " ON ".len()..];
    let object = &object[..outside_quotes(object, " TO ")?];
    let object = object.strip_prefix("TABLE ").unwrap_or(object);
    if object == "*.*" {
        return Some((&rest[..on], Object::Everything));
    }
    let dot = outside_quotes(object, ".")?;
    // `PROCEDURE a.b` and its like do not begin with a name in backticks.
    let schema = object[..dot].strip_prefix('`')?.strip_suffix('`')?.replace("``", "`");
    let object = if &object[dot + 1..] == "*" { Object::Schema(schema) } else { Object::Table { schema } };
    Some((&rest[..on], object))
}

/// Where a text stands that is not inside backticks or parentheses.
fn outside_quotes(text: &str, wanted: &str) -> Option<usize> {
    let mut quoted = false;
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        if !quoted && depth == 0 && text[at..].starts_with(wanted) {
            return Some(at);
        }
        match c {
            '`' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

/// The privileges of a list like `SELECT (a, b), LOCK TABLES`.
fn names(list: &str) -> Privileges {
    let mut names = Privileges::new();
    let mut rest = list;
    loop {
        let end = outside_quotes(rest, ",").unwrap_or(rest.len());
        let name = rest[..end].split('(').next().unwrap_or_default();
        names.insert(name.trim().to_ascii_uppercase());
        match rest.get(end + 1..) {
            Some(tail) => rest = tail,
            None => return names,
        }
    }
}

fn holds(privileges: &Privileges, privilege: &str) -> bool {
    privileges.contains(privilege) || privileges.contains("ALL PRIVILEGES") || privileges.contains("ALL")
}

/// Whether a schema's name fits a pattern of a grant, where a backslash takes the meaning of `%` and `_` away.
fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    // Where the last `%` stood and what it had swallowed: at most pattern × name steps.
    let (mut p, mut n, mut back) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some('%') => {
                back = Some((p + 1, n));
                p += 1;
            }
            Some('_') => (p, n) = (p + 1, n + 1),
            Some('\\') if pattern.get(p + 1) == name.get(n) => (p, n) = (p + 2, n + 1),
            Some(c) if c.eq_ignore_ascii_case(&name[n]) => (p, n) = (p + 1, n + 1),
            _ => match back {
                Some((after, swallowed)) => {
                    back = Some((after, swallowed + 1));
                    (p, n) = (after, swallowed + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p.min(pattern.len())..].iter().all(|c| *c == '%')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn grants_of_both_servers_are_understood() {
        let grants = Grants::parse(
            [
                "GRANT USAGE ON *.* TO `r`@`%` IDENTIFIED BY PASSWORD '*ON x TO y'",
                "GRANT SELECT, LOCK TABLES, SHOW VIEW ON `shop\\_%`.* TO `r`@`%`",
                "GRANT SELECT (`a, b`, `c`), INSERT ON `odd.``x`.`t TO y` TO `r`@`%`",
                "GRANT EXECUTE ON PROCEDURE `p`.`q` TO `r`@`%`",
                "GRANT `role`@`%` TO `r`@`%`",
                "GRANT PROXY ON ''@'' TO 'root'@'localhost'",
            ]
            .into_iter(),
        );
        assert!(grants.allows("SELECT", Some("shop_eu")) && !grants.allows("SELECT", Some("shopxeu")));
        assert!(grants.allows("LOCK TABLES", None));
        assert!(grants.allows_somewhere("SELECT", Some("odd.`x")) && !grants.allows("SELECT", Some("odd.`x")));
        assert!(!grants.allows_somewhere("EXECUTE", None));
        assert!(Grants::parse(["GRANT ALL PRIVILEGES ON *.* TO `root`@`%`"].into_iter()).allows("SELECT", Some("x")));
    }

    proptest! {
        #[test]
        fn no_line_makes_the_reader_panic(line in "(GRANT )?[A-Z`(), .*ON TO%_\\\\é]{0,60}", name in "\\PC{0,10}") {
            let _ = Grants::parse([&*line].into_iter()).allows_somewhere("SELECT", Some(&name));
            let _ = matches(&line, &name);
        }

        #[test]
        fn a_name_fits_itself_when_escaped(name in "[a-z_%\\\\]{0,10}") {
            let escaped: String = name.chars().flat_map(|c| ['\\', c]).collect();
            prop_assert!(matches(&escaped, &name));
        }
    }
}
