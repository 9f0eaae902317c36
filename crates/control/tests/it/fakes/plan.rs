//! A table that is cut into key ranges of one row each, by a plan that another attempt can go on with: as the engine lands
//! it, with two readers.

use headwaters_model::diagnostic::Diagnostics;
use headwaters_model::flow::Consistency;
use headwaters_model::id::PlanId;
use headwaters_model::job::{
    FrozenPlan, JobError, Landed, LandedFile, LandedSplit, Part, Resume, RunEvent, RunJob, Totals,
};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{increment, lost};

/// How many key ranges an attempt lands that makes them visible at once.
pub(crate) const READERS: usize = 2;

/// What an attempt makes of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Into so many key ranges.
    pub(crate) splits: u32,
    /// It breaks when it has landed so many.
    pub(crate) breaks_after: Option<usize>,
}

/// Lands what is missing, and tells which key ranges were read.
pub(super) async fn land(
    cut: Cut,
    job: &RunJob,
    events: &mpsc::Sender<RunEvent>,
    read: &mut Vec<u32>,
) -> Result<Landed, JobError> {
    let plan = job.resume.as_ref().map_or_else(|| new_plan(cut, job), |resume| resume.plan.clone());
    let has = |split: &u32| job.resume.as_ref().is_some_and(|resume| resume.has(*split));
    let mut missing: Vec<u32> = (0..plan.splits).filter(|split| !has(split)).collect();
    let is_frozen = job.options.consistency == Consistency::Split || job.resume.is_some();
    let all = u32::try_from(missing.len()).unwrap();
    let frozen = is_frozen.then(|| plan.clone());
    events.send(RunEvent::Planned { splits: all, readers: 2, rows_estimate: None, frozen }).await.ok();
    let is_committed = job.resume.as_ref().is_some_and(|resume| !resume.committed.is_empty());
    if job.options.commit_per_split {
        missing.truncate(READERS);
    }
    let mut landed = Landed { reached: plan.reached.clone(), window: plan.window, ..Landed::default() };
    for (count, split) in missing.iter().enumerate() {
        if cut.breaks_after == Some(count) {
            return Err(lost());
        }
        read.push(*split);
        let one = landed_split(&plan, *split);
        landed.files.extend(one.files.clone());
        landed.totals.add(one.totals);
        events.send(RunEvent::SplitLanded(one)).await.ok();
        events.send(RunEvent::Progress(landed.totals)).await.ok();
    }
    let kept = job.resume.iter().flat_map(|resume: &Resume| &resume.kept);
    let mut splits = missing.clone();
    for one in kept {
        splits.push(one.split);
        landed.files.extend(one.files.clone());
        landed.totals.add(one.totals);
    }
    landed.splits_left = all - u32::try_from(missing.len()).unwrap();
    landed.part = (is_committed || job.options.commit_per_split).then_some(Part { plan, splits });
    Ok(landed)
}

/// A new plan; it covers what the run reads from where the flow stands.
fn new_plan(cut: Cut, job: &RunJob) -> FrozenPlan {
    let (reached, window) = increment::planned(job.read.delta.as_ref()).unzip();
    FrozenPlan {
        id: PlanId::mint(),
        source: Value::Null,
        splits: cut.splits,
        reached,
        window: window.flatten(),
        notes: Vec::new(),
    }
}

fn landed_split(plan: &FrozenPlan, split: u32) -> LandedSplit {
    // The path tells which rows: the same key range of the same window is the same rows.
    let window = plan.window.map_or(Value::Null, |window| json!([window.start_ms, window.end_ms]));
    let path = format!("{window} {split}");
    let file = LandedFile { path, size_bytes: 5, rows: 1, modified_at_ms: 1, stats: None };
    let totals = Totals { rows_in: 1, rows_out: 1, rows_rejected: 0, bytes_in: 10, bytes_out: 5 };
    LandedSplit { split, files: vec![file], totals, diagnostics: Diagnostics::default(), verified: None }
}
