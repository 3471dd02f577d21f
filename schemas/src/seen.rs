//! The changelog of accepted identities, on `seen`: one record per source partition and transaction, packed.
//!
//! ```text
//! version 1: 1, hash (16 bytes), hash, ...                 all accepted at the time that the record says
//! version 2: 2, hash, how long before it (4 bytes), ...    each at its own, as the window of an application asks for
//! ```

use bytes::Bytes;
use thiserror::Error;

use crate::murmur2::partition_for;
use crate::record::TopicPartition;

/// Bytes of one identity hash.
pub const HASH_BYTES: usize = 16;
/// Neighbouring partitions of a source whose identities stand in one partition of `seen`. A transaction costs the brokers by
/// the partitions it touches, and a batch touches all of its sources; a worker that takes over one of four reads what the
/// other three accepted too, and skips it.
const NEIGHBOURS: i32 = 4;
/// Bytes that say how long before its record's time an identity was accepted.
const AGE_BYTES: usize = 4;
/// First byte of a value whose identities are all of the record's time.
const ONE_TIME: u8 = 1;
/// First byte of a value whose identities say their own.
const OWN_TIMES: u8 = 2;

/// An identity's hash: the bytes of [`crate::identity::event_uuid`].
pub type Hash = [u8; HASH_BYTES];

/// A value that is no list of hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{length} bytes beginning with {first:?} are no list of identity hashes of version 1 or 2")]
pub struct SeenError {
    /// Length of the value.
    pub length: usize,
    /// Its first byte.
    pub first: Option<u8>,
}

/// The key: the source partition as `topic/partition`.
#[must_use]
pub fn key(source: &TopicPartition) -> Bytes {
    Bytes::from(source.to_string())
}

/// The partition of `seen` that holds a source partition's identities. Restoring asks the same question: it must never change
/// while there are identities inside the dedup window.
#[must_use]
pub fn partition(source: &TopicPartition, partitions: i32) -> i32 {
    partition_for(format!("{}/{}", source.topic, source.partition / NEIGHBOURS).as_bytes(), partitions)
}

/// Packs hashes into a value, each with how long before the record's time it was accepted, ms.
#[must_use]
pub fn encode(accepted: &[(Hash, u32)]) -> Bytes {
    let has_own_times = accepted.iter().any(|(_, age_ms)| *age_ms > 0);
    let mut value = Vec::with_capacity(1 + accepted.len() * (HASH_BYTES + AGE_BYTES));
    value.push(if has_own_times { OWN_TIMES } else { ONE_TIME });
    for (hash, age_ms) in accepted {
        value.extend_from_slice(hash);
        if has_own_times {
            value.extend_from_slice(&age_ms.to_be_bytes());
        }
    }
    value.into()
}

/// Unpacks a value: hashes, each with how long before the record's time it was accepted, ms.
///
/// # Errors
/// When it is of no version that is known, or not a whole number of entries long.
pub fn decode(value: &[u8]) -> Result<impl Iterator<Item = (Hash, u32)> + '_, SeenError> {
    let length = match value.first() {
        Some(&ONE_TIME) => Some(HASH_BYTES),
        Some(&OWN_TIMES) => Some(HASH_BYTES + AGE_BYTES),
        _other => None,
    };
    let entries = value.get(1..).unwrap_or_default();
    let Some(length) = length.filter(|length| entries.len().is_multiple_of(*length)) else {
        return Err(SeenError { length: value.len(), first: value.first().copied() });
    };
    Ok(entries.chunks_exact(length).map(|entry| {
        let hash = *entry.first_chunk().expect("as long as a hash, at least");
        let age = entry.get(HASH_BYTES..).and_then(|age| age.first_chunk().copied());
        (hash, age.map_or(0, u32::from_be_bytes))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_share_a_partition_and_a_topic_does_not_stand_in_one() {
        let of = |source: i32| partition(&TopicPartition::new("hookbus.events", source), 16);
        assert!((0..8).all(|source| of(source) == of(source / 4 * 4)));
        let all: std::collections::BTreeSet<i32> = (0..64).map(of).collect();
        assert!(all.len() > 6 && all.iter().all(|at| (0..16).contains(at)));
        assert_ne!(of(0), partition(&TopicPartition::new("orders", 0), 16));
    }

    #[test]
    fn what_is_packed_comes_back_and_anything_else_is_refused() {
        for (ages, bytes) in [([0, 0], 33), ([u32::MAX, 0], 41)] {
            let accepted = [([1; 16], ages[0]), ([2; 16], ages[1])];
            let value = encode(&accepted);
            assert_eq!(value.len(), bytes, "times that are all the same take no room");
            assert_eq!(decode(&value).unwrap().collect::<Vec<_>>(), accepted);
        }
        for bad in [&b""[..], &[3][..], &[1, 0][..], &[2, 0][..], &[2; 17][..]] {
            assert!(decode(bad).is_err());
        }
    }
}
