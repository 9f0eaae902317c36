//! Column names that every Delta reader takes (mysql-sources.md, section 9).
//!
//! **Invariant.** Different source columns get different names, also for readers that ignore case, and a column that is
//! in the table already keeps the name it has there.

use std::collections::{HashMap, HashSet};

use aws_lc_rs::digest::{SHA256, digest};

/// What Delta and Parquet forbid in a name without column mapping.
const FORBIDDEN: [char; 10] = [' ', ',', ';', '{', '}', '(', ')', '\n', '\t', '='];
/// How many hex digits a suffix has at least.
const SUFFIX_DIGITS_MIN: usize = 8;

/// The name with every forbidden character replaced by `_`.
pub(super) fn plain(source: &str) -> String {
    source.replace(FORBIDDEN, "_")
}

/// The names of new columns beside the names that the table has, in the same order.
///
/// `taken` are the table's names, also of columns that the source no longer has.
pub(super) fn lake_names(newcomers: &[&str], taken: &[&str]) -> Vec<String> {
    let mut used: HashSet<String> = taken.iter().map(|name| name.to_lowercase()).collect();
    let groups = groups(newcomers);

    let mut names: Vec<Option<String>> = Vec::with_capacity(newcomers.len());
    for source in newcomers {
        let plain = plain(source);
        let folded = plain.to_lowercase();
        let alone = groups.get(&folded) == Some(&1);
        let stays = (alone || plain == *source) && used.insert(folded);
        names.push(stays.then_some(plain));
    }

    let named = newcomers.iter().zip(names);
    named.map(|(source, name)| name.unwrap_or_else(|| suffixed(source, &mut used))).collect()
}

/// How many columns have a plain name, ignoring case.
fn groups(sources: &[&str]) -> HashMap<String, usize> {
    let mut groups = HashMap::new();
    for source in sources {
        *groups.entry(plain(source).to_lowercase()).or_default() += 1;
    }
    groups
}

/// The plain name with as many digits of the source name's digest as make it unique.
fn suffixed(source: &str, used: &mut HashSet<String>) -> String {
    let mut digits = hex_digest(source);
    let mut length = SUFFIX_DIGITS_MIN;
    loop {
        let name = format!("{}_{}", plain(source), &digits[..length]);
        if used.insert(name.to_lowercase()) {
            return name;
        }
        length += 1;
        if length > digits.len() {
            // Somebody named a column after every prefix of the digest: go on with the digest's own digest.
            digits = format!("{digits}{}", hex_digest(&digits));
        }
    }
}

fn hex_digest(text: &str) -> String {
    digest(&SHA256, text.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_without_forbidden_characters_stays() {
        assert_eq!(lake_names(&["id", "Größe", "a.b", "`x`"], &[]), ["id", "Größe", "a.b", "`x`"]);
    }

    #[test]
    fn forbidden_characters_become_underscores() {
        assert_eq!(lake_names(&["a b", "x=(1)", "t\n\t;{},"], &[]), ["a_b", "x__1_", "t______"]);
    }

    #[test]
    fn only_the_changed_names_of_a_group_get_digits() {
        let names = lake_names(&["a b", "a_b", "A;B"], &[]);
        assert_eq!(names, ["a_b_c8687a08", "a_b", &format!("A_B_{}", &hex_digest("A;B")[..8])]);
    }

    #[test]
    fn a_newcomer_that_meets_a_column_of_the_table_gets_digits_changed_or_not() {
        let names = lake_names(&["a b", "C"], &["A_B", "c"]);
        assert_eq!(names[0], format!("a_b_{}", &hex_digest("a b")[..8]));
        assert_eq!(names[1], format!("C_{}", &hex_digest("C")[..8]));
    }

    #[test]
    fn a_suffix_grows_until_the_name_is_free() {
        let taken = format!("a_b_{}", &hex_digest("a b")[..8]);
        let names = lake_names(&["a b", "a_b", &taken], &[]);
        assert_eq!(names[0], format!("a_b_{}", &hex_digest("a b")[..9]));
        assert_eq!(names[2], taken);
    }

    proptest! {
        #[test]
        fn names_are_unique_ignoring_case_and_hold_nothing_forbidden(
            sources in prop::collection::hash_set("[aA ;_=]{1,4}", 1..20),
            taken in prop::collection::hash_set("[ab_]{1,4}", 0..6),
        ) {
            let sources: Vec<&str> = sources.iter().map(String::as_str).collect();
            let taken: Vec<&str> = taken.iter().map(String::as_str).collect();
            let names = lake_names(&sources, &taken);
            let mut seen: HashSet<String> = taken.iter().map(|name| name.to_lowercase()).collect();
            for (source, name) in sources.iter().zip(&names) {
                prop_assert!(seen.insert(name.to_lowercase()), "{name} for {source} is there twice");
                prop_assert!(!name.contains(FORBIDDEN));
                prop_assert!(name.starts_with(&plain(source)));
            }
        }
    }
}
