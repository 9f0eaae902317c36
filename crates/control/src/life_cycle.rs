//! The life cycle that all collections share: read, list, count, make, delete (docs/architecture.md, section 3).
//!
//! **Invariant.** Every write is one short transaction that also writes its line of the audit, so that there is no
//! change without a line and no line without a change.

use std::fmt::Display;
use std::future::Future;
use std::str::FromStr;

use headwaters_model::account::Role;
use headwaters_model::connection::Connection;
use headwaters_model::data_set::DataSet;
use headwaters_model::etag::{Matching, Precondition};
use headwaters_model::filter::Filter;
use headwaters_model::flow::{Flow, FlowInheritance};
use headwaters_model::id::FlowId;
use headwaters_model::page::{ListQuery, Page};
use headwaters_model::resource::{Collection, Document, Kind, Resource, ResourceRef, State};
use headwaters_model::secret::Secret;
use headwaters_model::source_connection::{InheritedConnection, SourceConnection, SourceInheritance};
use headwaters_model::spec::SpecRef;
use headwaters_model::target_connection::TargetConnection;
use headwaters_store::{Store, Stored, Tx};

use crate::Control;
use crate::access::Caller;
use crate::audit::{Deed, note};
use crate::error::{Cause, CommandError, clipped};
use crate::scheduler::{first_due_ms, is_once, schedule};

/// How many flows are brought along with a source connection whose base changes: all of them in one transaction, while
/// others who write wait.
pub const FLOWS_BROUGHT_ALONG_MAX: u32 = 500;
/// How many source connections go with the base connection that they stand on, likewise.
pub const SOURCES_TAKEN_ALONG_MAX: u32 = 1_000;

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

/// How the resources of a kind hang together with others.
pub trait Linked: Stored {
    /// Refuses a resource when something that it needs is gone, and takes over what it inherits: in the transaction that
    /// writes it, so that it is true from then on.
    fn hold_on(tx: &mut Tx, new: &mut Resource<Self>) -> impl Future<Output = Result<(), CommandError>> + Send;

    /// Stores it.
    fn put(tx: &mut Tx, new: &Resource<Self>) -> impl Future<Output = Result<(), CommandError>> + Send {
        async move { Ok(tx.insert(new).await?) }
    }

    /// Brings along what depends on a resource that was changed.
    fn follow(
        _tx: &mut Tx,
        _before: &Resource<Self>,
        _after: &Resource<Self>,
        _now_ms: i64,
    ) -> impl Future<Output = Result<(), CommandError>> + Send {
        async { Ok(()) }
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
    async fn hold_on(_: &mut Tx, _: &mut Resource<Self>) -> Result<(), CommandError> {
        Ok(())
    }

    /// Blocked by any flow on it; source connections that no flow uses go with it (flow-service.md 13.3), up to
    /// [`SOURCES_TAKEN_ALONG_MAX`].
    async fn let_go(control: &Control, caller: &Caller, tx: &mut Tx, old: &Resource<Self>) -> Result<(), CommandError> {
        refuse_if_used(old.reference(), tx.flow_on_connection(old.id).await?)?;
        let gone = tx.delete_unused_sources(old.id, SOURCES_TAKEN_ALONG_MAX + 1).await?;
        if gone.len() > SOURCES_TAKEN_ALONG_MAX as usize {
            let reason = format!(
                "more than {SOURCES_TAKEN_ALONG_MAX} source connections stand on {}: delete some of them first",
                old.reference()
            );
            return Err(CommandError::invalid(Cause::ConnectionInUse, "", reason));
        }
        for (id, etag) in gone {
            let gone = ResourceRef::new(Collection::SourceConnections, id);
            note(tx, caller, Deed::Delete, gone, &etag, control.clock.now_ms()).await?;
        }
        Ok(())
    }
}

impl Linked for SourceConnection {
    async fn hold_on(tx: &mut Tx, new: &mut Resource<Self>) -> Result<(), CommandError> {
        new.body.inherited_attributes = match &new.body.base_connection_id {
            Some(base) => {
                let base = still_there::<Connection>(tx, base, "/baseConnectionId").await?;
                Some(SourceInheritance { base_connection: inherited(base.id, base.body.connection_spec, None) })
            }
            None => None,
        };
        Ok(())
    }

    /// What a recurring flow has read of one table says nothing of another one: then the table stays. And flows show the base
    /// connection of their source: all drafts, or the source would not have another one. There can be
    /// [`FLOWS_BROUGHT_ALONG_MAX`] of them.
    async fn follow(tx: &mut Tx, before: &Resource<Self>, after: &Resource<Self>, _: i64) -> Result<(), CommandError> {
        if before.body.table_name() != after.body.table_name()
            && let Some(flow) = tx.begun_flow_on_source(after.id).await?
        {
            let reason = format!(
                "the recurring flow {flow} has read part of the table {}, and could not go on with another one: make a new \
                 source connection and a new flow",
                clipped(before.body.table_name().unwrap_or_default())
            );
            return Err(CommandError::invalid(Cause::InvalidValue, "/params/tableName", reason));
        }
        if before.body.base_connection_id == after.body.base_connection_id {
            return Ok(());
        }
        let flows = tx.flows_on_source(after.id, FLOWS_BROUGHT_ALONG_MAX + 1).await?;
        if flows.len() > FLOWS_BROUGHT_ALONG_MAX as usize {
            let reason = format!(
                "more than {FLOWS_BROUGHT_ALONG_MAX} flows use {}: make a new one on the other base connection",
                after.reference()
            );
            return Err(CommandError::invalid(Cause::Unpatchable, "/baseConnectionId", reason));
        }
        for id in &flows {
            if let Some(mut flow) = tx.get::<Flow>(id).await? {
                Flow::hold_on(tx, &mut flow).await?;
                tx.rewrite(&flow).await?;
            }
        }
        Ok(())
    }

    async fn let_go(_: &Control, _: &Caller, tx: &mut Tx, old: &Resource<Self>) -> Result<(), CommandError> {
        refuse_if_used(old.reference(), tx.flow_on_source(old.id).await?)
    }
}

impl Linked for TargetConnection {
    async fn hold_on(_: &mut Tx, _: &mut Resource<Self>) -> Result<(), CommandError> {
        // Its data set was looked up before; nothing deletes data sets yet.
        Ok(())
    }

    async fn let_go(_: &Control, _: &Caller, tx: &mut Tx, old: &Resource<Self>) -> Result<(), CommandError> {
        refuse_if_used(old.reference(), tx.flow_on_target(old.id).await?)
    }
}

impl Linked for Flow {
    async fn hold_on(tx: &mut Tx, new: &mut Resource<Self>) -> Result<(), CommandError> {
        let (mut sources, mut targets) = (Vec::new(), Vec::new());
        for id in &new.body.source_connection_ids {
            let source = still_there::<SourceConnection>(tx, id, "/sourceConnectionIds/0").await?.body;
            let base = source.inherited_attributes.map(|inherited| inherited.base_connection);
            sources.push(inherited(id, source.connection_spec, base));
        }
        for id in &new.body.target_connection_ids {
            let target = still_there::<TargetConnection>(tx, id, "/targetConnectionIds/0").await?.body;
            targets.push(inherited(id, target.connection_spec, None));
        }
        new.body.inherited_attributes = FlowInheritance::new(sources, targets);
        Ok(())
    }

    /// With the instant at which it is due first.
    async fn put(tx: &mut Tx, new: &Resource<Self>) -> Result<(), CommandError> {
        tx.insert(new).await?;
        Ok(tx.set_next_due(new.id, first_due_ms(new), new.created.at_ms).await?)
    }

    /// When it is due next depends on its state and its schedule. A flow that runs once does not become one that recurs when it
    /// has landed its table: the first run of that would land the table again.
    async fn follow(
        tx: &mut Tx,
        before: &Resource<Self>,
        after: &Resource<Self>,
        now_ms: i64,
    ) -> Result<(), CommandError> {
        if before.state == after.state && schedule(&before.body) == schedule(&after.body) {
            return Ok(());
        }
        if is_once(before)
            && !is_once(after)
            && let Some(run) = tx.whole_table_run(after.id).await?
        {
            let reason = format!(
                "the run {run} has landed the whole table, or may do so yet, and a recurring flow would land it again: make a \
                 new flow"
            );
            return Err(CommandError::invalid(Cause::StartPassed, "/scheduleParams/frequency", reason));
        }
        let due_ms = due_after_change(before, after, tx.next_due(after.id).await?, now_ms);
        Ok(tx.set_next_due(after.id, due_ms, now_ms).await?)
    }

    /// Its runs stay; those that are not over are closed (flow-service.md 16.8). What was noted of its attempts goes,
    /// unless a commit is pending that may yet be found in the table.
    async fn let_go(control: &Control, caller: &Caller, tx: &mut Tx, old: &Resource<Self>) -> Result<(), CommandError> {
        control.close_runs(tx, caller, old).await?;
        Ok(tx.forget_flow(old.id).await?)
    }
}

impl Linked for DataSet {
    async fn hold_on(_: &mut Tx, _: &mut Resource<Self>) -> Result<(), CommandError> {
        Ok(())
    }

    async fn let_go(_: &Control, _: &Caller, _: &mut Tx, _: &Resource<Self>) -> Result<(), CommandError> {
        Ok(())
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

async fn still_there<K: Stored>(tx: &mut Tx, id: &K::Id, pointer: &str) -> Result<Resource<K>, CommandError> {
    let gone = || format!("the {} {id} was deleted meanwhile", K::COLLECTION.noun());
    tx.get::<K>(id).await?.ok_or_else(|| CommandError::invalid(Cause::InvalidValue, pointer, gone()))
}

/// A connection as those that use it show it.
fn inherited(id: impl Display, spec: SpecRef, base: Option<InheritedConnection>) -> InheritedConnection {
    InheritedConnection { id: id.to_string(), connection_spec: spec, base_connection: base.map(Box::new) }
}

/// When a flow is due after its state or its schedule was changed, milliseconds since 1970.
///
/// A flow that is not enabled is never due. A draft that comes into use is as good as new, and so is a flow whose start
/// had not come. Otherwise an instant that has come and waits for the scheduler, or for the end of a run, keeps its turn,
/// and the flow goes on at the next instant of its schedule; whether that instant has its run already, as the one of
/// `once` may, is found by the scheduler, which makes no second one.
fn due_after_change(before: &Resource<Flow>, after: &Resource<Flow>, due_ms: Option<i64>, now_ms: i64) -> Option<i64> {
    let not_begun = || schedule(&before.body).is_some_and(|schedule| schedule.start_s > now_ms.div_euclid(1000));
    match (before.state, after.state) {
        (State::Draft, _) => first_due_ms(after),
        (State::Enabled, State::Enabled) if not_begun() => first_due_ms(after),
        (State::Enabled, State::Enabled) if due_ms.is_some_and(|due_ms| due_ms <= now_ms) => due_ms,
        (_, State::Enabled) => {
            schedule(&after.body)?.resumes_s(now_ms.div_euclid(1000)).map(|s| s.saturating_mul(1000))
        }
        _ => None,
    }
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
