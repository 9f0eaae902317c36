//! Replays the corpora of the fuzz targets, and small changes of them, on the stable compiler: what once broke a reader
//! of outside bytes never does again.
#![expect(clippy::unwrap_used, reason = "the corpora are there, or the test fails")]

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

#[path = "../../../../fuzz/src/lib.rs"]
#[expect(clippy::expect_used, unreachable_pub, reason = "it is the library of the fuzz targets, where both are right")]
mod targets;

/// How many changed inputs each target gets.
const CHANGED_INPUTS: u32 = 500;

/// One change of an input, at a place that is taken modulo its length.
#[derive(Debug, Clone)]
enum Change {
    Replace(usize, u8),
    Insert(usize, u8),
    Remove(usize, usize),
    Repeat(usize, usize),
    Cut(usize),
}

fn change() -> impl Strategy<Value = Change> {
    let byte =
        prop_oneof![any::<u8>(), proptest::sample::select(&b"\0\x01\x7f\x80\xfa\xfb\xfc\xfd\xfe\xff=;'\"%&{}[]"[..])];
    prop_oneof![
        (any::<usize>(), byte.clone()).prop_map(|(at, byte)| Change::Replace(at, byte)),
        (any::<usize>(), byte).prop_map(|(at, byte)| Change::Insert(at, byte)),
        (any::<usize>(), 1..16_usize).prop_map(|(at, length)| Change::Remove(at, length)),
        (any::<usize>(), 1..64_usize).prop_map(|(at, length)| Change::Repeat(at, length)),
        any::<usize>().prop_map(Change::Cut),
    ]
}

fn changed(mut input: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for change in changes {
        let place = |at: usize, input: &[u8]| at % (input.len() + 1);
        match *change {
            Change::Replace(at, byte) => {
                let at = place(at, &input);
                if let Some(old) = input.get_mut(at) {
                    *old = byte;
                }
            }
            Change::Insert(at, byte) => input.insert(place(at, &input), byte),
            Change::Remove(at, length) => {
                let start = place(at, &input);
                input.drain(start..(start + length).min(input.len()));
            }
            Change::Repeat(at, length) => {
                let start = place(at, &input);
                let part = input[start..(start + length).min(input.len())].to_vec();
                input.splice(start..start, part);
            }
            Change::Cut(at) => input.truncate(place(at, &input)),
        }
    }
    input
}

/// Runs a target over its corpus, which must not be empty, and over changes of it.
fn replay(name: &str, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(name);
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let inputs: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    inputs.iter().for_each(|input| target(input));
    let mut runner = TestRunner::new(ProptestConfig::with_cases(CHANGED_INPUTS));
    let strategy = (proptest::sample::select(inputs), proptest::collection::vec(change(), 1..8));
    let outcome = runner.run(&strategy, |(input, changes)| {
        target(&changed(input, &changes));
        Ok(())
    });
    outcome.unwrap();
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

#[test]
fn filters_and_orders_of_lists_are_read_or_refused() {
    replay("filter", targets::filter);
}

#[test]
fn continuation_tokens_are_read_or_refused() {
    replay("token", targets::token);
}

#[test]
fn date_patterns_are_read_or_refused_and_sort_like_the_moments_that_they_spell() {
    replay("date_pattern", targets::date_pattern);
}
