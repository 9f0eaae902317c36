//! From a source's or a lake's failure to a job's: where it broke, and whose turn it is.

use headwaters_lake::contract::{LakeError, LakeFault};
use headwaters_model::job::{Failure, JobError, Stage};
use headwaters_model::source_error::{Retry, SourceError, SourceErrorKind, SourceFault};

/// A failure of the source.
pub(crate) fn of_source(error: SourceError) -> JobError {
    let failure = |fault: SourceFault| Failure { stage: Stage::Source, message: fault.message, hint: fault.hint };
    match error {
        SourceError::Definite(fault) | SourceError::Transient(fault) if fault.kind == SourceErrorKind::Cancelled => {
            JobError::Cancelled
        }
        // A job may be tried again with other secrets: here the source's word on that counts.
        SourceError::Definite(fault) if !matches!(fault.retry, Retry::Once(_)) => JobError::Definite(failure(fault)),
        SourceError::Definite(fault) | SourceError::Transient(fault) => {
            let retry = fault.retry;
            JobError::Transient(failure(fault), retry)
        }
    }
}

/// A failure of the lake.
pub(crate) fn of_lake(error: LakeError) -> JobError {
    let failure = |fault: LakeFault| Failure { stage: Stage::Lake, message: fault.message, hint: fault.hint };
    match error {
        LakeError::Definite(fault) => JobError::Definite(failure(fault)),
        LakeError::NoRoom(fault) => JobError::Transient(failure(fault), Retry::Later),
        LakeError::Transient(fault) => JobError::Transient(failure(fault), Retry::Again),
        LakeError::Overtaken { found } => JobError::Overtaken { found },
    }
}

/// A failure of our own making; another attempt may do better.
pub(crate) fn broken(message: String) -> JobError {
    JobError::Transient(Failure { stage: Stage::Data, message, hint: None }, Retry::Again)
}
