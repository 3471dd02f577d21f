//! How often a delivery was parked: it waited in a delay topic for its lane, which no build lets it any more.

use std::fmt;
use std::str::FromStr;

/// How often it was parked within one hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parks {
    /// Parks since `since_ms`.
    pub count: u32,
    /// Start of the hour, Unix ms.
    pub since_ms: i64,
}

// === impl Parks ===

impl Parks {
    const HOUR_MS: i64 = 3_600_000;

    /// One more park at `now_ms`; a new hour starts at zero.
    #[must_use]
    pub fn parked(self, now_ms: i64) -> Self {
        if self.count == 0 || now_ms - self.since_ms >= Self::HOUR_MS {
            Self { count: 1, since_ms: now_ms }
        } else {
            Self { count: self.count + 1, since_ms: self.since_ms }
        }
    }

    /// Parks already made in the hour that `now_ms` is in.
    #[must_use]
    pub fn in_hour(self, now_ms: i64) -> u32 {
        if now_ms - self.since_ms >= Self::HOUR_MS { 0 } else { self.count }
    }
}

impl fmt::Display for Parks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, self.since_ms)
    }
}

impl FromStr for Parks {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (count, since) = text.split_once('/').ok_or(())?;
        Ok(Self { count: count.parse().map_err(drop)?, since_ms: since.parse().map_err(drop)? })
    }
}
