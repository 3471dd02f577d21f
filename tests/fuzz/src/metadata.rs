//! Metadata of commits: as a text that anybody may have set, and as windows of offsets made of the input's bytes. What was written
//! is read as the same, and nothing that is not done is ever forgotten.

use kafka::ListsClaim;
use kafka::metadata::{CommitMetadata, MAX_LENGTH, decode, encode, fits, other_version};
use uuid::Uuid;

const COMMITTED: i64 = 1_000;

pub(crate) fn run(data: &[u8]) -> bool {
    window(data);
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let Some(metadata) = decode(COMMITTED, text) else { return false };
    assert_eq!(other_version(text), None);
    assert!(metadata.read_up_to >= COMMITTED);
    assert!(metadata.not_done.is_sorted() && metadata.not_done.first().is_none_or(|first| *first >= COMMITTED));
    let (written, cut) = encode(COMMITTED, &metadata);
    if metadata.transactional_id.len() <= kafka::metadata::MAX_TRANSACTIONAL_ID {
        assert!(written.len() <= MAX_LENGTH);
    }
    if !cut {
        assert_eq!(decode(COMMITTED, &written), Some(metadata));
    }
    true
}

/// Each byte is a step to the next offset that is not done; one of 255 is a leap that grows.
fn window(data: &[u8]) {
    let (mut at, mut leap) = (COMMITTED, 1_000_i64);
    let mut not_done = Vec::with_capacity(data.len());
    for &byte in data {
        if byte == u8::MAX {
            leap = leap.saturating_mul(1_000);
        }
        let step = if byte == u8::MAX { leap } else { i64::from(byte) + 1 };
        let Some(next) = at.checked_add(step).filter(|next| *next < i64::MAX) else { break };
        at = next;
        not_done.push(at);
    }
    let lists = data.first().filter(|first| **first % 2 == 0).map(|first| ListsClaim {
        queued: u64::from(*first) << 40,
        sum: u64::MAX - u64::from(*first),
        topic_id: Uuid::from_u128(5),
        from: i64::MAX - i64::from(*first),
    });
    let metadata = CommitMetadata {
        nonce: Uuid::from_u128(u128::MAX - 3),
        transactional_id: "hookbus-delivery-0123456789abcdef-012345".to_owned(),
        topic_id: Uuid::from_u128(9),
        read_up_to: at + 1,
        not_done,
        lists,
        position: None,
        slices: None,
    };
    let (text, cut) = encode(COMMITTED, &metadata);
    assert!(text.len() <= MAX_LENGTH);
    assert_eq!(!cut, fits(COMMITTED, &metadata.not_done));
    let read = decode(COMMITTED, &text).expect("what was written is read");
    assert!(read.read_up_to <= metadata.read_up_to);
    let below = metadata.not_done.iter().copied().filter(|offset| *offset < read.read_up_to);
    assert!(read.not_done.iter().copied().eq(below), "what is not done was forgotten");
    assert_eq!((read.nonce, read.topic_id, read.lists), (metadata.nonce, metadata.topic_id, metadata.lists));
}
