//! Flow specs (flow-service.md 12.2).

use utoipa::ToSchema;

use super::JsonSchema;
use super::spec::{Entitlement, PermissionsInfo, Policy};

/// A kind of flow.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FlowSpecDocument {
    /// Its id.
    #[schema(format = "uuid")]
    id: String,
    /// Its name.
    #[schema(example = "CRMToAEP")]
    name: String,
    /// Who provides it.
    provider_id: String,
    /// Its version.
    #[schema(required = false)]
    version: String,
    /// As it was sent.
    #[schema(required = false)]
    r#type: String,
    /// The kinds of source that it reads.
    #[schema(required = false)]
    source_connection_spec_ids: Vec<String>,
    /// The kinds of target that it lands in.
    #[schema(required = false)]
    target_connection_spec_ids: Vec<String>,
    /// What `options` of a flow holds.
    #[schema(required = false)]
    option_spec: NamedSchema,
    /// What `transformations` of a flow hold.
    #[schema(required = false)]
    transformation_specs: Vec<NamedSchema>,
    /// The same under the name that other samples have.
    #[schema(required = false)]
    transformation_spec: Vec<NamedSchema>,
    /// What `scheduleParams` of a flow holds.
    #[schema(required = false)]
    schedule_spec: NamedSchema,
    /// What `params` of a run on demand holds.
    #[schema(required = false)]
    run_spec: NamedSchema,
    /// What it is and what it can do.
    #[schema(required = false)]
    attributes: FlowSpecAttributes,
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

/// A schema with a name.
#[derive(ToSchema)]
pub(crate) struct NamedSchema {
    /// Its name.
    #[schema(required = false)]
    name: String,
    /// Its kind.
    #[schema(required = false)]
    r#type: String,
    /// The schema.
    #[schema(required = false)]
    spec: JsonSchema,
}

/// What a kind of flow is and can do. Fields that are not described here are shown as they were sent.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FlowSpecAttributes {
    /// Whether it brings data in.
    #[schema(required = false)]
    is_source_flow: bool,
    /// `false` for one that is known and not built here.
    #[schema(required = false)]
    is_available: bool,
    /// Whether drafts can be made of it.
    #[schema(required = false)]
    is_draft_mode_supported: bool,
    /// Whether its fields are checked against labels.
    #[schema(required = false)]
    flac_validation_supported: bool,
    /// `batch`.
    #[schema(required = false)]
    frequency: String,
    /// Whom its runs are told to.
    #[schema(required = false)]
    notification: Notification,
}

/// Whom the runs of a kind of flow are told to.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Notification {
    /// Its category.
    #[schema(required = false)]
    category: String,
    /// About runs.
    #[schema(required = false)]
    flow_run: NotificationSwitch,
}

/// Whether something is told.
#[derive(ToSchema)]
pub(crate) struct NotificationSwitch {
    /// Whether it is.
    #[schema(required = false)]
    enabled: bool,
}
