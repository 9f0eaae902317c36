//! A whole table against its source.
//!
//! Checksums of the whole table come first; equal ones end it after one question and one pass over the files. Else
//! [`super::search`] looks for the rows that differ.

use std::sync::Arc;

use headwaters_lake::contract::{Lake, LakeError, StoredColumn, StoredTable};
use headwaters_model::checksum::{CheckedColumn, Checksums, Cut, Form, NotCompared, Part};
use headwaters_model::job::{Failure, JobError, ReadRequest, SourceAccess, Splits, Stage};
use headwaters_source::contract::{Compared, ComparedTable, Comparison, Pieces};
use tokio_util::sync::CancellationToken;

use super::canonical::reads;
use super::lake_side::{LakeSide, Whole};
use super::report::{ColumnPair, Report};
use super::search::search;
use super::sums::Stored;
use crate::Engine;
use crate::errors::{of_lake, of_source};

/// How many rows a report shows unless somebody asks for more.
pub const KEYS_SHOWN_DEFAULT: usize = 20;

/// What of a table is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// The table as the client names it.
    pub table: String,
    /// The columns; none is all.
    pub columns: Option<Vec<String>>,
    /// The absolute URI of the table in the lake.
    pub location: String,
    /// How many rows that differ are shown.
    pub keys_max: usize,
}

impl Engine {
    /// Compares a table of a source with one in the lake; both as they are in one moment of their own.
    ///
    /// # Errors
    /// The source can't be read, the table is not there, or the lake can't be read; differences are no error.
    pub async fn verify(
        &self,
        access: &SourceAccess,
        scope: &Scope,
        cancel: CancellationToken,
    ) -> Result<Report, JobError> {
        let request = ReadRequest {
            table: scope.table.clone(),
            columns: scope.columns.clone(),
            filter: None,
            delta: None,
            splits: Splits::Exactly(1),
        };
        let source = self.source(access.spec)?;
        let mut source = source.compare(access, &request, cancel.clone()).await.map_err(of_source)?;
        let comparing = async {
            let stored = self.lake().current(&scope.location).await.map_err(of_lake)?;
            let stored = stored.ok_or_else(|| no_table(&scope.location))?;
            let plan = Plan::of(source.table(), &stored, scope)?;
            plan.carry_out(self.lake().clone(), stored, source.as_mut(), scope).await
        };
        let outcome = tokio::select! {
            biased;
            () = cancel.cancelled() => Err(JobError::Cancelled),
            outcome = comparing => outcome,
        };
        source.close().await;
        outcome
    }
}

fn no_table(location: &str) -> JobError {
    of_lake(
        LakeError::definite(format!("there is no Delta table at {location}"))
            .with_hint("look at the path (it is the folder that holds _delta_log), or copy the table there first"),
    )
}

/// What is compared with what.
struct Plan {
    columns: Vec<Stored>,
    key: Vec<Stored>,
    key_is_number: bool,
    not_compared: Vec<NotCompared>,
    notes: Vec<String>,
}

impl Plan {
    fn of(table: &ComparedTable, stored: &StoredTable, scope: &Scope) -> Result<Self, JobError> {
        let mut not_compared = Vec::new();
        let mut columns = Vec::new();
        for column in wanted(table, scope)? {
            match held(stored, column) {
                Ok(found) => columns.push(Stored { column: column.clone(), name: found.name.clone() }),
                Err(reason) => not_compared.push(NotCompared { column: column.name.clone(), reason }),
            }
        }
        if scope.columns.is_none() {
            let only = stored
                .columns
                .iter()
                .filter(|stored| !table.columns.iter().any(|column| is_named(stored, &column.name)));
            not_compared.extend(only.map(|column| NotCompared {
                column: column.source_name.clone(),
                reason: "it is only in the lake".to_owned(),
            }));
        }
        if columns.is_empty() {
            let message = format!("{} and the table at {} have no column in common", table.name, scope.location);
            let hint = Some("look whether --table and --against belong together".to_owned());
            return Err(JobError::Definite(Failure { stage: Stage::Lake, message, hint }));
        }
        let part = |name: &String| {
            let column = table.columns.iter().find(|column| column.name == *name)?;
            Some(Stored { column: column.clone(), name: held(stored, column).ok()?.name.clone() })
        };
        let key = table.key.iter().map(part).collect::<Option<Vec<_>>>().unwrap_or_default();
        let key_is_number = table.key_is_number && !key.is_empty();
        Ok(Self { columns, key, key_is_number, not_compared, notes: table.notes.clone() })
    }

    async fn carry_out(
        self,
        lake: Arc<dyn Lake>,
        stored: StoredTable,
        source: &mut dyn Comparison,
        scope: &Scope,
    ) -> Result<Report, JobError> {
        let Self { columns, key, key_is_number, not_compared, mut notes } = self;
        let mut side = LakeSide { lake, location: scope.location.clone(), table: stored, columns, key };
        let whole = whole(&mut side, &mut notes).await?;
        let compared = Compared { columns: plain(&side.columns), key: plain(&side.key) };
        let pieces = source.sums(&compared, Part::default(), Cut::Whole).await.map_err(of_source)?;
        let sums = one(pieces, compared.columns.len());
        notes.extend(about_rows(source.table(), scope, &side, &sums, &whole.sums));
        let pair = |(place, column): (usize, &CheckedColumn)| ColumnPair {
            name: column.name.clone(),
            source: sums.columns.get(place).copied().unwrap_or_default(),
            lake: whole.sums.columns.get(place).copied().unwrap_or_default(),
        };
        let mut report = Report {
            table: source.table().name.clone(),
            location: scope.location.clone(),
            version: side.table.version,
            files: side.table.files.len(),
            columns: compared.columns.iter().enumerate().map(pair).collect(),
            source: sums,
            lake: whole.sums.clone(),
            not_compared,
            key: compared.key.iter().map(|column| column.name.clone()).collect(),
            ranges: Vec::new(),
            keys: Vec::new(),
            counts: [0; 4],
            complete: true,
            notes,
        };
        // Where one side has no row there is nothing to look for.
        if !report.is_equal() && report.source.rows > 0 && report.lake.rows > 0 {
            let range = if key_is_number { range_of(source, &whole).await? } else { None };
            search(&side, source, &compared, &mut report, Part { range, ..Part::default() }, scope.keys_max).await?;
        }
        Ok(report)
    }
}

/// What the lake holds. Columns of it with a U+FFFD are compared without such texts from now on, on both sides: what stood
/// for these characters is not known here.
async fn whole(side: &mut LakeSide, notes: &mut Vec<String>) -> Result<Whole, JobError> {
    let whole = side.whole().await.map_err(of_lake)?;
    if whole.replaced.is_empty() {
        return Ok(whole);
    }
    let names: Vec<String> =
        whole.replaced.iter().filter_map(|place| side.columns.get(*place)).map(|stored| stored.name.clone()).collect();
    for stored in side.columns.iter_mut().chain(&mut side.key).filter(|stored| names.contains(&stored.name)) {
        stored.column.form = Form::Text { lossy: true };
    }
    notes.extend(names.iter().map(|name| {
        format!("column {name}: texts with a U+FFFD are only counted, because what it stands for is not known")
    }));
    side.whole().await.map_err(of_lake)
}

/// The keys of both sides, half-open; none where some row of the lake has no whole number there, or one that no range of
/// the source's can hold.
async fn range_of(source: &mut dyn Comparison, whole: &Whole) -> Result<Option<(i128, i128)>, JobError> {
    let (Some(lake), true) = (whole.ends, whole.has_numbers) else { return Ok(None) };
    let ends = source.key_ends().await.map_err(of_source)?.unwrap_or(lake);
    let (lower, last) = (ends.0.min(lake.0), ends.1.max(lake.1));
    let is_countable = lower >= i128::from(i64::MIN) && last <= i128::from(u64::MAX);
    Ok(is_countable.then_some((lower, last + 1)))
}

fn plain(columns: &[Stored]) -> Vec<CheckedColumn> {
    columns.iter().map(|stored| stored.column.clone()).collect()
}

/// The only piece of what was not cut.
fn one(mut pieces: Pieces, columns: usize) -> Checksums {
    pieces.remove(&0).unwrap_or_else(|| Checksums::none(columns))
}

/// The columns that are to be compared, in the source's order or as asked.
fn wanted<'a>(table: &'a ComparedTable, scope: &Scope) -> Result<Vec<&'a CheckedColumn>, JobError> {
    let Some(names) = &scope.columns else { return Ok(table.columns.iter().collect()) };
    let find = |name: &String| {
        let same = |column: &&CheckedColumn| column.name.to_lowercase() == name.to_lowercase();
        let exact = table.columns.iter().find(|column| column.name == *name);
        exact.or_else(|| table.columns.iter().find(same)).ok_or_else(|| {
            let message = format!("the table {} has no column '{name}'", table.name);
            JobError::Definite(Failure { stage: Stage::Source, message, hint: None })
        })
    };
    names.iter().map(find).collect()
}

fn is_named(stored: &StoredColumn, name: &str) -> bool {
    stored.source_name.to_lowercase() == name.to_lowercase()
}

/// The lake's column that holds a source's, or why it can't be compared.
fn held<'a>(stored: &'a StoredTable, column: &CheckedColumn) -> Result<&'a StoredColumn, String> {
    let exact = stored.columns.iter().find(|stored| stored.source_name == column.name);
    let found = exact.or_else(|| stored.columns.iter().find(|stored| is_named(stored, &column.name)));
    let found = found.ok_or("the lake has no such column")?;
    match &found.data_type {
        None => Err("the lake holds it in a type that is never landed".to_owned()),
        Some(data_type) if !reads(&column.form, data_type) => {
            Err(format!("the lake holds it as {data_type}, which is not what it is in the source"))
        }
        Some(_) => Ok(found),
    }
}

/// Why one side has no rows, or far more than the other.
fn about_rows(
    table: &ComparedTable,
    scope: &Scope,
    side: &LakeSide,
    source: &Checksums,
    lake: &Checksums,
) -> Option<String> {
    let (name, location, version) = (&table.name, &scope.location, side.table.version);
    match (source.rows, lake.rows) {
        (0, 0) => Some(format!("both are empty: {name} has no rows, and version {version} of {location} has none")),
        (0, rows) => Some(format!(
            "0 rows in the source: {name} exists and is empty now; the lake holds {rows} that were there once"
        )),
        (_, 0) if side.table.files.is_empty() => Some(format!(
            "0 rows in the lake: version {version} of {location} has no files: nothing was landed there yet, what a flow \
             asked for (its window, its filter) held no rows, or they were deleted"
        )),
        (_, 0) => {
            Some(format!("0 rows in the lake: the {} files of version {version} are empty", side.table.files.len()))
        }
        (source, lake) if lake > source => Some(format!(
            "the lake has {} rows more than the source: a table that recurring runs append to keeps every version of a row \
             that changed, and rows that were deleted in the source",
            lake - source
        )),
        _ => None,
    }
}
