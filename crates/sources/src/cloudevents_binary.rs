//! CloudEvents 1.0 Kafka binding, binary mode: attributes are headers, the value is the payload. What the gateway writes.

use std::borrow::Cow;

use bytes::Bytes;
use schemas::event::is_id_made;
use schemas::header;
use schemas::record::{Headers, Record, TopicPartition};

use super::{Attributes, Event, Rejection, Resolved, text, travels_on};

/// Some producers spell the media type as the attribute it stands for.
const CE_DATA_CONTENT_TYPE: &str = "ce_datacontenttype";
/// The application as an attribute, as it can be named over HTTP too.
pub(super) const CE_APPLICATION: &str = "ce_hookbusapplication";

/// The headers of interest, found in one pass; a repeated one counts with its last value, as in Kafka's clients.
#[derive(Debug, Default)]
struct Found<'a> {
    spec_version: Option<&'a [u8]>,
    id: Option<&'a [u8]>,
    source: Option<&'a [u8]>,
    event_type: Option<&'a [u8]>,
    time: Option<&'a [u8]>,
    content_type: Option<&'a [u8]>,
    application: Option<&'a [u8]>,
    application_attribute: Option<&'a [u8]>,
    labels: Option<&'a [u8]>,
    metadata: Option<&'a [u8]>,
    ip: Option<&'a [u8]>,
    id_made: Option<&'a [u8]>,
    /// There are headers that do not travel on.
    has_foreign: bool,
}

pub(super) fn decode<'a>(record: &'a Record, value: &Bytes, from: &TopicPartition) -> Result<Event<'a>, Rejection> {
    let found = Found::scan(&record.headers);
    let attribute = found.application_attribute.map(|value| text(CE_APPLICATION, value)).transpose()?;
    let application = application(found.application, attribute)?;
    let resolved = found.attributes()?.resolve(record, from)?;
    let content_type = found.content_type.map(|value| text(header::CONTENT_TYPE, value)).transpose()?;
    Ok(Event {
        headers: headers(&record.headers, &application, &found, &resolved),
        note: resolved.note,
        id: resolved.id,
        is_id_made: resolved.is_positional || is_id_made(found.id_made),
        source: resolved.source,
        event_type: resolved.event_type,
        time: resolved.time,
        content_type,
        labels: found.labels,
        metadata: found.metadata,
        application,
        ip: found.ip.and_then(|ip| std::str::from_utf8(ip).ok()),
        payload: value.clone(),
    })
}

/// The application, from the header that names it in every format, else from the attribute that names it over HTTP too.
pub(super) fn application<'a>(
    value: Option<&'a [u8]>,
    attribute: Option<Cow<'a, str>>,
) -> Result<Cow<'a, str>, Rejection> {
    let name = header::APPLICATION;
    let application = value.map(|value| text(name, value)).transpose()?.or(attribute).filter(|text| !text.is_empty());
    application.ok_or_else(|| Rejection::attribute(format!("the record names no application (header `{name}`)")))
}

/// The record's own headers where all of them travel on and nothing is missing: then nothing is copied.
fn headers(own: &Headers, application: &str, found: &Found<'_>, resolved: &Resolved<'_>) -> Headers {
    let is_time_left_out = resolved.note.is_some();
    if !found.has_foreign && !resolved.is_positional && !resolved.is_default_source && !is_time_left_out {
        return own.clone();
    }
    let mut builder = Headers::builder(own.len() + 2, own.size() + 128);
    for (name, value) in own.iter() {
        let is_replaced = (resolved.is_positional && name == header::CE_ID.as_bytes())
            || (resolved.is_default_source && name == header::CE_SOURCE.as_bytes())
            || (is_time_left_out && name == header::CE_TIME.as_bytes());
        if !is_replaced && std::str::from_utf8(name).is_ok_and(travels_on) {
            builder.push_raw(name, value);
        }
    }
    if resolved.is_positional {
        builder.push(header::CE_ID, resolved.id.as_bytes());
    }
    if resolved.is_default_source {
        builder.push(header::CE_SOURCE, resolved.source.as_bytes());
    }
    if found.application.is_none() {
        builder.push(header::APPLICATION, application.as_bytes());
    }
    builder.build()
}

// === impl Found ===

impl<'a> Found<'a> {
    fn scan(headers: &'a Headers) -> Self {
        let mut found = Self::default();
        let mut data_content_type = None;
        for (name, value) in headers.iter() {
            let Ok(name) = std::str::from_utf8(name) else {
                found.has_foreign = true;
                continue;
            };
            let place = match name {
                header::CE_SPECVERSION => &mut found.spec_version,
                header::CE_ID => &mut found.id,
                header::CE_SOURCE => &mut found.source,
                header::CE_TYPE => &mut found.event_type,
                header::CE_TIME => &mut found.time,
                header::CONTENT_TYPE => &mut found.content_type,
                header::APPLICATION => &mut found.application,
                CE_APPLICATION => {
                    // Read here, and written as the header that names it everywhere else.
                    found.has_foreign = true;
                    &mut found.application_attribute
                }
                header::LABELS => &mut found.labels,
                header::METADATA => &mut found.metadata,
                header::IP => &mut found.ip,
                // No delivery carries it, and still it is not foreign: most events of the gateway would be copied for it.
                header::ID_MADE => &mut found.id_made,
                CE_DATA_CONTENT_TYPE => &mut data_content_type,
                other => {
                    found.has_foreign |= !travels_on(other);
                    continue;
                }
            };
            *place = Some(value);
        }
        found.content_type = found.content_type.or(data_content_type);
        found
    }

    fn attributes(&self) -> Result<Attributes<'a>, Rejection> {
        let attribute = |name: &str, value: Option<&'a [u8]>| value.map(|value| text(name, value)).transpose();
        Ok(Attributes {
            spec_version: attribute(header::CE_SPECVERSION, self.spec_version)?,
            id: attribute(header::CE_ID, self.id)?,
            source: attribute(header::CE_SOURCE, self.source)?,
            event_type: attribute(header::CE_TYPE, self.event_type)?,
            time: attribute(header::CE_TIME, self.time)?,
        })
    }
}
