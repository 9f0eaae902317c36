//! Making resources and changing what is there: creates, patches and actions (flow-service.md 9 to 11).
//!
//! **One way in.** Whatever is stored was composed: [`Changeable::compose`] checks a whole command and makes the body of
//! it, for a create, for a patch (the stored document with the patch applied is read as a command again) and for
//! `publish` (the stored document, no draft any more). So a patch can make nothing that a create would refuse.
//!
//! **Invariant.** A change is composed outside any transaction, because it may ask the source. It is then written in one
//! short transaction under the version that it was composed from: of two changes of one version exactly one wins, and
//! the other changes nothing. What it refers to, and what the service has derived meanwhile, is read in that transaction.

mod paths;

use std::future::Future;

use headwaters_model::connection::MASK;
use headwaters_model::etag::Precondition;
use headwaters_model::limits;
use headwaters_model::patch::Patch;
use headwaters_model::resource::{Action, LastOperation, Resource, State};
use headwaters_model::secret::Secret;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub(crate) use self::paths::{CONNECTION, FLOW, SOURCE_CONNECTION, TARGET_CONNECTION, Writable};
use crate::Control;
use crate::access::Caller;
use crate::audit::{Deed, note};
use crate::document::shaped;
use crate::error::{Cause, CommandError};
use crate::life_cycle::{Linked, admit, editable, find, written_state};

/// How often a change is tried that meets another version than the one it was made for, when its caller has named none.
const TRIES_MAX: u32 = 3;

/// A collection whose resources are made, patched and acted upon by clients.
pub trait Changeable: Linked {
    /// What makes one of them; it is read from the document of one, with `draft` beside it.
    type Command: DeserializeOwned + Send;
    /// Which parts of the document a patch may change.
    const WRITABLE: &'static [Writable];

    /// Checks a command as a whole and makes the body of it. Drafts are checked leniently; what comes into use, because
    /// it is new or was a draft `before`, is checked against everything that it refers to. Holds no transaction.
    fn compose(
        control: &Control,
        caller: &Caller,
        command: Self::Command,
        before: Option<&Resource<Self>>,
    ) -> impl Future<Output = Result<Composed<Self>, CommandError>> + Send;

    /// What was last done to it.
    fn last_operation(&mut self) -> &mut LastOperation;

    /// Takes over what the service derives without a new version (flow-service.md 4).
    fn keep_derived(&mut self, _current: &Self) {}
}

/// What is done to a resource that is there.
#[derive(Clone, Copy)]
enum Change<'a> {
    Patch(&'a Patch),
    Action(Action),
}

/// What a command amounts to once the rules are satisfied.
#[derive(Debug)]
pub struct Composed<K> {
    /// The state of a new resource.
    pub(crate) state: State,
    /// Its body, but for what it inherits: that is taken over in the transaction.
    pub(crate) body: K,
    /// Its secrets; none when those that are stored stay.
    pub(crate) secrets: Option<Vec<(String, Secret)>>,
}

impl Control {
    /// Makes a resource.
    pub(crate) async fn create<K: Changeable>(
        &self,
        caller: &Caller,
        command: K::Command,
    ) -> Result<Resource<K>, CommandError> {
        let Composed { state, body, secrets } = K::compose(self, caller, command, None).await?;
        let mut new = Resource::new(caller.scope.clone(), state, body, &caller.actor, self.clock.now_ms());
        self.insert(caller, &mut new, &secrets.unwrap_or_default()).await?;
        self.wake.notify_one();
        Ok(new)
    }

    /// Changes part of a resource; the result is checked like a new one, all or nothing (flow-service.md 9).
    ///
    /// Causes: `IfMatchAbsent`, `Missing`, `Stale`, `NotEditable`, `InitializingByUser`, `Disabling`, `PatchPath`, `SpecChange`, `InvalidState`,
    /// `Unpatchable`, `StartPassed`, `OnceTooLate`, `BackfillTooLate`, and those of the create.
    pub async fn patch<K: Changeable>(
        &self,
        caller: &Caller,
        id: &str,
        expected: &Precondition,
        patch: &Patch,
    ) -> Result<Resource<K>, CommandError> {
        if *expected == Precondition::None {
            let reason = "a change needs the header If-Match with the version that it is made for, the etag";
            return Err(CommandError::invalid(Cause::IfMatchAbsent, "", reason));
        }
        self.change(caller, id, expected, Change::Patch(patch)).await.map_err(|error| match error {
            CommandError::Limit(limit) => CommandError::invalid(Cause::Unpatchable, "", limit.to_string()),
            error => error,
        })
    }

    /// Moves a resource to another state (flow-service.md 10.2, 11). Disabling a flow ends no run that has begun.
    ///
    /// Causes: `Missing`, `Stale`, `UnknownAction`, `NotApplicable`, and for `publish` those of the create.
    pub async fn act<K: Changeable>(
        &self,
        caller: &Caller,
        id: &str,
        expected: &Precondition,
        action: Action,
    ) -> Result<Resource<K>, CommandError> {
        self.change(caller, id, expected, Change::Action(action)).await
    }

    async fn change<K: Changeable>(
        &self,
        caller: &Caller,
        id: &str,
        expected: &Precondition,
        change: Change<'_>,
    ) -> Result<Resource<K>, CommandError> {
        let is_any = expected.is_any(self.settings.strict.matching());
        let mut tries = 1;
        loop {
            let outcome = match change {
                Change::Patch(patch) => self.try_patch(caller, id, expected, patch).await,
                Change::Action(action) => self.try_act(caller, id, expected, action).await,
            };
            match outcome {
                // Nobody asked for a certain version: what counts is what there is now.
                Err(CommandError::Stale { .. }) if is_any && tries < TRIES_MAX => tries += 1,
                outcome => return outcome,
            }
        }
    }

    async fn try_patch<K: Changeable>(
        &self,
        caller: &Caller,
        id: &str,
        expected: &Precondition,
        patch: &Patch,
    ) -> Result<Resource<K>, CommandError> {
        let started_ms = self.clock.now_ms();
        let before = self.seen::<K>(caller, id, expected).await?;
        editable(&before, caller.role)?;
        paths::check(K::COLLECTION, K::WRITABLE, before.state, patch)?;
        let document = patch.apply(&before.document())?;
        let state = state_after(before.state, patch, &document)?;
        let command = command_of::<K>(document, state)?;
        let Composed { body, secrets, .. } = K::compose(self, caller, command, Some(&before)).await?;
        let mut after = Resource { state, body, ..before.clone() };
        let document = Value::Object(after.body_json());
        limits::check_bytes(&document.to_string()).map_err(CommandError::Limit)?;
        let ops = Some(shown(patch, &document));
        *after.body.last_operation() = LastOperation::completed("update", ops, started_ms, self.clock.now_ms());
        self.replace(caller, &before, after, secrets, Deed::Update).await
    }

    async fn try_act<K: Changeable>(
        &self,
        caller: &Caller,
        id: &str,
        expected: &Precondition,
        action: Action,
    ) -> Result<Resource<K>, CommandError> {
        let started_ms = self.clock.now_ms();
        let before = self.seen::<K>(caller, id, expected).await?;
        let what = before.reference();
        let deed = match action {
            Action::Publish => Deed::Publish,
            Action::Enable if action.applies_to(K::COLLECTION) => Deed::Enable,
            Action::Disable if action.applies_to(K::COLLECTION) => Deed::Disable,
            Action::Enable | Action::Disable | Action::ReTrigger => {
                let reason = format!("there is no action {} for {what}", action.name());
                return Err(CommandError::invalid(Cause::UnknownAction, "", reason));
            }
        };
        let state = before.state.after(action).map_err(|refused| {
            CommandError::invalid(Cause::NotApplicable, "", format!("{what} can not be changed: {refused}"))
        })?;
        let (body, secrets) = match action {
            Action::Publish => {
                let command = command_of::<K>(before.document(), state)?;
                let composed = K::compose(self, caller, command, Some(&before)).await?;
                (composed.body, composed.secrets)
            }
            _ => (before.body.clone(), None),
        };
        let mut after = Resource { state, body, ..before.clone() };
        *after.body.last_operation() = LastOperation::completed(action.name(), None, started_ms, self.clock.now_ms());
        self.replace(caller, &before, after, secrets, deed).await
    }

    /// The resource as the caller has seen it.
    async fn seen<K: Changeable>(
        &self,
        caller: &Caller,
        id: &str,
        expected: &Precondition,
    ) -> Result<Resource<K>, CommandError> {
        let resource = self.get::<K>(caller, id).await?;
        admit(&resource, expected, self.settings.strict.matching())?;
        Ok(resource)
    }

    /// Writes what was composed from `before`, if that is still what the store holds.
    async fn replace<K: Changeable>(
        &self,
        caller: &Caller,
        before: &Resource<K>,
        mut after: Resource<K>,
        secrets: Option<Vec<(String, Secret)>>,
        deed: Deed,
    ) -> Result<Resource<K>, CommandError> {
        let now_ms = self.clock.now_ms();
        let mut tx = self.store.write(&caller.scope).await?;
        let id = before.id.to_string();
        let current = find::<K>(&mut tx, &id).await?;
        if current.etag != before.etag {
            return Err(CommandError::Stale { resource: current.reference(), current: current.etag });
        }
        after.body.keep_derived(&current.body);
        K::hold_on(&mut tx, &mut after).await?;
        let expected = after.touch(&caller.actor, now_ms);
        tx.replace(&after, &expected).await?;
        if let Some(secrets) = secrets {
            // What is no parameter any more leaves the vault too.
            tx.delete_secrets(&id).await?;
            for (field, secret) in &secrets {
                tx.put_secret(&id, field, secret).await?;
            }
        }
        K::follow(&mut tx, before, &after, now_ms).await?;
        note(&mut tx, caller, deed, after.reference(), &after.etag, now_ms).await?;
        tx.commit().await?;
        self.wake.notify_one();
        Ok(after)
    }
}

/// The command that makes what a document shows.
fn command_of<K: Changeable>(mut document: Value, state: State) -> Result<K::Command, CommandError> {
    document["draft"] = (state == State::Draft).into();
    shaped(document)
}

/// The state after a patch: as it was, or as the patch has written it where that is possible (flow-service.md 9). A
/// draft comes into use by `publish` only, which checks it.
fn state_after(before: State, patch: &Patch, document: &Value) -> Result<State, CommandError> {
    if patch.instructions().iter().all(|instruction| instruction.root() != "state") {
        return Ok(before);
    }
    let written = written_state(document["state"].as_str().unwrap_or_default())?;
    if before == State::Draft {
        let reason = "a draft changes its state by the action publish";
        return Err(CommandError::invalid(Cause::NotApplicable, "/state", reason));
    }
    Ok(written)
}

/// The instructions of a patch as they may be shown: what was written below `/auth` as the new document shows it.
fn shown(patch: &Patch, document: &Value) -> Value {
    let mask = Value::from(MASK);
    patch.shown(|instruction| match instruction.root().as_str() {
        "auth" => document.pointer(&instruction.path).unwrap_or(&mask),
        _ => &instruction.value,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_instruction_shows_a_secret() {
        let patch = Patch::parse(json!([
            { "op": "replace", "path": "/name", "value": "shop" },
            { "op": "replace", "path": "/auth/params", "value": { "password": "hunter2" } },
            { "op": "add", "path": "/auth/params/passphrase", "value": "hunter2" },
            { "op": "remove", "path": "/auth/params/passphrase", "value": "hunter2" },
            { "op": "add", "path": "/a~1uth", "value": 1 },
        ]));
        let document = json!({ "name": "shop", "auth": { "params": { "password": "*****" } } });
        assert_eq!(
            shown(&patch.unwrap(), &document),
            json!([
                { "op": "replace", "path": "/name", "value": "shop" },
                { "op": "replace", "path": "/auth/params", "value": { "password": "*****" } },
                { "op": "add", "path": "/auth/params/passphrase", "value": "*****" },
                { "op": "remove", "path": "/auth/params/passphrase" },
                { "op": "add", "path": "/a~1uth", "value": 1 },
            ])
        );
    }
}
