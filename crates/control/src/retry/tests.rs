use headwaters_model::offset::Ordinal;

use super::*;

fn lost() -> Failure {
    Failure { stage: Stage::Source, message: "the connection was lost".into(), hint: None }
}

fn transient(retry: Retry) -> JobError {
    JobError::Transient(lost(), retry)
}

/// An attempt that broke in this way after so many rows.
fn broke(retry: Retry, rows_in: u64) -> AttemptRecord {
    AttemptRecord {
        ordinal: Ordinal::FIRST,
        started_at_ms: 0,
        ended_at_ms: Some(1),
        error: Some("lost".to_owned()),
        retry: Some(retry),
        rows_in,
        server: None,
    }
}

fn cut_short() -> AttemptRecord {
    AttemptRecord { error: None, retry: None, ..broke(Retry::Again, 9) }
}

fn on(server: &str) -> AttemptRecord {
    AttemptRecord { server: Some(server.to_owned()), ..broke(Retry::Again, 0) }
}

fn stopped(next: Next) -> Failure {
    match next {
        Next::Stop(shown) => shown,
        other => panic!("must stop: {other:?}"),
    }
}

#[test]
fn a_definite_error_stops_at_the_first_attempt() {
    assert_eq!(after(JobError::Definite(lost()), &[], 0, 0.5), Next::Stop(lost()));
}

#[test]
fn a_transient_error_is_tried_again_until_the_attempts_are_used_up() {
    let mut earlier = Vec::new();
    for _ in 1..ATTEMPTS_MAX {
        let next = after(transient(Retry::Again), &earlier, 7, 1.0);
        assert!(matches!(next, Next::Again { .. }), "{next:?}");
        earlier.push(broke(Retry::Again, 7));
    }
    let shown = stopped(after(transient(Retry::Again), &earlier, 7, 1.0));
    assert_eq!(shown.message, "the connection was lost (attempt 5 of 5)");
    assert_eq!(shown.hint, None, "nothing was lost midway");
}

#[test]
fn what_may_happen_once_stops_the_run_when_it_happens_again() {
    let killed = Retry::Once(1317);
    assert!(matches!(after(transient(killed), &[], 0, 1.0), Next::Again { .. }));
    let others = [broke(Retry::Reconnect, 0), broke(Retry::Once(2005), 0)];
    assert!(matches!(after(transient(killed), &others, 0, 1.0), Next::Again { .. }), "another number is another cause");
    let shown = stopped(after(transient(killed), &[broke(killed, 0), broke(Retry::Again, 0)], 0, 1.0));
    assert_eq!(shown.message, "the connection was lost (for the second time in this run)");
}

#[test]
fn a_row_is_suspected_when_every_attempt_was_lost_midway() {
    let shown = |earlier: &[AttemptRecord], rows_in| stopped(after(transient(Retry::Reconnect), earlier, rows_in, 1.0));
    let midway: Vec<_> = [500, 500, 500, 501].map(|rows| broke(Retry::Reconnect, rows)).into();
    assert!(shown(&midway, 500).hint.unwrap().contains("max_allowed_packet"));
    assert_eq!(shown(&midway, 0).hint, None);
    let mut with_a_shutdown = midway.clone();
    with_a_shutdown.push(cut_short());
    assert!(shown(&with_a_shutdown, 500).hint.is_some());
    for other in [broke(Retry::Reconnect, 0), broke(Retry::Later, 500)] {
        let mut mixed = midway.clone();
        mixed[2] = other;
        assert_eq!(shown(&mixed, 500).hint, None);
    }
}

#[test]
fn pauses_grow_below_their_ceiling() {
    let ceilings: Vec<_> = (1..ATTEMPTS_MAX).map(|attempt| pause(Retry::Again, attempt, 1.0).as_millis()).collect();
    assert_eq!(ceilings, [500, 2_000, 8_000, 32_000]);
    assert_eq!(pause(Retry::Reconnect, 1, 0.5), BACKOFF_FIRST / 2);
    assert_eq!(pause(Retry::FewerReaders, 3, 0.0), Duration::ZERO, "full jitter");
    assert_eq!(pause(Retry::Again, u32::MAX, 1.0), BACKOFF_MAX);
}

#[test]
fn where_waiting_helps_the_pauses_are_long_from_the_first() {
    for retry in [Retry::Later, Retry::Lighter] {
        let least: Vec<_> = (1..ATTEMPTS_MAX).map(|attempt| pause(retry, attempt, 0.0).as_secs()).collect();
        let most: Vec<_> = (1..ATTEMPTS_MAX).map(|attempt| pause(retry, attempt, 1.0).as_secs()).collect();
        assert_eq!((least, most), (vec![4, 8, 16, 30], vec![8, 16, 32, 60]));
    }
}

#[test]
fn the_attempts_of_a_run_outlast_the_restart_of_a_server_whatever_the_dice_say() {
    for refused in [Retry::Later, Retry::Reconnect] {
        let (mut earlier, mut waited) = (Vec::new(), Duration::ZERO);
        for _ in 1..ATTEMPTS_MAX {
            match after(transient(refused), &earlier, 0, 0.0) {
                Next::Again { after, .. } => waited += after,
                other => panic!("another attempt: {other:?}"),
            }
            earlier.push(broke(refused, 0));
        }
        assert!(waited >= Duration::from_secs(50), "{refused:?}: {waited:?}");
    }
    let midway = after(transient(Retry::Reconnect), &[], 7, 1.0);
    assert!(matches!(midway, Next::Again { after, .. } if after == BACKOFF_FIRST), "{midway:?}");
}

#[test]
fn what_may_happen_once_is_not_tried_again_at_once() {
    for number in [1045, 2005] {
        assert_eq!(pause(Retry::Once(number), 1, 0.0), ONCE_PAUSE_MIN);
        assert_eq!(pause(Retry::Once(number), 1, 1.0), ONCE_PAUSE_MIN + BACKOFF_FIRST);
    }
}

#[test]
fn a_run_in_doubt_waits_as_long_as_it_has_doubted_within_bounds() {
    let pauses = [0, 7, 3_600].map(|doubted_s| pause_in_doubt(Duration::from_secs(doubted_s)).as_secs());
    assert_eq!(pauses, [1, 7, 60]);
}

#[test]
fn a_run_without_attempts_left_shows_what_broke_the_last() {
    let worn = worn_out(&vec![broke(Retry::Again, 0); 5]);
    assert!(worn.message.ends_with("; the last: lost"), "{}", worn.message);
    assert_eq!(worn.hint, None);
    let died = AttemptRecord { ended_at_ms: None, error: None, retry: None, ..broke(Retry::Again, 0) };
    assert!(
        worn_out(&[broke(Retry::Again, 0), died]).hint.is_some_and(|hint| hint.contains("the process or its store"))
    );
}

#[test]
fn each_attempt_that_met_a_full_server_halves_the_readers_of_the_next() {
    let full = broke(Retry::FewerReaders, 0);
    assert_eq!(readers_max(&[broke(Retry::Again, 0), cut_short()]), None);
    assert_eq!(readers_max(std::slice::from_ref(&full)), Some(2));
    assert_eq!(readers_max(&[full.clone(), broke(Retry::Lighter, 0)]), Some(1));
    assert_eq!(readers_max(&vec![full; 100]), Some(1));
}

#[test]
fn each_attempt_that_took_too_long_makes_the_ranges_of_the_next_smaller() {
    let long = broke(Retry::SmallerSplits, 0);
    assert_eq!(splits(Splits::Auto, &[broke(Retry::FewerReaders, 0)]), Splits::Auto);
    assert_eq!(splits(Splits::Auto, std::slice::from_ref(&long)), Splits::Finer(4));
    assert_eq!(splits(Splits::Auto, &[long.clone(), broke(Retry::Lighter, 0)]), Splits::Finer(16));
    assert_eq!(splits(Splits::Exactly(3), std::slice::from_ref(&long)), Splits::Exactly(12));
    assert_eq!(splits(Splits::Auto, &vec![long; 100]), Splits::Finer(u32::MAX));
}

#[test]
fn a_run_that_reached_two_servers_says_so() {
    assert_eq!(moved(&[], Some("a")), None);
    assert_eq!(moved(&[on("a"), broke(Retry::Again, 0)], Some("a")), None);
    let note = moved(&[on("a"), broke(Retry::Again, 0)], Some("b")).unwrap();
    assert!(note.contains("another server (a)") && note.contains("(b)"), "{note}");
    assert_eq!(moved(&[on("a")], None), None, "nobody knows");
}

#[test]
fn an_attempt_that_a_shutdown_cut_short_does_not_count() {
    let died = AttemptRecord { ended_at_ms: None, error: None, retry: None, ..broke(Retry::Again, 0) };
    assert_eq!(used(&[broke(Retry::Again, 0), cut_short(), died]), 2);
}

#[test]
fn an_overtaken_attempt_looks_at_the_table_again() {
    assert!(matches!(after(JobError::Overtaken { found: None }, &[], 0, 0.0), Next::LookAgain { .. }));
}

#[test]
fn a_cancelled_run_is_not_tried_again() {
    assert_eq!(after(JobError::Cancelled, &[], 0, 0.0), Next::Stop(cancelled()));
}
