//! Looking after a table loses nothing, doubles nothing, and deletes what nobody needs.

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arrow_array::{Int32Array, Int64Array, RecordBatch, StringArray};
use arrow_select::concat::concat_batches;
use headwaters_lake::contract::{LakeError, WriteLimits};
use headwaters_model::care::{CareLimits, CareReport};
use headwaters_model::job::WriteMode;
use headwaters_model::offset::Ordinal;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::contract::Ground;
use crate::reader::{batches, column, data_files, newest, row_count};
use crate::rows::{any_rows, batch, ids, of_columns};

const DAY_MS: i64 = 24 * 3600 * 1000;

#[expect(clippy::disallowed_methods, reason = "files have the machine's times")]
fn now() -> SystemTime {
    SystemTime::now()
}

fn now_ms() -> i64 {
    i64::try_from(now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// Compacts at two small files, and deletes what is older than a week.
pub(crate) fn limits() -> CareLimits {
    CareLimits { now_ms: now_ms(), small_files_min: 2, vacuum_before_ms: now_ms() - 7 * DAY_MS }
}

async fn care(ground: &Ground, limits: CareLimits) -> CareReport {
    ground.lake.care(&ground.location, limits).await.unwrap()
}

/// Makes a file look as if it had been written so many days ago.
fn age(path: &Path, days: u64) {
    let file = File::options().append(true).open(path).unwrap();
    file.set_modified(now() - Duration::from_secs(days * 24 * 3600)).unwrap();
}

fn sorted_ids(folder: &Path) -> Vec<i64> {
    let ids = column(folder, "id");
    let mut ids = ids.as_any().downcast_ref::<Int64Array>().unwrap().values().to_vec();
    ids.sort_unstable();
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn small_files_become_one_with_the_same_rows_and_marks() {
    for ground in Ground::all() {
        for ordinal in 1..=20 {
            ground.append(ids(ordinal * 10..ordinal * 10 + 10), ordinal).await;
        }
        let folder = ground.folder();
        let before = sorted_ids(&folder);
        let report = care(&ground, CareLimits { small_files_min: 21, ..limits() }).await;
        assert!(report.is_idle(), "they are too few: {report:?}");

        let report = care(&ground, limits()).await;
        assert_eq!((report.compacted_files, report.compacted_into, report.deleted_files), (20, 1, 0));
        let snapshot = newest(&folder);
        assert_eq!((snapshot.files.len(), snapshot.version), (1, Some(20)));
        assert_eq!(snapshot.files[0]["dataChange"], false);
        let stats = snapshot.files[0]["stats"].as_str().unwrap();
        assert!(stats.contains(r#""numRecords":200,"minValues":{"id":10},"maxValues":{"id":209}"#), "{stats}");
        assert_eq!(sorted_ids(&folder), before);
        assert_eq!(snapshot.commit_info["operation"], "OPTIMIZE");
        assert_eq!(ground.lake.last_ordinal(&ground.location, "flow").await.unwrap(), Some(Ordinal(20)));

        assert!(care(&ground, limits()).await.is_idle(), "there is nothing more to do");
        ground.append(ids(0..10), 21).await;
        assert_eq!(row_count(&folder), 210);
    }
}

#[test]
fn rows_of_every_type_stay_what_they_are() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut runner = TestRunner::deterministic();
    for _ in 0..8 {
        let parts: Vec<RecordBatch> =
            (0..5).map(|_| batch(&any_rows().new_tree(&mut runner).unwrap().current())).collect();
        for ground in Ground::all() {
            let folder = ground.folder();
            for (ordinal, part) in (1..).zip(&parts) {
                runtime.block_on(ground.append(part.clone(), ordinal));
            }
            let before = newest(&folder);
            // Files are put together in order of their sizes.
            let mut order: Vec<usize> = (0..parts.len()).collect();
            order.sort_by_key(|part| before.files[*part]["size"].as_u64());
            let wanted = concat_batches(&parts[0].schema(), order.iter().map(|part| &parts[*part])).unwrap();

            assert_eq!(runtime.block_on(care(&ground, limits())).compacted_files, 5);
            let read = batches(&folder, &newest(&folder)).remove(0);
            for (index, field) in wanted.schema().fields().iter().enumerate() {
                assert!(read.column(index) == wanted.column(index), "column {}", field.name());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_from_before_a_column_came_are_put_together_with_later_ones() {
    for ground in Ground::all() {
        ground.append(of_columns(vec![("n", Arc::new(Int32Array::from(vec![1, 2])))]), 1).await;
        let more =
            of_columns(vec![("n", Arc::new(Int32Array::from(vec![3]))), ("t", Arc::new(StringArray::from(vec!["x"])))]);
        ground.append(more, 2).await;
        assert_eq!(care(&ground, limits()).await.compacted_into, 1);
        let folder = ground.folder();
        assert_eq!(newest(&folder).files.len(), 1);
        let pairs = (column(&folder, "n"), column(&folder, "t"));
        let n = pairs.0.as_any().downcast_ref::<Int32Array>().unwrap();
        let t = pairs.1.as_any().downcast_ref::<StringArray>().unwrap();
        let pairs: HashSet<(i32, Option<&str>)> = n.values().iter().copied().zip(t.iter()).collect();
        assert_eq!(pairs, HashSet::from([(1, None), (2, None), (3, Some("x"))]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_not_small_stay_and_bins_do_not_exceed_the_target() {
    let limits_of_writers = WriteLimits { file_bytes_target: 64 << 10, ..WriteLimits::default() };
    for ground in Ground::all_with(limits_of_writers) {
        let noise = |from: u64, rows: u64| {
            let text =
                (from..from + rows).map(|row| format!("{:016x}", row.wrapping_mul(0x9e37_79b9_7f4a_7c15)).repeat(4));
            of_columns(vec![("t", Arc::new(StringArray::from_iter_values(text)) as arrow_array::ArrayRef)])
        };
        ground.append(noise(0, 2000), 1).await;
        let large = newest(&ground.folder()).files[0]["path"].clone();
        for ordinal in 2..=9_i64 {
            ground.append(noise(ordinal.unsigned_abs() * 10_000, 100), ordinal).await;
        }
        let report = care(&ground, limits()).await;
        assert_eq!(report.compacted_files, 8, "{report:?}");
        let files = newest(&ground.folder()).files;
        assert!(files.iter().any(|file| file["path"] == large));
        assert!(files.iter().all(|file| file["path"] == large || file["size"].as_u64().unwrap() <= 64 << 10));
        assert_eq!(row_count(&ground.folder()), 2800);
    }
}

/// The limits of care beside what a test lands from now on: nothing of it may be deleted, and all before it. The clock of
/// a file system lags a little.
fn from_now_on() -> CareLimits {
    CareLimits { vacuum_before_ms: now_ms() - 1000, ..limits() }
}

/// What an attempt left behind that broke yesterday.
fn put_orphan(folder: &Path, name: &str) {
    fs::write(folder.join(name), "x").unwrap();
    age(&folder.join(name), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn commits_that_race_with_care_lose_nothing_and_double_nothing() {
    for ground in Ground::all() {
        let limits = from_now_on();
        ground.append(ids(0..1), 1).await;
        let caring = async || {
            let (mut compacted, mut deleted) = (0, 0);
            for round in 0..12 {
                put_orphan(&ground.folder(), &format!("part-{round}.parquet"));
                let report = care(&ground, limits).await;
                compacted += report.compacted_files;
                deleted += report.deleted_files;
            }
            (compacted, deleted)
        };
        let landing = async {
            for ordinal in 2..=24 {
                ground.append(ids(ordinal - 1..ordinal), ordinal).await;
            }
        };
        let (one, (), other) = futures::join!(caring(), landing, caring());
        assert!(one.0 + other.0 > 0, "nothing was put together beside the commits");
        assert!(one.1 + other.1 >= 12, "orphans were deleted beside the commits: {one:?}, {other:?}");
        assert_eq!(sorted_ids(&ground.folder()), (0..24).collect::<Vec<_>>());
        care(&ground, limits).await;
        assert_eq!(sorted_ids(&ground.folder()), (0..24).collect::<Vec<_>>());
        assert_eq!(ground.lake.last_ordinal(&ground.location, "flow").await.unwrap(), Some(Ordinal(24)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_overwrite_that_races_with_care_leaves_its_own_rows_only() {
    for ground in Ground::all() {
        let limits = from_now_on();
        let mut all = CareReport::default();
        for round in 0..12 {
            let ordinal = round * 3 + 1;
            ground.append(ids(0..5), ordinal).await;
            ground.append(ids(5..9), ordinal + 1).await;
            put_orphan(&ground.folder(), "part-orphan.parquet");
            let fresh = ground.land(&[ids(100..103)], WriteMode::Overwrite).await.unwrap();
            // The one or the other is ahead in turn.
            let overwriting = async {
                for _ in 0..(round % 4) * 8 {
                    tokio::task::yield_now().await;
                }
                ground.commit(&fresh, ordinal + 2, WriteMode::Overwrite).await.unwrap();
            };
            let (report, ()) = futures::join!(care(&ground, limits), overwriting);
            all.compacted_files += report.compacted_files;
            all.deleted_files += report.deleted_files;
            assert_eq!(sorted_ids(&ground.folder()), [100, 101, 102]);
        }
        // Most of the time the overwrite takes the files away; what it leaves for the next visit are its own and new ones.
        ground.append(ids(0..5), 37).await;
        all.compacted_files += care(&ground, limits).await.compacted_files;
        assert!(all.compacted_files > 0 && all.deleted_files == 12, "{all:?}");
        assert_eq!(sorted_ids(&ground.folder()), [0, 1, 2, 3, 4, 100, 101, 102]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_was_landed_before_care_is_made_after_it() {
    for ground in Ground::all() {
        for ordinal in 1..=3 {
            ground.append(ids(ordinal..ordinal + 1), ordinal).await;
        }
        let landed = ground.land(&[ids(4..5)], WriteMode::Append).await.unwrap();
        assert_eq!(care(&ground, limits()).await.compacted_files, 3);
        ground.commit(&landed, 4, WriteMode::Append).await.unwrap();
        assert_eq!(sorted_ids(&ground.folder()), [1, 2, 3, 4]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn vacuum_deletes_old_orphans_and_nothing_else() {
    for ground in Ground::all() {
        let folder = ground.folder();
        ground.append(ids(0..3), 1).await;
        ground.append(ids(3..6), 2).await;
        let in_table = data_files(&folder);
        let write = |name: &str, days: u64| {
            fs::create_dir_all(folder.join(name).parent().unwrap()).unwrap();
            fs::write(folder.join(name), "x").unwrap();
            age(&folder.join(name), days);
        };
        let expired = ["part-old.zstd.parquet", "sub/part-old.parquet", "part-broken.zstd.parquet#1"];
        let kept = [
            "part-young.zstd.parquet",
            "part-running.zstd.parquet#1",
            "notes.txt",
            "_change_data/part-old.parquet",
            "_batches.parquet/rows.parquet",
            ".hidden/part-old.parquet",
            "part-odd.parquet#one",
        ];
        expired.iter().for_each(|name| write(name, 8));
        kept.iter()
            .for_each(|name| write(name, if name.contains("young") || name.contains("running") { 6 } else { 8 }));
        in_table.iter().for_each(|name| age(&folder.join(name), 400));

        let report = care(&ground, CareLimits { small_files_min: 100, ..limits() }).await;
        assert_eq!((report.deleted_files, report.deleted_bytes), (3, 3), "{report:?}");
        assert!(expired.iter().all(|name| !folder.join(name).exists()));
        assert!(kept.iter().all(|name| folder.join(name).exists()));
        assert_eq!(sorted_ids(&folder), [0, 1, 2, 3, 4, 5]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_put_together_is_kept_for_readers_of_older_versions_until_the_moment() {
    for ground in Ground::all() {
        let folder = ground.folder();
        ground.append(ids(0..3), 1).await;
        ground.append(ids(3..6), 2).await;
        data_files(&folder).iter().for_each(|name| age(&folder.join(name), 400));
        let report = care(&ground, limits()).await;
        assert_eq!((report.compacted_files, report.deleted_files), (2, 0), "removed just now: {report:?}");
        assert_eq!(data_files(&folder).len(), 3);
        let later = CareLimits { vacuum_before_ms: now_ms() + 1000, ..limits() };
        assert_eq!(care(&ground, later).await.deleted_files, 2, "two days on");
        assert_eq!((data_files(&folder).len(), row_count(&folder)), (1, 6));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn vacuum_beside_an_attempt_that_is_landing_leaves_its_files() {
    for ground in Ground::all() {
        ground.append(ids(0..3), 1).await;
        let begun_ms = now_ms() - 30 * DAY_MS;
        let landed = ground.land(&[ids(3..6)], WriteMode::Append).await.unwrap();
        // It has been at work for a month: whoever cares names the begin of its run, not the week.
        age(&ground.folder().join(&landed.files[0].path), 29);
        let orphan = ground.folder().join("part-orphan.parquet");
        fs::write(&orphan, "x").unwrap();
        age(&orphan, 31);
        let report = care(&ground, CareLimits { vacuum_before_ms: begun_ms, ..limits() }).await;
        assert_eq!(report.deleted_files, 1);
        ground.commit(&landed, 2, WriteMode::Append).await.unwrap();
        assert_eq!(sorted_ids(&ground.folder()), [0, 1, 2, 3, 4, 5]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_of_the_log_expire_behind_a_checkpoint_and_marks_survive() {
    for ground in Ground::all() {
        for ordinal in 1..=45 {
            ground.append(ids(ordinal..ordinal + 1), ordinal).await;
        }
        let log = ground.folder().join("_delta_log");
        let entries = || {
            fs::read_dir(&log)
                .unwrap()
                .filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|extension| extension == "json"))
        };
        let before = entries().count();
        let limits = CareLimits { small_files_min: 100, ..limits() };
        assert_eq!(care(&ground, limits).await.deleted_log_entries, 0, "they are young");
        for entry in fs::read_dir(&log).unwrap() {
            let path = entry.unwrap().path();
            // Half of the log is two months old, with the checkpoint of version 20.
            let name = path.file_name().unwrap().to_str().unwrap();
            if name.split('.').next().unwrap().parse::<u64>().is_ok_and(|version| version <= 30) {
                age(&path, 60);
            }
        }
        let report = care(&ground, limits).await;
        assert_eq!(report.deleted_log_entries, 20, "what the checkpoint of version 20 stands for");
        assert_eq!(entries().count(), before - 20);
        assert_eq!(ground.lake.last_ordinal(&ground.location, "flow").await.unwrap(), Some(Ordinal(45)));
        let made = ground.append(ids(46..47), 46).await;
        assert_eq!(made.version, Some(45));
        let report = care(&ground, CareLimits { small_files_min: 2, ..limits }).await;
        assert_eq!(report.compacted_files, 46, "the state is whole");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_there_is_no_table_there_is_nothing_to_do() {
    for ground in Ground::all() {
        assert!(care(&ground, limits()).await.is_idle());
        assert!(!ground.folder().exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_can_not_be_read_is_left_out_and_told_and_the_rest_is_done() {
    let folder = TempDir::new().unwrap();
    let ground = Ground::at(folder.path());
    for ordinal in 1..=3 {
        ground.append(ids(ordinal * 10..ordinal * 10 + 3), ordinal).await;
    }
    let name = newest(folder.path()).files[1]["path"].as_str().unwrap().to_owned();
    let whole = fs::read(folder.path().join(&name)).unwrap();
    fs::write(folder.path().join(&name), vec![0; whole.len()]).unwrap();
    put_orphan(folder.path(), "part-orphan.parquet");
    let error = ground.lake.care(&ground.location, from_now_on()).await.unwrap_err();
    assert!(error.to_string().contains(&name), "{error}");
    assert!(!folder.path().join("part-orphan.parquet").exists(), "it is cleaned up nevertheless");
    let snapshot = newest(folder.path());
    assert_eq!((snapshot.version, snapshot.files.len()), (Some(3), 2), "the two others were put together");
    assert!(snapshot.files.iter().any(|file| file["path"] == name.as_str()));
    fs::write(folder.path().join(&name), whole).unwrap();
    assert_eq!(sorted_ids(folder.path()), [10, 11, 12, 20, 21, 22, 30, 31, 32]);
    assert_eq!(care(&ground, limits()).await.compacted_files, 2);
    assert_eq!(sorted_ids(folder.path()), [10, 11, 12, 20, 21, 22, 30, 31, 32]);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_with_large_row_groups_are_left_alone() {
    let folder = TempDir::new().unwrap();
    let location = format!("file://{}", folder.path().display());
    let lake = |row_group_bytes_max: usize| {
        let limits = WriteLimits { row_group_bytes_max, ..WriteLimits::default() };
        headwaters_lake::registry::formats(limits).remove(0).1
    };
    let noise = |salt: u64| {
        let text = (0..20_000_u64).map(|row| format!("{:016x}", (row + salt).wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        of_columns(vec![("t", Arc::new(StringArray::from_iter_values(text)) as arrow_array::ArrayRef)])
    };
    let ground = Ground::at(folder.path());
    for ordinal in 1..=2_i64 {
        ground.append(noise(ordinal.unsigned_abs()), ordinal).await;
    }
    let report = lake(16 << 10).care(&location, limits()).await.unwrap();
    assert!(report.is_idle(), "they have more than four times as many bytes: {report:?}");
    assert_eq!(lake(4 << 20).care(&location, limits()).await.unwrap().compacted_files, 2);
    assert_eq!(row_count(folder.path()), 40_000);
}

/// Another engine writes the next entry of the log.
fn write_entry(folder: &Path, actions: &[Value]) {
    let version = newest(folder).version.unwrap() + 1;
    let lines: Vec<String> = actions.iter().map(Value::to_string).collect();
    fs::write(folder.join(format!("_delta_log/{version:020}.json")), lines.join("\n")).unwrap();
}

/// An action of the first entry of the log.
fn first_action(folder: &Path, kind: &str) -> Value {
    let entry = fs::read_to_string(folder.join(format!("_delta_log/{:020}.json", 0))).unwrap();
    let mut actions = entry.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    actions.find(|action| action.get(kind).is_some()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_wants_its_files_for_longer_keeps_them_for_longer() {
    let folder = TempDir::new().unwrap();
    let ground = Ground::at(folder.path());
    ground.append(ids(0..3), 1).await;
    let mut metadata = first_action(folder.path(), "metaData");
    metadata["metaData"]["configuration"] = json!({ "delta.deletedFileRetentionDuration": "interval 20 days" });
    write_entry(folder.path(), &[metadata]);
    for (name, days) in [("part-younger.parquet", 15), ("part-older.parquet", 25)] {
        fs::write(folder.path().join(name), "x").unwrap();
        age(&folder.path().join(name), days);
    }
    assert_eq!(care(&ground, limits()).await.deleted_files, 1);
    assert!(folder.path().join("part-younger.parquet").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_names_files_by_whole_uris_is_not_cleaned_up() {
    let folder = TempDir::new().unwrap();
    let ground = Ground::at(folder.path());
    ground.append(ids(0..3), 1).await;
    put_orphan(folder.path(), "part-own.parquet");
    let path = format!("{}/part-own.parquet", ground.location);
    let size = 1;
    let add = json!({ "add": {
        "path": path, "size": size, "partitionValues": {}, "modificationTime": 0, "dataChange": true,
    } });
    write_entry(folder.path(), &[add]);
    let error = ground.lake.care(&ground.location, from_now_on()).await.unwrap_err();
    let LakeError::Definite(fault) = error else { panic!("{error:?}") };
    assert!(fault.message.contains("by their whole URIs") && fault.hint.is_some(), "{fault}");
    assert!(folder.path().join("part-own.parquet").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_a_table_that_protects_its_checkpoints_does_not_expire() {
    let folder = TempDir::new().unwrap();
    let ground = Ground::at(folder.path());
    ground.append(ids(0..1), 1).await;
    let features = json!(["appendOnly", "checkpointProtection"]);
    let protocol = json!({ "minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": features });
    write_entry(folder.path(), &[json!({ "protocol": protocol })]);
    for ordinal in 2..=30 {
        ground.append(ids(ordinal..ordinal + 1), ordinal).await;
    }
    for entry in fs::read_dir(folder.path().join("_delta_log")).unwrap() {
        age(&entry.unwrap().path(), 60);
    }
    let report = care(&ground, limits()).await;
    assert_eq!((report.deleted_log_entries, report.compacted_files), (0, 30));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_were_deleted_meanwhile_are_not_committed() {
    for ground in Ground::all() {
        ground.append(ids(0..3), 1).await;
        let landed = ground.land(&[ids(3..6)], WriteMode::Append).await.unwrap();
        fs::remove_file(ground.folder().join(&landed.files[0].path)).unwrap();
        let error = ground.commit(&landed, 2, WriteMode::Append).await.unwrap_err();
        assert!(matches!(&error, LakeError::Transient(fault) if fault.message.contains("landed again")), "{error:?}");
        assert_eq!(sorted_ids(&ground.folder()), [0, 1, 2]);
        ground.append(ids(3..6), 2).await;
        assert_eq!(sorted_ids(&ground.folder()), [0, 1, 2, 3, 4, 5]);
    }
}
