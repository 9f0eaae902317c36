//! What must be in a data set when all is over, and what is.
//!
//! An event never changes: each is there once, and nothing else. Of an account any version that it once had may be there,
//! because a run lands what it finds, but each version once at most; and its last version is there, because no window has
//! passed it by. A version that was rolled back, or that nobody ever wrote, is an invention.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::Duration;

use headwaters_testkit::DatabaseServer;

use super::writers::Kind;
use crate::land::rows;

/// A row and its version; events have just one.
type Version = (u64, u64);

/// What happened.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) kills: u32,
    /// How many of them found a run at work.
    pub(super) kills_at_work: u32,
    pub(super) database_kills: u32,
    pub(super) transactions: u64,
    pub(super) runs: i64,
    pub(super) runs_failed: i64,
    pub(super) attempts: i64,
}

/// What became of one data set.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) table: &'static str,
    pub(super) column: &'static str,
    pub(super) landed: usize,
    /// How many rows must be there.
    pub(super) expected: usize,
    lost: Vec<Version>,
    doubled: Vec<Version>,
    invented: Vec<Version>,
}

impl Verdict {
    pub(super) fn is_clean(&self) -> bool {
        self.lost.is_empty() && self.doubled.is_empty() && self.invented.is_empty()
    }
}

/// Compares a data set with the table that it comes from.
pub(super) async fn judge(database: &DatabaseServer, kind: Kind, column: &'static str, folder: &Path) -> Verdict {
    let (last, ever) = match kind {
        Kind::Event => {
            let events = versions(database, "select id, 1 from torture.event").await;
            (events.clone(), events)
        }
        Kind::Account => (
            versions(database, "select id, version from torture.account").await,
            versions(database, "select id, version from torture.account_log").await,
        ),
    };
    let mut landed: HashMap<Version, usize> = HashMap::new();
    for row in rows(folder) {
        let number = |name: &str| row[name].as_u64();
        let version = if kind == Kind::Event { Some(1) } else { number("version") };
        *landed.entry((number("id").expect("an id"), version.expect("a version"))).or_default() += 1;
    }
    let mut verdict = Verdict {
        table: kind.table(),
        column,
        landed: landed.values().sum(),
        expected: last.len(),
        lost: last.iter().filter(|version| !landed.contains_key(version)).copied().collect(),
        doubled: landed.iter().filter(|(_, times)| **times > 1).map(|(version, _)| *version).collect(),
        invented: landed.keys().filter(|version| !ever.contains(version)).copied().collect(),
    };
    for found in [&mut verdict.lost, &mut verdict.doubled, &mut verdict.invented] {
        found.sort_unstable();
    }
    verdict
}

async fn versions(database: &DatabaseServer, sql: &str) -> HashSet<Version> {
    let rows = database.query(sql).await.expect("an answer");
    let number = |cell: &Option<String>| cell.as_deref().and_then(|text| text.parse().ok()).expect("a number");
    rows.iter().map(|row| (number(&row[0]), number(&row[1]))).collect()
}

/// Says what a person wants to know who lets this run for long, and the seed.
pub(super) fn report(tally: &Tally, verdicts: &[Verdict], seed: u64, took: Duration) {
    let Tally { kills, kills_at_work, database_kills, transactions, runs, runs_failed, attempts } = tally;
    let sum = |of: fn(&Verdict) -> usize| verdicts.iter().map(of).sum::<usize>();
    eprintln!("seed {seed}, {:.0} s", took.as_secs_f64());
    eprintln!("{kills} kills of the process ({kills_at_work} with runs at work), {database_kills} of the database");
    eprintln!("{transactions} transactions written; {runs} runs ({runs_failed} failed), {attempts} attempts");
    for Verdict { table, column, landed, expected, .. } in verdicts {
        eprintln!("{table} by {column}: {landed} rows landed, {expected} that must be there");
    }
    eprintln!(
        "lost {}, doubled {}, invented {}",
        sum(|verdict| verdict.lost.len()),
        sum(|verdict| verdict.doubled.len()),
        sum(|verdict| verdict.invented.len())
    );
}
