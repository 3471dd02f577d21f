//! Presets as the contract lists them, the JSON shapes, limits, and properties.

use proptest::prelude::*;

use super::*;

const HOUR: Duration = Duration::from_secs(3_600);

fn read(json: &str) -> Schedule {
    serde_json::from_str(json).unwrap()
}

fn refuse(json: &str) -> String {
    serde_json::from_str::<Schedule>(json).unwrap_err().to_string()
}

#[test]
fn presets_are_as_promised() {
    let standard = Schedule::default();
    assert_eq!(standard.delays().len(), 12);
    assert_eq!(standard.span().as_secs(), 5 + 20 + 120 + 600 + 5 * 3_600 + 6 * 12 * 3_600);
    assert_eq!(standard.span().as_secs() / 3_600, 77);
    let hook0 = Schedule::preset(Preset::Hook0);
    assert_eq!(hook0.delays().len(), 24);
    let days = hook0.span().as_secs_f64() / 86_400.0;
    assert!((7.4..7.6).contains(&days), "{days}");
    assert_eq!(Schedule::preset(Preset::Quick).span(), Duration::from_secs(7));
    for preset in Preset::ALL {
        assert!(Schedule::list(Schedule::preset(preset).delays().to_vec()).is_ok(), "{preset} keeps the limits");
    }
}

#[test]
fn a_delay_follows_the_attempt_just_made() {
    let quick = Schedule::preset(Preset::Quick);
    let delays: Vec<Option<u64>> = (0..=4).map(|attempt| quick.delay(attempt).map(|delay| delay.as_secs())).collect();
    assert_eq!(delays, [Some(1), Some(1), Some(2), Some(4), None]);
    assert_eq!(quick.delay(u32::MAX), None);
    assert_eq!(read("[]").delay(1), None, "no retries at all");
}

#[test]
fn max_age_covers_all_jitter_and_a_day() {
    assert_eq!(read("[]").max_age(), 24 * HOUR);
    assert_eq!(read(r#"["10h"]"#).max_age(), 35 * HOUR);
}

#[test]
fn every_json_shape_is_read_and_written_as_it_was_meant() {
    for (json, written, delays_ms) in [
        (r#""quick""#, r#""quick""#, vec![1_000, 2_000, 4_000]),
        (r#"["5s", 60000, "1500ms"]"#, r#"["5s","1m","1500ms"]"#, vec![5_000, 60_000, 1_500]),
        (
            r#"{"exponential": {"base": 1000, "factor": 2, "cap": "5s", "budget": "17s"}}"#,
            r#"{"exponential":{"base":"1s","factor":2.0,"cap":"5s","budget":"17s"}}"#,
            vec![1_000, 2_000, 4_000, 5_000, 5_000],
        ),
    ] {
        let schedule = read(json);
        let given: Vec<u64> = schedule.delays().iter().copied().map(ms).collect();
        assert_eq!(given, delays_ms, "{json}");
        assert_eq!(serde_json::to_string(&schedule).unwrap(), written);
        assert_eq!(read(written), schedule);
    }
}

#[test]
fn bad_schedules_are_refused_with_their_reason() {
    let many = serde_json::to_string(&vec![1_000; 500]).unwrap();
    for (json, reason) in [
        (r#""fast""#, "unknown retry schedule `fast` (standard, hook0, quick)"),
        (r#"["5"]"#, "`5` is not a duration"),
        (r#"["1s", 50]"#, "retry 2 waits 50ms, allowed are 100ms to 7d"),
        (r#"["8d"]"#, "retry 1 waits 8d"),
        (r#"["7d","7d","7d","7d","3d"]"#, "the schedule lasts 31d, at most 30d are allowed"),
        (many.as_str(), "at most 100 retries"),
        ("[-1]", "a whole number of milliseconds"),
        ("[1.5]", "a whole number of milliseconds"),
        ("5", "the name of a preset"),
        ("null", "the name of a preset"),
        (r#"{"linear": {}}"#, "unknown field `linear`"),
        (r#"{"exponential": {"base": "1s"}}"#, "missing field"),
    ] {
        let message = refuse(json);
        assert!(message.contains(reason), "{json}: {message}");
    }
}

#[test]
fn bad_exponentials_are_refused_with_their_reason() {
    let exponential = |base: &str, factor: f64, cap: &str, budget: &str| {
        refuse(&format!(r#"{{"exponential":{{"base":"{base}","factor":{factor},"cap":"{cap}","budget":"{budget}"}}}}"#))
    };
    for (message, reason) in [
        (exponential("1s", 0.5, "1h", "1d"), "the factor must be between 1 and 10"),
        (exponential("1s", 11.0, "1h", "1d"), "the factor must be between 1 and 10"),
        (exponential("1h", 2.0, "1s", "1d"), "the cap 1s is below the base 1h"),
        (exponential("1h", 2.0, "2h", "1m"), "the budget 1m is below the base 1h"),
        (exponential("1ms", 2.0, "1s", "1d"), "retry 1 waits 1ms"),
        (exponential("1s", 2.0, "8d", "1d"), "waits 8d"),
        (exponential("1s", 1.0, "1s", "1d"), "at most 100 retries"),
        (exponential("7d", 1.0, "7d", "300d"), "the schedule lasts"),
    ] {
        assert!(message.contains(reason), "{message}");
    }
    let nan = Exponential { base: HOUR, factor: f64::NAN, cap: HOUR, budget: HOUR };
    assert!(matches!(Schedule::exponential(nan), Err(RetryError::FactorRange { .. })));
}

proptest! {
    #[test]
    fn exponentials_grow_up_to_their_cap_and_use_their_budget(
        base in 100_u64..100_000,
        factor in 1.0_f64..=10.0,
        over in 0_u64..10_000_000,
        budget in 0_u64..100_000_000,
    ) {
        let exponential = Exponential {
            base: Duration::from_millis(base),
            factor,
            cap: Duration::from_millis(base + over),
            budget: Duration::from_millis(budget),
        };
        let Ok(schedule) = Schedule::exponential(exponential) else { return Ok(()) };
        prop_assert!(schedule.delays().is_sorted());
        prop_assert!(schedule.delays().iter().all(|delay| *delay <= exponential.cap));
        prop_assert!(schedule.span() <= exponential.budget);
        let last = schedule.delays().last().copied().unwrap_or(exponential.base);
        let one_more = schedule.span() + last.mul_f64(factor + 0.001).min(exponential.cap).max(exponential.base);
        prop_assert!(one_more + Duration::from_millis(1) >= exponential.budget, "another one would not have fitted");
        let json = serde_json::to_string(&schedule).unwrap();
        prop_assert_eq!(serde_json::from_str::<Schedule>(&json).unwrap(), schedule);
    }

    #[test]
    fn lists_round_trip_and_end(delays in proptest::collection::vec(100_u64..10_000_000, 0..=100)) {
        let durations: Vec<Duration> = delays.iter().copied().map(Duration::from_millis).collect();
        let schedule = Schedule::list(durations.clone()).unwrap();
        let made = u32::try_from(delays.len()).unwrap();
        let walked: Vec<Duration> = (1..).map_while(|attempt| schedule.delay(attempt)).collect();
        prop_assert_eq!(&walked, &durations);
        prop_assert_eq!(schedule.delay(made + 1), None);
        prop_assert!(schedule.max_age() >= schedule.span().mul_f64(1.1));
        let json = serde_json::to_string(&schedule).unwrap();
        prop_assert_eq!(serde_json::from_str::<Schedule>(&json).unwrap(), schedule);
    }
}
