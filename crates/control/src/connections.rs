//! Base connections: how a source is reached (flow-service.md 13).
//!
//! **Invariant.** A secret is in the vault and nowhere else. What the connection's body holds of a secret parameter is
//! the form in which it may be shown, made by the source when it was written; reads never open the vault.

mod auth;
mod probe;
mod survey;

use headwaters_model::connection::Connection;
use headwaters_model::etag::Precondition;
use headwaters_model::id::SpecId;
use headwaters_model::resource::{LastOperation, Resource, State};
use headwaters_model::spec::{SpecRef, VERSION_DEFAULT};
use serde::Deserialize;

pub use self::auth::AuthInput;
pub(crate) use self::probe::slow;
pub use self::probe::{ExploreRequest, Explored, TestOutcome};
pub use self::survey::Surveyed;
use crate::Control;
use crate::access::Caller;
use crate::change::{CONNECTION, Changeable, Composed, Writable};
use crate::error::{Cause, CommandError, clipped};
use crate::life_cycle::{comes_into_use, state_of_new, text_of, written_state};
use crate::specs::{KnownConnection, Specs};

/// A spec as a body names it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct SpecInput {
    /// Its id.
    pub id: Option<String>,
    /// Its version; `1.0` when absent.
    pub version: Option<String>,
}

/// Makes a base connection. What is not there is checked here, not by the caller.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateConnection {
    /// Mandatory and not empty.
    pub name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Mandatory but in a draft.
    pub auth: Option<AuthInput>,
    /// Mandatory.
    pub connection_spec: Option<SpecInput>,
    /// `state` as sent; checked and otherwise ignored.
    #[serde(skip)]
    pub state: Option<String>,
    /// Whether it is asked for as a draft.
    pub draft: bool,
}

impl Control {
    /// Makes a base connection, after trying it out where the settings say so (flow-service.md 13.1).
    ///
    /// Causes: `MissingField`, `UnknownSpec`, `NotSupported`, `UnknownAuthSpec`, `InvalidValue`, `InvalidState`,
    /// `NoDraft`, `Driver`.
    pub async fn create_connection(
        &self,
        caller: &Caller,
        command: CreateConnection,
    ) -> Result<Resource<Connection>, CommandError> {
        self.create(caller, command).await
    }

    /// Deletes a base connection and the source connections on it that no flow uses (flow-service.md 13.3).
    ///
    /// Causes: `Missing`, `Stale`, `ConnectionInUse`.
    pub async fn delete_connection(
        &self,
        caller: &Caller,
        id: &str,
        expected: Precondition,
    ) -> Result<(), CommandError> {
        self.delete::<Connection>(caller, id, &expected).await
    }
}

impl Changeable for Connection {
    type Command = CreateConnection;
    const WRITABLE: &'static [Writable] = CONNECTION;

    /// The source is asked only about a login that is new, or that comes into use.
    async fn compose(
        control: &Control,
        caller: &Caller,
        command: CreateConnection,
        before: Option<&Resource<Self>>,
    ) -> Result<Composed<Self>, CommandError> {
        let specs = control.specs_of(caller).await?;
        let Decided { name, spec, known, state } = decide(&specs, &command)?;
        let tried_out = comes_into_use(before, command.draft);
        let (auth, secrets) = match (&command.auth, before) {
            (None, _) if command.draft => (None, Some(Vec::new())),
            (None, _) => return Err(CommandError::missing_field("/auth")),
            (Some(auth), Some(before)) if !tried_out && auth.is_shown_by(before) => (before.body.auth.clone(), None),
            (Some(auth), before) => {
                let (auth, secrets) = control.compose_auth(caller, known, auth, before, command.draft).await?;
                (Some(auth), Some(secrets))
            }
        };
        let last_operation = LastOperation::create(state, control.clock.now_ms());
        let body = Self { name, description: command.description, connection_spec: spec, auth, last_operation };
        Ok(Composed { state, body, secrets })
    }

    fn last_operation(&mut self) -> &mut LastOperation {
        &mut self.last_operation
    }
}

/// What a command amounts to once the rules are satisfied, but for how to log in.
#[derive(Debug)]
struct Decided<'a> {
    name: String,
    spec: SpecRef,
    known: &'a KnownConnection,
    state: State,
}

/// The rules of a connection that need neither source nor store.
fn decide<'a>(specs: &'a Specs, command: &CreateConnection) -> Result<Decided<'a>, CommandError> {
    let name = text_of(command.name.as_deref(), "/name")?;
    if let Some(state) = &command.state {
        written_state(state)?;
    }
    let (id, version) = spec_ref(command.connection_spec.as_ref(), "/connectionSpec")?;
    let known = specs.connection(id, "/connectionSpec/id")?;
    let state = state_of_new(command.draft, known.spec.supports_drafts(), known.spec.label())?;
    Ok(Decided { name, spec: SpecRef { id, version }, known, state })
}

/// The spec that a body names at `pointer`: its id and its version.
pub(crate) fn spec_ref(input: Option<&SpecInput>, pointer: &str) -> Result<(SpecId, String), CommandError> {
    let input = input.ok_or_else(|| CommandError::missing_field(pointer))?;
    let place = format!("{pointer}/id");
    let id = input.id.as_deref().ok_or_else(|| CommandError::missing_field(&*place))?;
    let unknown = |_| CommandError::invalid(Cause::UnknownSpec, &*place, format!("there is no spec {}", clipped(id)));
    Ok((id.parse().map_err(unknown)?, input.version.clone().unwrap_or_else(|| VERSION_DEFAULT.to_owned())))
}

#[cfg(test)]
mod tests {
    use headwaters_model::spec::MYSQL;
    use serde_json::json;

    use super::*;
    use crate::specs::fixture::specs;

    fn command() -> CreateConnection {
        let params = json!({ "server": "db", "port": 3306, "password": "hunter2", "note": "kept" });
        CreateConnection {
            name: Some("shop".into()),
            auth: Some(AuthInput {
                spec_name: Some("Basic Authentication".into()),
                params: params.as_object().cloned(),
            }),
            connection_spec: Some(SpecInput { id: Some(MYSQL.to_string()), version: None }),
            ..CreateConnection::default()
        }
    }

    fn cause(change: impl FnOnce(&mut CreateConnection)) -> Cause {
        let mut command = command();
        change(&mut command);
        decide(&specs(), &command).unwrap_err().cause()
    }

    #[test]
    fn every_rule_has_its_cause() {
        assert_eq!(cause(|c| c.name = None), Cause::MissingField);
        assert_eq!(cause(|c| c.name = Some(" ".into())), Cause::MissingField);
        assert_eq!(cause(|c| c.state = Some("broken".into())), Cause::InvalidState);
        assert_eq!(cause(|c| c.connection_spec = None), Cause::MissingField);
        assert_eq!(cause(|c| c.connection_spec = Some(SpecInput::default())), Cause::MissingField);
        let spec = |id: &str| Some(SpecInput { id: Some(id.into()), version: None });
        assert_eq!(cause(|c| c.connection_spec = spec("mysql")), Cause::UnknownSpec);
        assert_eq!(cause(|c| c.connection_spec = spec("00000000-0000-4000-8000-000000000000")), Cause::UnknownSpec);
        assert_eq!(cause(|c| c.connection_spec = spec("d6b52d86-f0f8-475f-89d4-ce54c8527328")), Cause::NotSupported);
    }

    #[test]
    fn a_command_can_not_be_printed_with_its_secrets() {
        let printed = format!("{:?}", command());
        assert!(printed.contains("password") && !printed.contains("hunter2"), "{printed}");
    }
}
