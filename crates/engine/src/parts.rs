//! What one attempt lands of a plan that several attempts go on with (docs/architecture.md, section 4).
//!
//! **Invariant.** Each key range of a frozen plan is committed once: it is in the table already, or it is kept and its files
//! are there, or it is read now, or it is left for the next attempt; never two of these.

use std::cmp::Reverse;

use headwaters_model::job::{Landed, LandedSplit, Part, Resume, RunJob};
use headwaters_model::verified::Verified;
use headwaters_source::contract::ReadPlan;

/// Why a kept key range was not compared.
const LANDED_BEFORE: &str = "key ranges that were landed before the flow asked for it";

/// The part of a plan that one attempt lands.
pub(crate) struct Share {
    /// What earlier attempts have landed, to be committed with what is read now.
    kept: Vec<LandedSplit>,
    /// What is committed, where the plan is committed in parts.
    part: Option<Part>,
    /// How many key ranges are left for the next attempt.
    splits_left: u32,
    /// Whether what is landed is compared with the server.
    verify: bool,
}

impl Share {
    /// Takes the share of an attempt from the plan, which then holds the key ranges that are read now: all that are
    /// missing, but as many as there are readers where each becomes visible as soon as it is landed.
    pub(crate) fn of(job: &RunJob, plan: &mut ReadPlan, resume: Option<Resume>, readers: usize) -> Self {
        let verify = job.options.verify;
        plan.splits.sort_by_key(|split| Reverse(split.rows_estimate));
        let committed = resume.as_ref().is_some_and(|resume| !resume.committed.is_empty());
        let kept = resume.map_or_else(Vec::new, |resume| resume.kept);
        let Some(frozen) = plan.frozen.as_ref().filter(|_| committed || job.options.commit_per_split) else {
            return Self { kept, part: None, splits_left: 0, verify };
        };
        let mut left = 0;
        if job.options.commit_per_split {
            left = plan.splits.len().saturating_sub(readers);
            plan.splits.truncate(readers);
        }
        let splits = plan.splits.iter().map(|split| split.index).chain(kept.iter().map(|kept| kept.split)).collect();
        let part = Some(Part { plan: frozen.clone(), splits });
        Self { kept, part, splits_left: u32::try_from(left).unwrap_or(u32::MAX), verify }
    }

    /// Adds the rest of the share to what was read now.
    pub(crate) fn completed(self, mut landed: Landed) -> Landed {
        for LandedSplit { files, totals, diagnostics, verified, .. } in self.kept {
            landed.files.extend(files);
            landed.totals.add(totals);
            landed.diagnostics.merge(diagnostics);
            if self.verify {
                // What is kept was compared when it landed, if the flow asked for that then.
                landed.compared(verified.unwrap_or_else(|| Verified::unseen(LANDED_BEFORE)));
            }
        }
        landed.part = self.part;
        landed.splits_left = self.splits_left;
        landed
    }
}
