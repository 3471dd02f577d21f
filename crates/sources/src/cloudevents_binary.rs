//! CloudEvents 1.0 Kafka binding, binary mode: attributes are headers, the value is the payload. What the gateway writes.

use std::borrow::Cow;

use bytes::Bytes;
use schemas::event::is_id_made;
use schemas::header;
use schemas::record::{Headers, Record, TopicPartition};

use crate::attributes::{Attributes, GivenAttributes, Resolved};
use crate::cloudevents::{text, travels_on};
use crate::{Event, Rejection};

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

pub(super) fn decode<'a>(
    record: &'a Record,
    value: &Bytes,
    from: &TopicPartition,
    mut given: GivenAttributes<'a>,
) -> Result<Event<'a>, Rejection> {
    let found = Found::scan(&record.headers);
    let attribute = found.application_attribute.map(|value| text(CE_APPLICATION, value)).transpose()?;
    let application = given.application.take().map_or_else(|| application(found.application, attribute), Ok)?;
    let resolved = found.attributes()?.given(&mut given).resolve(record, from)?;
    let content_type = found.content_type.map(|value| text(header::CONTENT_TYPE, value)).transpose()?;
    Ok(Event {
        headers: headers(
            &record.headers,
            &found,
            &BinaryFacts { application: &application, resolved: &resolved, labels: given.labels.as_deref() },
        ),
        note: resolved.note,
        ordering_key: None,
        id: resolved.id,
        is_id_made: resolved.is_positional || is_id_made(found.id_made),
        source: resolved.source,
        event_type: resolved.event_type,
        time: resolved.time,
        content_type,
        labels: given.labels.map(Cow::Owned).or_else(|| found.labels.map(Cow::Borrowed)),
        metadata: found.metadata.map(Cow::Borrowed),
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

/// What an event's headers say, whatever the record's own do.
struct BinaryFacts<'a> {
    application: &'a str,
    resolved: &'a Resolved<'a>,
    /// Where templates say them.
    labels: Option<&'a [u8]>,
}

/// The record's own headers where all of them travel on and say what the event says: then nothing is copied.
fn headers(own: &Headers, found: &Found<'_>, written: &BinaryFacts<'_>) -> Headers {
    let BinaryFacts { application, resolved, labels } = *written;
    let differs = |text: &str, found: Option<&[u8]>| found != Some(text.as_bytes());
    let time = resolved.time.as_deref();
    let replaced = [
        (header::CE_ID, differs(&resolved.id, found.id).then_some(resolved.id.as_bytes())),
        (header::CE_TYPE, differs(&resolved.event_type, found.event_type).then_some(resolved.event_type.as_bytes())),
        (header::CE_SOURCE, differs(&resolved.source, found.source).then_some(resolved.source.as_bytes())),
        (header::CE_TIME, time.filter(|time| differs(time, found.time)).map(str::as_bytes)),
        (header::APPLICATION, differs(application, found.application).then_some(application.as_bytes())),
        (header::LABELS, labels),
    ];
    let is_time_left_out = resolved.note.is_some();
    if !found.has_foreign && !is_time_left_out && replaced.iter().all(|(_, value)| value.is_none()) {
        return own.clone();
    }
    let mut builder = Headers::builder(own.len() + replaced.len(), own.size() + 256);
    for (name, value) in own.iter() {
        let is_replaced = replaced.iter().any(|(of, value)| value.is_some() && of.as_bytes() == name)
            || (is_time_left_out && name == header::CE_TIME.as_bytes());
        if !is_replaced && std::str::from_utf8(name).is_ok_and(travels_on) {
            builder.push_raw(name, value);
        }
    }
    for (name, value) in replaced {
        if let Some(value) = value {
            builder.push(name, value);
        }
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
