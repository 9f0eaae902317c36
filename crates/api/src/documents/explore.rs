//! What explore and its neighbours answer (flow-service.md 13.4, 13.5).

use utoipa::ToSchema;

use super::AnyObject;

/// A table or a view of a source.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListedTableDocument {
    /// `table` or `view`.
    r#type: String,
    /// The same as `path`.
    name: String,
    /// What goes into `object` and into `params.tableName`.
    #[schema(example = "shop.orders")]
    path: String,
    /// Whether rows can be shown.
    can_preview: bool,
    /// Whether columns can be shown.
    can_fetch_schema: bool,
}

/// One table with its columns, and with some rows where they were asked for.
#[derive(ToSchema)]
pub(crate) struct ExploredTableDocument {
    /// `flat`.
    format: String,
    /// Its columns.
    schema: ExploredSchema,
    /// Up to 100 rows, keyed by column.
    #[schema(required = false)]
    data: Vec<AnyObject>,
}

/// The columns of a table.
#[derive(ToSchema)]
pub(crate) struct ExploredSchema {
    /// In their order.
    columns: Vec<ExploredColumnDocument>,
}

/// A column of a table.
#[derive(ToSchema)]
pub(crate) struct ExploredColumnDocument {
    /// Its name.
    name: String,
    /// `string`, `boolean`, `double`, `integer` or `long`.
    r#type: String,
    /// `date-time`, for the texts that are moments.
    #[schema(required = false)]
    #[serde(rename = "meta:xdmType")]
    meta_xdm_type: String,
    /// The field's schema.
    xdm: super::JsonSchema,
}

/// What explore answers: for `root` the tables, for `table` one of them.
#[derive(ToSchema)]
#[serde(untagged)]
pub(crate) enum ExploreAnswer {
    /// All tables and views that the account sees.
    Root(Vec<ListedTableDocument>),
    /// One of them.
    Table(ExploredTableDocument),
}

/// The settings of a source: it has none.
#[derive(ToSchema)]
pub(crate) struct ConfigsDocument {
    /// Empty.
    items: Vec<AnyObject>,
}
