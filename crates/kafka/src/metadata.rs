//! What stands in the metadata of a committed offset: the transaction's nonce, who committed it, which topic it was, and
//! what is not done above the offset.
//!
//! ```text
//! 1:<nonce>:<transactional id>:<topic id>:<read-up-to minus committed>:<not done>
//! 2:<the same five>:<member>:<member>...
//! ```
//!
//! Nonce and topic id are 22 characters of base64url; *not done* is base64url over varint deltas, the first from the
//! committed offset, the others from their predecessor. A member is one letter, which names it, and base64url; they stand in any
//! order, and one that is not known is passed over, so that another can come without a third version: `l` is the claim about
//! lists, see [`ListsClaim`], `p` and `x` the positions of a source, see [`PositionClaim`], `c` how far the record at the offset is written,
//! see [`SliceCursor`]. What has no member is written as version 1, which every release reads. At most 4,096 characters, which is the
//! broker's limit.

mod lists;
mod position;
mod slices;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use schemas::varint;
use uuid::Uuid;

pub use self::lists::ListsClaim;
pub use self::position::{Handled, PositionClaim};
pub use self::slices::SliceCursor;

/// The broker's `offset.metadata.max.bytes`.
pub const MAX_LENGTH: usize = 4_096;
/// Longest transactional id, so that the window's share of the metadata is known.
pub const MAX_TRANSACTIONAL_ID: usize = 40;

/// Without members.
const BARE: &str = "1";
/// With members.
const EXTENDED: &str = "2";
/// Characters that are kept free for members, whether or not there are any: a window that fits once must fit with them. A position is
/// longer; who has one, or a record in slices, is done in order, and has no window.
const MAX_MEMBERS: usize = 70;
/// Version, nonce, transactional id, topic id, a span of 19 digits, five separators, and the members with theirs.
const MAX_HEAD: usize = 1 + 22 + MAX_TRANSACTIONAL_ID + 22 + 19 + 5 + MAX_MEMBERS;
/// The longest delta, in bytes: 63 bits.
const MAX_DELTA: usize = 9;
/// What is left for the deltas, in bytes before base64 (3 bytes become 4 characters).
const MAX_DELTAS: usize = (MAX_LENGTH - MAX_HEAD) / 4 * 3;

/// The decoded metadata of one committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitMetadata {
    /// Random id of the transaction that committed it.
    pub nonce: Uuid,
    /// Who committed it.
    pub transactional_id: String,
    /// The topic's id at that time; nil if it was not known.
    pub topic_id: Uuid,
    /// Everything below this that is not listed is done.
    pub read_up_to: i64,
    /// What is not done in `[committed, read_up_to)`, ascending.
    pub not_done: Vec<i64>,
    /// What is claimed about lists; `None`: nothing, also where version 1 or a person wrote the metadata.
    pub lists: Option<ListsClaim>,
    /// Which positions of a source the offset belongs to; `None`: the topic is nobody's source, or nobody has said.
    pub position: Option<PositionClaim>,
    /// How far the record at the offset is written, where that takes more than one transaction; `None`: nothing of it is.
    pub slices: Option<SliceCursor>,
}

/// Whether any further offset has room beside `count` not-done ones over a span of offsets, without looking at them.
#[must_use]
pub(crate) fn has_room_surely(count: usize, span: i64) -> bool {
    count.saturating_mul(delta_length(span)).saturating_add(MAX_DELTA) <= MAX_DELTAS
}

/// Whether any further offset has room beside these not-done ones.
#[must_use]
pub(crate) fn has_room(committed: i64, not_done: &[i64]) -> bool {
    deltas(committed, not_done).map(delta_length).sum::<usize>() + MAX_DELTA <= MAX_DELTAS
}

/// Whether these not-done offsets fit.
#[must_use]
pub fn fits(committed: i64, not_done: &[i64]) -> bool {
    deltas(committed, not_done).map(delta_length).sum::<usize>() <= MAX_DELTAS
}

/// How long the metadata get at most, in characters.
#[must_use]
pub(crate) fn length(committed: i64, not_done: &[i64]) -> usize {
    let bytes: usize = deltas(committed, not_done).map(delta_length).sum();
    MAX_HEAD + bytes.min(MAX_DELTAS).div_ceil(3) * 4
}

/// Encodes; the second value says whether something was cut.
///
/// What does not fit is cut at its end: `read_up_to` is lowered to the first not-done offset that has no room,
/// which forgets that records above it are done, and never that one is not. [`crate::Window::is_full`] keeps this from
/// happening.
#[must_use]
pub fn encode(committed: i64, metadata: &CommitMetadata) -> (String, bool) {
    let mut bytes = Vec::with_capacity(metadata.not_done.len() * 2);
    let mut read_up_to = metadata.read_up_to.max(committed);
    let mut cut = false;
    for (delta, &offset) in deltas(committed, &metadata.not_done).zip(&metadata.not_done) {
        if bytes.len() + delta_length(delta) > MAX_DELTAS {
            read_up_to = offset;
            cut = true;
            break;
        }
        varint::push(&mut bytes, delta.unsigned_abs());
    }
    let has_members = metadata.lists.is_some() || metadata.position.is_some() || metadata.slices.is_some();
    let version = if has_members { EXTENDED } else { BARE };
    let mut text = format!(
        "{version}:{}:{}:{}:{}:{}",
        BASE64.encode(metadata.nonce.as_bytes()),
        metadata.transactional_id,
        BASE64.encode(metadata.topic_id.as_bytes()),
        read_up_to - committed,
        BASE64.encode(&bytes)
    );
    if let Some(claim) = &metadata.lists {
        text.push(':');
        text.push(lists::LETTER);
        text.push_str(&BASE64.encode(claim.to_bytes()));
    }
    if let Some(position) = &metadata.position {
        text.push(':');
        text.push(position::LETTER);
        text.push_str(&BASE64.encode(position.to_bytes()));
        if let Some(rejected) = position.rejected_bytes() {
            text.push(':');
            text.push(position::REJECTED_LETTER);
            text.push_str(&BASE64.encode(rejected));
        }
    }
    if let Some(cursor) = &metadata.slices {
        text.push(':');
        text.push(slices::LETTER);
        text.push_str(&BASE64.encode(slices::to_bytes(*cursor)));
    }
    (text, cut)
}

/// The version of metadata that another release wrote, which [`decode`] does not read. `None`: this version, or no metadata of ours
/// at all.
#[must_use]
pub fn other_version(text: &str) -> Option<&str> {
    let (version, rest) = text.split_once(':')?;
    let is_number = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit());
    (is_number && ![BARE, EXTENDED].contains(&version) && rest.contains(':')).then_some(version)
}

/// Decodes; `None` for what is not ours (an offset set by hand, another version).
#[must_use]
pub fn decode(committed: i64, text: &str) -> Option<CommitMetadata> {
    let mut parts = text.split(':');
    let version = parts.next()?;
    if ![BARE, EXTENDED].contains(&version) {
        return None;
    }
    let nonce = decode_uuid(parts.next()?)?;
    let transactional_id = parts.next()?.to_owned();
    let topic_id = decode_uuid(parts.next()?)?;
    let span = parts.next()?.parse::<i64>().ok().filter(|span| *span >= 0)?;
    let deltas = BASE64.decode(parts.next()?).ok()?;
    let (mut lists, mut position, mut rejected, mut slices) = (None, None, None, None);
    for member in parts {
        if version == BARE {
            return None;
        }
        if let Some(encoded) = member.strip_prefix(lists::LETTER) {
            lists = Some(ListsClaim::from_bytes(&BASE64.decode(encoded).ok()?)?);
        } else if let Some(encoded) = member.strip_prefix(position::LETTER) {
            position = Some(PositionClaim::from_bytes(&BASE64.decode(encoded).ok()?)?);
        } else if let Some(encoded) = member.strip_prefix(position::REJECTED_LETTER) {
            rejected = Some(BASE64.decode(encoded).ok()?);
        } else if let Some(encoded) = member.strip_prefix(slices::LETTER) {
            slices = Some(slices::from_bytes(&BASE64.decode(encoded).ok()?)?);
        }
    }
    let position = match rejected {
        Some(rejected) => position.map(|claim| claim.with_rejected(&rejected).ok_or(())).transpose().ok()?,
        None => position,
    };
    let read_up_to = committed.checked_add(span)?;
    let mut not_done = Vec::new();
    let mut rest = deltas.as_slice();
    let mut last = committed;
    while !rest.is_empty() {
        last = last.checked_add(i64::try_from(varint::pull(&mut rest)?).ok()?)?;
        not_done.push(last);
    }
    let metadata = CommitMetadata { nonce, transactional_id, topic_id, read_up_to, not_done, lists, position, slices };
    (last <= read_up_to).then_some(metadata)
}

/// A transactional id that fits the metadata.
pub(crate) fn is_valid_transactional_id(id: &str) -> bool {
    (1..=MAX_TRANSACTIONAL_ID).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

fn decode_uuid(text: &str) -> Option<Uuid> {
    Uuid::from_slice(&BASE64.decode(text).ok()?).ok()
}

fn deltas(committed: i64, not_done: &[i64]) -> impl Iterator<Item = i64> {
    let before = std::iter::once(committed).chain(not_done.iter().copied());
    not_done.iter().zip(before).map(|(&offset, before)| (offset - before).max(0))
}

/// Bytes of a delta, which is never negative.
fn delta_length(delta: i64) -> usize {
    varint::length(delta.max(0).unsigned_abs())
}

#[cfg(test)]
mod tests;
