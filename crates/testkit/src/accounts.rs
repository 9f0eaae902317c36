//! The accounts that every test server has: one per authentication plugin, and those with something missing.
//!
//! All may log in from anywhere. `root` (socket only, no password) is the test kit's own way in.

use crate::flavour::Flavour;

/// A password with no special characters, for all accounts that are not about passwords.
pub const PASSWORD: &str = "Headwaters-1";

/// A password with every character that a connection string can trip over (mysql-sources.md 18, point 7).
pub const ODD_PASSWORD: &str = " ;=\"'{}\\%&@:/?#[] ключ🔑 ";

/// One account of a test server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its name, and what it is for.
    pub name: &'static str,
    /// Its password.
    pub password: &'static str,
    /// What follows `identified` in `create user`, with `{password}` for the quoted password.
    identified: &'static str,
    /// What follows it: `require ssl` and the like.
    requirement: &'static str,
    /// What it may do, as the middle of a `grant`; empty for nothing.
    privileges: &'static str,
}

const READ: &str = "select, show view on *.*";

const fn account(name: &'static str, password: &'static str, identified: &'static str) -> Account {
    Account { name, password, identified, requirement: "", privileges: READ }
}

const fn variants(identified: &'static str) -> [Account; 7] {
    let plain = account("reader", PASSWORD, identified);
    [
        Account { name: "admin", privileges: "all privileges on *.*", ..plain },
        plain,
        Account { name: "locker", privileges: "select, show view, lock tables, reload on *.*", ..plain },
        Account { name: "needs_tls", requirement: "require ssl", ..plain },
        Account { name: "needs_certificate", requirement: "require x509", ..plain },
        Account { name: "nothing", privileges: "", ..plain },
        Account { name: "odd_password", password: ODD_PASSWORD, ..plain },
    ]
}

const MARIA_DB: [Account; 7] = variants("via mysql_native_password using password({password})");
const MARIA_DB_PLUGINS: [Account; 4] = [
    account("native", PASSWORD, "via mysql_native_password using password({password})"),
    account("empty_password", "", "via mysql_native_password using password({password})"),
    account("ed25519", PASSWORD, "via ed25519 using password({password})"),
    account("unix_socket", "", "via unix_socket"),
];
const MARIA_DB_NEWER_PLUGINS: [Account; 2] = [
    account("parsec", PASSWORD, "via parsec using password({password})"),
    account("caching_sha2", PASSWORD, "via caching_sha2_password using password({password})"),
];

const MY_SQL: [Account; 7] = variants("with caching_sha2_password by {password}");
const MY_SQL_PLUGINS: [Account; 4] = [
    account("caching_sha2", PASSWORD, "with caching_sha2_password by {password}"),
    account("empty_password", "", "with caching_sha2_password by {password}"),
    account("sha256", PASSWORD, "with sha256_password by {password}"),
    account("unix_socket", "", "with auth_socket"),
];

/// The accounts that servers of this flavour have:
///
/// - `admin` (everything), `reader` (select), `locker` (select, lock tables, reload), `nothing` (may only log in)
/// - `needs_tls` and `needs_certificate` (`require ssl`, `require x509`)
/// - `odd_password`, `empty_password`
/// - one per plugin, named after it: `native`, `ed25519`, `parsec`, `caching_sha2`, `sha256`, `unix_socket`
pub fn accounts(flavour: Flavour) -> Vec<Account> {
    match flavour {
        Flavour::MariaDb => [&MARIA_DB[..], &MARIA_DB_PLUGINS].concat(),
        Flavour::MariaDbNewer => [&MARIA_DB[..], &MARIA_DB_PLUGINS, &MARIA_DB_NEWER_PLUGINS].concat(),
        Flavour::MySql => [&MY_SQL[..], &MY_SQL_PLUGINS].concat(),
    }
}

/// The statements that install the plugins and make the accounts.
pub(crate) fn statements(flavour: Flavour) -> Vec<String> {
    let plugins: &[&str] = match flavour {
        Flavour::MariaDb => &["install soname 'auth_ed25519'"],
        Flavour::MariaDbNewer => {
            &["install soname 'auth_ed25519'", "install soname 'auth_parsec'", "install soname 'auth_mysql_sha2'"]
        }
        Flavour::MySql => &["install plugin auth_socket soname 'auth_socket.so'"],
    };
    let mut statements: Vec<String> = plugins.iter().map(|&statement| statement.to_owned()).collect();
    for account in accounts(flavour) {
        let identified = account.identified.replace("{password}", &quoted(account.password));
        statements.push(format!("create user {}@'%' identified {identified} {}", account.name, account.requirement));
        if !account.privileges.is_empty() {
            let option = if account.name == "admin" { " with grant option" } else { "" };
            statements.push(format!("grant {} to {}@'%'{option}", account.privileges, account.name));
        }
    }
    statements
}

/// A text as SQL literal, for a session without `NO_BACKSLASH_ESCAPES`.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_with_quotes_and_backslashes_stays_one_literal() {
        assert_eq!(quoted(r"a'b\c"), r"'a''b\\c'");
    }

    #[test]
    fn no_flavour_names_an_account_twice() {
        for flavour in Flavour::ALL {
            let mut names: Vec<_> = accounts(flavour).iter().map(|account| account.name).collect();
            names.sort_unstable();
            let all = names.len();
            names.dedup();
            assert_eq!(names.len(), all, "{flavour}");
        }
    }
}
