//! Hop 1: an event on `events`, the `CloudEvents` 1.0 Kafka binding in binary mode: attributes are headers, the value is the payload.

use std::collections::BTreeMap;

use crate::cloud_event::{self, Scalar};
use crate::header;
use crate::record::Headers;

/// Labels or metadata: a small map of strings.
pub type StringMap = BTreeMap<String, String>;

/// Extension attributes by name.
pub type Extensions<'a> = BTreeMap<String, Scalar<'a>>;

/// What the gateway writes beside the payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventHeaders<'a> {
    /// `ce_id`.
    pub id: &'a str,
    /// The id was made for this record, by whoever writes it. See [`header::ID_MADE`].
    pub is_id_made: bool,
    /// `ce_type`.
    pub event_type: &'a str,
    /// `ce_source`.
    pub source: &'a str,
    /// `ce_time`, RFC 3339.
    pub time: &'a str,
    /// Media type of the payload; empty where there is nothing to say, as for an event without data.
    pub content_type: &'a str,
    /// The application's id.
    pub application: &'a str,
    /// Labels, if any.
    pub labels: Option<&'a StringMap>,
    /// Metadata, if any.
    pub metadata: Option<&'a StringMap>,
    /// The producer's address.
    pub ip: Option<&'a str>,
}

impl EventHeaders<'_> {
    /// Encodes all headers.
    ///
    /// # Errors
    /// Never in practice: a map of strings always is JSON; the error is passed on rather than hidden.
    pub fn encode(&self) -> Result<Headers, serde_json::Error> {
        self.encode_with(&BTreeMap::new())
    }

    /// Encodes all headers, and the extension attributes a `CloudEvent` brought, by name.
    ///
    /// # Errors
    /// As [`EventHeaders::encode`].
    pub fn encode_with(&self, extensions: &Extensions<'_>) -> Result<Headers, serde_json::Error> {
        let mut builder = Headers::builder(10, 256);
        builder
            .push(header::CE_SPECVERSION, b"1.0")
            .push(header::CE_ID, self.id.as_bytes())
            .push(header::CE_TYPE, self.event_type.as_bytes())
            .push(header::CE_SOURCE, self.source.as_bytes())
            .push(header::CE_TIME, self.time.as_bytes());
        if !self.content_type.is_empty() {
            builder.push(header::CONTENT_TYPE, self.content_type.as_bytes());
        }
        builder.push(header::APPLICATION, self.application.as_bytes());
        if self.is_id_made {
            builder.push(header::ID_MADE, b"1");
        }
        cloud_event::push_extensions(&mut builder, extensions.iter().map(|(name, value)| (name.as_str(), value)));
        for (name, map) in [(header::LABELS, self.labels), (header::METADATA, self.metadata)] {
            if let Some(map) = map.filter(|map| !map.is_empty()) {
                builder.push(name, &serde_json::to_vec(map)?);
            }
        }
        if let Some(ip) = self.ip {
            builder.push(header::IP, ip.as_bytes());
        }
        Ok(builder.build())
    }
}

/// Whether a record's id was made for it alone, by its header [`header::ID_MADE`].
#[must_use]
pub fn is_id_made(value: Option<&[u8]>) -> bool {
    value == Some(b"1")
}

/// Reads a header that holds a JSON object of strings; absent is empty.
///
/// # Errors
/// When the value is not a JSON object of strings.
pub fn string_map(headers: &Headers, name: &str) -> Result<StringMap, serde_json::Error> {
    headers.get(name).map_or_else(|| Ok(StringMap::new()), serde_json::from_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_maps_are_left_out_and_full_ones_come_back() {
        let labels = StringMap::from([("environment".to_owned(), "production".to_owned())]);
        let headers = EventHeaders {
            id: "evt_1",
            is_id_made: false,
            event_type: "invoice.paid",
            source: "/applications/x",
            time: "2026-11-22T00:00:00Z",
            content_type: "application/json",
            application: "x",
            labels: Some(&labels),
            metadata: Some(&StringMap::new()),
            ip: None,
        };
        let encoded = headers.encode().unwrap();
        assert_eq!(encoded.len(), 8);
        assert_eq!(string_map(&encoded, header::LABELS).unwrap(), labels);
        assert!(string_map(&encoded, header::METADATA).unwrap().is_empty());
        let broken: Headers = [(header::LABELS, "[1]")].into_iter().collect();
        assert!(string_map(&broken, header::LABELS).is_err());
        assert!(!is_id_made(encoded.get(header::ID_MADE)));
        let made = EventHeaders { is_id_made: true, ..headers }.encode().unwrap();
        assert!(is_id_made(made.get(header::ID_MADE)));
        assert_eq!(made.len(), encoded.len() + 1);
    }
}
