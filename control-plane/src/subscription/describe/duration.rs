//! Durations as the document shows them: the pattern of exactly those texts that are read, `36h`, `250ms`, `060s`. Pure.

use std::ops::RangeInclusive;

use serde_json::{Value, json};

/// Units and their milliseconds, as in [`retry::duration`].
const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// A duration as text within the range, or the same in whole milliseconds.
pub(super) fn schemas(ms: RangeInclusive<u64>) -> [Value; 2] {
    let pattern = format!("^({})$", texts(&ms));
    [
        json!({ "type": "string", "pattern": pattern }),
        json!({ "type": "integer", "minimum": ms.start(), "maximum": ms.end() }),
    ]
}

/// The expression of all texts whose duration lies in the range, without anchors.
fn texts(ms: &RangeInclusive<u64>) -> String {
    let of_unit = |(unit, length): (&str, u64)| {
        let numbers = ms.start().div_ceil(length)..=ms.end() / length;
        (!numbers.is_empty()).then(|| format!("0*({}){unit}", numbers_in(&numbers)))
    };
    UNITS.into_iter().filter_map(of_unit).collect::<Vec<_>>().join("|")
}

/// The expression of all whole numbers in a range, without leading zeros.
fn numbers_in(range: &RangeInclusive<u64>) -> String {
    let mut parts = Vec::new();
    let mut from = *range.start();
    while from <= *range.end() {
        // The longest run `from..=to` that one expression with free last digits stands for.
        let mut free = 1;
        let mut to = from;
        while let Some(next) = (from / (free * 10)).checked_mul(free * 10).filter(|first| *first == from && from > 0) {
            let last = next + (free * 10 - 1);
            if last > *range.end() || last.to_string().len() != from.to_string().len() {
                break;
            }
            (free, to) = (free * 10, last);
        }
        // Then the digit before them may run too.
        let digit = (from / free) % 10;
        let mut highest = digit;
        while highest < 9 && to + free <= *range.end() && (from == 0) == (to + free == 0) {
            (highest, to) = (highest + 1, to + free);
        }
        let zeros = free.ilog10();
        let head = from / free / 10;
        let head = if head == 0 { String::new() } else { head.to_string() };
        let run = if digit == highest { digit.to_string() } else { format!("[{digit}-{highest}]") };
        let tail = if zeros == 0 { String::new() } else { format!("[0-9]{{{zeros}}}") };
        parts.push(format!("{head}{run}{tail}"));
        match to.checked_add(1) {
            Some(next) => from = next,
            None => break,
        }
    }
    parts.join("|")
}

#[cfg(test)]
mod tests {
    use jsonschema::Validator;
    use proptest::prelude::*;

    use super::*;

    fn validator(range: RangeInclusive<u64>) -> Validator {
        let [text, _number] = schemas(range);
        jsonschema::validator_for(&text).unwrap()
    }

    #[test]
    fn the_expression_is_short_and_exact() {
        assert_eq!(numbers_in(&(1..=90)), "[1-9]|[1-8][0-9]{1}|90");
        let all =
            jsonschema::validator_for(&json!({ "pattern": format!("^({})$", numbers_in(&(7..=1_234))) })).unwrap();
        for number in 0..3_000_u64 {
            assert_eq!(all.is_valid(&json!(number.to_string())), (7..=1_234).contains(&number), "{number}");
        }
    }

    proptest! {
        #[test]
        fn what_fits_is_what_is_read_within_the_range(
            text in "(0{0,2}[0-9]{1,12}|)(ms|s|m|h|d|w|S| s|)", low in 0_u64..100_000, width in 0_u64..10_000_000_000,
        ) {
            let range = low..=low + width;
            let read = retry::duration::parse(&text).ok().map(|read| u64::try_from(read.as_millis()).unwrap());
            let fits = validator(range.clone()).is_valid(&json!(text));
            prop_assert_eq!(fits, read.is_some_and(|ms| range.contains(&ms)), "{} in {:?}", text, range);
        }
    }
}
