//! Offsets as text: base64url over zigzag varints of the differences, the first from 0. What waits lies close together, so that
//! one offset costs one to three characters.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;

use crate::varint;

/// Encodes offsets in the order given.
#[must_use]
pub fn encode_offsets(offsets: &[i64]) -> String {
    let mut bytes = Vec::with_capacity(offsets.len() * 2);
    let mut last = 0_i64;
    for &offset in offsets {
        varint::push(&mut bytes, zigzag(offset.wrapping_sub(last)));
        last = offset;
    }
    BASE64.encode(&bytes)
}

/// Decodes what [`encode_offsets`] made; `None` for anything else.
#[must_use]
pub fn decode_offsets(text: &str) -> Option<Vec<i64>> {
    let bytes = BASE64.decode(text).ok()?;
    let mut rest = bytes.as_slice();
    let (mut offsets, mut last) = (Vec::with_capacity(bytes.len()), 0_i64);
    while !rest.is_empty() {
        last = last.wrapping_add(unzigzag(varint::pull(&mut rest)?));
        offsets.push(last);
    }
    Some(offsets)
}

/// For fields of records.
pub(super) mod text {
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(in super::super) fn serialize<S: Serializer>(offsets: &[i64], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::encode_offsets(offsets))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<i64>, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        super::decode_offsets(&text).ok_or_else(|| de::Error::custom("it holds no list of offsets"))
    }
}

fn zigzag(value: i64) -> u64 {
    value.wrapping_shl(1).cast_unsigned() ^ (value >> 63).cast_unsigned()
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}
