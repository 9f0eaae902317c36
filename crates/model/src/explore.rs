//! What a source shows of itself: its server, its tables, their columns and a few rows (flow-service.md 13.4, 13.5).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

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
