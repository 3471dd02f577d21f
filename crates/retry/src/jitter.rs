//! Jitter: what failed together must not come back together. It adds 0 to 10 % to a wait and never takes anything away.
//!
//! A wait is made of hops through tiers, the longest that fits first, and each hop writes the payload once. An arbitrary wait of
//! 13 h 7 min 33 s would take a dozen of them. So the end of a wait is moved, within the 10 %, to where the longest tier and **at
//! most one hop of one shorter one** lead: a *stop* `n x A` or `n x A + B`, plus a rest below the shortest tier that the scheduler
//! waits out (tiers below 5 s count only for waits that are shorter than all others). Of the stops in reach the last one before the
//! drawn end is taken, which keeps the spread as even as so few hops allow.
//!
//! So a retry writes its payload at most `n + 1` times to tiers, `n` being how often the longest tier that is not above the wait fits
//! into the wait with all its jitter, and once to `deliveries`. Where no such stop is in reach (10 h between tiers of 1 h and 4 h;
//! a wait that is a tier never meets it) one with several hops of the shorter tier is taken.
//!
//! Each hop may end late (a fraction of a second), which counts against what remains. A wait that stands exactly on a stop would
//! then fall below the next tier and pay for many short hops instead of one. So a rest behind several hops is drawn from above
//! [`SLACK_MS`] per hop, where the 10 % allow it.

use std::time::Duration;

use crate::duration::ms;
use crate::tiers::{Tier, Tiers};

/// The most that is added, in percent of the wait.
pub const JITTER_PERCENT: u64 = 10;

/// What one hop may be late without falling short of the next tier, in ms: a transaction's pace (200) and its duration, doubled.
const SLACK_MS: u64 = 500;

/// A stop that needs more hops than this is not used.
const MAX_HOPS: u64 = 24;

/// Where tiers lead to.
#[derive(Clone, Copy)]
struct Stop {
    ms: u64,
    hops: u64,
    /// Those through the shorter tier.
    shorter: u64,
}

/// Where a wait by way of a stop ends.
#[derive(Clone, Copy)]
struct End {
    ms: u64,
    /// Late hops are allowed for.
    has_slack: bool,
}

/// What the draw must respect, all in ms.
struct Bounds {
    /// The wait without jitter: never earlier.
    least: u64,
    /// The wait with all jitter: never later.
    most: u64,
    /// Where the draw would end without tiers.
    drawn: u64,
    /// The delay of the tier that the wait is in first.
    first: Duration,
    /// The delay of the shortest tier that may follow: less is waited out.
    shortest: u64,
    /// A second draw in 0..1, for the rest behind the stop.
    unit: f64,
}

/// The whole wait: between `wait` and 10 % more. `unit` in 0..1 chooses; anything outside counts as the nearest end.
#[must_use]
pub fn jittered(wait: Duration, unit: f64, tiers: &Tiers) -> Duration {
    let unit = if unit.is_nan() { 0.0 } else { unit.clamp(0.0, 1.0) };
    let least = ms(wait);
    let room = least / 100 * JITTER_PERCENT + least % 100 * JITTER_PERCENT / 100;
    let first = tiers.hop(wait).unwrap_or_else(|| tiers.shortest()).delay();
    let bounds = Bounds {
        least,
        most: least.saturating_add(room),
        drawn: least.saturating_add(share(room, unit)),
        first,
        shortest: ms(tiers.rest_after(first)),
        // The low digits of a draw are as good as a second one.
        unit: (unit * 8_191.0).fract(),
    };
    if bounds.most < bounds.shortest {
        return wait.max(Duration::from_millis(bounds.drawn));
    }
    let best_of = |most: u64| {
        let few = stops(&bounds, tiers).filter(|stop| stop.shorter <= most);
        few.filter_map(|stop| bounds.end(stop)).reduce(|one, other| bounds.better(one, other))
    };
    let best = best_of(1).or_else(|| best_of(u64::MAX));
    // Below a millisecond `wait` is the larger one.
    wait.max(Duration::from_millis(best.map_or(bounds.drawn, |end| end.ms)))
}

/// A number in 0..1 from a seed, well mixed: equal seeds give equal numbers, so that a replayed simulation is the same one.
#[must_use]
pub fn unit(seed: u64) -> f64 {
    // SplitMix64.
    let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    let top = u32::try_from(mixed >> 32).expect("32 bits are left");
    f64::from(top) / (f64::from(u32::MAX) + 1.0)
}

/// Every stop near the draw that the hops through at most two tiers reach.
fn stops<'a>(bounds: &'a Bounds, tiers: &'a Tiers) -> impl Iterator<Item = Stop> + 'a {
    let longest = |limit: u64| tiers.hop(Duration::from_millis(limit));
    let first = longest(bounds.least);
    let last = longest(bounds.most).filter(|tier| Some(*tier) != first);
    let counts = |total: u64, tier: u64| {
        let fits = total / tier;
        [fits, fits + 1]
    };
    first.into_iter().chain(last).flat_map(move |long| {
        let long_ms = ms(long.delay());
        counts(bounds.drawn, long_ms).into_iter().flat_map(move |n| {
            let base = n.saturating_mul(long_ms);
            let short = tiers.following(bounds.first).take_while(move |tier| tier.delay() < long.delay());
            let beside = short.flat_map(move |tier| {
                let over = bounds.drawn.saturating_sub(base);
                let [few, more] = counts(over, ms(tier.delay()));
                [1, few, more].map(|k| base.saturating_add(k.saturating_mul(ms(tier.delay()))))
            });
            std::iter::once(base).chain(beside).filter_map(|at| Stop::at(at, bounds.first, tiers))
        })
    })
}

/// A part of a whole number, rounded down.
fn share(whole: u64, unit: f64) -> u64 {
    const STEPS: u64 = 1 << 20;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the product lies in 0..=2^20")]
    let steps = (unit * 1_048_576.0) as u64;
    whole / STEPS * steps + whole % STEPS * steps / STEPS
}

// === impl Stop ===

impl Stop {
    /// The stop at a point in time, if the hops of the scheduler really get there through at most two tiers of those that may follow
    /// the first.
    fn at(at: u64, first: Duration, tiers: &Tiers) -> Option<Self> {
        let (mut left, mut hops, mut used, mut shorter) = (at, 0_u64, 0, 0);
        for tier in tiers.following(first).rev().map(Tier::delay).map(ms) {
            if left >= tier {
                hops = hops.saturating_add(left / tier);
                shorter = if used > 0 { left / tier } else { 0 };
                left %= tier;
                used += 1;
            }
        }
        let reached = left == 0 && (1..=2).contains(&used) && hops <= MAX_HOPS;
        reached.then_some(Self { ms: at, hops, shorter })
    }
}

// === impl Bounds ===

impl Bounds {
    /// The end of a wait by way of a stop, or `None` if none lies within the bounds.
    fn end(&self, stop: Stop) -> Option<End> {
        let low = stop.ms.max(self.least);
        let high = self.most.min(stop.ms.saturating_add(self.shortest - 1));
        if low > high {
            return None;
        }
        let slack = SLACK_MS.saturating_mul(stop.hops - 1).min(self.shortest / 2);
        let wanted = low.max(stop.ms.saturating_add(slack));
        let from = wanted.min(high);
        Some(End { ms: from + share(high - from, self.unit), has_slack: wanted <= high })
    }

    /// One with slack; of equals the later one that is not after the draw (but for the rest behind its stop), else the earlier.
    fn better(&self, one: End, other: End) -> End {
        if one.has_slack != other.has_slack {
            return if one.has_slack { one } else { other };
        }
        let limit = self.drawn.saturating_add(self.shortest);
        let later = if one.ms >= other.ms { one } else { other };
        let earlier = if one.ms >= other.ms { other } else { one };
        if later.ms <= limit { later } else { earlier }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000;
    const HOUR: u64 = 3_600 * SECOND;

    /// The tiers that a wait passes through, with each hop this late.
    fn hops(wait: Duration, late: Duration, tiers: &Tiers) -> Vec<String> {
        let mut left = wait;
        let mut names = Vec::new();
        let mut next = tiers.hop(left);
        while let Some(tier) = next {
            names.push(tier.name().to_owned());
            left = left.saturating_sub(tier.delay() + late);
            next = tiers.hop_after(tier.delay(), left);
        }
        names
    }

    /// Whether hops of the longest tier and one hop of a shorter one lead to within the jitter, looked for one by one.
    fn is_in_reach(wait: u64, tiers: &Tiers) -> bool {
        let most = wait + wait / 10;
        let longest = |limit: u64| tiers.hop(Duration::from_millis(limit)).unwrap().delay();
        let first = longest(wait);
        let rest = ms(tiers.rest_after(first));
        let shorter = |long: u64| tiers.following(first).map(Tier::delay).map(ms).filter(move |tier| *tier < long);
        [first, longest(most)].into_iter().map(ms).any(|long| {
            (0..=most / long).any(|n| {
                let ends = std::iter::once(0).chain(shorter(long)).map(|short| n * long + short);
                ends.filter(|at| *at > 0 && *at <= most && at + rest > wait)
                    .any(|at| Stop::at(at, first, tiers).is_some_and(|stop| stop.shorter <= 1))
            })
        })
    }

    fn distinct(names: &[String]) -> usize {
        names.iter().collect::<BTreeSet<_>>().len()
    }

    #[test]
    fn the_default_schedule_needs_at_most_one_hop_more_than_its_tier_even_when_hops_are_late() {
        let tiers = Tiers::default();
        for seconds in [5, 20, 120, 600, 3_600, 4 * 3_600, 12 * 3_600] {
            let wait = Duration::from_secs(seconds);
            for seed in 0..2_000 {
                let whole = jittered(wait, unit(seed), &tiers);
                assert!(whole >= wait && whole <= wait.mul_f64(1.1), "{wait:?} became {whole:?}");
                let names = hops(whole, Duration::from_millis(300), &tiers);
                assert!(names.len() <= 2, "{whole:?} takes {names:?}");
                assert_eq!(tiers.get(&names[0]).unwrap().delay(), wait, "its own tier comes first");
            }
        }
    }

    /// One delivery that dies after the standard schedule: its first record, per retry its tiers and its way back, its dead letter.
    #[test]
    fn a_delivery_of_the_standard_schedule_is_written_38_times_at_most() {
        let (tiers, schedule) = (Tiers::default(), crate::Schedule::default());
        for seed in 0..500 {
            let hops = schedule.delays().iter().copied().zip(0..).map(|(delay, at)| {
                hops(jittered(delay, unit(seed * 100 + at), &tiers), Duration::from_millis(300), &tiers).len() + 1
            });
            let writes = 1 + hops.sum::<usize>() + 1;
            assert!(writes <= 38, "{writes}");
        }
    }

    #[test]
    fn ends_are_spread() {
        let tiers = Tiers::default();
        let mut minutes = BTreeSet::new();
        for seed in 0..2_000 {
            let whole = jittered(Duration::from_millis(12 * HOUR), unit(seed), &tiers);
            minutes.insert((ms(whole) - 12 * HOUR) / (60 * SECOND));
        }
        assert!(minutes.is_superset(&BTreeSet::from([0, 2, 10, 60])), "{minutes:?}");
    }

    #[test]
    fn a_wait_below_the_shortest_tier_is_spread_evenly() {
        let tiers = Tiers::default();
        let wait = Duration::from_secs(2);
        assert_eq!(jittered(wait, 0.0, &tiers), wait);
        assert_eq!(jittered(wait, 0.5, &tiers), Duration::from_millis(2_100));
        assert_eq!(jittered(wait, 1.0, &tiers), Duration::from_millis(2_200));
        assert_eq!(jittered(wait, f64::NAN, &tiers), wait);
        assert_eq!(jittered(Duration::ZERO, 0.7, &tiers), Duration::ZERO);
    }

    #[test]
    fn long_waits_of_other_schedules_take_few_hops() {
        let tiers = Tiers::default();
        for (wait, most) in
            [(10 * HOUR, 5), (5 * HOUR, 8), (3 * HOUR, 8), (30 * 60 * SECOND, 8), (180 * SECOND, 5), (10 * SECOND, 2)]
        {
            for seed in 0..500 {
                let whole = jittered(Duration::from_millis(wait), unit(seed), &tiers);
                let names = hops(whole, Duration::from_millis(200), &tiers);
                assert!(names.len() <= most, "{whole:?} takes {names:?}");
            }
        }
    }

    #[test]
    fn units_lie_in_their_range_and_are_stable() {
        assert_eq!(unit(1).to_bits(), unit(1).to_bits());
        let mean = (0..10_000).map(unit).inspect(|unit| assert!((0.0..1.0).contains(unit))).sum::<f64>() / 10_000.0;
        assert!((0.48..0.52).contains(&mean), "{mean}");
    }

    proptest! {
        #[test]
        fn jitter_adds_at_most_ten_percent(wait in 0_u64..40 * 24 * HOUR, unit in -0.1_f64..1.1, names in proptest::collection::btree_set(1_u64..200_000, 1..8)) {
            let text: Vec<String> = names.iter().map(|seconds| format!("{seconds}s")).collect();
            let tiers = Tiers::parse(&text.join(" ")).unwrap();
            let whole = ms(jittered(Duration::from_millis(wait), unit, &tiers));
            prop_assert!(whole >= wait && whole <= wait + wait / 10, "{} became {}", wait, whole);
        }

        /// The bound of writes, over any tiers and waits: `n + 1` where any place within the jitter allows it.
        #[test]
        fn a_retry_is_written_to_tiers_once_more_often_than_its_longest_tier_fits(
            wait in SECOND..20 * 24 * HOUR,
            unit in 0.0_f64..1.0,
            names in proptest::collection::btree_set(1_u64..200_000, 1..8),
        ) {
            let text: Vec<String> = names.iter().map(|seconds| format!("{seconds}s")).collect();
            let tiers = Tiers::parse(&text.join(" ")).unwrap();
            // What fits in no tier is in the shortest one until it is due.
            let Some(longest) = tiers.hop(Duration::from_millis(wait)) else { return Ok(()) };
            let n = (wait + wait / 10) / ms(longest.delay());
            prop_assume!(n < MAX_HOPS && is_in_reach(wait, &tiers));
            let whole = jittered(Duration::from_millis(wait), unit, &tiers);
            let count = u64::try_from(hops(whole, Duration::ZERO, &tiers).len()).unwrap();
            prop_assert!(count <= n + 1, "{:?} of {} s takes {} hops, {} at most", whole, wait / SECOND, count, n + 1);
        }

        #[test]
        fn where_the_default_tiers_allow_it_two_are_enough(wait in 10 * 60 * SECOND..13 * HOUR, unit in 0.0_f64..1.0) {
            let tiers = Tiers::default();
            let bounds = wait..=wait + wait / 10;
            let stops = (wait / (5 * SECOND)..=bounds.end() / (5 * SECOND)).map(|step| step * 5 * SECOND);
            let possible = stops.filter(|stop| Stop::at(*stop, tiers.shortest().delay(), &tiers).is_some()).any(|stop| stop + 5 * SECOND > wait && bounds.end() >= &stop);
            let whole = jittered(Duration::from_millis(wait), unit, &tiers);
            let names = hops(whole, Duration::ZERO, &tiers);
            prop_assert!(!possible || distinct(&names) <= 2, "{:?} takes {:?}", whole, names);
        }
    }
}
