//! Reading splits: from the socket to batches.
//!
//! **Invariant.** A split is reported as read only after the server's end-of-rows arrived under the columns that were
//! planned. After any error the connection is given up, never reused: it may stand in the middle of a result, and
//! another connection would be another moment.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow_array::RecordBatch;
use futures::FutureExt;
use futures::future::BoxFuture;
use headwaters_model::diagnostic::Reason;
use headwaters_model::source_error::{SourceError, SourceErrorKind};
use tokio_util::sync::CancellationToken;

use super::catalog::quoted;
use super::checksum::{self, SplitRows};
use super::columns::{Columns, Malformed, RowLayout};
use super::filter::Condition;
use super::give_way::{Watch, gave_way};
use super::plan::SplitPlan;
use super::session::tagged;
use super::types::{Decode, Landing};
use super::wire::{ColumnDef, ColumnType, Connection, Param, RowFormat, Rows};
use crate::contract::{Batch, BatchSender, Split, SplitReader, SplitTotals};

/// What every reader of a table sends, and what it expects back.
#[derive(Debug)]
pub(super) struct TableRead {
    /// The table, quoted.
    pub(super) table: String,
    /// How it is cut.
    pub(super) plan: SplitPlan,
    /// The cells of its rows.
    pub(super) layout: RowLayout,
    /// In which protocol they come.
    pub(super) format: RowFormat,
    /// Which rows.
    pub(super) filter: Option<Condition>,
    /// The definitions that the plan was made with.
    pub(super) defs: Vec<ColumnDef>,
    /// What administrators see before each statement.
    pub(super) comment: String,
    /// Above so many bytes a row is rejected.
    pub(super) row_bytes_max: usize,
    /// Whether the server sums up what it has sent.
    pub(super) checksums: bool,
}

impl TableRead {
    /// The statement of one split.
    fn sql(&self, split: &Split) -> String {
        let rows = self.rows_of(split, self.format);
        let sql = format!("SELECT {} {rows}", select_list(&self.layout, self.format));
        tagged(&self.tag(split), &sql)
    }

    /// What stands before each statement of a split.
    fn tag(&self, split: &Split) -> String {
        format!("{} split {}", self.comment, split.index)
    }

    /// The rows of one split: what stands behind the SELECT list. In text the filter's values stand in it.
    fn rows_of(&self, split: &Split, format: RowFormat) -> String {
        let mut sql = format!("FROM {}", self.table);
        // With a filter another index may serve better, and the optimizer knows.
        if let (Some(index), None) = (self.plan.index(split), &self.filter) {
            sql.push_str(&format!(" FORCE INDEX ({})", quoted(index)));
        }
        let range = self.plan.condition(split);
        let filter = self.filter.as_ref().map(|filter| match format {
            RowFormat::Binary => filter.sql.clone(),
            RowFormat::Text => filter.spelt_out(),
        });
        let conditions: Vec<String> = [range, filter].into_iter().flatten().collect();
        if !conditions.is_empty() {
            sql.push_str(" WHERE ");
            sql.push_str(&conditions.join(" AND "));
        }
        sql
    }
}

/// The cells of a row: the columns, then a flag for each enum whose error value looks like a member.
pub(super) fn select_list(layout: &RowLayout, format: RowFormat) -> String {
    select_list_with(layout, format, |_, name| name)
}

/// The same, with `shown` in the place of each column's name; a preview clips long values there.
pub(super) fn select_list_with(
    layout: &RowLayout,
    format: RowFormat,
    shown: impl Fn(&Landing, String) -> String,
) -> String {
    let name = |place: usize| layout.landings().get(place).map(|landing| quoted(landing.field.name()));
    let columns = layout.landings().iter().map(|landing| {
        let name = quoted(landing.field.name());
        match (format, landing.decode) {
            // Printed, a float has six digits; the double that it is has all (mysql-sources.md 7).
            (RowFormat::Text, Decode::Float32) => format!("{name} + 0e0 AS {name}"),
            _ => shown(landing, name),
        }
    });
    let flags = layout.flagged().iter().filter_map(|&place| Some(format!("IF({} = 0, '1', '')", name(place)?)));
    columns.chain(flags).collect::<Vec<_>>().join(", ")
}

/// Whether cells of this definition are what the decoder reads.
pub(super) fn fits(decode: Decode, def: &ColumnDef, format: RowFormat) -> bool {
    use ColumnType as T;
    let kind = def.column_type;
    let unsigned = def.is_unsigned();
    match decode {
        Decode::Int8 | Decode::BooleanFromTiny => kind == T::MYSQL_TYPE_TINY && !unsigned,
        Decode::Int16FromU8 => kind == T::MYSQL_TYPE_TINY && unsigned,
        Decode::Int16 => kind == T::MYSQL_TYPE_YEAR || (kind == T::MYSQL_TYPE_SHORT && !unsigned),
        Decode::Int32FromU16 => kind == T::MYSQL_TYPE_SHORT && unsigned,
        Decode::Int32 => kind == T::MYSQL_TYPE_INT24 || (kind == T::MYSQL_TYPE_LONG && !unsigned),
        Decode::Int64FromU32 => kind == T::MYSQL_TYPE_LONG && unsigned,
        Decode::Int64 => kind == T::MYSQL_TYPE_LONGLONG && !unsigned,
        Decode::DecimalFromU64 => kind == T::MYSQL_TYPE_LONGLONG && unsigned,
        Decode::BooleanFromBit | Decode::Int64FromBits | Decode::DecimalFromBits => kind == T::MYSQL_TYPE_BIT,
        Decode::Float32 if format == RowFormat::Text => kind == T::MYSQL_TYPE_DOUBLE,
        Decode::Float32 => kind == T::MYSQL_TYPE_FLOAT,
        Decode::Float64 => kind == T::MYSQL_TYPE_DOUBLE,
        Decode::Decimal { .. } | Decode::LongDecimal => {
            matches!(kind, T::MYSQL_TYPE_NEWDECIMAL | T::MYSQL_TYPE_DECIMAL)
        }
        Decode::Date { .. } => matches!(kind, T::MYSQL_TYPE_DATE | T::MYSQL_TYPE_NEWDATE),
        Decode::DateTime { .. } => matches!(kind, T::MYSQL_TYPE_DATETIME | T::MYSQL_TYPE_TIMESTAMP),
        Decode::Time { .. } => kind == T::MYSQL_TYPE_TIME,
        Decode::Null => kind == T::MYSQL_TYPE_NULL,
        Decode::Text | Decode::Enum { .. } | Decode::Binary | Decode::Guid(_) | Decode::Geometry | Decode::Vector => {
            has_length(kind)
        }
    }
}

/// Whether both protocols send such cells as bytes with their length.
fn has_length(kind: ColumnType) -> bool {
    use ColumnType as T;
    matches!(
        kind,
        T::MYSQL_TYPE_VARCHAR
            | T::MYSQL_TYPE_VAR_STRING
            | T::MYSQL_TYPE_STRING
            | T::MYSQL_TYPE_ENUM
            | T::MYSQL_TYPE_SET
            | T::MYSQL_TYPE_TINY_BLOB
            | T::MYSQL_TYPE_MEDIUM_BLOB
            | T::MYSQL_TYPE_LONG_BLOB
            | T::MYSQL_TYPE_BLOB
            | T::MYSQL_TYPE_JSON
            | T::MYSQL_TYPE_GEOMETRY
            | T::MYSQL_TYPE_VECTOR
            | T::MYSQL_TYPE_UNKNOWN
    )
}

/// Whether a result still has the columns of the plan. A DDL statement under an open snapshot is told by MySQL with an
/// error; MariaDB serves the new shape inside the old snapshot without a word (mysql-sources.md 11).
fn same_columns(planned: &[ColumnDef], found: &[ColumnDef]) -> bool {
    let same = |a: &ColumnDef, b: &ColumnDef| {
        a.name == b.name
            && a.column_type == b.column_type
            && a.is_unsigned() == b.is_unsigned()
            && a.is_binary() == b.is_binary()
            && a.decimals == b.decimals
    };
    planned.len() == found.len() && planned.iter().zip(found).all(|(a, b)| same(a, b))
}

/// One connection of an open table.
pub(super) struct Reader {
    connection: Option<Connection>,
    table: Arc<TableRead>,
    columns: Columns,
    cancel: CancellationToken,
    watch: Arc<Watch>,
}

impl Reader {
    pub(super) fn new(
        connection: Connection,
        table: Arc<TableRead>,
        limits: super::columns::BatchLimits,
        cancel: CancellationToken,
        watch: Arc<Watch>,
    ) -> Self {
        let columns = Columns::new(table.layout.clone(), table.format, limits);
        Self { connection: Some(connection), table, columns, cancel, watch }
    }

    async fn read_split(&mut self, split: &Split, out: &BatchSender) -> Result<SplitTotals, SourceError> {
        let Some(mut connection) = self.connection.take() else {
            let message = format!("a reader of {} was used after it had failed", self.table.table);
            return Err(SourceError::transient(SourceErrorKind::Lost, message));
        };
        let reading = stream_split(&mut connection, &self.table, &mut self.columns, split, out);
        let outcome = tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(cancelled(&self.table.table)),
            () = self.watch.somebody_waits() => Err(gave_way(&self.table.table)),
            outcome = reading => outcome,
        };
        match outcome {
            Ok(totals) => {
                self.connection = Some(connection);
                Ok(totals)
            }
            Err(error) => {
                connection.abandon().await;
                Err(error)
            }
        }
    }
}

fn cancelled(table: &str) -> SourceError {
    SourceError::definite(SourceErrorKind::Cancelled, format!("reading {table} was cancelled"))
}

impl SplitReader for Reader {
    fn read<'a>(
        &'a mut self,
        split: &'a Split,
        out: &'a BatchSender,
    ) -> BoxFuture<'a, Result<SplitTotals, SourceError>> {
        self.read_split(split, out).boxed()
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        async move {
            if let Some(connection) = self.connection {
                connection.close().await;
            }
        }
        .boxed()
    }
}

/// Sends the statement of a split and reads its rows.
async fn stream_split(
    connection: &mut Connection,
    table: &TableRead,
    columns: &mut Columns,
    split: &Split,
    out: &BatchSender,
) -> Result<SplitTotals, SourceError> {
    let sql = table.sql(split);
    let params = table.filter.as_ref().map_or(&[][..], |filter| filter.params.as_slice());
    let statement = Query { table: &table.table, sql: &sql, params, format: table.format, defs: Some(&table.defs) };
    let mut sending = Sending { table, out, totals: SplitTotals::default() };
    let Read { bytes, rows_too_large } = run(connection, &statement, columns, &mut sending).await?;
    let mut totals = sending.totals;
    totals.bytes_in = bytes;
    totals.rows_rejected = rows_too_large;
    totals.diagnostics = columns.take_diagnostics();
    for _ in 0..rows_too_large {
        let longer = format!("longer than {} bytes, the most that is read of a row", table.row_bytes_max);
        totals.diagnostics.record(WHOLE_ROW, Reason::RowTooLarge, "row rejected", None, &longer);
    }
    if table.checksums {
        let rows = SplitRows {
            from: table.rows_of(split, RowFormat::Text),
            range: table.plan.condition(split),
            comment: &table.tag(split),
            layout: &table.layout,
            defs: &table.defs,
            diagnostics: &totals.diagnostics,
        };
        totals.checksums = Some(checksum::of_split(connection, rows).await?);
    }
    Ok(totals)
}

/// What stands for the column in a diagnostic of a whole row.
const WHOLE_ROW: &str = "*";

/// Sends batches to whoever wants them.
struct Sending<'a> {
    table: &'a TableRead,
    out: &'a BatchSender,
    totals: SplitTotals,
}

impl TakeBatch for Sending<'_> {
    async fn take(&mut self, rows: RecordBatch, bytes_read: u64) -> Result<ControlFlow<()>, SourceError> {
        let bytes_in = bytes_read - self.totals.bytes_in;
        self.totals.rows += rows.num_rows() as u64;
        self.totals.bytes_in = bytes_read;
        self.out.send(Batch { rows, bytes_in }).await.map_err(|_| cancelled(&self.table.table))?;
        Ok(ControlFlow::Continue(()))
    }
}

/// A statement whose rows are decoded.
pub(super) struct Query<'a> {
    /// The table, for messages.
    pub(super) table: &'a str,
    pub(super) sql: &'a str,
    pub(super) params: &'a [Param],
    pub(super) format: RowFormat,
    /// The definitions that the result must still have; none if values are clipped on their way.
    pub(super) defs: Option<&'a [ColumnDef]>,
}

/// Takes the batches of a result.
pub(super) trait TakeBatch: Send {
    /// Takes a batch as soon as it is full; `bytes_read` counts the wire from the beginning of the result. A break leaves
    /// the rest of the result where it is: then the connection is of no more use.
    fn take(
        &mut self,
        batch: RecordBatch,
        bytes_read: u64,
    ) -> impl Future<Output = Result<ControlFlow<()>, SourceError>> + Send;
}

/// What a result took.
pub(super) struct Read {
    bytes: u64,
    rows_too_large: u64,
}

/// Runs a statement in its protocol and decodes its rows.
pub(super) async fn run(
    connection: &mut Connection,
    query: &Query<'_>,
    columns: &mut Columns,
    taker: &mut impl TakeBatch,
) -> Result<Read, SourceError> {
    match query.format {
        RowFormat::Binary => {
            let statement = connection.prepare(query.sql).await?;
            let read = decode(connection.stream(&statement, query.params).await?, query, columns, taker).await?;
            if let ControlFlow::Continue(_) = read {
                connection.close_statement(statement).await?;
            }
            Ok(either(read))
        }
        RowFormat::Text => Ok(either(decode(connection.stream_text(query.sql).await?, query, columns, taker).await?)),
    }
}

fn either(read: ControlFlow<Read, Read>) -> Read {
    match read {
        ControlFlow::Continue(read) | ControlFlow::Break(read) => read,
    }
}

/// Reads a result to its end, or until the taker has enough.
async fn decode(
    mut rows: Rows<'_>,
    query: &Query<'_>,
    columns: &mut Columns,
    taker: &mut impl TakeBatch,
) -> Result<ControlFlow<Read, Read>, SourceError> {
    if query.defs.is_some_and(|planned| !same_columns(planned, rows.columns())) {
        let message = format!("the columns of {} changed while it was read", query.table);
        return Err(SourceError::transient(SourceErrorKind::Server { number: DEFINITION_CHANGED }, message)
            .with_hint("read the table again to get its new columns"));
    }
    let malformed = |error: Malformed| {
        let message = format!("a row of {} cannot be read: {error}", query.table);
        SourceError::definite(SourceErrorKind::Protocol, message)
    };
    let read = |rows: &Rows<'_>| Read { bytes: rows.bytes_read(), rows_too_large: rows.rows_too_large() };
    while rows.fill().await? {
        while let Some(row) = rows.next_buffered()? {
            // `row` borrows the read buffer: nothing is allocated until a column grows.
            columns.push(row).map_err(malformed)?;
            if columns.is_full() {
                let batch = columns.finish().map_err(malformed)?;
                if taker.take(batch, rows.bytes_read()).await?.is_break() {
                    return Ok(ControlFlow::Break(read(&rows)));
                }
            }
        }
    }
    if !columns.is_empty() {
        let batch = columns.finish().map_err(malformed)?;
        // There is nothing left to break off.
        let _ = taker.take(batch, rows.bytes_read()).await?;
    }
    Ok(ControlFlow::Continue(read(&rows)))
}

/// 1412, "table definition has changed": what MySQL itself answers in this case.
pub(super) const DEFINITION_CHANGED: u16 = 1412;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mysql::types::{ServerType, TypeRules};
    use crate::mysql::wire::ColumnFlags;

    fn layout(columns: &[(&str, ServerType)]) -> RowLayout {
        let rules = TypeRules::default();
        let landings = columns.iter().map(|(name, server)| Landing::of(name, server, true, &rules)).collect();
        RowLayout::new(landings, &[])
    }

    fn def(name: &str, column_type: ColumnType, flags: ColumnFlags) -> ColumnDef {
        ColumnDef {
            schema: String::new(),
            table: String::new(),
            org_table: String::new(),
            name: name.to_owned(),
            org_name: String::new(),
            column_type,
            flags,
            character_set: 63,
            length: 11,
            decimals: 0,
            extended_type: None,
            extended_format: None,
        }
    }

    fn table(format: RowFormat, filter: Option<Condition>) -> TableRead {
        let layout = layout(&[
            ("a b", ServerType::Int { unsigned: false }),
            ("f", ServerType::Float),
            ("e", ServerType::Enum { empty_member: true }),
        ]);
        TableRead {
            table: "`shop`.`t`".to_owned(),
            plan: SplitPlan::whole(None),
            layout,
            format,
            filter,
            defs: Vec::new(),
            comment: "flow f run r".to_owned(),
            row_bytes_max: 64,
            checksums: false,
        }
    }

    #[test]
    fn the_statement_of_a_split_names_its_reader_and_its_columns() {
        let whole = SplitPlan::whole(None).splits.remove(0);
        insta::assert_snapshot!(
            table(RowFormat::Binary, None).sql(&whole),
            @"/* flow f run r split 0 */ SELECT `a b`, `f`, `e`, IF(`e` = 0, '1', '') FROM `shop`.`t`"
        );
        let filter = Condition { sql: "(`a b` > ?)".to_owned(), params: vec![Param::Int(5)] };
        insta::assert_snapshot!(
            table(RowFormat::Binary, Some(filter.clone())).sql(&whole),
            @"/* flow f run r split 0 */ SELECT `a b`, `f`, `e`, IF(`e` = 0, '1', '') FROM `shop`.`t` WHERE (`a b` > ?)"
        );
        insta::assert_snapshot!(
            table(RowFormat::Text, Some(filter)).sql(&whole),
            @"/* flow f run r split 0 */ SELECT `a b`, `f` + 0e0 AS `f`, `e`, IF(`e` = 0, '1', '') FROM `shop`.`t` WHERE (`a b` > 5)"
        );
    }

    #[test]
    fn a_result_of_other_columns_is_not_the_plan() {
        let int = || def("a", ColumnType::MYSQL_TYPE_LONG, ColumnFlags::empty());
        assert!(same_columns(&[int()], &[int()]));
        assert!(!same_columns(&[int()], &[]));
        assert!(!same_columns(&[int()], &[int(), int()]));
        assert!(!same_columns(&[int()], &[def("b", ColumnType::MYSQL_TYPE_LONG, ColumnFlags::empty())]));
        assert!(!same_columns(&[int()], &[def("a", ColumnType::MYSQL_TYPE_LONGLONG, ColumnFlags::empty())]));
        assert!(!same_columns(&[int()], &[def("a", ColumnType::MYSQL_TYPE_LONG, ColumnFlags::UNSIGNED_FLAG)]));
    }

    #[test]
    fn a_decoder_reads_only_cells_of_its_width_and_sign() {
        let long = |flags| def("a", ColumnType::MYSQL_TYPE_LONG, flags);
        assert!(fits(Decode::Int32, &long(ColumnFlags::empty()), RowFormat::Binary));
        assert!(!fits(Decode::Int32, &long(ColumnFlags::UNSIGNED_FLAG), RowFormat::Binary));
        assert!(fits(Decode::Int64FromU32, &long(ColumnFlags::UNSIGNED_FLAG), RowFormat::Binary));
        assert!(!fits(Decode::Int64, &long(ColumnFlags::empty()), RowFormat::Binary));
        assert!(!fits(Decode::Text, &long(ColumnFlags::empty()), RowFormat::Text));
        assert!(fits(Decode::Float32, &def("f", ColumnType::MYSQL_TYPE_DOUBLE, ColumnFlags::empty()), RowFormat::Text));
    }
}
