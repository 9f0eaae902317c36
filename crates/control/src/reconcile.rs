//! Runs that are over, compared with the table once more (docs/architecture.md, section 4).
//!
//! **Invariant.** The table leads: a run whose commit is in the table is shown as a success, however it was closed. A run
//! at work finds such a commit before its next attempt (`recover.rs`). A run that is over has no next attempt, and its
//! flow may be gone; but what was pending of it still stands in the store with all that its record needs.

use std::time::Duration;

use headwaters_model::data_set::DataSet;
use headwaters_model::flow::{Flow, RunOptions};
use headwaters_model::job::{Committed, ReadRequest, RunJob, SourceAccess, Splits, WriteMode};
use headwaters_model::offset::CommitMark;
use headwaters_store::{AttemptEnd, LeftBehind, PendingCommit, StoreError};
use serde_json::Map;
use tokio::time::sleep;
use tracing::{error, warn};

use crate::Control;
use crate::settle::Success;
use crate::worker::millis;

/// How often a worker compares.
const EVERY: Duration = Duration::from_secs(600);
/// How many pending rows are read in one go.
const PAGE: u32 = 100;
/// How long what is pending of a deleted flow is kept that is not in the table: by then no attempt is alive any more.
const KEPT: Duration = Duration::from_secs(24 * 3600);

impl Control {
    /// Compares at once and then every ten minutes, until it is dropped.
    pub(crate) async fn keep_reconciled(self) {
        loop {
            if let Err(error) = self.reconcile().await {
                error!(error = &error as &dyn std::error::Error, "could not compare what is pending with the lake");
            }
            sleep(EVERY).await;
        }
    }

    /// Compares what is pending of all runs that are over.
    async fn reconcile(&self) -> Result<(), StoreError> {
        let mut last = None;
        loop {
            let page = self.store.left_behind(last.as_ref(), PAGE).await?;
            for left in &page {
                if let Err(error) = self.reconcile_one(left).await {
                    let (run, flow) = (left.pending.run, left.pending.flow);
                    error!(%run, %flow, error = &error as &dyn std::error::Error, "could not compare a run with its table");
                }
            }
            match page.into_iter().next_back() {
                None => return Ok(()),
                more => last = more,
            }
        }
    }

    async fn reconcile_one(&self, LeftBehind { scope, pending, .. }: &LeftBehind) -> Result<(), StoreError> {
        let mut tx = self.store.read(scope).await?;
        let data_set = tx.get::<DataSet>(&pending.data_set).await?;
        drop(tx);
        let Some(location) = data_set.map(|data_set| data_set.body.location) else { return Ok(()) };
        let table = match self.ports.executor.applied(&location, &pending.flow.to_string()).await {
            Ok(table) => table,
            Err(error) => {
                warn!(%location, %error, "could not ask a table for what is pending; it is asked again later");
                return Ok(());
            }
        };
        if table == Some(pending.ordinal) {
            warn!(run = %pending.run, ordinal = %pending.ordinal, "a run was closed without its commit being known");
            if pending.landed.splits_left > 0 {
                return self.settle_part(scope, pending, AttemptEnd::of(pending.ordinal)).await;
            }
            let committed = self.committed_as(&location, pending).await;
            return self.settle_late(scope, pending, &Success::left_behind(pending, committed)).await;
        }
        if self.clock.now_ms() < pending.landed_at_ms.saturating_add(millis(KEPT)) {
            return Ok(());
        }
        let mut tx = self.store.write(scope).await?;
        if tx.get::<Flow>(&pending.flow).await?.is_none() {
            tx.drop_pending(pending).await?;
            tx.forget_flow(pending.flow).await?;
        }
        tx.commit().await
    }

    /// The version of a commit that the table already knows: committing again under its own mark changes nothing.
    pub(crate) async fn committed_as(&self, location: &str, pending: &PendingCommit) -> Committed {
        let unknown = Committed { version: None, ordinal: Some(pending.ordinal) };
        let mark = CommitMark { app_id: pending.flow.to_string(), base: pending.base, ordinal: pending.ordinal };
        // Nothing is read again: the job names the table and the mark only.
        let job = RunJob {
            flow: Some((pending.flow, pending.run)),
            source: SourceAccess {
                spec: headwaters_model::spec::DATA_LAKE,
                auth_spec: String::new(),
                params: Map::new(),
                secrets: Vec::new(),
            },
            read: ReadRequest { table: String::new(), columns: None, filter: None, delta: None, splits: Splits::Auto },
            location: location.to_owned(),
            mode: WriteMode::Append,
            mark: mark.clone(),
            batch: Some(pending.facts.batch.clone()),
            options: RunOptions::default(),
            resume: None,
            readers_max: None,
        };
        self.ports.executor.commit(&job, &pending.landed, &mark).await.unwrap_or(unknown)
    }
}
