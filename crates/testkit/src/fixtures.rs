//! The fixtures of this crate, on disk.

use std::path::{Path, PathBuf};

use crate::flavour::Flavour;

/// The path of a fixture, e.g. `shop.sql` or `types.expected.jsonl`.
pub fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// The SQL files with one table per type, in the order in which they are loaded into a server of this flavour.
pub fn type_files(flavour: Flavour) -> [&'static str; 2] {
    if flavour.is_maria_db() { ["types.sql", "types-mariadb.sql"] } else { ["types.sql", "types-mysql.sql"] }
}
