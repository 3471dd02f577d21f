//! An event of a source whose records are no CloudEvents: its headers are all made here.

use std::borrow::Cow;

use bytes::Bytes;
use schemas::header;
use schemas::record::Headers;

use crate::attributes::{Attributes, GivenAttributes};
use crate::map::RecordAt;
use crate::{Event, Rejection};

/// What an event has beside its attributes.
#[derive(Debug)]
pub(crate) struct Carried<'a> {
    pub(crate) payload: Bytes,
    pub(crate) content_type: Option<Cow<'a, str>>,
    /// What its `ce_dataschema` says.
    pub(crate) data_schema: Option<String>,
    /// A JSON object of strings.
    pub(crate) metadata: Option<Vec<u8>>,
    pub(crate) ordering_key: Option<Cow<'a, str>>,
}

// === impl Carried ===

impl<'a> Carried<'a> {
    /// A payload of a type, and nothing else.
    pub(crate) fn of(payload: Bytes, content_type: &'a str) -> Self {
        let content_type = Some(Cow::Borrowed(content_type));
        Self { payload, content_type, data_schema: None, metadata: None, ordering_key: None }
    }

    /// With the attributes: an event, whose headers are all made here.
    pub(crate) fn event(self, at: RecordAt<'a>, mut given: GivenAttributes<'a>) -> Result<Event<'a>, Rejection> {
        let resolved = Attributes::default().given(&mut given).resolve(at.record, at.from)?;
        let Some(application) = given.application else {
            return Err(Rejection::attribute("the source says no application, and the record names none"));
        };
        let own = at.record.headers.get(header::TRACEPARENT);
        let mut builder = Headers::builder(10, 256);
        builder
            .push(header::CE_SPECVERSION, b"1.0")
            .push(header::CE_ID, resolved.id.as_bytes())
            .push(header::CE_TYPE, resolved.event_type.as_bytes())
            .push(header::CE_SOURCE, resolved.source.as_bytes())
            .push(header::APPLICATION, application.as_bytes());
        let optional = [
            (header::CE_TIME, resolved.time.as_deref().map(str::as_bytes)),
            (header::CONTENT_TYPE, self.content_type.as_deref().map(str::as_bytes)),
            (header::CE_DATASCHEMA, self.data_schema.as_deref().map(str::as_bytes)),
            (header::LABELS, given.labels.as_deref()),
            (header::METADATA, self.metadata.as_deref()),
            (header::TRACEPARENT, own),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                builder.push(name, value);
            }
        }
        Ok(Event {
            application,
            id: resolved.id,
            is_id_made: resolved.is_positional,
            source: resolved.source,
            event_type: resolved.event_type,
            time: resolved.time,
            content_type: self.content_type,
            labels: given.labels.map(Cow::Owned),
            metadata: self.metadata.map(Cow::Owned),
            note: resolved.note,
            ordering_key: self.ordering_key,
            ip: None,
            payload: self.payload,
            headers: builder.build(),
        })
    }
}
