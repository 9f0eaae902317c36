//! What an attempt leaves behind for the next one: the plan, and the key ranges that it has landed.
//!
//! **Invariant.** Kept is what was landed under a frozen plan, while the lease was ours. Whether and how it is gone on with
//! is decided once per attempt, in the transaction that gives it its ordinal and its base: so nothing is committed
//! between that look and the commit of the attempt, or the attempt is overtaken.

use headwaters_model::crash::CrashPoint;
use headwaters_model::flow::{Consistency, RunOptions};
use headwaters_model::id::PlanId;
use headwaters_model::job::{Failure, FrozenPlan, JobError, Landed, LandedSplit, RunEvent, Totals};
use headwaters_model::source_error::Retry;
use headwaters_store::{Attempt, AttemptRecord, KeptPlan, SplitsLanded, StoreError, Tx};
use tracing::{info, warn};

use crate::assignment::Assignment;
use crate::crash;
use crate::progress::LiveRun;
use crate::worker::Shift;

/// An attempt that has its ordinal, with what earlier ones have left.
pub(super) struct Begun {
    pub(super) attempt: Attempt,
    /// What it goes on with.
    pub(super) kept: Option<KeptPlan>,
    /// What the run has made visible already.
    pub(super) visible: Landed,
    /// How many commits did that.
    pub(super) parts: u32,
}

impl Begun {
    /// Looks for what the attempt goes on with. The caller holds the lease.
    pub(super) async fn of(tx: &mut Tx, on: &Assignment, attempt: Attempt) -> Result<Self, StoreError> {
        let mut kept = tx.take_plan(&on.run, attempt.base).await?;
        let is_committed = kept.as_ref().is_some_and(|kept| !kept.resume.committed.is_empty());
        if on.flow.body.run_options().consistency == Consistency::Table && !is_committed {
            kept = None;
            tx.drop_plans(on.run.id).await?;
        }
        let (mut visible, mut parts) = (Landed::default(), 0);
        for part in tx.partial_commits(on.run.id).await? {
            visible.add(part);
            parts += 1;
        }
        Ok(Self { attempt, kept, visible, parts })
    }

    /// Whether some key ranges of the plan are in the table already: then nothing can start over.
    pub(super) fn is_committed(&self) -> bool {
        self.kept.as_ref().is_some_and(|kept| !kept.resume.committed.is_empty())
    }

    /// What was landed before this attempt.
    pub(super) fn totals_before(&self) -> Totals {
        let mut before = self.visible.totals;
        for split in self.kept.iter().flat_map(|kept| &kept.resume.kept) {
            before.add(split.totals);
        }
        before
    }

    /// What a person should know about which attempts have landed the rows.
    pub(super) fn notes(&self, landed: &Landed, earlier: &[AttemptRecord]) -> Vec<String> {
        let mut notes = Vec::new();
        let number = self.attempt.number.saturating_sub(self.parts);
        if number > 1 {
            notes.push(format!("read at attempt {number}: the ones before it broke or were cut short"));
        }
        let started_over = earlier.iter().rfind(|attempt| attempt.retry == Some(Retry::StartOver));
        if let Some(why) = started_over.and_then(|attempt| attempt.error.as_ref()) {
            notes.push(format!("started over: {why}"));
        }
        let Some(KeptPlan { resume, attempts, taken_from }) = &self.kept else { return notes };
        if let Some(run) = taken_from {
            notes.push(format!("read the rest of what run {run} has begun, whose rows are in the data set in part"));
        }
        if !resume.kept.is_empty() {
            let (kept, all) = (resume.kept.len(), resume.plan.splits);
            notes.push(format!("{kept} of {all} key ranges had been landed by earlier attempts"));
        }
        let has_read = landed.totals.rows_in > self.kept_totals().rows_in;
        let moments = attempts.len() + usize::from(has_read && !attempts.contains(&self.attempt.ordinal));
        if landed.splits_left == 0 && moments > 1 {
            notes.push(format!("shows the table as of {moments} moments"));
        }
        notes
    }

    fn kept_totals(&self) -> Totals {
        let mut totals = Totals::default();
        for split in self.kept.iter().flat_map(|kept| &kept.resume.kept) {
            totals.add(split.totals);
        }
        totals
    }
}

/// Takes in what is said while an attempt lands: counters for those who look on, key ranges for the next attempt.
pub(super) struct Hearing<'a> {
    shift: &'a Shift,
    on: &'a Assignment,
    attempt: &'a Attempt,
    live: &'a LiveRun,
    /// The plan that is kept.
    plan: Option<PlanId>,
    /// How far the attempt has got.
    got: SplitsLanded,
    /// Why something could not be kept.
    failed: Option<StoreError>,
}

impl<'a> Hearing<'a> {
    pub(super) fn new(shift: &'a Shift, on: &'a Assignment, begun: &'a Begun, live: &'a LiveRun) -> Self {
        live.go_on_from(begun.totals_before());
        let got = SplitsLanded { landed: 0, of: 0 };
        Self { shift, on, attempt: &begun.attempt, live, plan: None, got, failed: None }
    }

    /// Takes in one event.
    pub(super) async fn hear(&mut self, event: RunEvent) {
        self.live.record(&event);
        let kept = match &event {
            RunEvent::Planned { splits, frozen, .. } => {
                self.got.of = *splits;
                match frozen {
                    Some(plan) => self.keep_plan(plan).await,
                    None => Ok(()),
                }
            }
            RunEvent::SplitLanded(landed) => {
                self.got.landed += 1;
                self.keep_split(landed).await
            }
            RunEvent::Progress(_) | RunEvent::Reached { .. } | RunEvent::Bounded { .. } => Ok(()),
        };
        match kept {
            // Whoever has the lease now keeps what it lands itself.
            Ok(()) | Err(StoreError::LeaseLost(_)) => {}
            Err(error) => {
                warn!(error = &error as &dyn std::error::Error, "could not keep what is landed; it may be read again");
                self.failed.get_or_insert(error);
            }
        }
    }

    /// Ends it: what a break has cost is noted where nothing is kept.
    pub(super) async fn end(self, broke: bool) -> Result<Heard, StoreError> {
        if broke && self.plan.is_none() && self.got.landed > 0 {
            let mut tx = self.shift.control.store.write(&self.on.run.scope).await?;
            tx.note_splits(self.on.flow.id, self.attempt.ordinal, self.got).await?;
            tx.commit().await?;
        }
        Ok(Heard { unkept: self.failed })
    }

    async fn keep_plan(&mut self, plan: &FrozenPlan) -> Result<(), StoreError> {
        let mut tx = self.shift.control.store.write(&self.on.run.scope).await?;
        tx.keep_plan(&self.on.run, &self.shift.owner, self.attempt.base, plan).await?;
        tx.commit().await?;
        self.plan = Some(plan.id);
        crash::point(CrashPoint::PlanKept);
        Ok(())
    }

    async fn keep_split(&self, landed: &LandedSplit) -> Result<(), StoreError> {
        let Some(plan) = self.plan else { return Ok(()) };
        let mut tx = self.shift.control.store.write(&self.on.run.scope).await?;
        tx.keep_split(&self.on.run, &self.shift.owner, plan, self.attempt.ordinal, landed).await?;
        tx.commit().await?;
        crash::point(CrashPoint::SplitKept);
        Ok(())
    }
}

/// What was heard of an attempt that has landed.
pub(super) struct Heard {
    /// Why something of it could not be kept.
    pub(super) unkept: Option<StoreError>,
}

impl Shift {
    /// Gives up what is kept where the next attempt can not go on with it: its plan does not hold any more, or its key ranges
    /// are too large. With some of it in the table that is the end of the run.
    pub(super) async fn give_up_kept(
        &self,
        on: &Assignment,
        begun: &Begun,
        error: JobError,
    ) -> Result<JobError, StoreError> {
        let JobError::Transient(failure, retry) = error else { return Ok(error) };
        if !matches!(retry, Retry::StartOver | Retry::SmallerSplits | Retry::Lighter) {
            return Ok(JobError::Transient(failure, retry));
        }
        if !begun.is_committed() {
            let mut tx = self.control.store.write(&on.run.scope).await?;
            tx.drop_plans(on.run.id).await?;
            tx.commit().await?;
            info!(run = %on.run.id, "what was landed is given up: the next attempt starts over");
            return Ok(JobError::Transient(failure, retry));
        }
        if retry != Retry::StartOver {
            return Ok(JobError::Transient(failure, retry));
        }
        Ok(JobError::Definite(Failure {
            message: format!("{}, and a part of what is read is in the data set already", failure.message),
            hint: Some(
                "undo the change in the source and re-trigger the run, or empty the table and make a new flow"
                    .to_owned(),
            ),
            ..failure
        }))
    }

    /// What a person should know about a run that broke for good: what the next run goes on with, or what another option
    /// would have kept.
    pub(super) async fn notes_of_failure(&self, on: &Assignment) -> Result<Vec<String>, StoreError> {
        let RunOptions { consistency, .. } = on.flow.body.run_options();
        let mut tx = self.control.store.read(&on.run.scope).await?;
        let got = tx.splits_landed(on.run.id).await?.filter(|_| consistency == Consistency::Table);
        let saved = |SplitsLanded { landed, of }: SplitsLanded| {
            let percent = u64::from(landed) * 100 / u64::from(of.max(1));
            format!(
                "{landed} of {of} key ranges had landed ({percent} %): options.consistency split would have gone on from \
                 there"
            )
        };
        Ok(got.map(saved).into_iter().collect())
    }
}
