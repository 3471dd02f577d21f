//! What could not be used, on `rejected`: the original bytes as far as they fit, the reason, and where it stood.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;

use crate::delivery::Origin;
use crate::header;
use crate::ids::{ApplicationId, OrganizationId, SourceId};
use crate::record::{Headers, HeadersBuilder, OutRecord, Record, TopicPartition};
use crate::slices::SliceCursor;

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

/// Why a record is rejected, and whose it is.
#[derive(Clone, Copy, Debug)]
pub struct NewRejection<'a> {
    /// The word.
    pub reason: RejectReason,
    /// The sentence.
    pub detail: &'a str,
    /// Where in the record it was seen: `byte 17`, or a JSON pointer.
    pub seen_at: Option<&'a str>,
    /// The source that it came through.
    pub source: Option<SourceId>,
    /// Whose that source is.
    pub organization: Option<OrganizationId>,
    /// The application that it means, as far as that can be told.
    pub application: Option<ApplicationId>,
    /// How often it was retried.
    pub retries: u32,
    /// How far its event was written, where a part of it was.
    pub written: Option<SliceCursor>,
}

/// What stands on `rejected` beside a record's key and value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedRecord {
    /// The word, which a newer build may have added.
    pub reason: String,
    /// The sentence.
    pub detail: String,
    /// Where in the record it was seen: `byte 17`, or a JSON pointer.
    pub seen_at: Option<String>,
    /// Where it stood.
    pub origin: Option<Origin>,
    /// When Kafka wrote it there, or its producer made it, Unix ms; none: an older build rejected it.
    pub timestamp_ms: Option<i64>,
    /// The source that it came through.
    pub source: Option<SourceId>,
    /// Whose that source is.
    pub organization: Option<OrganizationId>,
    /// The application that it means.
    pub application: Option<ApplicationId>,
    /// Bytes of its value, where it does not stand here whole: its value or its key was cut, or its headers are left out.
    pub cut: Option<u64>,
    /// How often it was retried.
    pub retries: u32,
    /// How far its event was written, where a part of it was: who is above that has not got it.
    pub written: Option<SliceCursor>,
    /// Its own headers.
    pub headers: Headers,
}

// === impl NewRejection ===

impl<'a> NewRejection<'a> {
    /// Of a record of which nothing else is known.
    #[must_use]
    pub fn new(reason: RejectReason, detail: &'a str) -> Self {
        let (seen_at, source, organization, application, written) = (None, None, None, None, None);
        Self { reason, detail, seen_at, source, organization, application, retries: 0, written }
    }

    /// What is said of it; the first of these headers is always the reason.
    fn push(&self, builder: &mut HeadersBuilder) {
        builder
            .push(header::REASON, self.reason.as_str().as_bytes())
            .push(header::DETAIL, cut_text(self.detail, DETAIL_LIMIT).as_bytes());
        if let Some(seen_at) = self.seen_at {
            builder.push(header::SEEN_AT, cut_text(seen_at, DETAIL_LIMIT).as_bytes());
        }
        if let Some(source) = self.source {
            builder.push_display(header::SOURCE, source);
        }
        if let Some(organization) = self.organization {
            builder.push_display(header::ORGANIZATION, organization);
        }
        if let Some(application) = self.application {
            builder.push_display(header::APPLICATION, application);
        }
        if self.retries > 0 {
            builder.push_i64(header::RETRIES, i64::from(self.retries));
        }
        if let Some(written) = self.written {
            builder.push_display(header::WRITTEN, written);
        }
    }
}

// === impl RejectedRecord ===

impl RejectedRecord {
    /// Reads what is said of a record of `rejected`; `None`: nobody rejected it.
    ///
    /// What its producer gave it stands before our own, so nothing that a stranger writes passes for ours.
    #[must_use]
    pub fn decode(record: &Record) -> Option<Self> {
        let (headers, said) = split(&record.headers, header::REASON)?;
        let text = |name: &str| said.text(name);
        Some(Self {
            reason: text(header::REASON)?.to_owned(),
            detail: text(header::DETAIL).unwrap_or_default().to_owned(),
            seen_at: text(header::SEEN_AT).map(str::to_owned),
            origin: text(header::ORIGIN).and_then(|origin| origin.parse().ok()),
            timestamp_ms: text(header::ACCEPTED).and_then(|ms| ms.parse().ok()),
            source: text(header::SOURCE).and_then(|id| id.parse().ok()),
            organization: text(header::ORGANIZATION).and_then(|id| id.parse().ok()),
            application: text(header::APPLICATION).and_then(|id| id.parse().ok()),
            cut: text(header::CUT).and_then(|size| size.parse().ok()),
            retries: text(header::RETRIES).and_then(|count| count.parse().ok()).unwrap_or(0),
            written: text(header::WRITTEN).and_then(|cursor| cursor.parse().ok()),
            headers,
        })
    }
}

/// Headers up to the last one of this name, and from there on.
pub(crate) fn split(headers: &Headers, name: &str) -> Option<(Headers, Headers)> {
    let at = headers.iter().enumerate().filter(|(_, (other, _))| *other == name.as_bytes()).last()?.0;
    let part = |of: &mut dyn Iterator<Item = (&[u8], &[u8])>| {
        let mut builder = Headers::builder(headers.len(), headers.size());
        for (name, value) in of {
            builder.push_raw(name, value);
        }
        builder.build()
    };
    Some((part(&mut headers.iter().take(at)), part(&mut headers.iter().skip(at))))
}

/// The `rejected` record of `record`.
///
/// Original headers stay if they fit; the value is cut until the whole fits `limit` (the topic's `max.message.bytes`), with its
/// original size in `hookbus-cut`. That stands there too where only its key was cut, or its headers are left out: it is not whole then.
#[must_use]
pub fn to_record(
    topic: Arc<str>,
    from: &TopicPartition,
    record: &Record,
    rejection: NewRejection<'_>,
    limit: usize,
) -> OutRecord {
    let value = record.value.clone();
    let size = value.as_ref().map_or(0, Bytes::len);
    let key = record.key.as_ref().map(|key| key.slice(..key.len().min(KEY_LIMIT)));
    let is_key_cut = key.as_ref().map(Bytes::len) != record.key.as_ref().map(Bytes::len);
    let build = |with_headers: bool, keep: usize| {
        let mut builder = Headers::builder(record.headers.len() + 11, record.headers.size() + 2_000);
        if with_headers {
            builder.copy_if(&record.headers, |_name| true);
        }
        rejection.push(&mut builder);
        builder
            .push_display(header::ORIGIN, format_args!("{}/{}/{}", from.topic, from.partition, record.offset))
            .push_i64(header::ACCEPTED, record.timestamp_ms);
        if keep < size || !with_headers || is_key_cut {
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

/// The `rejected` record of a record that not even `rejected` takes as it is: what is said of it, and nothing of it but where it stood
/// and how large it was.
#[must_use]
pub fn bare_record(topic: Arc<str>, from: &TopicPartition, record: &Record, rejection: NewRejection<'_>) -> OutRecord {
    let mut builder = Headers::builder(11, 2_000);
    rejection.push(&mut builder);
    builder
        .push_display(header::ORIGIN, format_args!("{}/{}/{}", from.topic, from.partition, record.offset))
        .push_i64(header::ACCEPTED, record.timestamp_ms)
        .push_display(header::CUT, record.value.as_ref().map_or(0, Bytes::len));
    OutRecord { topic, partition: None, key: None, value: None, headers: builder.build() }
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
        let rejection = NewRejection::new(RejectReason::TooLarge, "too large");
        to_record(Arc::from("rejected"), &from, &record, rejection, limit)
    }

    fn read(out: OutRecord) -> Record {
        Record { offset: 0, timestamp_ms: 0, key: out.key, value: out.value, headers: out.headers }
    }

    #[test]
    fn what_a_producer_wrote_passes_for_nothing_of_ours() {
        let names = [
            header::REASON,
            header::ORIGIN,
            header::ORGANIZATION,
            header::APPLICATION,
            header::SOURCE,
            header::WRITTEN,
        ];
        let theirs = "00000000-0000-0000-0000-000000000009";
        let headers: Headers = names.into_iter().map(|name| (name, theirs)).collect();
        let record = Record { offset: 9, timestamp_ms: 77, key: None, value: None, headers: headers.clone() };
        let from = TopicPartition::new("orders", 3);
        let bare = NewRejection::new(RejectReason::Undecodable, "no JSON");
        let said = RejectedRecord::decode(&read(to_record(Arc::from("rejected"), &from, &record, bare, 10_000)));
        let said = said.unwrap();
        assert_eq!((said.organization, said.application, said.source, said.written), (None, None, None, None));
        assert_eq!((&*said.reason, said.origin.unwrap().to_string().as_str()), ("undecodable", "orders/3/9"));
        assert_eq!((said.timestamp_ms, said.headers == headers), (Some(77), true));
        let (source, organization) = (theirs.parse().unwrap(), theirs.parse().unwrap());
        let full = NewRejection {
            seen_at: Some("/id"),
            source: Some(source),
            organization: Some(organization),
            application: Some(theirs.parse().unwrap()),
            retries: 3,
            written: Some(SliceCursor { last: theirs.parse().unwrap(), count: 2_000 }),
            ..bare
        };
        let said = RejectedRecord::decode(&read(to_record(Arc::from("rejected"), &from, &record, full, 10_000)));
        let said = said.unwrap();
        assert_eq!((said.source, said.organization, said.retries), (Some(source), Some(organization), 3));
        assert_eq!((said.seen_at.as_deref(), said.cut), (Some("/id"), None));
        assert_eq!(said.written, full.written);
        assert_eq!(RejectedRecord::decode(&record).map(|said| said.reason).as_deref(), Some(theirs));
    }

    #[test]
    fn a_record_whose_key_was_cut_is_not_whole() {
        let key = Some(Bytes::from(vec![b'k'; KEY_LIMIT + 1]));
        let value = Some(Bytes::from_static(b"{}"));
        let record = Record { offset: 9, timestamp_ms: 0, key, value, headers: Headers::default() };
        let from = TopicPartition::new("orders", 3);
        let rejection = NewRejection::new(RejectReason::Unmapped, "no id");
        let out = to_record(Arc::from("rejected"), &from, &record, rejection, 10_000);
        assert_eq!(out.headers.text(header::CUT), Some("2"));
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
