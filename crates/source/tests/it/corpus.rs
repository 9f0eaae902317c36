//! Replays the corpora of the fuzz targets: what once broke a reader of outside bytes never does again.
#![expect(clippy::unwrap_used, reason = "the corpora are there, or the test fails")]

use std::fs;
use std::path::Path;

#[path = "../../../../fuzz/src/lib.rs"]
#[expect(clippy::expect_used, unreachable_pub, reason = "it is the library of the fuzz targets, where both are right")]
mod targets;

/// Runs a target over its corpus, which must not be empty.
fn replay(name: &str, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(name);
    let mut inputs = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        target(&fs::read(entry.unwrap().path()).unwrap());
        inputs += 1;
    }
    assert!(inputs > 0, "{} is empty", folder.display());
}

#[test]
fn what_a_server_says_never_breaks_the_client() {
    replay("packet", targets::packet);
}

#[test]
fn rows_of_any_bytes_are_read_or_refused() {
    replay("row", targets::row);
}

#[test]
fn connection_strings_are_read_or_refused_and_stay_readable_when_masked() {
    replay("dsn", targets::dsn);
}

#[test]
fn row_filters_are_read_or_refused() {
    replay("row_filter", targets::row_filter);
}
