//! RFC 3339 times as people and producers write them. Pure.

/// Whether a text is an RFC 3339 time with a zone.
///
/// The shape is checked here, the calendar by the library, which alone would also take shapes that RFC 3339 does not know, and
/// an offset of 24 hours.
#[must_use]
pub fn is_rfc3339(text: &str) -> bool {
    let Some((front, rest)) = text.as_bytes().split_at_checked(19) else { return false };
    if !has_shape(b"0000-00-00T00:00:00", front) {
        return false;
    }
    let zone = match rest.strip_prefix(b".") {
        None => rest,
        Some(fraction) => {
            let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if !(1..=9).contains(&digits) {
                return false;
            }
            fraction.split_at(digits).1
        }
    };
    is_zone(zone) && text.parse::<jiff::Timestamp>().is_ok()
}

/// `Z`, or an offset of at most 23:59.
fn is_zone(zone: &[u8]) -> bool {
    if matches!(zone, b"Z" | b"z") {
        return true;
    }
    let number = |tens: u8, ones: u8| (tens - b'0') * 10 + (ones - b'0');
    match zone {
        [b'+' | b'-', offset @ ..] if has_shape(b"00:00", offset) => match offset {
            [h, i, _, m, n] => number(*h, *i) <= 23 && number(*m, *n) <= 59,
            _another_length => false,
        },
        _no_offset => false,
    }
}

/// Whether `bytes` has digits where `shape` has `0`, and `shape`'s own bytes elsewhere.
fn has_shape(shape: &[u8], bytes: &[u8]) -> bool {
    shape.len() == bytes.len()
        && shape.iter().zip(bytes).all(|(want, have)| match want {
            b'0' => have.is_ascii_digit(),
            b'T' => matches!(have, b'T' | b't'),
            other => have == other,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_zone_of_at_most_23_59() {
        for zone in ["Z", "z", "+00:00", "-00:00", "+05:45", "+23:59", "-23:59"] {
            assert!(is_rfc3339(&format!("2026-11-22T10:30:00{zone}")), "{zone}");
            assert!(is_rfc3339(&format!("2026-11-22t10:30:00.123456789{zone}")), "{zone}");
        }
        for zone in ["", "+24:00", "-24:00", "+23:60", "+99:99", "+1:00", "+0100", " Z", "Z ", "[UTC]"] {
            assert!(!is_rfc3339(&format!("2026-11-22T10:30:00{zone}")), "{zone}");
        }
        for text in
            ["yesterday", "", "2026-11-22", "2026-02-30T00:00:00Z", "2026-11-22T10:30:00.Z", "2026-11-22 10:30:00Z"]
        {
            assert!(!is_rfc3339(text), "{text}");
        }
    }
}
