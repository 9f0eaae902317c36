//! Why a command was not carried out, and whose turn it is.
//!
//! Every failure has exactly one [`Cause`], and `api` has exactly one table from causes to documented codes
//! (flow-service.md 3.4, 3.5). Sentences are for people: what was tried, on what, what to do; lower case, no full stop,
//! never a secret.

use headwaters_model::etag::Etag;
use headwaters_model::job::JobError;
use headwaters_model::limits::LimitError;
use headwaters_model::patch::PatchError;
use headwaters_model::resource::{ActionError, Collection, ResourceRef};
use headwaters_model::source_error::{SourceError, SourceErrorKind};
use headwaters_store::{Outdated, StoreError};

use crate::shares::Full;
use crate::turns::Turns;

/// How many characters of a caller's own words a sentence repeats.
const WORDS_CHARS_MAX: usize = 100;

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The resource does not exist in the caller's sandbox.
    #[error("{0} was not found")]
    Missing(ResourceRef),
    /// The version that the caller has seen is not the current one.
    #[error("{resource} changed since it was read: the version supplied is not the current one")]
    Stale {
        /// Which resource.
        resource: ResourceRef,
        /// Its current version.
        current: Etag,
    },
    /// The command contradicts a documented rule.
    #[error("{}{reason}", Pointer(pointer))]
    Invalid {
        /// Which rule.
        cause: Cause,
        /// The JSON pointer of the offending value; empty for the whole body.
        pointer: String,
        /// One sentence for a person.
        reason: String,
    },
    /// The resource can not go while another one needs it.
    #[error("{resource} is used by {users}, delete that first")]
    InUse {
        /// What was to be deleted.
        resource: ResourceRef,
        /// Who uses it.
        users: ResourceRef,
    },
    /// What was to be stored is too large or too deep. A patch tells it as one that can not be applied.
    #[error(transparent)]
    Limit(LimitError),
    /// No connection to the source, whatever the reason.
    #[error("{0}")]
    Connect(#[source] SourceError),
    /// The source could not be reached or does not hold what was named.
    #[error("{0}")]
    Source(#[source] SourceError),
    /// The lake could not be used.
    #[error("could not use the lake: {0}")]
    Lake(#[source] JobError),
    /// The caller has as much under way as it may, or all callers together have.
    #[error("{what}: {full}; try again when one has ended")]
    NoTurn {
        /// Of what.
        what: Turns,
        /// Whose.
        full: Full,
    },
    /// The metadata store could not be used.
    #[error("could not use the metadata store")]
    Store(#[source] StoreError),
    /// A fault of this program; the sentence is for its log, not for the caller.
    #[error("internal error: {0}")]
    Internal(String),
}

/// A pointer in front of a sentence, if there is one.
struct Pointer<'a>(&'a str);

impl std::fmt::Display for Pointer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, "{}: ", self.0) }
    }
}

/// One documented reason for an answer; the comment names its code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// FLOW-1400-500: a fault of ours.
    Internal,
    /// FLOW-1400-503: the store is busy or its disk has no room, the same call may succeed later.
    Busy,
    /// FLOW-1400-429: as much of it is under way as may be at a time.
    NoTurn,
    /// FLOW-1402-400: finalising is for providers.
    FinalizeByUser,
    /// FLOW-1403-400: `If-Match` is absent.
    IfMatchAbsent,
    /// FLOW-1404-412: the version supplied is not the current one.
    Stale,
    /// FLOW-1405-400: the body is absent, empty or not JSON.
    EmptyBody,
    /// FLOW-1410-400: `state` in the body of a new flow.
    StateInBody,
    /// FLOW-1412-400: the version of a mapping is invalid.
    MappingVersion,
    /// FLOW-1413-400: the connection or flow spec is not known.
    UnknownSpec,
    /// FLOW-1414-400: a patch wants to change the connection spec.
    SpecChange,
    /// FLOW-1415-400: the auth spec is not known for the connection spec.
    UnknownAuthSpec,
    /// FLOW-1416-400: the connection's state does not allow an update or delete.
    NotEditable,
    /// FLOW-1417-400: what is being initialised is changed and deleted by services only.
    InitializingByUser,
    /// FLOW-1418-400: a flow uses the base connection.
    ConnectionInUse,
    /// FLOW-1419-400: the mapping set is invalid.
    Mapping,
    /// FLOW-1420-400: the resource is being disabled.
    Disabling,
    /// FLOW-1422-400: the action does not fit the current state.
    NotApplicable,
    /// FLOW-1425-400: schemas of data set and target connection differ.
    SchemaConflict,
    /// FLOW-1426-400: only service tokens write specs.
    SpecsByUser,
    /// FLOW-1427-400: only service tokens report on runs.
    RunsByUser,
    /// FLOW-1428-400: the predecessor run is not there.
    UnknownPredecessorRun,
    /// FLOW-1429-400: the predecessor's flow is not there.
    UnknownPredecessorFlow,
    /// FLOW-1430-400: the flow of a run is not there.
    UnknownFlow,
    /// FLOW-1434-400: the operation of a patch is not supported.
    PatchOperation,
    /// FLOW-1435-400: the sub-action is not supported.
    SubAction,
    /// FLOW-1437-400: not a status of a run.
    RunStatus,
    /// FLOW-1439-404: not found.
    Missing,
    /// FLOW-1446-400: the flow of a run is null.
    NoFlow,
    /// FLOW-1447-400: a flow still refers to the resource.
    InUse,
    /// FLOW-1455-400: the patch can not be applied.
    Unpatchable,
    /// FLOW-1456-400: not a state that a client may write.
    InvalidState,
    /// FLOW-2120-403: forbidden for everybody.
    Forbidden,
    /// CONNECTOR-1304-400: a mandatory field is missing.
    MissingField,
    /// CONNECTOR-1305-400: the connector is not supported (a spec that is listed but not built here too).
    NotSupported,
    /// CONNECTOR-1307-400: the target's spec is not the data lake's.
    WrongTargetSpec,
    /// CONNECTOR-1308-400: the driver could not connect or was refused.
    Driver,
    /// CONNECTOR-1312-400: the value is not valid for the property.
    InvalidValue,
    /// CONNECTOR-1317-400: no schedule.
    EmptySchedule,
    /// CONNECTOR-1320-400: no source or target connection named.
    NoConnectionIds,
    /// CONNECTOR-1321-400: more than one source or target connection named.
    ManyConnectionIds,
    /// CONNECTOR-1325-400: the target connection names no data set.
    NoDataSet,
    /// CONNECTOR-1327-400: `data.format` is not supported.
    Format,
    /// CONNECTOR-1330-400: the table is unknown or shows no columns.
    NoColumns,
    /// CONNECTOR-1336-400: exploring is not possible for the spec.
    NotExplorable,
    /// CONNECTOR-1337-400: a query parameter that this `objectType` needs is missing.
    ObjectMissing,
    /// CONNECTOR-1340-400: a time can not be read.
    UnreadableTime,
    /// CONNECTOR-1349-400: the row filter is invalid.
    Filter,
    /// CONNECTOR-1350-400: a node of the row filter has no operator.
    FilterOperatorMissing,
    /// CONNECTOR-1351-400: an operator of the row filter is not supported.
    FilterOperator,
    /// CONNECTOR-1352-400: an operator of the row filter has no form in the source's language.
    FilterNoNativeForm,
    /// CONNECTOR-1353-400: the connector does not filter.
    FilterUnsupported,
    /// CONNECTOR-1354-400: the row filter's query language is not supported.
    FilterLanguage,
    /// CONNECTOR-1355-400: the row filter's `type` is not `PQL`.
    FilterTypeName,
    /// CONNECTOR-1356-400: the row filter's `format` is not `pql/json`.
    FilterFormat,
    /// CONNECTOR-1357-400: the row filter has no `value`.
    FilterValueMissing,
    /// CONNECTOR-1358-400: `objectType` is invalid.
    ObjectType,
    /// CONNECTOR-1359-400: a query parameter is missing.
    ParameterMissing,
    /// CONNECTOR-1360-400: the start lies in the past.
    StartInPast,
    /// CONNECTOR-1361-400: `once` with an interval.
    OnceWithInterval,
    /// CONNECTOR-1362-400: the interval is below the minimum.
    IntervalTooShort,
    /// CONNECTOR-1363-400: the interval is not allowed for the frequency.
    IntervalNotAllowed,
    /// CONNECTOR-1364-400: `once` with backfill.
    OnceWithBackfill,
    /// CONNECTOR-1365-400: the path of a patch is not one that may be changed.
    PatchPath,
    /// CONNECTOR-1366-400: the start has passed and can not change any more.
    StartPassed,
    /// CONNECTOR-1367-400: a recurring flow without a delta column.
    NoDeltaColumn,
    /// CONNECTOR-1368-400: drafts are not offered for the spec.
    NoDraft,
    /// CONNECTOR-1369-400: `once` with a delta column.
    OnceWithDelta,
    /// CONNECTOR-1372-400: exploring is not possible by the spec alone.
    ExploreBySpec,
    /// CONNECTOR-1377-400: an operator of the row filter compares with null.
    FilterNull,
    /// CONNECTOR-1378-400: a column of the row filter is unknown.
    FilterColumn,
    /// CONNECTOR-1379-400: a literal of the row filter has another type than its column.
    FilterType,
    /// CONNECTOR-1380-400: the run can not be made.
    RunCreation,
    /// CONNECTOR-1381-400: a window that ends before it starts.
    WindowOrder,
    /// CONNECTOR-1382-400: another delta column than the flow's.
    OtherDeltaColumn,
    /// CONNECTOR-1383-400: the first run on demand names no delta column.
    DeltaColumnMissing,
    /// CONNECTOR-1384-400: the parameters of a run are missing or invalid.
    RunParams,
    /// CONNECTOR-1385-400: the connector does not offer runs on demand.
    NoRunsOnDemand,
    /// CONNECTOR-1386-400: the flow's frequency does not allow runs on demand.
    NoRunsForFrequency,
    /// CONNECTOR-1387-400: the run's state does not allow to repeat it.
    NotRepeatable,
    /// CONNECTOR-1388-400: the run's flow is not enabled.
    FlowNotEnabled,
    /// CONNECTOR-1389-400: the `filters` parameter can not be decoded.
    FilterEncoding,
    /// CONNECTOR-1390-400: `not` over more than one comparison.
    FilterNot,
    /// CONNECTOR-1392-400: the transformation is unknown (strict only).
    UnknownTransformation,
    /// CONNECTOR-1394-400: the interval is not positive.
    IntervalNotPositive,
    /// CONNECTOR-1397-400: the frequency is invalid.
    Frequency,
    /// CONNECTOR-1398-400: the action is not known here.
    UnknownAction,
    /// CONNECTOR-1403-400: the start has passed, so the frequency can not become `once`.
    OnceTooLate,
    /// CONNECTOR-1404-400: the start has passed, so backfill can not change.
    BackfillTooLate,
}

impl From<StoreError> for CommandError {
    /// A write that found another version than it was made for is the caller's business, and so is a document that is
    /// too large; all else is the store's.
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Outdated(Outdated::Missing(resource)) => Self::Missing(resource),
            StoreError::Outdated(Outdated::Stale { resource, current }) => Self::Stale { resource, current },
            StoreError::Limit(limit) => Self::Limit(limit),
            other => Self::Store(other),
        }
    }
}

impl From<ActionError> for CommandError {
    fn from(error: ActionError) -> Self {
        let cause = match &error {
            ActionError::Missing => Cause::ParameterMissing,
            ActionError::Unknown { .. } => Cause::UnknownAction,
            ActionError::Finalize => Cause::FinalizeByUser,
            ActionError::SubAction => Cause::SubAction,
        };
        Self::invalid(cause, "", error.to_string())
    }
}

impl From<PatchError> for CommandError {
    fn from(error: PatchError) -> Self {
        let cause = match &error {
            PatchError::Empty => Cause::EmptyBody,
            PatchError::Operation { .. } => Cause::PatchOperation,
            PatchError::TooLong
            | PatchError::Malformed { .. }
            | PatchError::TooDeep { .. }
            | PatchError::TooManyMoves
            | PatchError::NotThere { .. } => Cause::Unpatchable,
        };
        Self::invalid(cause, "", error.to_string())
    }
}

impl CommandError {
    /// A rule that the command contradicts.
    pub fn invalid(cause: Cause, pointer: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid { cause, pointer: pointer.into(), reason: reason.into() }
    }

    /// A mandatory field that is not there.
    pub fn missing_field(pointer: impl Into<String>) -> Self {
        Self::invalid(Cause::MissingField, pointer, "is mandatory and missing")
    }

    /// The one reason of this failure; total, so that `api` needs one table only.
    #[must_use]
    pub fn cause(&self) -> Cause {
        match self {
            Self::Missing(_) => Cause::Missing,
            Self::Stale { .. } => Cause::Stale,
            Self::Invalid { cause, .. } => *cause,
            Self::InUse { resource, .. } if resource.collection == Collection::Connections => Cause::ConnectionInUse,
            Self::InUse { .. } => Cause::InUse,
            Self::Limit(_) => Cause::InvalidValue,
            Self::Connect(error) => connect_cause(&error.fault().kind),
            Self::Source(error) => source_cause(&error.fault().kind),
            Self::NoTurn { .. } => Cause::NoTurn,
            Self::Store(error) if error.is_unavailable() => Cause::Busy,
            Self::Lake(_) | Self::Store(_) | Self::Internal(_) => Cause::Internal,
        }
    }

    /// What to do, where the failure knows.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Connect(error) | Self::Source(error) => error.fault().hint.as_deref(),
            Self::Lake(JobError::Definite(failure) | JobError::Transient(failure, _)) => failure.hint.as_deref(),
            Self::Store(error) => error.hint(),
            _ => None,
        }
    }
}

/// A caller's own words within a sentence, cut where they would drown it.
pub(crate) fn clipped(text: &str) -> String {
    match text.char_indices().nth(WORDS_CHARS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// The documented reason for a failure to connect: a bad parameter is told as such, all else is the driver's text
/// (flow-service.md 13.1).
#[must_use]
pub fn connect_cause(kind: &SourceErrorKind) -> Cause {
    match kind {
        SourceErrorKind::MissingParameter { .. } => Cause::MissingField,
        SourceErrorKind::InvalidParameter { .. } => Cause::InvalidValue,
        _ => Cause::Driver,
    }
}

/// The documented reason for a failure of a source (flow-service.md 13.5, 14.1).
#[must_use]
pub fn source_cause(kind: &SourceErrorKind) -> Cause {
    match kind {
        SourceErrorKind::MissingParameter { .. } => Cause::MissingField,
        SourceErrorKind::InvalidParameter { .. } | SourceErrorKind::UnknownColumn | SourceErrorKind::DeltaColumn => {
            Cause::InvalidValue
        }
        SourceErrorKind::UnknownTable | SourceErrorKind::Privilege => Cause::NoColumns,
        SourceErrorKind::UnknownFilterColumn => Cause::FilterColumn,
        SourceErrorKind::FilterType => Cause::FilterType,
        SourceErrorKind::Unreachable
        | SourceErrorKind::Refused
        | SourceErrorKind::Tls
        | SourceErrorKind::Lost
        | SourceErrorKind::Server { .. }
        | SourceErrorKind::Protocol
        | SourceErrorKind::Cancelled => Cause::Driver,
    }
}

#[cfg(test)]
mod tests;
