//! Days of UTC: what the log is kept and thrown away by.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// Milliseconds of a day.
const MS: i64 = 86_400_000;
/// 9999-12-30, the last day that begins within the times that can be written.
const LAST: i32 = 2_932_895;

/// A day of UTC. That of a record is the day of its Kafka timestamp.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(i32);

// === impl Day ===

impl Day {
    /// The day of a time, Unix ms. Times before 1970 and after 9999 are in the first and the last day.
    #[must_use]
    pub fn of(ms: i64) -> Self {
        Self(i32::try_from(ms.div_euclid(MS)).unwrap_or(if ms < 0 { 0 } else { LAST }).clamp(0, LAST))
    }

    /// When it begins, Unix ms.
    #[must_use]
    pub fn start_ms(self) -> i64 {
        i64::from(self.0) * MS
    }

    /// The day so many days earlier.
    #[must_use]
    pub fn minus(self, days: u32) -> Self {
        Self(self.0.saturating_sub(i32::try_from(days).unwrap_or(i32::MAX)).max(0))
    }

    /// The day after it.
    #[must_use]
    pub fn next(self) -> Self {
        Self((self.0 + 1).min(LAST))
    }

    /// Its number, counted from 1970-01-01.
    #[must_use]
    pub fn number(self) -> i32 {
        self.0
    }

    /// The day with this number, if dates of four figures reach so far.
    #[must_use]
    pub fn numbered(number: i32) -> Option<Self> {
        (0..=LAST).contains(&number).then_some(Self(number))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = Timestamp::from_millisecond(self.start_ms()).unwrap_or(Timestamp::UNIX_EPOCH);
        fmt::Display::fmt(&start.to_zoned(TimeZone::UTC).date(), f)
    }
}

impl fmt::Debug for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Day {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if text.len() != "2026-11-29".len() {
            return Err(());
        }
        let date: Date = text.parse().map_err(drop)?;
        let start = date.to_zoned(TimeZone::UTC).map_err(drop)?.timestamp();
        Ok(Self::of(start.as_millisecond()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_written_as_its_date_and_read_from_it() {
        let day = Day::of(1_795_960_799_999);
        assert_eq!(day.to_string(), "2026-11-29");
        assert_eq!("2026-11-29".parse(), Ok(day));
        assert_eq!(Day::of(day.start_ms()), day);
        assert_eq!(Day::of(day.start_ms() - 1), day.minus(1));
        assert_eq!(day.minus(1).next(), day);
        for bad in ["2026-11-31", "2026-11-2", "2026-11-29T00", ""] {
            assert!(bad.parse::<Day>().is_err(), "{bad}");
        }
    }

    #[test]
    fn times_out_of_reach_are_in_the_first_and_the_last_day() {
        assert_eq!(Day::of(-1).to_string(), "1970-01-01");
        assert_eq!(Day::of(i64::MAX).to_string(), "9999-12-30");
        assert_eq!(Day::of(0).minus(3), Day::of(0));
        assert_eq!(Day::of(i64::MAX).next(), Day::of(i64::MAX));
    }
}
