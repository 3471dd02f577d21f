//! What is delivered in order: an ordering key, as deliveries and lanes name it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// Namespace of the digests. Fixed for ever: lanes and deliveries that wait name keys by them.
const NAMESPACE: Uuid = Uuid::from_u128(0x5e1f_7c0a_39d4_5b7e_8a61_0c4f_2d9b_e804);

/// The digest of an event's key on its topic: whatever the key is, 16 hex digits. Two keys with one digest would wait for each other,
/// and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderingKey(pub u64);

impl OrderingKey {
    /// Of an event with this key.
    #[must_use]
    pub fn of(key: &[u8]) -> Self {
        Self(Uuid::new_v5(&NAMESPACE, key).as_u64_pair().0)
    }
}

impl fmt::Display for OrderingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for OrderingKey {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let key = u64::from_str_radix(text, 16).map(Self).map_err(drop)?;
        if key.to_string() == text { Ok(key) } else { Err(()) }
    }
}

impl Serialize for OrderingKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for OrderingKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(|()| serde::de::Error::custom("an ordering key has 16 hex digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_spelling_and_the_same_digest_for_ever() {
        let key = OrderingKey::of(b"customer 7");
        assert_eq!(key.to_string().parse(), Ok(key));
        assert_eq!(key, OrderingKey::of(b"customer 7"));
        assert_ne!(key, OrderingKey::of(b"customer 8"));
        assert_eq!(OrderingKey(0xa).to_string(), "000000000000000a");
        for text in ["", "a", "000000000000000A", "000000000000000a0", "+00000000000000a"] {
            assert_eq!(text.parse::<OrderingKey>(), Err(()), "{text}");
        }
        let json = serde_json::to_string(&key).unwrap();
        assert_eq!(serde_json::from_str::<OrderingKey>(&json).unwrap(), key);
    }
}
