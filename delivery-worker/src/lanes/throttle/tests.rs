//! Endpoints that turn away what is too much, in virtual time of a millisecond's steps.

use super::*;

/// An endpoint that takes so many in each interval, of the wall or from its first request on.
struct Limiter {
    most: u32,
    every_ms: i64,
    interval: i64,
    taken: u32,
}

impl Limiter {
    fn new(most: u32, every_ms: i64) -> Self {
        Self { most, every_ms, interval: -1, taken: 0 }
    }

    fn takes(&mut self, now_ms: i64) -> bool {
        if now_ms / self.every_ms != self.interval {
            (self.interval, self.taken) = (now_ms / self.every_ms, 0);
        }
        self.taken += 1;
        self.taken <= self.most
    }
}

/// What a lane of 32 places with enough to send gets done there: when each was taken and turned away.
fn run(limiter: &mut Limiter, how: Refusing, to_ms: i64) -> (Vec<i64>, Vec<i64>) {
    let (mut throttle, mut taken, mut refused) = (Throttle::default(), Vec::new(), Vec::new());
    // What is under way: when it ends, and its number.
    let mut flying: Vec<(i64, u64, bool)> = Vec::new();
    let mut next = 0;
    for now_ms in 0..to_ms {
        let (ended, rest): (Vec<_>, Vec<_>) = flying.into_iter().partition(|(ends_ms, ..)| *ends_ms <= now_ms);
        flying = rest;
        for (_, number, is_taken) in ended {
            if is_taken {
                taken.push(now_ms);
                throttle.on_success(number, 32_000.0, now_ms);
            } else {
                refused.push(now_ms);
                throttle.on_refusal(how, (number, next), now_ms);
            }
        }
        while flying.len() < 4 && throttle.rate_mut().is_none_or(|rate| rate.bucket_mut().try_take(now_ms)) {
            let is_taken = limiter.takes(now_ms);
            flying.push((now_ms + if is_taken { 20 } else { 1 }, next, is_taken));
            next += 1;
        }
    }
    (taken, refused)
}

fn between(times: &[i64], from_ms: i64, to_ms: i64) -> usize {
    times.iter().filter(|at| (from_ms..to_ms).contains(*at)).count()
}

#[test]
fn ten_a_second_are_found_within_seconds_and_few_are_turned_away() {
    let (taken, refused) = run(&mut Limiter::new(10, 1_000), Refusing::TooMany, 60_000);
    assert!(between(&taken, 3_000, 13_000) >= 80, "{}", between(&taken, 3_000, 13_000));
    assert!(taken.len() >= 540, "{} of 600", taken.len());
    assert!(between(&refused, 0, 1_000) <= 12, "{}", between(&refused, 0, 1_000));
    assert!(refused.len() <= 25, "{refused:?}");
}

#[test]
fn a_burst_once_a_minute_is_not_taken_for_a_rate() {
    let (taken, refused) = run(&mut Limiter::new(60, 60_000), Refusing::TooMany, 600_000);
    assert!(between(&taken, 120_000, 600_000) >= 380, "{}", between(&taken, 120_000, 600_000));
    assert!(refused.len() <= 130, "{}", refused.len());
}

#[test]
fn a_limit_that_is_gone_is_gone_within_a_minute() {
    let mut throttle = Throttle::default();
    throttle.on_refusal(Refusing::TooMany, (0, 1), 0);
    let mut now_ms = 0;
    while throttle.rate().is_some() {
        now_ms += 1;
        if throttle.rate_mut().is_some_and(|rate| rate.bucket_mut().try_take(now_ms)) {
            throttle.on_success(1, 1_600.0, now_ms);
        }
        assert!(now_ms < 75_000, "{:?}", throttle.rate());
    }
}

#[test]
fn overload_slows_to_what_succeeded_and_says_nothing_where_little_was_sent() {
    let mut quiet = Throttle::default();
    quiet.on_success(0, 1_600.0, 0);
    quiet.on_refusal(Refusing::Overloaded, (1, 2), 20);
    assert!(quiet.rate().is_none());
    quiet.on_refusal(Refusing::TooMany, (2, 3), 20);
    assert!(quiet.rate().is_some_and(|rate| (rate.per_second() - LEAST_GOAL).abs() < 1e-9));

    let (taken, refused) = run(&mut Limiter::new(50, 1_000), Refusing::Overloaded, 30_000);
    assert!(between(&taken, 3_000, 30_000) >= 27 * 42, "{}", between(&taken, 3_000, 30_000));
    assert!(between(&refused, 3_000, 30_000) <= 60, "{}", between(&refused, 3_000, 30_000));
}

#[test]
fn what_was_under_way_together_lowers_it_once() {
    let mut throttle = Throttle::default();
    for number in 0..40 {
        throttle.on_success(number, 1_600.0, 50);
    }
    for number in 40..48 {
        throttle.on_refusal(Refusing::TooMany, (number, 48), 51);
    }
    assert!(throttle.rate().is_some_and(|rate| (rate.per_second() - 40.0 * SHARE).abs() < 1e-9));
}
