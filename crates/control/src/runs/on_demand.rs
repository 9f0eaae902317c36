//! Runs on demand (flow-service.md 17.5): one window of a table, appended as asked.
//!
//! **Invariant.** Making a run reads nothing and moves nothing: it is a run that waits, and takes its turn, its ordinals
//! and its pending offset like any other (docs/architecture.md, section 4). Its pending offset repeats the old one.
//!
//! What the source says is learnt outside the transaction, what the store says is decided again inside it.

use headwaters_model::connection::Connection;
use headwaters_model::flow::Flow;
use headwaters_model::resource::{Collection, LastOperation, Resource, ResourceRef, State};
use headwaters_model::run::{Run, RunOrigin};
use headwaters_model::source_connection::SourceConnection;
use headwaters_model::target_connection::TargetConnection;
use headwaters_model::window::{ParamsCause, ParamsError, RunParams, Windowed};
use headwaters_store::{Stored, Tx};
use serde_json::{Map, Value, json};
use tracing::info;

use super::commands::CreateRun;
use crate::Control;
use crate::access::Caller;
use crate::audit::{Deed, note};
use crate::error::{Cause, CommandError, clipped};
use crate::scheduler::schedule;
use crate::settings::Settings;

/// How many runs of one flow may wait at a time.
pub const RUNS_WAITING_MAX: u64 = 100;

/// What a run on demand amounts to once the rules are satisfied.
#[derive(Debug, Clone, PartialEq)]
struct Asked {
    /// The parameters that the run shows: as sent, and the delta column where only the flow names it.
    params: Option<Map<String, Value>>,
    /// When it may begin, milliseconds since 1970; none is at once.
    start_ms: Option<i64>,
    /// Which rows; none is the whole table.
    windowed: Option<Windowed>,
    /// The delta column as sent, where the flow has none yet.
    first_delta: Option<Value>,
}

impl Control {
    /// Makes a run on demand (flow-service.md 17.5). The delta column of the first one becomes the flow's, in a new
    /// version of the flow.
    ///
    /// Causes: `NoFlow`, `UnknownFlow`, `NotApplicable`, `NoRunsForFrequency`, `NoRunsOnDemand`, `RunParams`,
    /// `UnreadableTime`, `WindowOrder`, `DeltaColumnMissing`, `OtherDeltaColumn`, `InvalidValue`, `RunCreation`, `Filter`,
    /// `NoTurn`, `Driver`, `NoColumns`.
    pub async fn create_run(&self, caller: &Caller, command: CreateRun) -> Result<Resource<Run>, CommandError> {
        let mut tx = self.store.read(&caller.scope).await?;
        let flow = flow_named(&mut tx, command.flow_id.as_deref()).await?;
        self.offers_runs(&flow)?;
        let asked = decide(command.params.as_ref(), &flow.body, &self.settings)?;
        let parts = Parts::of(&mut tx, &flow, "/flowId").await?;
        drop(tx);
        if let Some(windowed) = &asked.windowed {
            let access = self.access(&parts.connection).await?;
            let _turn = self.turn_at_sources(caller).await?;
            self.check_window(&access, &parts.source.body, windowed).await?;
        }
        let run = self.insert_run(caller, &command, &asked).await?;
        info!(flow = %run.body.flow_id, run = %run.id, "a run on demand was made");
        self.wake.notify_one();
        Ok(run)
    }

    /// Refuses a flow that is not in use, that runs by itself, or that this build can not read.
    fn offers_runs(&self, flow: &Resource<Flow>) -> Result<(), CommandError> {
        if flow.state != State::Enabled {
            let reason =
                format!("{} is in the state {}: only an enabled flow runs", flow.reference(), flow.state.name());
            return Err(CommandError::invalid(Cause::NotApplicable, "/flowId", reason));
        }
        let is_once = schedule(&flow.body).is_none_or(|schedule| schedule.is_once());
        if !is_once && !self.settings.on_demand_for_recurring {
            let reason = "only flows of the frequency once run on demand: runs.on_demand_for_recurring allows others";
            return Err(CommandError::invalid(Cause::NoRunsForFrequency, "/flowId", reason));
        }
        let source = flow.body.inherited_attributes.source_connections.first();
        if source.is_none_or(|source| !self.ports.sources.serves(source.connection_spec.id)) {
            let reason = "the source of the flow has no connector in this build, so that it can not run on demand";
            return Err(CommandError::invalid(Cause::NoRunsOnDemand, "/flowId", reason));
        }
        Ok(())
    }

    /// Stores the run, if all that was found before still holds.
    async fn insert_run(
        &self,
        caller: &Caller,
        command: &CreateRun,
        asked: &Asked,
    ) -> Result<Resource<Run>, CommandError> {
        let now_ms = self.clock.now_ms();
        let mut tx = self.store.write(&caller.scope).await?;
        let mut flow = flow_named(&mut tx, command.flow_id.as_deref()).await?;
        self.offers_runs(&flow)?;
        let again = decide(command.params.as_ref(), &flow.body, &self.settings)?;
        if again.windowed != asked.windowed {
            let reason = "the delta column of the flow was changed meanwhile: ask again";
            return Err(CommandError::invalid(Cause::RunCreation, "", reason));
        }
        Parts::of(&mut tx, &flow, "/flowId").await?;
        room_for_another(&mut tx, &flow).await?;
        if let Some(delta) = &again.first_delta {
            self.keep_delta_column(&mut tx, caller, &mut flow, delta).await?;
        }
        let body = Run::scheduled(flow.id, flow.body.flow_spec.clone(), again.params);
        let run = Resource::new(caller.scope.clone(), State::Enabled, body, &caller.actor, now_ms);
        let origin = RunOrigin { windowed: again.windowed, ..RunOrigin::default() };
        tx.queue_run(&run, &origin, again.start_ms.map_or(now_ms, |start_ms| start_ms.max(now_ms))).await?;
        note(&mut tx, caller, Deed::RunOnDemand, run.reference(), &run.etag, now_ms).await?;
        tx.commit().await?;
        Ok(run)
    }

    /// The delta column of the first run on demand is the flow's from now on (flow-service.md 17.5).
    async fn keep_delta_column(
        &self,
        tx: &mut Tx,
        caller: &Caller,
        flow: &mut Resource<Flow>,
        delta: &Value,
    ) -> Result<(), CommandError> {
        let now_ms = self.clock.now_ms();
        let op = flow.body.set_delta_column(delta);
        flow.body.last_operation = LastOperation::completed("update", Some(json!([op])), now_ms, now_ms);
        let expected = flow.touch(&caller.actor, now_ms);
        tx.replace(flow, &expected).await?;
        Ok(note(tx, caller, Deed::Update, flow.reference(), &flow.etag, now_ms).await?)
    }
}

/// What a flow reads from and writes to.
pub(super) struct Parts {
    source: Resource<SourceConnection>,
    connection: Resource<Connection>,
}

impl Parts {
    /// Looks them up, and refuses a run while one of them is not in use; `pointer` is where the request names the flow.
    pub(super) async fn of(tx: &mut Tx, flow: &Resource<Flow>, pointer: &str) -> Result<Self, CommandError> {
        let source = in_use::<SourceConnection>(tx, flow.body.source_connection_ids.first(), pointer).await?;
        let connection = in_use::<Connection>(tx, source.body.base_connection_id.as_ref(), pointer).await?;
        in_use::<TargetConnection>(tx, flow.body.target_connection_ids.first(), pointer).await?;
        Ok(Self { source, connection })
    }
}

async fn in_use<K: Stored>(tx: &mut Tx, id: Option<&K::Id>, pointer: &str) -> Result<Resource<K>, CommandError> {
    let refused = |reason| Err(CommandError::invalid(Cause::RunCreation, pointer, reason));
    let noun = K::COLLECTION.noun();
    let Some(id) = id else { return refused(format!("the flow names no {noun}")) };
    match tx.get::<K>(id).await? {
        Some(part) if part.state == State::Enabled => Ok(part),
        Some(part) => refused(format!(
            "the {noun} {id} of the flow is in the state {}: a run needs it enabled",
            part.state.name()
        )),
        None => refused(format!("the {noun} {id} of the flow is not there any more")),
    }
}

/// Refuses a run of a flow that has [`RUNS_WAITING_MAX`] of them waiting.
pub(super) async fn room_for_another(tx: &mut Tx, flow: &Resource<Flow>) -> Result<(), CommandError> {
    let waiting = tx.waiting_runs(flow.id).await?;
    if waiting < RUNS_WAITING_MAX {
        return Ok(());
    }
    let reason = format!("{waiting} runs of {} wait already: ask again when some of them are over", flow.reference());
    Err(CommandError::invalid(Cause::RunCreation, "", reason))
}

/// The flow that a body names at `/flowId`.
pub(super) async fn flow_named(tx: &mut Tx, id: Option<&str>) -> Result<Resource<Flow>, CommandError> {
    let Some(id) = id else {
        return Err(CommandError::invalid(Cause::NoFlow, "/flowId", "names no flow"));
    };
    let found = match id.parse() {
        Ok(id) => tx.get::<Flow>(&id).await?,
        Err(_) => None,
    };
    found.ok_or_else(|| {
        let missing = ResourceRef::new(Collection::Flows, clipped(id));
        CommandError::invalid(Cause::UnknownFlow, "/flowId", format!("{missing} was not found"))
    })
}

/// The rules of the parameters, together with what the flow knows of its delta column.
fn decide(params: Option<&Map<String, Value>>, flow: &Flow, settings: &Settings) -> Result<Asked, CommandError> {
    let whole_table = |params, start_ms| {
        if settings.allow_without_params {
            return Ok(Asked { params, start_ms, windowed: None, first_delta: None });
        }
        let reason = "name a window: windowStartTime, windowEndTime, and deltaColumn where the flow has none yet";
        Err(CommandError::invalid(Cause::RunParams, "/params", reason))
    };
    let Some(sent) = params.filter(|params| !params.is_empty()) else { return whole_table(None, None) };
    let RunParams { start_ms, window, delta } = RunParams::read(sent).map_err(refused)?;
    let Some(window) = window else { return whole_table(Some(sent.clone()), start_ms) };
    let known = flow.delta_column();
    let first_delta = sent.get("deltaColumn").filter(|_| known.is_none()).cloned();
    let chosen = match (delta.clone(), known) {
        (None, None) => {
            let reason = "the first run on demand of a flow names the column by which windows are read";
            return Err(CommandError::invalid(Cause::DeltaColumnMissing, "/params/deltaColumn", reason));
        }
        (Some(sent), Some(known)) if !sent.is_same_column(&known) => {
            let reason = format!("windows of this flow are read by the column {}", clipped(&known.name));
            return Err(CommandError::invalid(Cause::OtherDeltaColumn, "/params/deltaColumn/name", reason));
        }
        (Some(sent), Some(known)) => sent.or(known),
        (Some(only), None) | (None, Some(only)) => only,
    };
    let mut kept = sent.clone();
    if delta.as_ref() != Some(&chosen) {
        kept.insert("deltaColumn".to_owned(), json!(chosen));
    }
    Ok(Asked { params: Some(kept), start_ms, windowed: Some(Windowed { window, delta: chosen }), first_delta })
}

/// The documented cause of parameters that can not be used.
fn refused(error: ParamsError) -> CommandError {
    let cause = match error.cause {
        ParamsCause::Unreadable => Cause::RunParams,
        ParamsCause::UnreadableTime => Cause::UnreadableTime,
        ParamsCause::Order => Cause::WindowOrder,
        ParamsCause::NoName => Cause::DeltaColumnMissing,
    };
    CommandError::invalid(cause, format!("/params/{}", error.key), error.reason)
}
