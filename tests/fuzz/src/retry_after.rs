//! `Retry-After` of an endpoint's answer, held against a plain reading of digits and of the one form of a date that is written
//! today.

use std::time::Duration;

use retry::{RetryAfter, Tiers};

/// 2023-11-14T22:13:20Z.
const NOW_MS: i64 = 1_700_000_000_000;
const CAP: Duration = Duration::from_secs(86_400);
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

pub(crate) fn run(data: &[u8]) -> bool {
    let asked = delivery_worker::fuzzing::retry_after(data, NOW_MS);
    let text = std::str::from_utf8(data).ok().map(str::trim_ascii);
    let is_digits = text.is_some_and(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()));
    match (asked, text) {
        (Some(asked), Some(text)) if is_digits => match text.parse::<u64>() {
            Ok(seconds) => assert_eq!(asked, Duration::from_secs(seconds)),
            Err(_too_many_digits) => assert!(asked > 1_000 * CAP),
        },
        (Some(asked), Some(text)) => {
            assert!(text.len() >= 24, "`{text}` is no date");
            assert!(!asked.is_zero());
        }
        (Some(_asked), None) => panic!("it asks for something and is no text"),
        (None, _text) => assert!(!is_digits || !data.iter().all(|byte| byte.is_ascii_graphic())),
    }
    if let Some(at_ms) = text.and_then(date_ms) {
        let left = u64::try_from(at_ms - NOW_MS).ok().filter(|left| *left > 0).map(Duration::from_millis);
        assert_eq!(asked, left, "{text:?}");
    }
    for delay in [Duration::from_secs(5), Duration::from_secs(7_200)] {
        let next = retry::next(NOW_MS, delay, RetryAfter { asked, cap: CAP }, 0.999, &Tiers::default());
        let least = delay.max(asked.unwrap_or_default().min(CAP));
        assert!(next.wait >= least, "{:?} is before {least:?}", next.wait);
        assert!(next.wait <= least + least / 10 + Duration::from_secs(1), "{:?} is long after {least:?}", next.wait);
        assert!(next.due_ms > NOW_MS);
    }
    asked.is_some()
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` in Unix ms; `None` for every other form, and for what is no day of the calendar.
fn date_ms(text: &str) -> Option<i64> {
    let number = |range: std::ops::Range<usize>| {
        let digits = text.get(range)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<i64>().ok()).flatten()
    };
    let is_form = text.len() == 29 && text.is_ascii() && text.get(3..5)? == ", " && text.get(25..)? == " GMT";
    let is_joined = [(7, " "), (11, " "), (16, " "), (19, ":"), (22, ":")]
        .iter()
        .all(|(at, joint)| text.get(*at..at + 1) == Some(joint));
    if !is_form || !is_joined {
        return None;
    }
    let month = i64::try_from(MONTHS.iter().position(|month| text.get(8..11) == Some(month))?).ok()?;
    let (day, year) = (number(5..7)?, number(12..16)?);
    let (hour, minute, second) = (number(17..19)?, number(20..22)?, number(23..25)?);
    let days = days(year, month + 1, day);
    // The name of the day has to be that day's, or nobody knows what was meant.
    let weekday = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][usize::try_from(days.rem_euclid(7)).ok()?];
    let is_day = (1..=length(year, month + 1)).contains(&day) && hour < 24 && minute < 60 && second < 60;
    (is_day && year >= 1970 && text.get(..3) == Some(weekday))
        .then(|| ((days * 24 + hour) * 60 + minute) * 60_000 + second * 1_000)
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn length(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _long => 31,
    }
}

/// Days since 1970, counted one year and one month at a time.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let years: i64 = (1970..year).map(|year| 365 + i64::from(is_leap(year))).sum();
    years + (1..month).map(|month| length(year, month)).sum::<i64>() + day - 1
}
