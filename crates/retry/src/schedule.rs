//! A subscription's retry schedule: how long to wait after each failed attempt, and when to give up.
//!
//! In JSON it is the name of a preset (`"standard"`), a list of delays (`["5s", 60000, "1h"]`, whole numbers are milliseconds), or
//! `{"exponential": {"base": "5s", "factor": 2, "cap": "1h", "budget": "24h"}}`. It is written back as it was meant: a preset
//! stays a name, so that its subscribers follow when it is improved.

mod serde_form;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::duration::ms;
use crate::error::{RetryError, excerpt};

/// The most retries of one delivery.
pub const MAX_RETRIES: usize = 100;

/// The shortest delay: below it a retry is a second hit on an endpoint that is already down.
pub const MIN_DELAY: Duration = Duration::from_millis(100);

/// The longest delay, and the longest tier.
pub const MAX_DELAY: Duration = Duration::from_secs(7 * 86_400);

/// The longest schedule: the topics that hold what waits and what happened keep 30 days.
pub const MAX_SPAN: Duration = Duration::from_secs(30 * 86_400);

/// A factor above this is a mistake.
const MAX_FACTOR: f64 = 10.0;

const STANDARD_S: &[u64] = &[5, 20, 120, 600, 3_600, 14_400, 43_200, 43_200, 43_200, 43_200, 43_200, 43_200];
const HOOK0_S: &[u64] = &[
    3, 10, 180, 1_800, 3_600, 10_800, 18_000, 36_000, 36_000, 36_000, 36_000, 36_000, 36_000, 36_000, 36_000, 36_000,
    36_000, 36_000, 36_000, 36_000, 36_000, 36_000, 36_000, 36_000,
];
const QUICK_S: &[u64] = &[1, 2, 4];

/// A named schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Preset {
    /// `standard`: 12 retries over about 77 h, the default.
    Standard,
    /// `hook0`: 24 retries over 7.5 days, as Hook0's.
    Hook0,
    /// `quick`: 3 retries over 7 s, for development.
    Quick,
}

/// Delays that grow by a factor: `base`, `base x factor`, ..., never above `cap`, as long as all of them fit the `budget`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exponential {
    /// The first delay.
    pub base: Duration,
    /// What each delay is multiplied by, 1 to 10. Kept to three decimals, which every JSON reader and writer agrees on.
    pub factor: f64,
    /// The longest delay.
    pub cap: Duration,
    /// What all delays together may last.
    pub budget: Duration,
}

/// A validated schedule.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    form: Form,
    delays: Vec<Duration>,
}

/// How it was given.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Form {
    Preset(Preset),
    List,
    Exponential(Exponential),
}

// === impl Preset ===

impl Preset {
    /// Every preset.
    pub const ALL: [Self; 3] = [Self::Standard, Self::Hook0, Self::Quick];

    /// The name used in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Hook0 => "hook0",
            Self::Quick => "quick",
        }
    }

    const fn delays_s(self) -> &'static [u64] {
        match self {
            Self::Standard => STANDARD_S,
            Self::Hook0 => HOOK0_S,
            Self::Quick => QUICK_S,
        }
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Preset {
    type Err = RetryError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|preset| preset.as_str() == name)
            .ok_or_else(|| RetryError::UnknownPreset { name: excerpt(name) })
    }
}

// === impl Exponential ===

impl Exponential {
    fn delays(&self) -> Result<Vec<Duration>, RetryError> {
        if !(1.0..=MAX_FACTOR).contains(&self.factor) {
            return Err(RetryError::FactorRange { factor: self.factor, max: MAX_FACTOR });
        }
        if self.cap < self.base {
            return Err(RetryError::CapBelowBase { base: self.base, cap: self.cap });
        }
        if self.budget < self.base {
            return Err(RetryError::BudgetBelowBase { base: self.base, budget: self.budget });
        }
        check_delay(1, self.base)?;
        // Which retry reaches the cap does not matter to who set it: any position would do.
        check_delay(2, self.cap)?;
        let (mut delay, mut span) = (self.base, self.base);
        let mut delays = Vec::new();
        while span <= self.budget {
            if delays.len() == MAX_RETRIES {
                return Err(RetryError::TooManyRetries { max: MAX_RETRIES, actual: MAX_RETRIES + 1 });
            }
            delays.push(delay);
            // The cap is at most 7 days and the factor at most 10: no overflow. Whole milliseconds, so that texts are exact.
            delay = Duration::from_millis(ms(delay.mul_f64(self.factor))).clamp(delay, self.cap);
            span += delay;
        }
        Ok(delays)
    }
}

// === impl Schedule ===

impl Schedule {
    /// A named schedule.
    #[must_use]
    pub fn preset(preset: Preset) -> Self {
        Self {
            form: Form::Preset(preset),
            delays: preset.delays_s().iter().map(|seconds| Duration::from_secs(*seconds)).collect(),
        }
    }

    /// A schedule of these delays. Empty means one attempt and no retry.
    ///
    /// # Errors
    /// More than [`MAX_RETRIES`], a delay outside [`MIN_DELAY`]..=[`MAX_DELAY`], or more than [`MAX_SPAN`] in all.
    pub fn list(delays: Vec<Duration>) -> Result<Self, RetryError> {
        Self::checked(Form::List, delays)
    }

    /// A schedule that grows.
    ///
    /// # Errors
    /// A factor outside 1..=10, a cap or a budget below the base, and as [`Schedule::list`].
    pub fn exponential(exponential: Exponential) -> Result<Self, RetryError> {
        let factor = (exponential.factor * 1_000.0).round() / 1_000.0;
        let exponential = Exponential { factor, ..exponential };
        Self::checked(Form::Exponential(exponential), exponential.delays()?)
    }

    /// How long to wait after an attempt failed (1-based: 1 after the first one). `None` when there is no retry left: a dead
    /// letter. An attempt 0 was never made; it counts as the first rather than be lost.
    #[must_use]
    pub fn delay(&self, attempt: u32) -> Option<Duration> {
        let index = usize::try_from(attempt.saturating_sub(1)).ok()?;
        self.delays.get(index).copied()
    }

    /// Every delay, in order.
    #[must_use]
    pub fn delays(&self) -> &[Duration] {
        &self.delays
    }

    /// All delays together, without jitter and without the attempts themselves.
    #[must_use]
    pub fn span(&self) -> Duration {
        self.delays.iter().sum()
    }

    /// The whole life of a delivery unless its subscription says otherwise: the span with all its jitter, and a day.
    #[must_use]
    pub fn max_age(&self) -> Duration {
        self.span() * 11 / 10 + Duration::from_secs(86_400)
    }

    fn checked(form: Form, delays: Vec<Duration>) -> Result<Self, RetryError> {
        if delays.len() > MAX_RETRIES {
            return Err(RetryError::TooManyRetries { max: MAX_RETRIES, actual: delays.len() });
        }
        for (index, delay) in delays.iter().enumerate() {
            check_delay(index + 1, *delay)?;
        }
        let schedule = Self { form, delays };
        let span = schedule.span();
        if span > MAX_SPAN {
            return Err(RetryError::SpanTooLong { span, max: MAX_SPAN });
        }
        Ok(schedule)
    }
}

impl Default for Schedule {
    fn default() -> Self {
        Self::preset(Preset::Standard)
    }
}

fn check_delay(position: usize, delay: Duration) -> Result<(), RetryError> {
    if (MIN_DELAY..=MAX_DELAY).contains(&delay) {
        return Ok(());
    }
    Err(RetryError::DelayRange { position, delay, min: MIN_DELAY, max: MAX_DELAY })
}

#[cfg(test)]
mod tests;
