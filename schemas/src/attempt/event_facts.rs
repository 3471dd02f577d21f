//! Facts of an accepted event, for the delivery log.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::ids::SubscriptionId;

/// Ids of matching subscriptions that a record names; where more match, it names none.
pub const MAX_NAMED: usize = 10_000;
/// Bytes of an id.
const ID_BYTES: usize = 16;
/// Ids that are encoded at once: their bytes have to be a multiple of three.
const AT_ONCE: usize = 12;

/// Facts of an accepted event, for the delivery log.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct EventFacts<'a> {
    /// How many subscriptions matched.
    pub matched: u32,
    /// Payload size in bytes.
    pub payload_bytes: u64,
    /// Media type.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<Cow<'a, str>>,
    /// `ce_time`.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<Cow<'a, str>>,
    /// Labels as they came, a JSON object.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub labels: Option<&'a RawValue>,
    /// Metadata as it came, a JSON object.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<&'a RawValue>,
    /// Producer's address.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub ip: Option<Cow<'a, str>>,
    /// The snapshot it was matched at: offset of the last control record its matcher had applied, -1 for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_offset: Option<i64>,
    /// Ids of the matching subscriptions, see [`name_subscriptions`]. Absent where none or too many match.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub subscriptions: Option<Cow<'a, str>>,
}

// === impl EventFacts ===

impl EventFacts<'_> {
    /// The ids of the matching subscriptions, where the record names them. `None` also where what it holds are no ids.
    #[must_use]
    pub fn subscription_ids(&self) -> Option<Vec<SubscriptionId>> {
        let bytes = URL_SAFE_NO_PAD.decode(self.subscriptions.as_deref()?).ok()?;
        let (ids, rest) = bytes.as_chunks::<ID_BYTES>();
        rest.is_empty().then(|| ids.iter().map(|id| SubscriptionId(Uuid::from_bytes(*id))).collect())
    }
}

/// Ids one after the other, 16 bytes each, as base64url without padding; `None` for none, and for more than [`MAX_NAMED`].
#[must_use]
pub fn name_subscriptions(ids: impl ExactSizeIterator<Item = SubscriptionId>) -> Option<String> {
    let count = ids.len();
    if count == 0 || count > MAX_NAMED {
        return None;
    }
    let mut text = String::with_capacity((count * ID_BYTES).div_ceil(3) * 4);
    let mut bytes = [0; AT_ONCE * ID_BYTES];
    let mut end = 0;
    for id in ids {
        bytes[end..end + ID_BYTES].copy_from_slice(id.0.as_bytes());
        end += ID_BYTES;
        if end == bytes.len() {
            URL_SAFE_NO_PAD.encode_string(bytes, &mut text);
            end = 0;
        }
    }
    URL_SAFE_NO_PAD.encode_string(&bytes[..end], &mut text);
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(subscriptions: Option<String>) -> EventFacts<'static> {
        EventFacts { subscriptions: subscriptions.map(Cow::Owned), ..EventFacts::default() }
    }

    #[test]
    fn the_subscriptions_that_match_are_named_in_order_up_to_the_cap() {
        let ids = |count: usize| (0..count).map(|number| SubscriptionId(Uuid::from_u128(number as u128 * 7 + 1)));
        for count in [1, 2, 3, 11, 12, 13, 24, 1_000, MAX_NAMED] {
            let text = name_subscriptions(ids(count)).unwrap();
            assert_eq!(text, URL_SAFE_NO_PAD.encode(ids(count).flat_map(|id| id.0.into_bytes()).collect::<Vec<u8>>()));
            assert_eq!(facts(Some(text)).subscription_ids(), Some(ids(count).collect()), "{count}");
        }
        assert_eq!(name_subscriptions(ids(0)), None);
        assert_eq!(name_subscriptions(ids(MAX_NAMED + 1)), None);
        assert_eq!(facts(Some("AAAA".to_owned())).subscription_ids(), None, "three bytes are no id");
    }
}
