//! The member `l` of the commit metadata: what the lists of a partition's waiting records came to at this commit.

use schemas::varint;
use uuid::Uuid;

/// What names this member.
pub(super) const LETTER: char = 'l';

/// How many records of a partition wait in lists, and where these stand: what a new owner compares with the lists it reads.
///
/// Without it nobody could tell a topic of lists that was cut, emptied or mirrored from one in which nothing waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListsClaim {
    /// Entries of all lists of the partition.
    pub queued: u64,
    /// Wrapping sum of a mix of each listed offset.
    pub sum: u64,
    /// Id of the topic that holds the lists; nil if it was not known.
    pub topic_id: Uuid,
    /// Reading the lists begins at this offset of that topic: every record that counts stands there or above.
    pub from: i64,
}

// === impl ListsClaim ===

impl ListsClaim {
    /// Two varints, the id and the sum: 42 bytes at most, 56 characters of base64.
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(42);
        // 63 bits, as every release reads them.
        varint::push(&mut bytes, self.queued.min(i64::MAX.unsigned_abs()));
        varint::push(&mut bytes, self.from.max(0).unsigned_abs());
        bytes.extend_from_slice(&self.sum.to_be_bytes());
        bytes.extend_from_slice(self.topic_id.as_bytes());
        bytes
    }

    pub(super) fn from_bytes(mut bytes: &[u8]) -> Option<Self> {
        let queued = varint::pull(&mut bytes)?;
        let from = i64::try_from(varint::pull(&mut bytes)?).ok()?;
        let (sum, topic_id) = bytes.split_first_chunk::<8>()?;
        let topic_id = Uuid::from_slice(topic_id).ok()?;
        Some(Self { queued, sum: u64::from_be_bytes(*sum), topic_id, from })
    }
}
