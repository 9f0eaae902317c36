//! One key range of a run: what the server says of it against what stands in its files.
//!
//! **Invariant.** The files are read back from the store after they were finished, and before anybody is told of them: what
//! is kept for a later attempt has been compared.

use futures::TryStreamExt;
use headwaters_lake::contract::Table;
use headwaters_model::checksum::{Checksums, Form, RangeChecksums};
use headwaters_model::job::{Failure, JobError, LandedFile, Stage};
use headwaters_model::verified::Verified;

use super::sums::{Stored, add};
use crate::errors::of_lake;

/// The key of a field's metadata that holds the column's name in the source (mysql-sources.md 9).
const SOURCE_NAME: &str = "headwaters.sourceName";
/// How many columns an error names.
const COLUMNS_NAMED_MAX: usize = 5;

/// Why the rows of a source without moments are not compared.
pub(crate) const NOT_SHOWN_TWICE: &str =
    "the source does not show the same rows twice (the table is not transactional)";
/// Why rows were only counted: the sums of those of them that landed are not known.
const ROWS_REJECTED: &str = "rows over the row limit are missing in a key range, whose rows were only counted";

/// What of a column is not compared where bytes of it were no text.
const REPLACED: &str = "texts with a U+FFFD were only counted, because what it stands for is not known";

/// Compares the files of a key range with what the server says of its rows; `rejected` of these were not landed.
pub(crate) async fn check(
    table: &dyn Table,
    files: &[LandedFile],
    server: &RangeChecksums,
    rejected: u64,
) -> Result<Verified, JobError> {
    let schema = table.file_schema();
    let mut columns = Vec::with_capacity(server.columns.len());
    for column in &server.columns {
        let field = schema.fields().iter().find(|field| field.metadata().get(SOURCE_NAME) == Some(&column.name));
        let name = field.map_or_else(|| column.name.clone(), |field| field.name().clone());
        columns.push(Stored { column: column.clone(), name });
    }
    let mut landed = Checksums::none(columns.len());
    let mut batches = table.scan(files);
    while let Some(batch) = batches.try_next().await.map_err(of_lake)? {
        add(&mut landed, &batch, &columns).map_err(|what| failed(server, &what))?;
    }
    let lossy = server.columns.iter().filter(|column| column.form == Form::Text { lossy: true });
    let left_out = lossy.map(|column| (column.name.clone(), REPLACED.to_owned()));
    if rejected > 0 && landed.rows + rejected == server.sums.rows {
        return Ok(Verified::unseen(ROWS_REJECTED).without(left_out));
    }
    match difference(&server.sums, &landed, &columns) {
        None => Ok(Verified::equal(landed.rows, columns.len()).without(left_out)),
        Some(what) => Err(failed(server, &what)),
    }
}

/// What differs, for a person.
fn difference(server: &Checksums, landed: &Checksums, columns: &[Stored]) -> Option<String> {
    if server == landed {
        return None;
    }
    let mut said = Vec::new();
    if server.rows != landed.rows {
        said.push(format!("{} rows on the server, {} in the files", server.rows, landed.rows));
    }
    let differing = server.columns_that_differ(landed);
    for &place in differing.iter().take(COLUMNS_NAMED_MAX) {
        let (Some(stored), Some(ours), Some(theirs)) =
            (columns.get(place), landed.columns.get(place), server.columns.get(place))
        else {
            continue;
        };
        said.push(format!(
            "column {}: {} values with checksum {} on the server, {} with {} in the files",
            stored.column.name, theirs.values, theirs.sum, ours.values, ours.sum
        ));
    }
    if differing.len() > COLUMNS_NAMED_MAX {
        said.push(format!("and {} more columns", differing.len() - COLUMNS_NAMED_MAX));
    }
    if differing.is_empty() && server.rows == landed.rows {
        said.push(format!(
            "every column has the values that it should have, but not in the rows where they belong: checksum {} of the \
             rows on the server, {} in the files",
            server.row_sum, landed.row_sum
        ));
    }
    Some(said.join("; "))
}

fn failed(server: &RangeChecksums, what: &str) -> JobError {
    let range =
        server.range.as_ref().map_or_else(|| "the rows read".to_owned(), |range| format!("the key range {range}"));
    JobError::Definite(Failure {
        stage: Stage::Data,
        message: format!("the written files differ from the server in {range}: {what}; nothing was committed"),
        hint: Some(
            "run it again; if it differs again, check memory and disk of this machine, or whether a view shows something \
             else each time (options.verify false leaves the comparison out)"
                .to_owned(),
        ),
    })
}

#[cfg(test)]
mod tests {
    use headwaters_model::checksum::{CheckedColumn, ColumnSum, Form};

    use super::*;

    fn sums(rows: u64, row_sum: u128, column: u128) -> Checksums {
        Checksums { rows, row_sum, columns: vec![ColumnSum { values: rows, sum: column }] }
    }

    fn said(server: &Checksums, landed: &Checksums) -> Option<String> {
        let column = CheckedColumn { name: "total".to_owned(), form: Form::Integer };
        difference(server, landed, &[Stored { column, name: "total".to_owned() }])
    }

    #[test]
    fn what_differs_is_named_with_both_sides() {
        assert_eq!(said(&sums(8, 1, 5), &sums(8, 1, 5)), None);
        insta::assert_snapshot!(said(&sums(8, 1, 5), &sums(7, 2, 6)).unwrap(), @"8 rows on the server, 7 in the files; column total: 8 values with checksum 5 on the server, 7 with 6 in the files");
        assert!(said(&sums(8, 1, 5), &sums(8, 2, 5)).unwrap().contains("not in the rows where they belong"));
    }
}
