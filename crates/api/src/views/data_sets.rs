//! A data set in the Catalog's shape (platform-services.md 2.3, appendix A5).

use headwaters_model::data_set::DataSet;
use headwaters_model::resource::Resource;
use serde_json::{Map, Value, json};

/// The namespace that every data set shows.
const NAMESPACE: &str = "ACP";
/// How many hex digits an id of the Catalog has.
const ID_DIGITS: usize = 24;

/// The document that stands under the data set's id.
pub(crate) fn view(data_set: &Resource<DataSet>) -> Map<String, Value> {
    let DataSet { name, description, location, schema_ref, tags, as_sent, .. } = &data_set.body;
    let view_id = view_id(data_set.id.as_str());
    let shown = json!({
        "name": name,
        "description": description,
        "imsOrg": data_set.scope.org,
        "sandboxId": data_set.scope.sandbox,
        "version": data_set.body.version(),
        "created": data_set.created.at_ms,
        "updated": data_set.updated.at_ms,
        "createdClient": data_set.created.by.client,
        "createdUser": data_set.created.by.user,
        "updatedUser": data_set.updated.by.user,
        "schemaRef": schema_ref,
        "tags": tags,
        "classification": { "dataBehavior": "record", "managedBy": "CUSTOMER" },
        "fileDescription": file_description(as_sent.get("fileDescription")),
        "viewId": view_id,
        "files": format!("@/dataSets/{}/views/{view_id}/files", data_set.id),
        "location": location,
        "enableErrorDiagnostics": data_set.body.enable_error_diagnostics,
        "lastBatchId": data_set.body.last_batch.as_ref().map(|batch| &batch.id),
        "lastBatchStatus": data_set.body.last_batch.as_ref().map(|batch| batch.status),
        "lastSuccessfulBatch": data_set.body.last_successful_batch,
        "lastFailedBatch": data_set.body.last_failed_batch,
        "observableSchema": {},
        "state": "DRAFT",
        "dule": {},
        "statsCache": {},
        "namespace": NAMESPACE,
    });
    let Value::Object(mut document) = shown else { return Map::new() };
    document.retain(|_, value| !value.is_null());
    document.extend(
        as_sent
            .iter()
            .filter(|(name, _)| *name != "fileDescription")
            .map(|(name, value)| (name.clone(), value.clone())),
    );
    document
}

/// How the files are made: what every data set says, with what was sent over it.
fn file_description(sent: Option<&Value>) -> Value {
    let mut description = json!({ "persisted": true, "containerFormat": "parquet", "format": "parquet" });
    if let (Value::Object(description), Some(Value::Object(sent))) = (&mut description, sent) {
        description.extend(sent.clone());
    }
    description
}

/// The id of the only view of a data set: the number after its own, as in the published samples.
fn view_id(id: &str) -> String {
    let number = u128::from_str_radix(id, 16).unwrap_or_default();
    let next = number.wrapping_add(1) & ((1 << (4 * ID_DIGITS)) - 1);
    format!("{next:0ID_DIGITS$x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_has_the_id_after_that_of_its_data_set() {
        assert_eq!(view_id("65a0c3d2e1f0b9a897867564"), "65a0c3d2e1f0b9a897867565");
        assert_eq!(view_id("ffffffffffffffffffffffff"), "000000000000000000000000");
    }
}
