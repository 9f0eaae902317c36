//! Places that can't be used: full, forbidden, damaged.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use arrow_array::{ArrayRef, BinaryArray, Int32Array, Int64Array, RecordBatch};
use headwaters_lake::contract::LakeError;
use headwaters_model::flow::SchemaChange;
use headwaters_model::job::WriteMode;
use tempfile::TempDir;

use crate::care::limits;
use crate::contract::Ground;
use crate::reader::{data_files, newest, row_count};
use crate::rows::{ids, of_columns};

/// Set in the child process in which no file may grow beyond a limit.
const LIMITED_FOLDER: &str = "HEADWATERS_TEST_LIMITED_FOLDER";

/// A file system of two megabytes.
struct SmallDisk(TempDir);

impl SmallDisk {
    /// None where we may not mount.
    fn mount() -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"]).arg(folder.path()).output();
        mount.is_ok_and(|output| output.status.success()).then_some(Self(folder))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).output();
    }
}

/// A megabyte that can't be compressed.
fn noise(seed: u64) -> RecordBatch {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(1 << 20);
    while bytes.len() < 1 << 20 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    of_columns(vec![("noise", Arc::new(BinaryArray::from(vec![bytes.as_slice()])))])
}

#[expect(clippy::disallowed_methods, reason = "how the parent process tells the child where to write")]
fn limited_folder() -> Option<PathBuf> {
    std::env::var_os(LIMITED_FOLDER).map(PathBuf::from)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_as_such_and_nothing_is_visible() {
    if let Some(folder) = limited_folder() {
        return landing_fails(&folder, "does not allow files this large").await;
    }
    if let Some(disk) = SmallDisk::mount() {
        landing_fails(&disk.path().join("t"), "the disk is full").await;
        committing_fails(&disk.path().join("u")).await;
        return rewriting_fails(&disk.path().join("v")).await;
    }
    // Without the right to mount: a child process whose files may not grow beyond half a megabyte.
    let folder = TempDir::new().unwrap();
    let this = std::env::current_exe().unwrap();
    let shell =
        "trap '' XFSZ; ulimit -f 1024; exec \"$0\" --exact disk::a_full_disk_is_told_as_such_and_nothing_is_visible";
    let child = Command::new("sh").arg("-c").arg(shell).arg(this).env(LIMITED_FOLDER, folder.path().join("t")).output();
    let child = child.unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
}

async fn landing_fails(folder: &Path, said: &str) {
    let ground = Ground::at(folder);
    let error = ground.land(&(1..9).map(noise).collect::<Vec<_>>(), WriteMode::Append).await.unwrap_err();
    let (LakeError::NoRoom(fault) | LakeError::Definite(fault)) = error else { panic!("{error:?}") };
    assert!(fault.message.contains(said), "{fault}");
    assert!(fault.hint.is_some());
    assert_eq!(newest(folder).version, None);
    assert_eq!(data_files(folder), Vec::<String>::new(), "the space is given back");
}

async fn committing_fails(folder: &Path) {
    let ground = Ground::at(folder);
    let landed = ground.land(&[ids(0..10)], WriteMode::Append).await.unwrap();
    ground.commit(&landed, 1, WriteMode::Append).await.unwrap();
    let landed = ground.land(&[ids(0..5)], WriteMode::Append).await.unwrap();
    let filler = folder.join("filler");
    fs::write(&filler, vec![0; 4 << 20]).expect_err("the disk is smaller");

    let error = ground.commit(&landed, 2, WriteMode::Append).await.unwrap_err();
    let LakeError::NoRoom(fault) = error else { panic!("{error:?}") };
    assert!(fault.message.contains("the disk is full"), "{fault}");
    assert_eq!((newest(folder).version, row_count(folder)), (Some(0), 10), "the table is as it was");

    fs::remove_file(filler).unwrap();
    ground.commit(&landed, 2, WriteMode::Append).await.unwrap();
    assert_eq!(row_count(folder), 15);
}

/// Neither putting files together nor widening them may cost the table anything.
async fn rewriting_fails(folder: &Path) {
    let ground = Ground::at(folder);
    let column = |values: Vec<i32>| of_columns(vec![("v", Arc::new(Int32Array::from(values)) as ArrayRef)]);
    // Two files that need more room together than is left beside them.
    let values = |seed: i32| (0..60_000).map(|row: i32| row.wrapping_mul(0x3c6e_f35f).wrapping_add(seed)).collect();
    for ordinal in 1..=2 {
        ground.append(column(values(i32::try_from(ordinal).unwrap())), ordinal).await;
    }
    let filler = folder.join("filler");
    fs::write(&filler, vec![0; 4 << 20]).expect_err("the disk is smaller");
    let untouched = (newest(folder).version, data_files(folder).len());

    let error = ground.lake.care(&ground.location, limits()).await.unwrap_err();
    assert!(matches!(&error, LakeError::NoRoom(fault) if fault.message.contains("the disk is full")), "{error:?}");
    let wider = of_columns(vec![("v", Arc::new(Int64Array::from(vec![3])) as ArrayRef)]);
    let error = ground.land(std::slice::from_ref(&wider), WriteMode::Append).await.unwrap_err();
    assert!(matches!(&error, LakeError::NoRoom(fault) if fault.message.contains("the disk is full")), "{error:?}");
    assert_eq!((newest(folder).version, data_files(folder).len()), untouched, "the space is given back");
    assert_eq!(row_count(folder), 120_000);

    fs::remove_file(filler).unwrap();
    assert_eq!(ground.lake.care(&ground.location, limits()).await.unwrap().compacted_into, 1);
    ground.append(wider, 3).await;
    assert_eq!(row_count(folder), 120_001);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_below_a_file_is_a_definite_error() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("file"), "x").unwrap();
    let ground = Ground::at(&folder.path().join("file/t"));
    let error = ground.lake.probe(&ground.location).await.unwrap_err();
    assert!(
        matches!(&error, LakeError::Definite(fault) if fault.message.contains("a part of the path is a file")),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_log_is_a_definite_error_that_names_the_table() {
    let folder = TempDir::new().unwrap();
    let ground = Ground::at(folder.path());
    let landed = ground.land(&[ids(0..10)], WriteMode::Append).await.unwrap();
    ground.commit(&landed, 1, WriteMode::Append).await.unwrap();
    fs::write(folder.path().join("_delta_log/00000000000000000000.json"), "{\"add\":").unwrap();
    let error = ground
        .lake
        .open(&ground.location, &ids([]).schema(), WriteMode::Append, SchemaChange::Evolve)
        .await
        .err()
        .unwrap();
    let LakeError::Definite(fault) = error else { panic!("{error:?}") };
    assert!(fault.message.contains(&ground.location), "{fault}");
    assert!(fault.hint.unwrap().contains("_delta_log"));
}

#[tokio::test(flavor = "multi_thread")]
async fn locations_that_are_none_are_refused_with_a_way_out() {
    let folder = TempDir::new().unwrap();
    let ground = Ground::at(folder.path());
    for location in ["orders", "s3://bucket/orders", "file://elsewhere/orders", "ftp://host/x"] {
        let error = ground.lake.probe(location).await.unwrap_err();
        let LakeError::Definite(fault) = error else { panic!("{location}: {error:?}") };
        assert!(fault.hint.is_some() && fault.message.contains(location), "{fault:?}");
    }
}
