//! Durations as people write them: a whole number and a unit, `250ms`, `5s`, `2m`, `1h`, `7d`.

use std::time::Duration;

use crate::error::{RetryError, excerpt};

/// Units with their length in milliseconds, the longest first.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// The duration a text names.
///
/// # Errors
/// Anything but digits and one unit, or more than 2^64 ms.
pub fn parse(text: &str) -> Result<Duration, RetryError> {
    try_parse(text).ok_or_else(|| RetryError::DurationForm { text: excerpt(text) })
}

/// The shortest text of a duration: the longest unit that divides it. What is below a millisecond is cut off.
#[must_use]
pub fn format(duration: Duration) -> String {
    let ms = duration.as_millis();
    if ms == 0 {
        return "0s".to_owned();
    }
    let (unit, length) = UNITS
        .iter()
        .find(|(_, length)| ms.is_multiple_of(u128::from(*length)))
        .expect("every whole number of ms is a multiple of 1 ms");
    format!("{}{unit}", ms / u128::from(*length))
}

fn try_parse(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, length) = UNITS.iter().find(|(name, _)| *name == unit)?;
    // Refuses an empty number too.
    let number: u64 = number.parse().ok()?;
    number.checked_mul(*length).map(Duration::from_millis)
}

/// Whole milliseconds, at most what fits an `i64` of unix time arithmetic.
pub(crate) fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read_and_written() {
        for (text, ms) in
            [("250ms", 250), ("5s", 5_000), ("2m", 120_000), ("1h", 3_600_000), ("7d", 604_800_000), ("0s", 0)]
        {
            assert_eq!(parse(text).unwrap(), Duration::from_millis(ms), "{text}");
            assert_eq!(format(Duration::from_millis(ms)), text);
        }
        assert_eq!(format(Duration::from_secs(90)), "90s");
        assert_eq!(parse("060s").unwrap(), Duration::from_secs(60));
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "5",
            "s",
            "5 s",
            "-5s",
            "+5s",
            "1.5h",
            "1h30m",
            "5S",
            "5sec",
            "99999999999999999999s",
            "999999999999999999d",
        ] {
            assert!(matches!(parse(text), Err(RetryError::DurationForm { .. })), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_duration_survives_its_text(ms in any::<u64>()) {
            let duration = Duration::from_millis(ms);
            prop_assert_eq!(parse(&format(duration)).unwrap(), duration);
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,12}") {
            let _read = parse(&text);
        }
    }
}
