//! Runs that compare what they have written with what the source says of it.

use std::fs;

use headwaters_engine::Budget;
use headwaters_model::job::{JobError, Landed, RunEvent, Stage};

use crate::fake::{Deed, Table};
use crate::run::World;

fn world(deeds: Vec<Deed>) -> World {
    let table = Table { deeds, batches_per_split: 4, rows_per_batch: 100, value_bytes: 20 };
    World::new(table, Budget::divide(128 << 20, 2))
}

async fn verified(world: &World) -> (Result<Landed, JobError>, Vec<RunEvent>) {
    let mut job = world.job();
    job.options.verify = true;
    world.land(&job).await
}

#[tokio::test]
async fn files_that_hold_what_the_source_says_are_told_of_as_verified() {
    let world = world(vec![Deed::Reads, Deed::Reads, Deed::Reads]);
    let landed = verified(&world).await.0.unwrap();
    let note = "verified: 1200 rows, 2 columns are equal on the server and in the written files";
    assert!(landed.notes.iter().any(|said| said == note), "{:?}", landed.notes);
}

#[tokio::test]
async fn a_difference_breaks_the_run_names_the_range_and_leaves_no_file() {
    let world = world(vec![Deed::Reads, Deed::Misremembers, Deed::Reads]);
    let (outcome, events) = verified(&world).await;
    let Err(JobError::Definite(failure)) = outcome else { panic!("it was not noticed: {outcome:?}") };
    assert_eq!(failure.stage, Stage::Data);
    for part in ["the key range id is of split 1", "column value: 400 values with checksum", "nothing was committed"] {
        assert!(failure.message.contains(part), "{}", failure.message);
    }
    let told = events.iter().any(|event| matches!(event, RunEvent::SplitLanded(landed) if landed.split == 1));
    assert!(!told, "nobody may go on with files that differ");
    let left = fs::read_dir(world.folder.path().join("t")).map_or(0, Iterator::count);
    assert_eq!(left, 0, "files were left behind");
}

#[tokio::test]
async fn a_run_that_was_not_asked_compares_nothing() {
    let world = world(vec![Deed::Misremembers]);
    let (landed, _) = world.land(&world.job()).await;
    assert!(!landed.unwrap().notes.iter().any(|note| note.contains("verified")));
}
