//! Makes landed files part of the table, exactly once (docs/architecture.md, section 4).
//!
//! **Invariant.** A commit is tried only as the version that directly follows a state of the log in which the table's
//! last ordinal of this application was still the base. The store creates that version only if nobody else did, so
//! between the look and the commit nothing can have happened: neither our own commit under a lost answer nor another
//! attempt of the flow. Whatever else happens (beaten, failed, no answer), the log is read again, and it alone decides.
//!
//! The library neither skips an application version that is in the log nor stops its own retries at the one that we
//! looked at; therefore it gets no retries (`with_max_retries(0)`), and the loop is here. Its commit is awaited in
//! steps up to the one that is durable; the hooks after that (checkpoint, clean-up) would turn a made commit into an
//! error, and are left to [`super::care`].
//!
//! What a commit names is on the disk before it is made, and the commit before it is reported: the metadata store, which
//! then moves the offset of the flow, outlasts a power cut too.

use std::collections::HashMap;
use std::time::Duration;

use chrono::Utc;
use deltalake_core::DeltaTableError;
use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties, TableReference, TransactionError};
use deltalake_core::kernel::{Action, Add, EagerSnapshot, Protocol, StructType, Transaction, Version, new_metadata};
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use headwaters_model::job::{Committed, Landed, LandedFile, WriteMode};
use headwaters_model::offset::{CommitMark, Ordinal, Standing};
use serde_json::{Value, json};

use super::storage::Place;
use super::{COMMIT_TRIES_MAX, ENGINE, care, errors, evolve};
use crate::contract::{Label, LakeError};
use crate::crash::{CrashPoint, point as crash};

/// How often a failure that may pass is met before it is reported.
const FAILURES_MAX: u32 = 3;
/// The first pause after a failure that may pass; it doubles.
const PAUSE_MS: u64 = 100;
/// How many versions are looked through for a commit whose answer was lost.
const LOOK_BACK_MAX: u64 = 256;

/// One entry of the log, before it has a version.
pub(super) struct Entry {
    pub(super) operation: DeltaOperation,
    pub(super) actions: Vec<Action>,
    pub(super) mark: Option<Transaction>,
    /// What the commit says about itself.
    pub(super) info: Vec<(String, Value)>,
}

/// What became of an attempt to write an entry.
pub(super) enum Attempt {
    /// It is this version.
    Made(Version),
    /// Somebody else wrote the next version first.
    Beaten,
}

/// Commits as the mark says; safe to call again after any failure.
pub(super) async fn commit(
    place: &Place,
    landed: &Landed,
    mark: &CommitMark,
    mode: WriteMode,
    labels: &[Label],
) -> Result<Committed, LakeError> {
    let mut failures = 0;
    let mut failed: Option<LakeError> = None;
    for _ in 0..COMMIT_TRIES_MAX {
        let state = place.load().await?;
        let last = match &state {
            Some(state) => place.last_ordinal(state, &mark.app_id).await?,
            None => None,
        };
        match (mark.standing(last), &state) {
            (Standing::Applied, Some(state)) => return Ok(applied(place, state, mark).await),
            (Standing::AtBase, _) => {}
            (Standing::Applied | Standing::Overtaken { .. }, _) => return Err(LakeError::Overtaken { found: last }),
        }
        // Only here, after the log has shown that the commit was not made, is a failure a failure.
        if let Some(error) = failed.take() {
            if failures > FAILURES_MAX || matches!(error, LakeError::Definite(_) | LakeError::NoRoom(_)) {
                return Err(error);
            }
            tokio::time::sleep(Duration::from_millis(PAUSE_MS << failures)).await;
        }

        let entry = match &state {
            Some(_) if landed.files.is_empty() && mode == WriteMode::Append => {
                return Ok(Committed { version: None, ordinal: last });
            }
            Some(state) => next_version(place, state, landed, mark, mode, labels)?,
            None => first_version(place, landed, mark, labels)?,
        };
        let ordinal = entry.mark.is_some().then_some(mark.ordinal);
        // Whoever was held up for long may find them deleted.
        place.check_there(&landed.files).await?;
        place.persist(landed.files.iter().map(|file| file.path.clone()).collect()).await?;
        match attempt(place, state.as_ref(), entry).await {
            Ok(Attempt::Made(version)) => {
                care::after_commit(place, version).await;
                return Ok(Committed { version: Some(version), ordinal });
            }
            Ok(Attempt::Beaten) => {}
            Err(error) => {
                failures += 1;
                failed = Some(error);
            }
        }
    }
    Err(failed.unwrap_or_else(|| {
        LakeError::transient(format!("could not commit to {}: other writers were always faster", place.location()))
    }))
}

/// Tries to write an entry as the version after `state`, once. An error leaves open whether it was written.
pub(super) async fn attempt(place: &Place, state: Option<&EagerSnapshot>, entry: Entry) -> Result<Attempt, LakeError> {
    let properties = CommitProperties::default()
        .with_max_retries(0)
        .with_create_checkpoint(false)
        .with_cleanup_expired_logs(Some(false))
        .with_application_transactions(entry.mark.into_iter().collect());
    let mut info = entry.operation.get_commit_info();
    info.timestamp = Some(Utc::now().timestamp_millis());
    info.engine_info = Some(ENGINE.to_owned());
    info.read_version = state.map(EagerSnapshot::version);
    info.info.extend(entry.info);
    let actions = std::iter::once(Action::CommitInfo(info)).chain(entry.actions).collect();

    let table = state.map(|state| state as &dyn TableReference);
    let commit =
        CommitBuilder::from(properties).with_actions(actions).build(table, place.log().clone(), entry.operation);
    let failed = |error: DeltaTableError| errors::delta("commit to", place.location(), &error);
    let prepared = commit.into_prepared_commit_future().await.map_err(failed)?;
    crash(CrashPoint::CommitPrepared);
    match prepared.await {
        Ok(durable) => {
            crash(CrashPoint::CommitDurable);
            let version = durable.version;
            if let Err(error) = place.persist(vec![format!("_delta_log/{version:020}.json")]).await {
                // It is in the table all the same.
                tracing::warn!(version, %error, "a commit may not outlast a power cut");
            }
            Ok(Attempt::Made(version))
        }
        Err(DeltaTableError::VersionAlreadyExists(_))
        | Err(DeltaTableError::Transaction {
            source: TransactionError::VersionAlreadyExists(_) | TransactionError::MaxCommitAttempts(_),
        }) => Ok(Attempt::Beaten),
        Err(error) => Err(failed(error)),
    }
}

/// The entry that makes the table, with its first rows; without rows it carries no mark.
fn first_version(place: &Place, landed: &Landed, mark: &CommitMark, labels: &[Label]) -> Result<Entry, LakeError> {
    let schema = landed_schema(place, landed)?;
    let made = || -> Result<_, DeltaTableError> {
        let protocol: Protocol = serde_json::from_value(json!({ "minReaderVersion": 1, "minWriterVersion": 2 }))?;
        Ok((protocol, new_metadata(&schema, [""; 0], [("", ""); 0])?))
    };
    let (protocol, metadata) = made().map_err(|error| errors::delta("make the table at", place.location(), &error))?;
    let actions = [Action::Protocol(protocol.clone()), Action::Metadata(metadata.clone())];
    Ok(Entry {
        operation: DeltaOperation::Create {
            mode: SaveMode::ErrorIfExists,
            location: place.url().clone(),
            protocol,
            metadata,
        },
        actions: actions.into_iter().chain(adds(&landed.files, true)).collect(),
        mark: (!landed.files.is_empty()).then(|| transaction(mark)),
        info: info(landed, mark, labels),
    })
}

/// The entry that adds the files to the table; an overwrite removes the others in the same breath.
fn next_version(
    place: &Place,
    state: &EagerSnapshot,
    landed: &Landed,
    mark: &CommitMark,
    mode: WriteMode,
    labels: &[Label],
) -> Result<Entry, LakeError> {
    evolve::still_fits(place.location(), &state.schema(), &landed_schema(place, landed)?)?;
    let mut info = info(landed, mark, labels);
    let (mode, removes) = match mode {
        WriteMode::Append => {
            info.push(("isBlindAppend".to_owned(), Value::Bool(true)));
            (SaveMode::Append, Vec::new())
        }
        WriteMode::Overwrite => {
            let files = state.log_data();
            let removes = files.iter().map(|file| Action::Remove(file.remove_action(true)));
            (SaveMode::Overwrite, removes.collect())
        }
    };
    Ok(Entry {
        operation: DeltaOperation::Write { mode, partition_by: None, predicate: None },
        actions: removes.into_iter().chain(adds(&landed.files, true)).collect(),
        mark: Some(transaction(mark)),
        info,
    })
}

/// The actions that make files part of the table; `data_change` tells readers that follow it that their rows are new.
pub(super) fn adds(files: &[LandedFile], data_change: bool) -> impl Iterator<Item = Action> {
    files.iter().map(move |file| {
        Action::Add(Add {
            path: file.path.clone(),
            partition_values: HashMap::new(),
            size: i64::try_from(file.size_bytes).unwrap_or(i64::MAX),
            modification_time: file.modified_at_ms,
            data_change,
            stats: file.stats.clone(),
            ..Add::default()
        })
    })
}

fn transaction(mark: &CommitMark) -> Transaction {
    Transaction::new_with_last_update(&mark.app_id, mark.ordinal.0, Some(Utc::now().timestamp_millis()))
}

fn info(landed: &Landed, mark: &CommitMark, labels: &[Label]) -> Vec<(String, Value)> {
    let rows: u64 = landed.files.iter().map(|file| file.rows).sum();
    let bytes: u64 = landed.files.iter().map(|file| file.size_bytes).sum();
    let metrics = json!({
        "numFiles": landed.files.len().to_string(),
        "numOutputRows": rows.to_string(),
        "numOutputBytes": bytes.to_string(),
    });
    let mut info = vec![("ordinal".to_owned(), Value::from(mark.ordinal.0)), ("operationMetrics".to_owned(), metrics)];
    info.extend(labels.iter().map(|(name, value)| ((*name).to_owned(), Value::from(value.as_str()))));
    info
}

fn landed_schema(place: &Place, landed: &Landed) -> Result<StructType, LakeError> {
    serde_json::from_value(landed.schema.clone()).map_err(|error| {
        LakeError::definite(format!("what was landed for {} carries no usable schema: {error}", place.location()))
    })
}

/// Our commit is in the log already: finds its version.
async fn applied(place: &Place, state: &EagerSnapshot, mark: &CommitMark) -> Committed {
    let newest = state.version();
    let mut version = newest;
    for candidate in (newest.saturating_sub(LOOK_BACK_MAX)..=newest).rev() {
        if let Ok(Some(entry)) = place.log().read_commit_entry(candidate).await
            && carries(&entry, mark)
        {
            version = candidate;
            break;
        }
    }
    Committed { version: Some(version), ordinal: Some(mark.ordinal) }
}

fn carries(entry: &[u8], mark: &CommitMark) -> bool {
    entry.split(|byte| *byte == b'\n').any(|line| {
        let Ok(action) = serde_json::from_slice::<Value>(line) else { return false };
        let transaction = &action["txn"];
        transaction["appId"] == mark.app_id.as_str()
            && transaction["version"].as_i64().map(Ordinal) == Some(mark.ordinal)
    })
}

#[cfg(test)]
mod tests;
