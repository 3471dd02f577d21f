//! What a record of the events topic says, read the way the contract says, independently of the fan-out.

use std::collections::BTreeMap;

use schemas::event::string_map;
use schemas::header;
use schemas::identity::{EventIdentity, positional_id};
use schemas::record::{Headers, Record};
use serde_json::value::RawValue;

use super::{Applications, Content, Place};
use crate::endpoint::seen::body_hash;

impl Content {
    pub(super) fn of(place: &Place, record: &Record, applications: &Applications) -> Option<Self> {
        let value = record.value.as_ref()?;
        let application = *applications.get(record.headers.text(header::APPLICATION)?)?;
        let labels = string_map(&record.headers, header::LABELS).ok()?;
        let structured =
            record.headers.text(header::CONTENT_TYPE).is_some_and(|media| media.contains("cloudevents+json"));
        let parts = if structured { Parts::structured(value)? } else { Parts::binary(&record.headers, value)? };
        let position = || positional_id(&place.topic, place.partition, place.offset, record.timestamp_ms);
        Some(Self {
            positional: parts.id.is_none(),
            identity: EventIdentity {
                application,
                source: parts.source.unwrap_or_else(|| format!("/topics/{}", place.topic)),
                id: parts.id.unwrap_or_else(position),
            },
            event_type: parts.event_type,
            labels,
            payload: parts.payload,
        })
    }
}

/// Of a `CloudEvent` in either mode.
struct Parts {
    id: Option<String>,
    source: Option<String>,
    event_type: String,
    payload: u64,
}

impl Parts {
    fn binary(headers: &Headers, value: &[u8]) -> Option<Self> {
        let text = |name: &str| headers.text(name).map(str::to_owned);
        Some(Self {
            id: text(header::CE_ID),
            source: text(header::CE_SOURCE),
            event_type: text(header::CE_TYPE)?,
            payload: body_hash(value),
        })
    }

    fn structured(value: &[u8]) -> Option<Self> {
        let envelope: BTreeMap<String, &RawValue> = serde_json::from_slice(value).ok()?;
        let text = |name: &str| serde_json::from_str::<String>(envelope.get(name)?.get()).ok();
        Some(Self {
            id: text("id"),
            source: text("source"),
            event_type: text("type")?,
            payload: body_hash(envelope.get("data").map_or("", |data| data.get()).as_bytes()),
        })
    }
}
