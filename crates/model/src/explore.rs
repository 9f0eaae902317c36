//! What a source shows of itself: its server, its tables, their columns and a few rows (flow-service.md 13.4, 13.5).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// How many rows a preview holds (flow-service.md 13.5).
pub const PREVIEW_ROWS_MAX: u32 = 100;

/// Whom a connection test has reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerInfo {
    /// The product, e.g. `MariaDB`.
    pub server: String,
    /// Its version as numbers, e.g. `10.11.19`.
    pub version: String,
    /// What was negotiated, `none` or `TLSv1.3 / cipher / verified: chain+name | chain | no` (mysql-sources.md 4).
    pub tls: String,
    /// The account as the server sees it, e.g. `reader@localhost`.
    pub account: String,
    /// What lacks or will hurt later, one sentence each: missing privileges and what they cost, a cold
    /// caching_sha2_password cache on a plain connection, keys of the connection string that are ignored.
    pub notes: Vec<String>,
}

/// Whether an object is a table or a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TableKind {
    /// A table, system-versioned ones too.
    Table,
    /// A view.
    View,
}

/// One line of the list of tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedTable {
    /// `database.table`; what goes into `object` and `params.tableName`.
    pub path: String,
    /// Table or view.
    pub kind: TableKind,
    /// False for a view that is broken.
    pub readable: bool,
}

/// The types that `explore` advertises; the lake keeps more exact ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ColumnType {
    /// Text, and everything that previews as text.
    String,
    /// True or false.
    Boolean,
    /// Floating point, and every decimal with a fraction.
    Double,
    /// Fits 32 bits.
    Integer,
    /// Fits 64 bits.
    Long,
    /// A date or a moment.
    DateTime,
}

/// A column of a table or a view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExploredColumn {
    /// Its name in the source.
    pub name: String,
    /// The advertised type.
    pub column_type: ColumnType,
}

/// A table with its columns, and rows where a preview was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExploredTable {
    /// The resolved path, `database.table`.
    pub path: String,
    /// The visible columns in their order.
    pub columns: Vec<ExploredColumn>,
    /// Up to [`PREVIEW_ROWS_MAX`] rows keyed by column name, values in the JSON form of flow-service.md 13.5.
    pub preview: Option<Vec<Map<String, Value>>>,
}

impl TableKind {
    /// As it stands in `type` of a listed table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::View => "view",
        }
    }
}

impl ListedTable {
    /// The element of the array that `objectType=root` answers (flow-service.md 13.5).
    #[must_use]
    pub fn to_wire(&self) -> Value {
        json!({
            "type": self.kind.name(),
            "name": self.path,
            "path": self.path,
            "canPreview": self.readable,
            "canFetchSchema": self.readable,
        })
    }
}

impl ColumnType {
    /// As it is advertised: the date-time is a string with a mark of its own.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::String | Self::DateTime => "string",
            Self::Boolean => "boolean",
            Self::Double => "double",
            Self::Integer => "integer",
            Self::Long => "long",
        }
    }

    /// The matching XDM type (flow-service.md 13.5).
    #[must_use]
    pub fn xdm(self) -> Value {
        match self {
            Self::String => json!({ "type": "string" }),
            Self::Boolean => json!({ "type": "boolean" }),
            Self::Double => json!({ "type": "number" }),
            Self::Integer => json!({ "type": "integer", "minimum": i32::MIN, "maximum": i32::MAX }),
            Self::Long => {
                json!({ "type": "integer", "minimum": -9_007_199_254_740_992_i64, "maximum": 9_007_199_254_740_991_i64 })
            }
            Self::DateTime => json!({ "type": "string", "format": "date-time" }),
        }
    }
}

impl ExploredColumn {
    /// The column as explore shows it.
    #[must_use]
    pub fn to_wire(&self) -> Value {
        let mut shown = json!({ "name": self.name, "type": self.column_type.name() });
        if self.column_type == ColumnType::DateTime {
            shown["meta:xdmType"] = json!("date-time");
        }
        shown["xdm"] = self.column_type.xdm();
        shown
    }
}

impl ExploredTable {
    /// The object that `objectType=table` answers, `data` only with a preview.
    #[must_use]
    pub fn to_wire(&self) -> Value {
        let columns: Vec<Value> = self.columns.iter().map(ExploredColumn::to_wire).collect();
        let mut shown = json!({ "format": "flat", "schema": { "columns": columns } });
        if let Some(rows) = &self.preview {
            shown["data"] = rows.iter().cloned().map(Value::Object).collect();
        }
        shown
    }
}
