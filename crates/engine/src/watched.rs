//! How a key range shows in logs and metrics: a span while it is read and one while it is landed, and how long both took.
//! The two overlap: rows are landed while others are read.

use std::time::Instant;

use metrics::{Unit, describe_histogram, histogram};
use tracing::{Instrument as _, debug, info_span};

/// Reads a key range.
pub(crate) async fn read<T>(split: u32, work: impl Future<Output = T>) -> T {
    let begun = Instant::now();
    let span = info_span!("read", split);
    let read = work.instrument(span.clone()).await;
    histogram!("headwaters_split_read_seconds").record(begun.elapsed());
    span.in_scope(|| debug!("nothing more is read of a key range"));
    read
}

/// Lands a key range.
pub(crate) async fn land<T>(split: u32, work: impl Future<Output = T>) -> T {
    let begun = Instant::now();
    let span = info_span!("land", split);
    let landed = work.instrument(span.clone()).await;
    histogram!("headwaters_split_land_seconds").record(begun.elapsed());
    span.in_scope(|| debug!("nothing more is landed of a key range"));
    landed
}

/// Describes what is counted of key ranges.
pub(crate) fn describe_metrics() {
    describe_histogram!(
        "headwaters_split_read_seconds",
        Unit::Seconds,
        "how long it took to read a key range, waiting for who lands it included"
    );
    describe_histogram!(
        "headwaters_split_land_seconds",
        Unit::Seconds,
        "how long it took to land a key range, waiting for its rows included"
    );
}
