//! The life cycle that all collections share: read, list, count, make, delete (docs/architecture.md, section 3).
//!
//! **Invariant.** Every write is one short transaction that also writes its line of the audit, so that there is no
//! change without a line and no line without a change.

mod linked;

use std::str::FromStr;

use headwaters_model::account::Role;
use headwaters_model::etag::{Matching, Precondition};
use headwaters_model::filter::Filter;
use headwaters_model::page::{ListQuery, Page};
use headwaters_model::resource::{Collection, Document, Kind, Resource, ResourceRef, State};
use headwaters_model::secret::Secret;
use headwaters_store::{Store, Stored, Tx};

pub(crate) use self::linked::Linked;
pub use self::linked::{FLOWS_BROUGHT_ALONG_MAX, SOURCES_TAKEN_ALONG_MAX};
use crate::Control;
use crate::access::Caller;
use crate::audit::{Deed, note};
use crate::error::{Cause, CommandError, clipped};

impl Control {
    /// One resource of the caller's sandbox. Causes: `Missing`.
    pub async fn get<K: Stored>(&self, caller: &Caller, id: &str) -> Result<Resource<K>, CommandError> {
        let missing = || CommandError::Missing(ResourceRef::new(K::COLLECTION, id));
        let id = K::Id::from_str(id).map_err(|_| missing())?;
        self.store.get::<K>(&caller.scope, &id).await?.ok_or_else(missing)
    }

    /// The same as it is shown. Causes: `Missing`.
    pub async fn document<K: Stored>(&self, caller: &Caller, id: &str) -> Result<Document<K>, CommandError> {
        let missing = || CommandError::Missing(ResourceRef::new(K::COLLECTION, id));
        let id = K::Id::from_str(id).map_err(|_| missing())?;
        self.store.document::<K>(&caller.scope, &id).await?.ok_or_else(missing)
    }

    /// A page of the caller's sandbox, as it is shown.
    pub async fn documents<K: Stored>(
        &self,
        caller: &Caller,
        query: &ListQuery,
    ) -> Result<Page<Document<K>>, CommandError> {
        let _turn = self.turn_at_scans(caller, Store::page_is_scan::<K>(query)).await?;
        Ok(self.store.documents::<K>(&caller.scope, query).await?)
    }

    /// A page of the caller's sandbox.
    pub async fn list<K: Stored>(&self, caller: &Caller, query: &ListQuery) -> Result<Page<Resource<K>>, CommandError> {
        let _turn = self.turn_at_scans(caller, Store::page_is_scan::<K>(query)).await?;
        Ok(self.store.list::<K>(&caller.scope, query).await?)
    }

    /// How many resources of the caller's sandbox pass every filter.
    pub async fn count<K: Stored>(&self, caller: &Caller, filters: &[Filter]) -> Result<u64, CommandError> {
        let _turn = self.turn_at_scans(caller, Store::count_is_scan::<K>(filters)).await?;
        Ok(self.store.count::<K>(&caller.scope, filters).await?)
    }

    /// A resource that a body refers to at `pointer`.
    pub(crate) async fn referenced<K: Stored>(
        &self,
        caller: &Caller,
        id: &str,
        pointer: &str,
    ) -> Result<Resource<K>, CommandError> {
        self.get::<K>(caller, id).await.map_err(|error| wrong_reference(error, pointer))
    }

    /// Stores a new resource with its secrets.
    ///
    /// What it refers to was looked up before; here it is looked up again, because it may be gone by now.
    pub(crate) async fn insert<K: Linked>(
        &self,
        caller: &Caller,
        new: &mut Resource<K>,
        secrets: &[(String, Secret)],
    ) -> Result<(), CommandError> {
        let mut tx = self.store.write(&caller.scope).await?;
        K::hold_on(&mut tx, new).await?;
        K::put(&mut tx, new).await?;
        for (field, secret) in secrets {
            tx.put_secret(&new.id.to_string(), field, secret).await?;
        }
        note(&mut tx, caller, Deed::Create, new.reference(), &new.etag, self.clock.now_ms()).await?;
        Ok(tx.commit().await?)
    }

    /// Deletes a resource that nothing else needs, under the caller's precondition.
    pub(crate) async fn delete<K: Linked>(
        &self,
        caller: &Caller,
        id: &str,
        expected: &Precondition,
    ) -> Result<(), CommandError> {
        let mut tx = self.store.write(&caller.scope).await?;
        let resource = find::<K>(&mut tx, id).await?;
        admit(&resource, expected, self.settings.strict.matching())?;
        editable(&resource, caller.role)?;
        K::let_go(self, caller, &mut tx, &resource).await?;
        tx.delete::<K>(&resource.id, &resource.etag).await?;
        note(&mut tx, caller, Deed::Delete, resource.reference(), &resource.etag, self.clock.now_ms()).await?;
        Ok(tx.commit().await?)
    }
}

/// What is answered when a resource that a body refers to at `pointer` could not be looked up: one that is not there is a
/// wrong value, not a wrong address.
pub(crate) fn wrong_reference(error: CommandError, pointer: &str) -> CommandError {
    match error {
        CommandError::Missing(gone) => {
            let reason = format!("there is no {} {} in this sandbox", gone.collection.noun(), clipped(&gone.id));
            CommandError::invalid(Cause::InvalidValue, pointer, reason)
        }
        other => other,
    }
}

/// Reads a resource within a transaction; an id of another form is simply not found (flow-service.md 1).
pub(crate) async fn find<K: Stored>(tx: &mut Tx, id: &str) -> Result<Resource<K>, CommandError> {
    let missing = || CommandError::Missing(ResourceRef::new(K::COLLECTION, id));
    let id = K::Id::from_str(id).map_err(|_| missing())?;
    tx.get::<K>(&id).await?.ok_or_else(missing)
}

/// Lets a change go on only if the caller has seen the current version.
pub(crate) fn admit<K: Kind>(
    resource: &Resource<K>,
    expected: &Precondition,
    matching: Matching,
) -> Result<(), CommandError> {
    if resource.etag.admits(expected, matching) {
        return Ok(());
    }
    Err(CommandError::Stale { resource: resource.reference(), current: resource.etag.clone() })
}

/// Refuses to change or delete what is on its way to another state; what is being initialised belongs to services
/// (flow-service.md 9).
pub(crate) fn editable<K: Kind>(resource: &Resource<K>, role: Role) -> Result<(), CommandError> {
    let (cause, who) = match (resource.state, K::COLLECTION) {
        (State::Initializing, _) if role != Role::Service => (Cause::InitializingByUser, "by users "),
        (state, _) if state.is_editable() => return Ok(()),
        (_, Collection::Connections) => (Cause::NotEditable, ""),
        _ => (Cause::Disabling, ""),
    };
    let (what, state) = (resource.reference(), resource.state.name());
    let reason = format!("{what} can not be changed or deleted {who}while it is in the state {state}");
    Err(CommandError::invalid(cause, "", reason))
}

/// The state of a new resource; drafts are only for specs that offer them (flow-service.md 11).
pub(crate) fn state_of_new(draft: bool, offered: bool, what: &str) -> Result<State, CommandError> {
    match (draft, offered) {
        (false, _) => Ok(State::Enabled),
        (true, true) => Ok(State::Draft),
        (true, false) => Err(CommandError::invalid(Cause::NoDraft, "", format!("{what} does not offer drafts"))),
    }
}

/// Whether a resource comes into use by what is done to it: it is new, or was a draft, and is none any more.
pub(crate) fn comes_into_use<K: Kind>(before: Option<&Resource<K>>, draft: bool) -> bool {
    !draft && before.is_none_or(|before| before.state == State::Draft)
}

/// Refuses what is not enabled to something that comes into use and stands on it (flow-service.md 11, 16.1).
pub(crate) fn in_use<K: Kind>(needed: &Resource<K>, pointer: &str) -> Result<(), CommandError> {
    let noun = K::COLLECTION.noun();
    let reason = match needed.state {
        State::Enabled => return Ok(()),
        State::Draft => format!("the {noun} is a draft: publish it first"),
        state => format!("the {noun} is in the state {}, it must be enabled", state.name()),
    };
    Err(CommandError::invalid(Cause::NotApplicable, pointer, reason))
}

/// A state that a client may write (flow-service.md 9).
pub(crate) fn written_state(name: &str) -> Result<State, CommandError> {
    let writable = |state: &State| matches!(state, State::Enabled | State::Disabled | State::Initializing);
    name.parse().ok().filter(writable).ok_or_else(|| {
        let reason = "a state can only be enabled, disabled or initializing";
        CommandError::invalid(Cause::InvalidState, "/state", reason)
    })
}

/// A mandatory text that must say something.
pub(crate) fn text_of(text: Option<&str>, pointer: &str) -> Result<String, CommandError> {
    let text = text.filter(|text| !text.trim().is_empty());
    text.map(str::to_owned).ok_or_else(|| CommandError::missing_field(pointer))
}
