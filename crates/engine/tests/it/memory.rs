//! What a run holds in memory does not depend on how much it moves.

use std::fs;

use headwaters_engine::Budget;
use tokio::sync::Mutex;

use crate::fake::{Deed, Table};
use crate::run::World;

/// The peak is one per process, so only one test may measure at a time.
static MEASURING: Mutex<()> = Mutex::const_new(());

/// How many megabytes the process came to hold more than at the start.
async fn grown_mb(table: Table, budget: Budget) -> u64 {
    let _alone = MEASURING.lock().await;
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = peak_mb();
    let world = World::new(table, budget);
    world.land(&world.job()).await.0.unwrap();
    let grown = peak_mb() - before;
    println!("grew by {grown} MB");
    grown
}

fn peak_mb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_many_rows_stays_within_its_budget() {
    // 256 MB that can't be compressed, through a budget of 64 MB.
    let table = Table { deeds: vec![Deed::Reads; 8], batches_per_split: 32, rows_per_batch: 1024, value_bytes: 1024 };
    let grown = grown_mb(table, Budget::divide(64 << 20, 2)).await;
    assert!(grown <= 96, "grew by {grown} MB");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_64_megabytes_are_held_a_few_at_a_time() {
    // 1.5 GB in 24 rows. One row alone is a batch, a page and a row group; each stage holds it once or twice, but only
    // one reader's row is encoded at a time.
    let table = Table { deeds: vec![Deed::Reads; 2], batches_per_split: 12, rows_per_batch: 1, value_bytes: 64 << 20 };
    let grown = grown_mb(table, Budget::divide(48 << 20, 2)).await;
    assert!(grown <= 1024, "grew by {grown} MB");
}
