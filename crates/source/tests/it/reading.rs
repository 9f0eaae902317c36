//! Reading whole tables through the contract, as the engine does.

use std::collections::VecDeque;
use std::sync::Mutex;

use anyhow::{Context, Result};
use arrow_array::RecordBatch;
use futures::future::try_join_all;
use headwaters_model::diagnostic::Diagnostics;
use headwaters_model::job::{ReadRequest, SourceAccess, Splits};
use headwaters_model::secret::Secret;
use headwaters_source::contract::{Batch, BatchSender, OpenTable, ReadLimits, ReadPlan, Source, Split, SplitTotals};
use headwaters_source::mysql::MySqlSource;
use headwaters_source::mysql::dsn::{CONNECTION_STRING_AUTH, MARIA_DB_SPEC};
use headwaters_testkit::DatabaseServer;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How many batches wait between a reader and whoever takes them.
const BATCHES_WAITING_MAX: usize = 4;

/// How an account of a test server reaches one of its databases.
pub(crate) fn access(server: &DatabaseServer, account: &str, database: &str) -> SourceAccess {
    access_with(&format!("{};Database={database}", server.connection_string(account)))
}

pub(crate) fn access_with(connection_string: &str) -> SourceAccess {
    SourceAccess {
        spec: MARIA_DB_SPEC,
        auth_spec: CONNECTION_STRING_AUTH.to_owned(),
        params: serde_json::Map::new(),
        secrets: vec![("connectionString".to_owned(), Secret::new(connection_string))],
    }
}

pub(crate) fn request(table: &str, splits: Splits) -> ReadRequest {
    ReadRequest { table: table.to_owned(), columns: None, filter: None, delta: None, splits }
}

pub(crate) fn limits(readers_max: u32) -> ReadLimits {
    ReadLimits {
        readers_max,
        batch_rows_max: 8192,
        batch_bytes_max: 4 * 1024 * 1024,
        comment: "flow test run test".to_owned(),
        freeze: false,
        resume: None,
        checksums: false,
    }
}

/// What was read of a table.
pub(crate) struct Landed {
    pub(crate) plan: ReadPlan,
    pub(crate) batches: Vec<RecordBatch>,
    pub(crate) totals: SplitTotals,
    pub(crate) rows_by_split: Vec<u64>,
}

impl Landed {
    pub(crate) fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }
}

/// Opens a table and reads all of its splits.
pub(crate) async fn read(
    source: MySqlSource,
    access: &SourceAccess,
    request: &ReadRequest,
    limits: ReadLimits,
) -> Result<Landed> {
    let open = source.open(access, request, limits, CancellationToken::new()).await?;
    drain(open).await
}

/// Reads all splits of an open table, each reader taking the next one from a queue.
pub(crate) async fn drain(open: OpenTable) -> Result<Landed> {
    let OpenTable { plan, readers } = open;
    let queue: Mutex<VecDeque<Split>> = Mutex::new(plan.splits.iter().cloned().collect());
    let (sender, mut receiver) = mpsc::channel::<Batch>(BATCHES_WAITING_MAX);
    let queue = &queue;
    let reading: Vec<_> = readers
        .into_iter()
        .map(|mut reader| {
            let sender = sender.clone();
            async move {
                let mut done = Vec::new();
                while let Some(split) = next(queue) {
                    let totals = reader.read(&split, &sender).await?;
                    done.push((split.index, totals));
                }
                reader.close().await;
                anyhow::Ok(done)
            }
        })
        .collect();
    drop(sender);
    let all = try_join_all(reading);
    let taking = async {
        let mut batches = Vec::new();
        while let Some(batch) = receiver.recv().await {
            batches.push(batch.rows);
        }
        batches
    };
    let (done, batches) = tokio::join!(all, taking);
    let mut rows_by_split = vec![0; plan.splits.len()];
    let mut sum = SplitTotals { diagnostics: plan.diagnostics.clone(), ..SplitTotals::default() };
    for (index, totals) in done?.into_iter().flatten() {
        let place = plan.splits.iter().position(|split| split.index == index).context("a split of the plan")?;
        *rows_by_split.get_mut(place).context("a split of the plan")? = totals.rows;
        sum.rows += totals.rows;
        sum.rows_rejected += totals.rows_rejected;
        sum.bytes_in += totals.bytes_in;
        sum.diagnostics.merge(totals.diagnostics);
    }
    Ok(Landed { plan, batches, totals: sum, rows_by_split })
}

fn next(queue: &Mutex<VecDeque<Split>>) -> Option<Split> {
    queue.lock().ok()?.pop_front()
}

/// Reads one split with a receiver that takes everything and keeps nothing.
pub(crate) async fn read_split(open: &mut OpenTable, index: usize) -> Result<SplitTotals> {
    let split = open.plan.splits.get(index).context("a split of the plan")?.clone();
    let reader = open.readers.first_mut().context("a reader")?;
    let (sender, mut receiver): (BatchSender, _) = mpsc::channel(1);
    let taking = async { while receiver.recv().await.is_some() {} };
    let reading = async {
        let totals = reader.read(&split, &sender).await;
        drop(sender);
        totals
    };
    let (totals, ()) = tokio::join!(reading, taking);
    Ok(totals?)
}

/// The diagnostics in the form of the expected files.
pub(crate) fn samples(diagnostics: &Diagnostics) -> Vec<headwaters_testkit::expected::Diagnostic> {
    let of_entry = |entry: &headwaters_model::diagnostic::Diagnostic| {
        let reason = serde_json::to_value(entry.reason).map(|reason| reason.as_str().unwrap_or_default().to_owned());
        let (column, reason) = (entry.column.clone(), reason.unwrap_or_default());
        let sample = move |sample: &headwaters_model::diagnostic::Sample| headwaters_testkit::expected::Diagnostic {
            column: column.clone(),
            reason: reason.clone(),
            raw: sample.raw.clone(),
        };
        entry.samples.iter().map(sample).collect::<Vec<_>>()
    };
    diagnostics.entries().iter().flat_map(of_entry).collect()
}
