//! Looks after the tables of all data sets, one at a time (`lake.care_minutes`).
//!
//! **Invariant.** No file is deleted that a commit may still need: what an attempt lands is younger than its run, so the
//! moment before which files may go lies before the oldest run that is at work (docs/architecture.md, section 4), however
//! long it takes. A `copy` from beside has `lake.vacuum_hours`. Files have the times of whoever keeps them, runs those of
//! this machine: a margin covers what the clocks differ. Where it does not, the commit of a file that is gone is refused.
//!
//! Runs go on meanwhile: the lake puts files together in commits of its own, and a run that is beaten by one looks again.

use std::time::{Duration, Instant};

use headwaters_model::care::{CareLimits, CareReport};
use headwaters_store::{CareClaim, StoreError};
use metrics::{Unit, counter, describe_counter, describe_histogram, histogram};
use tokio::time::sleep;
use tracing::{debug, error, info, warn};

use crate::Control;
use crate::worker::millis;

/// How often a worker looks whether a table is due.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// How tables are looked after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CareSettings {
    /// `lake.care_minutes`: how often each table is looked after; none for never.
    pub every: Option<Duration>,
    /// `lake.vacuum_hours`: how long files are kept that no version of their table needs any more.
    pub kept: Duration,
    /// `lake.compact_files_min`: how many small files a table has before they are put together.
    pub small_files_min: usize,
}

impl Default for CareSettings {
    fn default() -> Self {
        Self {
            every: Some(Duration::from_secs(60 * CARE_MINUTES)),
            kept: Duration::from_secs(3600 * VACUUM_HOURS),
            small_files_min: COMPACT_FILES_MIN,
        }
    }
}

/// How far the clock of whoever keeps the files may be behind ours.
const CLOCK_SKEW_MAX: Duration = Duration::from_secs(3600);
/// How often each table is looked after by default.
const CARE_MINUTES: u64 = 60;
/// How long files are kept that no version needs, by default.
const VACUUM_HOURS: u64 = 168;
/// How many small files are put together, by default.
const COMPACT_FILES_MIN: usize = 16;

impl Control {
    /// Looks after every table that is due, until it is dropped.
    pub(crate) async fn keep_cared_for(self) {
        let Some(every) = self.settings.care.every else { return };
        describe_metrics();
        loop {
            if let Err(error) = self.care_for_due(every).await {
                error!(error = &error as &dyn std::error::Error, "could not look for tables to look after");
            }
            sleep(LOOK_EVERY.min(every)).await;
        }
    }

    async fn care_for_due(&self, every: Duration) -> Result<(), StoreError> {
        loop {
            let now_ms = self.clock.now_ms();
            let due_ms = now_ms.saturating_sub(millis(every));
            let Some(claim) = self.store.claim_care(due_ms, now_ms).await? else { return Ok(()) };
            self.care_for(&claim, now_ms).await;
        }
    }

    async fn care_for(&self, claim: &CareClaim, now_ms: i64) {
        let begun = Instant::now();
        let CareSettings { kept, small_files_min, .. } = self.settings.care;
        let vacuum_before_ms = not_needed_before_ms(claim.oldest_run_ms, kept, now_ms);
        let CareClaim { scope, data_set, location, .. } = claim;
        if is_held_back(vacuum_before_ms, kept, now_ms) {
            let hours = now_ms.saturating_sub(vacuum_before_ms) / 3_600_000;
            warn!(
                org = %scope.org, sandbox = %scope.sandbox_name, %data_set, %location, hours,
                "files that nobody needs stay far longer than lake.vacuum_hours, as a run is at work for so long"
            );
        }
        let limits = CareLimits { now_ms, small_files_min, vacuum_before_ms };
        let outcome = self.ports.lakes.care(location, limits).await;
        histogram!("headwaters_care_seconds").record(begun.elapsed());
        counter!("headwaters_care_tables_total").increment(1);
        match outcome {
            Ok(report) if report.is_idle() => debug!(%data_set, %location, "there was nothing to do for a table"),
            Ok(report) => {
                count(&report);
                info!(
                    org = %scope.org, sandbox = %scope.sandbox_name, %data_set, %location,
                    compacted_files = report.compacted_files, compacted_into = report.compacted_into,
                    compacted_bytes = report.compacted_bytes, deleted_files = report.deleted_files,
                    deleted_bytes = report.deleted_bytes, deleted_log_entries = report.deleted_log_entries,
                    seconds = begun.elapsed().as_secs_f64(), "looked after a table"
                );
            }
            Err(error) => {
                counter!("headwaters_care_failures_total").increment(1);
                warn!(
                    org = %scope.org, sandbox = %scope.sandbox_name, %data_set, %location, %error,
                    "could not look after a table; it is tried again when it is due"
                );
            }
        }
    }
}

/// The moment before which no file was landed that a commit may still need, and nothing was taken out of a table that is
/// to be kept.
fn not_needed_before_ms(oldest_run_ms: Option<i64>, kept: Duration, now_ms: i64) -> i64 {
    let expired_ms = now_ms.saturating_sub(millis(kept));
    oldest_run_ms.map_or(expired_ms, |made_ms| made_ms.saturating_sub(millis(CLOCK_SKEW_MAX)).min(expired_ms))
}

/// Whether a run holds files back for as long again as they are kept anyway.
fn is_held_back(before_ms: i64, kept: Duration, now_ms: i64) -> bool {
    let expected_ms = millis(kept.max(CLOCK_SKEW_MAX)).saturating_mul(2);
    before_ms < now_ms.saturating_sub(expected_ms)
}

fn count(report: &CareReport) {
    counter!("headwaters_compacted_files_total").increment(report.compacted_files);
    counter!("headwaters_compacted_bytes_total").increment(report.compacted_bytes);
    counter!("headwaters_vacuumed_files_total").increment(report.deleted_files);
    counter!("headwaters_vacuumed_bytes_total").increment(report.deleted_bytes);
}

fn describe_metrics() {
    describe_counter!("headwaters_care_tables_total", "times that a table was looked after");
    describe_counter!("headwaters_care_failures_total", "times that looking after a table failed");
    describe_histogram!("headwaters_care_seconds", Unit::Seconds, "how long it took to look after a table");
    describe_counter!("headwaters_compacted_files_total", "small files that were put together");
    describe_counter!("headwaters_compacted_bytes_total", Unit::Bytes, "bytes of small files that were put together");
    describe_counter!("headwaters_vacuumed_files_total", "files that were deleted because no version needs them");
    describe_counter!("headwaters_vacuumed_bytes_total", Unit::Bytes, "bytes of files that no version needs");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_needed_since_the_begin_of_the_oldest_run_however_long_it_takes() {
        let kept = Duration::from_secs(3600);
        for (oldest_run_ms, before_ms) in [
            (None, 96_400_000),
            (Some(99_999_000), 96_399_000),
            (Some(99_000_000), 95_400_000),
            (Some(4_000_000), 400_000),
        ] {
            assert_eq!(not_needed_before_ms(oldest_run_ms, kept, 100_000_000), before_ms, "{oldest_run_ms:?}");
        }
        assert!(!is_held_back(95_400_000, kept, 100_000_000));
        assert!(is_held_back(400_000, kept, 100_000_000), "a run that is at work for a day");
    }
}
