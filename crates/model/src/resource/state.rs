//! States and the legal moves between them, as data.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::resource::{Collection, UnknownName};

/// The states of a resource (flow-service.md 10.1). Our synchronous service writes the first three only; a document that
/// came from a hosted service may stand in one of the others, and must still be readable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// Incomplete, never used by a run.
    Draft,
    /// In use.
    Enabled,
    /// At rest.
    Disabled,
    /// Being made.
    Initializing,
    /// On its way to [`State::Disabled`].
    Disabling,
    /// On its way to [`State::Enabled`].
    Enabling,
    /// Being changed.
    Updating,
    /// Being deleted.
    Deleting,
    /// Waiting for its turn.
    Pending,
    /// At work on something that is not told.
    InProgress,
    /// Enabled but for its last steps.
    #[serde(rename = "enabled-finalizing")]
    EnabledFinalizing,
    /// Deleted but for its last traces.
    #[serde(rename = "delete-finalizing")]
    DeleteFinalizing,
}

/// What a client may ask of a resource beside a change of its fields (flow-service.md 10.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// From draft into use.
    Publish,
    /// From rest into use.
    Enable,
    /// From use to rest.
    Disable,
    /// A run once more, as a new one. No move between states: a run has none.
    ReTrigger,
}

/// Why the parameters `op` and `subOp` name no action (flow-service.md 10.2).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ActionError {
    /// No `op`, or an empty one (1359).
    #[error("the query parameter `op` is missing: it names the action")]
    Missing,
    /// Nothing that the collection offers (1398).
    #[error("there is no action `{op}` on {collection}: it can be {}", Offered(*collection))]
    Unknown {
        /// Which collection.
        collection: Collection,
        /// The word of the client, cut where it is very long.
        op: String,
    },
    /// `finalize` and `finalize-update` are the providers' (1402).
    #[error("only the provider of a connector may finalize what it was asked to do")]
    Finalize,
    /// A `subOp` that is none (1435).
    #[error("the query parameter `subOp` can only be apply, rollback or progress")]
    SubAction,
}

/// The actions of a collection in a sentence.
struct Offered(Collection);

impl fmt::Display for Offered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let offered = Action::ALL.into_iter().filter(|action| action.applies_to(self.0));
        let names: Vec<_> = offered.map(Action::name).collect();
        f.write_str(&if names.is_empty() { "none".to_owned() } else { names.join(", ") })
    }
}

/// The legal moves; whatever is not here is refused with 1422.
const MOVES: [(State, Action, State); 3] = [
    (State::Draft, Action::Publish, State::Enabled),
    (State::Disabled, Action::Enable, State::Enabled),
    (State::Enabled, Action::Disable, State::Disabled),
];

/// An action that the current state does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("action {} is not possible in state {}", .action.name(), .state.name())]
pub struct IllegalMove {
    /// The state that it is in.
    pub state: State,
    /// What was asked.
    pub action: Action,
}

impl State {
    /// The value on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
            Self::Initializing => "initializing",
            Self::Disabling => "disabling",
            Self::Enabling => "enabling",
            Self::Updating => "updating",
            Self::Deleting => "deleting",
            Self::Pending => "pending",
            Self::InProgress => "inProgress",
            Self::EnabledFinalizing => "enabled-finalizing",
            Self::DeleteFinalizing => "delete-finalizing",
        }
    }

    /// Whether a resource in this state may be changed or deleted (flow-service.md 9, errors 1416 and 1420).
    #[must_use]
    pub const fn is_editable(self) -> bool {
        matches!(self, Self::Draft | Self::Enabled | Self::Disabled | Self::Initializing)
    }

    /// The state after an action.
    pub fn after(self, action: Action) -> Result<Self, IllegalMove> {
        let legal = MOVES.iter().find(|(from, by, _)| (*from, *by) == (self, action));
        legal.map(|(.., to)| *to).ok_or(IllegalMove { state: self, action })
    }
}

impl FromStr for State {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        let all = [
            Self::Draft,
            Self::Enabled,
            Self::Disabled,
            Self::Initializing,
            Self::Disabling,
            Self::Enabling,
            Self::Updating,
            Self::Deleting,
            Self::Pending,
            Self::InProgress,
            Self::EnabledFinalizing,
            Self::DeleteFinalizing,
        ];
        all.into_iter().find(|state| state.name() == name).ok_or_else(|| UnknownName(name.to_owned()))
    }
}

impl Action {
    const ALL: [Self; 4] = [Self::Publish, Self::Enable, Self::Disable, Self::ReTrigger];

    /// The name of the action: lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Enable => "enable",
            Self::Disable => "disable",
            Self::ReTrigger => "re-trigger",
        }
    }

    /// Which actions a collection offers: runs can be repeated, flows know all moves, everything else that has a state
    /// only `publish`.
    #[must_use]
    pub fn applies_to(self, collection: Collection) -> bool {
        match self {
            Self::ReTrigger => collection == Collection::Runs,
            Self::Publish => collection.has_state(),
            Self::Enable | Self::Disable => collection == Collection::Flows,
        }
    }

    /// Reads the query of `POST …/action`: the documented spelling and the one of the published schema alike,
    /// `re-trigger` and `RE_TRIGGER`.
    ///
    /// `subOp` means nothing for the actions that there are; it only has to be one of those published. Finalizing is
    /// refused whatever stands beside it.
    pub fn read(collection: Collection, op: Option<&str>, sub_op: Option<&str>) -> Result<Self, ActionError> {
        const CHARS_MAX: usize = 100;
        let op = op.map(str::trim).filter(|op| !op.is_empty()).ok_or(ActionError::Missing)?;
        let normal = normal(op);
        if matches!(normal.as_str(), "finalize" | "finalize-update") {
            return Err(ActionError::Finalize);
        }
        let known = Self::ALL.into_iter().find(|action| action.applies_to(collection) && action.name() == normal);
        let unknown = || ActionError::Unknown { collection, op: op.chars().take(CHARS_MAX).collect() };
        let action = known.ok_or_else(unknown)?;
        match sub_op.map(self::normal).as_deref() {
            None | Some("" | "apply" | "rollback" | "progress") => Ok(action),
            Some(_) => Err(ActionError::SubAction),
        }
    }
}

/// A word in the documented spelling: lower case, parts joined by `-`.
fn normal(word: &str) -> String {
    word.trim().to_ascii_lowercase().replace('_', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_moves_of_the_picture_are_legal() {
        let states = [State::Draft, State::Enabled, State::Disabled];
        let actions = [Action::Publish, Action::Enable, Action::Disable];
        let legal = states.iter().flat_map(|state| actions.iter().filter_map(|action| state.after(*action).ok()));
        assert_eq!(legal.collect::<Vec<_>>(), [State::Enabled, State::Disabled, State::Enabled]);
        let refused = State::Draft.after(Action::Disable).unwrap_err();
        assert_eq!(refused.to_string(), "action disable is not possible in state draft");
    }

    #[test]
    fn what_is_on_its_way_to_another_state_can_be_read_but_not_changed() {
        for name in
            ["disabling", "updating", "deleting", "pending", "inProgress", "enabled-finalizing", "delete-finalizing"]
        {
            let state: State = name.parse().unwrap();
            assert_eq!((state.name(), state.is_editable()), (name, false));
            assert_eq!(serde_json::to_value(state).unwrap(), name);
        }
        assert!("initializing".parse::<State>().unwrap().is_editable());
    }

    #[test]
    fn actions_are_read_in_every_spelling() {
        let read = |collection, op, sub_op| Action::read(collection, Some(op), sub_op);
        assert_eq!(read(Collection::Connections, "PUBLISH", None), Ok(Action::Publish));
        assert_eq!(read(Collection::Flows, "enable", Some("APPLY")), Ok(Action::Enable));
        assert_eq!(read(Collection::Flows, "Disable", Some("")), Ok(Action::Disable));
        assert_eq!(read(Collection::Runs, "RE_TRIGGER", None), Ok(Action::ReTrigger));
        assert_eq!(read(Collection::Runs, "re-trigger", None), Ok(Action::ReTrigger));
    }

    #[test]
    fn each_slip_in_the_name_of_an_action_is_told_apart() {
        let slip = |op, sub_op| Action::read(Collection::Flows, op, sub_op).unwrap_err();
        assert_eq!((slip(None, None), slip(Some(" "), None)), (ActionError::Missing, ActionError::Missing));
        for finalize in ["finalize", "FINALIZE", "FINALIZE_UPDATE", "finalize-update"] {
            assert_eq!(slip(Some(finalize), Some("sideways")), ActionError::Finalize);
        }
        assert_eq!(slip(Some("enable"), Some("sideways")), ActionError::SubAction);
        assert_eq!(
            slip(Some("explode"), None).to_string(),
            "there is no action `explode` on flows: it can be publish, enable, disable"
        );
        let long = "x".repeat(1000);
        assert!(slip(Some(&long), None).to_string().len() < 200);
    }

    #[test]
    fn each_collection_offers_its_own_actions_only() {
        let refused = |collection, op| Action::read(collection, Some(op), None).is_err();
        for collection in [Collection::Connections, Collection::SourceConnections, Collection::TargetConnections] {
            assert!(!refused(collection, "publish") && refused(collection, "disable"));
        }
        assert!(refused(Collection::Runs, "publish") && refused(Collection::Flows, "re-trigger"));
        assert!(refused(Collection::ConnectionSpecs, "publish"));
    }
}
