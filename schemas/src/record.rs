//! A record as it stands in a topic: key, value and text headers over shared buffers.
//!
//! One copy is made when a record is read; from there on everything is a slice of that buffer, so a payload travels from
//! the topic to the endpoint untouched.

use std::fmt;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

/// A topic name and a partition number.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// Full topic name, prefix included.
    pub topic: Arc<str>,
    /// Partition number, never negative.
    pub partition: i32,
}

/// A consumed record.
#[derive(Clone, Debug)]
pub struct Record {
    /// Offset in its partition.
    pub offset: i64,
    /// Kafka timestamp, Unix ms (log append time on our own topics).
    pub timestamp_ms: i64,
    /// Key bytes, if any.
    pub key: Option<Bytes>,
    /// Value bytes; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// Headers in order.
    pub headers: Headers,
}

/// A record to produce.
#[derive(Clone, Debug)]
pub struct OutRecord {
    /// Full topic name.
    pub topic: Arc<str>,
    /// Explicit partition; `None` lets the key (murmur2) or, without a key, one sticky partition per transaction decide.
    pub partition: Option<i32>,
    /// Key bytes.
    pub key: Option<Bytes>,
    /// Value bytes; `None` writes a tombstone.
    pub value: Option<Bytes>,
    /// Headers in order.
    pub headers: Headers,
}

/// Headers in order, all in one shared buffer. Names are ASCII by our own convention; foreign ones may be anything.
#[derive(Clone, Default)]
pub struct Headers {
    data: Bytes,
    spans: Arc<[Span]>,
}

#[derive(Clone, Copy)]
struct Span {
    start: u32,
    name_end: u32,
    end: u32,
}

/// Where a header's value stands in its [`Headers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    start: u32,
    end: u32,
}

/// Builds [`Headers`] in one growing buffer.
#[derive(Default)]
pub struct HeadersBuilder {
    data: BytesMut,
    spans: Vec<Span>,
}

// === impl TopicPartition ===

impl TopicPartition {
    /// Makes a pair of a topic's full name and a partition.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

impl fmt::Debug for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

// === impl Record ===

impl Record {
    /// Bytes of key, value and headers: what the record costs in memory.
    #[must_use]
    pub fn size(&self) -> usize {
        self.key.as_ref().map_or(0, Bytes::len) + self.value.as_ref().map_or(0, Bytes::len) + self.headers.size()
    }
}

// === impl OutRecord ===

impl OutRecord {
    /// Bytes of key, value and headers.
    #[must_use]
    pub fn size(&self) -> usize {
        self.key.as_ref().map_or(0, Bytes::len) + self.value.as_ref().map_or(0, Bytes::len) + self.headers.size()
    }

    /// Upper bound of what the record takes in a record batch of its own (varints, per-header lengths, batch header).
    #[must_use]
    pub fn batch_size(&self) -> usize {
        // Record batch v2: 61 bytes of batch header; at most 5 bytes per varint, 2 varints per header, 8 per record.
        61 + 40 + self.size() + 10 * self.headers.len()
    }
}

// === impl Headers ===

impl Headers {
    /// A builder with room for `count` headers of `bytes` bytes in all.
    #[must_use]
    pub fn builder(count: usize, bytes: usize) -> HeadersBuilder {
        HeadersBuilder { data: BytesMut::with_capacity(bytes), spans: Vec::with_capacity(count) }
    }

    /// Number of headers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Bytes of all names and values.
    #[must_use]
    pub fn size(&self) -> usize {
        self.data.len()
    }

    /// All headers in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.spans.iter().map(|span| {
            (
                &self.data[span.start as usize..span.name_end as usize],
                &self.data[span.name_end as usize..span.end as usize],
            )
        })
    }

    /// All names in order, with the places of their values.
    pub fn places(&self) -> impl Iterator<Item = (&[u8], Place)> {
        self.spans.iter().map(|span| {
            let name = &self.data[span.start as usize..span.name_end as usize];
            (name, Place { start: span.name_end, end: span.end })
        })
    }

    /// A value by its place; empty for a place of other headers.
    #[must_use]
    pub fn at(&self, place: Place) -> &[u8] {
        self.data.get(place.start as usize..place.end as usize).unwrap_or_default()
    }

    /// The last value of a header, as Kafka's own clients read a repeated one.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.position(name).map(|span| &self.data[span.name_end as usize..span.end as usize])
    }

    /// The last value of a header as a slice that shares the buffer.
    #[must_use]
    pub fn get_bytes(&self, name: &str) -> Option<Bytes> {
        self.position(name).map(|span| self.data.slice(span.name_end as usize..span.end as usize))
    }

    /// The last value of a header if it is UTF-8.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    fn position(&self, name: &str) -> Option<Span> {
        self.spans
            .iter()
            .rev()
            .find(|span| &self.data[span.start as usize..span.name_end as usize] == name.as_bytes())
            .copied()
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.iter().map(|(name, value)| (String::from_utf8_lossy(name), String::from_utf8_lossy(value))))
            .finish()
    }
}

impl PartialEq for Headers {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl Eq for Headers {}

impl<'a> FromIterator<(&'a str, &'a str)> for Headers {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(pairs: I) -> Self {
        let mut builder = HeadersBuilder::default();
        for (name, value) in pairs {
            builder.push(name, value.as_bytes());
        }
        builder.build()
    }
}

// === impl HeadersBuilder ===

impl HeadersBuilder {
    /// Appends one header.
    pub fn push(&mut self, name: &str, value: &[u8]) -> &mut Self {
        self.push_raw(name.as_bytes(), value)
    }

    /// Appends one header whose name may be any bytes.
    pub fn push_raw(&mut self, name: &[u8], value: &[u8]) -> &mut Self {
        let start = position(&self.data);
        self.data.put_slice(name);
        let name_end = position(&self.data);
        self.data.put_slice(value);
        self.spans.push(Span { start, name_end, end: position(&self.data) });
        self
    }

    /// Appends one header with an integer value in decimal.
    pub fn push_i64(&mut self, name: &str, value: i64) -> &mut Self {
        self.push_display(name, value)
    }

    /// Appends one header with any displayed value.
    pub fn push_display(&mut self, name: &str, value: impl fmt::Display) -> &mut Self {
        use fmt::Write as _;
        let start = position(&self.data);
        self.data.put_slice(name.as_bytes());
        let name_end = position(&self.data);
        write!(self.data, "{value}").expect("writing to a growing buffer cannot fail");
        self.spans.push(Span { start, name_end, end: position(&self.data) });
        self
    }

    /// Appends one header whose value is written in place, at the end of the buffer; none where nothing is written. What stands
    /// before it must stay.
    pub fn push_if(&mut self, name: &str, write: impl FnOnce(&mut BytesMut)) -> &mut Self {
        let start = position(&self.data);
        self.data.put_slice(name.as_bytes());
        let name_end = position(&self.data);
        write(&mut self.data);
        let end = position(&self.data);
        if end > name_end {
            self.spans.push(Span { start, name_end, end });
        } else {
            self.data.truncate(start as usize);
        }
        self
    }

    /// Appends every header for which `keep` holds.
    pub fn copy_if(&mut self, from: &Headers, keep: impl Fn(&[u8]) -> bool) -> &mut Self {
        for (name, value) in from.iter() {
            if keep(name) {
                self.push_raw(name, value);
            }
        }
        self
    }

    /// Ends the building.
    #[must_use]
    pub fn build(self) -> Headers {
        Headers { data: self.data.freeze(), spans: self.spans.into() }
    }
}

impl fmt::Debug for HeadersBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeadersBuilder").field("headers", &self.spans.len()).finish_non_exhaustive()
    }
}

fn position(data: &BytesMut) -> u32 {
    u32::try_from(data.len()).expect("headers of one record stay far below 4 GiB: Kafka's record limit is 2 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_of_a_repeated_header_wins_and_order_is_kept() {
        let headers: Headers = [("a", "1"), ("b", "2"), ("a", "3")].into_iter().collect();
        assert_eq!(headers.text("a"), Some("3"));
        assert_eq!(headers.get("c"), None);
        let names: Vec<_> = headers.iter().map(|(name, _)| name.to_vec()).collect();
        assert_eq!(names, [b"a".to_vec(), b"b".to_vec(), b"a".to_vec()]);
        assert_eq!(headers.size(), 6);
    }

    #[test]
    fn copying_keeps_only_what_is_asked_for() {
        let headers: Headers = [("ce_id", "1"), ("hookbus-x", "2")].into_iter().collect();
        let mut builder = Headers::builder(2, 16);
        builder.copy_if(&headers, |name| name.starts_with(b"ce_")).push_i64("due", -5);
        let copy = builder.build();
        assert_eq!(copy.len(), 2);
        assert_eq!(copy.text("due"), Some("-5"));
    }
}
