//! The member `c` of the commit metadata: how far the record at the committed offset is written, where that takes more than one
//! transaction.

use schemas::varint;
use uuid::Uuid;

/// What names this member.
pub(super) const LETTER: char = 'c';

/// How far a record is written whose outputs go in slices, in the order of an id that each output has.
///
/// It belongs to the record at the committed offset and to no other: whoever takes the partition over goes on above [`Self::last`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SliceCursor {
    /// The id of the last output that is written.
    pub last: Uuid,
    /// Outputs that are written.
    pub count: u64,
}

// === impl SliceCursor ===

impl SliceCursor {
    /// The id and a varint: 25 bytes at most, 34 characters of base64.
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(25);
        bytes.extend_from_slice(self.last.as_bytes());
        // 63 bits, as every release reads them.
        varint::push(&mut bytes, self.count.min(i64::MAX.unsigned_abs()));
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (last, mut rest) = bytes.split_first_chunk::<16>()?;
        let count = varint::pull(&mut rest)?;
        rest.is_empty().then_some(Self { last: Uuid::from_bytes(*last), count })
    }
}
