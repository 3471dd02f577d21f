//! What a message may become in memory, looked at before it is decoded: in the library's tree a message of two bytes takes some
//! 600, so bytes that fit a record would not fit a process.
//!
//! ```text
//! bytes --one walk, no tree--> messages: at most an eighth of the limit    {"a":1},  has eight bytes of JSON
//!                              elements: at most half of it                1,        has two
//! ```
//!
//! What is no message at all is left to the decoder, which says so.

use prost_reflect::{Kind, MessageDescriptor};
use schemas::varint;

use super::ProtobufFault;

/// Deeper than the decoder goes.
const MAX_WALK_DEPTH: usize = 128;
/// Bytes of JSON of the shortest message that says anything, and of the shortest element of a list.
const MESSAGE_JSON: usize = 8;
const ELEMENT_JSON: usize = 2;
/// This part of the limit is not worth a walk.
const UNWALKED: usize = 16;

/// What is left for the messages of one value, those inside an `Any` among them.
#[derive(Clone, Copy, Debug)]
pub(super) struct TreeAllowance {
    limit: usize,
    messages: usize,
    elements: usize,
}

/// A message that the walk is in.
struct WalkedMessage<'b> {
    /// None: nobody knows its fields.
    descriptor: Option<MessageDescriptor>,
    /// What follows it; none: it is a group, and ends where it says so.
    after: Option<&'b [u8]>,
}

// === impl TreeAllowance ===

impl TreeAllowance {
    /// For JSON of so many bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, messages: limit / MESSAGE_JSON, elements: limit / ELEMENT_JSON }
    }

    /// Takes what a message needs.
    ///
    /// # Errors
    /// More than is left.
    pub(super) fn take(&mut self, message: &MessageDescriptor, bytes: &[u8]) -> Result<(), ProtobufFault> {
        // A message takes two bytes at least, and what is inside an `Any` of these bytes is among them: however it is made, it is
        // a small part of what is allowed.
        if bytes.len() <= self.limit / UNWALKED {
            return Ok(());
        }
        self.walk(message, bytes).unwrap_or(Ok(()))
    }

    /// None: the bytes are no message.
    fn walk(&mut self, message: &MessageDescriptor, bytes: &[u8]) -> Option<Result<(), ProtobufFault>> {
        let mut left = bytes;
        let mut open = vec![WalkedMessage { descriptor: Some(message.clone()), after: Some(&[]) }];
        loop {
            while left.is_empty() {
                left = open.pop()?.after?;
                if open.is_empty() {
                    return Some(Ok(()));
                }
            }
            if self.messages == 0 || self.elements == 0 {
                return Some(Err(self.too_many()));
            }
            let tag = varint::pull(&mut left)?;
            let field = open.last()?.descriptor.as_ref();
            let field = field.and_then(|it| it.get_field(u32::try_from(tag >> 3).ok()?));
            self.elements -= 1;
            match tag & 7 {
                0 => drop(varint::pull(&mut left)?),
                1 => left = left.get(8..)?,
                5 => left = left.get(4..)?,
                2 => {
                    let length = usize::try_from(varint::pull(&mut left)?).ok()?;
                    let (inside, after) = left.split_at_checked(length)?;
                    let kind = field.map(|it| it.kind());
                    match self.sized(&mut open, kind.as_ref(), (inside, after))? {
                        Ok(next) => left = next,
                        Err(fault) => return Some(Err(fault)),
                    }
                }
                3 => {
                    let kind = field.map(|it| it.kind());
                    let descriptor = kind.as_ref().and_then(Kind::as_message).cloned();
                    self.enter(&mut open, descriptor, None)?;
                }
                4 => {
                    if open.pop()?.after.is_some() {
                        return None;
                    }
                }
                _no_type => return None,
            }
        }
    }

    /// What has a length: a message, which is walked next, or a text, or a list of numbers, which is passed.
    fn sized<'b>(
        &mut self,
        open: &mut Vec<WalkedMessage<'b>>,
        kind: Option<&Kind>,
        (inside, after): (&'b [u8], &'b [u8]),
    ) -> Option<Result<&'b [u8], ProtobufFault>> {
        match kind {
            Some(Kind::Message(descriptor)) => {
                self.enter(open, Some(descriptor.clone()), Some(after))?;
                Some(Ok(inside))
            }
            Some(Kind::String | Kind::Bytes) | None => Some(Ok(after)),
            Some(kind) => match self.elements.checked_sub(packed(kind, inside)) {
                None => Some(Err(self.too_many())),
                Some(elements) => {
                    self.elements = elements;
                    Some(Ok(after))
                }
            },
        }
    }

    fn too_many(&self) -> ProtobufFault {
        let what = format!("it has more messages or elements than fit JSON of {} bytes", self.limit);
        ProtobufFault { what, is_too_large: true }
    }

    fn enter<'b>(
        &mut self,
        open: &mut Vec<WalkedMessage<'b>>,
        descriptor: Option<MessageDescriptor>,
        after: Option<&'b [u8]>,
    ) -> Option<()> {
        self.messages -= 1;
        open.push(WalkedMessage { descriptor, after });
        (open.len() <= MAX_WALK_DEPTH).then_some(())
    }
}

/// How many elements a packed list has.
fn packed(kind: &Kind, bytes: &[u8]) -> usize {
    match kind {
        Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => bytes.len() / 8,
        Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => bytes.len() / 4,
        // The last byte of each has no mark that more follow.
        Kind::Int32
        | Kind::Int64
        | Kind::Uint32
        | Kind::Uint64
        | Kind::Sint32
        | Kind::Sint64
        | Kind::Bool
        | Kind::Enum(_) => bytes.iter().filter(|byte| **byte & 0x80 == 0).count(),
        Kind::String | Kind::Bytes | Kind::Message(_) => 0,
    }
}
