//! Protobuf, as it comes from a registry: files compiled without `protoc`, messages to the canonical JSON.
//!
//! What the library writes as JSON is used for the well-known types. Messages, lists and maps are written here: the library keeps
//! a map in a table without an order, so the same record would become another text in each process. Maps are written in the
//! order of their keys, and depth and size are bounded; what a value becomes in memory is bounded before it is decoded.

mod allowance;
mod compile;
mod json;

use prost_reflect::{DynamicMessage, FileDescriptor, MessageDescriptor};
use schemas::control::ProtobufOptions;

use self::allowance::TreeAllowance;
use crate::frame::MessageIndexes;

/// Deepest nesting of messages in a value, those inside an `Any` among them.
const MAX_MESSAGE_DEPTH: usize = 64;

/// A file of messages, with everything it imports.
#[derive(Debug)]
pub(crate) struct ProtobufFile {
    file: FileDescriptor,
    /// Whether an index path counts the entries of maps, as descriptors hold them and texts do not.
    counts_map_entries: bool,
    weight: usize,
}

/// Why bytes are no message, or none that is written as JSON here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProtobufFault {
    pub(crate) what: String,
    /// Nothing is wrong but the size of the JSON.
    pub(crate) is_too_large: bool,
}

impl ProtobufFile {
    pub(crate) fn weight(&self) -> usize {
        self.weight
    }

    /// The message that an index path leads to.
    pub(crate) fn message(&self, indexes: &MessageIndexes) -> Option<MessageDescriptor> {
        let counts = |message: &MessageDescriptor| self.counts_map_entries || !message.is_map_entry();
        let (first, rest) = indexes.split_first()?;
        let mut message = self.file.messages().nth(*first)?;
        for index in rest {
            let inside = message.child_messages().filter(counts).nth(*index)?;
            message = inside;
        }
        Some(message)
    }

    /// A message as JSON, of so many bytes at most.
    pub(crate) fn decode(
        message: MessageDescriptor,
        bytes: &[u8],
        options: ProtobufOptions,
        limit: usize,
    ) -> Result<Vec<u8>, ProtobufFault> {
        let name = message.full_name().to_owned();
        let mut allowance = TreeAllowance::new(limit);
        allowance.take(&message, bytes)?;
        let decoded = DynamicMessage::decode(message, bytes);
        let decoded = decoded.map_err(|error| fault(format!("not a message `{name}`: {error}")))?;
        json::write(&decoded, options, limit, allowance)
    }
}

fn fault(what: impl Into<String>) -> ProtobufFault {
    ProtobufFault { what: what.into(), is_too_large: false }
}

#[cfg(test)]
mod tests;
