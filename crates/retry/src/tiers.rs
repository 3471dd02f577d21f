//! The delay topics. A tier has one constant delay, so a partition of it is in due order; a longer wait is made of hops.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::duration;
use crate::error::RetryError;
use crate::schedule::MAX_DELAY;

/// The tiers unless configured otherwise. Development adds `1s`.
pub const DEFAULT_TIERS: &str = "5s 20s 2m 10m 1h 4h 12h";

/// Shorter tiers than this are for short waits: where a longer one was waited in, they would cost a write per second of its rest.
const SHORT: Duration = Duration::from_secs(5);

/// More tiers than this are refused: each one is a topic with partitions.
pub const MAX_TIERS: usize = 32;

/// One delay topic, `retry.<name>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tier {
    name: String,
    delay: Duration,
}

/// Every tier, the shortest first, no two alike, never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tiers(Vec<Tier>);

// === impl Tier ===

impl Tier {
    /// A tier from its name, which is its delay: `10m`. Also reads the end of a topic's name, for tiers that left the
    /// configuration and still drain.
    ///
    /// # Errors
    /// No duration, none at all, or more than 7 days.
    pub fn parse(name: &str) -> Result<Self, RetryError> {
        let delay = duration::parse(name)?;
        let name = name.to_owned();
        if delay.is_zero() {
            return Err(RetryError::TierZero { name });
        }
        if delay > MAX_DELAY {
            return Err(RetryError::TierTooLong { name, max: MAX_DELAY });
        }
        Ok(Self { name, delay })
    }

    /// The name as it was given; the topic's last part.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How long every record of it waits.
    #[must_use]
    pub const fn delay(&self) -> Duration {
        self.delay
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

// === impl Tiers ===

impl Tiers {
    /// The tiers of a configuration value, in any order, separated by white space or commas.
    ///
    /// # Errors
    /// None, too many, a bad one, or two of equal length (`60s` and `1m`: the second would never be used).
    pub fn parse(text: &str) -> Result<Self, RetryError> {
        let mut tiers = text
            .split(|separator: char| separator == ',' || separator.is_whitespace())
            .filter(|name| !name.is_empty())
            .map(Tier::parse)
            .collect::<Result<Vec<_>, _>>()?;
        if tiers.is_empty() {
            return Err(RetryError::NoTiers);
        }
        if tiers.len() > MAX_TIERS {
            return Err(RetryError::TooManyTiers { max: MAX_TIERS, actual: tiers.len() });
        }
        tiers.sort_by_key(Tier::delay);
        if let Some([one, other]) = tiers.array_windows().find(|[one, other]| one.delay == other.delay) {
            return Err(RetryError::TierTwice { one: one.name.clone(), other: other.name.clone() });
        }
        Ok(Self(tiers))
    }

    /// The tier to wait in next: the longest that is not longer than what remains, so that nothing is ever early. `None` below
    /// the shortest tier: the scheduler waits out the rest.
    #[must_use]
    pub fn hop(&self, remaining: Duration) -> Option<&Tier> {
        self.0.iter().rev().find(|tier| tier.delay <= remaining)
    }

    /// The tier to wait in after one of this delay, see [`Tiers::following`]: the longest that is not longer than what remains.
    /// `None`: the scheduler waits out the rest.
    #[must_use]
    pub fn hop_after(&self, delay: Duration, remaining: Duration) -> Option<&Tier> {
        self.following(delay).rev().find(|tier| tier.delay <= remaining)
    }

    /// The tiers that may follow one of this delay, the shortest first: after 5 s and more none that is shorter than that.
    pub fn following(&self, delay: Duration) -> impl DoubleEndedIterator<Item = &Tier> {
        let least = if delay >= SHORT { SHORT } else { Duration::ZERO };
        self.0.iter().filter(move |tier| tier.delay >= least)
    }

    /// What remains below this after a tier of this delay is waited out.
    #[must_use]
    pub fn rest_after(&self, delay: Duration) -> Duration {
        self.following(delay).next().unwrap_or_else(|| self.longest()).delay
    }

    /// The shortest tier.
    #[must_use]
    pub fn shortest(&self) -> &Tier {
        self.0.first().expect("`parse` refuses an empty list")
    }

    /// The longest tier.
    #[must_use]
    pub fn longest(&self) -> &Tier {
        self.0.last().expect("`parse` refuses an empty list")
    }

    /// The tier of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Tier> {
        self.0.iter().find(|tier| tier.name == name)
    }

    /// Every tier, the shortest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Tier> + ExactSizeIterator {
        self.0.iter()
    }
}

impl Default for Tiers {
    fn default() -> Self {
        Self::parse(DEFAULT_TIERS).expect("a constant that the tests parse")
    }
}

impl FromStr for Tiers {
    type Err = RetryError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Display for Tiers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, tier) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { " " };
            write!(f, "{separator}{tier}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tiers_are_sorted_and_keep_their_names() {
        let tiers = Tiers::parse("1h, 60s 5s").unwrap();
        assert_eq!(tiers.to_string(), "5s 60s 1h");
        assert_eq!((tiers.shortest().name(), tiers.longest().name()), ("5s", "1h"));
        assert_eq!(tiers.get("60s").unwrap().delay(), Duration::from_secs(60));
        assert!(tiers.get("1m").is_none());
        assert_eq!(Tiers::default().to_string(), DEFAULT_TIERS);
    }

    #[test]
    fn bad_tiers_are_refused() {
        assert_eq!(Tiers::parse(" "), Err(RetryError::NoTiers));
        assert!(matches!(Tiers::parse("5s 0s"), Err(RetryError::TierZero { .. })));
        assert!(matches!(Tiers::parse("8d"), Err(RetryError::TierTooLong { .. })));
        assert!(matches!(Tiers::parse("60s 1m"), Err(RetryError::TierTwice { .. })));
        assert!(matches!(Tiers::parse("soon"), Err(RetryError::DurationForm { .. })));
        let many: Vec<String> = (1..=33).map(|seconds| format!("{seconds}s")).collect();
        assert!(matches!(Tiers::parse(&many.join(" ")), Err(RetryError::TooManyTiers { actual: 33, .. })));
    }

    #[test]
    fn a_hop_takes_the_longest_tier_that_fits() {
        let tiers = Tiers::default();
        let hop = |ms| tiers.hop(Duration::from_millis(ms)).map(Tier::name);
        assert_eq!(hop(4_999), None);
        assert_eq!(hop(5_000), Some("5s"));
        assert_eq!(hop(119_999), Some("20s"));
        assert_eq!(hop(86_400_000 * 30), Some("12h"));
    }

    #[test]
    fn tiers_of_seconds_are_for_waits_of_seconds() {
        let tiers = Tiers::parse("1s 5s 20s").unwrap();
        let after = |after_ms, left_ms| {
            let (delay, left) = (Duration::from_millis(after_ms), Duration::from_millis(left_ms));
            tiers.hop_after(delay, left).map(Tier::name)
        };
        assert_eq!([after(1_000, 4_900), after(1_000, 900), after(0, 3_000)], [Some("1s"), None, Some("1s")]);
        assert_eq!([after(5_000, 4_900), after(20_000, 6_000), after(20_000, 4_000)], [None, Some("5s"), None]);
        let rest = |delay_ms| tiers.rest_after(Duration::from_millis(delay_ms)).as_secs();
        assert_eq!([rest(1_000), rest(5_000), rest(20_000)], [1, 5, 5]);
        // A tier that left the configuration still drains.
        let seconds = Tiers::parse("1s 2s").unwrap();
        assert_eq!(seconds.rest_after(Duration::from_secs(60)).as_secs(), 2);
        assert_eq!(seconds.hop_after(Duration::from_secs(60), Duration::from_secs(9)), None);
    }

    proptest! {
        #[test]
        fn hops_end_and_add_up_and_are_never_early(
            wait_ms in 0_u64..40 * 86_400_000,
            lateness in proptest::collection::vec(0_u64..1_500, 1..8),
            names in proptest::collection::btree_set(1_u64..200_000, 1..8),
        ) {
            let text: Vec<String> = names.iter().map(|seconds| format!("{seconds}s")).collect();
            let tiers = Tiers::parse(&text.join(" ")).unwrap();
            let due = Duration::from_millis(wait_ms);
            let (mut now, mut last) = (Duration::ZERO, Duration::MAX);
            let mut late = lateness.iter().cycle();
            while let Some(tier) = tiers.hop(due.saturating_sub(now)) {
                prop_assert!(tier.delay() <= last, "hops never grow");
                prop_assert!(now + tier.delay() <= due, "a hop on time ends at or before the due time");
                last = tier.delay();
                now += tier.delay() + Duration::from_millis(*late.next().unwrap());
            }
            let rest = due.saturating_sub(now);
            prop_assert!(rest < tiers.shortest().delay(), "what is left is for the delivery worker");
        }
    }
}
