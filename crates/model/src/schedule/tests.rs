use proptest::prelude::*;
use serde_json::json;

use super::*;

fn parse(params: Value) -> Result<Schedule, ScheduleError> {
    Schedule::parse(params.as_object().unwrap(), &ScheduleRules::default())
}

#[test]
fn strings_and_native_values_mean_the_same() {
    let text = json!({ "startTime": "1612310466", "frequency": "minute", "interval": "15", "backfill": "true" });
    let native = json!({ "startTime": 1_612_310_466, "frequency": "minute", "interval": 15, "backfill": true });
    let every = Frequency::Every { interval: 15, unit: Unit::Minute, backfill: true };
    assert_eq!(parse(text), Ok(Schedule { start_s: 1_612_310_466, frequency: every }));
    assert_eq!(
        parse(native.clone()),
        parse(json!({ "startTime": "1612310466", "frequency": "minute", "interval": "15" }))
    );
}

#[test]
fn each_bad_input_has_its_own_cause() {
    use ScheduleError::{
        Empty, IntervalNotPositive, IntervalTooLarge, IntervalTooSmall, InvalidValue, Missing, OnceWithBackfill,
        OnceWithInterval, UnknownFrequency, UnreadableStart,
    };
    let cases = [
        (json!({}), Empty),
        (json!({ "frequency": "once" }), Missing { key: "startTime" }),
        (json!({ "startTime": null, "frequency": "once" }), Missing { key: "startTime" }),
        (json!({ "startTime": "soon", "frequency": "once" }), UnreadableStart),
        (json!({ "startTime": 1.5, "frequency": "once" }), UnreadableStart),
        (json!({ "startTime": 1 }), Missing { key: "frequency" }),
        (json!({ "startTime": 1, "frequency": "Once" }), UnknownFrequency),
        (json!({ "startTime": 1, "frequency": 7 }), UnknownFrequency),
        (json!({ "startTime": 1, "frequency": "once", "interval": 1 }), OnceWithInterval),
        (json!({ "startTime": 1, "frequency": "once", "backfill": "false" }), OnceWithBackfill),
        (json!({ "startTime": 1, "frequency": "day" }), Missing { key: "interval" }),
        (
            json!({ "startTime": 1, "frequency": "day", "interval": "x" }),
            InvalidValue { key: "interval", expected: "a whole number" },
        ),
        (json!({ "startTime": 1, "frequency": "day", "interval": 0 }), IntervalNotPositive),
        (json!({ "startTime": 1, "frequency": "minute", "interval": 14 }), IntervalTooSmall { min: 15 }),
        (json!({ "startTime": 1, "frequency": "week", "interval": i64::MAX }), IntervalTooLarge),
        (
            json!({ "startTime": 1, "frequency": "day", "interval": 1, "backfill": 1 }),
            InvalidValue { key: "backfill", expected: "true or false" },
        ),
    ];
    for (params, error) in cases {
        assert_eq!(parse(params.clone()), Err(error), "{params}");
    }
}

#[test]
fn a_start_within_the_grace_period_is_taken() {
    let once = parse(json!({ "startTime": 1000, "frequency": "once" })).unwrap();
    let rules = ScheduleRules::default();
    assert_eq!(once.check_start(1300, &rules), Ok(()));
    assert_eq!(once.check_start(1301, &rules), Err(ScheduleError::StartInPast { start_s: 1000, now_s: 1301 }));
}

#[test]
fn what_has_begun_is_not_rewritten() {
    use ScheduleError::{BackfillTooLate, OnceTooLate, StartPassed};
    let hourly = parse(json!({ "startTime": 1000, "frequency": "hour", "interval": 1, "backfill": false })).unwrap();
    let params = |start: &str, frequency: &str, backfill: Value| json!({ "startTime": start, "frequency": frequency, "interval": 2, "backfill": backfill });
    let cases = [
        (params("1000", "day", json!("false")), Ok(())),
        (params("1001", "hour", json!(false)), Err(StartPassed { start_s: 1000 })),
        (params("1000", "once", json!(false)), Err(OnceTooLate)),
        (params("1000", "hour", json!(true)), Err(BackfillTooLate)),
        (json!({ "startTime": 1000, "frequency": "hour" }), Err(BackfillTooLate)),
        (params("soon", "month", json!(7)), Ok(())),
    ];
    for (params, outcome) in cases {
        assert_eq!(hourly.check_change(params.as_object().unwrap(), 1000), outcome, "{params}");
        assert_eq!(hourly.check_change(params.as_object().unwrap(), 999), Ok(()), "not started: {params}");
    }
    let once = parse(json!({ "startTime": 1000, "frequency": "once" })).unwrap();
    assert_eq!(once.check_change(params("1000", "hour", json!(false)).as_object().unwrap(), 2000), Ok(()));
}

#[test]
fn a_flow_goes_on_at_its_next_instant() {
    let hourly = parse(json!({ "startTime": 1000, "frequency": "hour", "interval": 1 })).unwrap();
    assert_eq!((hourly.resumes_s(0), hourly.resumes_s(1000)), (Some(1000), Some(1000)));
    assert_eq!((hourly.resumes_s(1001), hourly.resumes_s(99_999)), (Some(4600), Some(101_800)));
    let once = parse(json!({ "startTime": 1000, "frequency": "once" })).unwrap();
    assert_eq!((once.resumes_s(0), once.resumes_s(99_999)), (Some(1000), Some(1000)));
}

#[test]
fn once_has_a_single_instant() {
    let once = parse(json!({ "startTime": 1000, "frequency": "once" })).unwrap();
    assert_eq!((once.due_s(999), once.due_s(1000), once.due_s(i64::MAX)), (None, Some(1000), Some(1000)));
    assert_eq!((once.next_after_s(0), once.next_after_s(1000)), (Some(1000), None));
}

prop_compose! {
    fn recurring()(start_s in 0i64..4_000_000_000, interval in 1i64..1000, unit in 0usize..4) -> Schedule {
        let unit = [Unit::Minute, Unit::Hour, Unit::Day, Unit::Week][unit];
        Schedule { start_s, frequency: Frequency::Every { interval, unit, backfill: true } }
    }
}

proptest! {
    #[test]
    fn the_due_instant_is_the_last_one_that_has_come(schedule in recurring(), passed in 0i64..10_000_000_000) {
        let now = schedule.start_s + passed;
        let due = schedule.due_s(now).unwrap();
        let next = schedule.next_after_s(due).unwrap();
        prop_assert!(due <= now && now < next);
        prop_assert_eq!(next - due, schedule.period_s().unwrap());
        prop_assert_eq!((due - schedule.start_s) % schedule.period_s().unwrap(), 0);
    }

    #[test]
    fn walking_from_instant_to_instant_skips_none(schedule in recurring(), k in 0u64..10_000) {
        let instant = schedule.instant_s(k).unwrap();
        prop_assert_eq!(schedule.next_after_s(instant), schedule.instant_s(k + 1));
        prop_assert_eq!(schedule.next_after_s(instant - 1), Some(instant));
    }

    #[test]
    fn no_number_makes_the_arithmetic_overflow(start_s: i64, interval in 1i64.., now_s: i64) {
        let frequency = Frequency::Every { interval, unit: Unit::Week, backfill: false };
        let schedule = Schedule { start_s, frequency };
        let _ = (schedule.due_s(now_s), schedule.next_after_s(now_s), schedule.check_start(now_s, &ScheduleRules::default()));
    }
}
