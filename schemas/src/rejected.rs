//! What could not be used, on `rejected`: the original bytes as far as they fit, the reason, and where it stood.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;

use crate::header;
use crate::record::{Headers, OutRecord, Record, TopicPartition};

/// Why a record was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RejectReason {
    /// It cannot be decoded as what its topic holds.
    Undecodable,
    /// Its value is null.
    NullValue,
    /// Its application does not exist.
    UnknownApplication,
    /// It names its application by a uid that does not tell which one of several organizations' is meant.
    AmbiguousApplication,
    /// It names no application, or its type is missing or not allowed.
    InvalidAttribute,
    /// Its event type is not declared and the application rejects those.
    UnknownEventType,
    /// Its payload does not fit the JSON Schema of its type.
    SchemaMismatch,
    /// Checking its payload against the JSON Schema of its type would take too long.
    SchemaTooCostly,
    /// It does not fit the topics of the pipeline with our headers.
    TooLarge,
    /// It matches more subscriptions than one event may.
    TooManyMatches,
    /// Kafka refused to take what was made of it, for ever.
    Unwritable,
    /// Its schema registry has no schema of the id that it names.
    SchemaNotFound,
    /// The schema it names is there, and nothing can be decoded with it.
    SchemaUnusable,
    /// It is not what its source's mapping looks for, or no source reads its topic any more.
    Unmapped,
}

/// All reasons.
pub const REASONS: [RejectReason; 14] = [
    RejectReason::Undecodable,
    RejectReason::NullValue,
    RejectReason::UnknownApplication,
    RejectReason::AmbiguousApplication,
    RejectReason::InvalidAttribute,
    RejectReason::UnknownEventType,
    RejectReason::SchemaMismatch,
    RejectReason::SchemaTooCostly,
    RejectReason::TooLarge,
    RejectReason::TooManyMatches,
    RejectReason::Unwritable,
    RejectReason::SchemaNotFound,
    RejectReason::SchemaUnusable,
    RejectReason::Unmapped,
];

/// Longest detail kept, in bytes.
const DETAIL_LIMIT: usize = 1_000;
/// Longest key kept, in bytes: partitioning of `rejected` needs no more.
const KEY_LIMIT: usize = 1_000;

// === impl RejectReason ===

impl RejectReason {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Undecodable => "undecodable",
            Self::NullValue => "null_value",
            Self::UnknownApplication => "unknown_application",
            Self::AmbiguousApplication => "ambiguous_application",
            Self::InvalidAttribute => "invalid_attribute",
            Self::UnknownEventType => "unknown_event_type",
            Self::SchemaMismatch => "schema_mismatch",
            Self::SchemaTooCostly => "schema_too_costly",
            Self::TooLarge => "too_large",
            Self::TooManyMatches => "too_many_matches",
            Self::Unwritable => "unwritable",
            Self::SchemaNotFound => "schema_not_found",
            Self::SchemaUnusable => "schema_unusable",
            Self::Unmapped => "unmapped",
        }
    }
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for RejectReason {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        REASONS.into_iter().find(|reason| reason.as_str() == text).ok_or(())
    }
}

/// The `rejected` record of `record`. Original headers stay if they fit; the value is cut until the whole fits `limit`
/// (the topic's `max.message.bytes`), with its original size in `hookbus-cut`.
#[must_use]
pub fn to_record(
    topic: Arc<str>,
    from: &TopicPartition,
    record: &Record,
    reason: RejectReason,
    detail: &str,
    limit: usize,
) -> OutRecord {
    let value = record.value.clone();
    let size = value.as_ref().map_or(0, Bytes::len);
    let key = record.key.as_ref().map(|key| key.slice(..key.len().min(KEY_LIMIT)));
    let build = |with_headers: bool, keep: usize| {
        let mut builder = Headers::builder(record.headers.len() + 4, record.headers.size() + detail.len() + 200);
        if with_headers {
            builder.copy_if(&record.headers, |_name| true);
        }
        builder
            .push(header::REASON, reason.as_str().as_bytes())
            .push(header::DETAIL, cut_text(detail, DETAIL_LIMIT).as_bytes())
            .push_display(header::ORIGIN, format_args!("{}/{}/{}", from.topic, from.partition, record.offset));
        if keep < size || !with_headers {
            builder.push_display(header::CUT, size);
        }
        OutRecord {
            topic: Arc::clone(&topic),
            partition: None,
            key: key.clone(),
            value: value.as_ref().map(|value| value.slice(..keep)),
            headers: builder.build(),
        }
    };
    let whole = build(true, size);
    if whole.batch_size() <= limit {
        return whole;
    }
    // Headers alone may be too much: then they go, and the value keeps what room is left.
    let with_headers = build(true, 0).batch_size() <= limit;
    let room = limit.saturating_sub(build(with_headers, 0).batch_size());
    build(with_headers, size.min(room))
}

fn cut_text(text: &str, limit: usize) -> &str {
    let mut end = text.len().min(limit);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reject(value: usize, headers: Headers, limit: usize) -> OutRecord {
        let record = Record { offset: 9, timestamp_ms: 0, key: None, value: Some(vec![7; value].into()), headers };
        let from = TopicPartition::new("orders", 3);
        to_record(Arc::from("rejected"), &from, &record, RejectReason::TooLarge, "too large", limit)
    }

    #[test]
    fn what_fits_is_kept_whole_with_its_coordinates() {
        let out = reject(10, [("x", "y")].into_iter().collect(), 1_000);
        assert_eq!(out.value.unwrap().len(), 10);
        assert_eq!(out.headers.text(header::ORIGIN), Some("orders/3/9"));
        assert_eq!(out.headers.text("x"), Some("y"));
        assert_eq!(out.headers.get(header::CUT), None);
    }

    #[test]
    fn what_does_not_fit_is_cut_until_it_does() {
        let out = reject(5_000, [("x", "y")].into_iter().collect(), 1_000);
        assert!(out.batch_size() <= 1_000 && !out.value.as_ref().unwrap().is_empty());
        assert_eq!(out.headers.text(header::CUT), Some("5000"));
        let huge = "h".repeat(5_000);
        let out = reject(50, [("x", huge.as_str())].into_iter().collect(), 1_000);
        assert!(out.batch_size() <= 1_000);
        assert_eq!(out.headers.get("x"), None);
        assert_eq!(out.value.unwrap().len(), 50);
    }
}
