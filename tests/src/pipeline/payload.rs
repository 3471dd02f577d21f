//! What a load carries: payloads of very different sizes in one mix, because what is bounded by bytes, copied or cut shows
//! itself only beyond a few of them.
//!
//! Nothing here is drawn: size and text follow from the event's id, so that a run can be repeated and a second try of an event
//! carries the same bytes.

use std::sync::LazyLock;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;

use crate::endpoint::seen::body_hash;

/// Sizes in bytes, each with how many of a thousand events have it. What is left has the largest payload that is allowed. On
/// average an event has 8 KB.
const MIX: [(usize, u64); 4] = [(20, 600), (1_024, 250), (4 * 1_024, 110), (100 * 1_024, 35)];
/// `topics.payload_limit_bytes` where a test does not set it.
pub(crate) const LARGEST: usize = 699_050;
/// Text that does not get smaller by compression. A payload is a part of it, and starts over at its end.
static TEXT: LazyLock<String> = LazyLock::new(text);

const TEXT_BYTES: usize = 1_024 * 1_024;
const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The payload of an event in the mix, JSON of exactly the size that its id is given.
pub(crate) fn of_mix(id: &str) -> String {
    let drawn = body_hash(id.as_bytes());
    let mut share = drawn % 1_000;
    for (size, per_mille) in MIX {
        if share < per_mille {
            return of_size(id, size);
        }
        share -= per_mille;
    }
    of_size(id, LARGEST)
}

/// A JSON payload of so many bytes, 20 at least, whose text follows from the id.
pub(crate) fn of_size(id: &str, bytes: usize) -> String {
    let bytes = bytes.max(20);
    let text = TEXT.as_str();
    let begin = usize::try_from(body_hash(id.as_bytes()) % TEXT_BYTES as u64).unwrap_or(0);
    let mut payload = String::with_capacity(bytes);
    payload.push_str(r#"{"n":""#);
    let mut rest = text.get(begin..).unwrap_or(text);
    while payload.len() + 2 < bytes {
        let room = bytes - 2 - payload.len();
        payload.push_str(rest.get(..room).unwrap_or(rest));
        rest = text;
    }
    payload.push_str(r#""}"#);
    payload
}

fn text() -> String {
    let mut random = SmallRng::seed_from_u64(0x686f_6f6b);
    let letters = std::iter::repeat_with(|| LETTERS.choose(&mut random).copied().unwrap_or(b'A'));
    letters.take(TEXT_BYTES).map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// What stands around the text: `{"n":"` and `"}`.
    const FRAME: usize = 8;

    #[test]
    fn the_mix_has_every_size_about_as_often_as_it_says() {
        let mut sizes: BTreeMap<usize, usize> = BTreeMap::new();
        for number in 0..5_000 {
            *sizes.entry(of_mix(&format!("load-{number}")).len()).or_default() += 1;
        }
        let expected = [(20, 3_000), (1_024, 1_250), (4_096, 550), (102_400, 175), (LARGEST, 25)];
        assert_eq!(sizes.keys().copied().collect::<Vec<_>>(), expected.map(|(size, _)| size));
        for (size, count) in expected {
            let found = sizes[&size];
            assert!(found > count / 2 && found < count * 2, "{found} of {size} bytes, about {count} expected");
        }
    }

    #[test]
    fn the_largest_is_what_the_configuration_allows() {
        assert_eq!(chassis::config::Config::for_tests().topics.payload_limit, LARGEST);
    }

    #[test]
    fn a_payload_is_json_of_its_size_and_follows_from_the_id() {
        for size in [20, 21, 1_024, 3 * TEXT_BYTES] {
            let payload = of_size("evt", size);
            assert_eq!(payload.len(), size);
            let read: serde_json::Value = serde_json::from_str(&payload).unwrap();
            assert_eq!(read["n"].as_str().unwrap().len(), size - FRAME);
            assert_eq!(payload, of_size("evt", size));
            assert_ne!(payload, of_size("other", size));
        }
    }
}
