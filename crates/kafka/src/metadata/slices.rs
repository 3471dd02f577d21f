//! The member `c` of the commit metadata: how far the record at the committed offset is written, where that takes more than one
//! transaction.

use schemas::varint;
use uuid::Uuid;

pub use schemas::slices::SliceCursor;

/// What names this member.
pub(super) const LETTER: char = 'c';

/// The id and a varint: 25 bytes at most, 34 characters of base64.
pub(super) fn to_bytes(cursor: SliceCursor) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(25);
    bytes.extend_from_slice(cursor.last.as_bytes());
    // 63 bits, as every release reads them.
    varint::push(&mut bytes, cursor.count.min(i64::MAX.unsigned_abs()));
    bytes
}

pub(super) fn from_bytes(bytes: &[u8]) -> Option<SliceCursor> {
    let (last, mut rest) = bytes.split_first_chunk::<16>()?;
    let count = varint::pull(&mut rest)?;
    rest.is_empty().then_some(SliceCursor { last: Uuid::from_bytes(*last), count })
}
