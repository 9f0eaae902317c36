//! Cutting one table into key ranges for several readers (mysql-sources.md 12).
//!
//! **Invariant.** The splits of a plan are half-open, adjoin each other, the first is open below and the last above, and
//! all of them are compared by the server under the columns' own collations. So each row that a snapshot shows lies in
//! exactly one split **if the bounds ascend**: then each row lies above all bounds up to some place and below all behind
//! it. Where they cross, the rows in between are read twice. So the server itself is asked, in the snapshot that is read,
//! whether any row lies between bounds that cross ([`SplitPlan::is_proven`]); if one does, the table is one split. How
//! good the bounds are decides only how even the splits get.

mod cut;
mod key;
mod sample;

use headwaters_model::job::Splits;
use headwaters_model::source_error::SourceError;
use serde::{Deserialize, Serialize};

use self::cut::{Piece, Prober, SPLITS_MAX};
use self::key::{Bound, KeyColumn, KeyKind, SplitKey};
use super::catalog::{Estimates, KeyDescription, TableDescription, TableName};
use super::filter::Condition;
use super::wire::{Connection, TextRow};
use crate::contract::Split;

/// Below this a table is one split: a second connection costs more than it saves.
const ONE_SPLIT_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// What a split should hold at least, so that its file is worth opening.
const SPLIT_BYTES_MIN: u64 = 8 * 1024 * 1024;
/// What a split should hold at most, so that work can be shared out to the end.
const SPLIT_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// How many splits each reader should get, so that a slow one does not hold up the rest.
const SPLITS_PER_READER: u64 = 4;
/// A window of so few rows is one split, however large the table is.
const ONE_SPLIT_ROWS_MAX: u64 = 100_000;
/// How many bounds are proven by one question: the optimizer takes only so many conditions for ranges of an index.
const PROVEN_TOGETHER_MAX: usize = 64;

/// How a table is cut.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct SplitPlan {
    key: Option<SplitKey>,
    /// The ranges in key order.
    pub(super) splits: Vec<Split>,
    /// Why there is only one, where more were wanted.
    pub(super) note: Option<String>,
}

impl SplitPlan {
    /// The plan of a table that is read by one statement.
    pub(super) fn whole(rows_estimate: Option<u64>) -> Self {
        let split = Split { index: 0, lower: None, upper: None, rows_estimate: rows_estimate.unwrap_or(0) };
        Self { key: None, splits: vec![split], note: None }
    }

    fn of(key: SplitKey, pieces: Vec<Piece>) -> Self {
        let uppers: Vec<Option<Bound>> = pieces.iter().skip(1).map(|piece| piece.lower.clone()).chain([None]).collect();
        let splits = pieces.into_iter().zip(uppers).zip(0..);
        let splits =
            splits.map(|((Piece { lower, rows }, upper), index)| Split { index, lower, upper, rows_estimate: rows });
        Self { key: Some(key), splits: splits.collect(), note: None }
    }

    /// Whether no row that the connection sees lies in two splits: none lies below one bound and not below the next.
    pub(super) async fn is_proven(&self, connection: &mut Connection) -> Result<bool, SourceError> {
        let Some(key) = &self.key else { return Ok(true) };
        let bounds: Vec<Bound> = self.splits.iter().filter_map(|split| split.lower.clone()).collect();
        // Each lot begins with the bound that the last one ended with.
        for start in (0..bounds.len()).step_by(PROVEN_TOGETHER_MAX) {
            let lot = bounds.get(start..bounds.len().min(start + PROVEN_TOGETHER_MAX + 1)).unwrap_or_default();
            if let Some(sql) = key.crossing_sql(lot)
                && connection.query(&sql).await?.first().is_some()
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether the table still has the key that it was cut by.
    pub(super) fn fits(&self, table: &TableDescription) -> bool {
        let is_same = |key: &SplitKey, found: &KeyDescription| {
            found.name == key.index && usable(table, found).as_ref() == Some(&key.columns)
        };
        self.key.as_ref().is_none_or(|key| table.row_keys().any(|found| is_same(key, found)))
    }

    /// Gives up the cut.
    pub(super) fn uncut(self, table: &TableName) -> Self {
        let rows = self.splits.iter().map(|split| split.rows_estimate).sum();
        let note = format!("one reader: the server orders the keys of {table} differently from how they were cut");
        Self { note: Some(note), ..Self::whole(Some(rows)) }
    }

    /// The condition of a split's rows; none if it is the whole table.
    pub(super) fn condition(&self, split: &Split) -> Option<String> {
        self.key.as_ref()?.condition(split.lower.as_deref(), split.upper.as_deref())
    }

    /// The index to read a split by; none if it is the whole table.
    pub(super) fn index(&self, split: &Split) -> Option<&str> {
        let ranged = split.lower.is_some() || split.upper.is_some();
        self.key.as_ref().filter(|_| ranged).map(|key| key.index.as_str())
    }
}

/// Whether a window of so many rows is read by one statement, over the index that the server chooses. A split of the table
/// that holds more rows than the window is read over that index as well: then each split would walk the window anew.
fn is_one_split(window_rows: u64, estimates: Estimates, wanted: u32) -> bool {
    let split_rows = estimates.rows.unwrap_or(0) / u64::from(wanted.max(1));
    window_rows <= split_rows.max(ONE_SPLIT_ROWS_MAX)
}

/// The server's guess of how many rows it looks at for a condition.
async fn windowed_rows(
    connection: &mut Connection,
    table: &TableDescription,
    window: &Condition,
) -> Result<u64, SourceError> {
    let is_mariadb = connection.server().flavour().is_mariadb();
    // MySQL may be set to explain as a tree, which has no rows to read.
    let explain = if is_mariadb { "EXPLAIN" } else { "EXPLAIN FORMAT=TRADITIONAL" };
    let sql = format!("{explain} SELECT 1 FROM {} WHERE {}", table.name.quoted(), window.spelt_out());
    let answer = connection.query(&sql).await?;
    // No number stands where the optimizer knows that there is no row.
    Ok(answer.first().map(|row| row.parse_as::<u64>("rows")).transpose()?.flatten().unwrap_or(0))
}

/// Cuts a table, or what a window holds of it. Asks the server for a handful of estimates per split, and never scans a
/// table without an index.
pub(super) async fn plan(
    connection: &mut Connection,
    table: &TableDescription,
    estimates: Estimates,
    splits: Splits,
    readers: u32,
    window: Option<&Condition>,
) -> Result<SplitPlan, SourceError> {
    let wanted = wanted_splits(splits, estimates, readers);
    let whole = SplitPlan::whole(estimates.rows);
    if wanted < 2 || !table.is_transactional() {
        return Ok(whole);
    }
    if let (Splits::Auto, Some(window)) = (splits, window) {
        let rows = windowed_rows(connection, table, window).await?;
        if is_one_split(rows, estimates, wanted) {
            return Ok(SplitPlan::whole(Some(rows)));
        }
    }
    let Some(key) = choose(table) else {
        let note = format!("one reader: {} has no key that names each row, so it cannot be cut", table.name);
        return Ok(SplitPlan { note: Some(note), ..whole });
    };
    let mut prober = ServerProber { connection, key: &key };
    let pieces = cut::cut(&mut prober, &key, wanted, estimates.rows.unwrap_or(0)).await?;
    Ok(SplitPlan::of(key, pieces))
}

/// How many splits a table of this size should have.
fn wanted_splits(splits: Splits, estimates: Estimates, readers: u32) -> u32 {
    match splits {
        Splits::Exactly(count) => count.clamp(1, SPLITS_MAX),
        Splits::Auto => by_size(estimates, readers),
        // A table that would be one split is cut too.
        Splits::Finer(times) => by_size(estimates, readers).saturating_mul(times).clamp(1, SPLITS_MAX),
    }
}

fn by_size(estimates: Estimates, readers: u32) -> u32 {
    let bytes = estimates.bytes.unwrap_or(0);
    if bytes < ONE_SPLIT_BYTES_MAX {
        return 1;
    }
    let shared_out = (SPLITS_PER_READER * u64::from(readers)).min(bytes / SPLIT_BYTES_MIN);
    let splits = bytes.div_ceil(SPLIT_BYTES_MAX).max(shared_out);
    u32::try_from(splits).unwrap_or(SPLITS_MAX).clamp(1, SPLITS_MAX)
}

/// The key to cut by: the primary key, which orders the rows on disk, else the simplest that names each row.
fn choose(table: &TableDescription) -> Option<SplitKey> {
    let keys = table.row_keys().filter_map(|key| usable(table, key).map(|columns| (key, columns)));
    let rank = |key: &KeyDescription, columns: &[KeyColumn]| {
        let number = columns.first().is_some_and(|column| column.kind == KeyKind::Integer);
        (!key.is_primary(), columns.len() > 1, !number)
    };
    let (key, columns) = keys.min_by_key(|(key, columns)| rank(key, columns))?;
    Some(SplitKey { table: table.name.quoted(), index: key.name.clone(), columns })
}

/// The leading columns of a key whose values make bounds; none if its first one does not. Ranges of the leading columns
/// alone keep what they tie together on one side.
fn usable(table: &TableDescription, key: &KeyDescription) -> Option<Vec<KeyColumn>> {
    let kind = |name: &str| {
        let column = table.columns.iter().find(|column| column.name == name)?;
        KeyKind::of(&column.server_type(), column.charset.as_deref(), column.collation.as_deref())
    };
    let columns =
        key.columns.iter().map_while(|part| kind(&part.name).map(|kind| KeyColumn { name: part.name.clone(), kind }));
    let columns: Vec<KeyColumn> = columns.collect();
    (!columns.is_empty()).then_some(columns)
}

/// Asks a server over a connection.
struct ServerProber<'a> {
    connection: &'a mut Connection,
    key: &'a SplitKey,
}

impl ServerProber<'_> {
    /// The first row that a statement answers with; none if there is none, or a cell of it is null.
    async fn cells(&mut self, sql: &str) -> Result<Option<Bound>, SourceError> {
        let answer = self.connection.query(sql).await?;
        let cells =
            |row: &TextRow| (0..answer.columns().len()).map(|place| cell(row, place)).collect::<Option<Bound>>();
        Ok(answer.first().and_then(cells))
    }
}

/// A value of a key, which is ASCII in every kind of key ([`Bound`]).
fn cell(row: &TextRow, place: usize) -> Option<String> {
    row.at(place).and_then(|bytes| std::str::from_utf8(bytes).ok()).map(str::to_owned)
}

impl Prober for ServerProber<'_> {
    async fn range(&mut self) -> Result<Option<(String, String)>, SourceError> {
        let Some(sql) = self.key.range_sql() else { return Ok(None) };
        let ends = self.cells(&sql).await?;
        Ok(ends.and_then(|ends| <[String; 2]>::try_from(ends).ok()).map(|[min, max]| (min, max)))
    }

    async fn estimate(&mut self, lower: &[String], upper: Option<&[String]>) -> Result<u64, SourceError> {
        let is_mariadb = self.connection.server().flavour().is_mariadb();
        let sql = self.key.estimate_sql(is_mariadb, lower, upper);
        let answer = self.connection.query(&sql).await?;
        // No number stands where the optimizer knows that there is no row.
        let Some(row) = answer.first() else { return Ok(0) };
        Ok(row.parse_as::<u64>("rows")?.unwrap_or(0))
    }

    async fn step(&mut self, from: Option<&[String]>, rows: u64) -> Result<Option<Bound>, SourceError> {
        let sql = self.key.step_sql(from, rows);
        self.cells(&sql).await
    }

    async fn ordered(&mut self, values: &[String]) -> Result<Vec<String>, SourceError> {
        let Some(sql) = self.key.ordered_sql(values) else { return Ok(Vec::new()) };
        let answer = self.connection.query(&sql).await?;
        Ok(answer.rows().iter().filter_map(|row| cell(row, 0)).collect())
    }

    async fn count(&mut self, rows_max: u64) -> Result<u64, SourceError> {
        let counted = self.cells(&self.key.count_sql(rows_max)).await?;
        Ok(counted.and_then(|cells| cells.first()?.parse().ok()).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mysql::catalog::{ColumnDescription, Generated, KeyPart, ObjectKind};

    fn column(name: &str, data_type: &str) -> ColumnDescription {
        ColumnDescription {
            name: name.to_owned(),
            ordinal: 1,
            nullable: false,
            data_type: data_type.to_owned(),
            column_type: data_type.to_owned(),
            charset: Some("utf8mb4".to_owned()),
            collation: Some("utf8mb4_bin".to_owned()),
            json_check: false,
            srid: None,
            invisible: false,
            generated: Generated::No,
            selectable: true,
        }
    }

    fn table(keys: &[(&str, &[&str])]) -> TableDescription {
        let keys = keys.iter().map(|(name, columns)| KeyDescription {
            name: (*name).to_owned(),
            unique: true,
            row_key: true,
            columns: columns.iter().map(|name| KeyPart { name: (*name).to_owned(), cardinality: None }).collect(),
        });
        TableDescription {
            name: TableName { schema: "s".to_owned(), table: "t".to_owned() },
            kind: ObjectKind::Table,
            engine: Some("InnoDB".to_owned()),
            columns: vec![column("id", "bigint"), column("name", "varchar"), column("ratio", "double")],
            keys: keys.collect(),
        }
    }

    fn chosen(keys: &[(&str, &[&str])]) -> Option<(String, usize)> {
        choose(&table(keys)).map(|key| (key.index, key.columns.len()))
    }

    #[test]
    fn the_primary_key_is_taken_where_its_values_make_bounds() {
        assert_eq!(chosen(&[("PRIMARY", &["name"]), ("id", &["id"])]), Some(("PRIMARY".to_owned(), 1)));
        assert_eq!(chosen(&[("PRIMARY", &["ratio"]), ("n", &["name"]), ("i", &["id"])]), Some(("i".to_owned(), 1)));
        assert_eq!(chosen(&[("PRIMARY", &["id", "ratio", "name"])]), Some(("PRIMARY".to_owned(), 1)));
        assert_eq!(chosen(&[("PRIMARY", &["ratio"])]), None);
        assert_eq!(chosen(&[]), None);
    }

    #[test]
    fn size_and_readers_decide_how_many_splits() {
        let sized = |bytes, readers| {
            let estimates = Estimates { rows: Some(1), bytes: Some(bytes) };
            wanted_splits(Splits::Auto, estimates, readers)
        };
        const MIB: u64 = 1024 * 1024;
        assert_eq!(sized(10 * MIB, 4), 1);
        assert_eq!(sized(32 * MIB, 4), 4);
        assert_eq!(sized(750 * MIB, 2), 8);
        assert_eq!(sized(8192 * MIB, 4), 32);
        assert_eq!(sized(u64::MAX, 4), SPLITS_MAX);
        assert_eq!(wanted_splits(Splits::Exactly(0), Estimates::default(), 4), 1);
        let finer = |times| wanted_splits(Splits::Finer(times), Estimates { rows: Some(1), bytes: Some(32 * MIB) }, 4);
        assert_eq!((finer(1), finer(4), finer(u32::MAX)), (4, 16, SPLITS_MAX));
        assert_eq!(wanted_splits(Splits::Finer(4), Estimates::default(), 4), 4);
    }

    #[test]
    fn splits_adjoin_and_are_open_at_both_ends() {
        let key = choose(&table(&[("PRIMARY", &["id"])])).unwrap();
        let piece = |lower: Option<&str>| Piece { lower: lower.map(|value| vec![value.to_owned()]), rows: 5 };
        let plan = SplitPlan::of(key, vec![piece(None), piece(Some("10")), piece(Some("20"))]);
        let conditions: Vec<_> = plan.splits.iter().map(|split| plan.condition(split).unwrap()).collect();
        assert_eq!(conditions, ["`id` < 10", "`id` >= 10 AND `id` < 20", "`id` >= 20"]);
        assert_eq!(SplitPlan::whole(None).condition(&SplitPlan::whole(None).splits[0]), None);
    }
}
