//! The one error type of this crate.

use std::time::Duration;

use thiserror::Error;

use crate::duration;

/// Why a schedule, a tier or a rate was refused.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum RetryError {
    /// A text is no duration.
    #[error("`{text}` is not a duration: write a whole number and ms, s, m, h or d, such as `250ms`, `5s` or `2m`")]
    DurationForm {
        /// What was given, cut to 40 characters.
        text: String,
    },
    /// A schedule name that does not exist.
    #[error("unknown retry schedule `{name}` (standard, hook0, quick)")]
    UnknownPreset {
        /// What was given, cut to 40 characters.
        name: String,
    },
    /// Too many retries.
    #[error("a schedule has at most {max} retries, this one has {actual}")]
    TooManyRetries {
        /// The limit.
        max: usize,
        /// What was given, or one more than the limit where a formula gives more.
        actual: usize,
    },
    /// A delay outside the limits.
    #[error("retry {position} waits {}, allowed are {} to {}", duration::format(*delay), duration::format(*min), duration::format(*max))]
    DelayRange {
        /// 1-based position in the list.
        position: usize,
        /// The delay.
        delay: Duration,
        /// The shortest allowed.
        min: Duration,
        /// The longest allowed.
        max: Duration,
    },
    /// All delays together are too long.
    #[error("the schedule lasts {}, at most {} are allowed", duration::format(*span), duration::format(*max))]
    SpanTooLong {
        /// The sum of the delays.
        span: Duration,
        /// The limit.
        max: Duration,
    },
    /// An exponential schedule whose factor does not grow or is no number.
    #[error("the factor must be between 1 and {max}, it is {factor}")]
    FactorRange {
        /// What was given.
        factor: f64,
        /// The limit.
        max: f64,
    },
    /// An exponential schedule whose cap is below its base.
    #[error("the cap {} is below the base {}", duration::format(*cap), duration::format(*base))]
    CapBelowBase {
        /// The first delay.
        base: Duration,
        /// The longest delay.
        cap: Duration,
    },
    /// An exponential schedule whose budget allows no retry: an empty list says that plainly.
    #[error("the budget {} is below the base {}", duration::format(*budget), duration::format(*base))]
    BudgetBelowBase {
        /// The first delay.
        base: Duration,
        /// What all delays together may last.
        budget: Duration,
    },
    /// A list of tiers without an entry.
    #[error("at least one retry tier is needed")]
    NoTiers,
    /// Too many tiers: each one is a topic.
    #[error("at most {max} retry tiers are allowed, {actual} are given")]
    TooManyTiers {
        /// The limit.
        max: usize,
        /// What was given.
        actual: usize,
    },
    /// A tier that does not wait.
    #[error("the retry tier `{name}` does not wait")]
    TierZero {
        /// Its name.
        name: String,
    },
    /// A tier that waits too long.
    #[error("the retry tier `{name}` waits longer than {}", duration::format(*max))]
    TierTooLong {
        /// Its name.
        name: String,
        /// The limit.
        max: Duration,
    },
    /// Two tiers wait equally long.
    #[error("the retry tiers `{one}` and `{other}` wait equally long")]
    TierTwice {
        /// One name.
        one: String,
        /// The other, perhaps the same.
        other: String,
    },
    /// A rate that is no positive number, or too small or big to count.
    #[error("a rate must be between 0.0001 and 1000000 per second, it is {rate}")]
    RateRange {
        /// What was given.
        rate: f64,
    },
    /// A bucket that can never hold a token.
    #[error("a burst must be at least 1")]
    BurstZero,
}

/// The beginning of what a client gave, short enough for a message.
pub(crate) fn excerpt(text: &str) -> String {
    text.chars().take(40).collect()
}
