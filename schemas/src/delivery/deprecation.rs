//! That an event's type should not be used any more, as a delivery tells its receiver.

use std::fmt;
use std::str::FromStr;

/// Since when a type is deprecated, and until when it is sent at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deprecation {
    /// It is deprecated from then on, Unix ms; it may be announced before.
    pub deprecated_ms: i64,
    /// It may be gone from then on, Unix ms.
    pub sunset_ms: i64,
}

impl fmt::Display for Deprecation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.deprecated_ms, self.sunset_ms)
    }
}

impl FromStr for Deprecation {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (deprecated, sunset) = text.split_once('/').ok_or(())?;
        Ok(Self { deprecated_ms: deprecated.parse().map_err(drop)?, sunset_ms: sunset.parse().map_err(drop)? })
    }
}
