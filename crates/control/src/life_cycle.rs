//! The life cycle that all collections share: read, list, count, make, delete (docs/architecture.md, section 3).
//!
//! **Invariant.** Every write is one short transaction that also writes its line of the audit, so that there is no
//! change without a line and no line without a change.

use std::future::Future;
use std::str::FromStr;

use headwaters_model::connection::Connection;
use headwaters_model::data_set::DataSet;
use headwaters_model::etag::{Matching, Precondition};
use headwaters_model::filter::Filter;
use headwaters_model::flow::Flow;
use headwaters_model::id::FlowId;
use headwaters_model::page::{ListQuery, Page};
use headwaters_model::resource::{Collection, Kind, Resource, ResourceRef, State};
use headwaters_model::secret::Secret;
use headwaters_model::source_connection::SourceConnection;
use headwaters_model::target_connection::TargetConnection;
use headwaters_store::{Stored, Tx};

use crate::Control;
use crate::access::Caller;
use crate::audit::{Deed, note};
use crate::error::{Cause, CommandError, clipped};
use crate::scheduler::first_due_ms;

impl Control {
    /// One resource of the caller's sandbox. Causes: `Missing`.
    pub async fn get<K: Stored>(&self, caller: &Caller, id: &str) -> Result<Resource<K>, CommandError> {
        let mut tx = self.store.read(&caller.scope).await?;
        find(&mut tx, id).await
    }

    /// A page of the caller's sandbox.
    pub async fn list<K: Stored>(&self, caller: &Caller, query: &ListQuery) -> Result<Page<Resource<K>>, CommandError> {
        Ok(self.store.read(&caller.scope).await?.list::<K>(query).await?)
    }

    /// How many resources of the caller's sandbox pass every filter.
    pub async fn count<K: Stored>(&self, caller: &Caller, filters: &[Filter]) -> Result<u64, CommandError> {
        Ok(self.store.read(&caller.scope).await?.count::<K>(filters).await?)
    }

    /// A resource that a body refers to at `pointer`; one that is not there is a wrong value, not a wrong address.
    pub(crate) async fn referenced<K: Stored>(
        &self,
        caller: &Caller,
        id: &str,
        pointer: &str,
    ) -> Result<Resource<K>, CommandError> {
        let found = self.get::<K>(caller, id).await;
        found.map_err(|error| match error {
            CommandError::Missing(_) => {
                let reason = format!("there is no {} {} in this sandbox", K::COLLECTION.noun(), clipped(id));
                CommandError::invalid(Cause::InvalidValue, pointer, reason)
            }
            other => other,
        })
    }

    /// Stores a new resource with its secrets.
    ///
    /// What it refers to was looked up before; here it is looked up again, because it may be gone by now.
    pub(crate) async fn insert<K: Linked>(
        &self,
        caller: &Caller,
        new: &Resource<K>,
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
        editable(&resource)?;
        K::let_go(self, caller, &mut tx, &resource).await?;
        tx.delete::<K>(&resource.id, &resource.etag).await?;
        note(&mut tx, caller, Deed::Delete, resource.reference(), &resource.etag, self.clock.now_ms()).await?;
        Ok(tx.commit().await?)
    }
}

/// How the resources of a kind hang together with others.
pub(crate) trait Linked: Stored {
    /// Refuses a new resource when something that it needs is gone.
    fn hold_on(tx: &mut Tx, new: &Resource<Self>) -> impl Future<Output = Result<(), CommandError>> + Send;

    /// Stores it.
    fn put(tx: &mut Tx, new: &Resource<Self>) -> impl Future<Output = Result<(), CommandError>> + Send {
        async move { Ok(tx.insert(new).await?) }
    }

    /// Refuses to let a resource go that something else needs, and takes along what goes with it.
    fn let_go(
        control: &Control,
        caller: &Caller,
        tx: &mut Tx,
        old: &Resource<Self>,
    ) -> impl Future<Output = Result<(), CommandError>> + Send;
}

impl Linked for Connection {
    async fn hold_on(_: &mut Tx, _: &Resource<Self>) -> Result<(), CommandError> {
        Ok(())
    }

    /// Blocked by any flow on it; source connections that no flow uses go with it (flow-service.md 13.3).
    async fn let_go(control: &Control, caller: &Caller, tx: &mut Tx, old: &Resource<Self>) -> Result<(), CommandError> {
        refuse_if_used(old.reference(), tx.flow_on_connection(old.id).await?)?;
        for (id, etag) in tx.delete_unused_sources(old.id).await? {
            let gone = ResourceRef::new(Collection::SourceConnections, id);
            note(tx, caller, Deed::Delete, gone, &etag, control.clock.now_ms()).await?;
        }
        Ok(())
    }
}

impl Linked for SourceConnection {
    async fn hold_on(tx: &mut Tx, new: &Resource<Self>) -> Result<(), CommandError> {
        match &new.body.base_connection_id {
            Some(base) => still_there::<Connection>(tx, base, "/baseConnectionId").await,
            None => Ok(()),
        }
    }

    async fn let_go(_: &Control, _: &Caller, tx: &mut Tx, old: &Resource<Self>) -> Result<(), CommandError> {
        refuse_if_used(old.reference(), tx.flow_on_source(old.id).await?)
    }
}

impl Linked for TargetConnection {
    async fn hold_on(_: &mut Tx, _: &Resource<Self>) -> Result<(), CommandError> {
        // Its data set was looked up before; nothing deletes data sets yet.
        Ok(())
    }

    async fn let_go(_: &Control, _: &Caller, tx: &mut Tx, old: &Resource<Self>) -> Result<(), CommandError> {
        refuse_if_used(old.reference(), tx.flow_on_target(old.id).await?)
    }
}

impl Linked for Flow {
    async fn hold_on(tx: &mut Tx, new: &Resource<Self>) -> Result<(), CommandError> {
        for id in &new.body.source_connection_ids {
            still_there::<SourceConnection>(tx, id, "/sourceConnectionIds/0").await?;
        }
        for id in &new.body.target_connection_ids {
            still_there::<TargetConnection>(tx, id, "/targetConnectionIds/0").await?;
        }
        Ok(())
    }

    /// With the instant at which it is due first.
    async fn put(tx: &mut Tx, new: &Resource<Self>) -> Result<(), CommandError> {
        tx.insert(new).await?;
        Ok(tx.set_next_due(new.id, first_due_ms(new)).await?)
    }

    /// Its runs stay; those that are not over are closed (flow-service.md 16.8). What was noted of its attempts goes,
    /// unless a commit is pending that may yet be found in the table.
    async fn let_go(control: &Control, caller: &Caller, tx: &mut Tx, old: &Resource<Self>) -> Result<(), CommandError> {
        control.close_runs(tx, caller, old).await?;
        Ok(tx.forget_flow(old.id).await?)
    }
}

impl Linked for DataSet {
    async fn hold_on(_: &mut Tx, _: &Resource<Self>) -> Result<(), CommandError> {
        Ok(())
    }

    async fn let_go(_: &Control, _: &Caller, _: &mut Tx, _: &Resource<Self>) -> Result<(), CommandError> {
        Ok(())
    }
}

async fn still_there<K: Stored>(tx: &mut Tx, id: &K::Id, pointer: &str) -> Result<(), CommandError> {
    if tx.get::<K>(id).await?.is_some() {
        return Ok(());
    }
    let reason = format!("the {} {id} was deleted meanwhile", K::COLLECTION.noun());
    Err(CommandError::invalid(Cause::InvalidValue, pointer, reason))
}

fn refuse_if_used(resource: ResourceRef, user: Option<FlowId>) -> Result<(), CommandError> {
    match user {
        Some(flow) => Err(CommandError::InUse { resource, users: ResourceRef::new(Collection::Flows, flow) }),
        None => Ok(()),
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

/// Refuses to change or delete what is on its way to another state (flow-service.md 9).
fn editable<K: Kind>(resource: &Resource<K>) -> Result<(), CommandError> {
    let (state, what) = (resource.state, resource.reference());
    if state.is_editable() {
        return Ok(());
    }
    let cause = match K::COLLECTION {
        Collection::Connections => Cause::NotEditable,
        _ => Cause::Disabling,
    };
    let reason = format!("{what} can not be changed or deleted while it is in the state {}", state.name());
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

/// A mandatory text that must say something.
pub(crate) fn text_of(text: Option<&str>, pointer: &str) -> Result<String, CommandError> {
    let text = text.filter(|text| !text.trim().is_empty());
    text.map(str::to_owned).ok_or_else(|| CommandError::missing_field(pointer))
}
