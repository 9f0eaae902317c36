//! A process that dies between landing and answer; needs the feature `crash-points`.

use std::path::{Path, PathBuf};
use std::process::Command;

use headwaters_lake::crash::CrashPoint;
use headwaters_model::job::{Committed, Landed, WriteMode};
use headwaters_model::offset::Ordinal;
use tempfile::TempDir;

use crate::contract::Ground;
use crate::reader::{newest, row_count};
use crate::rows::ids;

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
