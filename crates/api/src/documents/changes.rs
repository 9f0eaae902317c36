//! What changing, acting and searching take (flow-service.md 8 to 10).

use serde_json::Value;
use utoipa::ToSchema;

use super::flow::RecordType;
use super::{AnyObject, ErrorEntry};

/// A change: instructions that are carried out in their order, all or none.
#[derive(ToSchema)]
#[serde(untagged)]
pub(crate) enum PatchDocument {
    /// Several.
    Instructions(Vec<PatchInstruction>),
    /// One alone, as some samples send it.
    Instruction(PatchInstruction),
}

/// One instruction of a change.
#[derive(ToSchema)]
pub(crate) struct PatchInstruction {
    /// `add`, `replace` or `remove`, in any case.
    #[schema(example = "replace")]
    op: String,
    /// A JSON pointer.
    #[schema(example = "/description")]
    path: String,
    /// With what; not needed to remove.
    #[schema(required = false)]
    value: Value,
}

/// How far an action is, told by the provider that carries it out.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StateActionDocument {
    /// How much of it is done.
    #[schema(required = false)]
    percent_completed: f64,
    /// How far it is.
    #[schema(required = false)]
    status: ActionStatus,
    /// What it was about.
    #[schema(required = false)]
    record_types: Vec<RecordType>,
}

/// How far an action is.
#[derive(ToSchema)]
pub(crate) struct ActionStatus {
    /// In one word.
    #[schema(required = false)]
    value: ActionStatusValue,
    /// What else is known.
    #[schema(required = false)]
    properties: AnyObject,
    /// What went wrong.
    #[schema(required = false)]
    errors: Vec<ErrorEntry>,
}

/// How far an action is, in one word.
#[derive(ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum ActionStatusValue {
    InProgress,
    Completed,
    Success,
    PartialSuccess,
    Failed,
    PartialFailure,
    Queued,
    Scheduled,
}
