//! The changelog of accepted identities, on `seen`: one record per source partition and transaction, packed 16-byte hashes.

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
/// First byte of every value.
const VERSION: u8 = 1;

/// An identity's hash: the bytes of [`crate::identity::event_uuid`].
pub type Hash = [u8; HASH_BYTES];

/// A value that is no list of hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{length} bytes beginning with {first:?} are no list of identity hashes of version 1")]
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

/// Packs hashes into a value.
#[must_use]
pub fn encode(hashes: &[Hash]) -> Bytes {
    let mut value = Vec::with_capacity(1 + hashes.len() * HASH_BYTES);
    value.push(VERSION);
    for hash in hashes {
        value.extend_from_slice(hash);
    }
    value.into()
}

/// Unpacks a value.
///
/// # Errors
/// When it is not version 1 or not a whole number of hashes long.
pub fn decode(value: &[u8]) -> Result<impl Iterator<Item = Hash> + '_, SeenError> {
    match value.split_first() {
        Some((&VERSION, hashes)) if hashes.len().is_multiple_of(HASH_BYTES) => {
            Ok(hashes.as_chunks::<HASH_BYTES>().0.iter().copied())
        }
        first => Err(SeenError { length: value.len(), first: first.map(|(byte, _rest)| *byte) }),
    }
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
        let hashes = [[1; 16], [2; 16]];
        let value = encode(&hashes);
        assert_eq!(decode(&value).unwrap().collect::<Vec<_>>(), hashes);
        for bad in [&b""[..], &[2][..], &[1, 0][..]] {
            assert!(decode(bad).is_err());
        }
    }
}
