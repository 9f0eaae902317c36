//! Reads a committed table without the code under test: the log as JSON lines, the files with Arrow's Parquet reader.

use std::fs::{self, File};
use std::path::Path;

use arrow_array::{Array, ArrayRef, RecordBatch, new_null_array};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

/// What the log says, up to a version.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) version: Option<u64>,
    /// The `add` actions of the files that are in the table.
    pub(crate) files: Vec<Value>,
    pub(crate) schema: Value,
    pub(crate) protocol: Value,
    /// The `commitInfo` of the last version.
    pub(crate) commit_info: Value,
}

impl Snapshot {
    /// The names of the columns.
    pub(crate) fn columns(&self) -> Vec<&str> {
        self.schema["fields"].as_array().unwrap().iter().map(|field| field["name"].as_str().unwrap()).collect()
    }
}

/// The newest state; no version where there is no log.
pub(crate) fn newest(folder: &Path) -> Snapshot {
    at(folder, u64::MAX)
}

/// The state at a version.
pub(crate) fn at(folder: &Path, version_max: u64) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for version in 0..=version_max {
        let Ok(entry) = fs::read_to_string(folder.join(format!("_delta_log/{version:020}.json"))) else { break };
        snapshot.version = Some(version);
        for line in entry.lines() {
            let action: Value = serde_json::from_str(line).unwrap();
            let (kind, body) = action.as_object().unwrap().iter().next().unwrap();
            match kind.as_str() {
                "add" => snapshot.files.push(body.clone()),
                "remove" => snapshot.files.retain(|file| file["path"] != body["path"]),
                "metaData" => {
                    snapshot.schema = serde_json::from_str(body["schemaString"].as_str().unwrap()).unwrap();
                }
                "protocol" => snapshot.protocol = body.clone(),
                "commitInfo" => snapshot.commit_info = body.clone(),
                "txn" => {}
                other => panic!("an action that we never write: {other}"),
            }
        }
    }
    snapshot
}

/// The rows of every file of a snapshot, one batch per file.
pub(crate) fn batches(folder: &Path, snapshot: &Snapshot) -> Vec<RecordBatch> {
    let read = |file: &Value| {
        let file = File::open(folder.join(file["path"].as_str().unwrap())).unwrap();
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().with_batch_size(1 << 20);
        let schema = builder.schema().clone();
        let batches: Vec<_> = builder.build().unwrap().map(Result::unwrap).collect();
        arrow_select::concat::concat_batches(&schema, &batches).unwrap()
    };
    snapshot.files.iter().map(read).collect()
}

/// The values of one column of the newest version, file after file, with nulls where a file lacks it. All files that have
/// it must have it in one type.
pub(crate) fn column(folder: &Path, name: &str) -> ArrayRef {
    let batches = batches(folder, &newest(folder));
    let data_type = batches.iter().find_map(|rows| rows.column_by_name(name)).unwrap().data_type().clone();
    let columns: Vec<ArrayRef> = batches
        .iter()
        .map(|rows| rows.column_by_name(name).cloned().unwrap_or_else(|| new_null_array(&data_type, rows.num_rows())))
        .collect();
    let columns: Vec<&dyn Array> = columns.iter().map(AsRef::as_ref).collect();
    arrow_select::concat::concat(&columns).expect("one type in all files")
}

/// How many rows a table has.
pub(crate) fn row_count(folder: &Path) -> usize {
    batches(folder, &newest(folder)).iter().map(RecordBatch::num_rows).sum()
}

/// The names of everything below a folder that is not the log.
pub(crate) fn data_files(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name != "_delta_log").collect()
}
