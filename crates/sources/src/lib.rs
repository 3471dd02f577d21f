//! A record becomes an event, or says why it cannot. One file per format; the payload's bytes are never touched.
//!
//! ```text
//! record of `events` -----------------------------------> decode ------+
//! record of a source --frame--> schema --> JSON --+                     v
//!                    --format-------------------> scan --> templates --> attributes --> Event, Skipped, Rejected, NeedsSchema
//!                                                 one pass, slices       crates' face: Mapping
//! ```
//!
//! Whoever reads an accepted record again, to send it once more, reads it with this as well: so both see the same event. Pure;
//! what it leaves to others: which source reads a topic (crates/catalog), fetching schemas (fanout-worker).

mod attributes;
mod avro;
mod carried;
mod cloudevents;
mod cloudevents_binary;
mod cloudevents_structured;
mod debezium;
pub mod event_body;
mod frame;
mod hookbus;
mod instant;
mod look;
mod map;
mod mapping;
mod options;
mod pointer;
mod pointers;
mod protobuf;
mod registry;
mod scan;
pub mod schema;
mod template;
mod templates;

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use schemas::record::Headers;
use schemas::rejected::RejectReason;

pub use cloudevents::{decode, named_application};
pub use mapping::{Against, DECODED_LIMIT, Mapped, Mapping, MappingError, SkipReason};

/// Longest `ce_id` and `ce_source`, bytes: they stand in headers of every hop and in the delivery log's index.
pub const MAX_ID_BYTES: usize = 1_000;

/// An event as its record tells it; texts borrow from the record where they can.
#[derive(Debug)]
pub struct Event<'a> {
    /// Id or uid of its application.
    pub application: Cow<'a, str>,
    /// `ce_id`, or its position where it brought none.
    pub id: Cow<'a, str>,
    /// The id was made for this record alone (by the gateway, or it is its position): nobody can repeat it, so it needs no
    /// deduplication.
    pub is_id_made: bool,
    /// `ce_source`, or its topic where it brought none.
    pub source: Cow<'a, str>,
    /// `ce_type`.
    pub event_type: Cow<'a, str>,
    /// `ce_time`.
    pub time: Option<Cow<'a, str>>,
    /// Media type of the payload.
    pub content_type: Option<Cow<'a, str>>,
    /// Labels, undecoded JSON.
    pub labels: Option<Cow<'a, [u8]>>,
    /// Metadata, undecoded JSON.
    pub metadata: Option<Cow<'a, [u8]>>,
    /// What was left out of the event, for its lifecycle record.
    pub note: Option<String>,
    /// What it is in order with, where its body says that; else the record's key.
    pub ordering_key: Option<Cow<'a, str>>,
    /// The producer's address.
    pub ip: Option<&'a str>,
    /// The payload, a slice of the record's value.
    pub payload: Bytes,
    /// The headers every delivery starts with: CloudEvents attributes and the four of ours that may come in.
    pub headers: Headers,
}

/// Why a record is no event.
#[derive(Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The word.
    pub reason: RejectReason,
    /// The sentence.
    pub detail: Cow<'static, str>,
    /// Where in the record it was seen, if that is one place.
    pub position: Option<RejectedAt>,
}

/// A place in a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RejectedAt {
    /// A byte of its value, from 0.
    Byte(usize),
    /// A JSON pointer into its value, or into the JSON it was decoded to.
    Pointer(Box<str>),
}

// === impl Rejection ===

impl Rejection {
    /// This word, and this sentence.
    pub fn new(reason: RejectReason, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { reason, detail: detail.into(), position: None }
    }

    fn undecodable(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(RejectReason::Undecodable, detail)
    }

    /// The same, seen at a byte of the value.
    fn at(self, byte: usize) -> Self {
        Self { position: Some(RejectedAt::Byte(byte)), ..self }
    }

    fn attribute(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(RejectReason::InvalidAttribute, detail)
    }
}

impl fmt::Display for RejectedAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Byte(at) => write!(f, "byte {at}"),
            Self::Pointer(pointer) => f.write_str(pointer),
        }
    }
}

#[cfg(test)]
mod tests;
