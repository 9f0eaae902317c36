//! What follows a broken attempt: one pure decision, so that there is no retry logic anywhere else.
//!
//! Retries are data (an attempt, a time), not a loop: the decision is stored with the run, and whoever claims the run
//! when the time has come makes the next attempt (mysql-sources.md 16).

use std::time::Duration;

use headwaters_model::job::{Failure, JobError, Stage};
use headwaters_model::source_error::SourceError;
use headwaters_store::AttemptRecord;

use crate::error::CommandError;

/// How many attempts a run may take.
pub const ATTEMPTS_MAX: u32 = 5;
/// The ceiling of the first pause.
pub(crate) const BACKOFF_FIRST: Duration = Duration::from_millis(500);
/// The ceiling of every pause.
pub(crate) const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// What follows a broken attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next {
    /// Another attempt after a pause.
    Again {
        /// How long to wait.
        after: Duration,
        /// Why this attempt broke.
        because: Failure,
    },
    /// Look at the table again at once: another attempt of the flow has changed it.
    LookAgain {
        /// What is shown of this attempt.
        because: Failure,
    },
    /// The run is over.
    Stop(Failure),
}

/// Decides what follows attempt number `attempt` (from 1) of a run.
///
/// `jitter` is a fraction between 0 and 1 (full jitter): many runs that lost the same server don't come back as one.
#[must_use]
pub(crate) fn after(error: JobError, attempt: u32, jitter: f64) -> Next {
    match error {
        JobError::Definite(failure) => Next::Stop(failure),
        JobError::Transient(failure) if attempt >= ATTEMPTS_MAX => Next::Stop(exhausted(failure)),
        JobError::Transient(failure) => Next::Again { after: pause(attempt, jitter), because: failure },
        JobError::Cancelled => Next::Stop(cancelled()),
        JobError::Overtaken { .. } if attempt >= ATTEMPTS_MAX => Next::Stop(overtaken()),
        JobError::Overtaken { .. } => Next::LookAgain { because: overtaken() },
    }
}

/// Why an attempt could not even begin to read: whether another one may is the source's or the store's to say.
pub(crate) fn unprepared(error: &CommandError) -> JobError {
    let failure = Failure { stage: Stage::Source, message: error.to_string(), hint: error.hint().map(str::to_owned) };
    match error {
        CommandError::Store(store) if store.is_transient() => JobError::Transient(failure),
        CommandError::Source(SourceError::Transient(_)) => JobError::Transient(failure),
        _ => JobError::Definite(failure),
    }
}

/// The pause after attempt number `attempt`: full jitter below a ceiling that doubles up to [`BACKOFF_MAX`].
#[must_use]
pub(crate) fn pause(attempt: u32, jitter: f64) -> Duration {
    let doublings = attempt.saturating_sub(1).min(16);
    let ceiling = BACKOFF_FIRST.saturating_mul(1 << doublings).min(BACKOFF_MAX);
    ceiling.mul_f64(jitter.clamp(0.0, 1.0))
}

/// How many of a run's attempts count: all but those that an orderly shutdown cut short. One without an end died with
/// its process, and counts, so that a run that kills its worker does not do so for ever.
#[must_use]
pub(crate) fn used(attempts: &[AttemptRecord]) -> u32 {
    let cut_short = |attempt: &&AttemptRecord| attempt.ended_at_ms.is_some() && attempt.error.is_none();
    let counted = attempts.len() - attempts.iter().filter(cut_short).count();
    u32::try_from(counted).unwrap_or(u32::MAX)
}

/// What a run shows whose attempts are used up without an error of its own.
#[must_use]
pub(crate) fn worn_out() -> Failure {
    Failure {
        stage: Stage::Data,
        message: format!("the run could not be brought to its end in {ATTEMPTS_MAX} attempts"),
        hint: Some("the process or its store failed in the middle of it: the log tells why".to_owned()),
    }
}

/// What a run shows that was told to stop.
#[must_use]
pub(crate) fn cancelled() -> Failure {
    Failure {
        stage: Stage::Data,
        message: "the run was cancelled before its rows were committed".to_owned(),
        hint: Some("nothing of it is visible in the data set".to_owned()),
    }
}

fn overtaken() -> Failure {
    Failure {
        stage: Stage::Lake,
        message: "another attempt of this flow committed first, so this one was dropped".to_owned(),
        hint: None,
    }
}

fn exhausted(failure: Failure) -> Failure {
    Failure { message: format!("{} (attempt {ATTEMPTS_MAX} of {ATTEMPTS_MAX})", failure.message), ..failure }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost() -> Failure {
        Failure { stage: Stage::Source, message: "the connection was lost".into(), hint: None }
    }

    #[test]
    fn a_definite_error_stops_at_the_first_attempt() {
        assert_eq!(after(JobError::Definite(lost()), 1, 0.5), Next::Stop(lost()));
    }

    #[test]
    fn a_transient_error_is_tried_again_until_the_attempts_are_used_up() {
        for attempt in 1..ATTEMPTS_MAX {
            assert!(matches!(after(JobError::Transient(lost()), attempt, 1.0), Next::Again { .. }));
        }
        let Next::Stop(shown) = after(JobError::Transient(lost()), ATTEMPTS_MAX, 1.0) else { panic!("must stop") };
        assert_eq!(shown.message, "the connection was lost (attempt 5 of 5)");
    }

    #[test]
    fn pauses_double_below_their_ceiling() {
        assert_eq!(pause(1, 1.0), Duration::from_millis(500));
        assert_eq!(pause(2, 1.0), Duration::from_secs(1));
        assert_eq!(pause(2, 0.25), Duration::from_millis(250));
        assert_eq!(pause(40, 1.0), BACKOFF_MAX);
    }

    #[test]
    fn an_attempt_that_a_shutdown_cut_short_does_not_count() {
        let attempt = |ended_at_ms, error: Option<&str>| AttemptRecord {
            ordinal: headwaters_model::offset::Ordinal::FIRST,
            started_at_ms: 0,
            ended_at_ms,
            error: error.map(str::to_owned),
        };
        let broke = attempt(Some(1), Some("lost"));
        assert_eq!(used(&[broke, attempt(Some(1), None), attempt(None, None)]), 2);
    }

    #[test]
    fn an_overtaken_attempt_looks_at_the_table_again() {
        assert!(matches!(after(JobError::Overtaken { found: None }, 1, 0.0), Next::LookAgain { .. }));
    }

    #[test]
    fn a_cancelled_run_is_not_tried_again() {
        assert_eq!(after(JobError::Cancelled, 1, 0.0), Next::Stop(cancelled()));
    }
}
