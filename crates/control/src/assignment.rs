//! All that a worker must know of a run that it has claimed: the flow and what the flow refers to, as they stand when
//! the attempt begins (flow-service.md 14.2).

use headwaters_model::connection::Connection;
use headwaters_model::data_set::DataSet;
use headwaters_model::flow::Flow;
use headwaters_model::id::BatchId;
use headwaters_model::job::{Failure, Landed, ReadRequest, RunJob, SourceAccess, Stage, Totals, WriteMode};
use headwaters_model::metrics::{RunFacts, Window};
use headwaters_model::offset::CommitMark;
use headwaters_model::resource::{Kind, Resource, ResourceRef, State};
use headwaters_model::run::{Run, RunOrigin};
use headwaters_model::schedule::Frequency;
use headwaters_model::source_connection::SourceConnection;
use headwaters_model::target_connection::TargetConnection;
use headwaters_model::watermark::{Delta, FirstRead, Since, Span, Watermark};
use headwaters_model::window::Windowed;
use headwaters_store::{Attempt, Claim, Stored, Tx};
use serde_json::{Value, json};

use crate::Control;
use crate::error::{Cause, CommandError, clipped};
use crate::flows::read_request;
use crate::runs::Covered;
use crate::scheduler::schedule;
use crate::settings::Settings;
use crate::settle::Closing;
use crate::worker::millis;

/// A claimed run with everything around it.
#[derive(Debug, Clone)]
pub(crate) struct Assignment {
    pub(crate) run: Resource<Run>,
    pub(crate) origin: RunOrigin,
    pub(crate) batch: BatchId,
    pub(crate) flow: Resource<Flow>,
    source: Resource<SourceConnection>,
    connection: Resource<Connection>,
    target: Resource<TargetConnection>,
    pub(crate) data_set: Resource<DataSet>,
    /// What people call the kind of source.
    label: String,
    once: bool,
    started_at_ms: i64,
}

impl Control {
    /// Looks up what a claimed run refers to. Deletions are blocked while a flow needs something, so that a missing
    /// part means that the flow was deleted, or damage.
    pub(crate) async fn assignment(&self, claim: Claim) -> Result<Assignment, CommandError> {
        let Claim { run, origin, batch, .. } = claim;
        let mut tx = self.store.read(&run.scope).await?;
        let flow: Resource<Flow> = there(&mut tx, &run.body.flow_id).await?;
        let source = flow.body.source_connection_ids.first();
        let source = source.ok_or_else(|| CommandError::Internal(format!("{} has no source", flow.reference())))?;
        let source: Resource<SourceConnection> = there(&mut tx, source).await?;
        let base = source.body.base_connection_id;
        let base = base.ok_or_else(|| CommandError::Internal(format!("{} has no base", source.reference())))?;
        let connection: Resource<Connection> = there(&mut tx, &base).await?;
        let target = flow.body.target_connection_ids.first();
        let target = target.ok_or_else(|| CommandError::Internal(format!("{} has no target", flow.reference())))?;
        let target: Resource<TargetConnection> = there(&mut tx, target).await?;
        let data_set = target.body.data_set_id().and_then(|id| id.parse().ok());
        let data_set =
            data_set.ok_or_else(|| CommandError::Internal(format!("{} has no data set", target.reference())))?;
        let data_set: Resource<DataSet> = there(&mut tx, &data_set).await?;
        Ok(Assignment {
            label: self.specs.label(connection.body.connection_spec.id).to_owned(),
            once: schedule(&flow.body).is_none_or(|schedule| schedule.is_once()),
            started_at_ms: run.body.started_at_ms().unwrap_or_else(|| self.clock.now_ms()),
            target,
            run,
            origin,
            batch,
            flow,
            source,
            connection,
            data_set,
        })
    }

    /// How the run's source is reached; the secrets are opened here, last of all.
    pub(crate) async fn access_of(&self, assignment: &Assignment) -> Result<SourceAccess, CommandError> {
        self.access(&assignment.connection).await
    }
}

impl Assignment {
    /// What the run is about, for its record.
    pub(crate) fn facts(&self) -> RunFacts {
        RunFacts {
            run: self.run.id,
            source_label: self.label.clone(),
            source: self.source.id,
            target: self.target.id,
            batch: self.batch.clone(),
            once: self.once,
            window: self.windowed().map(|windowed| windowed.window),
            started_at_ms: self.started_at_ms,
        }
    }

    /// The same once it has read: a run that reads on from where its flow stands learns its window from the source.
    pub(crate) fn facts_of(&self, landed: &Landed) -> RunFacts {
        self.facts_within(landed.window)
    }

    /// The same where these moments are known to be what it reads.
    pub(crate) fn facts_within(&self, window: Option<Window>) -> RunFacts {
        let facts = self.facts();
        RunFacts { window: facts.window.or(window), ..facts }
    }

    /// The run as it is closed.
    pub(crate) fn closing(&self, facts: RunFacts) -> Closing {
        Closing { run: self.run.clone(), data_set: self.data_set.id.clone(), facts }
    }

    /// Where its rows land.
    pub(crate) fn location(&self) -> &str {
        &self.data_set.body.location
    }

    /// Under which name its commits are known in the table: the flow's.
    pub(crate) fn app_id(&self) -> String {
        self.flow.id.to_string()
    }

    /// The mark of one attempt's commit.
    pub(crate) fn mark(&self, attempt: &Attempt) -> CommitMark {
        CommitMark { app_id: self.app_id(), base: attempt.base, ordinal: attempt.ordinal }
    }

    /// The job of one attempt. Flows always append.
    pub(crate) fn job(&self, access: SourceAccess, read: ReadRequest, mark: CommitMark) -> RunJob {
        RunJob {
            flow: Some((self.flow.id, self.run.id)),
            source: access,
            read,
            location: self.location().to_owned(),
            mode: WriteMode::Append,
            mark,
            batch: Some(self.batch.clone()),
            options: self.flow.body.run_options(),
            resume: None,
            readers_max: None,
        }
    }

    /// What an attempt reads: the whole table, the window that was asked for, or what has come since the flow's watermark.
    pub(crate) fn read(&self, attempt: &Attempt, settings: &Settings) -> Result<ReadRequest, CommandError> {
        let mut request = read_request(&self.source.body)?;
        request.delta = match (self.windowed(), self.origin.instant_ms) {
            (Some(Windowed { window, delta }), _) => Some(Delta { column: delta.clone(), span: Span::Asked(*window) }),
            (None, Some(instant_ms)) => Some(Delta {
                column: self.flow.body.delta_column().ok_or_else(|| {
                    let reason = "names no delta column any more: a recurring flow needs the transformation Copy";
                    CommandError::invalid(Cause::NoDeltaColumn, "/transformations", reason)
                })?,
                span: Span::Since(Since {
                    watermark: self.watermark(attempt),
                    first: first_read(&self.flow.body),
                    instant_ms,
                    lag_ms: millis(settings.window_lag),
                }),
            }),
            (None, None) => None,
        };
        Ok(request)
    }

    /// How far the flow had got when the attempt began; none before its first run.
    pub(crate) fn watermark(&self, attempt: &Attempt) -> Option<Watermark> {
        attempt.offset.as_ref().and_then(Watermark::of)
    }

    /// How far the flow has got when the attempt's rows are in the table: to the watermark that the source has made, through
    /// the whole table, or no further than before. A run on demand does not move what the flow's own runs go on from
    /// (flow-service.md 16.6).
    pub(crate) fn next_offset(&self, attempt: &Attempt, landed: &Landed) -> Value {
        if landed.splits_left > 0 {
            // Nothing is reached before the last part of a plan is in the table.
            return attempt.offset.clone().unwrap_or(Value::Null);
        }
        if let Some(reached) = landed.reached.as_ref().filter(|_| self.windowed().is_none()) {
            return json!(reached);
        }
        if self.once && self.windowed().is_none() {
            return json!({ "wholeTable": true });
        }
        attempt.offset.clone().unwrap_or(Value::Null)
    }

    /// Which rows it has read.
    pub(crate) fn covered(&self, landed: &Landed) -> Covered {
        match self.facts_of(landed).window {
            Some(window) if self.origin.reads_on() => Covered::Since(window),
            Some(window) => Covered::Asked(window),
            None if self.origin.reads_on() => Covered::Counted,
            None => Covered::WholeTable,
        }
    }

    /// Which rows it was asked to read; none is the whole table, or what has come since the watermark.
    pub(crate) fn windowed(&self) -> Option<&Windowed> {
        self.origin.windowed.as_ref()
    }

    /// Refuses to read from or write to what was taken out of use (flow-service.md 16.1); a run on demand of such a flow
    /// is refused in the first place.
    pub(crate) fn check_in_use(&self) -> Result<(), Failure> {
        let Self { source, connection, target, .. } = self;
        let states = [
            (source.reference(), source.state),
            (connection.reference(), connection.state),
            (target.reference(), target.state),
        ];
        match states.into_iter().find(|(_, state)| *state != State::Enabled) {
            None => Ok(()),
            Some((part, state)) => Err(Failure {
                stage: Stage::Source,
                message: format!("the {part} of the flow is in the state {}, a run needs it enabled", state.name()),
                hint: Some(format!("enable the {}, then repeat the run", part.collection.noun())),
            }),
        }
    }

    /// Refuses what this build can not do to the rows: it never lands unmapped columns in the place of mapped ones
    /// (flow-service.md 16.2).
    pub(crate) fn check_mapping(&self) -> Result<(), Failure> {
        let named = self.flow.body.transformation("Mapping").and_then(|params| params.get("mappingId")?.as_str());
        match named.filter(|id| !id.is_empty()) {
            None => Ok(()),
            Some(id) => Err(Failure {
                stage: Stage::Data,
                message: format!("this build can not apply the mapping set {}, so nothing was landed", clipped(id)),
                hint: Some("make a flow without the Mapping transformation to land all columns as they are".to_owned()),
            }),
        }
    }

    /// Refuses to land what is left when too many rows were rejected (flow-service.md 16.5).
    pub(crate) fn check_rejected(&self, totals: &Totals) -> Result<(), Failure> {
        if tolerates(self.flow.body.partial_ingestion_percent(), totals) {
            return Ok(());
        }
        let Totals { rows_in, rows_rejected, .. } = totals;
        Err(Failure {
            stage: Stage::Data,
            message: format!("{rows_rejected} of {rows_in} rows could not be ingested, so nothing was landed"),
            hint: Some("set options.partialIngestionPercent to the share of rows that may be left out".to_owned()),
        })
    }
}

/// What the first run of a recurring flow reads (flow-service.md 16.6).
pub(crate) fn first_read(flow: &Flow) -> FirstRead {
    match schedule(flow).map(|schedule| (schedule.frequency, schedule.start_s)) {
        Some((Frequency::Every { backfill: false, .. }, start_s)) => FirstRead::From(start_s.saturating_mul(1000)),
        _ => FirstRead::Everything,
    }
}

/// Whether so many rejected rows are tolerated: none without a threshold, else a share below it; 100 tolerates all.
fn tolerates(percent: Option<f64>, totals: &Totals) -> bool {
    let Some(threshold) = percent else { return totals.rows_rejected == 0 };
    #[expect(clippy::cast_precision_loss, reason = "a share in percent does not need more than 53 bits")]
    let share = 100.0 * totals.rows_rejected as f64 / totals.rows_in.max(1) as f64;
    totals.rows_rejected == 0 || threshold >= 100.0 || share < threshold
}

async fn there<K: Stored>(tx: &mut Tx, id: &<K as Kind>::Id) -> Result<Resource<K>, CommandError> {
    let found = tx.get::<K>(id).await?;
    found.ok_or_else(|| CommandError::Missing(ResourceRef::new(K::COLLECTION, id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejected_rows_are_tolerated_below_the_threshold() {
        let totals = |rows_in, rows_rejected| Totals { rows_in, rows_rejected, ..Totals::default() };
        assert!(tolerates(None, &totals(10, 0)));
        assert!(!tolerates(None, &totals(10, 1)));
        assert!(tolerates(Some(5.0), &totals(100, 4)));
        assert!(!tolerates(Some(5.0), &totals(100, 5)));
        assert!(tolerates(Some(100.0), &totals(10, 10)));
    }
}
