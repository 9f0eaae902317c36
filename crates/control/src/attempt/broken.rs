//! What follows a broken attempt: another one, a look at the table, or the end of the run.
//!
//! **Invariant.** A run is closed as failed only after the table was asked about everything that is pending of it, and only
//! under the lease. While the table does not answer, a run of which something is pending waits, for as long as that takes.

use std::time::Duration;

use headwaters_model::job::JobError;
use headwaters_model::metrics::RunFacts;
use headwaters_model::offset::Ordinal;
use headwaters_model::run::RunStatus;
use headwaters_model::source_error::Retry;
use headwaters_store::{AttemptEnd, StoreError};
use tracing::warn;

use super::kept::Begun;
use super::{Step, ended};
use crate::assignment::Assignment;
use crate::error::CommandError;
use crate::progress::{LiveRun, StopReason};
use crate::recover::Finding;
use crate::retry::{self, Next};
use crate::settings::FailedWindow;
use crate::settle::Broke;
use crate::worker::Shift;

impl Shift {
    /// What follows when the table did not say its last ordinal: an attempt that broke. But while a commit of the run is in
    /// doubt nothing is begun that could use up its attempts, and with them end it: it is looked again, after pauses, until
    /// the table answers.
    pub(super) async fn unseen(&self, on: &Assignment, error: JobError, live: &LiveRun) -> Result<Step, CommandError> {
        let Some(since_ms) = self.in_doubt_since(on).await? else {
            let Some(begun) = self.begin(on).await? else { return Ok(Step::Dropped) };
            return self.broke(on, &begun, error, live).await;
        };
        match live.stop_reason() {
            Some(StopReason::Cancelled | StopReason::LeaseLost) => return Ok(Step::Dropped),
            Some(StopReason::Shutdown) => return Ok(Step::Released),
            None => {}
        }
        let doubted_ms = u64::try_from(self.control.clock.now_ms().saturating_sub(since_ms)).unwrap_or_default();
        let pause = retry::pause_in_doubt(Duration::from_millis(doubted_ms));
        warn!(%error, pause_ms = pause.as_millis(), "a commit is in doubt and its table does not answer: it is asked again");
        Ok(Step::Later(pause))
    }

    /// Decides what follows a broken attempt.
    pub(super) async fn broke(
        &self,
        on: &Assignment,
        begun: &Begun,
        error: JobError,
        live: &LiveRun,
    ) -> Result<Step, CommandError> {
        let ordinal = begun.attempt.ordinal;
        match live.stop_reason() {
            // Its flow is gone, and with it everybody who would look at the table again: the commit may have been made.
            Some(StopReason::Cancelled) => return self.cancelled(on, ordinal).await,
            // Whoever works on the run now looks at the table first.
            Some(StopReason::LeaseLost) => {
                self.end(on, AttemptEnd { error: Some("cancelled".to_owned()), ..ended(live, ordinal) }).await?;
                return Ok(Step::Dropped);
            }
            Some(StopReason::Shutdown) => {
                self.end(on, ended(live, ordinal)).await?;
                return Ok(Step::Released);
            }
            None => {}
        }
        let earlier = self.earlier(on, ordinal).await?;
        let broken = AttemptEnd { retry: retry::retry_of(&error), ..ended(live, ordinal) };
        let broken = |why: String| AttemptEnd { error: Some(why), ..broken };
        match self.commit_in_doubt(on, retry::used(&earlier) + 1).await? {
            Some(Step::LookAgain) => {
                self.end(on, broken(format!("{error}; its commit is in the table"))).await?;
                return Ok(Step::LookAgain);
            }
            Some(later) => {
                self.end(on, broken(error.to_string())).await?;
                return Ok(later);
            }
            None => {}
        }
        let error = self.give_up_kept(on, begun, error).await?;
        match retry::after(error, &earlier, live.attempt().rows_in, jitter()) {
            Next::Again { after, because } => {
                let pause_ms = after.as_millis();
                warn!(%ordinal, error = because.message, pause_ms, "the attempt broke, another follows");
                self.end(on, broken(because.message)).await?;
                Ok(Step::Later(after))
            }
            Next::LookAgain { because } => {
                self.end(on, broken(because.message)).await?;
                Ok(Step::LookAgain)
            }
            Next::Stop(failure) => {
                let attempt = Some(broken(failure.message.clone()));
                let tracked = live.attempt();
                let skips = self.control.settings.failed_window == FailedWindow::Skip && !begun.is_committed();
                let skip = on.skip(&begun.attempt, &tracked).filter(|_| skips);
                let broke = Broke { so_far: live.totals(), attempt, skip, ..Broke::early(&failure) };
                self.stop(on, on.facts_within(tracked.window), broke).await
            }
        }
    }

    /// Leaves a run that was closed because its flow was deleted, with its record corrected if the attempt has committed
    /// all the same. When the lake does not answer now, `reconcile.rs` asks again.
    async fn cancelled(&self, on: &Assignment, ordinal: Ordinal) -> Result<Step, CommandError> {
        let mut tx = self.control.store.read(&on.run.scope).await?;
        let pending = tx.pending(on.flow.id, &on.data_set.id).await?;
        drop(tx);
        if pending.iter().any(|row| row.ordinal == ordinal)
            && let Ok(table) = self.control.ports.executor.applied(on.location(), &on.app_id()).await
            && let Finding::Unsettled(pending) = self.control.look(on, table).await?
        {
            return self.settle_left_behind(on, *pending).await;
        }
        self.end(on, AttemptEnd { error: Some("cancelled".to_owned()), ..AttemptEnd::of(ordinal) }).await?;
        Ok(Step::Dropped)
    }

    /// What to do first when an attempt broke after its offset became pending: its commit may have been made, and a run
    /// is never closed as failed before the table was asked. None when there is no doubt.
    async fn commit_in_doubt(&self, on: &Assignment, used: u32) -> Result<Option<Step>, CommandError> {
        if self.in_doubt_since(on).await?.is_none() {
            return Ok(None);
        }
        let Ok(table) = self.control.ports.executor.applied(on.location(), &on.app_id()).await else {
            return Ok(Some(Step::Later(retry::pause(Retry::Again, used, 1.0))));
        };
        let finding = self.control.look(on, table).await?;
        Ok(matches!(finding, Finding::Unsettled(_)).then_some(Step::LookAgain))
    }

    /// Since when something of the run may be in the table or not; none when nothing of it is pending.
    async fn in_doubt_since(&self, on: &Assignment) -> Result<Option<i64>, StoreError> {
        let mut tx = self.control.store.read(&on.run.scope).await?;
        let pending = tx.pending(on.flow.id, &on.data_set.id).await?;
        Ok(pending.into_iter().filter(|row| row.run == on.run.id).map(|row| row.landed_at_ms).max())
    }

    /// Closes the run as failed.
    pub(super) async fn stop(
        &self,
        on: &Assignment,
        facts: RunFacts,
        mut broke: Broke<'_>,
    ) -> Result<Step, CommandError> {
        warn!(error = broke.failure.message, "the run can not be brought to its end");
        let end = broke.attempt.clone();
        broke.notes.extend(self.notes_of_failure(on).await?);
        match self.control.settle_failure(&on.closing(facts), &self.owner, broke).await {
            Ok(()) => Ok(Step::Settled(RunStatus::Failed)),
            // It was closed, or taken over, by somebody else meanwhile: only our attempt has failed.
            Err(StoreError::Outdated(_) | StoreError::LeaseLost(_)) => {
                if let Some(end) = end {
                    self.end(on, end).await?;
                }
                Ok(Step::Dropped)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// A fraction between 0 and 1.
pub(crate) fn jitter() -> f64 {
    let mut bytes = [0; 4];
    // Without random bits the pause is the longest one, which does no harm.
    aws_lc_rs::rand::fill(&mut bytes).map_or(1.0, |()| f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX))
}
