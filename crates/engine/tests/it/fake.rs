//! A source that makes its rows up and breaks when it is told to.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, BinaryArray, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use futures::FutureExt;
use futures::future::BoxFuture;
use headwaters_model::checksum::{CheckedColumn, Checksums, Form, RangeChecksums};
use headwaters_model::diagnostic::{Diagnostics, Reason};
use headwaters_model::explore::{ExploredTable, ListedTable, ServerInfo};
use headwaters_model::id::{PlanId, SpecId};
use headwaters_model::job::{FrozenPlan, ReadRequest, Resume, SourceAccess};
use headwaters_model::source_error::{SourceError, SourceErrorKind};
use headwaters_source::contract::{
    Batch, BatchSender, Comparison, OpenTable, Preview, ReadLimits, ReadPlan, Source, Split, SplitReader, SplitTotals,
};
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

/// The spec that the fake serves.
pub(crate) const SPEC: SpecId = SpecId::fixed(7);

/// What a reader does with a split.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Deed {
    /// Sends all its rows.
    Reads,
    /// Sends half of them, then loses its connection.
    Breaks,
    /// Sends half of them, then waits until it is told to stop.
    Hangs,
    /// Says that it read more rows than it sent.
    Lies,
    /// Sends rows that have not the plan's columns.
    Garbles,
    /// Sends all its rows, and sums up others: the first has another value.
    Misremembers,
}

/// The table that the fake shows.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    /// What happens to each split.
    pub(crate) deeds: Vec<Deed>,
    pub(crate) batches_per_split: usize,
    pub(crate) rows_per_batch: usize,
    /// How long the value beside the id is.
    pub(crate) value_bytes: usize,
}

/// What became of the readers.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) order: Mutex<Vec<u32>>,
    pub(crate) closed: AtomicUsize,
    pub(crate) opened: AtomicUsize,
}

#[derive(Debug, Clone)]
pub(crate) struct FakeSource {
    pub(crate) table: Table,
    pub(crate) seen: Arc<Seen>,
}

impl FakeSource {
    pub(crate) fn new(table: Table) -> Self {
        Self { table, seen: Arc::default() }
    }
}

impl FakeSource {
    /// The plan that is gone on with, or a new one.
    fn frozen(&self, resume: Option<&Resume>) -> FrozenPlan {
        let new = || FrozenPlan {
            id: PlanId::mint(),
            source: Value::Null,
            splits: u32::try_from(self.table.deeds.len()).unwrap(),
            reached: None,
            window: None,
            notes: Vec::new(),
        };
        resume.map_or_else(new, |resume| resume.plan.clone())
    }
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false), Field::new("value", DataType::Binary, true)]))
}

impl Source for FakeSource {
    fn specs(&self) -> Vec<Value> {
        Vec::new()
    }

    fn serves(&self, spec: SpecId) -> bool {
        spec == SPEC
    }

    fn check(&self, _: &SourceAccess) -> Result<(), SourceError> {
        Ok(())
    }

    fn masked(&self, access: &SourceAccess) -> Map<String, Value> {
        access.params.clone()
    }

    fn restored(&self, sent: &Map<String, Value>, _: &SourceAccess) -> Map<String, Value> {
        sent.clone()
    }

    fn probe<'a>(&'a self, _: &'a SourceAccess, _: Duration) -> BoxFuture<'a, Result<ServerInfo, SourceError>> {
        unreachable!("the engine never probes")
    }

    fn list<'a>(&'a self, _: &'a SourceAccess) -> BoxFuture<'a, Result<Vec<ListedTable>, SourceError>> {
        unreachable!("the engine never lists")
    }

    fn describe<'a>(
        &'a self,
        _: &'a SourceAccess,
        _: &'a str,
        _: Option<Preview>,
    ) -> BoxFuture<'a, Result<ExploredTable, SourceError>> {
        unreachable!("the engine never describes")
    }

    fn check_read<'a>(&'a self, _: &'a SourceAccess, _: &'a ReadRequest) -> BoxFuture<'a, Result<(), SourceError>> {
        unreachable!("the engine opens at once")
    }

    fn open<'a>(
        &'a self,
        _: &'a SourceAccess,
        request: &'a ReadRequest,
        limits: ReadLimits,
        cancel: CancellationToken,
    ) -> BoxFuture<'a, Result<OpenTable, SourceError>> {
        let splits = (0..self.table.deeds.len()).map(|index| {
            let index = u32::try_from(index).unwrap();
            // Later splits are bigger, so that they must be taken first.
            Split { index, lower: None, upper: None, rows_estimate: u64::from(index) }
        });
        let plan = ReadPlan {
            table: request.table.clone(),
            server: None,
            schema: schema(),
            splits: splits
                .filter(|split| !limits.resume.as_ref().is_some_and(|resume| resume.has(split.index)))
                .collect(),
            rows_estimate: Some(42),
            diagnostics: Diagnostics::default(),
            reached: None,
            window: None,
            frozen: limits.freeze.then(|| self.frozen(limits.resume.as_ref())),
            notes: vec!["read by a fake".to_owned()],
        };
        let reader = || {
            self.seen.opened.fetch_add(1, Ordering::SeqCst);
            Box::new(FakeReader { source: self.clone(), cancel: cancel.clone(), checksums: limits.checksums })
                as Box<dyn SplitReader>
        };
        let readers = (0..limits.readers_max).map(|_| reader()).collect();
        async move { Ok(OpenTable { plan, readers }) }.boxed()
    }

    fn compare<'a>(
        &'a self,
        _: &'a SourceAccess,
        _: &'a ReadRequest,
        _: CancellationToken,
    ) -> BoxFuture<'a, Result<Box<dyn Comparison>, SourceError>> {
        unreachable!("a run does not compare tables")
    }
}

struct FakeReader {
    source: FakeSource,
    cancel: CancellationToken,
    checksums: bool,
}

impl FakeReader {
    async fn read_split(&self, split: &Split, out: &BatchSender) -> Result<SplitTotals, SourceError> {
        let table = &self.source.table;
        self.source.seen.order.lock().unwrap().push(split.index);
        let deed = table.deeds[split.index as usize];
        let mut totals = SplitTotals::default();
        let mut sums = Checksums::none(2);
        for number in 0..table.batches_per_split {
            if number == table.batches_per_split / 2 {
                match deed {
                    Deed::Breaks => {
                        return Err(SourceError::transient(SourceErrorKind::Lost, "lost the connection to the fake"));
                    }
                    Deed::Hangs => {
                        self.cancel.cancelled().await;
                        return Err(SourceError::transient(SourceErrorKind::Cancelled, "told to stop"));
                    }
                    Deed::Reads | Deed::Lies | Deed::Garbles | Deed::Misremembers => {}
                }
            }
            let first = (split.index as usize * table.batches_per_split + number) * table.rows_per_batch;
            let rows = rows(first, table, deed);
            let bytes_in = rows.get_array_memory_size() as u64;
            totals.rows += table.rows_per_batch as u64;
            totals.bytes_in += bytes_in;
            sum_up(&mut sums, &rows);
            if out.send(Batch { rows, bytes_in }).await.is_err() {
                return Err(SourceError::transient(SourceErrorKind::Cancelled, "nobody wants the rows"));
            }
        }
        totals.rows += u64::from(deed == Deed::Lies);
        totals.diagnostics.record("value", Reason::ZeroDate, "null", None, "0000-00-00");
        if deed == Deed::Misremembers {
            sums.columns[1].sum += 1;
        }
        let column = |name: &str, form| CheckedColumn { name: name.to_owned(), form };
        totals.checksums = self.checksums.then(|| RangeChecksums {
            range: Some(format!("id is of split {}", split.index)),
            columns: vec![column("id", Form::Integer), column("value", Form::Bytes)],
            sums,
        });
        Ok(totals)
    }
}

/// Sums up rows as a server does.
fn sum_up(sums: &mut Checksums, rows: &RecordBatch) {
    let (ids, values) = (rows.column(0).as_primitive::<Int64Type>(), rows.column(rows.num_columns() - 1));
    let Some(values) = values.as_binary_opt::<i32>() else { return };
    for row in 0..rows.num_rows() {
        let id = crc32fast::hash(ids.value(row).to_string().as_bytes());
        let value = crc32fast::hash(values.value(row));
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, format!("{id},{value}").as_bytes());
        let hash = u64::from_be_bytes(*hash.as_ref().first_chunk::<8>().unwrap());
        sums.add_row([Some(id), Some(value)], hash);
    }
}

impl SplitReader for FakeReader {
    fn read<'a>(
        &'a mut self,
        split: &'a Split,
        out: &'a BatchSender,
    ) -> BoxFuture<'a, Result<SplitTotals, SourceError>> {
        self.read_split(split, out).boxed()
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        self.source.seen.closed.fetch_add(1, Ordering::SeqCst);
        async {}.boxed()
    }
}

/// Rows whose values can't be compressed.
fn rows(first: usize, table: &Table, deed: Deed) -> RecordBatch {
    let ids = Int64Array::from_iter_values((first..first + table.rows_per_batch).map(|id| id as i64));
    if deed == Deed::Garbles {
        return RecordBatch::try_from_iter([("id", Arc::new(ids) as ArrayRef)]).unwrap();
    }
    let mut state = (first as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut noise = Vec::with_capacity(table.value_bytes * table.rows_per_batch + 8);
    while noise.len() < table.value_bytes * table.rows_per_batch {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        noise.extend_from_slice(&state.to_le_bytes());
    }
    let values = (0..table.rows_per_batch).map(|row| &noise[row * table.value_bytes..(row + 1) * table.value_bytes]);
    let values = BinaryArray::from_iter_values(values);
    RecordBatch::try_new(schema(), vec![Arc::new(ids), Arc::new(values)]).unwrap()
}
