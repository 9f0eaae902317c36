//! A plan that several attempts go on with: what is kept of a broken one, and what each lands of it.

use std::fs;

use headwaters_engine::Budget;
use headwaters_model::flow::{Consistency, RunOptions};
use headwaters_model::job::{FrozenPlan, JobError, Landed, LandedSplit, Resume, RunEvent, RunJob};
use headwaters_model::offset::{CommitMark, Ordinal};

use crate::fake::{Deed, Table};
use crate::run::World;

const ROWS_PER_SPLIT: u64 = 400;

fn world(deeds: Vec<Deed>, readers: usize) -> World {
    let table = Table { deeds, batches_per_split: 4, rows_per_batch: 100, value_bytes: 20 };
    World::new(table, Budget::divide(128 << 20, readers))
}

fn under(job: RunJob, commit_per_split: bool) -> RunJob {
    let options = RunOptions { consistency: Consistency::Split, commit_per_split, ..RunOptions::default() };
    RunJob { options, ..job }
}

/// What an attempt has told of its plan and of its splits.
fn told(events: &[RunEvent]) -> (FrozenPlan, Vec<LandedSplit>) {
    let plan = events.iter().find_map(|event| match event {
        RunEvent::Planned { frozen, .. } => frozen.clone(),
        _ => None,
    });
    let splits = events.iter().filter_map(|event| match event {
        RunEvent::SplitLanded(landed) => Some(landed.clone()),
        _ => None,
    });
    (plan.expect("a frozen plan"), splits.collect())
}

/// An attempt that lands the last split and loses its connection in the one before.
async fn broken(world: &World) -> (RunJob, Resume) {
    let job = under(world.job(), false);
    let (landed, events) = world.land(&job).await;
    assert!(matches!(landed.unwrap_err(), JobError::Transient(..)));
    let (plan, kept) = told(&events);
    (job, Resume { plan, committed: Vec::new(), kept })
}

#[tokio::test(flavor = "multi_thread")]
async fn another_attempt_reads_only_the_splits_that_a_broken_one_has_not_finished() {
    let mut world = world(vec![Deed::Reads, Deed::Breaks, Deed::Reads], 1);
    let (job, resume) = broken(&world).await;
    let [kept] = &resume.kept[..] else { panic!("one split is kept: {resume:?}") };
    assert_eq!((kept.split, kept.totals.rows_in, kept.totals.rows_out), (2, ROWS_PER_SPLIT, ROWS_PER_SPLIT));
    assert_eq!(world.left(), kept.files.iter().map(|file| file.path.clone()).collect::<Vec<_>>());

    world.source.table.deeds = vec![Deed::Reads; 3];
    let again = world.with_source_of_today();
    let (landed, _) = again.land(&RunJob { resume: Some(resume.clone()), ..job.clone() }).await;
    let landed = landed.unwrap();
    assert_eq!(*again.source.seen.order.lock().unwrap(), [2, 1, 1, 0], "the first attempt read 2 and half of 1");
    assert_eq!((landed.totals.rows_in, landed.totals.rows_out), (3 * ROWS_PER_SPLIT, 3 * ROWS_PER_SPLIT));
    assert_eq!(landed.files.len(), 3);
    assert!(landed.files.contains(&kept.files[0]));
    assert_eq!(landed.diagnostics.count(), 3, "what was noted of the kept split counts too");
    assert_eq!((landed.splits_left, landed.part), (0, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_split_whose_file_is_gone_is_read_again() {
    let mut world = world(vec![Deed::Reads, Deed::Breaks, Deed::Reads], 1);
    let (job, resume) = broken(&world).await;
    fs::remove_file(world.folder.path().join("t").join(&resume.kept[0].files[0].path)).unwrap();
    world.source.table.deeds = vec![Deed::Reads; 3];
    let again = world.with_source_of_today();
    let landed = again.land(&RunJob { resume: Some(resume), ..job }).await.0.unwrap();
    assert_eq!((landed.files.len(), landed.totals.rows_out), (3, 3 * ROWS_PER_SPLIT));
    let note = "1 key ranges were read again: their files were not in the lake any more";
    assert!(landed.notes.iter().any(|found| found == note), "{:?}", landed.notes);
}

#[tokio::test(flavor = "multi_thread")]
async fn splits_that_are_committed_one_after_the_other_make_the_whole_table() {
    let world = world(vec![Deed::Reads; 5], 2);
    let mut job = under(world.job(), true);
    let (mut left, mut rows, mut committed) = (Vec::new(), 0, Vec::new());
    for ordinal in 1.. {
        job.mark =
            CommitMark { base: (ordinal > 1).then(|| Ordinal(ordinal - 1)), ordinal: Ordinal(ordinal), ..job.mark };
        let Landed { splits_left, part, totals, .. } = {
            let landed = world.land(&job).await.0.unwrap();
            world.engine.commit(&job, &landed, &job.mark).await.unwrap();
            landed
        };
        let part = part.expect("a part");
        committed.extend(part.splits);
        job.resume = Some(Resume { plan: part.plan, committed: committed.clone(), kept: Vec::new() });
        left.push(splits_left);
        rows += totals.rows_out;
        if splits_left == 0 {
            break;
        }
    }
    assert_eq!(left, [3, 1, 0], "as many splits at a time as there are readers");
    assert_eq!(rows, 5 * ROWS_PER_SPLIT);
    committed.sort_unstable();
    assert_eq!(committed, [0, 1, 2, 3, 4]);
    assert_eq!(world.engine.applied(&job.location, "app").await.unwrap(), Some(Ordinal(3)));
}
