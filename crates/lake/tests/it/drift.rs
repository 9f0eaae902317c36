//! What becomes of a table when the columns of its source change between two runs.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, Date32Array, Decimal128Array, Float32Array, Float64Array, Int32Array, Int64Array, RecordBatch,
    StringArray,
};
use arrow_schema::DataType;
use headwaters_lake::contract::LakeError;
use headwaters_model::flow::SchemaChange;
use headwaters_model::job::WriteMode;
use headwaters_model::offset::Ordinal;

use crate::contract::Ground;
use crate::reader::{batches, column, data_files, newest, row_count};
use crate::rows::of_columns;

fn ints(values: &[i32]) -> ArrayRef {
    Arc::new(Int32Array::from(values.to_vec()))
}

fn longs(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn decimals(values: &[i128], precision: u8, scale: i8) -> ArrayRef {
    Arc::new(Decimal128Array::from(values.to_vec()).with_precision_and_scale(precision, scale).unwrap())
}

fn definite(result: Result<impl Sized, LakeError>) -> (String, String) {
    match result {
        Err(LakeError::Definite(fault)) => (fault.message, fault.hint.unwrap_or_default()),
        Err(error) => panic!("not definite: {error:?}"),
        Ok(_) => panic!("it was taken"),
    }
}

async fn landed(ground: &Ground, rows: RecordBatch, ordinal: i64) -> Vec<String> {
    let landed = ground.land(&[rows], WriteMode::Append).await.unwrap();
    ground.commit(&landed, ordinal, WriteMode::Append).await.unwrap();
    landed.notes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wider_type_widens_the_table_and_older_rows_keep_their_values() {
    let cases: [(&str, ArrayRef, ArrayRef, ArrayRef, &str); 5] = [
        ("integer to long", ints(&[1, i32::MIN]), longs(&[i64::MAX]), longs(&[1, i32::MIN.into(), i64::MAX]), "long"),
        (
            "float to double",
            Arc::new(Float32Array::from(vec![0.1, f32::MAX])),
            Arc::new(Float64Array::from(vec![0.1])),
            Arc::new(Float64Array::from(vec![f64::from(0.1_f32), f64::from(f32::MAX), 0.1])),
            "double",
        ),
        (
            "decimal(4,2) to decimal(8,3)",
            decimals(&[-9999, 5], 4, 2),
            decimals(&[12_345_678], 8, 3),
            decimals(&[-99_990, 50, 12_345_678], 8, 3),
            "decimal(8,3)",
        ),
        (
            "decimal(6,4) to decimal(8,4)",
            decimals(&[123_456, -1], 6, 4),
            decimals(&[-123_456], 6, 2),
            decimals(&[123_456, -1, -12_345_600], 8, 4),
            "decimal(8,4)",
        ),
        (
            "long to decimal(20,0)",
            longs(&[i64::MIN, 7]),
            decimals(&[18_446_744_073_709_551_615], 20, 0),
            decimals(&[i64::MIN.into(), 7, 18_446_744_073_709_551_615], 20, 0),
            "decimal(20,0)",
        ),
    ];
    for (change, before, after, all, spelt) in cases {
        for ground in Ground::all() {
            landed(&ground, of_columns(vec![("v", before.clone()), ("t", texts(&["a", "b"]))]), 1).await;
            let notes = landed(&ground, of_columns(vec![("v", after.clone()), ("t", texts(&["c"]))]), 2).await;
            assert_eq!(notes, [format!("column v was widened from {change}")]);
            let folder = ground.folder();
            assert_eq!((&column(&folder, "v"), &column(&folder, "t")), (&all, &texts(&["a", "b", "c"])));
            let snapshot = newest(&folder);
            assert_eq!((&snapshot.schema["fields"][0]["type"], snapshot.version), (&spelt.into(), Some(2)));
            assert_eq!(ground.lake.last_ordinal(&ground.location, "flow").await.unwrap(), Some(Ordinal(2)));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn widening_rewrites_all_files_in_one_commit_that_says_that_no_rows_are_new() {
    for ground in Ground::all() {
        let other = of_columns(vec![("v", ints(&[5])), ("new", texts(&["x"]))]);
        landed(&ground, of_columns(vec![("v", ints(&[1, 2]))]), 1).await;
        landed(&ground, other, 2).await;
        let folder = ground.folder();
        let before = newest(&folder);
        ground.land(&[of_columns(vec![("v", longs(&[])), ("new", texts(&[]))])], WriteMode::Append).await.unwrap();

        let after = newest(&folder);
        assert_eq!(after.version, Some(before.version.unwrap() + 1));
        let log = folder.join(format!("_delta_log/{:020}.json", after.version.unwrap()));
        let log: Vec<serde_json::Value> =
            std::fs::read_to_string(log).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        for kind in ["add", "remove"] {
            let files: Vec<_> = log.iter().filter_map(|action| action.get(kind)).collect();
            assert_eq!(files.len(), 2, "{kind}");
            assert!(files.iter().all(|file| file["dataChange"] == false), "{kind}");
        }
        assert!(!log.iter().any(|action| action.get("txn").is_some()));
        assert_eq!(column(&folder, "v").data_type(), &DataType::Int64);
        assert_eq!((column(&folder, "new").null_count(), row_count(&folder)), (2, 3));
        let stats = after.files.iter().map(|file| file["stats"].as_str().unwrap());
        assert!(stats.clone().all(|stats| stats.contains("\"minValues\":{\"v\":")), "{:?}", stats.collect::<Vec<_>>());
        // Older versions still have their own files and schema.
        let older = crate::reader::at(&folder, before.version.unwrap());
        assert!(batches(&folder, &older).iter().all(|rows| rows.column(0).data_type() == &DataType::Int32));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_landed_before_a_widening_are_not_committed_after_it() {
    for ground in Ground::all() {
        landed(&ground, of_columns(vec![("v", ints(&[1]))]), 1).await;
        let slow = ground.land(&[of_columns(vec![("v", ints(&[2]))])], WriteMode::Append).await.unwrap();
        assert!(ground.lake.has(&ground.location, &slow.files).await.unwrap());
        ground.land(&[of_columns(vec![("v", longs(&[3]))])], WriteMode::Append).await.unwrap();
        assert!(!ground.lake.has(&ground.location, &slow.files).await.unwrap(), "they are no good any more");
        let error = ground.commit(&slow, 2, WriteMode::Append).await.unwrap_err();
        assert!(matches!(&error, LakeError::Transient(fault) if fault.message.contains("column v")), "{error:?}");
        assert_eq!(landed(&ground, of_columns(vec![("v", ints(&[2]))]), 2).await.len(), 1);
        assert_eq!(&column(&ground.folder(), "v"), &longs(&[1, 2]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overwrite_keeps_the_types_and_says_so() {
    for ground in Ground::all() {
        landed(&ground, of_columns(vec![("v", ints(&[1]))]), 1).await;
        let wider = of_columns(vec![("v", longs(&[3]))]);
        let (message, hint) = definite(ground.land(&[wider], WriteMode::Overwrite).await);
        assert!(message.contains("column v is long in the source but integer in the table"), "{message}");
        assert!(hint.contains("an overwrite replaces the rows and keeps the types"), "{hint}");
        let narrower = of_columns(vec![("v", Arc::new(arrow_array::Int8Array::from(vec![7])) as ArrayRef)]);
        let small = ground.land(&[narrower], WriteMode::Overwrite).await.unwrap();
        ground.commit(&small, 2, WriteMode::Overwrite).await.unwrap();
        assert_eq!(&column(&ground.folder(), "v"), &ints(&[7]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn types_that_meet_nowhere_are_a_definite_error_that_changes_nothing() {
    let days: ArrayRef = Arc::new(Date32Array::from(vec![1]));
    for (before, after) in [(ints(&[1]), texts(&["x"])), (texts(&["x"]), days.clone()), (days, longs(&[1]))] {
        for ground in Ground::all() {
            let files = |ground: &Ground| (newest(&ground.folder()).version, data_files(&ground.folder()).len());
            landed(&ground, of_columns(vec![("v", before.clone())]), 1).await;
            let untouched = files(&ground);
            let more = of_columns(vec![("v", after.clone()), ("new", longs(&[1]))]);
            let (message, hint) = definite(ground.land(&[more], WriteMode::Append).await);
            assert!(message.starts_with("column v is "), "{message}");
            assert!(hint.contains("leave v out"), "{hint}");
            assert_eq!(files(&ground), untouched);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn under_fail_any_difference_is_refused_and_the_table_is_unchanged() {
    let (id, note) = (|| ("id", ints(&[1])), || ("note", texts(&["x"])));
    let changed: [(&str, Vec<(&str, ArrayRef)>); 6] = [
        ("column more is not in the table", vec![id(), note(), ("more", ints(&[1]))]),
        ("column note of the table is not read from the source", vec![id()]),
        ("column remark is likely column note under a new name", vec![id(), ("remark", texts(&["x"]))]),
        ("column id is long in the source but integer in the table", vec![("id", longs(&[1])), note()]),
        (
            "column id is short in the source but integer in the table",
            vec![("id", Arc::new(arrow_array::Int16Array::from(vec![1]))), note()],
        ),
        ("column note is integer in the source but string in the table", vec![id(), ("note", ints(&[1]))]),
    ];
    for ground in Ground::all() {
        let rows = of_columns(vec![id(), note()]);
        landed(&ground, rows.clone(), 1).await;
        let again = ground.land_under(&[rows], WriteMode::Append, SchemaChange::Fail).await.unwrap();
        ground.commit(&again, 2, WriteMode::Append).await.unwrap();
        for (named, columns) in changed.clone() {
            let opened = ground.land_under(&[of_columns(columns)], WriteMode::Append, SchemaChange::Fail).await;
            let (message, hint) = definite(opened);
            assert!(message.contains(named) && hint.contains("schemaChange"), "{message}: {hint}");
        }
        let folder = ground.folder();
        assert_eq!((newest(&folder).version, row_count(&folder), data_files(&folder).len()), (Some(1), 2, 2));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_column_is_one_that_went_and_one_that_came() {
    for ground in Ground::all() {
        landed(&ground, of_columns(vec![("id", ints(&[1])), ("mail", texts(&["a@b"]))]), 1).await;
        let renamed = of_columns(vec![("id", ints(&[2])), ("e mail", texts(&["c@d"]))]);
        let notes = landed(&ground, renamed.clone(), 2).await;
        assert!(notes.iter().any(|note| note.contains("column e_mail is likely column mail")), "{notes:?}");
        let folder = ground.folder();
        assert_eq!(column(&folder, "mail").as_ref(), &StringArray::from(vec![Some("a@b"), None]));
        assert_eq!(column(&folder, "e_mail").as_ref(), &StringArray::from(vec![None, Some("c@d")]));
        let notes = landed(&ground, renamed, 3).await;
        assert!(!notes.iter().any(|note| note.contains("likely")), "said once: {notes:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_widen_one_table_at_once_and_every_row_is_there_once() {
    for ground in Ground::all() {
        for ordinal in 1..=3 {
            landed(&ground, of_columns(vec![("v", ints(&[i32::try_from(ordinal).unwrap()]))]), ordinal).await;
        }
        let wider = [of_columns(vec![("v", longs(&[9]))])];
        let tries = (0..4).map(|_| ground.land(&wider, WriteMode::Append));
        let all = futures::future::join_all(tries).await;
        let all: Vec<_> = all.into_iter().map(Result::unwrap).collect();
        ground.commit(all.last().unwrap(), 4, WriteMode::Append).await.unwrap();
        let values = column(&ground.folder(), "v");
        let values = values.as_any().downcast_ref::<Int64Array>().unwrap();
        let mut values: Vec<i64> = values.values().to_vec();
        values.sort_unstable();
        assert_eq!(values, [1, 2, 3, 9]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_table_is_widened_beside_commits_of_others_and_every_row_is_there_once() {
    for ground in Ground::all() {
        landed(&ground, of_columns(vec![("v", ints(&[0]))]), 1).await;
        let landing = async {
            for ordinal in 2..=20 {
                let row = of_columns(vec![("v", ints(&[i32::try_from(ordinal).unwrap() - 1]))]);
                // What was landed in the old type is landed again, as a run's next attempt does.
                loop {
                    let landed = ground.land(std::slice::from_ref(&row), WriteMode::Append).await.unwrap();
                    match ground.commit(&landed, ordinal, WriteMode::Append).await {
                        Ok(_) => break,
                        Err(LakeError::Transient(_)) => {}
                        Err(error) => panic!("{error:?}"),
                    }
                }
            }
        };
        let wider = [of_columns(vec![("v", longs(&[]))])];
        let widening = async {
            // Somewhere in the middle of the others.
            while newest(&ground.folder()).version < Some(5) {
                tokio::task::yield_now().await;
            }
            ground.land(&wider, WriteMode::Append).await.unwrap();
        };
        futures::join!(landing, widening);
        let values = column(&ground.folder(), "v");
        let mut values = values.as_any().downcast_ref::<Int64Array>().unwrap().values().to_vec();
        values.sort_unstable();
        assert_eq!(values, (0..20).collect::<Vec<_>>());
    }
}
