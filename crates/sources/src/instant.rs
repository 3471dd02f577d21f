//! Counted times as RFC 3339, each with the precision it was counted in.

use schemas::control::source::TimeUnit;

const DAY_S: i64 = 86_400;

/// What is written: how many of them make a second, and how many digits that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Precision {
    per_second: i64,
    digits: usize,
}

impl Precision {
    pub(crate) const SECONDS: Self = Self { per_second: 1, digits: 0 };
    pub(crate) const MILLIS: Self = Self { per_second: 1_000, digits: 3 };
    pub(crate) const MICROS: Self = Self { per_second: 1_000_000, digits: 6 };
    pub(crate) const NANOS: Self = Self { per_second: 1_000_000_000, digits: 9 };

    pub(crate) fn of(unit: TimeUnit) -> Self {
        match unit {
            TimeUnit::S => Self::SECONDS,
            TimeUnit::Ms => Self::MILLIS,
            TimeUnit::Us => Self::MICROS,
            TimeUnit::Ns => Self::NANOS,
        }
    }
}

/// A day of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CivilDay {
    year: i64,
    month: i64,
    day: i64,
}

/// Appends a moment, counted since 1970, without its zone. Whether it is in the years that RFC 3339 can write: 0 to 9999.
pub(crate) fn push_moment(out: &mut Vec<u8>, count: i64, precision: Precision) -> bool {
    let second = count.div_euclid(precision.per_second);
    let Some(day) = civil(second.div_euclid(DAY_S)) else { return false };
    push_day(out, day);
    out.push(b'T');
    push_clock(out, second.rem_euclid(DAY_S), count.rem_euclid(precision.per_second), precision);
    true
}

/// Appends a date, days since 1970. Whether RFC 3339 can write it.
pub(crate) fn push_date(out: &mut Vec<u8>, days: i32) -> bool {
    civil(i64::from(days)).map(|day| push_day(out, day)).is_some()
}

/// Appends a time of day. Whether it is one.
pub(crate) fn push_time(out: &mut Vec<u8>, count: i64, precision: Precision) -> bool {
    let second = count.div_euclid(precision.per_second);
    let is_one = (0..DAY_S).contains(&second);
    if is_one {
        push_clock(out, second, count.rem_euclid(precision.per_second), precision);
    }
    is_one
}

/// The day of the calendar, by days since 1970. Years begin in March here, so that the day of the leap is the last one.
fn civil(days: i64) -> Option<CivilDay> {
    const FIRST: i64 = -719_528;
    const LAST: i64 = 2_932_896;
    // Days from the first of March of the year 0 to 1970, of 400 years, of 100, of 4.
    const TO_1970: i64 = 719_468;
    const ERA: i64 = 146_097;
    const CENTURY: i64 = 36_524;
    const LEAP: i64 = 1_460;
    if !(FIRST..=LAST).contains(&days) {
        return None;
    }
    let days = days + TO_1970;
    let (era, of_era) = (days.div_euclid(ERA), days.rem_euclid(ERA));
    let year = (of_era - of_era / LEAP + of_era / CENTURY - of_era / (ERA - 1)) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    // March, April and so on to January have 31, 30, 31, 30, 31 days, and again: 153 in five.
    let from_march = (5 * of_year + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    Some(CivilDay { year: year + era * 400 + i64::from(month <= 2), month, day })
}

fn push_day(out: &mut Vec<u8>, day: CivilDay) {
    push_digits(out, day.year, 4);
    out.push(b'-');
    push_digits(out, day.month, 2);
    out.push(b'-');
    push_digits(out, day.day, 2);
}

fn push_clock(out: &mut Vec<u8>, second: i64, fraction: i64, precision: Precision) {
    push_digits(out, second / 3_600, 2);
    out.push(b':');
    push_digits(out, second / 60 % 60, 2);
    out.push(b':');
    push_digits(out, second % 60, 2);
    if precision.digits > 0 {
        out.push(b'.');
        push_digits(out, fraction, precision.digits);
    }
}

/// Appends a number that is not negative with so many digits.
fn push_digits(out: &mut Vec<u8>, mut number: i64, digits: usize) {
    let start = out.len();
    out.resize(start + digits, b'0');
    for place in out.iter_mut().skip(start).rev() {
        *place = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(push: impl Fn(&mut Vec<u8>) -> bool) -> Option<String> {
        let mut out = Vec::new();
        push(&mut out).then(|| String::from_utf8(out).unwrap())
    }

    fn moment(count: i64, unit: TimeUnit) -> Option<String> {
        written(|out| push_moment(out, count, Precision::of(unit)))
    }

    #[test]
    fn moments_have_the_precision_they_are_counted_in() {
        assert_eq!(moment(1_700_000_000, TimeUnit::S).as_deref(), Some("2023-11-14T22:13:20"));
        assert_eq!(moment(1_700_000_000_007, TimeUnit::Ms).as_deref(), Some("2023-11-14T22:13:20.007"));
        assert_eq!(moment(-1, TimeUnit::Us).as_deref(), Some("1969-12-31T23:59:59.999999"));
        assert_eq!(moment(0, TimeUnit::Ns).as_deref(), Some("1970-01-01T00:00:00.000000000"));
        assert_eq!(moment(253_402_300_799, TimeUnit::S).as_deref(), Some("9999-12-31T23:59:59"));
        assert_eq!(moment(-62_167_219_200, TimeUnit::S).as_deref(), Some("0000-01-01T00:00:00"));
        for count in [253_402_300_800, -62_167_219_201, i64::MAX, i64::MIN] {
            assert_eq!(moment(count, TimeUnit::S), None, "{count}");
        }
    }

    #[test]
    fn what_is_written_is_what_the_library_writes() {
        use jiff::ToSpan as _;
        let (first, begin) = (jiff::civil::date(0, 1, 1), jiff::civil::date(1970, 1, 1));
        let days = -719_528..=2_932_896;
        let mut expected = first;
        for day in days {
            let text = written(|out| push_date(out, day)).unwrap();
            assert_eq!(text, expected.to_string(), "{day} days after {begin}");
            expected = expected.checked_add(1.day()).unwrap_or(first);
        }
    }

    #[test]
    fn dates_and_times_of_day() {
        assert_eq!(written(|out| push_date(out, 19_782)).as_deref(), Some("2024-02-29"));
        assert_eq!(written(|out| push_date(out, -1)).as_deref(), Some("1969-12-31"));
        assert_eq!(written(|out| push_date(out, i32::MAX)), None);
        let time = |count, precision| written(|out| push_time(out, count, precision));
        assert_eq!(time(86_399_999, Precision::MILLIS).as_deref(), Some("23:59:59.999"));
        assert_eq!(time(1, Precision::MICROS).as_deref(), Some("00:00:00.000001"));
        assert_eq!((time(86_400_000, Precision::MILLIS), time(-1, Precision::MILLIS)), (None, None));
    }
}
