//! What is told while a job runs.
//!
//! Counters are told now and then and may be dropped when nobody keeps up; the other events wait for room. A receiver
//! that is gone is no error: the job goes on.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use headwaters_model::job::{RunEvent, Totals};
use tokio::sync::mpsc;

/// Counters are told at most this often.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

/// Counts what all pipelines of a job have done, and tells it.
pub(crate) struct Progress {
    events: mpsc::Sender<RunEvent>,
    counted: Mutex<Counted>,
}

struct Counted {
    totals: Totals,
    told_at: Instant,
}

impl Progress {
    pub(crate) fn new(events: mpsc::Sender<RunEvent>) -> Self {
        let counted = Counted { totals: Totals::default(), told_at: Instant::now() };
        Self { events, counted: Mutex::new(counted) }
    }

    /// Adds a part, and tells the sum if it is time.
    pub(crate) fn add(&self, part: Totals) {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        counted.totals.add(part);
        if counted.told_at.elapsed() >= PROGRESS_INTERVAL {
            counted.told_at = Instant::now();
            let _ = self.events.try_send(RunEvent::Progress(counted.totals));
        }
    }

    /// The sum so far.
    pub(crate) fn totals(&self) -> Totals {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner).totals
    }

    /// Tells something else.
    pub(crate) async fn tell(&self, event: RunEvent) {
        let _ = self.events.send(event).await;
    }
}
