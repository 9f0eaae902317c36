//! What every format promises; run on every registered one.

use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray};
use headwaters_lake::contract::{Lake, LakeError, WriteLimits};
use headwaters_lake::registry::formats;
use headwaters_model::flow::SchemaChange;
use headwaters_model::job::{Committed, Landed, WriteMode};
use headwaters_model::offset::{CommitMark, Ordinal};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tempfile::TempDir;

use crate::reader::{at, batches, data_files, newest, row_count};
use crate::rows::{any_rows, batch, ids, of_columns};

/// An empty place in a lake.
pub(crate) struct Ground {
    pub(crate) lake: Arc<dyn Lake>,
    pub(crate) location: String,
    _folder: Option<TempDir>,
}

impl Ground {
    pub(crate) fn all() -> Vec<Self> {
        Self::all_with(WriteLimits::default())
    }

    pub(crate) fn all_with(limits: WriteLimits) -> Vec<Self> {
        let fresh = |(_, lake)| {
            let folder = TempDir::new().unwrap();
            let location = format!("file://{}/with%20space/t", folder.path().display());
            Self { lake, location, _folder: Some(folder) }
        };
        formats(limits).into_iter().map(fresh).collect()
    }

    pub(crate) fn at(folder: &Path) -> Self {
        let (_, lake) = formats(WriteLimits::default()).remove(0);
        Self { lake, location: format!("file://{}", folder.display()), _folder: None }
    }

    pub(crate) fn folder(&self) -> std::path::PathBuf {
        self.location.strip_prefix("file://").unwrap().replace("%20", " ").into()
    }

    pub(crate) async fn land(&self, rows: &[RecordBatch], mode: WriteMode) -> Result<Landed, LakeError> {
        self.land_under(rows, mode, SchemaChange::Evolve).await
    }

    pub(crate) async fn land_under(
        &self,
        rows: &[RecordBatch],
        mode: WriteMode,
        change: SchemaChange,
    ) -> Result<Landed, LakeError> {
        let table = self.lake.open(&self.location, &rows[0].schema(), mode, change).await?;
        let mut writer = table.writer()?;
        for rows in rows {
            if let Err(error) = writer.write(rows.clone()).await {
                writer.abort().await;
                return Err(error);
            }
        }
        let files = writer.finish().await?;
        Ok(Landed { files, notes: table.notes(), schema: table.schema(), ..Landed::default() })
    }

    pub(crate) async fn commit(&self, landed: &Landed, ordinal: i64, mode: WriteMode) -> Result<Committed, LakeError> {
        let base = (ordinal > 1).then_some(Ordinal(ordinal - 1));
        let mark = CommitMark { app_id: "flow".to_owned(), base, ordinal: Ordinal(ordinal) };
        self.lake.commit(&self.location, landed, &mark, mode, &[("flow", "flow".to_owned())]).await
    }

    pub(crate) async fn append(&self, rows: RecordBatch, ordinal: i64) -> Committed {
        let landed = self.land(&[rows], WriteMode::Append).await.unwrap();
        self.commit(&landed, ordinal, WriteMode::Append).await.unwrap()
    }
}

#[test]
fn rows_of_every_type_come_back_as_they_were() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut runner =
        TestRunner::new(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() });
    runner
        .run(&any_rows(), |rows| {
            let sent = batch(&rows);
            for ground in Ground::all() {
                runtime.block_on(ground.append(sent.clone(), 1));
                let read = batches(&ground.folder(), &newest(&ground.folder())).remove(0);
                for (index, field) in sent.schema().fields().iter().enumerate() {
                    prop_assert_eq!(read.column(index), sent.column(index), "column {}", field.name());
                }
            }
            Ok(())
        })
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_visible_before_the_commit() {
    for ground in Ground::all() {
        let landed = ground.land(&[ids(0..10)], WriteMode::Append).await.unwrap();
        assert_eq!(newest(&ground.folder()).version, None);
        assert_eq!(ground.lake.last_ordinal(&ground.location, "flow").await.unwrap(), None);
        // A process that dies here leaves the file and nothing else; the next attempt goes on as if it had not been.
        drop(landed);
        let made = ground.append(ids(0..3), 1).await;
        assert_eq!(made, Committed { version: Some(0), ordinal: Some(Ordinal(1)) });
        assert_eq!(row_count(&ground.folder()), 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_add_up_and_the_mark_follows() {
    for ground in Ground::all() {
        for ordinal in 1..=3 {
            let made = ground.append(ids(0..10), ordinal).await;
            assert_eq!(made.version, Some(u64::try_from(ordinal - 1).unwrap()));
            assert_eq!(ground.lake.last_ordinal(&ground.location, "flow").await.unwrap(), Some(Ordinal(ordinal)));
        }
        assert_eq!(row_count(&ground.folder()), 30);
        let info = newest(&ground.folder()).commit_info;
        assert_eq!(info["flow"], "flow");
        assert_eq!(info["ordinal"], 3);
        assert!(info["engineInfo"].as_str().unwrap().starts_with("headwaters/"));
        assert_eq!(info["operationMetrics"]["numOutputRows"], "10");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overwrite_replaces_the_rows_and_keeps_the_older_version() {
    for ground in Ground::all() {
        ground.append(ids(0..10), 1).await;
        let landed = ground.land(&[ids(100..104)], WriteMode::Overwrite).await.unwrap();
        ground.commit(&landed, 2, WriteMode::Overwrite).await.unwrap();
        let folder = ground.folder();
        assert_eq!(row_count(&folder), 4);
        let older: usize = batches(&folder, &at(&folder, 0)).iter().map(RecordBatch::num_rows).sum();
        assert_eq!(older, 10);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overwrite_without_rows_empties_the_table() {
    for ground in Ground::all() {
        ground.append(ids(0..10), 1).await;
        let table = ground
            .lake
            .open(&ground.location, &ids([]).schema(), WriteMode::Overwrite, SchemaChange::Evolve)
            .await
            .unwrap();
        let nothing = Landed { schema: table.schema(), ..Landed::default() };
        let made = ground.commit(&nothing, 2, WriteMode::Overwrite).await.unwrap();
        assert_eq!(made, Committed { version: Some(1), ordinal: Some(Ordinal(2)) });
        assert_eq!(row_count(&ground.folder()), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_run_without_rows_makes_an_empty_table_without_a_mark() {
    for ground in Ground::all() {
        let nothing = ground.land(&[ids([])], WriteMode::Append).await.unwrap();
        assert!(nothing.files.is_empty());
        let made = ground.commit(&nothing, 1, WriteMode::Append).await.unwrap();
        assert_eq!(made, Committed { version: Some(0), ordinal: None });
        let snapshot = newest(&ground.folder());
        assert_eq!(snapshot.columns(), ["id"]);
        assert_eq!(
            (&snapshot.protocol["minReaderVersion"], &snapshot.protocol["minWriterVersion"]),
            (&1.into(), &2.into())
        );

        let made = ground.commit(&nothing, 1, WriteMode::Append).await.unwrap();
        assert_eq!(made, Committed { version: None, ordinal: None }, "and is then left alone");
        ground.append(ids(0..2), 1).await;
        assert_eq!(row_count(&ground.folder()), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_land_side_by_side_into_one_version() {
    for ground in Ground::all() {
        let table = ground
            .lake
            .open(&ground.location, &ids([]).schema(), WriteMode::Append, SchemaChange::Evolve)
            .await
            .unwrap();
        let writers = (0..5).map(|part| {
            let mut writer = table.writer().unwrap();
            async move {
                for start in 0..4 {
                    writer.write(ids(part * 1000 + start * 10..part * 1000 + start * 10 + 10)).await.unwrap();
                }
                writer.finish().await.unwrap()
            }
        });
        let files = futures::future::join_all(writers).await.into_iter().flatten().collect();
        let landed = Landed { files, schema: table.schema(), ..Landed::default() };
        ground.commit(&landed, 1, WriteMode::Append).await.unwrap();
        assert_eq!(row_count(&ground.folder()), 200);
        assert_eq!(newest(&ground.folder()).version, Some(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aborted_or_discarded_split_leaves_no_file() {
    for ground in Ground::all() {
        let table = ground
            .lake
            .open(&ground.location, &ids([]).schema(), WriteMode::Append, SchemaChange::Evolve)
            .await
            .unwrap();
        let mut writer = table.writer().unwrap();
        writer.write(ids(0..1000)).await.unwrap();
        writer.abort().await;
        let mut writer = table.writer().unwrap();
        writer.write(ids(0..1000)).await.unwrap();
        let files = writer.finish().await.unwrap();
        assert_eq!(data_files(&ground.folder()).len(), 1);
        table.discard(files).await;
        assert_eq!(data_files(&ground.folder()), Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_split_becomes_several_files() {
    let limits = WriteLimits { row_group_bytes_max: 16 << 10, file_bytes_target: 64 << 10, ..WriteLimits::default() };
    for (_, lake) in formats(limits) {
        let folder = TempDir::new().unwrap();
        let ground = Ground { lake, ..Ground::at(folder.path()) };
        let texts = |part: u64| {
            let text = (0..200).map(|row| format!("{:064x}", (part * 200 + row).wrapping_mul(0x9e37_79b9_7f4a_7c15)));
            of_columns(vec![(
                "t",
                Arc::new(StringArray::from_iter_values(text.map(|text| text.repeat(8)))) as ArrayRef,
            )])
        };
        let landed = ground.land(&(0..60).map(texts).collect::<Vec<_>>(), WriteMode::Append).await.unwrap();
        assert!(landed.files.len() > 1, "{} files", landed.files.len());
        ground.commit(&landed, 1, WriteMode::Append).await.unwrap();
        assert_eq!(row_count(folder.path()), 12_000);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_the_source_gained_is_added_and_older_rows_have_null() {
    for ground in Ground::all() {
        ground.append(ids(0..2), 1).await;
        let wider = of_columns(vec![
            ("note (de)", Arc::new(StringArray::from(vec!["x"]))),
            ("id", Arc::new(Int64Array::from(vec![7]))),
        ]);
        let landed = ground.land(&[wider], WriteMode::Append).await.unwrap();
        assert!(
            landed.notes.iter().any(|note| note == "column note__de_ was added to the table"),
            "{:?}",
            landed.notes
        );
        assert_eq!(newest(&ground.folder()).version, Some(1), "in a commit of its own");
        assert_eq!(ground.lake.last_ordinal(&ground.location, "flow").await.unwrap(), Some(Ordinal(1)));
        ground.commit(&landed, 2, WriteMode::Append).await.unwrap();
        let snapshot = newest(&ground.folder());
        assert_eq!(snapshot.columns(), ["id", "note__de_"]);
        assert_eq!(snapshot.schema["fields"][1]["metadata"]["headwaters.sourceName"], "note (de)");
        assert_eq!(row_count(&ground.folder()), 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_the_source_lost_stays_empty_with_a_note() {
    for ground in Ground::all() {
        let both = of_columns(vec![
            ("id", Arc::new(Int64Array::from(vec![1]))),
            ("gone", Arc::new(Int32Array::from(vec![2]))),
        ]);
        ground.append(both, 1).await;
        let landed = ground.land(&[ids(5..6)], WriteMode::Append).await.unwrap();
        assert_eq!(landed.notes, ["column gone of the table is not read from the source and stays empty"]);
        ground.commit(&landed, 2, WriteMode::Append).await.unwrap();
        assert_eq!(row_count(&ground.folder()), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_type_conflict_is_a_definite_error_in_both_modes_and_changes_nothing() {
    for ground in Ground::all() {
        ground.append(ids(0..2), 1).await;
        let other = of_columns(vec![("id", Arc::new(StringArray::from(vec!["one"])))]);
        for mode in [WriteMode::Append, WriteMode::Overwrite] {
            let error =
                ground.lake.open(&ground.location, &other.schema(), mode, SchemaChange::Evolve).await.err().unwrap();
            let LakeError::Definite(fault) = error else { panic!("{error:?}") };
            assert!(fault.message.contains("column id is string in the source but long in the table"), "{fault}");
        }
        assert_eq!(newest(&ground.folder()).version, Some(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn narrower_values_land_in_the_tables_type() {
    for ground in Ground::all() {
        ground.append(ids(0..2), 1).await;
        let narrow = of_columns(vec![("id", Arc::new(Int32Array::from(vec![Some(-7), None])))]);
        ground.append(narrow, 2).await;
        let rows = batches(&ground.folder(), &newest(&ground.folder()));
        assert!(rows.iter().all(|rows| rows.column(0).data_type() == &arrow_schema::DataType::Int64));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_is_probed_without_leaving_anything() {
    for ground in Ground::all() {
        ground.lake.probe(&ground.location).await.unwrap();
        assert_eq!(data_files(&ground.folder()), Vec::<String>::new());
    }
}
