//! Source connections: what is read (flow-service.md 14).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::id::{ConnectionId, SourceConnectionId};
use crate::resource::{Collection, Kind, LastOperation};
use crate::spec::SpecRef;

/// The only format of a table source, and the default.
pub const FORMAT_TABULAR: &str = "tabular";

/// The body of a source connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceConnection {
    /// Its name; need not be unique.
    pub name: String,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub description: Option<String>,
    /// The base connection; absent only in a draft.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub base_connection_id: Option<ConnectionId>,
    /// In which form the data comes.
    pub data: SourceData,
    /// The kind of source, that of the base connection.
    pub connection_spec: SpecRef,
    /// The parameters as sent: `tableName`, `columns`, `filters`, `cdcEnabled`.
    #[serde(default)]
    pub params: Map<String, Value>,
    /// What it takes over from the base connection; absent in a draft without one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub inherited_attributes: Option<SourceInheritance>,
    /// What was last done to it.
    pub last_operation: LastOperation,
}

/// In which form the data of a source comes; the explicit nulls are part of the published shape (flow-service.md 5).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceData {
    /// `tabular`.
    pub format: String,
    /// Null for table sources.
    #[serde(default)]
    pub schema: Option<Value>,
    /// Null for table sources.
    #[serde(default)]
    pub properties: Option<Value>,
}

/// What a source connection takes over from its base connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceInheritance {
    /// The base connection.
    pub base_connection: InheritedConnection,
}

/// A connection as those that use it show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InheritedConnection {
    /// Its id.
    pub id: String,
    /// Its kind.
    pub connection_spec: SpecRef,
    /// The base connection of a source connection.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub base_connection: Option<Box<InheritedConnection>>,
}

impl SourceConnection {
    /// The table to read, `database.table`.
    #[must_use]
    pub fn table_name(&self) -> Option<&str> {
        self.params.get("tableName")?.as_str()
    }

    /// The names of the columns to read, in order; none means all (flow-service.md 14.1).
    #[must_use]
    pub fn column_names(&self) -> Option<Vec<String>> {
        let columns = self.params.get("columns")?.as_array()?;
        let names = columns.iter().filter_map(|column| column.get("name")?.as_str());
        if columns.is_empty() { None } else { Some(names.map(str::to_owned).collect()) }
    }

    /// The row filter: a PQL document (flow-service.md 14.3).
    #[must_use]
    pub fn filters(&self) -> Option<&Value> {
        self.params.get("filters").filter(|filters| !filters.is_null())
    }
}

impl Default for SourceData {
    fn default() -> Self {
        Self { format: FORMAT_TABULAR.to_owned(), schema: None, properties: None }
    }
}

impl Kind for SourceConnection {
    type Id = SourceConnectionId;
    const COLLECTION: Collection = Collection::SourceConnections;

    fn mint() -> SourceConnectionId {
        SourceConnectionId::mint()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn source(params: Value) -> SourceConnection {
        let operation = LastOperation::create(crate::resource::State::Enabled, 0);
        let spec = SpecRef::new(crate::spec::MYSQL);
        let body = json!({
            "name": "orders", "data": { "format": "tabular" }, "connectionSpec": spec, "params": params,
            "lastOperation": operation,
        });
        serde_json::from_value(body).unwrap()
    }

    #[test]
    fn the_columns_are_read_in_the_order_in_which_they_were_sent() {
        let params =
            json!({ "tableName": "shop.orders", "columns": [{ "name": "total", "type": "double" }, { "name": "id" }] });
        let source = source(params);
        assert_eq!(source.table_name(), Some("shop.orders"));
        assert_eq!(source.column_names(), Some(vec!["total".to_owned(), "id".to_owned()]));
        assert_eq!(source.filters(), None);
    }

    #[test]
    fn no_columns_mean_all_of_them() {
        for params in [json!({}), json!({ "columns": [] }), json!({ "columns": null, "filters": null })] {
            let source = source(params);
            assert_eq!((source.column_names(), source.filters()), (None, None));
        }
    }

    #[test]
    fn the_published_nulls_are_shown() {
        assert_eq!(json!(source(json!({})).data), json!({ "format": "tabular", "schema": null, "properties": null }));
    }
}
