//! Cutting one table into key ranges for several readers (mysql-sources.md 12).
//!
//! **Invariant.** The splits of a plan are half-open, adjoin each other, the first is open below and the last above, and
//! all of them are compared by the server under the columns' own collations. So each row that a snapshot shows lies in
//! exactly one split, whatever the bounds are; how good the bounds are decides only how even the splits get.

mod cut;
mod key;
mod sample;

use headwaters_model::job::Splits;
use headwaters_model::source_error::SourceError;

use self::cut::{Piece, Prober, SPLITS_MAX};
use self::key::{Bound, KeyColumn, KeyKind, SplitKey};
use super::catalog::{Estimates, KeyDescription, TableDescription};
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

/// How a table is cut.
#[derive(Debug, Clone)]
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

/// Cuts a table. Asks the server for a handful of estimates per split, and never scans a table without an index.
pub(super) async fn plan(
    connection: &mut Connection,
    table: &TableDescription,
    estimates: Estimates,
    splits: Splits,
    readers: u32,
) -> Result<SplitPlan, SourceError> {
    let wanted = wanted_splits(splits, estimates, readers);
    let whole = SplitPlan::whole(estimates.rows);
    if wanted < 2 || !table.is_transactional() {
        return Ok(whole);
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
        Splits::Auto => {
            let bytes = estimates.bytes.unwrap_or(0);
            if bytes < ONE_SPLIT_BYTES_MAX {
                return 1;
            }
            let shared_out = (SPLITS_PER_READER * u64::from(readers)).min(bytes / SPLIT_BYTES_MIN);
            let splits = bytes.div_ceil(SPLIT_BYTES_MAX).max(shared_out);
            u32::try_from(splits).unwrap_or(SPLITS_MAX).clamp(1, SPLITS_MAX)
        }
    }
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
    async fn cells(&mut self, sql: &str) -> Result<Option<Bound>, SourceError> {
        let answer = self.connection.query(sql).await?;
        let cells = |row: &TextRow| {
            let cell = |place| row.at(place).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
            (0..answer.columns().len()).map(cell).collect::<Option<Bound>>()
        };
        Ok(answer.first().and_then(cells))
    }
}

impl Prober for ServerProber<'_> {
    async fn range(&mut self) -> Result<Option<(String, String)>, SourceError> {
        let Some(sql) = self.key.range_sql() else { return Ok(None) };
        let ends = self.cells(&sql).await?;
        Ok(ends.and_then(|ends| <[String; 2]>::try_from(ends).ok()).map(|[min, max]| (min, max)))
    }

    async fn estimate(&mut self, lower: &[String], upper: &[String]) -> Result<u64, SourceError> {
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
        let cell = |row: &TextRow| row.at(0).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        Ok(answer.rows().iter().filter_map(cell).collect())
    }

    async fn count(&mut self, rows_max: u64) -> Result<u64, SourceError> {
        let counted = self.cells(&self.key.count_sql(rows_max)).await?;
        Ok(counted.and_then(|cells| cells.first()?.parse().ok()).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mysql::catalog::{ColumnDescription, Generated, KeyPart, ObjectKind, TableName};

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
