//! CloudEvents 1.0 Kafka binding, structured mode with the JSON format: the value is an envelope, the payload stands in it.
//!
//! The payload is the slice of the value that `data` occupies, so its bytes are those the producer wrote. What an event may look
//! like is decided in [`schemas::cloud_event`], as for events that come over HTTP.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use schemas::cloud_event::{self as rule, APPLICATION, Data, MAX_EXTENSIONS, Scalar};
use schemas::event::is_id_made;
use schemas::header;
use schemas::record::{Headers, Record, TopicPartition};
use schemas::rejected::RejectReason;
use serde_json::value::RawValue;

use crate::attributes::{Attributes, GivenAttributes, Resolved, cut};
use crate::{Event, Rejection, cloudevents_binary};

type Envelope<'a> = BTreeMap<String, &'a RawValue>;

pub(super) fn decode<'a>(
    record: &'a Record,
    value: &'a Bytes,
    from: &TopicPartition,
    mut given: GivenAttributes<'a>,
) -> Result<Event<'a>, Rejection> {
    let mut envelope: Envelope<'a> =
        serde_json::from_slice(value).map_err(|error| undecodable(format!("not a CloudEvents envelope: {error}")))?;
    let attribute = take(&mut envelope, APPLICATION)?;
    let own = || cloudevents_binary::application(record.headers.get(header::APPLICATION), attribute);
    let application = given.application.take().map_or_else(own, Ok)?;
    let attributes = Attributes {
        spec_version: take(&mut envelope, "specversion")?,
        id: take(&mut envelope, "id")?,
        source: take(&mut envelope, "source")?,
        event_type: take(&mut envelope, "type")?,
        time: take(&mut envelope, "time")?,
    };
    let resolved = attributes.given(&mut given).resolve(record, from)?;
    let given_type = take(&mut envelope, "datacontenttype")?;
    let (data, base64) = (envelope.remove("data"), envelope.remove("data_base64"));
    let (data, content_type) = rule::data(data, base64, given_type)
        .map_err(|wrong| undecodable(format!("`{}` {}", wrong.member, wrong.message)))?;
    let payload = match data {
        Data::None => Bytes::new(),
        Data::Json(json) => value.slice_ref(json.as_bytes()),
        Data::Text(text) => text.into_owned().into(),
        Data::Bytes(bytes) => bytes,
    };
    let labels = given.labels.map(Cow::Owned).or_else(|| record.headers.get(header::LABELS).map(Cow::Borrowed));
    let written =
        EnvelopeFacts { application: &application, resolved: &resolved, content_type: content_type.as_deref() };
    let headers = headers(record, &written, labels.as_deref(), envelope)?;
    Ok(Event {
        application,
        id: resolved.id,
        is_id_made: resolved.is_positional || is_id_made(record.headers.get(header::ID_MADE)),
        source: resolved.source,
        event_type: resolved.event_type,
        time: resolved.time,
        content_type,
        note: resolved.note,
        ordering_key: None,
        labels,
        metadata: record.headers.get(header::METADATA).map(Cow::Borrowed),
        ip: record.headers.text(header::IP),
        payload,
        headers,
    })
}

/// The application that an envelope names, if it is one.
pub(super) fn named_application(value: &[u8]) -> Option<Cow<'_, str>> {
    let mut envelope: Envelope<'_> = serde_json::from_slice(value).ok()?;
    take(&mut envelope, APPLICATION).ok().flatten()
}

fn undecodable(detail: impl Into<Cow<'static, str>>) -> Rejection {
    Rejection::new(RejectReason::Undecodable, detail)
}

/// Takes an attribute out of the envelope, as its text. `null` is absent.
fn take<'a>(envelope: &mut Envelope<'a>, name: &str) -> Result<Option<Cow<'a, str>>, Rejection> {
    let scalar = envelope.remove(name).map_or(Ok(None), |raw| scalar(name, raw))?;
    Ok(scalar.map(|scalar| scalar.text))
}

fn scalar<'a>(name: &str, raw: &'a RawValue) -> Result<Option<Scalar<'a>>, Rejection> {
    rule::scalar(raw).map_err(|message| Rejection::attribute(format!("attribute `{}` {message}", cut(name))))
}

/// What an envelope says, as its headers will.
struct EnvelopeFacts<'a> {
    application: &'a str,
    resolved: &'a Resolved<'a>,
    content_type: Option<&'a str>,
}

/// The same headers as in binary mode: from here on nobody needs to know how the event was written.
fn headers(
    record: &Record,
    written: &EnvelopeFacts<'_>,
    labels: Option<&[u8]>,
    extensions: Envelope<'_>,
) -> Result<Headers, Rejection> {
    let EnvelopeFacts { application, resolved, content_type } = *written;
    let mut builder = Headers::builder(16, 512);
    builder
        .push(header::CE_SPECVERSION, b"1.0")
        .push(header::CE_ID, resolved.id.as_bytes())
        .push(header::CE_TYPE, resolved.event_type.as_bytes())
        .push(header::CE_SOURCE, resolved.source.as_bytes())
        .push(header::APPLICATION, application.as_bytes());
    if let Some(time) = &resolved.time {
        builder.push(header::CE_TIME, time.as_bytes());
    }
    if let Some(content_type) = content_type {
        builder.push(header::CONTENT_TYPE, content_type.as_bytes());
    }
    if extensions.len() > MAX_EXTENSIONS {
        return Err(Rejection::attribute(format!("the event has more than {MAX_EXTENSIONS} extension attributes")));
    }
    let mut scalars = Vec::with_capacity(extensions.len());
    for (name, raw) in &extensions {
        if !rule::is_extension_name(name) {
            let detail = format!("the name of attribute `{}` is not visible ASCII characters", cut(name));
            return Err(Rejection::attribute(detail));
        }
        if let Some(scalar) = scalar(name, raw)? {
            scalars.push((name.as_str(), scalar));
        }
    }
    rule::push_extensions(&mut builder, scalars.iter().map(|(name, scalar)| (*name, scalar)));
    if let Some(labels) = labels {
        builder.push(header::LABELS, labels);
    }
    builder.copy_if(&record.headers, |name| {
        // What else may come in was just written, from the envelope itself.
        [header::METADATA, header::IP, header::TRACEPARENT].iter().any(|own| own.as_bytes() == name)
    });
    Ok(builder.build())
}
