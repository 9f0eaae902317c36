//! Connection specs, and what they share with flow specs (flow-service.md 12).

use utoipa::ToSchema;

use super::{AnyObject, JsonSchema};

/// A kind of source or target.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ConnectionSpecDocument {
    /// Its id.
    #[schema(format = "uuid")]
    id: String,
    /// Its name.
    #[schema(example = "mysql")]
    name: String,
    /// Who provides it.
    provider_id: String,
    /// Its version.
    #[schema(required = false)]
    version: String,
    /// As it was sent.
    #[schema(required = false)]
    r#type: String,
    /// The ways to log in.
    #[schema(required = false)]
    auth_spec: Vec<AuthSpecDocument>,
    /// As they were sent.
    #[schema(required = false)]
    encryption_specs: Vec<EncryptionSpec>,
    /// What is read from it.
    #[schema(required = false)]
    source_spec: SideSpec,
    /// What is written to it.
    #[schema(required = false)]
    target_spec: SideSpec,
    /// What explore takes and answers.
    #[schema(required = false)]
    explore_spec: ExploreSpec,
    /// What it is and what it can do.
    #[schema(required = false)]
    attributes: ConnectionSpecAttributes,
    /// As they were sent.
    #[schema(required = false)]
    settings: AnyObject,
    /// Who may use it.
    #[schema(required = false)]
    permissions_info: PermissionsInfo,
    /// As they were sent.
    #[schema(required = false)]
    entitlement_info: Vec<Entitlement>,
    /// As it was sent.
    #[schema(required = false)]
    policy: Policy,
}

/// A way to log in.
#[derive(ToSchema)]
pub(crate) struct AuthSpecDocument {
    /// What `auth.specName` names.
    #[schema(required = false, example = "Basic Authentication")]
    name: String,
    /// Its kind.
    #[schema(required = false)]
    r#type: String,
    /// What `auth.params` holds; secrets have the format `password`.
    #[schema(required = false)]
    spec: JsonSchema,
}

/// A way to encrypt; stored and shown.
#[derive(ToSchema)]
pub(crate) struct EncryptionSpec {
    /// Its name.
    #[schema(required = false)]
    name: String,
    /// Its kind.
    #[schema(required = false)]
    r#type: String,
    /// Its parameters.
    #[schema(required = false)]
    spec: JsonSchema,
}

/// What is read from a source, or written to a target.
#[derive(ToSchema)]
pub(crate) struct SideSpec {
    /// Its name.
    #[schema(required = false)]
    name: String,
    /// Its kind.
    #[schema(required = false)]
    r#type: String,
    /// What `params` of a source or target connection holds.
    #[schema(required = false)]
    spec: JsonSchema,
    /// How it is shown to people.
    #[schema(required = false)]
    attributes: SideAttributes,
}

/// How one side of a spec is shown to people.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SideAttributes {
    /// How it is shown to people.
    #[schema(required = false)]
    ui_attributes: UiAttributes,
}

/// How something is shown to people.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UiAttributes {
    /// Whether it is a source.
    #[schema(required = false)]
    is_source: bool,
    /// Whether it is a destination.
    #[schema(required = false)]
    is_destination: bool,
    /// Where more is written about it.
    #[schema(required = false)]
    documentation_link: String,
    /// Its category.
    #[schema(required = false)]
    category: TextKey,
    /// Its icon.
    #[schema(required = false)]
    icon: TextKey,
    /// Its description.
    #[schema(required = false)]
    description: TextKey,
    /// Its label.
    #[schema(required = false)]
    label: TextKey,
    /// What its API can do.
    #[schema(required = false)]
    api_features: ApiFeatures,
}

/// A text, by its key.
#[derive(ToSchema)]
pub(crate) struct TextKey {
    /// The key, or the text itself.
    key: String,
}

/// What the API of a source can do.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ApiFeatures {
    /// Whether explore answers in pages.
    #[schema(required = false)]
    explore_pagination_supported: bool,
}

/// What explore takes and answers.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ExploreSpec {
    /// Its name.
    #[schema(required = false)]
    name: String,
    /// Its kind.
    #[schema(required = false)]
    r#type: String,
    /// Its parameters.
    #[schema(required = false)]
    request_spec: JsonSchema,
    /// Its answers.
    #[schema(required = false)]
    response_spec: ExploreResponses,
}

/// What explore answers, by `objectType`.
#[derive(ToSchema)]
pub(crate) struct ExploreResponses {
    /// For `root`.
    #[schema(required = false)]
    root: JsonSchema,
    /// For `table`.
    #[schema(required = false)]
    table: JsonSchema,
    /// For `folder`, of a source that has some.
    #[schema(required = false)]
    folder: JsonSchema,
    /// For `file`, of a source that has some.
    #[schema(required = false)]
    file: JsonSchema,
}

/// What a kind of source or target is and can do. Fields that are not described here are shown as they were sent.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ConnectionSpecAttributes {
    /// Its category.
    #[schema(required = false, example = "Databases")]
    category: String,
    /// Its name for people.
    #[schema(required = false, example = "MySQL")]
    connector_name: String,
    /// Whether it can be read.
    #[schema(required = false)]
    is_source: bool,
    /// Whether it can be written.
    #[schema(required = false)]
    is_target: bool,
    /// `false` for one that is known and not built here.
    #[schema(required = false)]
    is_available: bool,
    /// Whether drafts can be made of it.
    #[schema(required = false)]
    is_draft_mode_supported: bool,
    /// How it is shown to people.
    #[schema(required = false)]
    ui_attributes: UiAttributes,
    /// Which row filters it takes.
    #[schema(required = false)]
    filter_at_source: FilterAtSource,
}

/// Which row filters a source takes.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FilterAtSource {
    /// Whether it takes any.
    enabled: bool,
    /// What they become.
    #[schema(required = false)]
    query_language: String,
    /// How comparisons are joined.
    #[schema(required = false)]
    logical_operators: Vec<String>,
    /// How columns are compared.
    #[schema(required = false)]
    comparison_operators: Vec<String>,
    /// What stands around a column's name.
    #[schema(required = false)]
    column_name_escape_char: String,
    /// What stands around a value.
    #[schema(required = false)]
    value_escape_char: String,
}

/// Who may use a spec.
#[derive(ToSchema)]
pub(crate) struct PermissionsInfo {
    /// Who may make and change what it is for.
    #[schema(required = false)]
    manage: Vec<Permission>,
    /// Who may see it.
    #[schema(required = false)]
    view: Vec<Permission>,
}

/// A permission.
#[derive(ToSchema)]
pub(crate) struct Permission {
    /// `lowLevel`.
    #[schema(required = false)]
    #[serde(rename = "@type")]
    at_type: String,
    /// On what.
    #[schema(required = false)]
    name: String,
    /// `read` or `write`.
    #[schema(required = false)]
    permissions: Vec<String>,
}

/// Who may do what; stored and shown.
#[derive(ToSchema)]
pub(crate) struct Entitlement {
    /// What.
    #[schema(required = false)]
    operation: String,
    /// Who.
    #[schema(required = false)]
    entitlements: Vec<String>,
}

/// Labels and rules; stored and shown.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Policy {
    /// Labels.
    #[schema(required = false)]
    dule_labels: Vec<String>,
    /// Rules.
    #[schema(required = false)]
    enforcement_refs: Vec<String>,
}
