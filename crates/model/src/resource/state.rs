//! States and the legal moves between them, as data.

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

/// What a client may ask of a resource's state (flow-service.md 10.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// From draft into use.
    Publish,
    /// From rest into use.
    Enable,
    /// From use to rest.
    Disable,
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
    /// The name of the action: lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Enable => "enable",
            Self::Disable => "disable",
        }
    }

    /// Which actions a collection knows at all; flows know all, everything else that has a state only `publish`.
    #[must_use]
    pub fn applies_to(self, collection: Collection) -> bool {
        collection == Collection::Flows || (self == Self::Publish && collection.has_state())
    }
}

impl FromStr for Action {
    type Err = UnknownName;

    /// Reads the documented spelling and the one of the published schema: `re-trigger` and `RE_TRIGGER` alike.
    fn from_str(name: &str) -> Result<Self, UnknownName> {
        let normal = name.to_ascii_lowercase().replace('_', "-");
        let all = [Self::Publish, Self::Enable, Self::Disable];
        all.into_iter().find(|action| action.name() == normal).ok_or_else(|| UnknownName(name.to_owned()))
    }
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
        assert_eq!("PUBLISH".parse(), Ok(Action::Publish));
        assert_eq!("enable".parse(), Ok(Action::Enable));
        assert!("finalize".parse::<Action>().is_err());
    }

    #[test]
    fn only_flows_can_be_switched_off() {
        assert!(Action::Disable.applies_to(Collection::Flows));
        assert!(!Action::Disable.applies_to(Collection::Connections));
        assert!(Action::Publish.applies_to(Collection::SourceConnections));
        assert!(!Action::Publish.applies_to(Collection::Runs));
    }
}
