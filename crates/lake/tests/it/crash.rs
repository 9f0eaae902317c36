//! A process that dies between landing and answer; needs the feature `crash-points`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use arrow_array::{Int32Array, Int64Array, RecordBatch};
use headwaters_lake::crash::CrashPoint;
use headwaters_model::care::CareLimits;
use headwaters_model::job::{Committed, Landed, WriteMode};
use headwaters_model::offset::Ordinal;
use tempfile::TempDir;

use crate::care::limits;
use crate::contract::Ground;
use crate::reader::{data_files, newest, row_count};
use crate::rows::{ids, of_columns};

/// Set in the child process that is to die.
const FOLDER: &str = "HEADWATERS_TEST_CRASH_FOLDER";

#[expect(clippy::disallowed_methods, reason = "how the parent process tells the child where to write")]
fn folder_of_child() -> Option<PathBuf> {
    std::env::var_os(FOLDER).map(PathBuf::from)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_dies_around_the_commit_leaves_all_or_nothing() {
    if let Some(folder) = folder_of_child() {
        land_and_commit(&folder).await;
        unreachable!("the process must have died");
    }
    for (point, version) in [(CrashPoint::CommitPrepared, None), (CrashPoint::CommitDurable, Some(0))] {
        let folder = TempDir::new().unwrap();
        let name = "crash::a_process_that_dies_around_the_commit_leaves_all_or_nothing";
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name])
            .env(FOLDER, folder.path())
            .env(headwaters_model::crash::ENVIRONMENT, point.name())
            .output()
            .unwrap();
        assert!(!child.status.success(), "the child did not die at {point}");

        let snapshot = newest(folder.path());
        assert_eq!(snapshot.version, version, "after a crash at {point}");
        // The next call finds out by itself whether the commit was made, and makes it if not.
        let landed: Landed = serde_json::from_slice(&std::fs::read(folder.path().join("landed")).unwrap()).unwrap();
        let made = Ground::at(folder.path()).commit(&landed, 1, WriteMode::Append).await.unwrap();
        assert_eq!(made, Committed { version: Some(0), ordinal: Some(Ordinal(1)) });
        assert_eq!(row_count(folder.path()), 10);
    }
}

async fn land_and_commit(folder: &Path) {
    let ground = Ground::at(folder);
    let landed = ground.land(&[ids(0..10)], WriteMode::Append).await.unwrap();
    std::fs::write(folder.join("landed"), serde_json::to_vec(&landed).unwrap()).unwrap();
    ground.commit(&landed, 1, WriteMode::Append).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_dies_while_it_compacts_or_widens_leaves_the_table_and_orphans() {
    if let Some(folder) = folder_of_child() {
        let ground = Ground::at(&folder);
        if folder.ends_with("compact") {
            ground.lake.care(&ground.location, limits()).await.unwrap();
        } else {
            ground.land(&[wider()], WriteMode::Append).await.unwrap();
        }
        unreachable!("the process must have died");
    }
    for work in ["compact", "widen"] {
        let parent = TempDir::new().unwrap();
        let folder = parent.path().join(work);
        let ground = Ground::at(&folder);
        ground.append(narrow(1), 1).await;
        ground.append(narrow(2), 2).await;
        let before = newest(&folder);
        let name = "crash::a_process_that_dies_while_it_compacts_or_widens_leaves_the_table_and_orphans";
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name])
            .env(FOLDER, &folder)
            .env(headwaters_model::crash::ENVIRONMENT, CrashPoint::CommitPrepared.name())
            .output()
            .unwrap();
        assert!(!child.status.success(), "the child did not die");

        let after = newest(&folder);
        assert_eq!((after.version, &after.files), (before.version, &before.files), "{work}");
        let orphans = data_files(&folder).len() - 2;
        assert!(orphans > 0, "{work} had written files");
        let later = CareLimits { small_files_min: 100, vacuum_before_ms: i64::MAX, ..limits() };
        let report = ground.lake.care(&ground.location, later).await.unwrap();
        assert_eq!((report.deleted_files, data_files(&folder).len()), (orphans as u64, 2), "{work}");
        ground.append(wider(), 3).await;
        assert_eq!(row_count(&folder), 3, "{work}");
    }
}

fn narrow(value: i32) -> RecordBatch {
    of_columns(vec![("v", Arc::new(Int32Array::from(vec![value])))])
}

fn wider() -> RecordBatch {
    of_columns(vec![("v", Arc::new(Int64Array::from(vec![3])))])
}
