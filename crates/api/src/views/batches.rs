//! A batch in the Catalog's shape (platform-services.md 2.4, appendix A6).

use headwaters_model::batch::Batch;
use headwaters_model::resource::Resource;
use serde_json::{Map, Value, json};

/// The version that every batch shows: it is written once, when its run is over.
const VERSION: &str = "1.0.0";

/// The document that stands under the batch's id.
pub(crate) fn view(batch: &Resource<Batch>) -> Map<String, Value> {
    let Batch { data_set_id, flow_id, run_id, status, totals, files, errors, .. } = &batch.body;
    let shown = json!({
        "id": batch.id,
        "externalId": batch.id,
        "status": status,
        "version": VERSION,
        "imsOrg": batch.scope.org,
        "sandboxId": batch.scope.sandbox,
        "created": batch.created.at_ms,
        "started": batch.body.started_at_ms,
        "completed": batch.body.completed_at_ms,
        "updated": batch.updated.at_ms,
        "createdClient": batch.created.by.client,
        "createdUser": batch.created.by.user,
        "updatedUser": batch.updated.by.user,
        "inputFormat": { "format": "parquet" },
        "relatedObjects": [{ "type": "dataSet", "id": data_set_id }],
        "tags": { "flowId": [flow_id], "flowRunId": [run_id] },
        "recordCount": totals.rows_out,
        "failedRecordCount": totals.rows_rejected,
        "size": totals.bytes_out,
        "metrics": {
            "inputByteSize": totals.bytes_in,
            "inputRecordCount": totals.rows_in,
            "outputByteSize": totals.bytes_out,
            "outputRecordCount": totals.rows_out,
            "outputFileCount": files.len(),
            "failedRecordCount": totals.rows_rejected,
        },
        "errors": errors,
    });
    match shown {
        Value::Object(document) => document,
        _ => Map::new(),
    }
}
