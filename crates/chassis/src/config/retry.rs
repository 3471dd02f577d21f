//! `[retry]`: the delay topics and the scheduler that empties them.

use std::time::Duration;

use super::key::{Key, Kind, Section, Unit};
use super::reader::Reader;

/// Each tier is a topic on the broker and a partition set in every scheduler.
const MAX_TIERS: usize = 24;
const MIN_TIER: Duration = Duration::from_millis(100);
const MAX_TIER: Duration = Duration::from_secs(7 * 24 * 3_600);

pub(super) const SECTION: Section = Section {
    name: "retry",
    about: "The delay topics and the scheduler that moves what is due back to `deliveries`.",
    keys: KEYS,
};

const KEYS: &[Key] = &[
    Key {
        path: "retry.tiers",
        kind: Kind::List,
        default: "5s 20s 2m 10m 1h 4h 12h",
        title: "Tiers",
        effect: "One delay topic each, rising, 100ms to 7d. Any waiting time is reached by hops through them. A tier \
                 that is removed still drains.",
    },
    Key {
        path: "retry.look_ahead_bytes",
        kind: Kind::Integer(1_024, 67_108_864, Unit::Bytes),
        default: "4194304",
        title: "Look-ahead",
        effect: "Held in memory per partition of a short tier, at least one record and at most 1,000 of them, which records below 4 KiB \
                 reach before the default; of all together `kafka.live_budget_bytes`. What is due up to five seconds apart \
                 shares a tier: where more than this comes in that time, what is due first waits for what stands before it, \
                 for as long at most.",
    },
    Key {
        path: "retry.look_ahead_tier_ms",
        kind: Kind::Integer(0, 86_400_000, Unit::Millis),
        default: "120000",
        title: "Longest tier with look-ahead",
        effect: "Longer tiers hold one record and pause.",
    },
    Key {
        path: "retry.batch_records",
        kind: Kind::Integer(1, 10_000, Unit::Count),
        default: "1000",
        title: "Records of a transaction",
        effect: "A batch closes at this many.",
    },
    Key {
        path: "retry.batch_bytes",
        kind: Kind::Integer(1_024, 67_108_864, Unit::Bytes),
        default: "1048576",
        title: "Bytes of a transaction",
        effect: "A batch closes at this size.",
    },
];

/// The `[retry]` section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryConfig {
    /// The delay topics by name (`10m`) and delay, rising.
    pub tiers: Vec<(String, Duration)>,
    /// Bytes held per partition of a short tier.
    pub look_ahead_bytes: usize,
    /// Tiers up to this delay are short.
    pub look_ahead_tier: Duration,
    /// Most records of a transaction.
    pub batch_records: usize,
    /// Bytes after which a transaction closes.
    pub batch_bytes: usize,
}

impl RetryConfig {
    pub(super) fn read(from: &mut Reader<'_>) -> Self {
        let tiers = tiers(from);
        let rising = tiers.windows(2).all(|pair| matches!(pair, [(_, one), (_, next)] if one < next));
        let in_range = tiers.iter().all(|(_, delay)| (MIN_TIER..=MAX_TIER).contains(delay));
        let readable = tiers.len() == from.list("retry.tiers").len();
        let fits = readable && rising && in_range && (1..=MAX_TIERS).contains(&tiers.len());
        let expected = format!("1 to {MAX_TIERS} rising delays from 100ms to 7d, each a number and ms, s, m, h or d");
        from.check(fits, "retry.tiers", expected);
        Self {
            tiers,
            look_ahead_bytes: from.number("retry.look_ahead_bytes"),
            look_ahead_tier: from.millis("retry.look_ahead_tier_ms"),
            batch_records: from.number("retry.batch_records"),
            batch_bytes: from.number("retry.batch_bytes"),
        }
    }
}

/// The tiers that can be read; [`RetryConfig::read`] complains about the others.
pub(super) fn tiers(from: &Reader<'_>) -> Vec<(String, Duration)> {
    from.list("retry.tiers").into_iter().filter_map(|name| Some((delay(&name)?, name))).map(|(d, n)| (n, d)).collect()
}

/// `10m` is ten minutes.
fn delay(name: &str) -> Option<Duration> {
    let digits = name.find(|letter: char| !letter.is_ascii_digit())?;
    let (number, unit) = name.split_at_checked(digits)?;
    let millis: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(millis).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_a_number_and_a_unit() {
        assert_eq!(delay("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(delay("5s"), Some(Duration::from_secs(5)));
        assert_eq!(delay("12h"), Some(Duration::from_secs(12 * 3_600)));
        for bad in ["", "5", "s", "5 s", "-5s", "5y", "99999999999999999999s", "18446744073709551615d"] {
            assert_eq!(delay(bad), None, "{bad}");
        }
    }
}
