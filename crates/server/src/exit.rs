//! How the program ends: one exit code per kind of failure (product.md, "Exit codes").

use std::fmt;
use std::process::ExitCode;

use headwaters_lake::contract::LakeError;
use headwaters_model::job::{Failure, JobError, Stage};
use headwaters_model::source_error::{SourceError, SourceErrorKind};

/// Whose turn it is after a failure; the number is the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Anything that has no number of its own.
    Other = 1,
    /// The command line, the environment or the configuration file is wrong.
    Usage = 2,
    /// The source: unreachable, refused, bad table.
    Source = 3,
    /// The lake.
    Lake = 4,
    /// The data: rows that could not be landed.
    Data = 5,
    /// Somebody stopped it.
    Interrupted = 130,
}

/// A failure as a person sees it: what was tried on what, and what to do. Holds no secret.
#[derive(Debug)]
pub(crate) struct CliError {
    pub(crate) kind: Kind,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl CliError {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    pub(crate) fn other(message: impl Into<String>) -> Self {
        Self::new(Kind::Other, message)
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The process's exit code.
    pub(crate) fn code(&self) -> ExitCode {
        ExitCode::from(self.kind as u8)
    }
}

impl fmt::Display for CliError {
    /// One sentence, and the hint on a line of its own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl From<SourceError> for CliError {
    fn from(error: SourceError) -> Self {
        let fault = error.fault();
        let kind = match fault.kind {
            SourceErrorKind::MissingParameter { .. } | SourceErrorKind::InvalidParameter { .. } => Kind::Usage,
            SourceErrorKind::Cancelled => Kind::Interrupted,
            _ => Kind::Source,
        };
        Self { kind, message: fault.message.clone(), hint: fault.hint.clone() }
    }
}

impl From<LakeError> for CliError {
    fn from(error: LakeError) -> Self {
        match error {
            LakeError::Definite(fault) | LakeError::NoRoom(fault) | LakeError::Transient(fault) => {
                Self { kind: Kind::Lake, message: fault.message, hint: fault.hint }
            }
            LakeError::Overtaken { .. } => Self::new(Kind::Lake, error.to_string()),
        }
    }
}

impl From<JobError> for CliError {
    fn from(error: JobError) -> Self {
        match error {
            JobError::Definite(failure) | JobError::Transient(failure, _) => failure.into(),
            JobError::Cancelled => Self::new(Kind::Interrupted, "interrupted; the table is as it was"),
            JobError::Overtaken { .. } => Self::new(Kind::Lake, error.to_string()),
        }
    }
}

impl From<Failure> for CliError {
    fn from(failure: Failure) -> Self {
        let kind = match failure.stage {
            Stage::Source => Kind::Source,
            Stage::Data => Kind::Data,
            Stage::Lake => Kind::Lake,
        };
        Self { kind, message: failure.message, hint: failure.hint }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stage_has_its_exit_code() {
        let ended = |stage| CliError::from(Failure { stage, message: "m".into(), hint: None }).kind as u8;
        assert_eq!([ended(Stage::Source), ended(Stage::Lake), ended(Stage::Data)], [3, 4, 5]);
        assert_eq!(CliError::from(JobError::Cancelled).kind as u8, 130);
    }

    #[test]
    fn the_hint_stands_on_a_line_of_its_own() {
        let error = CliError::usage("could not read the file").with_hint("check its name");
        assert_eq!(error.to_string(), "error: could not read the file\nhint: check its name");
    }
}
