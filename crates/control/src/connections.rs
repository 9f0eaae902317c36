//! Base connections: how a source is reached (flow-service.md 13).
//!
//! **Invariant.** A secret is in the vault and nowhere else. What the connection's body holds of a secret parameter is
//! the form in which it may be shown, made by the source when it was written; reads never open the vault.

mod probe;
mod survey;

use headwaters_model::connection::{Auth, Connection, MASK};
use headwaters_model::etag::Precondition;
use headwaters_model::id::SpecId;
use headwaters_model::job::SourceAccess;
use headwaters_model::resource::{LastOperation, Resource, State};
use headwaters_model::secret::Secret;
use headwaters_model::spec::{SpecRef, VERSION_DEFAULT};
use serde_json::{Map, Value};

pub(crate) use self::probe::slow;
pub use self::probe::{ExploreRequest, Explored, TestOutcome};
pub use self::survey::Surveyed;
use crate::Control;
use crate::access::Caller;
use crate::error::{Cause, CommandError, clipped};
use crate::life_cycle::{state_of_new, text_of};
use crate::specs::{KnownConnection, Specs};

/// A spec as a body names it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpecInput {
    /// Its id.
    pub id: Option<String>,
    /// Its version; `1.0` when absent.
    pub version: Option<String>,
}

/// How to log in, as a body says it.
#[derive(Clone, Default, PartialEq)]
pub struct AuthInput {
    /// The name of the auth spec.
    pub spec_name: Option<String>,
    /// The parameters in clear.
    pub params: Option<Map<String, Value>>,
}

impl std::fmt::Debug for AuthInput {
    /// Parameters may hold secrets: only their names are shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keys: Vec<_> = self.params.iter().flatten().map(|(key, _)| key).collect();
        f.debug_struct("AuthInput").field("spec_name", &self.spec_name).field("params", &keys).finish()
    }
}

/// Makes a base connection. What is not there is checked here, not by the caller.
#[derive(Debug, Clone, Default, PartialEq)]
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
        let decided = decide(&self.specs, &command)?;
        let mut auth = None;
        let mut secrets = Vec::new();
        if let Some((mut access, sent)) = decided.access {
            self.ports.sources.check(&access).map_err(CommandError::Connect)?;
            let params = self.hide_secrets(&mut access, sent);
            if self.settings.verify_on_create && decided.state != State::Draft {
                self.try_out(&access).await?;
            }
            auth = Some(Auth { spec_name: access.auth_spec, params });
            secrets = access.secrets;
        }
        let now_ms = self.clock.now_ms();
        let body = Connection {
            name: decided.name,
            description: command.description,
            connection_spec: decided.spec,
            auth,
            last_operation: LastOperation::create(decided.state, now_ms),
        };
        let connection = Resource::new(caller.scope.clone(), decided.state, body, &caller.actor, now_ms);
        self.insert(caller, &connection, &secrets).await?;
        Ok(connection)
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

    /// How the source of a stored connection is reached, secrets in clear. Drafts without auth can not be reached.
    pub(crate) async fn access(&self, connection: &Resource<Connection>) -> Result<SourceAccess, CommandError> {
        let Some(auth) = &connection.body.auth else {
            return Err(CommandError::missing_field("/auth"));
        };
        let known = self.specs.connection(connection.body.connection_spec.id, "/connectionSpec/id")?;
        let schema = known.auth(&auth.spec_name)?;
        let mut tx = self.store.read(&connection.scope).await?;
        let secrets = tx.secrets(&connection.id.to_string()).await?;
        drop(tx);
        let mut params = schema.as_text(&auth.params);
        params.retain(|key, _| secrets.iter().all(|(secret, _)| secret != key));
        Ok(SourceAccess { spec: known.spec.id(), auth_spec: auth.spec_name.clone(), params, secrets })
    }

    /// Moves everything that the source would mask out of the clear parameters, and returns the parameters as they may
    /// be shown: those that are no secrets as they were sent.
    fn hide_secrets(&self, access: &mut SourceAccess, sent: Map<String, Value>) -> Map<String, Value> {
        let masked = self.ports.sources.masked(access);
        let hidden: Vec<String> = access
            .params
            .iter()
            .filter(|(key, value)| masked.get(*key).is_some_and(|shown| shown != *value))
            .map(|(key, _)| key.clone())
            .collect();
        for key in hidden {
            if let Some(value) = access.params.remove(&key) {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                access.secrets.push((key, Secret::new(text)));
            }
        }
        let is_secret = |key: &String| access.secrets.iter().any(|(secret, _)| secret == key);
        let shown = |key: String, value: Value| {
            let value = if is_secret(&key) { masked.get(&key).cloned().unwrap_or_else(|| MASK.into()) } else { value };
            (key, value)
        };
        sent.into_iter().map(|(key, value)| shown(key, value)).collect()
    }
}

/// What a command amounts to once the rules are satisfied.
#[derive(Debug)]
struct Decided {
    name: String,
    spec: SpecRef,
    state: State,
    /// How the source is reached, and the parameters as they were sent; none in a draft without them.
    access: Option<(SourceAccess, Map<String, Value>)>,
}

/// The rules of a new connection that need neither source nor store.
fn decide(specs: &Specs, command: &CreateConnection) -> Result<Decided, CommandError> {
    let name = text_of(command.name.as_deref(), "/name")?;
    if let Some(state) = &command.state
        && !matches!(state.as_str(), "enabled" | "disabled" | "initializing")
    {
        let reason = "a state can only be enabled, disabled or initializing";
        return Err(CommandError::invalid(Cause::InvalidState, "/state", reason));
    }
    let (id, version) = spec_ref(command.connection_spec.as_ref(), "/connectionSpec")?;
    let known = specs.connection(id, "/connectionSpec/id")?;
    let state = state_of_new(command.draft, known.spec.supports_drafts(), known.spec.label())?;
    let access = match &command.auth {
        None if command.draft => None,
        None => return Err(CommandError::missing_field("/auth")),
        Some(auth) => Some(decide_auth(known, auth)?),
    };
    Ok(Decided { name, spec: SpecRef { id, version }, state, access })
}

/// Checks how to log in against the auth spec, and takes the secrets out of it.
fn decide_auth(known: &KnownConnection, auth: &AuthInput) -> Result<(SourceAccess, Map<String, Value>), CommandError> {
    let name = auth.spec_name.as_deref().ok_or_else(|| CommandError::missing_field("/auth/specName"))?;
    let schema = known.auth(name)?;
    let sent = auth.params.clone().ok_or_else(|| CommandError::missing_field("/auth/params"))?;
    schema.check(&sent, "/auth/params")?;
    let mut params = schema.as_text(&sent);
    let mut secrets = Vec::new();
    for key in schema.secrets() {
        if let Some(Value::String(text)) = params.remove(key) {
            secrets.push((key.clone(), Secret::new(text)));
        }
    }
    Ok((SourceAccess { spec: known.spec.id(), auth_spec: name.to_owned(), params, secrets }, sent))
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
    fn a_secret_is_taken_out_of_the_parameters() {
        let decided = decide(&specs(), &command()).unwrap();
        let (access, sent) = decided.access.unwrap();
        assert_eq!(Value::Object(access.params), json!({ "server": "db", "port": "3306", "note": "kept" }));
        let [(key, secret)] = &access.secrets[..] else { panic!("one secret") };
        assert_eq!((key.as_str(), secret.expose()), ("password", "hunter2"));
        assert_eq!(sent["port"], 3306, "what was sent is echoed as it was sent");
        assert_eq!((decided.state, decided.spec.version.as_str()), (State::Enabled, "1.0"));
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
        assert_eq!(cause(|c| c.auth = None), Cause::MissingField);
        assert_eq!(cause(|c| c.auth = Some(AuthInput::default())), Cause::MissingField);
        let auth = |name: &str, params: Value| {
            Some(AuthInput { spec_name: Some(name.into()), params: params.as_object().cloned() })
        };
        assert_eq!(cause(|c| c.auth = auth("OAuth", json!({}))), Cause::UnknownAuthSpec);
        assert_eq!(cause(|c| c.auth = auth("Basic Authentication", json!({}))), Cause::MissingField);
        let wrong = json!({ "server": [], "password": "x" });
        assert_eq!(cause(|c| c.auth = auth("Basic Authentication", wrong)), Cause::InvalidValue);
    }

    #[test]
    fn a_draft_may_lack_how_to_log_in() {
        let command = CreateConnection { auth: None, draft: true, ..command() };
        let decided = decide(&specs(), &command).unwrap();
        assert!(decided.access.is_none() && decided.state == State::Draft);
    }

    #[test]
    fn a_command_can_not_be_printed_with_its_secrets() {
        let printed = format!("{:?}", command());
        assert!(printed.contains("password") && !printed.contains("hunter2"), "{printed}");
    }
}
