//! How the resources of each kind hang together with others: what they need, what goes with them, and what a change of one
//! brings along. Everything here is decided inside the transaction that writes.

use std::fmt::Display;
use std::future::Future;

use headwaters_model::connection::Connection;
use headwaters_model::data_set::DataSet;
use headwaters_model::flow::{Flow, FlowInheritance};
use headwaters_model::id::FlowId;
use headwaters_model::resource::{Collection, Resource, ResourceRef, State};
use headwaters_model::source_connection::{InheritedConnection, SourceConnection, SourceInheritance};
use headwaters_model::spec::SpecRef;
use headwaters_model::target_connection::TargetConnection;
use headwaters_store::{Stored, Tx};

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
