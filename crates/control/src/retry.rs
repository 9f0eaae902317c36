//! What follows a broken attempt: one pure decision, so that there is no retry logic anywhere else.
//!
//! Retries are data (an attempt, a time), not a loop: the decision is stored with the run, and whoever claims the run
//! when the time has come makes the next attempt (mysql-sources.md 16). What the attempts so far have taught, how each is
//! best tried again above all, is stored with them: a decision is the same before and after a crash.

use std::time::Duration;

use headwaters_model::job::{Failure, JobError, Splits, Stage};
use headwaters_model::source_error::{Retry, SourceError};
use headwaters_store::{AttemptRecord, PAUSE_MS_MAX};

use crate::error::CommandError;

/// How many attempts a run may take.
pub const ATTEMPTS_MAX: u32 = 5;
/// The ceiling of the first pause.
pub(crate) const BACKOFF_FIRST: Duration = Duration::from_millis(500);
/// The ceiling of the first pause where waiting is what helps: a server that restarts, a table that is being altered.
pub(crate) const BACKOFF_FIRST_LONG: Duration = Duration::from_secs(8);
/// The first pause of a run whose commit is in doubt.
const DOUBT_PAUSE_MIN: Duration = Duration::from_secs(1);
/// The ceiling of every pause.
pub(crate) const BACKOFF_MAX: Duration = Duration::from_secs(60);
// What is leased for longer counts as let go (store, leases.rs).
const _: () = assert!(BACKOFF_MAX.as_secs() * 1000 <= PAUSE_MS_MAX.unsigned_abs());
/// What passes at least before that is tried again which may be tried again once only: whoever sets a name or a password
/// right needs a moment.
pub(crate) const ONCE_PAUSE_MIN: Duration = Duration::from_secs(3);
/// How much longer the ceiling of each pause is than that of the one before: the few attempts of a run outlast the restart
/// of a server.
const BACKOFF_GROWTH: u32 = 4;
/// The same where the first pause is long already.
const BACKOFF_GROWTH_LONG: u32 = 2;
/// How many connections an attempt has at most once that many were too many: each time half of it, and one in the end.
const READERS_ONCE_TOO_MANY_MAX: u32 = 2;
/// How much smaller the key ranges get each time that they were too large.
const FINER_GROWTH: u32 = 4;

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

/// Decides what follows a broken attempt.
///
/// `earlier` are the attempts of the run before it, and `rows_in` is how many rows it had read itself. `jitter` is a
/// fraction between 0 and 1 (full jitter): many runs that lost the same server don't come back as one.
#[must_use]
pub(crate) fn after(error: JobError, earlier: &[AttemptRecord], rows_in: u64, jitter: f64) -> Next {
    let attempt = used(earlier) + 1;
    match error {
        JobError::Definite(failure) => Next::Stop(failure),
        JobError::Transient(failure, retry @ Retry::Once(_)) if times(earlier, &[retry]) > 0 => {
            Next::Stop(twice(failure))
        }
        JobError::Transient(failure, retry) if attempt >= ATTEMPTS_MAX => {
            let midway = retry == Retry::Reconnect && rows_in > 0 && counted(earlier).all(was_lost_midway);
            Next::Stop(if midway { with_suspicion(exhausted(failure)) } else { exhausted(failure) })
        }
        JobError::Transient(because, retry) => {
            // Lost before a row came: nobody lets us in, or a server that is just starting does.
            let waits = if retry == Retry::Reconnect && rows_in == 0 { Retry::Later } else { retry };
            Next::Again { after: pause(waits, attempt, jitter), because }
        }
        JobError::Cancelled => Next::Stop(cancelled()),
        JobError::Overtaken { .. } if attempt >= ATTEMPTS_MAX => Next::Stop(overtaken()),
        JobError::Overtaken { .. } => Next::LookAgain { because: overtaken() },
    }
}

/// How an attempt that broke is best tried again, as far as that was for the source to say.
pub(crate) fn retry_of(error: &JobError) -> Option<Retry> {
    match error {
        JobError::Transient(_, retry) => Some(*retry),
        JobError::Definite(_) | JobError::Cancelled | JobError::Overtaken { .. } => None,
    }
}

/// Why an attempt could not even begin to read: whether another one may is the source's or the store's to say.
pub(crate) fn unprepared(error: &CommandError) -> JobError {
    let failure = Failure { stage: Stage::Source, message: error.to_string(), hint: error.hint().map(str::to_owned) };
    match error {
        CommandError::Store(store) if store.is_transient() => JobError::Transient(failure, Retry::Again),
        CommandError::Source(SourceError::Transient(fault)) => JobError::Transient(failure, fault.retry),
        _ => JobError::Definite(failure),
    }
}

/// How many connections the next attempt of the run may have; none is as many as it likes.
#[must_use]
pub(crate) fn readers_max(earlier: &[AttemptRecord]) -> Option<u32> {
    match times(earlier, &[Retry::FewerReaders, Retry::Lighter]) {
        0 => None,
        times => Some(READERS_ONCE_TOO_MANY_MAX.checked_shr(times - 1).unwrap_or(0).max(1)),
    }
}

/// Into how many key ranges the next attempt of the run cuts what it would cut into `asked`.
#[must_use]
pub(crate) fn splits(asked: Splits, earlier: &[AttemptRecord]) -> Splits {
    let finer = FINER_GROWTH.saturating_pow(times(earlier, &[Retry::SmallerSplits, Retry::Lighter]));
    match asked {
        _ if finer == 1 => asked,
        Splits::Auto => Splits::Finer(finer),
        Splits::Exactly(count) => Splits::Exactly(count.saturating_mul(finer)),
        Splits::Finer(times) => Splits::Finer(times.saturating_mul(finer)),
    }
}

/// What a person should know when a run has reached more than one server: after a failover the new one may lack the newest
/// commits of the old one (mysql-sources.md 16).
#[must_use]
pub(crate) fn moved(earlier: &[AttemptRecord], now: Option<&str>) -> Option<String> {
    let now = now?;
    let before = earlier.iter().rev().filter_map(|attempt| attempt.server.as_deref()).find(|server| *server != now)?;
    Some(format!(
        "an earlier attempt reached another server ({before}) than the one that was read ({now}), which may lack the \
         newest commits of the first"
    ))
}

/// The pause after attempt number `attempt` (from 1): full jitter below a ceiling that grows up to [`BACKOFF_MAX`]. Where
/// waiting is what helps, the ceiling starts higher and at least half of it is waited.
#[must_use]
pub(crate) fn pause(retry: Retry, attempt: u32, jitter: f64) -> Duration {
    let ceiling = |first: Duration, growth: u32| {
        first.saturating_mul(growth.saturating_pow(attempt.saturating_sub(1))).min(BACKOFF_MAX)
    };
    let jitter = jitter.clamp(0.0, 1.0);
    match retry {
        Retry::Later | Retry::Lighter => ceiling(BACKOFF_FIRST_LONG, BACKOFF_GROWTH_LONG).mul_f64(0.5 + jitter / 2.0),
        Retry::Once(_) => ONCE_PAUSE_MIN + ceiling(BACKOFF_FIRST, BACKOFF_GROWTH).mul_f64(jitter),
        _ => ceiling(BACKOFF_FIRST, BACKOFF_GROWTH).mul_f64(jitter),
    }
}

/// How many of a run's attempts count: all but those that an orderly shutdown cut short, or that did what they were for.
/// One without an end died with its process, and counts, so that a run that kills its worker does not do so for ever.
#[must_use]
pub(crate) fn used(attempts: &[AttemptRecord]) -> u32 {
    u32::try_from(counted(attempts).count()).unwrap_or(u32::MAX)
}

fn counted(attempts: &[AttemptRecord]) -> impl Iterator<Item = &AttemptRecord> {
    attempts.iter().filter(|attempt| attempt.ended_at_ms.is_none() || attempt.error.is_some())
}

/// How many attempts broke in one of these ways.
fn times(attempts: &[AttemptRecord], ways: &[Retry]) -> u32 {
    let broken = attempts.iter().filter(|attempt| attempt.retry.is_some_and(|retry| ways.contains(&retry)));
    u32::try_from(broken.count()).unwrap_or(u32::MAX)
}

fn was_lost_midway(attempt: &AttemptRecord) -> bool {
    attempt.retry == Some(Retry::Reconnect) && attempt.rows_in > 0
}

/// What a run shows whose attempts are used up, found by whoever was to make the next one: what broke the last, or that it
/// died.
#[must_use]
pub(crate) fn worn_out(attempts: &[AttemptRecord]) -> Failure {
    let message = format!("the run could not be brought to its end in {ATTEMPTS_MAX} attempts");
    match counted(attempts).last().and_then(|last| last.error.as_ref()) {
        Some(error) => Failure { stage: Stage::Data, message: format!("{message}; the last: {error}"), hint: None },
        None => Failure {
            stage: Stage::Data,
            message,
            hint: Some("the process or its store failed in the middle of it: the log tells why".to_owned()),
        },
    }
}

/// How long a run waits whose commit is in doubt and whose table does not answer, after it has been for so long: as long
/// again, up to [`BACKOFF_MAX`]. There is no end to that, because a run in doubt must not be closed.
#[must_use]
pub(crate) fn pause_in_doubt(doubted: Duration) -> Duration {
    doubted.clamp(DOUBT_PAUSE_MIN, BACKOFF_MAX)
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

fn twice(failure: Failure) -> Failure {
    Failure { message: format!("{} (for the second time in this run)", failure.message), ..failure }
}

/// mysql-sources.md 16: lost again and again with rows on their way, it may be one of the rows.
fn with_suspicion(failure: Failure) -> Failure {
    let hint = "every attempt was cut off after it had read rows: look in the log of the source for the reason, and \
        whether one row is larger than the server, or a proxy before it, lets through (max_allowed_packet)";
    Failure { hint: Some(hint.to_owned()), ..failure }
}

#[cfg(test)]
mod tests;
