//! What of a run was compared with the server before its commit (`options.verify`).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// What was compared, of one key range or of several. It is kept beside what is landed, so that a run that several attempts
/// have landed tells of all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// Rows that are equal on the server and in the files.
    rows: u64,
    /// Columns that were compared.
    columns: usize,
    /// Why some rows were not compared, one clause each.
    unseen: BTreeSet<String>,
    /// Columns that were not compared, and why.
    left_out: BTreeSet<(String, String)>,
}

impl Verified {
    /// Rows that are equal in so many columns.
    #[must_use]
    pub fn equal(rows: u64, columns: usize) -> Self {
        Self { rows, columns, ..Self::default() }
    }

    /// Rows that were not compared, and why: one clause, lower case, no full stop.
    #[must_use]
    pub fn unseen(reason: &str) -> Self {
        Self { unseen: BTreeSet::from([reason.to_owned()]), ..Self::default() }
    }

    /// The same without these columns, of which each comes with the reason.
    #[must_use]
    pub fn without(mut self, columns: impl IntoIterator<Item = (String, String)>) -> Self {
        self.left_out.extend(columns);
        self
    }

    /// Adds what was compared beside it.
    pub fn add(&mut self, other: Self) {
        self.rows += other.rows;
        self.columns = self.columns.max(other.columns);
        self.unseen.extend(other.unseen);
        self.left_out.extend(other.left_out);
    }

    /// What a person should know.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let mut notes: Vec<String> = self.unseen.iter().map(|reason| format!("not verified: {reason}")).collect();
        if self.unseen.is_empty() || self.rows > 0 {
            notes.push(match (self.rows, self.columns) {
                (0, _) => "verified: no rows on the server, and none in written files".to_owned(),
                (rows, columns) => {
                    format!("verified: {rows} rows, {columns} columns are equal on the server and in the written files")
                }
            });
        }
        notes.extend(self.left_out.iter().map(|(column, reason)| format!("not verified: column {column}: {reason}")));
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_says_what_was_compared_and_what_was_not() {
        let mut all = Verified::equal(80, 11);
        all.add(Verified::equal(20, 11).without([("x".to_owned(), "odd".to_owned())]));
        let equal = "verified: 100 rows, 11 columns are equal on the server and in the written files";
        assert_eq!(all.notes(), [equal, "not verified: column x: odd"]);
        all.add(Verified::unseen("odd"));
        assert_eq!(all.notes(), ["not verified: odd", equal, "not verified: column x: odd"]);
    }

    #[test]
    fn no_rows_are_told_apart_from_rows_that_were_not_compared() {
        assert_eq!(Verified::default().notes(), ["verified: no rows on the server, and none in written files"]);
        assert_eq!(Verified::unseen("odd").notes(), ["not verified: odd"]);
    }
}
